/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding a NetBSD kernel, whose file is given, in a guest's memory: see netbsd.h.
 *
 * What the file says of where it is loaded needs no page tables. There the image is compared, and the
 * variable is read that says where the kernel's page tables are (PDPpaddr, which NetBSD has for its own
 * libkvm). Which kind of tables they are is tried: the right one has the image where it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/kernel_elf.h"
#include "tracer/guest/netbsd_impl.h"
#include "tracer/guest/poke.h"

int kms_nb_read_word(struct kms_netbsd *nb, uint64_t address, uint64_t *word, struct kms_err *err)
{
	*word = 0;
	return kms_guest_read_virtual(&nb->space, address, word, nb->image->types.word_bytes, err);
}

int kms_nb_read_struct(struct kms_netbsd *nb, enum kms_nb_struct type, uint64_t address, void *to,
		       struct kms_err *err)
{
	return kms_guest_read_virtual(&nb->space, address, to, kms_nb_struct_bytes(nb, type), err);
}

/* A variable of the image, by where it was loaded to: page tables are not asked. */
static int read_loaded(struct kms_netbsd *nb, enum kms_nb_symbol symbol, uint64_t *value,
		       struct kms_err *err)
{
	uint64_t physical;
	size_t bytes = nb->image->types.word_bytes;

	*value = 0;
	if (kms_netbsd_image_physical(nb->image, kms_netbsd_symbol(nb->image, symbol), bytes,
				      &physical))
		return kms_err_set(err, -EBADMSG, "%.150s: a variable is not in its segments",
				   nb->image->path);
	return kms_guest_read(nb->memory, physical, value, bytes, err);
}

/* Whether these tables have the image where it was loaded to: its first address, and the pools' head. */
static bool tables_fit(struct kms_netbsd *nb)
{
	const uint64_t at[] = {
		nb->image->types.segment[0].address,
		kms_netbsd_symbol(nb->image, KMS_NB_POOL_HEAD_SYMBOL),
		kms_netbsd_symbol(nb->image, KMS_NB_TABLES_SYMBOL),
	};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		uint64_t loaded, mapped;

		if (kms_netbsd_image_physical(nb->image, at[i], 1, &loaded) ||
		    kms_guest_translate(&nb->space, at[i], &mapped, NULL, NULL) || loaded != mapped)
			return false;
	}
	return true;
}

static int find_tables(struct kms_netbsd *nb, struct kms_err *err)
{
	static const enum kms_guest_paging wide[] = {KMS_GUEST_PAGING_4, 0};

	static const enum kms_guest_paging narrow[] = {
		KMS_GUEST_PAGING_32, KMS_GUEST_PAGING_PAE_ROW, KMS_GUEST_PAGING_PAE, 0};
	const enum kms_guest_paging *paging = nb->image->types.word_bytes == 8 ? wide : narrow;
	uint64_t root;
	int rc = read_loaded(nb, KMS_NB_TABLES_SYMBOL, &root, err);

	if (rc)
		return rc;
	for (; root && *paging; paging++) {
		kms_guest_space_init(&nb->space, nb->memory, *paging, root);
		if (tables_fit(nb))
			return 0;
	}
	return kms_err_set(err, -EAGAIN, "the NetBSD kernel in the guest has no page tables");
}

/* A number that only grows as long as a kernel runs. */
static void read_ticks(struct kms_netbsd *nb, uint64_t *ticks)
{
	uint32_t value = 0;
	uint64_t address = kms_netbsd_symbol(nb->image, KMS_NB_TICKS_SYMBOL);

	*ticks = 0;
	if (address && !kms_guest_read_virtual(&nb->space, address, &value, sizeof(value), NULL))
		*ticks = value;
}

int kms_netbsd_check(struct kms_netbsd *nb, struct kms_err *err)
{
	uint64_t root, first, ticks;
	int rc = kms_netbsd_image_compare(nb->image, nb->memory, err);

	if (!rc)
		rc = read_loaded(nb, KMS_NB_TABLES_SYMBOL, &root, err);
	if (!rc)
		rc = read_loaded(nb, KMS_NB_POOL_HEAD_SYMBOL, &first, err);
	if (kms_nb_is_lost(rc))
		return rc;
	kms_guest_space_forget(&nb->space);
	read_ticks(nb, &ticks);
	/* it wraps every year or so: that is no reset */
	if (rc || !first || root != nb->space.root || (ticks < nb->ticks && nb->ticks < INT32_MAX))
		return kms_err_set(err, -ESTALE,
				   "the guest was reset, or runs another kernel by now");
	nb->ticks = ticks;
	return 0;
}

static int make(struct kms_netbsd *nb, struct kms_err *err)
{
	nb->pool = calloc(KMS_NETBSD_MAX_POOLS, sizeof(*nb->pool));
	nb->next_pool = calloc(KMS_NETBSD_MAX_POOLS, sizeof(*nb->next_pool));
	nb->copy = calloc(1, KMS_TYPES_STRUCT_BYTES);
	return nb->pool && nb->next_pool && nb->copy ? 0
						     : kms_err_set(err, -ENOMEM, "out of memory");
}

/* A kernel that boots has its pools half made for a while; it is the right one, so it is waited for. */
static int first_refresh(struct kms_netbsd *nb, struct kms_err *err)
{
	struct kms_err why = KMS_ERR_INIT;
	int rc = kms_netbsd_refresh(nb, &why);

	if (rc == -EBADMSG)
		return kms_err_set(
			err, -EAGAIN,
			"the NetBSD kernel in the guest has no pools that make sense (%.120s)",
			why.text);
	return rc ? kms_err_set(err, rc, "%s", why.text) : 0;
}

int kms_netbsd_open(struct kms_guest_memory *memory, const struct kms_netbsd_image *image,
		    struct kms_netbsd **out, struct kms_err *err)
{
	struct kms_netbsd *nb = calloc(1, sizeof(*nb));
	int rc;

	if (!nb)
		return kms_err_set(err, -ENOMEM, "out of memory");
	nb->memory = memory;
	nb->image = image;
	rc = make(nb, err);
	if (!rc)
		rc = kms_netbsd_image_compare(image, memory, err);
	if (!rc)
		rc = find_tables(nb, err);
	if (!rc)
		rc = first_refresh(nb, err);
	if (rc) {
		kms_netbsd_close(nb);
		return rc;
	}
	read_ticks(nb, &nb->ticks);
	*out = nb;
	return 0;
}

void kms_netbsd_close(struct kms_netbsd *nb)
{
	if (!nb)
		return;
	free(nb->pool);
	free(nb->next_pool);
	free(nb->copy);
	free(nb);
}

int kms_netbsd_memory(struct kms_netbsd *nb, uint64_t address, void *to, size_t n, size_t *n_read,
		      struct kms_err *err)
{
	*n_read = 0;
	kms_guest_space_forget(&nb->space);
	while (*n_read < n) {
		/* page by page: what is behind the end of what is mapped is not asked for */
		size_t part = 4096 - (size_t)((address + *n_read) & 4095);
		int rc;

		part = part < n - *n_read ? part : n - *n_read;
		rc = kms_guest_read_virtual(&nb->space, address + *n_read, (char *)to + *n_read,
					    part, err);
		if (rc)
			break;
		*n_read += part;
	}
	if (*n_read || !n) {
		kms_err_clear(err);
		return 0;
	}
	return kms_err_set(err, -EFAULT, "nothing is mapped at 0x%" PRIx64, address);
}

/* Whether the kernel's file has text or constants there: its page tables may be less strict. */
static bool is_constant(const struct kms_netbsd *nb, uint64_t address)
{
	struct kms_kernel_elf elf;
	bool is_one;

	if (kms_kernel_elf_open(nb->image->path, &elf, NULL))
		return false;
	is_one = kms_kernel_elf_is_constant(&elf, address);
	kms_kernel_elf_close(&elf);
	return is_one;
}

int kms_netbsd_memory_write(struct kms_netbsd *nb, const struct kms_memory_write *write,
			    struct kms_err *err)
{
	if (is_constant(nb, write->address))
		return kms_err_set(err, -EACCES,
				   "0x%" PRIx64 " is text or a constant of the kernel: not written",
				   write->address);
	return kms_guest_poke(&nb->space, write->address, &write->expected, &write->value,
			      write->bytes, err);
}

int kms_netbsd_guard_depth(struct kms_netbsd *nb, uint64_t *depth, struct kms_err *err)
{
	uint64_t address = kms_netbsd_symbol(nb->image, KMS_NB_GUARD_DEPTH_SYMBOL);
	uint32_t value = 0;
	int rc;

	if (!address)
		return kms_err_set(err, -ENOTSUP, "this kernel has no kmem_guard_depth");
	rc = kms_guest_read_virtual(&nb->space, address, &value, sizeof(value), err);
	*depth = value;
	return rc;
}
