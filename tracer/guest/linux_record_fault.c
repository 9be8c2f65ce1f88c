/* SPDX-License-Identifier: BSD-2-Clause */
/* Damage in a Linux guest as findings of its trace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "schema/spans.h"
#include "tracer/guest/linux_record_impl.h"

uint64_t kms_linux_guest_now(struct kms_linux *lx)
{
	uint64_t jiffies = 0, tick_ns = 0, begin;

	if (kms_lx_read_variable(lx, "jiffies_64", sizeof(jiffies), &jiffies, NULL) ||
	    kms_lx_read_variable(lx, "tick_nsec", sizeof(tick_ns), &tick_ns, NULL) || !tick_ns ||
	    tick_ns > 100000000)
		return 0;
	/* INITIAL_JIFFIES: the counter begins five minutes before its low half wraps */
	begin = (uint32_t) - (int32_t)(300 * (1000000000 / tick_ns));
	return jiffies > begin && jiffies - begin < UINT64_MAX / tick_ns
		       ? (jiffies - begin) * tick_ns
		       : 0;
}

uint32_t kms_linux_recorder_track(struct kms_linux_recorder *r, struct kms_linux *kernel,
				  const struct kms_linux_track *track)
{
	uint64_t frame[KMS_LINUX_MAX_FRAMES];
	int n = track->handle ? kms_linux_stack(kernel, track->handle, frame, NULL) : 0;

	if (n <= 0) {
		frame[0] = track->call_site;
		n = track->call_site != 0;
	}
	return kms_linux_names_node(r->names, kernel, frame, n);
}

/* Findings are told on the first CPU's ring, which then has an event of each. */
int kms_linux_recorder_write_faults(struct kms_linux_recorder *r, struct kms_batch *batch)
{
	struct kms_linux_stream *stream =
		r->faults_fed < r->n_faults ? kms_linux_recorder_stream(r, 0) : NULL;
	int result = 0;

	for (uint32_t i = r->faults_fed; stream && !result && i < r->n_faults; i++) {
		/* ticks are coarse: what happened since must not seem to be later than it was */
		const struct kms_linux_write out = {.time_ns = r->newest_ns ? r->newest_ns
									    : r->fault[i].time_ns,
						    .node = i,
						    .thread = stream->thread,
						    .cache = KMS_NO_INDEX,
						    .kind = KMS_EVENT_FAULT};

		r->fault[i].ring = 0;
		r->fault[i].ring_seq = stream->seq;
		result = kms_linux_stream_put(stream, batch, &out);
	}
	return result;
}

bool kms_linux_recorder_fault(struct kms_linux_recorder *r, struct kms_linux *kernel,
			      const struct kms_linux_damage *damage, const uint64_t *frame, int n)
{
	static const struct {
		uint32_t kind;
		const char *words;
	} kinds[] = {
		[KMS_LINUX_ZONE_LEFT] = {KMS_FAULT_UNDERFLOW,           "red zone before"                },
		[KMS_LINUX_ZONE_RIGHT] = {KMS_FAULT_OVERFLOW,            "red zone behind"                },
		[KMS_LINUX_ZONE_KMALLOC] = {KMS_FAULT_OVERFLOW,            "bytes behind those asked for of"},
		[KMS_LINUX_ZONE_POISON] = {KMS_FAULT_MODIFIED_AFTER_FREE, "poison of"                      },
		[KMS_LINUX_ZONE_BEFORE] = {KMS_FAULT_UNDERFLOW,           "KFENCE: bytes before"           },
		[KMS_LINUX_ZONE_BEHIND] = {KMS_FAULT_OVERFLOW,            "KFENCE: bytes behind"           },
	};
	struct kms_fault *fault = &r->fault[r->n_faults];
	uint64_t now_ns = kms_linux_guest_now(kernel);
	uint32_t bytes = damage->n_bytes;

	for (uint32_t i = 0; i < r->n_faults; i++)
		if (r->fault[i].block == damage->object && r->fault[i].address == damage->at)
			return false;
	if (!r->is_on || r->n_faults == KMS_MAX_FAULTS ||
	    damage->zone >= sizeof(kinds) / sizeof(kinds[0]) || damage->cache >= kernel->caches)
		return false;
	*fault = (struct kms_fault){
		.ready = 1,
		.kind = damage->is_free ? (uint32_t)KMS_FAULT_MODIFIED_AFTER_FREE
					: kinds[damage->zone].kind,
		.access = KMS_ACCESS_CHECK,
		.time_ns = now_ns > r->newest_ns ? now_ns : r->newest_ns,
		.address = damage->at,
		.block = damage->object,
		.block_bytes = damage->object_bytes,
		.expected = damage->expected,
		.found = damage->found,
		.cache = kms_lx_owner_index(r->owners, kernel, damage->cache),
		.argument_cache = KMS_NO_INDEX,
		.thread = KMS_NO_INDEX,
		.alloc_stack = n ? kms_linux_names_node(r->names, kernel, frame, n)
				 : kms_linux_recorder_track(r, kernel, &damage->alloc),
		.free_stack =
			damage->is_free ? kms_linux_recorder_track(r, kernel, &damage->free) : 0,
		.block_state = damage->is_free ? KMS_BLOCK_FREE : KMS_BLOCK_LIVE,
		.bytes_address = damage->bytes_at,
		.bytes_count =
			bytes < sizeof(fault->bytes) ? bytes : (uint32_t)sizeof(fault->bytes),
	};
	memcpy(fault->bytes, damage->bytes, fault->bytes_count);
	(void)snprintf(
		fault->text, sizeof(fault->text),
		"%s: %s %s object 0x%llx: %u byte%s from 0x%llx on, 0x%02x in place of 0x%02x",
		kernel->cache[damage->cache].name, kinds[damage->zone].words,
		damage->is_free ? "free" : "live", (unsigned long long)damage->object,
		damage->length, damage->length == 1 ? "" : "s", (unsigned long long)damage->at,
		damage->found, damage->expected); /* cut */
	r->n_faults++;
	return true;
}
