/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening regions: sound ones, unfinished ones, hostile ones; memory that goes away.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/control.h"
#include "tracer/region.h"
#include "tracer/test/rng.h"
#include "tracer/test/synth.h"

static char folder[] = "/dev/shm/kms-test-region-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int open_region(struct kms_region *region, struct kms_err *err)
{
	return kms_region_open(AT_FDCWD, path_of("img-1"), region, err);
}

static void a_sound_region_opens_and_shows_its_tables(void **state)
{
	struct synth s;
	struct kms_region region;
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){.rings = 7, .slots = 3});
	synth_cache(&s, "malloc-16", 16);
	assert_int_equal(open_region(&region, &err), 0);
	assert_int_equal(region.head.rings, 7);
	assert_int_equal(region.head.pid, getpid());
	assert_int_equal(kms_region_used(&region, KMS_SEC_CACHE), 1);
	assert_string_equal(
		((const struct kms_cache_entry *)kms_region_at(&region, KMS_SEC_CACHE, 0))->name,
		"malloc-16");
	synth_reserve(&s, KMS_SEC_CACHE, 100000);
	assert_int_equal(kms_region_used(&region, KMS_SEC_CACHE), KMS_MAX_CACHES);
	kms_region_close(&region);
	synth_close(&s);
	unlink(s.path);
}

static void an_unfinished_region_is_to_be_looked_at_again(void **state)
{
	struct synth s;
	struct kms_region region;
	int fd = open(path_of("img-1"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(open_region(&region, NULL), -EAGAIN);
	close(fd);
	unlink(path_of("img-1"));
	synth_create(&s, path_of("img-1"), &(struct synth_config){.unpublished = true});
	assert_int_equal(open_region(&region, NULL), -EAGAIN);
	synth_publish(&s);
	assert_int_equal(open_region(&region, NULL), 0);
	kms_region_close(&region);
	synth_close(&s);
	unlink(s.path);
}

static void what_is_no_region_file_is_refused(void **state)
{
	struct kms_region region;
	struct kms_err err = KMS_ERR_INIT;
	char junk[8192];
	int fd;

	(void)state;
	assert_int_equal(open_region(&region, &err), -ENOENT);
	assert_int_equal(symlink("/dev/zero", path_of("img-1")), 0);
	assert_int_equal(open_region(&region, &err), -ELOOP);
	unlink(path_of("img-1"));
	assert_int_equal(mkfifo(path_of("img-1"), 0600), 0);
	assert_int_equal(open_region(&region, &err), -EINVAL);
	unlink(path_of("img-1"));
	assert_int_equal(mkdir(path_of("img-1"), 0700), 0);
	assert_int_equal(open_region(&region, &err), -EISDIR);
	rmdir(path_of("img-1"));
	memset(junk, 'x', sizeof(junk));
	fd = open(path_of("img-1"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	assert_int_equal(open_region(&region, &err), -EBADMSG);
	assert_int_equal(ftruncate(fd, (off_t)KMS_REGION_MAX_BYTES + 4096), 0);
	assert_int_equal(open_region(&region, &err), -EBADMSG);
	close(fd);
	unlink(path_of("img-1"));
}

static void a_file_of_another_user_is_refused(void **state)
{
	struct kms_region region;
	struct synth s;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can give a file away */
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	assert_int_equal(chown(s.path, 65534, 65534), 0);
	assert_int_equal(open_region(&region, NULL), -EPERM);
	synth_close(&s);
	unlink(s.path);
}

/* One thing wrong with a header. */
struct wrong {
	const char *what;
	void (*make)(struct kms_region_header *head);
	int result;
};

static struct kms_section *row(struct kms_region_header *head, unsigned kind)
{
	for (unsigned i = 0; i < head->sections; i++) {
		if (head->section[i].kind == kind)
			return &head->section[i];
	}
	abort();
}

static void wrong_version(struct kms_region_header *h)
{
	h->version++;
}

static void wrong_header_bytes(struct kms_region_header *h)
{
	h->header_bytes = 100;
}

static void wrong_region_bytes(struct kms_region_header *h)
{
	h->region_bytes++;
}

static void wrong_rings(struct kms_region_header *h)
{
	h->rings = KMS_MAX_RINGS + 1;
}

static void no_rings(struct kms_region_header *h)
{
	h->rings = 0;
}

static void more_rings(struct kms_region_header *h)
{
	h->rings++;
}

static void wrong_slots(struct kms_region_header *h)
{
	h->slots = KMS_MAX_SLOTS + 1;
}

static void wrong_blocks(struct kms_region_header *h)
{
	h->blocks_per_ring = 12;
}

static void one_block(struct kms_region_header *h)
{
	h->blocks_per_ring = 1;
}

static void wrong_word(struct kms_region_header *h)
{
	h->word_bytes = 5;
}

static void wrong_target(struct kms_region_header *h)
{
	h->target_kind = 9;
}

static void wrong_sections(struct kms_region_header *h)
{
	h->sections = KMS_MAX_SECTIONS + 1;
}

static void missing_section(struct kms_region_header *h)
{
	h->sections--;
}

static void twice(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->kind = KMS_SEC_CACHE;
}

static void wrong_entry(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->entry_bytes = 8;
}

static void no_entries(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->entries = 0;
}

static void many_nodes(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->entries = 1ull << 60;
}

static void outside(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->offset = h->region_bytes - 8;
}

static void far_outside(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->offset = ~7ull;
}

static void in_header(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->offset = 8;
}

static void unaligned(struct kms_region_header *h)
{
	row(h, KMS_SEC_NODE)->offset += 4;
}

static void ours_unaligned(struct kms_region_header *h)
{
	row(h, KMS_SEC_REQUEST)->offset += 8;
}

static void ours_over_theirs(struct kms_region_header *h)
{
	row(h, KMS_SEC_TRACER)->offset = row(h, KMS_SEC_RING)->offset;
}

static void ours_over_ours(struct kms_region_header *h)
{
	row(h, KMS_SEC_REQUEST)->offset = row(h, KMS_SEC_TRACER)->offset + 4096;
}

static const struct wrong wrongs[] = {
	{"version",                   wrong_version,      -EPROTO },
	{"header bytes",              wrong_header_bytes, -EBADMSG},
	{"region bytes",              wrong_region_bytes, -EBADMSG},
	{"rings",		     wrong_rings,        -EBADMSG},
	{"no rings",                  no_rings,           -EBADMSG},
	{"more rings than described", more_rings,         -EBADMSG},
	{"slots",		     wrong_slots,        -EBADMSG},
	{"blocks not 2^n",            wrong_blocks,       -EBADMSG},
	{"one block",                 one_block,          -EBADMSG},
	{"word bytes",                wrong_word,         -EBADMSG},
	{"target kind",               wrong_target,       -EBADMSG},
	{"section count",             wrong_sections,     -EBADMSG},
	{"missing section",           missing_section,    -EBADMSG},
	{"section twice",             twice,              -EBADMSG},
	{"entry bytes",               wrong_entry,        -EBADMSG},
	{"no entries",                no_entries,         -EBADMSG},
	{"entries overflow",          many_nodes,         -EBADMSG},
	{"outside",                   outside,            -EBADMSG},
	{"far outside",               far_outside,        -EBADMSG},
	{"over the header",           in_header,          -EBADMSG},
	{"unaligned",                 unaligned,          -EBADMSG},
	{"our pages unaligned",       ours_unaligned,     -EBADMSG},
	{"our pages over the rings",  ours_over_theirs,   -EBADMSG},
	{"our pages over each other", ours_over_ours,     -EBADMSG},
};

static void each_wrong_header_field_is_found(void **state)
{
	struct kms_region_section section[KMS_REGION_KINDS];
	struct kms_err err = KMS_ERR_INIT;
	struct synth s;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	assert_int_equal(kms_region_check(s.head, s.bytes, section, &err), 0);
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct kms_region_header head = *s.head;
		int result;

		wrongs[i].make(&head);
		kms_err_clear(&err);
		result = kms_region_check(&head, s.bytes, section, &err);
		if (result != wrongs[i].result || !err.text[0])
			fail_msg("%s: %d, %s", wrongs[i].what, result, err.text);
	}
	synth_close(&s);
	unlink(s.path);
}

static void random_headers_never_give_a_section_outside_of_the_file(void **state)
{
	struct kms_region_section section[KMS_REGION_KINDS];
	struct rng rng;
	struct synth s;

	(void)state;
	rng_init(&rng, rng_seed());
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	for (int i = 0; i < 200000; i++) {
		struct kms_region_header head = *s.head;

		for (uint64_t n = 1 + rng_below(&rng, 3); n; n--)
			((uint8_t *)&head)[8 + rng_below(&rng, sizeof(head) - 8)] =
				(uint8_t)rng_next(&rng);
		if (kms_region_check(&head, s.bytes, section, NULL))
			continue;
		for (unsigned kind = 1; kind < KMS_REGION_KINDS; kind++)
			assert_true(section[kind].offset +
					    section[kind].entries * section[kind].entry_bytes <=
				    s.bytes);
	}
	synth_close(&s);
	unlink(s.path);
}

static void read_last_byte(void *arg)
{
	struct kms_region *region = arg;

	(void)*(const volatile uint8_t *)(region->map + region->bytes - 1);
}

static void a_file_cut_short_is_an_error_and_not_the_end_of_the_tracer(void **state)
{
	struct kms_region region;
	struct kms_control control;
	struct synth s;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	assert_int_equal(open_region(&region, NULL), 0);
	assert_int_equal(kms_control_init(&control, &region, 77), 0);
	assert_int_equal(kms_region_access(&region, read_last_byte, &region), 0);
	assert_int_equal(truncate(s.path, 4096), 0);
	assert_int_equal(kms_control_beat(&control, true), -EFAULT);
	assert_true(region.is_gone);
	assert_int_equal(kms_region_access(&region, read_last_byte, &region), -EFAULT);
	kms_region_close(&region);
	synth_close(&s);
	unlink(s.path);
}

static void a_bus_error_elsewhere_still_ends_the_process(void **state)
{
	struct synth s;
	int status;
	pid_t pid;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	pid = fork();
	if (pid == 0) {
		struct kms_region region;

		signal(SIGBUS, SIG_DFL); /* not the test library's */
		if (open_region(&region, NULL) || truncate(s.path, 4096))
			_exit(1);
		(void)*(volatile uint8_t *)(s.map + s.bytes - 1); /* not a guarded access */
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	synth_close(&s);
	unlink(s.path);
}

static void a_region_is_held_as_long_as_another_process_maps_it(void **state)
{
	struct kms_region region;
	struct synth s;
	int gate[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(gate), 0);
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	pid = fork(); /* inherits the mapping */
	if (pid == 0) {
		close(gate[1]);
		_exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(gate[0]);
	synth_close(&s); /* only the child has it now */
	assert_int_equal(open_region(&region, NULL), 0);
	assert_int_equal(kms_region_is_held(&region), 1);
	close(gate[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(kms_region_is_held(&region), 0);
	kms_region_close(&region);
	unlink(s.path);
}

static void an_owner_is_respected_while_its_heart_beats(void **state)
{
	struct kms_region one, two;
	struct kms_control first, second;
	struct synth s;
	uint64_t now = 5000000000;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	assert_int_equal(open_region(&one, NULL), 0);
	assert_int_equal(open_region(&two, NULL), 0);
	assert_int_equal(kms_control_init(&first, &one, 77), 0);
	assert_int_equal(kms_control_init(&second, &two, 88), 0);
	assert_int_equal(kms_control_claim(&first, now), 0);
	assert_int_equal(kms_control_beat(&first, false), 0);
	assert_int_equal(kms_control_claim(&second, now), -EBUSY);
	now += KMS_OWNER_DEAD_NS - 1;
	assert_int_equal(kms_control_beat(&first, false), 0);
	assert_int_equal(kms_control_claim(&second, now), -EBUSY);
	assert_int_equal(kms_control_claim(&second, now + KMS_OWNER_DEAD_NS - 1), -EBUSY);
	assert_int_equal(kms_control_claim(&second, now + KMS_OWNER_DEAD_NS), 0);
	kms_region_close(&one);
	kms_region_close(&two);
	synth_close(&s);
	unlink(s.path);
}

static void a_request_is_written_as_pairs_in_order(void **state)
{
	const struct kms_request *request;
	struct kms_region region;
	struct kms_control control;
	struct synth s;
	uint64_t seq, value;
	bool is_requested;

	(void)state;
	synth_create(&s, path_of("img-1"), &(struct synth_config){0});
	assert_int_equal(open_region(&region, NULL), 0);
	assert_int_equal(kms_control_init(&control, &region, 77), 0);
	assert_int_equal(kms_control_requested(&control, 2, 5, &value, &is_requested, &seq), 0);
	assert_int_equal(seq, 0);
	assert_false(is_requested);
	assert_int_equal(kms_control_request(&control, 2, 5, 30000, &seq), 0);
	assert_int_equal(seq, 1);
	request = synth_at(&s, KMS_SEC_REQUEST, 2);
	assert_int_equal(request->item[5].v, 30000);
	assert_true(request->item[5].not_v == ~UINT64_C(30000));
	assert_int_equal(request->seq.v, 1);
	assert_int_equal(request->attention, 1);
	assert_int_equal(kms_control_requested(&control, 2, 5, &value, &is_requested, &seq), 0);
	assert_true(is_requested);
	assert_int_equal(value, 30000);
	assert_int_equal(seq, 1);
	kms_region_close(&region);
	synth_close(&s);
	unlink(s.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_region_opens_and_shows_its_tables),
		cmocka_unit_test(an_unfinished_region_is_to_be_looked_at_again),
		cmocka_unit_test(what_is_no_region_file_is_refused),
		cmocka_unit_test(a_file_of_another_user_is_refused),
		cmocka_unit_test(each_wrong_header_field_is_found),
		cmocka_unit_test(random_headers_never_give_a_section_outside_of_the_file),
		cmocka_unit_test(a_file_cut_short_is_an_error_and_not_the_end_of_the_tracer),
		cmocka_unit_test(a_bus_error_elsewhere_still_ends_the_process),
		cmocka_unit_test(a_region_is_held_as_long_as_another_process_maps_it),
		cmocka_unit_test(an_owner_is_respected_while_its_heart_beats),
		cmocka_unit_test(a_request_is_written_as_pairs_in_order),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
