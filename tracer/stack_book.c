/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks in memory: see stack_book.h.
 */
#include "tracer/stack_book.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/stack_id.h"

/* A module with its path. */
struct module {
	struct kms_module m;
	const char *path; /* one of the image's strings; NULL unknown */
};

/* A string of the image by its index. */
struct text {
	uint32_t index;
	char *text;
};

struct book_image {
	struct kms_node *node; /* n_nodes, by index */
	struct module *module; /* n_modules, by index */
	struct text *text;     /* n_texts, in order of arrival */
	uint32_t n_nodes, room_nodes;
	uint32_t n_modules, room_modules;
	uint32_t n_texts, room_texts;
};

struct kms_stack_book {
	pthread_rwlock_t lock;
	struct book_image *image; /* n_images, by ordinal - 1 */
	uint32_t n_images, room_images;
	size_t bytes, limit_bytes;
};

struct kms_stack_book *kms_stack_book_create(size_t limit_bytes)
{
	struct kms_stack_book *book = calloc(1, sizeof(*book));

	if (!book)
		return NULL;
	book->limit_bytes = limit_bytes ? limit_bytes : KMS_STACK_BOOK_BYTES;
	(void)pthread_rwlock_init(&book->lock, NULL); /* default attributes cannot fail */
	return book;
}

void kms_stack_book_destroy(struct kms_stack_book *book)
{
	if (!book)
		return;
	for (uint32_t i = 0; i < book->n_images; i++) {
		struct book_image *image = &book->image[i];

		for (uint32_t j = 0; j < image->n_texts; j++)
			free(image->text[j].text);
		free(image->text);
		free(image->module);
		free(image->node);
	}
	free(book->image);
	(void)pthread_rwlock_destroy(&book->lock); /* nobody holds it */
	free(book);
}

/* Makes an array hold n elements, new ones zero. */
static int reserve(struct kms_stack_book *book, void *array_at, uint32_t *room, uint32_t n,
		   size_t element_bytes)
{
	uint32_t wanted = *room ? *room : 16;
	void *array;

	if (n <= *room)
		return 0;
	while (wanted < n)
		wanted *= 2;
	if (book->bytes + (wanted - *room) * element_bytes > book->limit_bytes)
		return -ENOMEM;
	memcpy(&array, array_at, sizeof(array));
	array = reallocarray(array, wanted, element_bytes);
	if (!array)
		return -ENOMEM;
	memset((char *)array + *room * element_bytes, 0, (wanted - *room) * element_bytes);
	memcpy(array_at, &array, sizeof(array));
	book->bytes += (wanted - *room) * element_bytes;
	*room = wanted;
	return 0;
}

static int feed_nodes(struct kms_stack_book *book, struct book_image *image,
		      const struct kms_batch_table *table)
{
	uint32_t end = table->first + table->count;

	if (reserve(book, &image->node, &image->room_nodes, end, sizeof(*image->node)))
		return -ENOMEM;
	for (uint32_t i = 0; i < table->count; i++) {
		struct kms_node node;

		memcpy(&node, table->data + (size_t)i * sizeof(node), sizeof(node));
		if (node.epoch_ready & KMS_NODE_READY)
			image->node[table->first + i] = node;
	}
	image->n_nodes = end > image->n_nodes ? end : image->n_nodes;
	return 0;
}

static const char *find_text(const struct book_image *image, uint32_t index)
{
	for (uint32_t i = image->n_texts; i; i--) {
		if (image->text[i - 1].index == index)
			return image->text[i - 1].text;
	}
	return NULL;
}

static int feed_modules(struct kms_stack_book *book, struct book_image *image,
			const struct kms_batch_table *table)
{
	uint32_t end = table->first + table->count;

	if (reserve(book, &image->module, &image->room_modules, end, sizeof(*image->module)))
		return -ENOMEM;
	for (uint32_t i = 0; i < table->count; i++) {
		struct module *module = &image->module[table->first + i];
		struct kms_module m;

		memcpy(&m, table->data + (size_t)i * sizeof(m), sizeof(m));
		if (!m.ready || module->m.ready)
			continue;
		module->m = m;
		module->path = find_text(image, m.path_string);
	}
	image->n_modules = end > image->n_modules ? end : image->n_modules;
	return 0;
}

static int add_text(struct kms_stack_book *book, struct book_image *image, uint32_t index,
		    const unsigned char *bytes, size_t length)
{
	char *text;

	if (reserve(book, &image->text, &image->room_texts, image->n_texts + 1,
		    sizeof(*image->text)) ||
	    book->bytes + length > book->limit_bytes)
		return -ENOMEM;
	text = strndup((const char *)bytes, length);
	if (!text)
		return -ENOMEM;
	book->bytes += length;
	image->text[image->n_texts++] = (struct text){index, text};
	return 0;
}

/* Strings, each behind its head: one, or a page of a trace file. One that goes on in the next page is
 * left out. */
static int feed_text(struct kms_stack_book *book, struct book_image *image,
		     const struct kms_batch_table *table)
{
	struct kms_string_head head;
	uint32_t next;
	int result = 0;

	for (uint32_t i = 0; !result && i < table->count; i = next) {
		const unsigned char *entry = table->data + (size_t)i * sizeof(head);
		size_t room = (size_t)(table->count - i - 1) * sizeof(head);

		next = i + 1;
		memcpy(&head, entry, sizeof(head));
		if (!head.ready)
			continue; /* a hole */
		if (head.ready - 1 > room)
			break;
		result = add_text(book, image, table->first + i, entry + sizeof(head),
				  head.ready - 1);
		next += (uint32_t)((head.ready - 1 + sizeof(head) - 1) / sizeof(head));
	}
	return result;
}

/* All tables of one section. */
static int feed_section(struct kms_stack_book *book, const struct kms_batch *batch,
			uint32_t section,
			int (*feed)(struct kms_stack_book *book, struct book_image *image,
				    const struct kms_batch_table *table))
{
	int result = 0;

	for (size_t i = 0; i < batch->n_tables; i++) {
		const struct kms_batch_table *table = &batch->table[i];

		if (table->section != section || !table->image)
			continue;
		if (table->image > book->n_images) {
			if (reserve(book, &book->image, &book->room_images, table->image,
				    sizeof(*book->image)))
				return -ENOMEM;
			book->n_images = table->image;
		}
		if (feed(book, &book->image[table->image - 1], table))
			result = -ENOMEM;
	}
	return result;
}

int kms_stack_book_feed(struct kms_stack_book *book, const struct kms_batch *batch)
{
	int texts, modules, nodes;

	if (!batch->n_tables)
		return 0;
	(void)pthread_rwlock_wrlock(&book->lock); /* never locked twice by a thread */
	texts = feed_section(book, batch, KMS_SEC_STRING, feed_text);
	modules = feed_section(book, batch, KMS_SEC_MODULE, feed_modules);
	nodes = feed_section(book, batch, KMS_SEC_NODE, feed_nodes);
	(void)pthread_rwlock_unlock(&book->lock);
	return texts ? texts : modules ? modules : nodes;
}

/* The module that held an address in a map epoch; the last one that did if the epoch says nothing. */
static struct module *find_module(const struct book_image *image, uint64_t pc, uint32_t epoch)
{
	struct module *best = NULL;

	for (uint32_t i = 0; i < image->n_modules; i++) {
		struct module *module = &image->module[i];

		if (!module->m.ready || pc < module->m.start || pc >= module->m.end ||
		    (epoch && module->m.epoch > epoch))
			continue;
		if (!best || module->m.epoch >= best->m.epoch)
			best = module;
	}
	return best;
}

/* A frame before names: what the trie and the modules say. */
struct raw_frame {
	uint64_t pc;
	uint64_t offset;
	const char *path;
	struct kms_module module;
	bool has_module;
};

/* Walks from a stack's innermost node to its root. Returns frames, -ENOENT if there is no such stack. */
static int walk(const struct book_image *image, uint32_t node, struct raw_frame *out, bool *cut)
{
	int n = 0;

	*cut = false;
	if (node >= image->n_nodes || !image->node[node].epoch_ready)
		return -ENOENT;
	while (node) {
		const struct kms_node *entry = &image->node[node];
		const struct module *module;

		if (n == KMS_STACK_MAX_FRAMES || !(entry->epoch_ready & KMS_NODE_READY)) {
			*cut = true;
			break;
		}
		/* a return address: the call lies before it */
		module = find_module(image, entry->pc - 1, entry->epoch_ready >> 2);
		out[n] = (struct raw_frame){.pc = entry->pc};
		if (module) {
			out[n].has_module = true;
			out[n].module = module->m;
			out[n].path = module->path;
			out[n].offset = entry->pc - module->m.load_bias;
		}
		n++;
		*cut |= (entry->epoch_ready & KMS_NODE_CUT) != 0;
		node = entry->parent; /* lower than the node: the reader saw to it */
	}
	return n;
}

/* What to ask the resolver of one frame; false: nothing. */
static bool make_request(struct kms_symbols *symbols, const struct raw_frame *frame,
			 struct kms_symbol_request *request)
{
	struct kms_symbols_module desc = {.path = frame->path,
					  .build_id = frame->module.build_id,
					  .n_build_id = frame->module.build_id_bytes};

	if (!frame->has_module || !frame->path || !frame->path[0])
		return false;
	request->offset = frame->offset;
	request->is_return = true;
	return kms_symbols_module(symbols, &desc, &request->module, NULL) == 0;
}

/* Appends a raw frame with what is known of it, inlined ones first. */
static void put_frame(struct kms_view_stack *out, const struct raw_frame *raw,
		      const struct kms_symbol_answer *answer)
{
	uint32_t n = answer && answer->n_frames ? answer->n_frames : 1;

	for (uint32_t i = 0; i < n; i++) {
		struct kms_view_frame *frame = &out->frame[out->n_frames++];

		*frame = (struct kms_view_frame){
			.address = raw->pc, .module = raw->path, .offset = raw->offset};
		if (!answer || !answer->n_frames)
			continue;
		frame->function = answer->frames[i].function;
		frame->file = answer->frames[i].file;
		frame->line = answer->frames[i].line;
		frame->inlined = answer->frames[i].inlined;
	}
}

/* Room for one stack while it is resolved. */
struct scratch {
	struct raw_frame raw[KMS_STACK_MAX_FRAMES];
	struct kms_symbol_request request[KMS_STACK_MAX_FRAMES];
	struct kms_symbol_answer answer[KMS_STACK_MAX_FRAMES];
	uint32_t asked[KMS_STACK_MAX_FRAMES]; /* index of the answer + 1, 0 none */
};

static int name_frames(struct scratch *s, int n, struct kms_symbols *symbols,
		       struct kms_view_stack *out)
{
	size_t n_requests = 0;
	size_t total = 0;

	for (int i = 0; symbols && i < n; i++) {
		if (make_request(symbols, &s->raw[i], &s->request[n_requests]))
			s->asked[i] = (uint32_t)++n_requests;
	}
	/* without memory the answers say so: there are no names then */
	if (n_requests)
		(void)kms_symbols_resolve(symbols, s->request, n_requests, s->answer);
	for (int i = 0; i < n; i++) {
		uint32_t frames = s->asked[i] ? s->answer[s->asked[i] - 1].n_frames : 0;

		total += frames ? frames : 1;
	}
	out->frame = calloc(total ? total : 1, sizeof(*out->frame));
	if (!out->frame)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		put_frame(out, &s->raw[i], s->asked[i] ? &s->answer[s->asked[i] - 1] : NULL);
	return 0;
}

int kms_stack_book_frames(struct kms_stack_book *book, struct kms_symbols *symbols,
			  uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	uint32_t ordinal = kms_stack_image(stack_id);
	struct scratch *scratch = calloc(1, sizeof(*scratch));
	int n = -ENOENT;
	int result;

	memset(out, 0, sizeof(*out));
	if (!scratch)
		return kms_err_set(err, -ENOMEM, "no memory for a stack");
	(void)pthread_rwlock_rdlock(&book->lock); /* fails only with too many readers */
	if (ordinal && ordinal <= book->n_images)
		n = walk(&book->image[ordinal - 1], kms_stack_node(stack_id), scratch->raw,
			 &out->cut);
	(void)pthread_rwlock_unlock(&book->lock);
	if (n < 0)
		result = kms_err_set(err, n, "stack %llu is not known",
				     (unsigned long long)stack_id);
	else if (name_frames(scratch, n, symbols, out))
		result = kms_err_set(err, -ENOMEM, "no memory for a stack");
	else
		result = 0;
	free(scratch);
	return result;
}

void kms_stack_book_free(struct kms_view_stack *stack)
{
	free(stack->frame);
	memset(stack, 0, sizeof(*stack));
}
