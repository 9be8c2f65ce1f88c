/* SPDX-License-Identifier: BSD-2-Clause */
/* The port and its secrets: see tcp.h. */
#include "server/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "server/listen.h"

enum {
	FILE_MODE = 0600,
};

/* "" and "localhost" listen on 127.0.0.1; an IPv6 address stands in brackets. */
int kms_tcp_open(const char *where, bool expose, struct kms_tcp **out, struct kms_err *err)
{
	struct kms_tcp *tcp = calloc(1, sizeof(*tcp));
	struct kms_endpoint end;
	int ret;

	if (!tcp)
		return kms_err_set(err, -ENOMEM, "out of memory");
	tcp->fd = kms_listen_tcp(where, expose, &end, err);
	ret = tcp->fd < 0 ? tcp->fd : kms_access_init(&tcp->access, end.port);
	if (ret < 0) {
		if (tcp->fd >= 0) {
			close(tcp->fd);
			kms_err_set(err, ret, "no random bytes for a token: %s",
				    strerrordesc_np(-ret));
		}
		free(tcp);
		return ret;
	}
	tcp->exposed = !end.loopback;
	snprintf(tcp->url, sizeof(tcp->url), "http://%s/", end.name);
	snprintf(tcp->login_url, sizeof(tcp->login_url), "%s#token=%s", tcp->url,
		 tcp->access.login_token);
	*out = tcp;
	return 0;
}

const char *kms_tcp_url(const struct kms_tcp *tcp)
{
	return tcp->url;
}

const char *kms_tcp_login_url(const struct kms_tcp *tcp)
{
	return tcp->login_url;
}

int kms_tcp_fd(const struct kms_tcp *tcp)
{
	return tcp->fd;
}

void kms_tcp_release(struct kms_tcp *tcp)
{
	if (tcp->fd >= 0)
		close(tcp->fd);
	tcp->fd = -1;
}

void kms_tcp_close(struct kms_tcp *tcp)
{
	if (!tcp)
		return;
	kms_tcp_release(tcp);
	kms_access_deinit(&tcp->access);
	explicit_bzero(tcp->login_url, sizeof(tcp->login_url));
	free(tcp);
}

/* The files, and what is in each. */
static const char *const names[] = {"token", "token-read", "http.url"};

#define FILES (sizeof(names) / sizeof(names[0]))

static int join(char path[PATH_MAX], const char *folder, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* A file has its name once it is whole: scripts wait for `http.url` and read it at once. */
static int write_file(const char *folder, const char *name, const char *text)
{
	char line[128];
	char path[PATH_MAX];
	int ret = join(path, folder, name);

	if (ret < 0)
		return ret;
	snprintf(line, sizeof(line), "%s\n", text);
	ret = kms_replace_file(path, line, strlen(line), NULL);
	explicit_bzero(line, sizeof(line));
	return ret;
}

int kms_tcp_write_files(const struct kms_tcp *tcp, const char *folder, struct kms_err *err)
{
	const char *const texts[FILES] = {tcp->access.write_token, tcp->access.read_token,
					  tcp->url};
	int ret = 0;

	for (size_t i = 0; i < FILES && ret == 0; i++)
		ret = write_file(folder, names[i], texts[i]);
	if (ret == 0)
		return 0;
	kms_tcp_remove_files(folder);
	return kms_err_sys(err, ret, "cannot write the token of the HTTP port into", folder);
}

void kms_tcp_remove_files(const char *folder)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < FILES; i++)
		if (join(path, folder, names[i]) == 0)
			(void)unlink(path); /* a file less is a file less */
}
