/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/trie.h"

enum {
	EPOCH_SHIFT = 2, /* in kms_node.epoch_ready */
	LINE_WORDS = 16, /* of the near table */
	LINE_PARENTS = 8,
	FAR_PROBES = 64,
	NODE_BITS = 22, /* of an index word; the rest is a tag */
	NODE_MASK = (1 << NODE_BITS) - 1,
};

_Static_assert(KMS_MAX_NODES <= 1 << NODE_BITS, "a node number fits into an index word");

/* What makes a node what it is, beside its epoch. */
struct key {
	uint64_t pc;
	uint32_t parent;
	uint32_t flags; /* KMS_NODE_READY, KMS_NODE_CUT */
	uint32_t hash;
};

static uint64_t near_words(uint64_t nodes)
{
	return (nodes / LINE_PARENTS + 1) * LINE_WORDS;
}

static uint64_t far_words(uint64_t nodes)
{
	uint64_t words = LINE_WORDS;

	while (words < nodes)
		words *= 2;
	return words;
}

uint64_t kms_trie_index_bytes(uint64_t nodes)
{
	return (near_words(nodes) + far_words(nodes)) * sizeof(uint32_t);
}

void kms_trie_init(struct kms_trie *trie, struct kms_region_header *region,
		   struct kms_unwind *unwind, void *memory)
{
	kms_append_open(&trie->nodes, region, KMS_SEC_NODE);
	trie->unwind = unwind;
	trie->near = memory;
	trie->far = trie->near + near_words(trie->nodes.entries);
	trie->far_mask = (uint32_t)far_words(trie->nodes.entries) - 1;
}

static struct key make_key(uint32_t parent, uint64_t pc)
{
	struct key key = {pc, parent, KMS_NODE_READY, 0};
	uint64_t hash = pc * UINT64_C(0x9e3779b97f4a7c15);

	if (parent == (uint32_t)KMS_TRIE_CUT) {
		key.parent = KMS_TRIE_ROOT;
		key.flags |= KMS_NODE_CUT;
	}
	hash ^= (hash >> 32) + (uint64_t)parent * UINT64_C(0xd6e8feb86659fd93);
	hash *= UINT64_C(0x9e3779b97f4a7c15);
	key.hash = (uint32_t)(hash >> 32);
	return key;
}

static uint32_t *near_line(const struct kms_trie *trie, const struct key *key)
{
	return trie->near + (uint64_t)key->parent / LINE_PARENTS * LINE_WORDS;
}

/* An index word of a node, but for its number. */
static uint32_t tag_of(const struct key *key)
{
	return key->hash & ~(uint32_t)NODE_MASK;
}

/* Does @node stand for the key? With epoch KMS_NO_INDEX any epoch that still holds is good. */
static bool matches(const struct kms_trie *trie, uint32_t node, const struct key *key,
		    uint32_t epoch)
{
	const struct kms_node *n = kms_append_entry(&trie->nodes, node);
	uint32_t ready = n->epoch_ready;

	if (n->pc != key->pc || n->parent != key->parent ||
	    (ready & (KMS_NODE_READY | KMS_NODE_CUT)) != key->flags)
		return false;
	ready >>= EPOCH_SHIFT;
	if (epoch != KMS_NO_INDEX)
		return ready == epoch;
	return ready != 0 && kms_unwind_epoch_holds(trie->unwind, ready);
}

static uint32_t make_node(struct kms_trie *trie, const struct key *key, uint32_t epoch)
{
	uint32_t index = kms_append_take(&trie->nodes, 1);
	struct kms_node *node;

	if (index == KMS_NO_INDEX)
		return 0;
	node = kms_append_entry(&trie->nodes, index);
	node->pc = key->pc;
	node->parent = key->parent;
	/* pairs with the reader's acquire load of epoch_ready: pc and parent are there */
	__atomic_store_n(&node->epoch_ready, epoch << EPOCH_SHIFT | key->flags, __ATOMIC_RELEASE);
	return index;
}

/* What a look at one word of the index found. */
enum found {
	FOUND_NODE,
	FOUND_OTHER,
	FOUND_FREE,
};

/*
 * Looks at a word of the index; *node is the node if it is the one of the key. A free word is
 * filled with *node if that is not 0.
 */
/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
static enum found look(struct kms_trie *trie, uint32_t *place, const struct key *key,
		       uint32_t epoch, uint32_t *node)
{
	/* pairs with the exchange below: the node's fields are there */
	uint32_t word = __atomic_load_n(place, __ATOMIC_ACQUIRE);

	if (word == 0) {
		if (*node == 0)
			return FOUND_FREE;
		if (__atomic_compare_exchange_n(place, &word, tag_of(key) | *node, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return FOUND_NODE;
	}
	if ((word & ~(uint32_t)NODE_MASK) != tag_of(key) ||
	    !matches(trie, word & NODE_MASK, key, epoch))
		return FOUND_OTHER;
	*node = word & NODE_MASK;
	return FOUND_NODE;
}

/*
 * Looks for a key in all its places, up to the first free one: there @fresh is put if it is not 0.
 * Returns the node found or put there; else @fresh.
 */
static uint32_t probe(struct kms_trie *trie, const struct key *key, uint32_t epoch, uint32_t fresh)
{
	uint32_t *line = near_line(trie, key);
	uint32_t node = fresh;

	for (uint32_t i = 0; i < LINE_WORDS + FAR_PROBES; i++) {
		uint32_t *place = i < LINE_WORDS ? &line[(key->hash + i) % LINE_WORDS]
						 : &trie->far[(key->hash + i) & trie->far_mask];
		enum found found = look(trie, place, key, epoch, &node);

		if (found != FOUND_OTHER)
			return node;
	}
	return node;
}

uint32_t kms_trie_child(struct kms_trie *trie, uint32_t parent, uint64_t pc)
{
	const struct key key = make_key(parent, pc);
	uint32_t node, epoch;

	node = probe(trie, &key, KMS_NO_INDEX, 0);
	if (node)
		return node;
	epoch = kms_unwind_epoch(trie->unwind, pc);
	node = probe(trie, &key, epoch, 0);
	if (node)
		return node;
	node = make_node(trie, &key, epoch);
	return node ? probe(trie, &key, epoch, node) : key.parent;
}
