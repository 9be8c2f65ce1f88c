/* SPDX-License-Identifier: BSD-2-Clause */
/* Who sent a request, by its connection and its headers: see http.h and access.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http.h"
#include "server/listen.h"

static int connection_fd(struct kms_http_request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

/* Whether the other end is this user or root, and who; the kernel says, not the client. */
static bool admit_unix(struct kms_http_request *request, struct kms_http_refusal *refusal)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	*refusal = (struct kms_http_refusal){
		KMS_PROBLEM_FORBIDDEN, "only the user who runs the tracer, and root, may ask"};
	if (getsockopt(connection_fd(request), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	snprintf(request->who, sizeof(request->who), "uid %u pid %d", (unsigned int)peer.uid,
		 (int)peer.pid);
	return peer.uid == geteuid() || peer.uid == 0;
}

/* libmicrohttpd's lookup gives the first header of a name; here the second one counts too. */
static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *key,
				  const char *value)
{
	struct kms_access_headers *headers = cls;

	(void)kind;
	if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
		headers->n_hosts++;
		headers->host = value;
	} else if (strcasecmp(key, MHD_HTTP_HEADER_AUTHORIZATION) == 0) {
		headers->n_authorizations++;
		headers->authorization = value ? value : "";
	} else if (strcasecmp(key, MHD_HTTP_HEADER_COOKIE) == 0) {
		headers->cookie = value;
	} else if (strcasecmp(key, MHD_HTTP_HEADER_ORIGIN) == 0) {
		headers->origin = value ? value : "";
	} else if (strcasecmp(key, "Sec-Fetch-Site") == 0) {
		headers->fetch_site = value ? value : "";
	}
	return MHD_YES;
}

static void socket_address(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
			   char name[KMS_ENDPOINT_BYTES])
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (get(fd, (struct sockaddr *)&address, &length) < 0)
		memset(&address, 0, sizeof(address)); /* gone already: nobody will read it */
	kms_socket_name(&address, name);
}

/* What everybody may have: whether the server answers, the page, and the way in. */
static bool is_open(const struct kms_http_request *request)
{
	const struct kms_request_in *in = &request->in;
	size_t path_bytes = strcspn(in->target, "?");
	static const char login[] = "/api/v1/session";
	static const char health[] = "/healthz";

	if (strcmp(in->method, "POST") == 0)
		return path_bytes == strlen(login) && memcmp(in->target, login, path_bytes) == 0;
	if (path_bytes == strlen(health) && memcmp(in->target, health, path_bytes) == 0)
		return true;
	return kms_server_is_page(request->http->server, in);
}

static bool admit_tcp(struct kms_http_request *request, struct kms_http_refusal *refusal)
{
	struct kms_tcp *tcp = request->listener->tcp;
	struct kms_access_headers headers = {0};
	struct kms_access_verdict verdict;
	char local[KMS_ENDPOINT_BYTES];
	char peer[KMS_ENDPOINT_BYTES];
	int fd = connection_fd(request);

	socket_address(fd, getsockname, local);
	socket_address(fd, getpeername, peer);
	if (tcp->exposed)
		headers.local = local;
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, see_header, &headers);
	kms_access_judge(&tcp->access, &headers, request->in.method, is_open(request), &verdict);
	*refusal = (struct kms_http_refusal){verdict.problem, verdict.detail};
	if (verdict.refused)
		return false;
	snprintf(request->who, sizeof(request->who), "%s %s %s", verdict.kind,
		 verdict.scope == KMS_SCOPE_WRITE ? "write" : "read", peer);
	request->in.read_only = verdict.scope != KMS_SCOPE_WRITE; /* nobody, too: no credentials */
	request->in.access = &tcp->access;
	return true;
}

bool kms_http_admit(struct kms_http_request *request, struct kms_http_refusal *refusal)
{
	request->in.who = request->who;
	return request->listener->tcp ? admit_tcp(request, refusal) : admit_unix(request, refusal);
}
