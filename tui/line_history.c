/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines entered before, and their file: see line.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tui/line.h"

enum {
	FILE_LIMIT_BYTES = KMS_HISTORY_LINES * KMS_LINE_BYTES,
};

void kms_line_history_add(struct kms_line_history *history, const char *text)
{
	char *copy;

	if (!*text || (history->n && strcmp(history->line[history->n - 1], text) == 0))
		return;
	copy = strdup(text);
	if (!copy)
		return;
	if (history->n == KMS_HISTORY_LINES) {
		free(history->line[0]);
		memmove(history->line, history->line + 1,
			(KMS_HISTORY_LINES - 1) * sizeof(history->line[0]));
		history->n--;
	}
	history->line[history->n++] = copy;
}

void kms_line_history_deinit(struct kms_line_history *history)
{
	for (size_t i = 0; i < history->n; i++)
		free(history->line[i]);
	history->n = 0;
}

int kms_line_history_load(struct kms_line_history *history, const char *path, struct kms_err *err)
{
	struct kms_buf line;
	char *text;
	char *next;
	int ret = kms_read_file(path, FILE_LIMIT_BYTES, &text, NULL, err);

	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	for (char *at = text; *at; at = next) {
		next = at + strcspn(at, "\n");
		if (*next)
			*next++ = '\0';
		kms_buf_init(&line, KMS_LINE_BYTES - 1);
		kms_buf_add_printable(&line, at, strlen(at));
		kms_line_history_add(history, kms_buf_text(&line));
		kms_buf_deinit(&line);
	}
	free(text);
	return 0;
}

static int write_lines(const struct kms_line_history *history, int fd)
{
	int ret = 0;

	for (size_t i = 0; i < history->n && ret == 0; i++) {
		ret = kms_write_full(fd, history->line[i], strlen(history->line[i]));
		if (ret == 0)
			ret = kms_write_full(fd, "\n", 1);
	}
	return ret;
}

int kms_line_history_save(const struct kms_line_history *history, const char *path,
			  struct kms_err *err)
{
	char temporary[PATH_MAX];
	int fd;
	int ret;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return kms_err_set(err, -ENAMETOOLONG, "%s: path too long", path);
	fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return kms_err_sys(err, -errno, "cannot keep the history", path);
	ret = write_lines(history, fd);
	if (close(fd) < 0 && ret == 0)
		ret = -errno;
	if (ret == 0 && rename(temporary, path) < 0)
		ret = -errno;
	if (ret == 0)
		return 0;
	(void)unlink(temporary);
	return kms_err_sys(err, ret, "cannot keep the history", path);
}

int kms_line_history_path(char *path, size_t bytes, struct kms_err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the one thread, before any other begins */
	const char *state = getenv("XDG_STATE_HOME");
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
	const char *home = getenv("HOME");
	char folder[PATH_MAX];
	int n;

	if (state && state[0] == '/')
		n = snprintf(folder, sizeof(folder), "%s", state);
	else if (home && home[0] == '/')
		n = snprintf(folder, sizeof(folder), "%s/.local/state", home);
	else
		return kms_err_set(err, -ENOENT, "there is no home for the history");
	if (n >= (int)sizeof(folder) - 32)
		return kms_err_set(err, -ENAMETOOLONG, "%s: path too long", folder);
	for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(folder, 0700); /* there, or the next one fails */
		*slash = '/';
	}
	(void)mkdir(folder, 0700);
	memcpy(folder + n, "/kmemscope", sizeof("/kmemscope"));
	if (kms_mkdir_private(folder, err) < 0)
		return err ? err->code : -EACCES;
	if (snprintf(path, bytes, "%s/history", folder) >= (int)bytes)
		return kms_err_set(err, -ENAMETOOLONG, "%s: path too long", folder);
	return 0;
}
