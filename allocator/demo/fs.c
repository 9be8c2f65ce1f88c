/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ffs0, a file system without a device: vnodes with names in a cache of fixed size, inodes from pools,
 * pages that are read and dropped, symbolic links. Planted here: a name that is freed twice, and an
 * inode that is put into the pool of the other kind.
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	VNODES_MAX = 160,
	PAGE_KIB_MAX = 16,
	LINK_MAX = 24,
};

/* An inode in memory, and what of it is on the disk. */
struct fs_inode {
	uint64_t number;
	uint32_t links;
	uint64_t block[12];
};

struct fs_dinode {
	uint64_t mode, bytes;
	uint64_t block[12];
};

struct fs_vnode {
	struct fs_inode *inode;
	struct fs_dinode *dinode;
	uint64_t number;
	uint64_t bytes;
	char *name;
	size_t name_bytes;
	char *link; /* where a symbolic link leads, or NULL */
};

struct fs_softc {
	struct fs_vnode *vnode[VNODES_MAX];
	uint64_t next_number;
	char *mounted_on;
	pool_cache_t inodes, dinodes;
	char lock;
};

static int fs_inode_construct(void *argument, void *object, int flags)
{
	(void)argument;
	(void)flags;
	*(struct fs_inode *)object = (struct fs_inode){.links = 1};
	return 0;
}

static void fs_attach(struct kms_driver *driver)
{
	struct fs_softc *sc = kmem_zalloc(sizeof(*sc), KM_SLEEP);

	sc->mounted_on = kmem_asprintf("/mnt/%s", driver->class->name);
	sc->inodes = pool_cache_init(sizeof(struct fs_inode), 0, 0, 0, "ffsino", NULL, IPL_NONE,
				     fs_inode_construct, NULL, NULL);
	sc->dinodes = pool_cache_init(sizeof(struct fs_dinode), 64, 0, 0, "ffsdino", NULL, IPL_NONE,
				      NULL, NULL, NULL);
	driver->softc = sc;
}

static struct fs_vnode *fs_vnode_create(struct kms_driver *driver, struct fs_softc *sc)
{
	struct fs_vnode *vnode = kmem_zalloc(sizeof(*vnode), KM_SLEEP);
	char *path;

	vnode->number = sc->next_number++;
	vnode->inode = pool_cache_get(sc->inodes, PR_WAITOK);
	vnode->inode->number = vnode->number;
	vnode->dinode = pool_cache_get(sc->dinodes, PR_WAITOK);
	*vnode->dinode = (struct fs_dinode){.bytes = vnode->number};
	path = kmem_asprintf("%s/file-%llu", sc->mounted_on, (unsigned long long)vnode->number);
	vnode->name = kmem_strdupsize(path, &vnode->name_bytes, KM_SLEEP);
	if (kms_rng_below(&driver->rng, 8) == 0)
		vnode->link = kmem_strndup(path, LINK_MAX, KM_SLEEP);
	kmem_strfree(path);
	return vnode;
}

static void fs_vnode_destroy(struct fs_softc *sc, struct fs_vnode *vnode)
{
	pool_cache_put(sc->inodes, vnode->inode);
	pool_cache_put(sc->dinodes, vnode->dinode);
	kmem_strfree(vnode->link);
	kmem_free(vnode->name, vnode->name_bytes);
	kmem_free(vnode, sizeof(*vnode));
}

/* Puts a vnode into the cache and throws out whichever was in its place. */
static void fs_vnode_enter(struct fs_softc *sc, struct fs_vnode *vnode, uint64_t place)
{
	struct fs_vnode *old;

	kms_spin_enter(&sc->lock);
	old = sc->vnode[place];
	sc->vnode[place] = vnode;
	kms_spin_exit(&sc->lock);
	if (old)
		fs_vnode_destroy(sc, old);
}

static void fs_read_page(struct kms_driver *driver, struct fs_vnode *vnode)
{
	size_t bytes = kms_rng_between(&driver->rng, 1, PAGE_KIB_MAX) << 10;
	char *page = kmem_alloc(bytes, KM_SLEEP);

	memset(page, (int)(vnode->number & 0xff), 64);
	page[bytes - 1] = 0;
	vnode->bytes += bytes;
	kmem_free(page, bytes);
}

/* The target's name is given back where the error is found, and again at the common end. */
KMS_BUG_FUNCTION void fs_double_free_name(struct kms_driver *driver)
{
	size_t bytes;
	char *name = kmem_strdupsize("rename-target", &bytes, KM_SLEEP);
	int line;

	kmem_free(name, bytes);
	line = __LINE__ + 1;
	kmem_free(name, bytes);
	kms_bug_record(driver->kernel, KMS_BUG_DOUBLE_FREE, KMS_BUG_PLACE(line, name, bytes));
}

static void fs_single_free_name(void)
{
	size_t bytes;
	char *name = kmem_strdupsize("rename-target", &bytes, KM_SLEEP);

	kmem_free(name, bytes);
}

static void fs_rename(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_DOUBLE_FREE))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_DOUBLE_FREE))
		fs_double_free_name(driver);
	else
		fs_single_free_name();
}

/* Two pools, and pointers that look alike. */
KMS_BUG_FUNCTION void fs_put_inode_into_wrong_cache(struct kms_driver *driver)
{
	struct fs_softc *sc = driver->softc;
	struct fs_inode *inode = pool_cache_get(sc->inodes, PR_WAITOK);
	int line;

	line = __LINE__ + 1;
	pool_cache_put(sc->dinodes, inode);
	kms_bug_record(driver->kernel, KMS_BUG_WRONG_CACHE,
		       KMS_BUG_PLACE(line, inode, sizeof(*inode)));
}

static void fs_put_inode(struct fs_softc *sc)
{
	pool_cache_put(sc->inodes, pool_cache_get(sc->inodes, PR_WAITOK));
}

static void fs_check_inode(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_WRONG_CACHE))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_WRONG_CACHE))
		fs_put_inode_into_wrong_cache(driver);
	else
		fs_put_inode(driver->softc);
}

static void fs_work(struct kms_driver *driver)
{
	struct fs_softc *sc = driver->softc;
	uint64_t place = kms_rng_below(&driver->rng, VNODES_MAX);

	fs_rename(driver);
	fs_check_inode(driver);
	if (!sc->vnode[place] || kms_rng_below(&driver->rng, 3) == 0)
		fs_vnode_enter(sc, fs_vnode_create(driver, sc), place);
	fs_read_page(driver, sc->vnode[place]);
}

static void fs_detach(struct kms_driver *driver)
{
	struct fs_softc *sc = driver->softc;

	for (int i = 0; i < VNODES_MAX; i++) {
		if (sc->vnode[i])
			fs_vnode_destroy(sc, sc->vnode[i]);
	}
	pool_cache_destroy(sc->inodes);
	pool_cache_destroy(sc->dinodes);
	kmem_strfree(sc->mounted_on);
	kmem_free(sc, sizeof(*sc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_fs_class = {
	.name = "ffs0",
	.attach = fs_attach,
	.work = fs_work,
	.detach = fs_detach,
};
