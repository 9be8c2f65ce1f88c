/* SPDX-License-Identifier: BSD-2-Clause */
/* Choosing the source: see source.h. */
#include "tui/source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tui/suggest.h"

static const char file_ending[] = ".kms";
static const char url_scheme[] = "http://";

/* Whether somebody accepts connections on a socket, and who it is; 0: the system does not say. */
static bool is_served(const char *path, pid_t *pid)
{
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	KMS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, path, strlen(path));
	*pid = 0;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return errno == EAGAIN;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		*pid = peer.pid;
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct kms_source *left = a;
	const struct kms_source *right = b;

	return strcmp(left->name, right->name);
}

/* Adds the session in a folder if it is live. */
static int add_session(struct kms_sessions *sessions, const char *root, const char *name)
{
	struct kms_source *grown;
	char path[PATH_MAX];
	pid_t pid;

	if (name[0] == '.' ||
	    snprintf(path, sizeof(path), "%s/%s/api.sock", root, name) >= (int)sizeof(path) ||
	    !is_served(path, &pid))
		return 0;
	grown = realloc(sessions->item, (sessions->n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	sessions->item = grown;
	grown += sessions->n++;
	memset(grown, 0, sizeof(*grown));
	grown->kind = KMS_SOURCE_SESSION;
	snprintf(grown->name, sizeof(grown->name), "%s", name);
	memcpy(grown->path, path, sizeof(path));
	grown->pid = pid;
	return 0;
}

int kms_sessions_list(const struct kms_hooks *hooks, struct kms_sessions *sessions,
		      struct kms_err *err)
{
	KMS_AUTO_CLOSEDIR DIR *dir = NULL;
	char root[PATH_MAX];
	const struct dirent *entry;
	int ret;

	memset(sessions, 0, sizeof(*sessions));
	ret = hooks->session_root(root, err);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	dir = opendir(root);
	if (!dir)
		return errno == ENOENT ? 0 : kms_err_sys(err, -errno, root, root);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while ((entry = readdir(dir)))
		if (add_session(sessions, root, entry->d_name) < 0)
			return kms_err_set(err, -ENOMEM, "out of memory");
	if (sessions->n)
		qsort(sessions->item, sessions->n, sizeof(*sessions->item), by_name);
	return 0;
}

void kms_sessions_deinit(struct kms_sessions *sessions)
{
	free(sessions->item);
	memset(sessions, 0, sizeof(*sessions));
}

/* Whether a session goes by this name: its own, the program's before the pid, or the pid. */
static bool session_is(const struct kms_source *session, const char *arg)
{
	const char *dot = strrchr(session->name, '.');
	size_t n = strlen(arg);

	return strcmp(session->name, arg) == 0 ||
	       (dot && (strcmp(dot + 1, arg) == 0 || ((size_t)(dot - session->name) == n &&
						      memcmp(session->name, arg, n) == 0)));
}

static bool ends_with(const char *text, const char *ending)
{
	size_t text_len = strlen(text);
	size_t ending_len = strlen(ending);

	return text_len > ending_len && strcmp(text + text_len - ending_len, ending) == 0;
}

/* A path that exists, or one that can only be meant as a path. */
static int pick_path(const char *arg, struct kms_source *source, struct kms_err *err)
{
	struct stat st;

	if (stat(arg, &st) < 0)
		return kms_err_sys(err, -errno, arg, arg);
	if (strlen(arg) >= sizeof(source->path))
		return kms_err_set(err, -ENAMETOOLONG, "%s: path too long", arg);
	if (S_ISDIR(st.st_mode))
		return kms_err_set(err, -EISDIR, "%s is a folder; name a trace file or a session",
				   arg);
	source->kind = S_ISSOCK(st.st_mode) ? KMS_SOURCE_SESSION : KMS_SOURCE_FILE;
	snprintf(source->name, sizeof(source->name), "%.250s", arg);
	snprintf(source->path, sizeof(source->path), "%s", arg);
	return 0;
}

/* When a trace was last written to: by its log, where it has one. */
static struct timespec written_at(const char *name)
{
	char wal[NAME_MAX + 8];
	struct stat st;
	struct timespec when = {0};

	if (stat(name, &st) < 0 || !S_ISREG(st.st_mode))
		return when;
	when = st.st_mtim;
	snprintf(wal, sizeof(wal), "%s-wal", name);
	if (stat(wal, &st) == 0 &&
	    (st.st_mtim.tv_sec > when.tv_sec ||
	     (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec > when.tv_nsec)))
		when = st.st_mtim;
	return when;
}

static int pick_newest_file(struct kms_source *source, struct kms_err *err)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir(".");
	struct timespec newest = {0};
	struct timespec when;
	const struct dirent *entry;

	source->kind = KMS_SOURCE_FILE;
	source->path[0] = '\0';
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (entry = readdir(dir))) {
		if (!ends_with(entry->d_name, file_ending))
			continue;
		when = written_at(entry->d_name);
		if (when.tv_sec < newest.tv_sec ||
		    (when.tv_sec == newest.tv_sec && when.tv_nsec <= newest.tv_nsec))
			continue;
		newest = when;
		snprintf(source->path, sizeof(source->path), "%s", entry->d_name);
	}
	if (source->path[0])
		return 0;
	return kms_err_set(err, -ENOENT,
			   "no live session, and no *.kms file in this folder; "
			   "`kmemscope run -- PROGRAM` makes both");
}

/* @arg: what they all go by; NULL: nothing was said. */
static int several(const struct kms_sessions *sessions, const char *arg, struct kms_err *err)
{
	char names[160] = "";
	size_t used = 0, n = 0;

	for (size_t i = 0; i < sessions->n; i++) {
		if (arg && !session_is(&sessions->item[i], arg))
			continue;
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 n ? ", " : "", sessions->item[i].name);
		n++;
	}
	return kms_err_set(err, -EEXIST, "%zu sessions are live%s%s; name one: %s%s", n,
			   arg ? " by the name " : "", arg ? arg : "", names,
			   used >= sizeof(names) ? "..." : "");
}

static int unknown(const struct kms_sessions *sessions, const char *arg, struct kms_err *err)
{
	struct kms_suggest suggest;

	kms_suggest_init(&suggest, arg);
	for (size_t i = 0; i < sessions->n; i++)
		kms_suggest_try(&suggest, sessions->item[i].name);
	if (suggest.best)
		return kms_err_set(err, -ENOENT,
				   "no file and no live session is named %s; did you "
				   "mean %s?",
				   arg, suggest.best);
	return kms_err_set(err, -ENOENT,
			   "no file and no live session is named %s; `kmemscope status` lists "
			   "sessions",
			   arg);
}

/* The session that is meant, the last of *n that may be; a whole name is no other's. */
static const struct kms_source *find_session(const struct kms_sessions *sessions, const char *arg,
					     size_t *n)
{
	const struct kms_source *found = NULL;

	*n = 0;
	for (size_t i = 0; i < sessions->n; i++) {
		const struct kms_source *session = &sessions->item[i];

		if (arg && !session_is(session, arg))
			continue;
		found = session;
		(*n)++;
		if (arg && strcmp(session->name, arg) == 0) {
			*n = 1;
			break;
		}
	}
	return found;
}

/*
 * Picks among live sessions, and where none is called @arg takes it for a file: a program lies in its
 * folder by the same name as its session. -ENOENT with nothing in err: none was meant.
 */
static int pick_session(const struct kms_sessions *sessions, const char *arg,
			struct kms_source *source, struct kms_err *err)
{
	size_t n;
	const struct kms_source *found = find_session(sessions, arg, &n);

	if (n > 1)
		return several(sessions, arg, err);
	if (found)
		*source = *found;
	else if (arg && access(arg, F_OK) == 0)
		return pick_path(arg, source, err);
	else
		return arg ? unknown(sessions, arg, err) : -ENOENT;
	return 0;
}

/* The token for a URL, or the file that holds it; none is what the server then says. */
static int read_token(struct kms_source *source, struct kms_err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the one thread, before any other begins */
	const char *given = getenv("KMEMSCOPE_TOKEN");
	char *text = NULL;
	size_t n;
	int ret;

	if (!given)
		return 0;
	if (given[0] == '/') {
		ret = kms_read_file(given, 4096, &text, NULL, err);
		if (ret < 0) {
			(void)kms_err_context(err, "KMEMSCOPE_TOKEN");
			return ret;
		}
		given = text;
	}
	n = strspn(given, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~+=");
	ret = n < sizeof(source->token) && strspn(given + n, "\r\n") == strlen(given + n)
		      ? 0
		      : kms_err_set(err, -EINVAL, "KMEMSCOPE_TOKEN is no token");
	if (ret == 0)
		snprintf(source->token, sizeof(source->token), "%.*s", (int)n, given);
	free(text);
	return ret;
}

/* http://HOST:PORT, maybe with a / behind it. */
static int pick_url(const char *arg, struct kms_source *source, struct kms_err *err)
{
	const char *host = arg + sizeof(url_scheme) - 1;
	size_t n = strcspn(host, "/?#@\\ ");

	if (n == 0 || n > 200 || (host[n] == '/' && host[n + 1]) || (host[n] && host[n] != '/'))
		return kms_err_set(
			err, -EINVAL,
			"%s: only http://HOST:PORT; the token comes from KMEMSCOPE_TOKEN", arg);
	source->kind = KMS_SOURCE_URL;
	snprintf(source->path, sizeof(source->path), "%s%.*s", url_scheme, (int)n, host);
	snprintf(source->name, sizeof(source->name), "%s%.*s", url_scheme, (int)n, host);
	return read_token(source, err);
}

int kms_source_daemon(const struct kms_hooks *hooks, struct kms_source *source, struct kms_err *err)
{
	struct kms_sessions sessions;
	int ret = kms_sessions_list(hooks, &sessions, err);

	if (ret == 0) {
		ret = -ENOENT;
		for (size_t i = 0; i < sessions.n && ret; i++) {
			if (strcmp(sessions.item[i].name, "daemon") != 0)
				continue;
			*source = sessions.item[i];
			ret = 0;
		}
		if (ret)
			kms_err_set(err, ret,
				    "no daemon is running; `kmemscope daemon` starts one, or "
				    "leave --daemon out");
	}
	kms_sessions_deinit(&sessions);
	return ret;
}

int kms_source_pick(const struct kms_hooks *hooks, const char *arg, struct kms_source *source,
		    struct kms_err *err)
{
	struct kms_sessions sessions;
	int ret;

	memset(source, 0, sizeof(*source));
	if (arg && strncmp(arg, url_scheme, sizeof(url_scheme) - 1) == 0)
		return pick_url(arg, source, err);
	if (arg && (strchr(arg, '/') || ends_with(arg, file_ending)))
		return pick_path(arg, source, err);
	ret = kms_sessions_list(hooks, &sessions, err);
	if (ret < 0 && arg && access(arg, F_OK) == 0) {
		kms_err_clear(err); /* no sessions, but a file */
		ret = pick_path(arg, source, err);
	} else if (ret == 0)
		ret = pick_session(&sessions, arg, source, err);
	kms_sessions_deinit(&sessions);
	if (ret == -ENOENT && !arg)
		return pick_newest_file(source, err);
	return ret;
}
