/* SPDX-License-Identifier: BSD-2-Clause */
/* dlclose, so that the addresses of a module that went are not taken for its successor's. */
#include <dlfcn.h>

#include "allocator/port/fronts.h"
#include "allocator/port/process.h"

__attribute__((visibility("default"))) int dlclose(void *handle)
{
	static int (*next)(void *);
	int result;

	if (!next)
		next = (int (*)(void *))(uintptr_t)dlsym(RTLD_NEXT, "dlclose");
	if (!next)
		return -1;
	result = next(handle);
	kms_stack_modules_gone(kms_process_heap());
	return result;
}
