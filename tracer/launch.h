/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Before a program is started: can it be traced at all, and with what environment?
 */
#ifndef KMS_TRACER_LAUNCH_H
#define KMS_TRACER_LAUNCH_H

#include <limits.h>
#include <stddef.h>

#include "base/err.h"
#include "tracer/options.h"

/**
 * Finds a program as execvp(3) would and looks at what can be known before it runs.
 *
 * Shape:  @path gets the file found
 * Returns 0, or an enum kms_run_status with err set: 127 not found, 126 not executable, 125 when it
 *         could run but not be traced (static, set-id that takes effect, other ELF class).
 */
int kms_launch_check(const char *program, char path[PATH_MAX], struct kms_err *err);

/**
 * Path of libkmem_malloc.so: KMEMSCOPE_LIBRARY, or ../lib beside this program.
 * Errors: -ENOENT, -ENAMETOOLONG
 */
int kms_launch_library(char path[PATH_MAX], struct kms_err *err);

/**
 * What LD_PRELOAD names: the library, or, where LD_PRELOAD cannot carry its path, a link to it in the
 * run's folder.
 * Errors: -ENAMETOOLONG
 */
int kms_launch_preload(const char *library, const char *run_dir, char path[PATH_MAX]);

/**
 * Makes that link, if one is needed. It goes with the folder.
 * Errors: -EINVAL: the run's folder has such a path, too; what symlink(2) says
 */
int kms_launch_link(const char *library, const char *run_dir, struct kms_err *err);

/**
 * The program's environment: ours, with the library behind what LD_PRELOAD has already, KMEM_OPTIONS
 * of @options, and the run's folder. @stopped: the calling process is to stand before the main function
 * of what it executes.
 *
 * Owner:  the caller frees with kms_launch_environment_free(); NULL without memory.
 */
char **kms_launch_environment(const char *library, const char *run_dir,
			      const struct kms_options *options, bool stopped);
void kms_launch_environment_free(char **environment);

#endif
