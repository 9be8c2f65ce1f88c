/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live set's tree: finding, making and copying of nodes. See live_set.h.
 *
 * Every node says whose it is. A node with the set's own number is reached through this set only,
 * and so are all nodes on the way to it; fork gives both sets a new number, so that nothing is
 * their own any more. On the way to a page that is to be written a foreign node is copied, or, if
 * nobody else refers to it, taken over.
 */
#include "tracer/live_set.h"

#include <assert.h>
#include <string.h>

#include "tracer/live_set_tree.h"

enum {
	GRANULE_MIN_SHIFT = 4, /* to begin with; allocators align to 8 or 16 */
	INFO_OF_LEAF = KMS_LIVE_PAGE_GRANULE | KMS_LIVE_PAGE_MINE,
};

void kms_live_init(struct kms_live_set *set, struct kms_live_pool *pool)
{
	memset(set, 0, sizeof(*set));
	set->pool = pool;
	set->owner = ++pool->last_owner;
}

void kms_live_fork(struct kms_live_set *child, struct kms_live_set *parent)
{
	assert(!child->root && child->pool == parent->pool);
	child->root = parent->root;
	if (child->root)
		child->root->refs++;
	child->late = parent->late;
	child->owner = ++child->pool->last_owner;
	parent->owner = ++parent->pool->last_owner;
	memset(child->recent, 0, sizeof(child->recent));
	memset(parent->recent, 0, sizeof(parent->recent));
}

/* Begin and end of a node of any kind. */
struct head {
	uint32_t owner;
	uint32_t refs;
};

static struct head *head_of(void *node)
{
	return node;
}

static void *node_new(struct kms_live_set *set, size_t bytes)
{
	struct head *head = kms_memory_alloc(set->pool->memory, bytes);

	if (head) {
		head->owner = set->owner;
		head->refs = 1;
	}
	return head;
}

/* A copy that belongs to the set, in place of a node that others refer to as well. */
static void *node_copy(struct kms_live_set *set, void *node, size_t bytes)
{
	struct head *copy = kms_memory_alloc(set->pool->memory, bytes);

	if (!copy)
		return NULL;
	memcpy(copy, node, bytes);
	copy->owner = set->owner;
	copy->refs = 1;
	head_of(node)->refs--;
	return copy;
}

/* Makes what *slot refers to the set's own. */
static struct kms_live_node *node_own(struct kms_live_set *set, struct kms_live_node **slot)
{
	struct kms_live_node *node = *slot;

	if (node->owner == set->owner)
		return node;
	if (node->refs == 1) {
		node->owner = set->owner;
		return node;
	}
	node = node_copy(set, node, sizeof(*node));
	if (!node)
		return NULL;
	for (unsigned i = 0; i < KMS_LIVE_FANOUT; i++)
		if (node->child[i])
			head_of(node->child[i])->refs++;
	*slot = node;
	return node;
}

static struct kms_live_dir *dir_own(struct kms_live_set *set, struct kms_live_dir **slot)
{
	struct kms_live_dir *dir = *slot;

	if (dir->owner == set->owner)
		return dir;
	if (dir->refs == 1) {
		dir->owner = set->owner;
	} else {
		dir = node_copy(set, dir, sizeof(*dir));
		if (!dir)
			return NULL;
		for (unsigned i = 0; i < KMS_LIVE_FANOUT; i++)
			if (dir->leaf[i])
				dir->leaf[i]->refs++;
		*slot = dir;
	}
	for (unsigned i = 0; i < KMS_LIVE_FANOUT; i++)
		dir->info[i] &= (uint16_t)~KMS_LIVE_PAGE_MINE;
	return dir;
}

static struct kms_live_dir *dir_new(struct kms_live_set *set)
{
	struct kms_live_dir *dir = node_new(set, sizeof(*dir));

	if (!dir)
		return NULL;
	memset(dir->cache, 0xff, sizeof(dir->cache));
	for (unsigned i = 0; set->late && i < KMS_LIVE_FANOUT; i++)
		dir->info[i] = KMS_LIVE_PAGE_BARE | KMS_LIVE_PAGE_FORGOT;
	return dir;
}

/* The set's own node above the directories, NULL: none (and @make false), or no memory. */
static struct kms_live_node *lowest_node(struct kms_live_set *set, uint64_t address, bool make)
{
	struct kms_live_node **slot = &set->root;
	struct kms_live_node *node = NULL;

	for (unsigned depth = 0; depth < KMS_LIVE_LEVELS; depth++) {
		if (!*slot && make)
			*slot = node_new(set, sizeof(**slot));
		if (!*slot)
			return NULL;
		node = node_own(set, slot);
		if (!node)
			return NULL;
		slot = (struct kms_live_node **)(void *)&node
			       ->child[kms_live_index(address, depth)];
	}
	return node;
}

struct kms_live_dir *kms_live_dir_write(struct kms_live_set *set, uint64_t address, bool make)
{
	struct kms_live_dir *dir = kms_live_recent(set, address);
	unsigned index = kms_live_index(address, KMS_LIVE_LEVELS - 1);
	struct kms_live_node *node;

	if (dir)
		return dir;
	node = lowest_node(set, address, make);
	if (!node)
		return NULL;
	if (!node->child[index] && make)
		node->child[index] = dir_new(set);
	if (!node->child[index])
		return NULL;
	dir = dir_own(set, (struct kms_live_dir **)(void *)&node->child[index]);
	if (!dir)
		return NULL;
	index = (unsigned)(address >> KMS_LIVE_DIR_SHIFT) & (KMS_LIVE_RECENT - 1);
	set->recent[index].key = address >> KMS_LIVE_DIR_SHIFT;
	set->recent[index].dir = dir;
	return dir;
}

static struct kms_live_leaf *leaf_new(struct kms_live_set *set, unsigned shift)
{
	struct kms_live_leaf *leaf = node_new(set, kms_live_leaf_bytes(shift));

	if (leaf)
		leaf->shift = shift;
	return leaf;
}

static void page_set_leaf(struct kms_live_dir *dir, unsigned page, struct kms_live_leaf *leaf)
{
	dir->leaf[page] = leaf;
	dir->info[page] = (uint16_t)((dir->info[page] & ~(unsigned)INFO_OF_LEAF) |
				     (leaf ? leaf->shift | KMS_LIVE_PAGE_MINE : 0));
}

struct kms_live_leaf *kms_live_leaf_write(struct kms_live_set *set, struct kms_live_dir *dir,
					  unsigned page)
{
	struct kms_live_leaf *leaf = dir->leaf[page];

	if (!leaf || dir->info[page] & KMS_LIVE_PAGE_MINE)
		return leaf;
	if (leaf->refs == 1)
		leaf->owner = set->owner;
	else
		leaf = node_copy(set, leaf, kms_live_leaf_bytes(leaf->shift));
	if (leaf)
		page_set_leaf(dir, page, leaf);
	return leaf;
}

void kms_live_leaf_drop(struct kms_live_set *set, struct kms_live_dir *dir, unsigned page)
{
	struct kms_live_leaf *leaf = dir->leaf[page];

	if (leaf && --leaf->refs == 0)
		kms_memory_free(set->pool->memory, leaf, kms_live_leaf_bytes(leaf->shift));
	page_set_leaf(dir, page, NULL);
}

struct kms_live *kms_live_touch_slow(struct kms_live_set *set, uint64_t address)
{
	struct kms_live_dir *dir;
	struct kms_live_leaf *leaf;
	unsigned low = (unsigned)address & KMS_LIVE_LOW;
	struct kms_live *live;

	if (!kms_live_is_canonical(address))
		return NULL;
	dir = kms_live_dir_write(set, address, false);
	if (!dir)
		return NULL;
	leaf = kms_live_leaf_write(set, dir, kms_live_page_index(address));
	if (!leaf)
		return NULL;
	live = &leaf->entry[low >> leaf->shift];
	return (live->low_bits & (KMS_LIVE_KNOWN | KMS_LIVE_LOW)) == (KMS_LIVE_KNOWN | low) ? live
											    : NULL;
}

static unsigned log2_floor(uint64_t v)
{
	return 63u - (unsigned)__builtin_clzll(v | 1);
}

static unsigned granule_for(const struct kms_live_dir *dir, unsigned page, uint64_t bytes)
{
	unsigned shift = dir->hint[page] ? dir->hint[page] : log2_floor(bytes);

	if (shift < GRANULE_MIN_SHIFT && !dir->hint[page])
		return GRANULE_MIN_SHIFT;
	return shift > KMS_LIVE_PAGE_SHIFT ? KMS_LIVE_PAGE_SHIFT : shift;
}

/* Smaller granules, so that @low and the entry at @other lie in different ones. */
static struct kms_live_leaf *leaf_split(struct kms_live_set *set, struct kms_live_dir *dir,
					unsigned page, unsigned low)
{
	struct kms_live_leaf *old = dir->leaf[page];
	unsigned other = old->entry[low >> old->shift].low_bits & KMS_LIVE_LOW;
	unsigned shift = log2_floor(low ^ other);
	struct kms_live_leaf *leaf = leaf_new(set, shift);

	assert(low != other && shift < old->shift);
	if (!leaf)
		return NULL;
	for (unsigned i = 0; i < kms_live_leaf_places(old->shift); i++)
		if (old->entry[i].low_bits & KMS_LIVE_KNOWN)
			leaf->entry[(old->entry[i].low_bits & KMS_LIVE_LOW) >> shift] =
				old->entry[i];
	kms_live_leaf_drop(set, dir, page);
	page_set_leaf(dir, page, leaf);
	return leaf;
}

/*
 * Must an entry stay when another address needs its place? Not if it is a freed block's of a slab
 * that is gone; it is of the present one if the granules are too large for that one's blocks.
 */
static bool must_keep(const struct kms_live_dir *dir, unsigned page, const struct kms_live *live)
{
	if (live->low_bits & (KMS_LIVE_LIVE | KMS_LIVE_PARKED))
		return true;
	return live->low_bits & KMS_LIVE_KNOWN && dir->hint[page] &&
	       (dir->info[page] & KMS_LIVE_PAGE_GRANULE) > dir->hint[page];
}

struct kms_live *kms_live_add(struct kms_live_set *set, uint64_t address, uint64_t bytes, bool keep)
{
	unsigned page = kms_live_page_index(address);
	unsigned low = (unsigned)address & KMS_LIVE_LOW;
	struct kms_live_dir *dir;
	struct kms_live_leaf *leaf;
	struct kms_live *live;

	if (!kms_live_is_canonical(address))
		return NULL;
	dir = kms_live_dir_write(set, address, true);
	if (!dir)
		return NULL;
	leaf = kms_live_leaf_write(set, dir, page);
	if (!leaf && !dir->leaf[page]) {
		leaf = leaf_new(set, granule_for(dir, page, bytes));
		if (leaf)
			page_set_leaf(dir, page, leaf);
	}
	if (!leaf)
		return NULL;
	live = &leaf->entry[low >> leaf->shift];
	if (must_keep(dir, page, live) || (keep && live->low_bits & KMS_LIVE_KNOWN)) {
		leaf = leaf_split(set, dir, page, low);
		if (!leaf)
			return NULL;
		live = &leaf->entry[low >> leaf->shift];
	}
	memset(live, 0, sizeof(*live));
	live->low_bits = (uint16_t)(low | KMS_LIVE_KNOWN |
				    (dir->info[page] & KMS_LIVE_PAGE_FORGOT ? KMS_LIVE_OPEN : 0));
	return live;
}

/* Where a walk over all nodes stands. */
struct descent {
	void *node;
	unsigned next; /* child to go to */
};

/* The next child of a node at @depth; a directory's children are leaves, which have none. */
static void *next_child(struct descent *at, unsigned depth)
{
	void *child = NULL;

	while (!child && at->next < KMS_LIVE_FANOUT) {
		if (depth < KMS_LIVE_LEVELS)
			child = ((struct kms_live_node *)at->node)->child[at->next];
		else
			child = ((struct kms_live_dir *)at->node)->leaf[at->next];
		at->next++;
	}
	return child;
}

static void node_free(struct kms_memory *memory, void *node, unsigned depth)
{
	size_t bytes = sizeof(struct kms_live_node);

	if (depth == KMS_LIVE_LEVELS)
		bytes = sizeof(struct kms_live_dir);
	if (depth > KMS_LIVE_LEVELS)
		bytes = kms_live_leaf_bytes(((struct kms_live_leaf *)node)->shift);
	kms_memory_free(memory, node, bytes);
}

void kms_live_deinit(struct kms_live_set *set)
{
	struct descent at[KMS_LIVE_LEVELS + 1];
	unsigned depth = 0;
	void *child;

	memset(set->recent, 0, sizeof(set->recent));
	if (!set->root)
		return;
	at[0] = (struct descent){set->root, 0};
	set->root = NULL;
	if (--head_of(at[0].node)->refs)
		return;
	for (;;) {
		child = next_child(&at[depth], depth);
		if (!child) {
			node_free(set->pool->memory, at[depth].node, depth);
			if (depth-- == 0)
				return;
		} else if (--head_of(child)->refs) {
			continue; /* another set has it too */
		} else if (depth == KMS_LIVE_LEVELS) {
			node_free(set->pool->memory, child, depth + 1);
		} else {
			at[++depth] = (struct descent){child, 0};
		}
	}
}

void kms_live_set_aside(struct kms_live_set *set, struct kms_live_set *aside)
{
	kms_live_deinit(aside);
	*aside = *set;
	kms_live_init(set, aside->pool);
	set->late = true;
}

void kms_live_restart(struct kms_live_set *set)
{
	kms_live_deinit(set);
	kms_live_init(set, set->pool);
	set->late = true;
}
