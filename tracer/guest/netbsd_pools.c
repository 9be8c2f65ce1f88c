/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of pools: see netbsd.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/netbsd_impl.h"

enum {
	TRIES = 3, /* of a pool that changes meanwhile */
	DEFAULT_PAGE_BYTES = 4096,
};

/* Where a number of a pool goes. */
struct figure {
	enum kms_nb_member member;
	uint32_t offset;
	bool is_wide;
	bool is_limit; /* not there: there is none */
};

#define AT32(member, name)                                                                         \
	{                                                                                          \
		KMS_NB_##member##_AT, offsetof(struct kms_view_pool, name), false, false           \
	}
#define AT64(member, name)                                                                         \
	{                                                                                          \
		KMS_NB_##member##_AT, offsetof(struct kms_view_pool, name), true, false            \
	}
#define LIMIT32(member, name)                                                                      \
	{                                                                                          \
		KMS_NB_##member##_AT, offsetof(struct kms_view_pool, name), false, true            \
	}

static const struct figure figures[] = {
	AT32(SIZE, size),
	AT32(REQSIZE, reqsize),
	AT32(ALIGN, align),
	AT32(ITEMOFFSET, itemoffset),
	AT32(MINITEMS, minitems),
	AT32(MINPAGES, minpages),
	LIMIT32(MAXPAGES, maxpages),
	AT32(NPAGES, npages),
	AT32(HIWAT, hiwat),
	AT32(ITEMSPERPAGE, itemsperpage),
	AT32(NITEMS, nitems),
	AT32(NOUT, nout),
	LIMIT32(HARDLIMIT, hardlimit),
	AT32(FLAGS, flags),
	AT32(ROFLAGS, roflags),
	AT64(NGET, nget),
	AT64(NFAIL, nfail),
	AT64(NPUT, nput),
	AT64(NPAGEALLOC, npagealloc),
	AT64(NPAGEFREE, npagefree),
	AT64(NIDLE, nidle),
	AT64(ALLOC, allocator),
};

static void take_figures(const struct kms_netbsd *nb, const uint8_t *copy,
			 struct kms_view_pool *pool)
{
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		const struct figure *figure = &figures[i];
		bool is_there = kms_netbsd_has_member(&nb->image->types, figure->member);
		uint64_t value = is_there ? kms_nb_value(nb, figure->member, copy) : 0;
		uint32_t narrow = is_there || !figure->is_limit ? (uint32_t)value : UINT32_MAX;

		memcpy((char *)pool + figure->offset, figure->is_wide ? (void *)&value : &narrow,
		       figure->is_wide ? sizeof(value) : sizeof(narrow));
	}
	if (!pool->reqsize)
		pool->reqsize = pool->size;
}

/* Pages of a pool are as large as its back-end allocator's; the pool does not say it itself. */
static uint32_t page_bytes_of(struct kms_netbsd *nb, uint64_t allocator)
{
	uint32_t offset = kms_nb_offset(nb, KMS_NB_PAGESZ_AT), bytes = 0;

	if (!allocator || !kms_netbsd_has_member(&nb->image->types, KMS_NB_PAGESZ_AT) ||
	    kms_guest_read_virtual(&nb->space, allocator + offset, &bytes, sizeof(bytes), NULL) ||
	    bytes < DEFAULT_PAGE_BYTES || bytes > KMS_NETBSD_PAGE_BYTES_MAX ||
	    (bytes & (bytes - 1)))
		return DEFAULT_PAGE_BYTES;
	return bytes;
}

/* Whether its numbers can be those of a pool, all of one moment. */
static bool fits(const struct kms_netbsd *nb, const struct kms_view_pool *pool)
{
	uint64_t most = kms_guest_memory_bytes(nb->memory) / DEFAULT_PAGE_BYTES;

	return pool->size && pool->npages <= most &&
	       (uint64_t)pool->npages * pool->itemsperpage == (uint64_t)pool->nitems + pool->nout;
}

/* What no pool can be: it is not taken for one, however often it is read. */
static bool is_absurd(const struct kms_netbsd *nb, const struct kms_view_pool *pool)
{
	uint64_t most = kms_guest_memory_bytes(nb->memory) / DEFAULT_PAGE_BYTES;

	return !pool->size || pool->size > KMS_NETBSD_PAGE_BYTES_MAX || pool->npages > most ||
	       pool->itemsperpage > KMS_NETBSD_PAGE_BYTES_MAX;
}

static void read_name(struct kms_netbsd *nb, uint64_t address, struct kms_netbsd_pool *pool)
{
	if (kms_guest_read_string(&nb->space, address, pool->name, sizeof(pool->name), NULL) ||
	    !pool->name[0])
		strcpy(pool->name, "?");
}

/* The pool at an address; *next: of the following. */
static int read_pool(struct kms_netbsd *nb, uint64_t address, struct kms_netbsd_pool *pool,
		     uint64_t *next, struct kms_err *err)
{
	struct kms_view_pool *of = &pool->figures;
	int rc = 0;

	memset(pool, 0, sizeof(*pool));
	for (int i = 0; i < TRIES; i++) {
		rc = kms_nb_read_struct(nb, KMS_NB_POOL, address, nb->copy, err);
		if (rc)
			return rc;
		take_figures(nb, nb->copy, of);
		pool->is_approximate = !fits(nb, of);
		if (!pool->is_approximate)
			break;
	}
	if (is_absurd(nb, of))
		return kms_err_set(err, -EBADMSG,
				   "there is no pool at 0x%" PRIx64 ": its numbers are "
				   "absurd",
				   address);
	*next = kms_nb_value(nb, KMS_NB_NEXT_AT, nb->copy);
	of->address = address;
	of->page_bytes = page_bytes_of(nb, of->allocator);
	read_name(nb, kms_nb_value(nb, KMS_NB_WCHAN_AT, nb->copy), pool);
	if (kms_netbsd_has(nb->image, KMS_NB_FOR_CACHES))
		rc = kms_nb_read_cache(nb, kms_nb_value(nb, KMS_NB_POOL_CACHE_AT, nb->copy), of,
				       err);
	return rc;
}

/* Whether a list came back to a pool: asked at each power of two, so a loop is seen after twice its length. */
static bool is_loop(uint64_t address, size_t n, uint64_t *mark)
{
	if (address == *mark)
		return true;
	if (!(n & (n - 1)))
		*mark = address;
	return false;
}

/* Reads as much of the list as can be. *n pools are in next_pool. */
static int read_list(struct kms_netbsd *nb, size_t *n, struct kms_err *err)
{
	uint64_t address = 0, mark = 0;
	int rc = kms_nb_read_word(nb, kms_netbsd_symbol(nb->image, KMS_NB_POOL_HEAD_SYMBOL),
				  &address, err);

	*n = 0;
	if (!rc && !address)
		return kms_err_set(err, -EAGAIN, "the NetBSD kernel in the guest has no pools");
	while (!rc && address) {
		if (is_loop(address, *n + 1, &mark))
			return kms_err_set(err, -EBADMSG, "the list of pools is a loop");
		if (*n == KMS_NETBSD_MAX_POOLS)
			return kms_err_set(err, -EBADMSG, "the list of pools has no end");
		rc = read_pool(nb, address, &nb->next_pool[*n], &address, err);
		*n += !rc;
	}
	return rc;
}

/* A pool that was read twice: of a loop, behind the first turn. */
static size_t without_repeats(const struct kms_netbsd_pool *pool, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (pool[k].figures.address == pool[i].figures.address)
				return i;
	return n;
}

static void take(struct kms_netbsd *nb, size_t n)
{
	struct kms_netbsd_pool *pool = nb->pool;

	nb->pool = nb->next_pool;
	nb->next_pool = pool;
	nb->pools = n;
}

int kms_netbsd_refresh(struct kms_netbsd *nb, struct kms_err *err)
{
	struct kms_err why = KMS_ERR_INIT;
	size_t n = 0;
	int rc = 0;

	kms_guest_space_forget(&nb->space);
	for (int i = 0; i < TRIES; i++) {
		rc = kms_guest_memory_hold(nb->memory, &why);
		if (!rc) {
			rc = read_list(nb, &n, &why);
			(void)kms_guest_memory_let_go(nb->memory, NULL); /* reading has said it */
		}
		if (!rc || kms_nb_is_lost(rc) || rc == -EAGAIN)
			break;
	}
	nb->damage[0] = '\0';
	if (rc && !kms_nb_is_lost(rc) && n)
		n = without_repeats(nb->next_pool, n);
	if (rc && (kms_nb_is_lost(rc) || !n)) {
		return kms_err_set(err, rc == -EAGAIN || kms_nb_is_lost(rc) ? rc : -EBADMSG, "%s",
				   why.text);
	}
	if (rc)
		(void)snprintf(nb->damage, sizeof(nb->damage), "pools are missing: %.200s",
			       why.text);
	take(nb, n);
	return 0;
}

const struct kms_netbsd_pool *kms_netbsd_pools(const struct kms_netbsd *nb, size_t *n)
{
	*n = nb->pools;
	return nb->pool;
}

const char *kms_netbsd_damage(const struct kms_netbsd *nb)
{
	return nb->damage;
}
