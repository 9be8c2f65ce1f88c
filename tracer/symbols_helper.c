/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The helper process: reads requests from its socket and answers them, one address after the other.
 *
 * It may be killed at any moment and loses nothing by it: all it holds are files it has open. Of those it keeps the most
 * recently used, as many as its memory allows. Answers are sent when the next module begins, after some time and when
 * there are many, so that the resolver knows which module the helper is working on.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tracer/symbols_image.h"
#include "tracer/symbols_sandbox.h"
#include "tracer/symbols_wire.h"

enum {
	EXIT_NO_HELPER = 2,
	FLUSH_BYTES = 65536,
	FLUSH_NS = 20000000,
	WATCHDOG_GRACE_MS =
		1000, /* beyond the budget of a request; the resolver has given up long before */
	GREETING_MS = 10000,
	MEMORY_CHECK_PERIOD = 64, /* addresses */
};

/* A module, registered; its files are open or not. */
struct module {
	char *path;
	uint8_t *build_id;
	size_t n_build_id;
	uint64_t mapped_bytes;
	struct kms_symbols_image image;
	enum kms_symbol_reason reason; /* of the last attempt to open it */
	bool is_open;
	uint64_t used_at; /* counts requests for a module: the smallest is closed first */
};

/* A request under way. */
struct job {
	uint32_t request;
	uint64_t deadline_ns;
	uint64_t flushed_ns;
	uint32_t last_module;
	struct kms_symbols_wire_entry entries[KMS_SYMBOLS_WIRE_BATCH];
	size_t n;
};

struct helper {
	struct kms_symbols_wire_config cfg;
	struct kms_symbols_debug_search search;
	struct kms_symbols_wire_in in;
	struct kms_symbols_wire_out out;
	struct kms_symbols_lookup lookup;
	struct module **modules; /* by id; NULL where there is none */
	size_t modules_size;
	uint32_t n_open;
	uint64_t uses;
	struct job job;
};

static uint64_t now_ns(void)
{
	return kms_clock_now(kms_clock_system());
}

/* Socket ------------------------------------------------------------------------------------------------------------ */

/* The next message. 0, or a negative errno; -EPIPE if the resolver has closed its end. */
static int receive(struct helper *helper, struct kms_symbols_wire_message *msg)
{
	for (;;) {
		uint8_t *room;
		size_t n_room;
		int rc = kms_symbols_wire_in_next(&helper->in, msg);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		rc = kms_symbols_wire_in_room(&helper->in, &room, &n_room);
		if (rc != 0)
			return rc;
		ssize_t n = recv(KMS_SYMBOLS_WIRE_FD, room, n_room, 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return -EPIPE;
		if (n > 0)
			helper->in.used += (size_t)n;
	}
}

static int flush(struct helper *helper)
{
	struct kms_symbols_wire_out *out = &helper->out;
	if (out->failed)
		return -ENOMEM;
	for (size_t sent = 0; sent < out->used;) {
		ssize_t n =
			send(KMS_SYMBOLS_WIRE_FD, out->data + sent, out->used - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return -EPIPE;
		if (n > 0)
			sent += (size_t)n;
	}
	out->used = 0;
	return 0;
}

/* Modules ----------------------------------------------------------------------------------------------------------- */

static void close_module(struct helper *helper, struct module *module)
{
	if (!module->is_open)
		return;
	kms_symbols_image_close(&module->image);
	module->is_open = false;
	helper->n_open--;
}

static void forget_module(struct helper *helper, struct module *module)
{
	if (!module)
		return;
	close_module(helper, module);
	free(module->path);
	free(module->build_id);
	free(module);
}

/* Closes the module that was not used for longest, but never the one in use. False if there is no other. */
static bool close_oldest(struct helper *helper, const struct module *in_use)
{
	struct module *oldest = NULL;
	for (size_t i = 0; i < helper->modules_size; i++) {
		struct module *module = helper->modules[i];
		if (module && module->is_open && module != in_use &&
		    (!oldest || module->used_at < oldest->used_at))
			oldest = module;
	}
	if (!oldest)
		return false;
	close_module(helper, oldest);
	(void)malloc_trim(0); /* address space is what counts */
	return true;
}

/* Closes other modules while more than half of the memory is used: what is opened next needs some, too. */
static void make_room(struct helper *helper, const struct module *in_use)
{
	while (kms_symbols_sandbox_used_bytes() > helper->cfg.memory_bytes / 2 &&
	       close_oldest(helper, in_use))
		;
}

static struct module *use_module(struct helper *helper, uint32_t id)
{
	struct module *module = id < helper->modules_size ? helper->modules[id] : NULL;
	if (!module)
		return NULL;
	module->used_at = ++helper->uses;
	if (module->is_open || module->reason != KMS_SYMBOL_OK)
		return module;
	struct kms_symbols_image_desc desc = {
		.path = module->path,
		.build_id = module->build_id,
		.n_build_id = module->n_build_id,
		.mapped_bytes = module->mapped_bytes,
	};
	while (helper->n_open >= helper->cfg.modules_open_max && close_oldest(helper, module))
		;
	make_room(helper, module);
	module->reason = kms_symbols_image_open(&module->image, &desc, &helper->search);
	module->is_open = module->reason == KMS_SYMBOL_OK;
	helper->n_open += module->is_open;
	make_room(helper, module);
	return module;
}

/* Requests ---------------------------------------------------------------------------------------------------------- */

static void answer(struct helper *helper, const struct kms_symbols_wire_entry *entry)
{
	struct kms_symbols_lookup *lookup = &helper->lookup;
	struct module *module = use_module(helper, entry->module);
	kms_symbols_lookup_begin(lookup, entry);
	if (!module)
		lookup->answer.reason = KMS_SYMBOL_NO_FILE;
	else if (!module->is_open)
		lookup->answer.reason = module->reason;
	else
		kms_symbols_image_find(&module->image, lookup);
	kms_symbols_wire_put_answer(&helper->out, &lookup->answer);
	if (module && helper->uses % MEMORY_CHECK_PERIOD == 0)
		make_room(helper, module);
}

/* Whether the answers so far should go out before the next address, of this module, is looked up. */
static bool is_time_to_flush(const struct helper *helper, uint32_t module)
{
	return module != helper->job.last_module || helper->out.used >= FLUSH_BYTES ||
	       now_ns() - helper->job.flushed_ns >= FLUSH_NS;
}

/* Opens the message for the answers from entry `first`, of this module, on. */
static void begin_answers(struct helper *helper, size_t first, uint32_t module)
{
	helper->job.flushed_ns = now_ns();
	helper->job.last_module = module;
	kms_symbols_wire_begin_answers(&helper->out, helper->job.request, (uint32_t)first);
}

static int end_answers(struct helper *helper)
{
	kms_symbols_wire_end(&helper->out);
	return flush(helper);
}

static int handle_request(struct helper *helper, const struct kms_symbols_wire_message *msg)
{
	static const struct kms_symbols_wire_answer too_late = {.reason = KMS_SYMBOL_TIMEOUT};
	struct job *job = &helper->job;
	uint32_t budget_ms;
	int rc = kms_symbols_wire_get_request(msg, &budget_ms, job->entries, &job->n);
	if (rc != 0)
		return rc;
	job->request = msg->request;
	job->deadline_ns = now_ns() + budget_ms * 1000000ULL;
	kms_symbols_sandbox_watchdog((uint64_t)budget_ms + WATCHDOG_GRACE_MS);
	begin_answers(helper, 0, job->entries[0].module);
	for (size_t i = 0; rc == 0 && i < job->n; i++) {
		const struct kms_symbols_wire_entry *entry = &job->entries[i];
		if (is_time_to_flush(helper, entry->module)) {
			rc = end_answers(helper);
			begin_answers(helper, i, entry->module);
		}
		if (now_ns() < job->deadline_ns)
			answer(helper, entry);
		else
			kms_symbols_wire_put_answer(&helper->out, &too_late);
	}
	if (rc == 0)
		rc = end_answers(helper);
	kms_symbols_sandbox_watchdog(0);
	return rc;
}

static struct module *module_create(const struct kms_symbols_wire_module *from)
{
	struct module *module = calloc(1, sizeof(*module));
	if (!module)
		return NULL;
	module->path = strndup(from->path, from->n_path);
	module->build_id = malloc(from->n_build_id + 1);
	module->n_build_id = from->n_build_id;
	module->mapped_bytes = from->mapped_bytes;
	if (module->path && module->build_id) {
		memcpy(module->build_id, from->build_id, from->n_build_id);
		return module;
	}
	free(module->path);
	free(module->build_id);
	free(module);
	return NULL;
}

static int handle_module(struct helper *helper, const struct kms_symbols_wire_message *msg)
{
	struct kms_symbols_wire_module from;
	int rc = kms_symbols_wire_get_module(msg, &from);
	if (rc != 0)
		return rc;
	if (from.id >= helper->modules_size) {
		size_t size = from.id + 64;
		struct module **modules = realloc(helper->modules, size * sizeof(struct module *));
		if (!modules)
			return -ENOMEM;
		for (size_t i = helper->modules_size; i < size; i++)
			modules[i] = NULL;
		helper->modules = modules;
		helper->modules_size = size;
	}
	forget_module(helper, helper->modules[from.id]);
	helper->modules[from.id] = module_create(&from);
	return helper->modules[from.id] ? 0 : -ENOMEM;
}

static int handle_config(struct helper *helper, const struct kms_symbols_wire_message *msg)
{
	int rc = kms_symbols_wire_get_config(msg, &helper->cfg);
	if (rc == 0)
		rc = kms_symbols_sandbox_limits(helper->cfg.memory_bytes);
	if (rc != 0)
		return rc;
	/* A kernel without filters leaves the other limits, which will do. */
	if (!helper->cfg.allow_debuginfod)
		(void)kms_symbols_sandbox_filter();
	helper->search.root = helper->cfg.debug_root;
	helper->search.allow_debuginfod = helper->cfg.allow_debuginfod;
	kms_symbols_sandbox_watchdog(0);
	kms_symbols_wire_begin(&helper->out, KMS_SYMBOLS_WIRE_READY, 0);
	kms_symbols_wire_end(&helper->out);
	return flush(helper);
}

static int handle(struct helper *helper, const struct kms_symbols_wire_message *msg)
{
	bool is_configured = helper->search.root != NULL;
	if (is_configured != (msg->type != KMS_SYMBOLS_WIRE_CONFIG))
		return -EPROTO;
	switch (msg->type) {
	case KMS_SYMBOLS_WIRE_CONFIG:
		return handle_config(helper, msg);
	case KMS_SYMBOLS_WIRE_MODULE:
		return handle_module(helper, msg);
	case KMS_SYMBOLS_WIRE_REQUEST:
		return handle_request(helper, msg);
	default:
		return -EPROTO;
	}
}

static bool is_socket(int fd)
{
	int type;
	socklen_t n = sizeof(type);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

static int serve(struct helper *helper)
{
	struct kms_symbols_wire_message msg;
	int rc = 0;
	while (rc == 0) {
		rc = receive(helper, &msg);
		if (rc == 0)
			rc = handle(helper, &msg);
	}
	return rc;
}

static void helper_destroy(struct helper *helper)
{
	for (size_t i = 0; i < helper->modules_size; i++)
		forget_module(helper, helper->modules[i]);
	free(helper->modules);
	kms_symbols_lookup_deinit(&helper->lookup);
	kms_symbols_wire_in_deinit(&helper->in);
	kms_symbols_wire_out_deinit(&helper->out);
	free(helper);
}

int kms_symbols_helper_main(int argc, char *argv[])
{
	if (!kms_symbols_is_helper(argc, argv) || !is_socket(KMS_SYMBOLS_WIRE_FD))
		return EXIT_NO_HELPER;
	struct helper *helper = calloc(1, sizeof(*helper));
	if (!helper)
		return EXIT_NO_HELPER;
	kms_symbols_sandbox_watchdog(GREETING_MS);
	int rc = serve(helper);
	helper_destroy(helper);
	return rc == -EPIPE ? 0 : EXIT_NO_HELPER;
}
