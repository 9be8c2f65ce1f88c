/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With which status the process ends: its parent is told by the system, the tracer only by us. exit()
 * and the end of main come by on_exit(), whose handlers are run behind all that the program registered;
 * _exit() by its name. A deadly signal says nothing.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port/process.h"

#define EXPORT __attribute__((visibility("default")))

static void at_exit(int status, void *nothing)
{
	(void)nothing;
	kms_process_exit_status(status);
}

__attribute__((constructor)) static void begin(void)
{
	(void)on_exit(at_exit, NULL); /* without memory the status stays unknown */
}

EXPORT _Noreturn void _exit(int status)
{
	kms_process_exit_status(status);
	for (;;)
		(void)syscall(SYS_exit_group, status); /* does not return */
}

EXPORT _Noreturn void _Exit(int status)
{
	_exit(status);
}
