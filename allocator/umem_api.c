/* SPDX-License-Identifier: BSD-2-Clause */
/* ddi_umem_alloc(9F) as kmem.h exports it: each function finds its caller's frame and local. */
#include <errno.h>
#include <sys/mman.h>

#include "allocator/front.h"
#include "allocator/kmem.h"
#include "allocator/umem.h"

static void *no_cookie(struct kms_local *t, size_t size, struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = KMS_FAULT_BAD_FLAGS,
		.access = KMS_ACCESS_ALLOC,
		.argument_bytes = size,
		.text = "ddi_umem_alloc: no place for the cookie",
		.frame = &info->frame,
		.argument_cache = KMS_NO_INDEX,
	};

	kms_fault_raise(t, &finding);
	return NULL;
}

void *ddi_umem_alloc(size_t size, int flags, ddi_umem_cookie_t *cookiep)
{
	struct kms_request_info info = {0};
	struct kms_umem *cookie = NULL;
	struct kms_local *t;
	void *p;

	KMS_CALLER_FRAME(&info.frame);
	if (cookiep)
		*cookiep = NULL;
	t = kms_front_enter();
	if (!t)
		return NULL;
	p = cookiep ? kms_umem_alloc(t, size, flags, &cookie, &info) : no_cookie(t, size, &info);
	kms_front_leave(t);
	if (cookiep)
		*cookiep = cookie;
	return p;
}

void ddi_umem_free(ddi_umem_cookie_t cookie)
{
	struct kms_request_info info = {0};
	struct kms_local *t;

	KMS_CALLER_FRAME(&info.frame);
	t = cookie ? kms_front_enter() : NULL;
	if (!t)
		return;
	kms_umem_free(t, cookie, &info);
	kms_front_leave(t);
}

int ddi_umem_export(ddi_umem_cookie_t cookie, int protection, struct ddi_umem_map *map)
{
	struct kms_request_info info = {0};
	struct kms_umem *umem;
	struct kms_local *t;
	int fd;

	KMS_CALLER_FRAME(&info.frame);
	if (!cookie || (protection & ~(PROT_READ | PROT_WRITE)) || !(protection & PROT_READ))
		return -EINVAL;
	t = kms_front_enter();
	if (!t)
		return -EINVAL;
	umem = kms_umem_find(t, cookie, KMS_ACCESS_NONE, &info);
	fd = umem ? kms_port_shared_fd(&umem->shared, protection & PROT_WRITE) : -EINVAL;
	kms_front_leave(t);
	if (fd < 0)
		return fd;
	*map = (struct ddi_umem_map){.fd = fd, .offset = umem->shared.offset, .bytes = umem->bytes};
	return 0;
}

void kmem_suspend_enter(void)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	t->suspended++;
	kms_front_leave(t);
}

void kmem_suspend_leave(void)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	if (t->suspended)
		t->suspended--;
	kms_front_leave(t);
}
