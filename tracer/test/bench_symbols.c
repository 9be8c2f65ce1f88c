/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long the symbol resolver takes for the addresses of one file.
 *
 *   bench_symbols FILE [N [ADDRESS...]]      N addresses spread evenly over the file's code (10000), or the given ones
 *
 * Prints the time until the helper is ready, of the first address, of all, and of all again from the cache; with
 * addresses given, their frames as well.
 */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tracer/symbols.h"

enum { ADDRESSES = 10000 };

static double ms_since(uint64_t start_ns)
{
	return (double)(kms_clock_now(kms_clock_system()) - start_ns) / 1e6;
}

/* The executable part of a 64-bit ELF file of this machine, [start, end) in its own addresses. */
static bool find_code(const char *path, uint64_t *start, uint64_t *end)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment = {0};
	bool found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &header, sizeof(header), 0) == sizeof(header)) {
		for (int i = 0; i < header.e_phnum && !found; i++) {
			off_t at = (off_t)(header.e_phoff + (uint64_t)i * sizeof(segment));
			found = pread(fd, &segment, sizeof(segment), at) == sizeof(segment) &&
				segment.p_type == PT_LOAD && (segment.p_flags & PF_X);
		}
	}
	close(fd);
	*start = segment.p_vaddr;
	*end = segment.p_vaddr + segment.p_filesz;
	return found;
}

static void print_answer(const struct kms_symbol_request *req,
			 const struct kms_symbol_answer *answer)
{
	printf("%#" PRIx64 " %s\n", req->offset, kms_symbol_reason_name(answer->reason));
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		const struct kms_symbol_frame *frame = &answer->frames[i];
		printf("    %s+%#" PRIx64 " %s:%" PRIu32 "%s\n",
		       frame->function ? frame->function : "?", frame->function_offset,
		       frame->file ? frame->file : "?", frame->line,
		       frame->inlined ? " (inlined)" : "");
	}
}

static void count_answers(const struct kms_symbol_answer *answers, size_t n)
{
	size_t counts[KMS_SYMBOL_N_REASONS] = {0};
	size_t n_lines = 0;
	for (size_t i = 0; i < n; i++) {
		counts[answers[i].reason]++;
		n_lines += answers[i].n_frames > 0 && answers[i].frames[0].line > 0;
	}
	for (int i = 0; i < KMS_SYMBOL_N_REASONS; i++) {
		if (counts[i] > 0)
			printf("%s %zu  ", kms_symbol_reason_name((enum kms_symbol_reason)i),
			       counts[i]);
	}
	printf("with a line %zu\n", n_lines);
}

static int run(struct kms_symbols *sym, const char *path, struct kms_symbol_request *reqs, size_t n)
{
	struct kms_symbols_module module = {.path = path};
	struct kms_symbols_stats stats;
	struct kms_symbol_answer *answers = calloc(n, sizeof(*answers));
	uint32_t id;
	if (!answers || kms_symbols_module(sym, &module, &id, NULL) != 0) {
		free(answers);
		return 1;
	}
	for (size_t i = 0; i < n; i++)
		reqs[i].module = id;
	uint64_t start_ns = kms_clock_now(kms_clock_system());
	(void)kms_symbols_resolve(sym, reqs + n / 2, 1, answers);
	printf("first address  %8.1f ms\n", ms_since(start_ns));
	start_ns = kms_clock_now(kms_clock_system());
	(void)kms_symbols_resolve(sym, reqs, n, answers);
	printf("%6zu addresses %7.1f ms\n", n, ms_since(start_ns));
	start_ns = kms_clock_now(kms_clock_system());
	(void)kms_symbols_resolve(sym, reqs, n, answers);
	printf("from the cache %8.1f ms\n", ms_since(start_ns));
	count_answers(answers, n);
	for (size_t i = 0; n <= 16 && i < n; i++)
		print_answer(&reqs[i], &answers[i]);
	kms_symbols_stats(sym, &stats);
	printf("cache %" PRIu64 " KiB, helper started %" PRIu64 " times\n",
	       stats.cache_bytes / 1024, stats.n_helper_starts);
	free(answers);
	return 0;
}

int main(int argc, char *argv[])
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	uint64_t start, end;
	if (argc < 2 || !find_code(argv[1], &start, &end)) {
		fprintf(stderr, "usage: %s ELF-FILE [N [ADDRESS...]]\n", argv[0]);
		return 2;
	}
	size_t n = argc > 3 ? (size_t)argc - 3 : argc > 2 ? strtoul(argv[2], NULL, 10) : ADDRESSES;
	struct kms_symbol_request *reqs = calloc(n ? n : 1, sizeof(*reqs));
	if (!reqs || n == 0) {
		free(reqs);
		return 2;
	}
	for (size_t i = 0; i < n; i++)
		reqs[i].offset =
			argc > 3 ? strtoull(argv[3 + i], NULL, 16) : start + (end - start) / n * i;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_symbols_config cfg = {.deadline_ms = 20000};
	uint64_t start_ns = kms_clock_now(kms_clock_system());
	struct kms_symbols *sym = kms_symbols_create(&cfg, &err);
	if (!sym) {
		fprintf(stderr, "%s: %s\n", err.subject, err.text);
		free(reqs);
		return 1;
	}
	printf("helper ready   %8.1f ms\n", ms_since(start_ns));
	int rc = run(sym, argv[1], reqs, n);
	kms_symbols_destroy(sym);
	free(reqs);
	return rc;
}
