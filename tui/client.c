/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking a file or a session: see client.h. */
#include "tui/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "base/buf.h"

enum {
	TIMEOUT_MS = 60000,
	CONNECT_TIMEOUT_MS = 5000,
};

static const size_t body_limit_bytes = (size_t)512 << 20;

struct kms_client {
	const struct kms_hooks *hooks;
	struct kms_source source;
	void *file; /* of KMS_SOURCE_FILE */
	CURL *curl; /* of sessions and URLs */
	long timeout_ms;
};

/* What is collected of one answer. */
struct answer {
	struct kms_buf body;
	char next[512];
};

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct answer *answer = arg;

	kms_buf_add(&answer->body, data, size * n);
	return kms_buf_status(&answer->body) == 0 ? size * n : 0;
}

void kms_reply_link(char next[512], const char *link, size_t n)
{
	const char *begin = memchr(link, '<', n);
	const char *end = memchr(link, '>', n);

	if (!begin || !end || end < begin || end - begin > 512)
		return;
	memcpy(next, begin + 1, (size_t)(end - begin - 1));
	next[end - begin - 1] = '\0';
}

static size_t take_header(char *data, size_t size, size_t n, void *arg)
{
	struct answer *answer = arg;
	size_t bytes = size * n;

	if (bytes > 5 && strncasecmp(data, "Link:", 5) == 0)
		kms_reply_link(answer->next, data, bytes);
	return bytes;
}

int kms_client_open(const struct kms_hooks *hooks, const struct kms_source *source,
		    struct kms_client **out, struct kms_err *err)
{
	struct kms_client *client = calloc(1, sizeof(*client));
	int ret = 0;

	if (!client)
		return kms_err_set(err, -ENOMEM, "out of memory");
	client->hooks = hooks;
	client->source = *source;
	client->timeout_ms = TIMEOUT_MS;
	if (source->kind == KMS_SOURCE_FILE) {
		ret = hooks->file_open(source->path, &client->file, err);
	} else {
		client->curl = curl_easy_init();
		if (!client->curl)
			ret = kms_err_set(err, -ENOMEM, "out of memory");
	}
	if (ret < 0) {
		free(client);
		return ret;
	}
	*out = client;
	return 0;
}

void kms_client_close(struct kms_client *client)
{
	if (!client)
		return;
	if (client->file)
		client->hooks->file_close(client->file);
	if (client->curl)
		curl_easy_cleanup(client->curl);
	free(client);
}

bool kms_client_is_live(const struct kms_client *client)
{
	return client->source.kind != KMS_SOURCE_FILE;
}

void kms_client_set_timeout(struct kms_client *client, long timeout_ms)
{
	client->timeout_ms = timeout_ms;
}

static int curl_failure(const struct kms_client *client, CURLcode code, struct kms_err *err)
{
	const char *name = client->source.name;

	if (code == CURLE_OPERATION_TIMEDOUT)
		return kms_err_set(err, -ETIMEDOUT, "session %s does not answer", name);
	if (code == CURLE_OUT_OF_MEMORY || code == CURLE_WRITE_ERROR)
		return kms_err_set(err, -ENOMEM, "no memory for the answer of session %s", name);
	return kms_err_set(err, -ECONNRESET, "session %s went away: %s", name,
			   curl_easy_strerror(code));
}

/* Options of every request. A path that cannot be set (memory) makes the request fail by itself. */
static void set_options(const struct kms_client *client, const char *url, struct answer *answer)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	if (client->source.kind == KMS_SOURCE_SESSION)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->source.path);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, client->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
}

/* Adds "NAME: VALUE" to the list; no value, nothing. A list that ran out of memory stays as it was. */
static void add_header(struct curl_slist **list, const char *name, const char *value)
{
	char line[160];
	struct curl_slist *longer;

	if (!value)
		return;
	snprintf(line, sizeof(line), "%s: %s", name, value);
	longer = curl_slist_append(*list, line);
	if (longer)
		*list = longer;
}

/* What this request has and others do not; the caller frees the list behind the request. */
static struct curl_slist *set_request(const struct kms_client *client, const struct kms_ask *ask)
{
	CURL *curl = client->curl;
	struct curl_slist *headers = NULL;
	char bearer[KMS_TOKEN_BYTES + 8];

	snprintf(bearer, sizeof(bearer), "Bearer %s", client->source.token);
	add_header(&headers, "Authorization", client->source.token[0] ? bearer : NULL);
	add_header(&headers, "Accept", ask->accept);
	if (ask->body) {
		add_header(&headers, "Content-Type", "application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(ask->body));
	}
	if (strcmp(ask->method, "GET") != 0)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	return headers;
}

static int ask_session(struct kms_client *client, const struct kms_ask *ask,
		       struct kms_reply *reply, struct kms_err *err)
{
	struct answer answer = {0};
	struct curl_slist *headers;
	char url[4096];
	long status = 0;
	CURLcode code;

	kms_buf_init(&answer.body, body_limit_bytes);
	snprintf(url, sizeof(url), "%.250s%s",
		 client->source.kind == KMS_SOURCE_URL ? client->source.path : "http://kmemscope",
		 ask->target);
	set_options(client, url, &answer);
	headers = set_request(client, ask);
	code = curl_easy_perform(client->curl);
	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	if (code == CURLE_OK) {
		reply->status = (int)status;
		reply->body_bytes = answer.body.used_bytes;
		reply->body = kms_buf_take(&answer.body);
		memcpy(reply->next, answer.next, sizeof(reply->next));
	}
	kms_buf_deinit(&answer.body);
	return code == CURLE_OK ? 0 : curl_failure(client, code, err);
}

/* The reason in a problem document. */
static int refused(const struct kms_reply *reply, struct kms_err *err)
{
	cJSON *problem = cJSON_ParseWithLength(reply->body, reply->body_bytes);
	const char *detail =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(problem, "detail"));

	if (detail)
		kms_err_set(err, -EREMOTEIO, "%s", detail);
	else
		kms_err_set(err, -EREMOTEIO, "the request was refused with status %d",
			    reply->status);
	cJSON_Delete(problem);
	return -EREMOTEIO;
}

/* Sends a request; what is not of status 2xx is an error with the reason that the server gave. */
static int ask_source(struct kms_client *client, const struct kms_ask *ask, struct kms_reply *reply,
		      struct kms_err *err)
{
	int ret;

	memset(reply, 0, sizeof(*reply));
	if (client->file)
		ret = client->hooks->file_ask(client->file, ask, reply, err);
	else
		ret = ask_session(client, ask, reply, err);
	if (ret == 0 && !reply->body)
		ret = kms_err_set(err, -ENOMEM, "out of memory");
	if (ret == 0 && reply->status / 100 != 2)
		ret = refused(reply, err);
	if (ret < 0) {
		free(reply->body);
		memset(reply, 0, sizeof(*reply));
	}
	return ret;
}

int kms_client_get(struct kms_client *client, const char *target, const char *accept,
		   struct kms_reply *reply, struct kms_err *err)
{
	const struct kms_ask ask = {.method = "GET", .target = target, .accept = accept};

	return ask_source(client, &ask, reply, err);
}

int kms_client_request(struct kms_client *client, const char *method, const char *target,
		       const char *body, struct kms_reply *reply, struct kms_err *err)
{
	const struct kms_ask ask = {.method = method, .target = target, .body = body};

	return ask_source(client, &ask, reply, err);
}

int kms_client_json(struct kms_client *client, const char *target, struct cJSON **json,
		    struct kms_err *err)
{
	struct kms_reply reply;
	int ret = kms_client_get(client, target, NULL, &reply, err);

	if (ret < 0)
		return ret;
	*json = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	free(reply.body);
	if (*json)
		return 0;
	return kms_err_set(err, -EBADMSG, "the answer to %s is not JSON", target);
}
