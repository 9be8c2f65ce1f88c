/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "tracer/run.h"

extern char **environ;

enum {
	SCRIPT_DEPTH = 4,
	HEAD_BYTES = 4096,
	MAX_HEADERS = 64,
};

static int search(const char *program, char path[PATH_MAX])
{
	const char *list = getenv("PATH");
	int result = -ENOENT;

	if (strchr(program, '/')) {
		if (snprintf(path, PATH_MAX, "%s", program) >= PATH_MAX)
			return -ENAMETOOLONG;
		return access(path, F_OK) < 0 ? -errno : 0;
	}
	if (!list)
		list = "/bin:/usr/bin";
	while (*program && list) {
		size_t length = strcspn(list, ":");
		int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)length, length ? list : ".",
				 program);
		struct stat st;

		if (n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			if (access(path, X_OK) == 0)
				return 0;
			result = -EACCES;
		}
		list = list[length] ? list + length + 1 : NULL;
	}
	return result;
}

/* Would the kernel start it with other rights, and so drop LD_PRELOAD? */
static bool gains_rights(int fd, const struct stat *st)
{
	char capability[64];

	if (st->st_mode & S_ISUID && st->st_uid != getuid())
		return true;
	if (st->st_mode & S_ISGID && st->st_mode & S_IXGRP && st->st_gid != getgid())
		return true;
	return getuid() != 0 &&
	       fgetxattr(fd, "security.capability", capability, sizeof(capability)) > 0;
}

static int refuse(struct kms_err *err, const char *path, const char *why)
{
	kms_err_set(err, -ENOTSUP, "cannot trace %s: %s", path, why);
	kms_err_subject(err, path);
	return KMS_RUN_FAILED;
}

static int check_elf(int fd, const char *path, const unsigned char *head, size_t n,
		     struct kms_err *err)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[MAX_HEADERS];

	if (n < sizeof(ehdr) || head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB)
		return refuse(err, path, "it is not a 64-bit program; build it for x86-64");
	memcpy(&ehdr, head, sizeof(ehdr));
	if (ehdr.e_machine != EM_X86_64)
		return refuse(err, path, "it is a program for another processor");
	if (ehdr.e_phentsize != sizeof(phdr[0]) || ehdr.e_phnum > MAX_HEADERS ||
	    kms_pread_full(fd, phdr, ehdr.e_phnum * sizeof(phdr[0]), ehdr.e_phoff) !=
		    (ssize_t)(ehdr.e_phnum * sizeof(phdr[0])))
		return refuse(err, path, "its program headers cannot be read");
	for (unsigned i = 0; i < ehdr.e_phnum; i++) {
		if (phdr[i].p_type == PT_INTERP)
			return 0;
	}
	return refuse(err, path,
		      "it is statically linked, so no library can be put in front of its malloc; "
		      "link it dynamically, or with libkmem.a");
}

/* The interpreter of "#! PATH ARGS"; false if the line makes no sense. */
static bool interpreter(const char *head, size_t n, char path[PATH_MAX])
{
	size_t start = 2, end;

	while (start < n && (head[start] == ' ' || head[start] == '\t'))
		start++;
	for (end = start; end < n && !strchr(" \t\n\r", head[end]); end++)
		;
	if (end == start || end - start >= PATH_MAX)
		return false;
	memcpy(path, head + start, end - start);
	path[end - start] = '\0';
	return true;
}

static int check_file(const char *path, int depth, struct kms_err *err)
{
	unsigned char head[HEAD_BYTES + 1];
	char next[PATH_MAX];
	struct stat st;
	ssize_t n;
	int fd, result = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0; /* executable but not readable: what is wrong will show */
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? kms_pread_full(fd, head, HEAD_BYTES, 0)
						       : -1;
	if (n >= 0)
		head[n] = '\0';
	if (n >= 4 && gains_rights(fd, &st))
		result = refuse(err, path,
				"it is set-id or has capabilities, so the loader ignores "
				"LD_PRELOAD; run it as its owner, or use a copy without them");
	else if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		result = check_elf(fd, path, head, (size_t)n, err);
	else if (n > 2 && head[0] == '#' && head[1] == '!' && depth < SCRIPT_DEPTH &&
		 interpreter((const char *)head, (size_t)n, next))
		result = check_file(next, depth + 1, err);
	close(fd);
	return result;
}

int kms_launch_check(const char *program, char path[PATH_MAX], struct kms_err *err)
{
	int result = search(program, path);
	struct stat st;

	if (result == -ENOENT || result == -ENOTDIR) {
		kms_err_set(err, -ENOENT, "%s: not found; give a path or a program in PATH",
			    program);
		return KMS_RUN_NOT_FOUND;
	}
	if (result == 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		kms_err_set(err, -EISDIR, "%s: is a folder, not a program", program);
		return KMS_RUN_NOT_EXEC;
	}
	if (result < 0 || access(path, X_OK) < 0) {
		kms_err_set(err, -EACCES, "%s: not executable; chmod +x makes it so", program);
		return KMS_RUN_NOT_EXEC;
	}
	return check_file(path, 0, err);
}

int kms_launch_library(char path[PATH_MAX], struct kms_err *err)
{
	const char *given = getenv("KMEMSCOPE_LIBRARY");
	char self[PATH_MAX];
	ssize_t n;

	if (given && given[0]) {
		if (snprintf(path, PATH_MAX, "%s", given) >= PATH_MAX)
			return kms_err_set(err, -ENAMETOOLONG, "KMEMSCOPE_LIBRARY is too long");
	} else {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			return kms_err_sys(err, -errno, "own path", "/proc/self/exe");
		self[n] = '\0';
		for (int up = 0; up < 2; up++) {
			char *slash = strrchr(self, '/');

			if (slash)
				*slash = '\0';
		}
		if (snprintf(path, PATH_MAX, "%s/lib/libkmem_malloc.so", self) >= PATH_MAX)
			return kms_err_set(err, -ENAMETOOLONG, "path of the library is too long");
	}
	if (access(path, R_OK) < 0)
		return kms_err_set(err, -ENOENT,
				   "the library %s cannot be read; KMEMSCOPE_LIBRARY names another",
				   path);
	return 0;
}

static bool replaced(const char *entry)
{
	static const char *const names[] = {"LD_PRELOAD=", "KMEM_OPTIONS=", "KMEMSCOPE_RUN="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	}
	return false;
}

char **kms_launch_environment(const char *library, const char *run_dir,
			      const struct kms_options *options)
{
	const char *preload = getenv("LD_PRELOAD");
	struct kms_buf text;
	size_t n = 0, k = 0;
	char **out;

	while (environ[n])
		n++;
	out = calloc(n + 4, sizeof(*out));
	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!replaced(environ[i]))
			out[k++] = strdup(environ[i]);
	}
	kms_buf_init(&text, 1 << 20);
	kms_buf_addf(&text, "LD_PRELOAD=%s%s%s", preload ? preload : "",
		     preload && preload[0] ? ":" : "", library);
	out[k++] = strdup(kms_buf_text(&text));
	kms_buf_reset(&text);
	kms_buf_add_str(&text, "KMEM_OPTIONS=");
	kms_options_format(options, &text);
	out[k++] = strdup(kms_buf_text(&text));
	kms_buf_reset(&text);
	kms_buf_addf(&text, "KMEMSCOPE_RUN=%s", run_dir);
	out[k++] = strdup(kms_buf_text(&text));
	kms_buf_deinit(&text);
	for (size_t i = 0; i < k; i++) {
		if (!out[i]) {
			kms_launch_environment_free(out);
			return NULL;
		}
	}
	return out;
}

void kms_launch_environment_free(char **environment)
{
	for (size_t i = 0; environment && environment[i]; i++)
		free(environment[i]);
	free(environment);
}
