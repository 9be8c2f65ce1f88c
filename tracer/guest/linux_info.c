/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding and reading VMCOREINFO: see linux_info.h.
 */
#include "tracer/guest/linux_info.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"

enum {
	PAGE = 4096,
	/* the text stands at the begin of its own page, and behind the head of an ELF note in another
	 * (12 bytes, and the name "VMCOREINFO" with its padding) */
	NOTE_HEAD_BYTES = 24,
	LOOK_BYTES = NOTE_HEAD_BYTES + 16,
	LOOK_PAGES = 256, /* in one call */
	OLDEST = 6 << 16 | 1,
	NEWEST = 6 << 16 | 12,
};

static const char signature[] = "OSRELEASE=";

/* A line of the text that is a number. */
struct line {
	const char *key;
	size_t offset; /* in kms_linux_info, of a uint64_t */
	bool is_required, is_decimal;
};

#define LINE(key_, member, required, decimal)                                                      \
	{                                                                                          \
		key_, offsetof(struct kms_linux_info, member), required, decimal                   \
	}

static const struct line lines[] = {
	LINE("KERNELOFFSET", kaslr_offset, false, false),
	LINE("NUMBER(phys_base)", phys_base, true, true),
	LINE("SYMBOL(swapper_pg_dir)", swapper_pg_dir, true, false),
	LINE("SYMBOL(_stext)", stext, true, false),
	LINE("SYMBOL(kallsyms_names)", kallsyms_names, false, false),
	LINE("SYMBOL(kallsyms_num_syms)", kallsyms_num_syms, false, false),
	LINE("SYMBOL(kallsyms_token_table)", kallsyms_token_table, false, false),
	LINE("SYMBOL(kallsyms_token_index)", kallsyms_token_index, false, false),
	LINE("SYMBOL(kallsyms_offsets)", kallsyms_offsets, false, false),
	LINE("SYMBOL(kallsyms_relative_base)", kallsyms_relative_base, false, false),
};

/* Value of "key=" in a text of lines, and its length; NULL: no such line. */
static const char *value_of(const char *text, const char *key, size_t *length)
{
	size_t key_length = strlen(key);

	while (*text) {
		size_t line = strcspn(text, "\n");

		if (line > key_length && !strncmp(text, key, key_length) &&
		    text[key_length] == '=') {
			*length = line - key_length - 1;
			return text + key_length + 1;
		}
		text += line + (text[line] == '\n');
	}
	return NULL;
}

/* Copies a value; false: not there, too long, or other characters than a version's. */
static bool word_of(const char *text, const char *key, char *to, size_t bytes)
{
	size_t length;
	const char *value = value_of(text, key, &length);

	if (!value || !length || length >= bytes)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isgraph((unsigned char)value[i]))
			return false;
	memcpy(to, value, length);
	to[length] = '\0';
	return true;
}

/* A number that may be negative where it is decimal. */
static int number_of(const char *text, const struct line *line, uint64_t *to)
{
	char word[32];
	int64_t number;
	int rc;

	if (!word_of(text, line->key, word, sizeof(word)))
		return line->is_required ? -EBADMSG : 0;
	if (!line->is_decimal)
		return kms_parse_addr(word, to) ? -EBADMSG : 0;
	rc = kms_parse_i64(word, &number);
	*to = (uint64_t)number;
	return rc ? -EBADMSG : 0;
}

static int check_release(struct kms_linux_info *info, struct kms_err *err)
{
	char *end;
	unsigned long major = strtoul(info->release, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	unsigned long version;

	if (*end != '.' || major > 0xff || minor > 0xffff)
		return kms_err_set(err, -EBADMSG, "no version: %s", info->release);
	info->major = (unsigned)major;
	info->minor = (unsigned)minor;
	version = major << 16 | minor;
	if (version < OLDEST || version > NEWEST)
		return kms_err_set(err, -ENOTSUP,
				   "Linux %s is %s than 6.%d: its structures are not known",
				   info->release, version < OLDEST ? "older" : "newer",
				   version < OLDEST ? OLDEST & 0xffff : NEWEST & 0xffff);
	return 0;
}

static int check_supported(const struct kms_linux_info *info, const char *text, struct kms_err *err)
{
	char word[32];

	if (word_of(text, "NUMBER(sme_mask)", word, sizeof(word)) && strcmp(word, "0") != 0)
		return kms_err_set(err, -ENOTSUP, "the guest's memory is encrypted");
	if (!info->kallsyms_names || !info->kallsyms_num_syms || !info->kallsyms_token_table ||
	    !info->kallsyms_token_index || !info->kallsyms_offsets || !info->kallsyms_relative_base)
		return kms_err_set(err, -ENOTSUP,
				   "Linux %s has no relative kallsyms: no symbols can be found",
				   info->release);
	return 0;
}

int kms_linux_info_parse(struct kms_linux_info *info, const char *text, struct kms_err *err)
{
	char word[8];
	int rc;

	*info = (struct kms_linux_info){0};
	if (strncmp(text, signature, sizeof(signature) - 1) != 0 ||
	    !word_of(text, "OSRELEASE", info->release, sizeof(info->release)))
		return kms_err_set(err, -EBADMSG, "no text of a kernel");
	rc = check_release(info, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		uint64_t *to = (uint64_t *)(void *)((char *)info + lines[i].offset);

		if (number_of(text, &lines[i], to))
			return kms_err_set(err, -EBADMSG, "VMCOREINFO of %s: no %s", info->release,
					   lines[i].key);
	}
	if (!word_of(text, "BUILD-ID", info->build_id, sizeof(info->build_id)) ||
	    info->build_id[strspn(info->build_id, "0123456789abcdef")])
		info->build_id[0] = '\0';
	if (word_of(text, "NUMBER(pgtable_l5_enabled)", word, sizeof(word)))
		info->is_5_level = strcmp(word, "0") != 0;
	return check_supported(info, text, err);
}

/* A search. One of the two ways of reading is used. */
struct scan {
	struct kms_guest_memory *memory;
	kms_linux_info_fn *fn;
	void *arg;
	struct kms_err *err;
	struct kms_linux_info info[KMS_LINUX_MAX_INFOS];
	int found;
	int refused; /* the reason why a text was no good, 0 none */
	bool by_pieces;
	uint8_t look[LOOK_PAGES][LOOK_BYTES];
	struct kms_guest_piece piece[LOOK_PAGES];
	uint8_t pages[LOOK_PAGES * PAGE];
};

static bool is_known(const struct scan *scan, const struct kms_linux_info *info)
{
	for (int i = 0; i < scan->found; i++)
		if (scan->info[i].swapper_pg_dir == info->swapper_pg_dir &&
		    scan->info[i].phys_base == info->phys_base &&
		    !strcmp(scan->info[i].build_id, info->build_id))
			return true;
	return false;
}

static int take_text(struct scan *scan, uint64_t address)
{
	struct kms_linux_info info;
	char text[PAGE + 1];
	size_t bytes = PAGE - (address & (PAGE - 1));
	int rc = kms_guest_read(scan->memory, address, text, bytes, scan->err);

	if (rc)
		return rc;
	text[bytes] = '\0';
	rc = kms_linux_info_parse(&info, text, scan->err);
	if (rc == -ENOTSUP || (rc && !scan->refused))
		scan->refused = rc;
	if (rc || is_known(scan, &info) || scan->found == KMS_LINUX_MAX_INFOS)
		return 0;
	info.found_at = address;
	scan->info[scan->found++] = info;
	return scan->fn(scan->arg, &info);
}

static int check_page(struct scan *scan, uint64_t address, const uint8_t *page)
{
	if (!memcmp(page, signature, sizeof(signature) - 1))
		return take_text(scan, address);
	if (!memcmp(page + NOTE_HEAD_BYTES, signature, sizeof(signature) - 1))
		return take_text(scan, address + NOTE_HEAD_BYTES);
	return 0;
}

/* The first bytes of some pages, in one call. */
static int look_by_pieces(struct scan *scan, uint64_t address, size_t pages)
{
	int rc;

	for (size_t i = 0; i < pages; i++)
		scan->piece[i] = (struct kms_guest_piece){
			.address = address + i * PAGE,
			.to = scan->look[i],
			.bytes = LOOK_BYTES,
		};
	rc = kms_guest_read_pieces(scan->memory, scan->piece, pages, scan->err);
	for (size_t i = 0; !rc && i < pages; i++)
		rc = check_page(scan, address + i * PAGE, scan->look[i]);
	return rc;
}

static int look_at_pages(struct scan *scan, uint64_t address, size_t pages)
{
	int rc;

	if (scan->by_pieces)
		return look_by_pieces(scan, address, pages);
	rc = kms_guest_read(scan->memory, address, scan->pages, pages * PAGE, scan->err);
	for (size_t i = 0; !rc && i < pages; i++)
		rc = check_page(scan, address + i * PAGE, scan->pages + i * PAGE);
	return rc;
}

static int scan_all(struct scan *scan)
{
	int rc = 0;

	for (size_t r = 0; r < scan->memory->ranges; r++) {
		uint64_t address = scan->memory->range[r].address;
		uint64_t pages = scan->memory->range[r].bytes / PAGE;

		while (pages && !rc) {
			size_t some = pages < LOOK_PAGES ? (size_t)pages : LOOK_PAGES;

			rc = look_at_pages(scan, address, some);
			address += (uint64_t)some * PAGE;
			pages -= some;
		}
	}
	return rc;
}

/*
 * A file is read fastest as a whole (0.25 us a page; a system call each would be 5 us). Of a process
 * 256 pieces cost one call, 0.5 us a page, a whole page 2.4 us; of a gdb stub a packet each.
 */
static bool is_fast_by_pieces(const struct kms_guest_memory *memory)
{
	return !strcmp(memory->ops->name, "process") || !strcmp(memory->ops->name, "gdb");
}

int kms_linux_info_find(struct kms_guest_memory *memory, kms_linux_info_fn *fn, void *arg,
			struct kms_err *err)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int rc;

	if (!scan)
		return kms_err_set(err, -ENOMEM, "no memory for a search of RAM");
	scan->memory = memory;
	scan->fn = fn;
	scan->arg = arg;
	scan->err = err;
	scan->by_pieces = is_fast_by_pieces(memory);
	rc = scan_all(scan);
	if (!rc && !scan->found)
		rc = scan->refused == -ENOTSUP /* then err has the reason */
			     ? -ENOTSUP
			     : kms_err_set(err, -EAGAIN,
					   "no Linux kernel in the guest's memory yet");
	free(scan);
	return rc;
}
