/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kmem events of the kernel's trace ring, read where they lie.
 *
 * Each CPU has a circle of pages. The kernel writes them one after the other and, nobody reading,
 * over the oldest. We follow it: the page that it commits to is the last with something in it. It
 * counts the pages that it went to; by that number it is known when it has come around to ours, and
 * how many were lost. A page may be overwritten while it is copied: its head, read again after that,
 * says so, as its time is then another. (Format: kernel/trace/ring_buffer.c and its header page.)
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"
#include "tracer/process.h"

enum {
	MAX_ORDER = 7,
	MAX_SKIPS = 8,            /* of a CPU in one call: each follows an eighth of the ring */
	MAX_POLL_PAGES = 1 << 14, /* of a CPU in one call: 64 MiB */
	MAX_STRUCT_BYTES = 1024,
	COMMIT_MASK = 0xfffff, /* above it the kernel's readers keep flags */
	POINTER_FLAGS = 3,     /* of the list's pointers */
	TYPE_PADDING = 29,
	TYPE_EXTEND = 30,
	TYPE_STAMP = 31,
	DELTA_BITS = 27,
	EVENT_TYPES = 6,
	MAX_PAGE_ORDER = 12,
	MAX_PFN_BITS = 52 - 12,
	USUAL_EVENT_BYTES = 52, /* of a kmem event, until some were seen */
	HEAD_BYTES = 4,
	LONG_HEAD_BYTES = 8,
};

static const uint64_t doubt_for_ns = 200000000; /* no page is being changed for so long */

/* Where the numbers of one kind of event lie. */
struct event_rule {
	const char *symbol, *tracepoint;
	enum kms_lx_member first, last; /* of the event's members in the layout's table */
	uint8_t kind, of;
};

enum {
	OF_KMALLOC,
	OF_KFREE,
	OF_CACHE_ALLOC,
	OF_CACHE_FREE,
	OF_PAGE_ALLOC,
	OF_PAGE_FREE,
};

static const struct event_rule rules[EVENT_TYPES] = {
#define RULE(name, first, last, kind, of)                                                          \
	{                                                                                          \
		"event_" name, "__tracepoint_" name, KMS_LX_EV_##first##_AT,                       \
			KMS_LX_EV_##last##_AT, KMS_LINUX_##kind, KMS_LINUX_OF_##of                 \
	}
	RULE("kmalloc", KMALLOC_SITE, KMALLOC_BYTES, ALLOC, KMALLOC),
	RULE("kfree", KFREE_SITE, KFREE_PTR, FREE, KMALLOC),
	RULE("kmem_cache_alloc", CACHE_ALLOC_SITE, CACHE_ALLOC_BYTES, ALLOC, CACHE),
	RULE("kmem_cache_free", CACHE_FREE_SITE, CACHE_FREE_PTR, FREE, CACHE),
	RULE("mm_page_alloc", PAGE_ALLOC_PFN, PAGE_ALLOC_ORDER, ALLOC, PAGES),
	RULE("mm_page_free", PAGE_FREE_PFN, PAGE_FREE_ORDER, FREE, PAGES),
#undef RULE
};

/* Where we are in a CPU's ring. */
struct ring_cpu {
	uint64_t address;  /* of its struct; 0: no such CPU */
	uint64_t page;     /* struct buffer_page; 0: not begun */
	uint64_t number;   /* of the page, as the kernel counts those it went to */
	uint64_t stamp;    /* time in the page's head, 0: not read yet */
	uint32_t offset;   /* of what comes next, in its data */
	uint64_t time;     /* of the event before */
	uint64_t doubt_ns; /* since when nothing can be made of the page; 0: something can */
};

struct kms_linux_ring {
	uint64_t buffer; /* struct trace_buffer that this was set up for */
	uint32_t cpus;
	struct ring_cpu cpu[KMS_LINUX_MAX_CPUS];
	uint32_t page_bytes;
	uint8_t *page;              /* copy */
	uint16_t type[EVENT_TYPES]; /* number of each kind, 0: this kernel has none */
	uint32_t need[EVENT_TYPES]; /* bytes of an event that are read */
	struct kms_linux_event_stats stats;
};

/* A page while its events are given out. */
struct decode {
	struct kms_linux *lx;
	struct kms_linux_ring *ring;
	struct ring_cpu *cpu;
	const uint8_t *data;
	uint32_t bytes;
	int (*emit)(void *arg, const struct kms_linux_event *event);
	void *arg;
	bool ended; /* by emit */
};

void kms_lx_ring_destroy(struct kms_linux_ring *ring)
{
	if (!ring)
		return;
	free(ring->page);
	free(ring);
}

static uint32_t word_at(const uint8_t *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static void find_types(struct kms_linux *lx, struct kms_linux_ring *ring)
{
	for (int i = 0; i < EVENT_TYPES; i++) {
		const struct event_rule *rule = &rules[i];
		uint64_t call = kms_symbols_find(&lx->symbols, rule->symbol);
		uint64_t type = 0;

		ring->type[i] = 0;
		if (!call || !kms_linux_has_member(&lx->layout, rule->first) ||
		    !kms_linux_has_member(&lx->layout, rule->last) ||
		    kms_lx_read_member(lx, call, KMS_LX_EVENT_CALL_TYPE_AT, &type, NULL) ||
		    type > UINT16_MAX)
			continue;
		ring->type[i] = (uint16_t)type;
		ring->need[i] = kms_linux_reach(&lx->layout, rule->first, rule->last);
	}
}

static void look_whether_on(struct kms_linux *lx, struct kms_linux_ring *ring)
{
	ring->stats.is_on = false;
	for (int i = 0; i < EVENT_TYPES; i++) {
		uint64_t point = kms_symbols_find(&lx->symbols, rules[i].tracepoint);
		uint64_t enabled;

		if (point &&
		    !kms_lx_read_member(lx, point, KMS_LX_TRACEPOINT_ENABLED_AT, &enabled, NULL))
			ring->stats.is_on |= enabled != 0;
	}
}

static int find_cpus(struct kms_linux *lx, struct kms_linux_ring *ring, struct kms_err *err)
{
	uint64_t cpus = 0, buffers, pointer[KMS_LINUX_MAX_CPUS] = {0};
	int rc;

	if (kms_linux_has_member(&lx->layout, KMS_LX_TRACE_BUFFER_CPUS_AT))
		rc = kms_lx_read_member(lx, ring->buffer, KMS_LX_TRACE_BUFFER_CPUS_AT, &cpus, err);
	else
		rc = kms_lx_read_variable(lx, "nr_cpu_ids", sizeof(uint32_t), &cpus, err);
	if (!rc)
		rc = kms_lx_read_member(lx, ring->buffer, KMS_LX_TRACE_BUFFER_BUFFERS_AT, &buffers,
					err);
	if (rc)
		return rc;
	if (!cpus)
		return kms_err_set(err, -EBADMSG, "a trace ring without CPUs");
	ring->cpus = cpus < KMS_LINUX_MAX_CPUS ? (uint32_t)cpus : KMS_LINUX_MAX_CPUS;
	rc = kms_lx_read(lx, buffers, pointer, ring->cpus * sizeof(pointer[0]), err);
	for (uint32_t i = 0; !rc && i < ring->cpus; i++)
		ring->cpu[i] = (struct ring_cpu){.address = pointer[i]};
	return rc;
}

/* Room for one page; since 6.8 it may be larger than a page of memory. */
static int find_page_size(struct kms_linux *lx, struct kms_linux_ring *ring, struct kms_err *err)
{
	uint64_t order = 0;
	uint8_t *page;

	if (kms_linux_has_member(&lx->layout, KMS_LX_TRACE_BUFFER_ORDER_AT)) {
		int rc = kms_lx_read_member(lx, ring->buffer, KMS_LX_TRACE_BUFFER_ORDER_AT, &order,
					    err);

		if (rc)
			return rc;
	}
	if (order > MAX_ORDER)
		return kms_err_set(err, -EBADMSG, "a trace ring of pages of order %" PRIu64, order);
	ring->page_bytes = (uint32_t)KMS_LX_PAGE << order;
	page = realloc(ring->page, ring->page_bytes);
	if (!page)
		return kms_err_set(err, -ENOMEM, "no memory for a page of the trace ring");
	ring->page = page;
	return 0;
}

/* The ring is another when the guest resized it, or took a snapshot: we begin anew. */
static int ring_find(struct kms_linux *lx, struct kms_err *err)
{
	uint64_t trace = kms_symbols_find(&lx->symbols, "global_trace"), buffer;
	struct kms_linux_ring *ring;
	int rc;

	if (!trace || !kms_linux_layout_has(&lx->layout, KMS_LX_FOR_EVENTS))
		return kms_err_set(err, -ENOTSUP, "this kernel has no trace ring");
	rc = kms_lx_read_member(lx, trace, KMS_LX_TRACE_ARRAY_BUFFER_AT, &buffer, err);
	if (rc)
		return rc;
	if (!lx->ring)
		lx->ring = calloc(1, sizeof(*lx->ring));
	ring = lx->ring;
	if (!ring)
		return kms_err_set(err, -ENOMEM, "no memory for the trace ring");
	if (ring->buffer == buffer)
		return 0;
	ring->buffer = buffer;
	find_types(lx, ring);
	rc = find_page_size(lx, ring, err);
	if (!rc)
		rc = find_cpus(lx, ring, err);
	if (rc)
		ring->buffer = 0;
	return rc;
}

/* Pages: as much as is told of them makes an address and a size. */
static bool fill_pages(const struct kms_linux *lx, const uint8_t *event, bool is_alloc,
		       struct kms_linux_event *out)
{
	uint64_t pfn = kms_lx_member(
		lx, is_alloc ? KMS_LX_EV_PAGE_ALLOC_PFN_AT : KMS_LX_EV_PAGE_FREE_PFN_AT, event);
	uint64_t order = kms_lx_member(
		lx, is_alloc ? KMS_LX_EV_PAGE_ALLOC_ORDER_AT : KMS_LX_EV_PAGE_FREE_ORDER_AT, event);

	if (pfn >> MAX_PFN_BITS || order > MAX_PAGE_ORDER) /* there were none */
		return false;
	out->address = pfn * KMS_LX_PAGE;
	out->bytes = (uint64_t)KMS_LX_PAGE << order;
	return true;
}

static bool fill_event(const struct kms_linux *lx, int type, const uint8_t *event, uint32_t bytes,
		       struct kms_linux_event *out)
{
	switch (type) {
	case OF_KMALLOC:
		out->call_site = kms_lx_member(lx, KMS_LX_EV_KMALLOC_SITE_AT, event);
		out->address = kms_lx_member(lx, KMS_LX_EV_KMALLOC_PTR_AT, event);
		out->bytes = kms_lx_member(lx, KMS_LX_EV_KMALLOC_BYTES_AT, event);
		if (bytes >= kms_linux_reach(&lx->layout, KMS_LX_EV_KMALLOC_ROOM_AT,
					     KMS_LX_EV_KMALLOC_ROOM_AT))
			out->room = kms_lx_member(lx, KMS_LX_EV_KMALLOC_ROOM_AT, event);
		return true;
	case OF_KFREE:
		out->call_site = kms_lx_member(lx, KMS_LX_EV_KFREE_SITE_AT, event);
		out->address = kms_lx_member(lx, KMS_LX_EV_KFREE_PTR_AT, event);
		return true;
	case OF_CACHE_ALLOC:
		out->call_site = kms_lx_member(lx, KMS_LX_EV_CACHE_ALLOC_SITE_AT, event);
		out->address = kms_lx_member(lx, KMS_LX_EV_CACHE_ALLOC_PTR_AT, event);
		out->bytes = kms_lx_member(lx, KMS_LX_EV_CACHE_ALLOC_BYTES_AT, event);
		return true;
	case OF_CACHE_FREE:
		out->call_site = kms_lx_member(lx, KMS_LX_EV_CACHE_FREE_SITE_AT, event);
		out->address = kms_lx_member(lx, KMS_LX_EV_CACHE_FREE_PTR_AT, event);
		return true;
	default:
		return fill_pages(lx, event, type == OF_PAGE_ALLOC, out);
	}
}

static void emit_event(struct decode *decode, const uint8_t *event, uint32_t bytes)
{
	struct kms_linux *lx = decode->lx;
	struct kms_linux_ring *ring = decode->ring;
	struct kms_linux_event out = {0};
	uint64_t type = 0;
	int i = 0;

	if (bytes >= kms_linux_reach(&lx->layout, KMS_LX_EVENT_TYPE_AT, KMS_LX_EVENT_PID_AT))
		type = kms_lx_member(lx, KMS_LX_EVENT_TYPE_AT, event);
	while (i < EVENT_TYPES && (!type || ring->type[i] != type))
		i++;
	if (i == EVENT_TYPES || bytes < ring->need[i] || !fill_event(lx, i, event, bytes, &out)) {
		ring->stats.others++;
		return;
	}
	out.time_ns = decode->cpu->time;
	out.pid = (int32_t)kms_lx_member(lx, KMS_LX_EVENT_PID_AT, event);
	out.cpu = (uint16_t)(decode->cpu - ring->cpu);
	out.kind = rules[i].kind;
	out.of = rules[i].of;
	ring->stats.events++;
	decode->ended = decode->emit(decode->arg, &out) != 0;
}

/* Of pages that are gone only their number is known: they had as many events as those that were read. */
static void emit_lost(struct decode *decode, uint64_t pages)
{
	const struct kms_linux_event_stats *stats = &decode->ring->stats;
	uint64_t each = decode->ring->page_bytes / USUAL_EVENT_BYTES;
	const struct kms_linux_event out = {
		.time_ns = decode->cpu->time,
		.bytes = pages * (stats->pages && stats->events >= stats->pages
					  ? stats->events / stats->pages
					  : each),
		.cpu = (uint16_t)(decode->cpu - decode->ring->cpu),
		.kind = KMS_LINUX_LOST,
	};

	decode->ring->stats.lost_pages += pages;
	decode->ended |= decode->emit(decode->arg, &out) != 0;
}

/* One entry at cpu->offset; false: the page ends here, or makes no sense. */
static bool entry_next(struct decode *decode)
{
	struct ring_cpu *cpu = decode->cpu;
	uint32_t left = decode->bytes - cpu->offset, head, type, delta, length;
	const uint8_t *at = decode->data + cpu->offset;

	if (left < LONG_HEAD_BYTES)
		return false;
	head = word_at(at);
	type = head & 31;
	delta = head >> 5;
	length = type && type < TYPE_PADDING ? type * 4 : word_at(at + HEAD_BYTES);
	if (type == TYPE_PADDING && !delta)
		return false; /* the rest of the page was not needed */
	if (type == TYPE_EXTEND || type == TYPE_STAMP) {
		uint64_t time = ((uint64_t)length << DELTA_BITS) + delta;

		cpu->time = type == TYPE_STAMP ? time : cpu->time + time;
		cpu->offset += LONG_HEAD_BYTES;
		return true;
	}
	cpu->time += delta;
	if (length > left - HEAD_BYTES || length < HEAD_BYTES || length % 4) {
		decode->ring->stats.damaged++;
		return false;
	}
	cpu->offset += HEAD_BYTES + length;
	if (type && type < TYPE_PADDING)
		emit_event(decode, at + HEAD_BYTES, length);
	else if (!type)
		emit_event(decode, at + LONG_HEAD_BYTES, length - HEAD_BYTES);
	return true;
}

/* Copies a page of the ring, and makes sure that it was one and the same all the time. */
static int page_copy(struct kms_linux *lx, struct kms_linux_ring *ring, uint64_t data,
		     uint64_t *stamp, uint32_t *commit, struct kms_err *err)
{
	uint32_t reach =
		kms_linux_reach(&lx->layout, KMS_LX_RING_DATA_TIME_AT, KMS_LX_RING_DATA_COMMIT_AT);
	uint32_t begin = kms_lx_offset(lx, KMS_LX_RING_DATA_DATA_AT);
	uint8_t head[MAX_STRUCT_BYTES];
	int rc = reach > sizeof(head) || begin >= ring->page_bytes
			 ? kms_err_set(err, -EBADMSG, "a page of the trace ring has no data")
			 : kms_lx_read(lx, data, ring->page, ring->page_bytes, err);

	if (!rc)
		rc = kms_lx_read(lx, data, head, reach, err);
	if (rc)
		return rc;
	*stamp = kms_lx_member(lx, KMS_LX_RING_DATA_TIME_AT, ring->page);
	*commit = kms_lx_member(lx, KMS_LX_RING_DATA_COMMIT_AT, ring->page) & COMMIT_MASK;
	if (kms_lx_member(lx, KMS_LX_RING_DATA_TIME_AT, head) != *stamp ||
	    (kms_lx_member(lx, KMS_LX_RING_DATA_COMMIT_AT, head) & COMMIT_MASK) < *commit)
		return -EAGAIN;
	return *commit <= ring->page_bytes - begin ? 0 : -EAGAIN;
}

/* Follows the list of pages. */
static int page_next(struct kms_linux *lx, uint64_t page, uint64_t *next, struct kms_err *err)
{
	int rc = kms_lx_read_member(lx, page, KMS_LX_RING_PAGE_LIST_AT, next, err);

	*next = (*next & ~(uint64_t)POINTER_FLAGS) - kms_lx_offset(lx, KMS_LX_RING_PAGE_LIST_AT);
	return rc;
}

/* The events of our page that we do not have yet. -EAGAIN: it was overwritten. */
static int page_events(struct decode *decode, struct kms_err *err)
{
	struct kms_linux *lx = decode->lx;
	struct ring_cpu *cpu = decode->cpu;
	uint64_t data, stamp;
	uint32_t commit;
	int rc = kms_lx_read_member(lx, cpu->page, KMS_LX_RING_PAGE_DATA_AT, &data, err);

	if (!rc)
		rc = page_copy(lx, decode->ring, data, &stamp, &commit, err);
	if (rc)
		return rc;
	if (cpu->stamp && stamp != cpu->stamp)
		return -EAGAIN;
	if (!cpu->stamp && commit) {
		cpu->stamp = stamp;
		cpu->time = stamp;
	}
	decode->data = decode->ring->page + kms_lx_offset(lx, KMS_LX_RING_DATA_DATA_AT);
	decode->bytes = commit;
	while (!decode->ended && cpu->offset < commit && entry_next(decode)) {
	}
	if (!decode->ended && cpu->offset < commit)
		cpu->offset = commit; /* padding, or damage, to the page's end */
	return 0;
}

static void page_begin(struct ring_cpu *cpu, uint64_t page, uint64_t number)
{
	cpu->page = page;
	cpu->number = number;
	cpu->stamp = 0;
	cpu->offset = 0;
	cpu->doubt_ns = 0;
}

/* What the kernel says of a CPU's ring. */
struct ring_state {
	uint64_t commit_page, touched, pages;
};

/* The kernel came around to our page: goes on at the oldest ones, an eighth of the ring away from it. */
static int skip_lost(struct decode *decode, const struct ring_state *state, struct kms_err *err)
{
	struct kms_linux *lx = decode->lx;
	struct ring_cpu *cpu = decode->cpu;
	uint64_t hops = 1 + state->pages / 8, page = state->commit_page, number;
	int rc = 0;

	for (uint64_t i = 0; !rc && i < hops; i++)
		rc = page_next(lx, page, &page, err);
	if (rc)
		return rc;
	number = state->touched + hops - state->pages; /* is_overtaken(): more than ours */
	emit_lost(decode, number - cpu->number);
	page_begin(cpu, page, number);
	return 0;
}

static int cpu_state(struct kms_linux *lx, const struct ring_cpu *cpu, struct ring_state *state,
		     struct kms_err *err)
{
	uint8_t copy[MAX_STRUCT_BYTES];
	uint32_t reach =
		kms_linux_reach(&lx->layout, KMS_LX_RING_CPU_PAGES_AT, KMS_LX_RING_CPU_TOUCHED_AT);
	int rc = reach > sizeof(copy) ? kms_err_set(err, -EBADMSG, "a ring of %u bytes", reach)
				      : kms_lx_read(lx, cpu->address, copy, reach, err);

	if (rc)
		return rc;
	state->commit_page = kms_lx_member(lx, KMS_LX_RING_CPU_COMMIT_AT, copy);
	state->touched = kms_lx_member(lx, KMS_LX_RING_CPU_TOUCHED_AT, copy);
	state->pages = kms_lx_member(lx, KMS_LX_RING_CPU_PAGES_AT, copy);
	if (!state->pages || !state->commit_page ||
	    state->pages > kms_guest_memory_bytes(lx->memory) / KMS_LX_PAGE)
		return kms_err_set(err, -EBADMSG, "a trace ring of %" PRIu64 " pages",
				   state->pages);
	return 0;
}

/*
 * Where reading of a CPU's ring begins. The oldest page is the one behind the newest, once the kernel has
 * been all around; before, the one that it came from.
 */
static int ring_begin(struct kms_linux *lx, struct ring_cpu *cpu, const struct ring_state *state,
		      struct kms_err *err)
{
	uint64_t back = state->touched < state->pages ? state->touched : state->pages - 1;
	uint64_t page = state->commit_page;
	int rc = 0;

	if (cpu->page || !lx->old_events)
		back = 0; /* the guest emptied it, or now is when we begin */
	for (uint64_t hops = back ? state->pages - back : 0; !rc && hops; hops--)
		rc = page_next(lx, page, &page, err);
	if (!rc)
		page_begin(cpu, page, state->touched - back);
	return rc;
}

static bool is_overtaken(const struct ring_cpu *cpu, const struct ring_state *state)
{
	return state->touched >= cpu->number && state->touched - cpu->number >= state->pages;
}

/*
 * Our page is another than it was, but the kernel does not say that it came around to it: it is just being
 * changed, and read again at the next call. If that does not help for a while, reading begins anew at
 * the newest page, never at older ones, whose events were given out; if ours is the newest, behind it.
 *
 * Returns whether to go on in this call.
 */
static bool doubt(struct decode *decode, const struct ring_state *state)
{
	struct ring_cpu *cpu = decode->cpu;
	uint64_t now_ns = kms_mono_ns();
	bool is_newest = cpu->page == state->commit_page;

	if (!cpu->doubt_ns)
		cpu->doubt_ns = now_ns;
	if (now_ns - cpu->doubt_ns < doubt_for_ns)
		return false;
	emit_lost(decode, state->touched > cpu->number ? state->touched - cpu->number : 1);
	page_begin(cpu, state->commit_page, state->touched);
	if (is_newest)
		cpu->offset = decode->ring->page_bytes;
	return !is_newest;
}

/* Our page was overwritten, or seems to be. */
static int pass_over(struct decode *decode, struct ring_state *state, bool *goes_on,
		     struct kms_err *err)
{
	int rc = cpu_state(decode->lx, decode->cpu, state, err);

	*goes_on = !rc;
	if (!rc && is_overtaken(decode->cpu, state))
		return skip_lost(decode, state, err);
	if (!rc)
		*goes_on = doubt(decode, state);
	return rc;
}

static int cpu_events(struct decode *decode, struct kms_err *err)
{
	struct kms_linux *lx = decode->lx;
	struct ring_cpu *cpu = decode->cpu;
	struct ring_state state = {0};
	unsigned skips = 0;
	int rc = cpu_state(lx, cpu, &state, err);

	if (!rc && (!cpu->page || state.touched < cpu->number))
		rc = ring_begin(lx, cpu, &state, err);
	for (uint64_t n = 0; !rc && n < MAX_POLL_PAGES && !decode->ended; n++) {
		bool is_last = cpu->page == state.commit_page, goes_on;
		uint64_t next;

		rc = is_overtaken(cpu, &state) && !is_last ? -EAGAIN : page_events(decode, err);
		if (rc == -EAGAIN) {
			rc = pass_over(decode, &state, &goes_on, err);
			if (!goes_on || ++skips == MAX_SKIPS)
				break; /* it is faster than we are, or damaged: the next call goes on */
			continue;
		}
		cpu->doubt_ns = 0;
		if (rc || decode->ended || is_last)
			break;
		decode->ring->stats.pages++;
		rc = page_next(lx, cpu->page, &next, err);
		if (!rc)
			page_begin(cpu, next, cpu->number + 1);
	}
	if (cpu->page == state.commit_page && !cpu->doubt_ns)
		cpu->number = state.touched; /* the two are counted apart: bring them together */
	return rc;
}

int kms_linux_events(struct kms_linux *lx,
		     int (*emit)(void *arg, const struct kms_linux_event *event), void *arg,
		     struct kms_err *err)
{
	struct decode decode = {.lx = lx, .emit = emit, .arg = arg};
	int rc = ring_find(lx, err), bad = 0;

	if (rc)
		return rc;
	decode.ring = lx->ring;
	look_whether_on(lx, lx->ring);
	for (uint32_t i = 0; i < lx->ring->cpus && !decode.ended; i++) {
		if (!lx->ring->cpu[i].address)
			continue;
		decode.cpu = &lx->ring->cpu[i];
		rc = cpu_events(&decode, err);
		if (rc) { /* the ring is being changed: taken up anew at the next call */
			lx->ring->buffer = 0;
			lx->ring->stats.damaged++;
			bad = rc;
		}
	}
	return bad == -EIO || bad == -EFAULT ? bad : 0;
}

void kms_linux_event_stats(const struct kms_linux *lx, struct kms_linux_event_stats *stats)
{
	*stats = lx->ring ? lx->ring->stats : (struct kms_linux_event_stats){0};
}
