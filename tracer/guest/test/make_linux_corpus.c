/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes seeds for the fuzz targets of Linux guests: make_linux_corpus FOLDER-OF-CORPORA. By hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/test/fake_btf.h"
#include "tracer/guest/test/fake_linux.h"

static void write_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	if (!file || fwrite(bytes, 1, n, file) != n || fclose(file))
		exit(1);
}

static uint32_t symbol_place(const struct fake_linux *fake)
{
	(void)fake;
	return 0x201000; /* BTF is the first thing in the image, behind one page */
}

static void write_btf(const char *folder)
{
	for (uint64_t seed = 0; seed < 4; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		const uint8_t *text = fake->ram.bytes + symbol_place(fake);
		uint32_t words[6];
		char name[32];

		memcpy(words, text, sizeof(words));
		(void)snprintf(name, sizeof(name), "btf/layout-%d", (int)seed);
		write_file(folder, name, text, 24 + words[4] + words[5]);
		fake_linux_drop(fake);
	}
}

static void write_kallsyms(const char *folder)
{
	const uint64_t base = UINT64_C(0xffffffff81000000);
	const struct fake_symbol symbols[] = {
		{"_stext",           base       },
                {"kmem_cache_alloc", base + 64  },
                {"slab_caches",      base + 4096}
        };
	struct fake_kallsyms *fake = malloc(sizeof(*fake));
	uint8_t *out = calloc(1, 1 << 16);

	if (!fake || !out)
		exit(1);
	for (int per_cpu = 0; per_cpu < 2; per_cpu++) {
		uint16_t head[3];
		size_t n = 14;

		fake_kallsyms_make(fake, symbols, 3, base, per_cpu);
		head[0] = 3;
		head[1] = (uint16_t)fake->names_bytes;
		head[2] = (uint16_t)fake->tokens_bytes;
		memcpy(out, head, 6);
		memcpy(out + 6, &base, 8);
		memcpy(out + n, fake->token_index, 512);
		n += 512;
		memcpy(out + n, fake->offsets, 12);
		n += 12;
		memcpy(out + n, fake->names, fake->names_bytes);
		n += fake->names_bytes;
		memcpy(out + n, fake->tokens, fake->tokens_bytes);
		write_file(folder, per_cpu ? "kallsyms/per-cpu" : "kallsyms/relative", out,
			   n + fake->tokens_bytes);
	}
	free(fake);
	free(out);
}

static void write_linux(const char *folder)
{
	static const uint32_t places[] = {0x10000,  0x380000, 0x201040,
					  0x300041, 0x418004, 0x600010};
	char name[32];

	for (uint8_t layout = 0; layout < 4; layout++) {
		uint8_t out[64] = {layout};
		size_t n = 1;

		(void)snprintf(name, sizeof(name), "linux/whole-%d", layout);
		write_file(folder, name, out, n);
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			memcpy(out + n, &places[i], 4);
			out[n + 4] = 0xff;
			n += 5;
			(void)snprintf(name, sizeof(name), "linux/damaged-%d-%zu", layout, i);
			write_file(folder, name, out, n);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	write_btf(argv[1]);
	write_kallsyms(argv[1]);
	write_linux(argv[1]);
	return 0;
}
