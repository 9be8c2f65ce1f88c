/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Symbols and places of a build, kept in a file by build id, so that a second attach need not decode
 * them. The file is checked as if it came from a stranger; what does not fit is as if not there.
 */
#ifndef KMS_TRACER_GUEST_LINUX_SAVED_H
#define KMS_TRACER_GUEST_LINUX_SAVED_H

#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/kallsyms.h"
#include "tracer/guest/linux_info.h"
#include "tracer/guest/linux_layout.h"

/** Of which tables in a guest it was made: hashes with a seed that nobody knew before. */
struct kms_linux_seal {
	uint64_t seed;
	uint64_t symbols; /* kallsyms */
	uint64_t types;   /* BTF */
};

/**
 * Reads what was kept.
 *
 * Shape:  symbols are as loaded by this kernel: moved by info's KASLR offset.
 * Errors: -ENOENT: nothing was kept; -EBADMSG: what is there is damaged, or of another version; else
 *         as kms_read_file(). Outputs are written only on success.
 */
int kms_linux_saved_load(const char *folder, const struct kms_linux_info *info,
			 struct kms_linux_seal *seal, struct kms_symbols *symbols,
			 struct kms_linux_layout *layout, struct kms_err *err);

/**
 * Keeps it; makes the folder if it is missing, but not its parent.
 *
 * Errors: what mkdir(2), open(2), write(2) and rename(2) say. Whoever reads meanwhile sees the old
 *         file or the new one.
 */
int kms_linux_saved_store(const char *folder, const struct kms_linux_info *info,
			  const struct kms_linux_seal *seal, const struct kms_symbols *symbols,
			  const struct kms_linux_layout *layout, struct kms_err *err);

/**
 * The folder for it: $XDG_CACHE_HOME/kmemscope, else ~/.cache/kmemscope.
 *
 * Errors: -ENOENT: neither variable is set; -ENAMETOOLONG
 */
int kms_linux_saved_folder(char *path, size_t bytes);

#endif
