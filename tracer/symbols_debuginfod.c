/* SPDX-License-Identifier: BSD-2-Clause */
/* Debug files from a debuginfod server: only on request, and only where its library happens to be installed. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "tracer/symbols_debugfile.h"

/* The part of the library's interface that is used, as its manual page debuginfod_find_debuginfo(3) gives it. */
struct debuginfod {
	void *library;
	void *(*begin)(void);
	int (*find)(void *client, const unsigned char *build_id, int n, char **path);
	void (*end)(void *client);
};

static bool load_function(void *library, const char *name, void *function, size_t size)
{
	void *symbol = dlsym(library, name);
	memcpy(function, &symbol,
	       size); /* ISO C knows no conversion of the two kinds of pointers */
	return symbol != NULL;
}

static bool load(struct debuginfod *lib)
{
	lib->library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
	return lib->library &&
	       load_function(lib->library, "debuginfod_begin", &lib->begin, sizeof(lib->begin)) &&
	       load_function(lib->library, "debuginfod_find_debuginfo", &lib->find,
			     sizeof(lib->find)) &&
	       load_function(lib->library, "debuginfod_end", &lib->end, sizeof(lib->end));
}

char *kms_symbols_debuginfod_fetch(const uint8_t *build_id, size_t n)
{
	struct debuginfod lib;
	if (!load(&lib))
		return NULL;
	/* The library stays loaded: what it has started may still run. */
	void *client = lib.begin();
	if (!client)
		return NULL;
	char *path = NULL;
	int fd = lib.find(client, build_id, (int)n, &path);
	lib.end(client);
	if (fd < 0)
		return NULL;
	close(fd);
	return path;
}
