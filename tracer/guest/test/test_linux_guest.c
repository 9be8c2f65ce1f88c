/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/guest/linux.h"
#include "tracer/guest/test/fake_linux.h"
#include "tracer/process.h"

enum {
	SEEDS = 16,
	NS_PER_S = 1000000000,
};

static struct kms_linux *open_fake(struct fake_linux *fake, const char *folder)
{
	struct kms_linux_options options = {.cache_folder = folder, .is_still = true};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_linux *kernel = NULL;

	if (kms_linux_open(fake->ram.memory, &options, &kernel, &err))
		fail_msg("%s", err.text);
	return kernel;
}

static void assert_caches(struct fake_linux *fake, struct kms_linux *kernel)
{
	const struct kms_linux_cache *cache;
	size_t n;

	assert_int_equal(kms_linux_refresh_caches(kernel, NULL), 0);
	cache = kms_linux_caches(kernel, &n);
	assert_int_equal(n, FAKE_CACHES);
	for (size_t i = 0; i < n; i++) {
		const struct fake_cache *true_one = &fake->cache[i];

		assert_string_equal(cache[i].name, true_one->name);
		assert_int_equal(cache[i].object_bytes, true_one->object_bytes);
		assert_int_equal(cache[i].size_bytes, true_one->size_bytes);
		assert_int_equal(cache[i].objects_per_slab, true_one->objects_per_slab);
		assert_int_equal(cache[i].pages_per_slab, 1);
		assert_int_equal(cache[i].active, true_one->active);
		assert_int_equal(cache[i].objects, true_one->objects);
		assert_int_equal(cache[i].slabs, true_one->slabs);
		assert_int_equal(cache[i].has_owners, i == 2);
		assert_false(cache[i].is_approximate);
	}
}

static void caches_are_found_whatever_the_layout(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux *kernel = open_fake(fake, NULL);

		assert_caches(fake, kernel);
		assert_int_equal(kms_linux_check(kernel, NULL), 0);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

static void live_objects_are_counted_by_call_site(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux *kernel = open_fake(fake, NULL);
		uint64_t frame[KMS_LINUX_MAX_FRAMES], offset, objects = 0;
		struct kms_linux_site_stats stats;
		const struct kms_linux_site *site;
		const char *name, *module;
		size_t n;

		assert_int_equal(kms_linux_refresh_caches(kernel, NULL), 0);
		assert_int_equal(kms_linux_refresh_sites(kernel, NS_PER_S, NULL), 0);
		site = kms_linux_sites(kernel, &n);
		kms_linux_site_stats(kernel, &stats);
		assert_int_equal(stats.live, fake->owned_live);
		assert_int_equal(stats.free, fake->cache[2].objects - fake->cache[2].active);
		assert_int_equal(stats.unread, 0);
		assert_int_equal(stats.red_zones, 0);
		assert_in_range(n, 1, 2);
		for (size_t i = 0; i < n; i++)
			objects += site[i].objects;
		assert_int_equal(objects, fake->owned_live);
		assert_int_equal(site[0].call_site, fake->leak_site);
		assert_int_equal(site[0].handle, fake->leak_handle);
		assert_int_equal(site[0].bytes, site[0].objects * fake->cache[2].object_bytes);
		assert_int_equal(site[0].oldest_jiffies, 4000);
		assert_int_equal(kms_linux_stack(kernel, fake->leak_handle, frame, NULL),
				 FAKE_STACK_FRAMES);
		assert_memory_equal(frame, fake->stack, sizeof(fake->stack));
		assert_int_equal(kms_linux_stack(kernel, 0, frame, NULL), -ENOENT);
		assert_int_equal(kms_linux_name(kernel, site[0].call_site, &name, &offset, &module),
				 0);
		assert_string_equal(name, "leaky_open");
		assert_int_equal(offset, 0x10);
		assert_null(module);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

/* Where the first live object of the cache with owners lies, in our mapping. */
static uint8_t *first_object(struct fake_linux *fake, struct kms_linux *kernel)
{
	for (size_t page = 6 << 20; page < FAKE_RAM_BYTES; page += 4096) {
		const uint8_t *zone = fake->ram.bytes + page + fake->cache[2].object_bytes;

		if (zone[0] == 0xcc && zone[7] == 0xcc)
			return fake->ram.bytes + page;
	}
	(void)kernel;
	fail_msg("no object");
	return NULL;
}

static void a_broken_red_zone_is_found_with_its_byte(void **state)
{
	struct fake_linux *fake = fake_linux_make(5);
	struct kms_linux *kernel = open_fake(fake, NULL);
	const struct kms_linux_damage *damage;
	uint8_t *object = first_object(fake, kernel);
	size_t n;

	(void)state;
	object[fake->cache[2].object_bytes + 3] = 0x41;
	assert_int_equal(kms_linux_refresh_caches(kernel, NULL), 0);
	assert_int_equal(kms_linux_refresh_sites(kernel, NS_PER_S, NULL), 0);
	damage = kms_linux_damages(kernel, &n);
	assert_int_equal(n, 1);
	assert_int_equal(damage->found, 0x41);
	assert_int_equal(damage->expected, 0xcc);
	assert_int_equal(damage->object, fake->linear + (uint64_t)(object - fake->ram.bytes));
	assert_int_equal(damage->at - damage->object, fake->cache[2].object_bytes + 3);
	assert_int_equal(damage->length, 1);
	assert_int_equal(damage->zone, KMS_LINUX_ZONE_RIGHT);
	assert_false(damage->is_free);
	assert_int_equal(damage->times, 1);
	assert_int_not_equal(damage->alloc.call_site, 0);
	assert_int_equal(damage->bytes[damage->at - damage->bytes_at], 0x41);
	/* seen again it is no change under way */
	assert_int_equal(kms_linux_refresh_sites(kernel, 2 * NS_PER_S, NULL), 0);
	damage = kms_linux_damages(kernel, &n);
	assert_int_equal(n, 1);
	assert_int_equal(damage->times, 2);
	/* a zone that is whole with the other state's byte is being written right now */
	memset(object + fake->cache[2].object_bytes, 0xbb, 8);
	assert_int_equal(kms_linux_refresh_sites(kernel, 2 * NS_PER_S, NULL), 0);
	(void)kms_linux_damages(kernel, &n);
	assert_int_equal(n, 0);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

/* The slabs of a cache, added up. */
struct drawn {
	uint64_t slabs, objects, live, first;
};

static int draw(void *arg, const struct kms_linux_slab *slab)
{
	struct drawn *drawn = arg;
	uint32_t bits = 0;

	for (uint32_t i = 0; i < slab->objects; i++)
		bits += slab->bitmap[i / 8] >> (i & 7) & 1;
	assert_int_equal(bits, slab->live);
	if (!drawn->slabs)
		drawn->first = slab->memory;
	drawn->slabs++;
	drawn->objects += slab->objects;
	drawn->live += slab->live;
	return 0;
}

static void every_slab_of_a_cache_is_found_with_its_objects(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux *kernel = open_fake(fake, NULL);

		assert_int_equal(kms_linux_refresh_caches(kernel, NULL), 0);
		for (uint32_t i = 0; i < FAKE_CACHES; i++) {
			struct drawn drawn = {0};
			struct kms_linux_object object;

			assert_int_equal(kms_linux_each_slab(kernel, i, draw, &drawn, NULL), 0);
			assert_int_equal(drawn.slabs, fake->cache[i].slabs);
			assert_int_equal(drawn.objects, fake->cache[i].objects);
			assert_int_equal(drawn.live, fake->cache[i].active);
			assert_int_equal(
				kms_linux_object_at(kernel,
						    drawn.first + fake->cache[i].size_bytes + 1,
						    &object, NULL),
				0);
			assert_int_equal(object.cache, i);
			assert_int_equal(object.index, 1);
			assert_int_equal(object.slab, drawn.first);
			assert_int_equal(object.address, drawn.first + fake->cache[i].size_bytes);
			assert_false(object.is_damaged);
			assert_int_equal(object.alloc.call_site != 0, i == 2 && !object.is_free);
		}
		assert_int_equal(kms_linux_each_slab(kernel, FAKE_CACHES, draw, NULL, NULL),
				 -EINVAL);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

static void memory_is_written_only_where_it_holds_what_is_expected(void **state)
{
	struct fake_linux *fake = fake_linux_make(4);
	struct kms_linux *kernel = open_fake(fake, NULL);
	uint64_t at = fake->linear + 0x1000, old = 0x1122334455667788, new = 0x99;

	(void)state;
	memcpy(fake->ram.bytes + 0x1000, &old, sizeof(old));
	assert_int_equal(kms_linux_memory_write(kernel, at, &new, &old, 8, NULL), -EAGAIN);
	assert_int_equal(kms_linux_memory_write(kernel, at + 4, &old, &new, 8, NULL), -EINVAL);
	assert_int_equal(kms_linux_memory_write(kernel, at, &old, &new, 3, NULL), -EINVAL);
	assert_int_equal(kms_linux_memory_write(kernel, 0x1000, &old, &new, 8, NULL), -EFAULT);
	assert_memory_equal(fake->ram.bytes + 0x1000, &old, sizeof(old));
	assert_int_equal(kms_linux_memory_write(kernel, at, &old, &new, 8, NULL), 0);
	assert_memory_equal(fake->ram.bytes + 0x1000, &new, sizeof(new));
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

struct seen {
	uint64_t events, frees, bytes, last_time[2];
};

static int see(void *arg, const struct kms_linux_event *event)
{
	struct seen *seen = arg;

	assert_true(event->cpu < 2);
	assert_true(event->time_ns > seen->last_time[event->cpu]);
	seen->last_time[event->cpu] = event->time_ns;
	assert_int_equal(event->pid, 7);
	seen->events++;
	seen->frees += event->kind == KMS_LINUX_FREE;
	seen->bytes += event->bytes;
	return 0;
}

/* The writer moves on: what it commits to, and how many pages it went to. */
static void ring_move(struct fake_linux *fake, unsigned cpu, unsigned page, uint64_t touched)
{
	uint8_t *ring = fake->ram.bytes + (fake->ring_cpu[cpu] - fake->linear);
	uint64_t commit = fake->ring_cpu[cpu] + 512 + page * 256U;

	memcpy(ring + fake_offset_of(fake, "ring_buffer_per_cpu", "commit_page"), &commit, 8);
	memcpy(ring + fake_offset_of(fake, "ring_buffer_per_cpu", "pages_touched"), &touched, 8);
}

static void each_event_of_the_ring_is_given_once(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux *kernel = open_fake(fake, NULL);
		struct kms_linux_event_stats stats;
		struct seen seen = {0};
		uint64_t bytes = 0;

		assert_int_equal(kms_linux_events(kernel, see, &seen, NULL), 0);
		assert_in_range(seen.events, 1, FAKE_EVENTS - 1); /* the first page of each CPU */
		ring_move(fake, 0, 2, 102);
		ring_move(fake, 1, 2, 102);
		assert_int_equal(kms_linux_events(kernel, see, &seen, NULL), 0);
		assert_int_equal(kms_linux_events(kernel, see, &seen, NULL), 0);
		for (unsigned i = 0; i < FAKE_EVENTS; i++)
			bytes += i % 3 == 2 ? 0 : i;
		assert_int_equal(seen.events, FAKE_EVENTS);
		assert_int_equal(seen.frees, FAKE_EVENTS / 3);
		assert_int_equal(seen.bytes, bytes);
		kms_linux_event_stats(kernel, &stats);
		assert_int_equal(stats.events, FAKE_EVENTS);
		assert_int_equal(stats.lost_pages, 0);
		assert_int_equal(stats.damaged, 0);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

/* Before the kernel has been all around its ring, and after that. */
static void events_from_before_can_be_had(void **state)
{
	static const uint64_t touched[] = {2, 3, 4, 102};

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct kms_linux_options options = {.is_still = true, .old_events = true};
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux_event_stats stats;
		struct kms_linux *kernel = NULL;
		struct seen seen = {0};

		ring_move(fake, 0, 2, touched[seed % 4]);
		ring_move(fake, 1, 2, touched[seed % 4]);
		assert_int_equal(kms_linux_open(fake->ram.memory, &options, &kernel, NULL), 0);
		assert_int_equal(kms_linux_events(kernel, see, &seen, NULL), 0);
		assert_int_equal(seen.events, FAKE_EVENTS);
		assert_int_equal(kms_linux_events(kernel, see, &seen, NULL), 0);
		assert_int_equal(seen.events, FAKE_EVENTS); /* once */
		kms_linux_event_stats(kernel, &stats);
		assert_int_equal(stats.lost_pages, 0);
		assert_int_equal(stats.damaged, 0);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

static int count(void *arg, const struct kms_linux_event *event)
{
	(void)event;
	++*(uint64_t *)arg;
	return 0;
}

static void pages_written_over_before_they_were_read_are_counted(void **state)
{
	struct fake_linux *fake = fake_linux_make(3);
	struct kms_linux *kernel = open_fake(fake, NULL);
	struct kms_linux_event_stats stats;
	uint64_t events = 0;

	(void)state;
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	ring_move(fake, 0, 1, 200); /* 100 pages on in a ring of 4 */
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	kms_linux_event_stats(kernel, &stats);
	assert_in_range(stats.lost_pages, 96, 100);
	ring_move(fake, 0, 0, 3); /* emptied by the guest: it counts anew */
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	assert_in_range(stats.lost_pages, 96, 100);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

/* The time in the head of a page of a CPU's ring. */
static uint8_t *page_time(struct fake_linux *fake, unsigned cpu, unsigned page)
{
	const uint8_t *at =
		fake->ram.bytes + (fake->ring_cpu[cpu] + 512 + page * 256U - fake->linear);
	uint64_t data;

	memcpy(&data, at + fake_offset_of(fake, "buffer_page", "page"), sizeof(data));
	return fake->ram.bytes + (data - fake->linear); /* the first member everywhere */
}

static uint64_t lost_pages(const struct kms_linux *kernel)
{
	struct kms_linux_event_stats stats;

	kms_linux_event_stats(kernel, &stats);
	return stats.lost_pages;
}

/* Until it is given up that a page will make sense again. */
static void read_until_lost(struct kms_linux *kernel, uint64_t *events, uint64_t lost)
{
	uint64_t end_ns = kms_mono_ns() + UINT64_C(60000000000);

	do {
		assert_int_equal(kms_linux_events(kernel, count, events, NULL), 0);
		assert_true(kms_mono_ns() < end_ns);
	} while (lost_pages(kernel) < lost);
}

static void a_page_that_changes_for_a_moment_makes_nothing_come_twice(void **state)
{
	struct fake_linux *fake = fake_linux_make(3);
	struct kms_linux *kernel = open_fake(fake, NULL);
	uint64_t events = 0, before;

	(void)state;
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	before = events;
	page_time(fake, 0, 0)[0] ^= 1;
	ring_move(fake, 0, 2, 102);
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	assert_int_equal(events, before);
	page_time(fake, 0, 0)[0] ^= 1;
	ring_move(fake, 1, 2, 102);
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	assert_int_equal(events, FAKE_EVENTS);
	assert_int_equal(lost_pages(kernel), 0);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

/* What is missing is counted, and nothing comes twice: the newest page itself, and one behind it. */
static void a_page_that_changes_for_good_is_given_up(void **state)
{
	struct fake_linux *fake = fake_linux_make(3);
	struct kms_linux *kernel = open_fake(fake, NULL);
	uint64_t events = 0;

	(void)state;
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	ring_move(fake, 0, 1, 101);
	ring_move(fake, 1, 1, 101);
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	assert_int_equal(events, FAKE_EVENTS);
	page_time(fake, 0, 1)[0] ^= 1;
	read_until_lost(kernel, &events, 1);
	page_time(fake, 0, 1)[0] ^= 1; /* as it was: all of it was given out */
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	page_time(fake, 1, 1)[0] ^= 1;
	ring_move(fake, 1, 2, 102); /* an empty one */
	read_until_lost(kernel, &events, 2);
	page_time(fake, 1, 1)[0] ^= 1;
	assert_int_equal(kms_linux_events(kernel, count, &events, NULL), 0);
	assert_int_equal(events, FAKE_EVENTS + 2); /* those two say that something is missing */
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

static void kernels_that_are_not_known_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *release, *word;
	} cases[] = {
		{"5.10.0-9-amd64", "older"},
		{"6.0.1",          "older"},
		{"6.13.2",         "newer"},
		{"7.0.0",          "newer"}
        };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake_linux *fake = fake_linux_make(1);
		struct kms_linux *kernel = NULL;
		struct kms_err err = KMS_ERR_INIT;

		fake_linux_write_info(fake, fake->info_at, cases[i].release);
		assert_int_equal(kms_linux_open(fake->ram.memory, NULL, &kernel, &err), -ENOTSUP);
		assert_non_null(strstr(err.text, cases[i].word));
		assert_non_null(strstr(err.text, cases[i].release));
		fake_linux_drop(fake);
	}
}

static void memory_without_a_kernel_says_try_again(void **state)
{
	struct fake_linux *fake = fake_linux_make(1);
	struct kms_linux *kernel = NULL;

	(void)state;
	memset(fake->ram.bytes + fake->info_at, 0, 4096);
	assert_int_equal(kms_linux_open(fake->ram.memory, NULL, &kernel, NULL), -EAGAIN);
	fake_linux_drop(fake);
}

static void a_kernel_that_was_replaced_is_noticed(void **state)
{
	struct fake_linux *fake = fake_linux_make(1);
	struct kms_linux *kernel = open_fake(fake, NULL);

	(void)state;
	fake->kaslr += 1 << 21;
	fake_linux_write_info(fake, fake->info_at, "6.12.0-fake");
	assert_int_equal(kms_linux_check(kernel, NULL), -ESTALE);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

static void a_text_left_by_the_kernel_before_leads_nowhere(void **state)
{
	struct fake_linux *fake = fake_linux_make(1);
	uint64_t kaslr = fake->kaslr, phys_base = fake->phys_base;
	struct kms_linux *kernel;
	struct kms_linux_about about;

	(void)state;
	fake->kaslr += 3 << 21; /* other addresses, lower down in RAM so that it is found first */
	fake->phys_base -= 3 << 21;
	fake_linux_write_info(fake, 0x8000, "6.12.0-fake");
	fake->kaslr = kaslr;
	fake->phys_base = phys_base;
	kernel = open_fake(fake, NULL);
	kms_linux_about(kernel, &about);
	assert_int_equal(about.kaslr_offset, kaslr);
	assert_caches(fake, kernel);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

static void addresses_in_a_module_have_its_names(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 4; seed++) {
		struct fake_linux *fake = fake_linux_make(seed);
		struct kms_linux *kernel = open_fake(fake, NULL);
		const char *name, *module;
		uint64_t offset;

		assert_int_equal(kms_linux_name(kernel, fake->text + 0x3f, &name, &offset, &module),
				 0);
		assert_string_equal(name, "fake_init");
		assert_string_equal(module, "fakemod");
		assert_int_equal(offset, 0x3f);
		assert_int_equal(kms_linux_name(kernel, fake->text + 0x42, &name, &offset, &module),
				 0);
		assert_string_equal(name, "fake_ioctl");
		assert_int_equal(offset, 2);
		assert_int_equal(kms_linux_name(kernel, fake->text + 4096, &name, &offset, &module),
				 -ENOENT);
		assert_null(module);
		kms_linux_close(kernel);
		fake_linux_drop(fake);
	}
}

/* A module that makes no sense is left out, so it does not count towards the most that are read. */
static void a_list_of_modules_without_an_end_ends(void **state)
{
	struct fake_linux *fake = fake_linux_make(7);
	struct kms_linux *kernel = open_fake(fake, NULL);
	uint8_t *module = fake->ram.bytes + (fake->module - fake->linear);
	uint32_t list = fake_offset_of(fake, "module", "list"), bytes = UINT32_MAX;
	uint64_t itself = fake->module + list, offset;
	const char *name, *in;

	(void)state;
	memcpy(module + list, &itself, sizeof(itself));
	memcpy(module + fake_offset_of(fake, "module", "mem") + 8, &bytes, sizeof(bytes));
	assert_int_equal(kms_linux_name(kernel, fake->text, &name, &offset, &in), -ENOENT);
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

/* The list of caches bites its tail. */
static void lists_without_an_end_end(void **state)
{
	struct fake_linux *fake = fake_linux_make(7);
	struct kms_linux *kernel = open_fake(fake, NULL);
	uint32_t list = fake_offset_of(fake, "kmem_cache", "list");
	uint64_t second = fake->cache[1].address + list;
	size_t n;

	(void)state;
	assert_caches(fake, kernel);
	memcpy(fake->ram.bytes + (fake->cache[3].address - fake->linear) + list, &second, 8);
	assert_int_equal(kms_linux_refresh_caches(kernel, NULL), -EBADMSG);
	(void)kms_linux_caches(kernel, &n);
	assert_int_equal(n, FAKE_CACHES); /* those of before stay */
	kms_linux_close(kernel);
	fake_linux_drop(fake);
}

/* Whether an open of it now takes what is kept. */
static bool is_kept(struct fake_linux *fake, const char *folder)
{
	struct kms_linux *kernel = open_fake(fake, folder);
	struct kms_linux_about about;

	kms_linux_about(kernel, &about);
	assert_caches(fake, kernel);
	kms_linux_close(kernel);
	return about.was_cached;
}

/* Build ids are what a guest says. */
static void what_a_guest_with_other_tables_left_is_not_used(void **state)
{
	char folder[] = "/tmp/kms-linux-XXXXXX";
	struct fake_linux *fake = fake_linux_make(11);
	uint8_t *spare[] = {fake->spare_name, fake->spare_type};
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/linux-%040llx", folder,
		       (unsigned long long)fake->random);
	assert_false(is_kept(fake, folder));
	assert_true(is_kept(fake, folder));
	for (size_t i = 0; i < sizeof(spare) / sizeof(spare[0]); i++) {
		(*spare[i])++;
		assert_false(is_kept(fake, folder)); /* and writes it anew */
		assert_true(is_kept(fake, folder));
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	fake_linux_drop(fake);
}

static void symbols_are_kept_for_the_next_time_unless_damaged(void **state)
{
	char folder[] = "/tmp/kms-linux-XXXXXX";
	struct fake_linux *fake = fake_linux_make(9);
	struct kms_linux_about about;
	struct kms_linux *kernel;
	char path[128];
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	for (int i = 0; i < 2; i++) {
		kernel = open_fake(fake, folder);
		kms_linux_about(kernel, &about);
		assert_int_equal(about.was_cached, i == 1);
		assert_caches(fake, kernel);
		kms_linux_close(kernel);
	}
	(void)snprintf(path, sizeof(path), "%s/linux-%040llx", folder,
		       (unsigned long long)fake->random);
	for (long at = 0; at < 4096; at += 211) {
		int byte;

		file = fopen(path, "r+e");
		assert_non_null(file);
		assert_int_equal(fseek(file, at, SEEK_SET), 0);
		byte = fgetc(file);
		assert_int_equal(fseek(file, at, SEEK_SET), 0);
		assert_int_not_equal(fputc(byte ^ 0x55, file), EOF);
		assert_int_equal(fclose(file), 0);
		kernel = open_fake(fake, folder); /* and writes it anew */
		kms_linux_about(kernel, &about);
		assert_false(about.was_cached);
		kms_linux_close(kernel);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	fake_linux_drop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caches_are_found_whatever_the_layout),
		cmocka_unit_test(live_objects_are_counted_by_call_site),
		cmocka_unit_test(a_broken_red_zone_is_found_with_its_byte),
		cmocka_unit_test(every_slab_of_a_cache_is_found_with_its_objects),
		cmocka_unit_test(memory_is_written_only_where_it_holds_what_is_expected),
		cmocka_unit_test(each_event_of_the_ring_is_given_once),
		cmocka_unit_test(events_from_before_can_be_had),
		cmocka_unit_test(pages_written_over_before_they_were_read_are_counted),
		cmocka_unit_test(a_page_that_changes_for_a_moment_makes_nothing_come_twice),
		cmocka_unit_test(a_page_that_changes_for_good_is_given_up),
		cmocka_unit_test(kernels_that_are_not_known_are_refused_with_the_reason),
		cmocka_unit_test(memory_without_a_kernel_says_try_again),
		cmocka_unit_test(a_kernel_that_was_replaced_is_noticed),
		cmocka_unit_test(a_text_left_by_the_kernel_before_leads_nowhere),
		cmocka_unit_test(addresses_in_a_module_have_its_names),
		cmocka_unit_test(a_list_of_modules_without_an_end_ends),
		cmocka_unit_test(lists_without_an_end_end),
		cmocka_unit_test(what_a_guest_with_other_tables_left_is_not_used),
		cmocka_unit_test(symbols_are_kept_for_the_next_time_unless_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
