/*
 * Locals that release what they hold when their scope ends (GNU attribute; user space only).
 *
 *	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
 *	KMS_AUTO_FREE char *text = NULL;
 *
 * Each must be initialised where it is declared. To hand the thing to the caller, take it out:
 * `return kms_take_fd(&fd);`, `return kms_take_ptr(&text);`.
 */
#ifndef KMS_BASE_CLEANUP_H
#define KMS_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** Calls fn with the address of the variable when its scope ends. */
#define KMS_CLEANUP(fn) __attribute__((cleanup(fn)))

/** Frees a pointer of any object type; errno stays. */
#define KMS_AUTO_FREE KMS_CLEANUP(kms_cleanup_free)

/** Closes a file descriptor unless it is negative; errno stays. */
#define KMS_AUTO_CLOSE KMS_CLEANUP(kms_cleanup_close)

/** Closes a FILE unless it is NULL. Not for files written to: their fclose() must be checked. */
#define KMS_AUTO_FCLOSE KMS_CLEANUP(kms_cleanup_fclose)

/** Closes a DIR unless it is NULL. */
#define KMS_AUTO_CLOSEDIR KMS_CLEANUP(kms_cleanup_closedir)

/** Behind KMS_AUTO_FREE. var is the address of a pointer of any type, hence the copy. */
static inline void kms_cleanup_free(void *var)
{
	void *ptr;

	memcpy(&ptr, var, sizeof(ptr));
	free(ptr); /* glibc's free keeps errno since 2.33 */
}

/** Behind KMS_AUTO_CLOSE. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the attribute's type */
static inline void kms_cleanup_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd); /* nothing was written that close could lose */
	errno = saved;
}

/** Behind KMS_AUTO_FCLOSE. */
static inline void kms_cleanup_fclose(FILE **file)
{
	if (*file)
		(void)fclose(*file); /* only read from */
}

/** Behind KMS_AUTO_CLOSEDIR. */
static inline void kms_cleanup_closedir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir); /* nothing to lose */
}

/** Takes a descriptor out of its variable, which becomes -1. */
static inline int kms_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/** Takes a pointer out of its variable, which becomes NULL. var is the address of the pointer. */
static inline void *kms_take_ptr(void *var)
{
	void *taken;
	void *null = NULL;

	memcpy(&taken, var, sizeof(taken));
	memcpy(var, &null, sizeof(null));
	return taken;
}

#endif
