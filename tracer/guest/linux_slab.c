/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: the list of caches, and the lists of slabs of each. See linux.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/guest/linux_impl.h"

enum {
	ORDER_SHIFT = 16, /* kmem_cache_order_objects: OO_SHIFT of mm/slub.c */
	MAX_ORDER = 10,
	MAX_OBJECT_BYTES = 32 << 20,
	MAX_NODE_BYTES = 512,
	MAX_SLAB_BYTES = 256,
	LIST_SLACK = 64, /* slabs that may come to a list while it is walked */
};

int kms_lx_each_slab(struct kms_linux *lx, uint64_t cache, uint64_t head, kms_lx_slab_fn *fn,
		     void *arg, struct kms_err *err)
{
	uint32_t list = kms_lx_offset(lx, KMS_LX_SLAB_LIST_AT);
	uint32_t bytes = kms_lx_slab_bytes(lx);
	uint8_t copy[MAX_SLAB_BYTES];
	uint64_t next, mark = 0, turn = 1; /* Brent: a loop is seen after twice its length */
	int rc = kms_lx_read_word(lx, head, &next, err);

	if (bytes > sizeof(copy))
		return kms_err_set(err, -EBADMSG, "a struct slab of %u bytes", bytes);
	for (uint64_t n = 1; !rc && next != head; n++) {
		uint64_t slab = next - list;

		if (next == mark ||
		    n > lx->linear_bytes / KMS_LX_PAGE) /* more than RAM has pages */
			return kms_err_set(err, -EBADMSG, "a list of slabs has no end");
		if (n == turn) {
			mark = next;
			turn *= 2;
		}
		rc = kms_lx_read(lx, slab, copy, bytes, err);
		if (!rc && kms_lx_member(lx, KMS_LX_SLAB_CACHE_AT, copy) != cache)
			rc = kms_err_set(err, -EBADMSG, "a slab on the list of another cache");
		if (!rc)
			rc = fn(arg, slab, copy, err);
		next = kms_lx_member(lx, KMS_LX_SLAB_LIST_AT, copy);
	}
	return rc;
}

struct count {
	const struct kms_linux *lx;
	uint64_t free, slabs, most;
};

static int count_free(void *arg, uint64_t slab, const uint8_t *copy, struct kms_err *err)
{
	struct count *count = arg;
	uint64_t objects = kms_lx_member(count->lx, KMS_LX_SLAB_OBJECTS_AT, copy);
	uint64_t inuse = kms_lx_member(count->lx, KMS_LX_SLAB_INUSE_AT, copy);

	(void)slab;
	if (inuse > objects)
		return kms_err_set(err, -EBADMSG, "a slab with more objects than it has room for");
	if (++count->slabs > count->most)
		return kms_err_set(err, -EBADMSG, "a list longer than its counter");
	count->free += objects - inuse;
	return 0;
}

/* One node, once. */
static int read_node(struct kms_linux *lx, struct kms_linux_cache *cache, uint64_t node,
		     struct kms_err *err)
{
	uint8_t copy[MAX_NODE_BYTES];
	uint32_t bytes = lx->layout.bytes[KMS_LX_NODE];
	struct count count = {.lx = lx};
	uint64_t objects, slabs;
	int rc;

	if (bytes > sizeof(copy))
		return kms_err_set(err, -EBADMSG, "a node of %u bytes", bytes);
	rc = kms_lx_read(lx, node, copy, bytes, err);
	if (rc)
		return rc;
	objects = kms_lx_member(lx, KMS_LX_NODE_OBJECTS_AT, copy);
	slabs = kms_lx_member(lx, KMS_LX_NODE_NR_SLABS_AT, copy);
	count.most = kms_lx_member(lx, KMS_LX_NODE_NR_PARTIAL_AT, copy);
	count.most += count.most < UINT32_MAX ? LIST_SLACK : 0;
	if (kms_lx_member(lx, KMS_LX_NODE_PARTIAL_AT, copy) !=
	    node + kms_lx_offset(lx,
				 KMS_LX_NODE_PARTIAL_AT)) /* else it is empty: no need to look */
		rc = kms_lx_each_slab(lx, cache->address,
				      node + kms_lx_offset(lx, KMS_LX_NODE_PARTIAL_AT), count_free,
				      &count, err);
	if (!rc && count.free > objects)
		rc = kms_err_set(err, -EBADMSG, "more free objects than there are");
	if (rc)
		return rc;
	cache->objects += objects;
	cache->slabs += slabs;
	cache->active += objects - count.free;
	return 0;
}

/* A node's lists may move while they are read: some tries, then its sums alone. */
static int read_node_patiently(struct kms_linux *lx, struct kms_linux_cache *cache, uint64_t node,
			       struct kms_err *err)
{
	struct kms_linux_cache before = *cache;
	uint64_t objects = 0, slabs = 0;
	int rc = -EBADMSG;

	for (int try = 0; rc && try < KMS_LX_TRIES; try++) {
		*cache = before;
		rc = read_node(lx, cache, node, err);
	}
	if (!rc)
		return 0;
	*cache = before;
	rc = kms_lx_read_member(lx, node, KMS_LX_NODE_OBJECTS_AT, &objects, err);
	if (!rc)
		rc = kms_lx_read_member(lx, node, KMS_LX_NODE_NR_SLABS_AT, &slabs, err);
	cache->objects += objects;
	cache->active += objects;
	cache->slabs += slabs;
	cache->is_approximate = true;
	return rc;
}

static int read_nodes(struct kms_linux *lx, struct kms_linux_cache *cache, struct kms_err *err)
{
	uint64_t node[KMS_LX_MAX_NODES];
	int rc = kms_lx_read(lx, cache->address + kms_lx_offset(lx, KMS_LX_CACHE_NODES_AT), node,
			     lx->nodes * sizeof(node[0]), err);

	for (uint32_t i = 0; !rc && i < lx->nodes; i++)
		if (node[i])
			rc = read_node_patiently(lx, cache, node[i], err);
	return rc;
}

/* A name is the guest's: as far as it is printable. */
static int read_name(struct kms_linux *lx, struct kms_linux_cache *cache, uint64_t address,
		     struct kms_err *err)
{
	size_t bytes = sizeof(cache->name) - 1;
	size_t in_page = KMS_LX_PAGE - (address & (KMS_LX_PAGE - 1));
	int rc = kms_lx_read(lx, address, cache->name, bytes < in_page ? bytes : in_page, err);

	if (!rc && bytes > in_page && !memchr(cache->name, 0, in_page))
		rc = kms_lx_read(lx, address + in_page, cache->name + in_page, bytes - in_page,
				 err);
	cache->name[bytes] = '\0';
	for (char *c = cache->name; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return rc;
}

static int read_cache(struct kms_linux *lx, struct kms_linux_cache *cache, const uint8_t *copy,
		      struct kms_err *err)
{
	uint64_t oo = kms_lx_member(lx, KMS_LX_CACHE_OO_AT, copy);
	uint64_t size = kms_lx_member(lx, KMS_LX_CACHE_SIZE_AT, copy);
	uint64_t object = kms_lx_member(lx, KMS_LX_CACHE_OBJECT_SIZE_AT, copy);
	int rc;

	if (oo >> ORDER_SHIFT > MAX_ORDER || !size || size > MAX_OBJECT_BYTES || object > size)
		return kms_err_set(err, -EBADMSG, "no slab cache at %#" PRIx64, cache->address);
	cache->objects_per_slab = oo & ((1U << ORDER_SHIFT) - 1);
	cache->pages_per_slab = 1U << (oo >> ORDER_SHIFT);
	cache->size_bytes = (uint32_t)size;
	cache->object_bytes = (uint32_t)object;
	cache->flags = kms_lx_member(lx, KMS_LX_CACHE_FLAGS_AT, copy);
	cache->has_owners = cache->flags & lx->layout.constant[KMS_LX_IS_STORE_USER];
	rc = read_name(lx, cache, kms_lx_member(lx, KMS_LX_CACHE_NAME_AT, copy), err);
	return rc ? rc : read_nodes(lx, cache, err);
}

/* The list of all caches, once. *n is what was read. */
static int read_list(struct kms_linux *lx, size_t *n, struct kms_err *err)
{
	uint8_t copy[KMS_LX_MAX_STRUCT_BYTES];
	uint32_t bytes = kms_linux_reach(&lx->layout, KMS_LX_CACHE_NAME_AT, KMS_LX_CACHE_RANDOM_AT);
	uint64_t next;
	int rc = kms_lx_read_word(lx, lx->slab_caches, &next, err);

	for (*n = 0; !rc && next != lx->slab_caches; (*n)++) {
		struct kms_linux_cache *cache = &lx->next_cache[*n];

		if (*n == KMS_LINUX_MAX_CACHES)
			return kms_err_set(err, -EBADMSG, "the list of caches has no end");
		*cache = (struct kms_linux_cache){
			.address = next - kms_lx_offset(lx, KMS_LX_CACHE_LIST_AT)};
		rc = kms_lx_read(lx, cache->address, copy, bytes, err);
		if (!rc)
			rc = read_cache(lx, cache, copy, err);
		next = kms_lx_member(lx, KMS_LX_CACHE_LIST_AT, copy);
	}
	return rc;
}

int kms_linux_refresh_caches(struct kms_linux *lx, struct kms_err *err)
{
	struct kms_linux_cache *old;
	size_t n = 0;
	int rc = -EBADMSG;

	for (int try = 0; rc && try < KMS_LX_TRIES; try++) {
		rc = read_list(lx, &n, err);
		if (rc)
			kms_guest_space_forget(&lx->space);
	}
	if (rc) {
		(void)kms_err_context(err, "slab caches");
		return rc;
	}
	old = lx->cache;
	lx->cache = lx->next_cache;
	lx->next_cache = old;
	lx->caches = n;
	return 0;
}

const struct kms_linux_cache *kms_linux_caches(const struct kms_linux *lx, size_t *n)
{
	*n = lx->caches;
	return lx->cache;
}
