/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening and checking a region: see region.h.
 */
#include "tracer/region.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/region_guard.h"

/* How many entries a section has to have. */
enum count_rule {
	COUNT_AT_MOST = 0, /* 1 to max */
	COUNT_RINGS,       /* max for each ring, and `plus` */
	COUNT_SLOTS,
	COUNT_BLOCKS,
	COUNT_RINGS_SLOTS,
};

struct section_rule {
	uint32_t entry_bytes;
	enum count_rule count;
	uint64_t max;
	uint64_t plus;
	bool is_ours; /* written by the tracer: a page of its own */
};

#define RULE(type, count_, max_)                                                                   \
	{                                                                                          \
		.entry_bytes = sizeof(struct type), .count = (count_), .max = (max_)               \
	}

static const struct section_rule rules[KMS_REGION_KINDS] = {
	[KMS_SEC_TRACER] = {sizeof(struct kms_pair),    COUNT_RINGS, 1,
			    sizeof(struct kms_tracer_page) / sizeof(struct kms_pair), true},
	[KMS_SEC_REQUEST] = {sizeof(struct kms_request), COUNT_SLOTS, 1, 0,            true},
	[KMS_SEC_SLOT] = RULE(kms_slot, COUNT_SLOTS, 1),
	[KMS_SEC_RING_DESC] = RULE(kms_ring_desc, COUNT_RINGS, 1),
	[KMS_SEC_RING] = RULE(kms_block, COUNT_BLOCKS, 1),
	[KMS_SEC_NODE] = RULE(kms_node, COUNT_AT_MOST, KMS_MAX_NODES),
	[KMS_SEC_CACHE] = RULE(kms_cache_entry, COUNT_AT_MOST, KMS_MAX_CACHES),
	[KMS_SEC_CACHE_STAT] = RULE(kms_cache_stat, COUNT_SLOTS, KMS_MAX_CACHES),
	[KMS_SEC_COUNTER] = RULE(kms_counter, COUNT_RINGS_SLOTS, KMS_MAX_CACHES),
	[KMS_SEC_MODULE] = RULE(kms_module, COUNT_AT_MOST, KMS_MAX_MODULES),
	[KMS_SEC_THREAD] = RULE(kms_thread, COUNT_AT_MOST, KMS_MAX_THREADS),
	[KMS_SEC_STRING] = RULE(kms_string_head, COUNT_AT_MOST,
				KMS_MAX_STRING_BYTES / sizeof(struct kms_string_head)),
	[KMS_SEC_FAULT] = RULE(kms_fault, COUNT_AT_MOST, KMS_MAX_FAULTS),
	[KMS_SEC_FORK_CUT] = RULE(kms_fork_cut, COUNT_AT_MOST, KMS_MAX_FORK_CUTS),
};

static bool count_ok(const struct section_rule *rule, const struct kms_region_header *head,
		     uint64_t entries)
{
	switch (rule->count) {
	case COUNT_RINGS:
		return entries == rule->max * head->rings + rule->plus;
	case COUNT_SLOTS:
		return entries == rule->max * head->slots;
	case COUNT_BLOCKS:
		return entries == (uint64_t)head->rings * head->blocks_per_ring;
	case COUNT_RINGS_SLOTS:
		return entries == rule->max * ((uint64_t)head->rings + head->slots);
	default:
		return entries >= 1 && entries <= rule->max;
	}
}

static int check_numbers(const struct kms_region_header *head, uint64_t file_bytes,
			 struct kms_err *err)
{
	uint32_t blocks = head->blocks_per_ring;

	if (head->version != KMS_REGION_VERSION)
		return kms_err_set(err, -EPROTO, "region version %u, not %u", head->version,
				   KMS_REGION_VERSION);
	if (head->header_bytes < sizeof(*head) || head->header_bytes > KMS_PAGE_BYTES)
		return kms_err_set(err, -EBADMSG, "region header of %u bytes", head->header_bytes);
	if (head->region_bytes > file_bytes || head->region_bytes < KMS_PAGE_BYTES)
		return kms_err_set(err, -EBADMSG, "region of %llu bytes in a file of %llu",
				   (unsigned long long)head->region_bytes,
				   (unsigned long long)file_bytes);
	if (!head->rings || head->rings > KMS_MAX_RINGS || !head->slots ||
	    head->slots > KMS_MAX_SLOTS || head->sections > KMS_MAX_SECTIONS)
		return kms_err_set(err, -EBADMSG, "region with %u rings, %u slots, %u sections",
				   head->rings, head->slots, head->sections);
	if (blocks < KMS_REGION_MIN_BLOCKS || blocks > KMS_REGION_MAX_BLOCKS ||
	    (blocks & (blocks - 1)))
		return kms_err_set(err, -EBADMSG, "ring of %u blocks", blocks);
	if ((head->word_bytes != 4 && head->word_bytes != 8) ||
	    (head->target_kind != KMS_TARGET_PROCESS && head->target_kind != KMS_TARGET_GUEST))
		return kms_err_set(err, -EBADMSG, "region of an unknown kind of target");
	return 0;
}

static int check_section(const struct kms_region_header *head, uint32_t index,
			 struct kms_region_section section[KMS_REGION_KINDS], struct kms_err *err)
{
	const struct kms_section *row = &head->section[index];
	const struct section_rule *rule;
	uint64_t align;

	if (row->kind == 0 || row->kind >= KMS_REGION_KINDS)
		return 0; /* of a later version, or unused */
	rule = &rules[row->kind];
	align = rule->is_ours ? KMS_PAGE_BYTES : 8;
	if (section[row->kind].entry_bytes)
		return kms_err_set(err, -EBADMSG, "section %u twice", row->kind);
	if (row->entry_bytes != rule->entry_bytes || !count_ok(rule, head, row->entries))
		return kms_err_set(err, -EBADMSG, "section %u: %llu entries of %u bytes", row->kind,
				   (unsigned long long)row->entries, row->entry_bytes);
	/* entries is bounded by now: no overflow */
	if (row->offset < head->header_bytes || row->offset % align ||
	    row->offset > head->region_bytes ||
	    row->entries * row->entry_bytes > head->region_bytes - row->offset)
		return kms_err_set(err, -EBADMSG, "section %u: outside of the region", row->kind);
	section[row->kind] =
		(struct kms_region_section){row->offset, row->entries, row->entry_bytes, index};
	return 0;
}

/* Bytes that a section takes; whole pages where the tracer writes. */
static uint64_t section_end(const struct kms_region_section *section, bool is_ours)
{
	uint64_t end = section->offset + section->entries * section->entry_bytes;

	return is_ours ? (end + KMS_PAGE_BYTES - 1) / KMS_PAGE_BYTES * KMS_PAGE_BYTES : end;
}

/* What we write must not lie over what we read. */
static int check_overlap(const struct kms_region_section section[KMS_REGION_KINDS], unsigned ours,
			 uint64_t region_bytes, struct kms_err *err)
{
	uint64_t start = section[ours].offset;
	uint64_t end = section_end(&section[ours], true);

	if (end > region_bytes || start < KMS_PAGE_BYTES)
		return kms_err_set(err, -EBADMSG, "section %u: not in pages of its own", ours);
	for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++) {
		if (kind != ours && section[kind].offset < end &&
		    section_end(&section[kind], rules[kind].is_ours) > start)
			return kms_err_set(err, -EBADMSG, "sections %u and %u overlap", ours, kind);
	}
	return 0;
}

int kms_region_check(const struct kms_region_header *head, uint64_t file_bytes,
		     struct kms_region_section section[KMS_REGION_KINDS], struct kms_err *err)
{
	int result = check_numbers(head, file_bytes, err);

	memset(section, 0, sizeof(*section) * KMS_REGION_KINDS);
	for (uint32_t i = 0; !result && i < head->sections; i++)
		result = check_section(head, i, section, err);
	for (unsigned kind = 1; !result && kind < KMS_REGION_KINDS; kind++) {
		if (!section[kind].entry_bytes)
			result = kms_err_set(err, -EBADMSG, "section %u is missing", kind);
	}
	if (!result)
		result = check_overlap(section, KMS_SEC_TRACER, head->region_bytes, err);
	if (!result)
		result = check_overlap(section, KMS_SEC_REQUEST, head->region_bytes, err);
	return result;
}

struct header_copy {
	const struct kms_region_header *from;
	struct kms_region_header *to;
};

static void copy_header(void *arg)
{
	struct header_copy *copy = arg;

	/* pairs with the target's release store of magic, its last: the header is whole */
	copy->to->magic = kms_load_acquire_u64(&copy->from->magic);
	if (copy->to->magic == KMS_REGION_MAGIC)
		kms_copy_relaxed(&copy->to->version, &copy->from->version,
				 sizeof(*copy->to) - offsetof(struct kms_region_header, version));
}

static int look_at_file(struct kms_region *region, struct kms_err *err)
{
	struct stat st;

	if (fstat(region->fd, &st))
		return kms_err_sys(err, -errno, "stat", NULL);
	if (!S_ISREG(st.st_mode))
		return kms_err_set(err, -EINVAL, "no regular file");
	if (st.st_uid != geteuid())
		return kms_err_set(err, -EPERM, "belongs to user %u", st.st_uid);
	if (st.st_size < KMS_PAGE_BYTES)
		return kms_err_set(err, -EAGAIN, "not finished");
	if (st.st_size > KMS_REGION_MAX_BYTES)
		return kms_err_set(err, -EBADMSG, "region file of %lld bytes",
				   (long long)st.st_size);
	region->bytes = (uint64_t)st.st_size;
	return 0;
}

static void *map_ours(struct kms_region *region, unsigned kind, size_t *bytes)
{
	const struct kms_region_section *section = &region->section[kind];

	*bytes = (size_t)(section_end(section, true) - section->offset);
	return mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd,
		    (off_t)section->offset);
}

/* Its maker has not got memory for it yet, and may not get any; or it was cut short. */
static int header_is_missing(const struct kms_region *region, struct kms_err *err)
{
	struct stat st;

	if (fstat(region->fd, &st) == 0 && (uint64_t)st.st_size >= region->bytes)
		return kms_err_set(err, -EAGAIN, "not finished");
	return kms_err_set(err, -EBADMSG, "cut short while it was opened");
}

static int map_all(struct kms_region *region, struct kms_err *err)
{
	struct header_copy copy = {NULL, &region->head};
	void *map = mmap(NULL, region->bytes, PROT_READ, MAP_SHARED, region->fd, 0);
	int result;

	if (map == MAP_FAILED)
		return kms_err_sys(err, -errno, "mmap", NULL);
	region->map = map;
	copy.from = map;
	result = kms_region_access(region, copy_header, &copy);
	if (result)
		return header_is_missing(region, err);
	if (region->head.magic != KMS_REGION_MAGIC)
		return region->head.magic ? kms_err_set(err, -EBADMSG, "no region: wrong magic")
					  : kms_err_set(err, -EAGAIN, "not finished");
	result = kms_region_check(&region->head, region->bytes, region->section, err);
	if (result)
		return result;
	map = map_ours(region, KMS_SEC_TRACER, &region->page_bytes);
	if (map == MAP_FAILED)
		return kms_err_sys(err, -errno, "mmap", NULL);
	region->page = map;
	region->position = (struct kms_pair *)(void *)(region->page + 1);
	map = map_ours(region, KMS_SEC_REQUEST, &region->request_bytes);
	if (map == MAP_FAILED)
		return kms_err_sys(err, -errno, "mmap", NULL);
	region->request = map;
	return 0;
}

int kms_region_open_fd(int fd, struct kms_region *region, struct kms_err *err)
{
	int result;

	memset(region, 0, sizeof(*region));
	region->fd = fd;
	kms_region_guard_install();
	result = look_at_file(region, err);
	if (!result)
		result = map_all(region, err);
	if (result)
		kms_region_close(region);
	return result;
}

int kms_region_open(int dir_fd, const char *name, struct kms_region *region, struct kms_err *err)
{
	int fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int result = -errno;

	if (fd < 0) {
		memset(region, 0, sizeof(*region));
		region->fd = -1;
		return kms_err_sys(err, result, "open", name);
	}
	return kms_region_open_fd(fd, region, err);
}

void kms_region_close(struct kms_region *region)
{
	if (region->request)
		(void)munmap(region->request, region->request_bytes); /* ours: cannot fail */
	if (region->page)
		(void)munmap(region->page, region->page_bytes);
	if (region->map)
		(void)munmap(region->map, region->bytes);
	if (region->fd >= 0)
		(void)close(region->fd); /* nothing was written through it */
	region->request = NULL;
	region->page = NULL;
	region->map = NULL;
	region->fd = -1;
}

int kms_region_is_held(const struct kms_region *region)
{
	return kms_region_file_is_held(region->fd);
}

int kms_region_file_is_held(int fd)
{
	/*
	 * A write lease is granted only while nobody else has the file open for writing, and a
	 * mapping keeps its file open. Given back at once.
	 */
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
		(void)fcntl(fd, F_SETLEASE, F_UNLCK); /* ends with the descriptor anyway */
		return 0;
	}
	return errno == EAGAIN ? 1 : -errno;
}

uint64_t kms_region_used(const struct kms_region *region, unsigned kind)
{
	const struct kms_region_section *section = &region->section[kind];
	const struct kms_region_header *head = (const void *)region->map;
	uint64_t used = kms_load_acquire_u64(&head->section[section->index].used);

	return used < section->entries ? used : section->entries;
}

void kms_copy_relaxed(void *to, const void *from, size_t n_bytes)
{
	const kms_u64 *source = from;
	kms_u64 *target = to;

	for (size_t i = 0; i < n_bytes / sizeof(*target); i++)
		target[i] = kms_load_u64_relaxed(&source[i]);
}
