/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/run.h"

/* NOLINTBEGIN(concurrency-mt-unsafe): called before any thread begins; streams of our own */

extern char **environ;

enum {
	SCRIPT_DEPTH = 4,
	HEAD_BYTES = 4096,
	MAX_HEADERS = 64,
	OPTIONS_BYTES = 64 << 10,
};

/* Looks a name without a slash up in PATH, as execvp(3) does. */
static int search_path(const char *program, char path[PATH_MAX])
{
	const char *list = getenv("PATH");
	int result = -ENOENT;

	if (!list)
		list = "/bin:/usr/bin";
	while (list) {
		size_t length = strcspn(list, ":");
		int n = snprintf(path, PATH_MAX, "%.*s/%s", length ? (int)length : 1,
				 length ? list : ".", program);
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

static int search(const char *program, char path[PATH_MAX])
{
	if (!program[0])
		return -ENOENT;
	if (!strchr(program, '/'))
		return search_path(program, path);
	if (snprintf(path, PATH_MAX, "%s", program) >= PATH_MAX)
		return -ENAMETOOLONG;
	return access(path, F_OK) < 0 ? -errno : 0;
}

/* Neither set-id bits nor capabilities count on such a file system or in such a process. */
static bool rights_are_off(const char *path)
{
	struct statvfs fs;

	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	       (statvfs(path, &fs) == 0 && fs.f_flag & ST_NOSUID);
}

/* Would the kernel start it with other rights, and the loader so ignore LD_PRELOAD? */
static bool gains_rights(const char *path, const struct stat *st)
{
	char capability[64];
	bool gains = (st->st_mode & S_ISUID && st->st_uid != getuid()) ||
		     (st->st_mode & S_ISGID && st->st_mode & S_IXGRP && st->st_gid != getgid()) ||
		     (getuid() != 0 &&
		      getxattr(path, "security.capability", capability, sizeof(capability)) > 0);

	return gains && !rights_are_off(path);
}

static int refuse(struct kms_err *err, const char *path, const char *why)
{
	kms_err_set(err, -ENOTSUP, "cannot trace %.96s: %s", path, why);
	kms_err_subject(err, path);
	return KMS_RUN_FAILED;
}

/* The loader itself, run with a program as its argument: it has no interpreter, but obeys
 * LD_PRELOAD. */
static bool is_loader(const char *path)
{
	struct stat st, loader;

	return stat(path, &st) == 0 && stat("/lib64/ld-linux-x86-64.so.2", &loader) == 0 &&
	       st.st_dev == loader.st_dev && st.st_ino == loader.st_ino;
}

static int check_headers(int fd, const char *path, const Elf64_Ehdr *ehdr, struct kms_err *err)
{
	Elf64_Phdr phdr[MAX_HEADERS];
	size_t bytes = ehdr->e_phnum * sizeof(phdr[0]);

	if (ehdr->e_phentsize != sizeof(phdr[0]) || ehdr->e_phnum > MAX_HEADERS ||
	    kms_pread_full(fd, phdr, bytes, ehdr->e_phoff) != (ssize_t)bytes)
		return refuse(err, path, "its program headers cannot be read; is it whole?");
	for (unsigned i = 0; i < ehdr->e_phnum; i++) {
		if (phdr[i].p_type == PT_INTERP)
			return 0;
	}
	if (is_loader(path))
		return 0;
	return refuse(err, path,
		      "it is statically linked, so no library can be put in front of its malloc; "
		      "link it dynamically, or with libkmem.a");
}

static int check_elf(int fd, const char *path, const char *head, size_t n, struct kms_err *err)
{
	Elf64_Ehdr ehdr;

	if (n > EI_DATA && (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB))
		return refuse(err, path, "it is not a 64-bit program; build it for x86-64");
	if (n < sizeof(ehdr))
		return refuse(err, path, "its header is cut short; is it whole?");
	memcpy(&ehdr, head, sizeof(ehdr));
	if (ehdr.e_machine != EM_X86_64)
		return refuse(err, path,
			      "it is a program for another processor; build it for x86-64");
	return check_headers(fd, path, &ehdr, err);
}

/* The interpreter of "#! PATH ARGS"; false if the line makes no sense. */
static bool interpreter(const char *head, char path[PATH_MAX])
{
	size_t start = 2 + strspn(head + 2, " \t");
	size_t length = strcspn(head + start, " \t\n");

	if (length == 0 || length >= PATH_MAX)
		return false;
	memcpy(path, head + start, length);
	path[length] = '\0';
	return true;
}

static int no_interpreter(const char *script, const char *path, struct kms_err *err)
{
	kms_err_set(err, -ENOENT, "%.96s: its interpreter '%.64s' is not found; see its first line",
		    script, path);
	kms_err_subject(err, path);
	return KMS_RUN_NOT_FOUND;
}

/*
 * One file on the way from a script to its last interpreter.
 *
 * Returns what kms_launch_check() returns; @next gets the interpreter to look at then, or "".
 */
static int check_file(const char *path, char next[PATH_MAX], struct kms_err *err)
{
	KMS_AUTO_CLOSE int fd = -1;
	char head[HEAD_BYTES + 1];
	struct stat st;
	ssize_t n;
	bool script;

	next[0] = '\0';
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0; /* what is wrong will show */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	n = fd < 0 ? 0 : kms_pread_full(fd, head, HEAD_BYTES, 0);
	head[n > 0 ? n : 0] = '\0';
	script = head[0] == '#' && head[1] == '!';
	/* on a script these bits have no effect */
	if (!script && gains_rights(path, &st))
		return refuse(err, path,
			      "it is set-id or has capabilities, so the loader ignores LD_PRELOAD; "
			      "run it as its owner, or use a copy without them");
	if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		return check_elf(fd, path, head, (size_t)n, err);
	if (script && interpreter(head, next) && access(next, F_OK) < 0)
		return no_interpreter(path, next, err);
	return 0;
}

static int check_chain(const char *program, struct kms_err *err)
{
	char path[PATH_MAX], next[PATH_MAX];
	int status = 0;

	snprintf(path, sizeof(path), "%s", program);
	for (int depth = 0; status == 0 && path[0] && depth < SCRIPT_DEPTH; depth++) {
		status = check_file(path, next, err);
		memcpy(path, next, sizeof(path));
	}
	return status;
}

static int cannot_execute(const char *program, int code, struct kms_err *err)
{
	kms_err_set(err, code, "cannot execute %.128s: %s%s", program, strerrordesc_np(-code),
		    code == -EACCES ? "; is it executable (chmod +x), and are its folders open?"
				    : "");
	kms_err_subject(err, program);
	return KMS_RUN_NOT_EXEC;
}

int kms_launch_check(const char *program, char path[PATH_MAX], struct kms_err *err)
{
	int result = search(program, path);
	struct stat st;

	if (result == -ENOENT || result == -ENOTDIR) {
		kms_err_set(err, -ENOENT,
			    "program '%.128s' not found; give a path or a name in PATH", program);
		kms_err_subject(err, program);
		return KMS_RUN_NOT_FOUND;
	}
	if (result < 0)
		return cannot_execute(program, result, err);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		kms_err_set(err, -EISDIR, "cannot execute %.128s: it is a folder", program);
		return KMS_RUN_NOT_EXEC;
	}
	if (access(path, X_OK) < 0)
		return cannot_execute(program, -errno, err);
	return check_chain(path, err);
}

/* LIB beside the BIN that this program lies in. */
static int beside_us(char path[PATH_MAX], struct kms_err *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

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
	return 0;
}

int kms_launch_library(char path[PATH_MAX], struct kms_err *err)
{
	const char *given = getenv("KMEMSCOPE_LIBRARY");
	char wanted[PATH_MAX];
	int result = 0;

	if (!given || !given[0])
		result = beside_us(wanted, err);
	else if (snprintf(wanted, sizeof(wanted), "%s", given) >= PATH_MAX)
		result = kms_err_set(err, -ENAMETOOLONG, "KMEMSCOPE_LIBRARY is too long");
	if (result < 0)
		return result;
	/* the program may change its folder before it starts others */
	if (!realpath(wanted, path) || access(path, R_OK) < 0)
		return kms_err_set(
			err, -ENOENT,
			"the library %s cannot be read (%m); KMEMSCOPE_LIBRARY names another",
			wanted);
	return 0;
}

/* The loader separates at blanks and colons, and replaces $ORIGIN and the like. */
static bool fits_preload(const char *path)
{
	return !strpbrk(path, ": \t\n$");
}

int kms_launch_preload(const char *library, const char *run_dir, char path[PATH_MAX])
{
	int n = fits_preload(library) ? snprintf(path, PATH_MAX, "%s", library)
				      : snprintf(path, PATH_MAX, "%s/libkmem_malloc.so", run_dir);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int kms_launch_link(const char *library, const char *run_dir, struct kms_err *err)
{
	char path[PATH_MAX];

	if (fits_preload(library))
		return 0;
	if (kms_launch_preload(library, run_dir, path) < 0 || !fits_preload(path))
		return kms_err_set(
			err, -EINVAL,
			"LD_PRELOAD cannot carry a path with a blank, a colon or a dollar: "
			"'%s'; name a copy in KMEMSCOPE_LIBRARY",
			library);
	if (symlink(library, path) < 0)
		return kms_err_sys(err, -errno, "cannot make a link to the library", path);
	return 0;
}

static bool replaced(const char *entry)
{
	static const char *const names[] = {
		"LD_PRELOAD=", "KMEM_OPTIONS=", "KMEMSCOPE_RUN=", "KMEMSCOPE_STOP="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	}
	return false;
}

/* Formats one entry of the environment; NULL without memory. */
static char *entry(const char *name, const char *value, const char *more)
{
	char *text;

	return asprintf(&text, "%s=%s%s%s", name, value, value[0] && more[0] ? ":" : "", more) < 0
		       ? NULL
		       : text;
}

static char *options_entry(const struct kms_options *options)
{
	struct kms_buf text;
	char *result = NULL;

	kms_buf_init(&text, OPTIONS_BYTES);
	kms_options_format(options, &text);
	if (kms_buf_status(&text) == 0)
		result = entry("KMEM_OPTIONS", kms_buf_text(&text), "");
	kms_buf_deinit(&text);
	return result;
}

char **kms_launch_environment(const char *library, const char *run_dir,
			      const struct kms_options *options, bool stopped)
{
	const char *preload = getenv("LD_PRELOAD");
	char pid[16];
	size_t n = 0, k = 0;
	bool whole = true;
	char **out;

	while (environ[n])
		n++;
	out = calloc(n + 5, sizeof(*out));
	if (!out)
		return NULL;
	/* each goes where the next one would: a failure leaves no gap for the one that frees */
	for (size_t i = 0; i < n && whole; i++) {
		if (!replaced(environ[i]))
			whole = (out[k++] = strdup(environ[i])) != NULL;
	}
	whole = whole && (out[k++] = entry("LD_PRELOAD", preload ? preload : "", library)) &&
		(out[k++] = options_entry(options)) &&
		(out[k++] = entry("KMEMSCOPE_RUN", run_dir, ""));
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid()); /* fits */
	whole = whole && (!stopped || (out[k++] = entry("KMEMSCOPE_STOP", pid, "")));
	if (!whole) {
		kms_launch_environment_free(out);
		return NULL;
	}
	return out;
}

void kms_launch_environment_free(char **environment)
{
	for (size_t i = 0; environment && environment[i]; i++)
		free(environment[i]);
	free(environment);
}

/* NOLINTEND(concurrency-mt-unsafe) */
