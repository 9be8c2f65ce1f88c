/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever the headers are, nobody gets in without a secret, nor by a foreign name, nor from a foreign
 * page. Input: method, host, authorization, cookie, origin, sec-fetch-site, a token to log in with, each
 * on a line of its own; an empty line is a header that is not there. A first byte of '!' means a
 * request that needs no credentials.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/test/fuzz_entry.h"
#include "server/access.h"

enum {
	PORT = 8080,
};

/* Secrets that a fuzzer can find, of the length that real ones have. */
static void set_secrets(struct kms_access *access)
{
	memset(access->read_token, 'a', KMS_TOKEN_TEXT_BYTES - 1);
	memset(access->write_token, 'b', KMS_TOKEN_TEXT_BYTES - 1);
	memset(access->login_token, 'c', KMS_TOKEN_TEXT_BYTES - 1);
	memset(access->browser[3].cookie, 'd', KMS_TOKEN_TEXT_BYTES - 1);
	access->browser[3].scope = KMS_SCOPE_READ;
}

/* The next line; NULL if it is empty. */
static const char *next_line(char **text)
{
	char *line = *text;
	char *end = strchr(line, '\n');

	if (end)
		*end = '\0';
	*text = end ? end + 1 : line + strlen(line);
	return *line ? line : NULL;
}

static bool holds(const char *header, const char *secret)
{
	return header && strstr(header, secret);
}

static void check(const struct kms_access *access, const struct kms_access_headers *headers,
		  bool open, const struct kms_access_verdict *verdict)
{
	if (verdict->refused) {
		assert(verdict->detail && verdict->problem < KMS_PROBLEMS);
		assert(verdict->scope == KMS_SCOPE_NONE);
		return;
	}
	assert(headers->n_hosts == 1 && strstr(headers->host, "8080"));
	assert(strncasecmp(headers->host, "localhost:", 10) == 0 ||
	       strncmp(headers->host, "127.0.0.1:", 10) == 0 ||
	       strncmp(headers->host, "[::1]:", 6) == 0);
	if (open)
		return;
	assert(!headers->fetch_site || strcmp(headers->fetch_site, "same-origin") == 0 ||
	       strcmp(headers->fetch_site, "none") == 0);
	assert(headers->fetch_site || !headers->origin ||
	       strncasecmp(headers->origin, "http://", 7) == 0);
	if (verdict->scope == KMS_SCOPE_WRITE)
		assert(holds(headers->authorization, access->write_token));
	else
		assert(verdict->scope == KMS_SCOPE_READ &&
		       (holds(headers->authorization, access->read_token) ||
			(!headers->authorization &&
			 holds(headers->cookie, access->browser[3].cookie))));
}

static void check_login(struct kms_access *access, const char *token)
{
	bool right = strcmp(token, access->read_token) == 0 ||
		     strcmp(token, access->write_token) == 0 ||
		     strcmp(token, access->login_token) == 0;
	bool once = *token && strcmp(token, access->login_token) == 0;
	char cookie[160];

	assert((kms_access_login(access, token, cookie, sizeof(cookie)) != KMS_SCOPE_NONE) ==
	       (right && *token));
	assert(!once || kms_access_login(access, token, cookie, sizeof(cookie)) == KMS_SCOPE_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct kms_access_headers headers = {0};
	struct kms_access_verdict verdict;
	struct kms_access access;
	char *text = calloc(1, n + 1);
	char *rest = text;
	const char *method;
	const char *token;
	bool open;

	assert(text);
	memcpy(text, bytes, n);
	if (kms_access_init(&access, PORT) < 0)
		abort();
	set_secrets(&access);
	method = next_line(&rest);
	open = method && method[0] == '!';
	headers.host = next_line(&rest);
	headers.n_hosts = headers.host != NULL;
	headers.authorization = next_line(&rest);
	headers.n_authorizations = headers.authorization != NULL;
	headers.cookie = next_line(&rest);
	headers.origin = next_line(&rest);
	headers.fetch_site = next_line(&rest);
	token = next_line(&rest);
	kms_access_judge(&access, &headers, method ? method + open : "", open, &verdict);
	check(&access, &headers, open, &verdict);
	check_login(&access, token ? token : "");
	kms_access_deinit(&access);
	free(text);
	return 0;
}
