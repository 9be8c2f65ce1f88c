/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may ask over TCP: see access.h. */
#include "server/access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

enum {
	HTTP_PORT = 80, /* Host leaves it out */
	NAME_BYTES = 24,
	HOST_BYTES = 80,
};

static int make_token(char text[KMS_TOKEN_TEXT_BYTES])
{
	unsigned char bytes[KMS_TOKEN_BYTES];
	ssize_t n;

	do {
		n = getrandom(bytes, sizeof(bytes), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(bytes))
		return n < 0 ? -errno : -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/*
 * Whether n bytes are a secret, in a time that does not depend on where they differ. "" is no secret.
 */
static bool is_secret(const char *secret, const char *text, size_t n)
{
	size_t length = strlen(secret);
	volatile unsigned char differ = 0;

	if (n != length || length == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(secret[i] ^ text[i]);
	return differ == 0;
}

int kms_access_init(struct kms_access *access, uint16_t port)
{
	int ret;

	memset(access, 0, sizeof(*access));
	access->port = port;
	ret = make_token(access->read_token);
	if (ret == 0)
		ret = make_token(access->write_token);
	if (ret == 0)
		ret = make_token(access->login_token);
	if (ret == 0)
		pthread_mutex_init(&access->lock, NULL);
	return ret;
}

void kms_access_deinit(struct kms_access *access)
{
	pthread_mutex_destroy(&access->lock);
	explicit_bzero(access, sizeof(*access));
}

/* Whether a Host header names a host at our port. */
static bool names(const struct kms_access *access, const char *header, const char *host)
{
	size_t n = strlen(host);
	char port[8];

	snprintf(port, sizeof(port), "%u", (unsigned int)access->port);
	if (strncasecmp(header, host, n) != 0)
		return false;
	if (header[n] == '\0')
		return access->port == HTTP_PORT;
	return header[n] == ':' && strcmp(header + n + 1, port) == 0;
}

static bool host_is_ours(const struct kms_access *access, const struct kms_access_headers *headers)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
	const char *host = headers->host;

	if (headers->n_hosts != 1 || !host)
		return false;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (names(access, host, hosts[i]))
			return true;
	return headers->local && strcmp(host, headers->local) == 0;
}

/* Whether a browser says that a page of somebody else sent the request. */
static bool is_cross_site(const struct kms_access_headers *headers)
{
	char ours[HOST_BYTES];
	int n;

	if (headers->fetch_site)
		return strcmp(headers->fetch_site, "same-origin") != 0 &&
		       strcmp(headers->fetch_site, "none") != 0;
	if (!headers->origin)
		return false; /* no browser */
	n = snprintf(ours, sizeof(ours), "http://%s", headers->host);
	return n < 0 || n >= (int)sizeof(ours) || strcasecmp(headers->origin, ours) != 0;
}

static enum kms_scope scope_of_token(const struct kms_access *access, const char *text, size_t n)
{
	enum kms_scope scope = KMS_SCOPE_NONE;

	if (is_secret(access->read_token, text, n))
		scope = KMS_SCOPE_READ;
	if (is_secret(access->write_token, text, n))
		scope = KMS_SCOPE_WRITE;
	return scope;
}

static enum kms_scope scope_of_bearer(const struct kms_access *access, const char *header)
{
	static const char scheme[] = "Bearer ";
	const size_t n = sizeof(scheme) - 1;

	if (strncasecmp(header, scheme, n) != 0)
		return KMS_SCOPE_NONE;
	header += n + strspn(header + n, " ");
	return scope_of_token(access, header, strlen(header));
}

/* Cookies do not keep to a port, so that ours has it in its name. */
static void cookie_name(const struct kms_access *access, char name[NAME_BYTES])
{
	snprintf(name, NAME_BYTES, "kms_%u", (unsigned int)access->port);
}

static enum kms_scope scope_of_secret(struct kms_access *access, const char *text, size_t n)
{
	enum kms_scope scope = KMS_SCOPE_NONE;

	pthread_mutex_lock(&access->lock);
	for (unsigned int i = 0; i < KMS_ACCESS_BROWSERS; i++)
		if (is_secret(access->browser[i].cookie, text, n))
			scope = access->browser[i].scope;
	pthread_mutex_unlock(&access->lock);
	return scope;
}

/* Every cookie of our name is tried: another port's page may have set one in front of ours. */
static enum kms_scope scope_of_cookie(struct kms_access *access, const char *header)
{
	enum kms_scope scope = KMS_SCOPE_NONE;
	char name[NAME_BYTES];
	size_t length;
	size_t n;

	cookie_name(access, name);
	n = strlen(name);
	while (header && *header && scope == KMS_SCOPE_NONE) {
		header += strspn(header, " \t;");
		length = strcspn(header, ";");
		if (length > n && memcmp(header, name, n) == 0 && header[n] == '=')
			scope = scope_of_secret(access, header + n + 1, length - n - 1);
		header += length;
	}
	return scope;
}

static void refuse(struct kms_access_verdict *verdict, enum kms_problem problem, const char *detail)
{
	*verdict =
		(struct kms_access_verdict){.refused = true, .problem = problem, .detail = detail};
}

/* Looks for credentials. A token that is wrong is not made up for by a cookie. */
static void identify(struct kms_access *access, const struct kms_access_headers *headers,
		     struct kms_access_verdict *verdict)
{
	if (headers->authorization) {
		verdict->kind = "token";
		verdict->scope = scope_of_bearer(access, headers->authorization);
	} else {
		verdict->kind = "browser";
		verdict->scope = scope_of_cookie(access, headers->cookie);
	}
	if (verdict->scope == KMS_SCOPE_NONE)
		refuse(verdict, KMS_PROBLEM_UNAUTHORIZED,
		       headers->authorization
			       ? "the token is wrong; it stands in the file `token` of the "
				 "session's folder"
			       : "send Authorization: Bearer TOKEN; the token stands in the file "
				 "`token` of the session's folder");
}

void kms_access_judge(struct kms_access *access, const struct kms_access_headers *headers,
		      const char *method, bool open, struct kms_access_verdict *verdict)
{
	bool changes = strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;

	*verdict = (struct kms_access_verdict){.scope = KMS_SCOPE_NONE, .kind = "anybody"};
	if (!host_is_ours(access, headers))
		refuse(verdict, KMS_PROBLEM_FOREIGN_HOST,
		       "one Host header is needed, and it must name this machine's loopback "
		       "address, or localhost, and the port");
	else if (headers->n_authorizations > 1)
		refuse(verdict, KMS_PROBLEM_UNAUTHORIZED, "one Authorization header, not more");
	else if ((changes || !open) && is_cross_site(headers))
		refuse(verdict, KMS_PROBLEM_CROSS_SITE,
		       "a page of another site may not ask, even in a browser that is logged in");
	else if (!open)
		identify(access, headers, verdict);
}

static enum kms_scope take_login_token(struct kms_access *access, const char *token)
{
	enum kms_scope scope = KMS_SCOPE_NONE;

	if (is_secret(access->login_token, token, strlen(token))) {
		explicit_bzero(access->login_token, sizeof(access->login_token));
		scope = KMS_SCOPE_WRITE;
	}
	return scope;
}

enum kms_scope kms_access_login(struct kms_access *access, const char *token, char *cookie,
				size_t cookie_bytes)
{
	enum kms_scope scope = scope_of_token(access, token, strlen(token));
	struct kms_browser browser;
	char name[NAME_BYTES];

	if (make_token(browser.cookie) < 0)
		return KMS_SCOPE_NONE;
	pthread_mutex_lock(&access->lock);
	if (scope == KMS_SCOPE_NONE)
		scope = take_login_token(access, token);
	browser.scope = scope;
	if (scope != KMS_SCOPE_NONE) {
		access->browser[access->next_browser] = browser;
		access->next_browser = (access->next_browser + 1) % KMS_ACCESS_BROWSERS;
	}
	pthread_mutex_unlock(&access->lock);
	cookie_name(access, name);
	snprintf(cookie, cookie_bytes, "%s=%s; Path=/; HttpOnly; SameSite=Strict", name,
		 browser.cookie);
	return scope;
}
