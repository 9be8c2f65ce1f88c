/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that is traced: see link.h. */
#include "tracer/guest/link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/guest/kernel_elf.h"
#include "tracer/guest/kernel_names.h"
#include "tracer/guest/poke.h"
#include "tracer/guest/space.h"
#include "tracer/process.h"

enum {
	COMMAND_BYTES = 4096,
	BLOB_BYTES_MAX = 32 << 20,
	BLOBS_MAX = 1000,
	ENDING_MS = 300, /* a process that is ending loses its memory first */
};

static const uint64_t search_bytes = UINT64_C(64) << 20;
static const uint64_t again_ns = 100000000; /* after a pass that found nothing */
static const uint64_t unclear_ns =
	20000000; /* before the search for a boot of which it is not known
					      * whether it was reset */
static const uint64_t forget_ns = 100000000; /* translations may have changed */

struct kms_guest_link {
	struct kms_guest_link_config config; /* strings are in the arrays below */
	char program[PATH_MAX];
	char command[COMMAND_BYTES];
	char blob[PATH_MAX]; /* file of the guest's own symbols, "" none */
	uint8_t build_id[32];
	struct kms_guest_search search;
	struct kms_guest_region region;
	struct kms_guest_space space;
	const char *names_file;   /* program or blob, whichever is this boot's; "" none */
	struct kms_symbols names; /* of the boot that is mirrored; empty: nobody has asked yet */
	bool is_found;            /* region is one */
	bool is_mirrored;         /* and somebody has a mirror of it */
	uint8_t lost_id[16]; /* image id of a boot that was lost, and nobody knows yet to what */
	bool is_unclear;     /* whether there is one */
	bool is_gone;
	uint64_t next_search_ns;
	uint64_t forgotten_ns;
	atomic_uint boots;
	atomic_bool is_paused, is_late, is_over, has_moved;
	_Atomic uint64_t active_ns;
};

static void say(const struct kms_guest_link *link, const char *line)
{
	if (link->config.say)
		link->config.say(link->config.say_arg, line);
}

int kms_guest_link_create(const struct kms_guest_link_config *config, struct kms_guest_link **out,
			  struct kms_err *err)
{
	struct kms_guest_link *link = calloc(1, sizeof(*link));

	if (!link)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	link->config = *config;
	(void)snprintf(link->program, sizeof(link->program), "%s", config->program); /* fits */
	(void)snprintf(link->command, sizeof(link->command), "%s", config->command); /* cut */
	link->config.program = link->program;
	link->config.command = link->command;
	if (config->build_id_bytes > sizeof(link->build_id))
		link->config.build_id_bytes = 0;
	if (link->config.build_id_bytes)
		memcpy(link->build_id, config->build_id, config->build_id_bytes);
	link->config.build_id = link->build_id;
	*out = link;
	return 0;
}

void kms_guest_link_destroy(struct kms_guest_link *link)
{
	if (link)
		kms_symbols_deinit(&link->names);
	free(link);
}

/* How the guest translates addresses: by its own root table, if it has one. */
static void set_space(struct kms_guest_link *link)
{
	const struct kms_region_header *head = &link->region.head;
	enum kms_guest_paging paging =
		head->word_bytes == 8 ? KMS_GUEST_PAGING_4 : KMS_GUEST_PAGING_PAE;
	uint64_t physical = 0, contiguous;

	kms_guest_space_init(&link->space, link->config.memory, paging, head->page_table_root);
	if (!head->page_table_root ||
	    (!kms_guest_translate(&link->space, head->self_address, &physical, &contiguous, NULL) &&
	     physical == link->region.physical))
		return;
	paging = head->word_bytes == 8 ? KMS_GUEST_PAGING_5 : KMS_GUEST_PAGING_32;
	kms_guest_space_init(&link->space, link->config.memory, paging, head->page_table_root);
}

static const char said_reset[] = "the guest was reset; waiting for its kernel";
static const char said_rewound[] = "the guest went back to an earlier state of itself";

/* What became of the boot that was lost: is it there again, or another one, or none? */
static void clear_up(struct kms_guest_link *link, int found)
{
	bool is_same = found == 1 &&
		       !memcmp(link->region.head.image_id, link->lost_id, sizeof(link->lost_id));

	if (!link->is_unclear || (found != 1 && found != -ENOENT))
		return;
	link->is_unclear = false;
	say(link, is_same ? said_rewound : said_reset);
}

int kms_guest_link_search(struct kms_guest_link *link, struct kms_err *err)
{
	int result;

	if (link->is_found)
		return 1;
	result = kms_guest_search(&link->search, link->config.memory, search_bytes, &link->region,
				  err);
	link->is_found = result == 1;
	if (link->is_found || !link->search.reach_bytes) /* all RAM was looked at */
		clear_up(link, result);
	if (link->is_found)
		set_space(link);
	return result;
}

const struct kms_guest_region *kms_guest_link_region(const struct kms_guest_link *link)
{
	return link->is_found ? &link->region : NULL;
}

int kms_guest_link_is_owned(struct kms_guest_link *link, struct kms_err *err)
{
	if (!link->is_found || link->config.is_saved)
		return 0;
	return kms_guest_region_is_owned(link->config.memory, &link->region, err);
}

uint32_t kms_guest_link_owner_pid(struct kms_guest_link *link)
{
	uint32_t pid = 0;
	uint64_t at = link->region.physical + link->region.section[KMS_SEC_TRACER].offset;

	if (!link->is_found ||
	    kms_guest_read(link->config.memory, at + offsetof(struct kms_tracer_page, pid), &pid,
			   sizeof(pid), NULL))
		return 0;
	return pid;
}

/* Whether the kernel that runs is of another build than the file: its first module has its build id. */
static bool is_other_build(struct kms_guest_link *link)
{
	const struct kms_guest_region *region = &link->region;
	struct kms_module module;
	char line[PATH_MAX + 128];

	if (!link->config.build_id_bytes ||
	    kms_guest_read(link->config.memory,
			   region->physical + region->section[KMS_SEC_MODULE].offset, &module,
			   sizeof(module), NULL) ||
	    !module.ready || !module.build_id_bytes)
		return false; /* nothing to compare */
	if (module.build_id_bytes == link->config.build_id_bytes &&
	    !memcmp(module.build_id, link->build_id, module.build_id_bytes))
		return false;
	(void)snprintf(line, sizeof(line),
		       "%s is of another build than the kernel that runs: it is not used",
		       link->program);
	say(link, line);
	return true;
}

/* Under a name that is free: a tracer before us may have had the folder, and its trace names its files. */
static int write_blob(struct kms_guest_link *link, const uint8_t *blob, size_t bytes)
{
	KMS_AUTO_CLOSE int fd = -1;
	int result;

	for (int i = 0; i < BLOBS_MAX && fd < 0; i++) {
		if (snprintf(link->blob, sizeof(link->blob), "%s/kernel.%d.elf",
			     link->config.folder, i) >= (int)sizeof(link->blob))
			return -ENAMETOOLONG;
		fd = open(link->blob, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	if (fd < 0)
		return -errno;
	result = kms_write_full(fd, blob, bytes);
	if (result)
		(void)unlink(link->blob); /* half of it is of no use */
	return result;
}

/* What the kernel carries along: an ELF file with its symbols, which the symbol helper reads. */
static int save_blob(struct kms_guest_link *link)
{
	const struct kms_region_header *head = &link->region.head;
	size_t bytes = (size_t)head->symbols_bytes;
	uint8_t *blob;
	int result = -ENOENT;

	link->blob[0] = '\0';
	if (!link->config.folder || !bytes || head->symbols_bytes > BLOB_BYTES_MAX)
		return result;
	blob = malloc(bytes);
	if (blob && kms_guest_link_read(link, head->symbols_address, blob, bytes) == (ssize_t)bytes)
		result = write_blob(link, blob, bytes);
	free(blob);
	if (result)
		link->blob[0] = '\0';
	return result;
}

static struct kms_guest_mirror *make_mirror(struct kms_guest_link *link)
{
	bool is_other = link->program[0] && is_other_build(link);
	bool has_file = link->program[0] && !is_other;
	bool is_blob = !has_file && save_blob(link) == 0; /* else addresses stay as they are */
	const struct kms_guest_mirror_config config = {
		.memory = link->config.memory,
		.region = &link->region,
		.program = has_file ? link->program : link->blob,
		.is_blob = is_blob,
		.command = link->command,
		.is_saved = link->config.is_saved,
	};
	struct kms_guest_mirror *mirror = NULL;
	struct kms_err err = KMS_ERR_INIT;

	link->names_file = config.program;
	if (kms_guest_mirror_create(&config, &mirror, &err)) {
		say(link, err.text);
		link->is_found = false; /* it may have been reset right now */
		return NULL;
	}
	link->is_mirrored = true;
	atomic_store(&link->is_late, kms_guest_mirror_is_late(mirror));
	kms_guest_link_note_active(link, kms_mono_ns());
	if (atomic_fetch_add(&link->boots, 1))
		say(link, "the guest's kernel is there again: a new target");
	return mirror;
}

struct kms_guest_mirror *kms_guest_link_turn(struct kms_guest_link *link, uint64_t now_ns)
{
	int result;

	if (link->config.turn)
		link->config.turn(link->config.arg, link, now_ns);
	if (link->is_mirrored || link->is_gone)
		return NULL;
	if (kms_guest_link_has_ended(link)) {
		link->is_gone = true;
		return NULL;
	}
	if (now_ns < link->next_search_ns)
		return NULL;
	result = kms_guest_link_search(link, NULL);
	if (result == 1)
		return make_mirror(link);
	if (result == -ENOENT && link->config.is_saved)
		link->is_gone = true;
	if (result == -ENOENT)
		link->next_search_ns = now_ns + again_ns;
	else if (result < 0)
		link->is_gone = true;
	return NULL;
}

void kms_guest_link_lost(struct kms_guest_link *link, enum kms_guest_mirror_over why)
{
	static const char *const line[] = {
		[KMS_MIRROR_RESET] = said_reset,
		[KMS_MIRROR_REWOUND] =
			NULL, /* it may be a kernel that boots, and has begun with our page */
		[KMS_MIRROR_TAKEN] = "another tracer has taken the guest over",
		[KMS_MIRROR_GONE] = "the guest's memory is gone",
		[KMS_MIRROR_LEFT] = NULL,
	};

	if (line[why] &&
	    !(why == KMS_MIRROR_GONE && (link->config.is_saved || kms_guest_link_is_ending(link))))
		say(link, line[why]);
	kms_symbols_deinit(&link->names);
	link->is_found = link->is_mirrored = false;
	link->is_gone = why != KMS_MIRROR_RESET && why != KMS_MIRROR_REWOUND;
	link->next_search_ns = 0;
	link->is_unclear = why == KMS_MIRROR_REWOUND;
	memcpy(link->lost_id, link->region.head.image_id, sizeof(link->lost_id));
	if (link->is_unclear) /* a boot gets past its header meanwhile */
		link->next_search_ns = kms_mono_ns() + unclear_ns;
	memset(&link->search, 0, sizeof(link->search));
}

pid_t kms_guest_link_pid(const struct kms_guest_link *link)
{
	return link->config.pid;
}

unsigned kms_guest_link_boots(const struct kms_guest_link *link)
{
	return atomic_load(&link->boots);
}

bool kms_guest_link_is_late(const struct kms_guest_link *link)
{
	return atomic_load(&link->is_late);
}

uint64_t kms_guest_link_active_ns(const struct kms_guest_link *link)
{
	return atomic_load(&link->active_ns);
}

void kms_guest_link_note_active(struct kms_guest_link *link, uint64_t now_ns)
{
	atomic_store(&link->active_ns, now_ns);
}

bool kms_guest_link_is_gone(const struct kms_guest_link *link)
{
	return link->is_gone;
}

bool kms_guest_link_has_ended(const struct kms_guest_link *link)
{
	return atomic_load(&link->is_over) ||
	       (link->config.emulator_fd >= 0 && kms_process_has_ended(link->config.emulator_fd));
}

void kms_guest_link_end(struct kms_guest_link *link)
{
	atomic_store(&link->is_over, true);
}

void kms_guest_link_move(struct kms_guest_link *link)
{
	atomic_store(&link->has_moved, true);
	kms_guest_link_end(link);
}

bool kms_guest_link_has_moved(const struct kms_guest_link *link)
{
	return atomic_load(&link->has_moved);
}

bool kms_guest_link_is_ending(const struct kms_guest_link *link)
{
	struct pollfd ended = {.fd = link->config.emulator_fd, .events = POLLIN};

	return kms_guest_link_has_ended(link) || (ended.fd >= 0 && poll(&ended, 1, ENDING_MS) > 0);
}

bool kms_guest_link_is_saved(const struct kms_guest_link *link)
{
	return link->config.is_saved;
}

void kms_guest_link_set_paused(struct kms_guest_link *link, bool paused)
{
	atomic_store(&link->is_paused, paused);
}

bool kms_guest_link_is_paused(const struct kms_guest_link *link)
{
	return atomic_load(&link->is_paused);
}

int kms_guest_link_stop(struct kms_guest_link *link, struct kms_err *err)
{
	int result;

	if (!link->config.stop)
		return kms_err_set(err, -ENOTSUP,
				   "the guest cannot be stopped: its emulator has no QMP socket");
	result = link->config.stop(link->config.arg, err);
	if (!result)
		kms_guest_link_set_paused(link, true);
	return result;
}

int kms_guest_link_resume(struct kms_guest_link *link, struct kms_err *err)
{
	int result;

	if (!link->config.resume)
		return kms_err_set(err, -ENOTSUP, "the emulator has no QMP socket");
	result = link->config.resume(link->config.arg, err);
	if (!result)
		kms_guest_link_set_paused(link, false);
	return result;
}

static void freshen(struct kms_guest_link *link)
{
	uint64_t now_ns = kms_mono_ns();

	if (now_ns - link->forgotten_ns < forget_ns)
		return;
	link->forgotten_ns = now_ns;
	kms_guest_space_forget(&link->space);
}

ssize_t kms_guest_link_read(struct kms_guest_link *link, uint64_t address, void *to, size_t n)
{
	size_t done = 0;

	if (!link->is_found)
		return -ESRCH;
	freshen(link);
	while (done < n) {
		uint64_t physical, contiguous;
		size_t part = n - done;

		if (kms_guest_translate(&link->space, address + done, &physical, &contiguous, NULL))
			break;
		part = contiguous < part ? (size_t)contiguous : part;
		if (!part ||
		    kms_guest_read(link->config.memory, physical, (uint8_t *)to + done, part, NULL))
			break;
		done += part;
	}
	return done ? (ssize_t)done : -EFAULT;
}

/* Whether the kernel's file has text or constants there; its page tables may be less strict. */
static bool is_constant(const struct kms_guest_link *link, uint64_t address)
{
	struct kms_kernel_elf elf;
	bool is_one;

	if (!link->names_file || !link->names_file[0] ||
	    kms_kernel_elf_open(link->names_file, &elf, NULL))
		return false;
	is_one = kms_kernel_elf_is_constant(&elf, address);
	kms_kernel_elf_close(&elf);
	return is_one;
}

int kms_guest_link_write(struct kms_guest_link *link, uint64_t address, const void *expected,
			 const void *value, size_t n, struct kms_err *err)
{
	if (!link->is_found)
		return kms_err_set(err, -ESRCH, "no kernel is there");
	if (!link->config.allow_write)
		return kms_err_set(err, -EPERM,
				   "memory of the guest is written only after `attach "
				   "--allow-write`");
	if (is_constant(link, address))
		return kms_err_set(err, -EACCES,
				   "0x%llx is text or a constant of the kernel: not written",
				   (unsigned long long)address);
	return kms_guest_poke(&link->space, address, expected, value, n, err);
}

/* Symbols of the kernel's file, or of what it carries along, read when somebody first asks. */
static int load_names(struct kms_guest_link *link, struct kms_err *err)
{
	struct kms_kernel_elf elf;
	int result;

	if (!link->is_mirrored)
		return kms_err_set(err, -ESRCH, "no kernel is there");
	if (link->names.count)
		return 0;
	if (!link->names_file || !link->names_file[0])
		return kms_err_set(err, -ENOTSUP,
				   "the kernel's symbols are not known: --kernel ELF");
	result = kms_kernel_elf_open(link->names_file, &elf, err);
	if (!result) {
		result = kms_kernel_elf_symbols(&elf, &link->names, err);
		kms_kernel_elf_close(&elf);
	}
	return result ? -ENOTSUP : 0;
}

int kms_guest_link_symbol(struct kms_guest_link *link, const char *name,
			  struct kms_view_symbol *out, struct kms_err *err)
{
	int result = load_names(link, err);

	return result ? result : kms_kernel_names_find(&link->names, name, out, err);
}

int kms_guest_link_symbol_at(struct kms_guest_link *link, uint64_t address,
			     struct kms_view_symbol *out, struct kms_err *err)
{
	int result = load_names(link, err);

	return result ? result : kms_kernel_names_at(&link->names, address, out, err);
}
