/*
 * Files and descriptors: whole transfers, small files, private folders.
 */
#ifndef KMS_BASE_IO_H
#define KMS_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kms_err;

/**
 * Reads n bytes, or as many as there are before the end of the file; goes on after signals
 * and short reads.
 *
 * Errors: the bytes read (less than n only at the end), or a negative errno; then part of the
 *         buffer may be written. -EAGAIN on a non-blocking descriptor with nothing to read.
 */
ssize_t kms_read_full(int fd, void *bytes, size_t n);

/** kms_read_full() at an offset; the file position stays. */
ssize_t kms_pread_full(int fd, void *bytes, size_t n, uint64_t offset);

/**
 * Writes all n bytes; goes on after signals and short writes.
 *
 * Errors: 0, or a negative errno; then a part may have been written. A closed pipe is -EPIPE if the
 *         process ignores SIGPIPE.
 */
int kms_write_full(int fd, const void *bytes, size_t n);

/**
 * Puts a file in place of another, or of none, with mode 0600: whoever reads meanwhile has the old one
 * or the new one.
 *
 * Errors: -ENAMETOOLONG; what mkostemp(3), write(2) and rename(2) say; nothing is left then.
 */
int kms_replace_file(const char *path, const void *bytes, size_t n, struct kms_err *err);

/**
 * Reads a whole file of at most limit_bytes, /proc files (size 0, but not empty) included.
 *
 * Shape:  *text has *n_bytes bytes and a NUL behind them; n_bytes may be NULL.
 * Owner:  the caller frees *text.
 * Errors: -EFBIG: longer than the limit; -ENOMEM; -EISDIR; what open(2) and read(2) say;
 *         -EINVAL: no regular file (a FIFO would wait). Outputs are written only on success.
 */
int kms_read_file(const char *path, size_t limit_bytes, char **text, size_t *n_bytes,
		  struct kms_err *err);

/**
 * Makes sure that a folder exists that only this user can enter: creates it with mode 0700, or
 * checks the one that is there. Its parent must exist.
 *
 * Errors: -ENOTDIR: something else, or a symbolic link, has that name; -EPERM: it belongs to
 *         another user; -EACCES: others may enter it; what mkdir(2) says.
 */
int kms_mkdir_private(const char *path, struct kms_err *err);

#endif
