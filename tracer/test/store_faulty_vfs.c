/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/test/store_faulty_vfs.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/sqlite.h"

struct faulty_file {
	sqlite3_file base;  /* first: SQLite's part */
	sqlite3_file *real; /* behind this struct */
};

static struct faulty_plan plan;
static uint64_t count;
static sqlite3_vfs *real_vfs;

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct faulty_file *)file)->real;
}

/* SQLITE_OK, or how this operation fails. */
static int fault(int io_error)
{
	count++;
	if (!plan.nth || count < plan.nth || (count > plan.nth && !plan.for_ever))
		return SQLITE_OK;
	return plan.disk_full && io_error == SQLITE_IOERR_WRITE ? SQLITE_FULL : io_error;
}

static int f_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int f_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
	return real_of(file)->pMethods->xRead(real_of(file), out, n, at);
}

static int f_write(sqlite3_file *file, const void *in, int n, sqlite3_int64 at)
{
	int rc = fault(SQLITE_IOERR_WRITE);

	if (rc == SQLITE_OK)
		return real_of(file)->pMethods->xWrite(real_of(file), in, n, at);
	/* half of it reached the disk */
	(void)real_of(file)->pMethods->xWrite(real_of(file), in, n / 2, at);
	return rc;
}

static int f_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int rc = fault(SQLITE_IOERR_TRUNCATE);

	return rc ? rc : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int f_sync(sqlite3_file *file, int flags)
{
	int rc = fault(SQLITE_IOERR_FSYNC);

	return rc ? rc : real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int f_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int f_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int f_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int f_check_lock(sqlite3_file *file, int *out)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int f_control(sqlite3_file *file, int op, void *arg)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int f_sector(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int f_device(sqlite3_file *file)
{
	return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int f_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **out)
{
	return real_of(file)->pMethods->xShmMap(real_of(file), page, bytes, extend, out);
}

static int f_shm_lock(sqlite3_file *file, int at, int n, int flags)
{
	return real_of(file)->pMethods->xShmLock(real_of(file), at, n, flags);
}

static void f_shm_barrier(sqlite3_file *file)
{
	real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int f_shm_unmap(sqlite3_file *file, int del)
{
	return real_of(file)->pMethods->xShmUnmap(real_of(file), del);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_check_lock,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_device,
	.xShmMap = f_shm_map,
	.xShmLock = f_shm_lock,
	.xShmBarrier = f_shm_barrier,
	.xShmUnmap = f_shm_unmap,
};

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct faulty_file *f = (struct faulty_file *)file;
	int rc;

	(void)vfs;
	f->real = (sqlite3_file *)(f + 1);
	rc = real_vfs->xOpen(real_vfs, name, f->real, flags, out);
	f->base.pMethods = f->real->pMethods ? &methods : NULL;
	return rc;
}

static int v_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	int rc = fault(SQLITE_IOERR_DELETE);

	(void)vfs;
	return rc ? rc : real_vfs->xDelete(real_vfs, name, sync);
}

void faulty_install(void)
{
	static sqlite3_vfs vfs;

	real_vfs = sqlite3_vfs_find(NULL);
	if (!real_vfs)
		abort();
	/* everything but opening and removing is the system's, and needs nothing of ours */
	memcpy(&vfs, real_vfs, sizeof(vfs));
	vfs.zName = "faulty";
	vfs.szOsFile = (int)sizeof(struct faulty_file) + real_vfs->szOsFile;
	vfs.pNext = NULL;
	vfs.xOpen = v_open;
	vfs.xDelete = v_delete;
	if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
		abort();
}

void faulty_start(struct faulty_plan new_plan)
{
	plan = new_plan;
	count = 0;
}

uint64_t faulty_count(void)
{
	return count;
}
