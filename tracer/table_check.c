/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks of table entries: numbers that no target can mean end the image as ring_corrupt. All work
 * on private copies.
 */
#include "tracer/table_check.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "schema/record.h"
#include "schema/spans.h"

static int impossible(struct kms_err *err, uint64_t index, const char *what)
{
	return kms_err_set(err, -EBADMSG, "entry %llu: impossible %s", (unsigned long long)index,
			   what);
}

static int check_node(uint8_t *entry, uint64_t index, const struct kms_region *region,
		      struct kms_err *err)
{
	struct kms_node node;

	(void)region;
	memcpy(&node, entry, sizeof(node));
	return node.parent < index ? 0 : impossible(err, index, "parent");
}

static int check_cache(uint8_t *entry, uint64_t index, const struct kms_region *region,
		       struct kms_err *err)
{
	struct kms_cache_entry cache;

	(void)region;
	memcpy(&cache, entry, sizeof(cache));
	if (cache.kind < KMS_CACHE_MALLOC || cache.kind > KMS_CACHE_LARGE)
		return impossible(err, index, "kind");
	cache.name[sizeof(cache.name) - 1] = '\0';
	memcpy(entry, &cache, sizeof(cache));
	return 0;
}

static int check_module(uint8_t *entry, uint64_t index, const struct kms_region *region,
			struct kms_err *err)
{
	struct kms_module module;

	memcpy(&module, entry, sizeof(module));
	if (module.start >= module.end)
		return impossible(err, index, "range");
	if (module.build_id_bytes > sizeof(module.build_id))
		return impossible(err, index, "build-id");
	if (module.slot >= region->head.slots && module.slot != KMS_NO_INDEX)
		return impossible(err, index, "slot");
	return 0;
}

static uint32_t module_string(const uint8_t *entry)
{
	struct kms_module module;

	memcpy(&module, entry, sizeof(module));
	return module.path_string == KMS_NO_INDEX ? 0 : module.path_string;
}

static int check_thread(uint8_t *entry, uint64_t index, const struct kms_region *region,
			struct kms_err *err)
{
	struct kms_thread thread;

	memcpy(&thread, entry, sizeof(thread));
	if (thread.slot >= region->head.slots)
		return impossible(err, index, "slot");
	thread.name[sizeof(thread.name) - 1] = '\0';
	memcpy(entry, &thread, sizeof(thread));
	return 0;
}

static bool stack_ok(uint32_t stack, const struct kms_region *region)
{
	return stack < region->section[KMS_SEC_NODE].entries;
}

static bool cache_ok(uint32_t cache)
{
	return cache < KMS_MAX_CACHES || cache == KMS_NO_INDEX;
}

static int check_fault(uint8_t *entry, uint64_t index, const struct kms_region *region,
		       struct kms_err *err)
{
	struct kms_fault fault;

	memcpy(&fault, entry, sizeof(fault));
	if (fault.kind == KMS_FAULT_NONE || fault.kind >= KMS_FAULT_KINDS)
		return impossible(err, index, "kind");
	if (fault.access > KMS_ACCESS_CHECK || fault.block_state > KMS_BLOCK_SPENT ||
	    fault.neighbour_state[0] > KMS_BLOCK_SPENT ||
	    fault.neighbour_state[1] > KMS_BLOCK_SPENT)
		return impossible(err, index, "state");
	if (fault.slot >= region->head.slots || fault.level >= KMS_LEVELS || fault.policy > 2)
		return impossible(err, index, "slot, level or policy");
	if (fault.bytes_count > sizeof(fault.bytes))
		return impossible(err, index, "count of bytes");
	if (!stack_ok(fault.stack, region) || !stack_ok(fault.alloc_stack, region) ||
	    !stack_ok(fault.free_stack, region))
		return impossible(err, index, "stack");
	if (!cache_ok(fault.cache) || !cache_ok(fault.argument_cache))
		return impossible(err, index, "cache");
	if (fault.ring >= region->head.rings && fault.ring != KMS_NO_INDEX)
		return impossible(err, index, "ring");
	if (fault.thread >= KMS_MAX_THREADS && fault.thread != KMS_NO_INDEX)
		return impossible(err, index, "thread");
	fault.text[sizeof(fault.text) - 1] = '\0';
	memcpy(entry, &fault, sizeof(fault));
	return 0;
}

static int check_fork_cut(uint8_t *entry, uint64_t index, const struct kms_region *region,
			  struct kms_err *err)
{
	struct kms_fork_cut cut;

	memcpy(&cut, entry, sizeof(cut));
	return cut.ring < region->head.rings ? 0 : impossible(err, index, "ring");
}

const struct kms_table_form kms_table_forms[KMS_REGION_KINDS] = {
	[KMS_SEC_NODE] = {"node",     offsetof(struct kms_node,        epoch_ready), KMS_NODE_READY,
			  check_node,									      NULL},
	[KMS_SEC_CACHE] = {"cache",    offsetof(struct kms_cache_entry, ready),       UINT32_MAX,
                          check_cache,									     NULL},
	[KMS_SEC_MODULE] = {"module",   offsetof(struct kms_module,      ready),       UINT32_MAX,     check_module,
                          module_string										},
	[KMS_SEC_THREAD] = {"thread",   offsetof(struct kms_thread,      ready),       UINT32_MAX,     check_thread,
                          NULL											 },
	[KMS_SEC_FAULT] = {"fault",    offsetof(struct kms_fault,       ready),       UINT32_MAX,     check_fault,
                          NULL											 },
	[KMS_SEC_FORK_CUT] = {"fork cut", offsetof(struct kms_fork_cut,    ready),       UINT32_MAX,
                          check_fork_cut,									  NULL},
};
