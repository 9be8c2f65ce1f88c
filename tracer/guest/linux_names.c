/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_names.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "schema/region.h"
#include "tracer/batch_build.h"
#include "tracer/u64map.h"

enum {
	NAME_BYTES = 128,
	MODULE_BYTES = 64,
	FIRST_ROOM = 1024,
	DEPTH_MAX = KMS_LINUX_MAX_FRAMES,
	AT_ONCE = 4096, /* nodes of a table */
};

/* A frame; all of one address have the same function. */
struct node {
	uint64_t pc;
	uint32_t parent;
	uint32_t rank; /* from 1, of a stack; 0: only a part of others */
	uint64_t offset;
	char *function; /* NULL unknown */
	char *module;   /* NULL: the kernel itself */
};

struct kms_linux_names {
	pthread_mutex_t lock; /* guards arrays for who reads beside the one thread */
	struct node *node;    /* from 1; n is the last */
	uint32_t *stack;      /* nodes by rank - 1 */
	uint32_t n, room, fed, stacks, stacks_room;
	struct kms_u64map index; /* hash of parent and pc: node */
};

struct kms_linux_names *kms_linux_names_create(void)
{
	struct kms_linux_names *names = calloc(1, sizeof(*names));

	if (names)
		(void)pthread_mutex_init(&names->lock, NULL); /* cannot fail without attributes */
	return names;
}

void kms_linux_names_destroy(struct kms_linux_names *names)
{
	if (!names)
		return;
	for (uint32_t i = 1; i <= names->n; i++) {
		free(names->node[i].function);
		free(names->node[i].module);
	}
	free(names->node);
	free(names->stack);
	kms_u64map_deinit(&names->index);
	(void)pthread_mutex_destroy(&names->lock); /* nobody holds it */
	free(names);
}

/* Room for one more element behind n of them. */
static bool reserve(void *array_at, uint32_t *room, uint32_t n, size_t bytes)
{
	uint32_t wanted = *room ? *room : FIRST_ROOM;
	void *array;

	if (n < *room)
		return true;
	while (wanted <= n)
		wanted *= 2;
	memcpy(&array, array_at, sizeof(array));
	array = reallocarray(array, wanted, bytes);
	if (!array)
		return false;
	memcpy(array_at, &array, sizeof(array));
	*room = wanted;
	return true;
}

static void name_node(struct kms_linux *kernel, struct node *node)
{
	const char *name, *module;

	if (!kms_linux_name(kernel, node->pc, &name, &node->offset, &module))
		node->function = strndup(name, NAME_BYTES);
	if (module)
		node->module = strndup(module, MODULE_BYTES);
}

static uint32_t node_add(struct kms_linux_names *names, struct kms_linux *kernel, uint64_t key,
			 uint32_t parent, uint64_t pc)
{
	struct node node = {.pc = pc, .parent = parent};
	uint32_t index = names->n + 1;

	if (index >= KMS_LINUX_NODES_MAX ||
	    !reserve(&names->node, &names->room, index, sizeof(*names->node)) ||
	    kms_u64map_set(&names->index, key, index) < 0)
		return 0;
	name_node(kernel, &node);
	names->node[index] = node;
	names->n = index;
	return index;
}

static uint32_t child(struct kms_linux_names *names, struct kms_linux *kernel, uint32_t parent,
		      uint64_t pc)
{
	for (uint64_t key = kms_hash_join(pc, parent) | 1;; key += 2) {
		const uint64_t *found = kms_u64map_find(&names->index, key);

		if (!found)
			return node_add(names, kernel, key, parent, pc);
		if (names->node[*found].pc == pc && names->node[*found].parent == parent)
			return (uint32_t)*found;
	}
}

uint32_t kms_linux_names_node(struct kms_linux_names *names, struct kms_linux *kernel,
			      const uint64_t *frame, int n)
{
	uint32_t node = 0;

	n = n < DEPTH_MAX ? n : DEPTH_MAX;
	(void)pthread_mutex_lock(&names->lock); /* plain, never locked twice */
	for (int i = n; i > 0; i--) {
		node = child(names, kernel, node, frame[i - 1]);
		if (!node)
			break;
	}
	if (node && !names->node[node].rank &&
	    reserve(&names->stack, &names->stacks_room, names->stacks, sizeof(*names->stack))) {
		names->stack[names->stacks++] = node;
		names->node[node].rank = names->stacks;
	}
	(void)pthread_mutex_unlock(&names->lock);
	return node;
}

int kms_linux_names_feed(struct kms_linux_names *names, uint32_t image, struct kms_batch *batch)
{
	while (names->fed < names->n) {
		uint32_t count = names->n - names->fed;
		struct kms_batch_table *table;

		count = count < AT_ONCE ? count : AT_ONCE;
		table = kms_batch_add_table(batch, KMS_SEC_NODE, names->fed + 1, count,
					    sizeof(struct kms_node));
		if (!table)
			return -ENOMEM;
		table->image = image;
		for (uint32_t i = 0; i < count; i++) {
			const struct node *from = &names->node[names->fed + 1 + i];
			const struct kms_node node = {.pc = from->pc,
						      .parent = from->parent,
						      .epoch_ready = KMS_NODE_READY};

			memcpy(table->data + i * sizeof(node), &node, sizeof(node));
		}
		names->fed += count;
	}
	return 0;
}

/* A frame, its names written into room. */
static void fill_frame(const struct node *node, struct kms_view_frame *frame, char *room)
{
	(void)snprintf(room, MODULE_BYTES, "%s", node->module ? node->module : "vmlinux"); /* cut */
	*frame = (struct kms_view_frame){
		.address = node->pc, .module = room, .offset = node->offset};
	if (!node->function)
		return;
	(void)snprintf(room + MODULE_BYTES, NAME_BYTES, "%s", node->function); /* cut */
	frame->function = room + MODULE_BYTES;
}

int kms_linux_names_stack(struct kms_linux_names *names, uint32_t node, struct kms_view_stack *out,
			  struct kms_err *err)
{
	size_t depth = 0;
	char *room;

	*out = (struct kms_view_stack){0};
	(void)pthread_mutex_lock(&names->lock);
	if (!node || node > names->n) {
		(void)pthread_mutex_unlock(&names->lock);
		return kms_err_set(err, -ENOENT, "no stack %u", node);
	}
	for (uint32_t i = node; i; i = names->node[i].parent)
		depth++; /* a parent is older than its children */
	out->frame = calloc(depth, sizeof(*out->frame) + MODULE_BYTES + NAME_BYTES);
	room = (char *)(out->frame + depth);
	for (uint32_t i = node; out->frame && i; i = names->node[i].parent) {
		fill_frame(&names->node[i], &out->frame[out->n_frames], room);
		room += MODULE_BYTES + NAME_BYTES;
		out->n_frames++;
	}
	(void)pthread_mutex_unlock(&names->lock);
	return out->frame ? 0 : kms_err_set(err, -ENOMEM, "no memory for a stack");
}

bool kms_linux_names_next(struct kms_linux_names *names, uint32_t *node)
{
	uint32_t rank = 0;
	bool found;

	(void)pthread_mutex_lock(&names->lock);
	if (*node && *node <= names->n)
		rank = names->node[*node].rank;
	found = rank < names->stacks && (rank || !*node);
	if (found)
		*node = names->stack[rank];
	(void)pthread_mutex_unlock(&names->lock);
	return found;
}
