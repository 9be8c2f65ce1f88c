/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a view on a Linux guest; private to linux_view*.c. */
#ifndef KMS_TRACER_GUEST_LINUX_VIEW_IMPL_H
#define KMS_TRACER_GUEST_LINUX_VIEW_IMPL_H

#include <pthread.h>

#include "tracer/guest/linux_record.h"
#include "tracer/guest/linux_shot.h"
#include "tracer/guest/linux_view.h"
#include "tracer/name_pool.h"

enum {
	KMS_LINUX_VIEW_CANARIES = 64,
};

struct kms_linux_view {
	struct kms_linux_view_config config;
	struct kms_tracer_origin origin; /* its context is this view */
	char *command;
	char cache_folder[PATH_MAX]; /* "" none */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, is_over, is_paused;
	struct kms_linux *kernel; /* NULL: the guest boots another one */
	struct kms_linux_history history;
	struct kms_linux_shot *newest;
	uint64_t canary[KMS_LINUX_VIEW_CANARIES]; /* damage in KFENCE's pool as of the last look */
	struct kms_name_pool names;               /* of caches, for who asks what an address is */
};

/* linux_view.c; locks: the view's, held by the caller */

/** Takes what is new in the kernel's ring. Errors: as kms_linux_events() */
int kms_linux_view_read_events(struct kms_linux_view *view, struct kms_err *err);
/** Damage that was seen twice in a row, which is no change under way, becomes findings. */
void kms_linux_view_tell_damage(struct kms_linux_view *view);
/** A picture of what was just read. Errors: -ENOMEM */
int kms_linux_view_publish(struct kms_linux_view *view, struct kms_err *err);

/* linux_view_ask.c: what struct kms_view_ops says of each; ctx is the view */

int kms_linux_ask_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
			 size_t *n_read, struct kms_err *err);
int kms_linux_ask_write(void *ctx, const char *who, const struct kms_memory_write *write,
			struct kms_err *err);
int kms_linux_ask_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
			 struct kms_err *err);
int kms_linux_ask_symbol_at(void *ctx, uint32_t target, uint64_t address,
			    struct kms_view_symbol *out, struct kms_err *err);
int kms_linux_ask_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
			 struct kms_err *err);
int kms_linux_ask_slabs(void *ctx, uint32_t target, const char *cache,
			int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
			struct kms_err *err);
int kms_linux_ask_explain(void *ctx, uint32_t target, uint64_t address, char *text, size_t bytes,
			  struct kms_err *err);
int kms_linux_ask_verify(void *ctx, const char *who, uint32_t target, struct kms_err *err);
int kms_linux_ask_kfence(void *ctx, uint32_t target, struct kms_view_kfence *state,
			 int (*emit)(void *arg, const struct kms_view_kfence_object *object),
			 void *arg, struct kms_err *err);

#endif
