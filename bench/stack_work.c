/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What C programs do with malloc, for bench_stack: "numbers" works on long numbers whose every
 * intermediate result is a block of its own (as cfrac does), "sets" builds, merges and drops lists
 * and tables through helper functions (as espresso and compilers do), "tree" builds trees by
 * recursion. Prints a sum, so that nothing can be left out.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

/* --- numbers --- */

struct number {
	unsigned length;
	uint32_t digit[];
};

static NOINLINE struct number *number_new(unsigned length)
{
	struct number *number = malloc(sizeof(*number) + length * sizeof(uint32_t));

	if (!number)
		abort();
	number->length = length;
	memset(number->digit, 0, length * sizeof(uint32_t));
	return number;
}

static NOINLINE void number_free(struct number *number)
{
	free(number);
}

static NOINLINE struct number *number_from(uint32_t value)
{
	struct number *number = number_new(1);

	number->digit[0] = value;
	return number;
}

static NOINLINE struct number *number_trim(struct number *number)
{
	while (number->length > 1 && number->digit[number->length - 1] == 0)
		number->length--;
	return number;
}

static NOINLINE struct number *number_add(const struct number *a, const struct number *b)
{
	unsigned length = (a->length > b->length ? a->length : b->length) + 1;
	struct number *sum = number_new(length);
	uint64_t carry = 0;

	for (unsigned i = 0; i < length; i++) {
		carry += i < a->length ? a->digit[i] : 0;
		carry += i < b->length ? b->digit[i] : 0;
		sum->digit[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return number_trim(sum);
}

static NOINLINE struct number *number_multiply(const struct number *a, const struct number *b)
{
	struct number *product = number_new(a->length + b->length);

	for (unsigned i = 0; i < a->length; i++) {
		uint64_t carry = 0;

		for (unsigned j = 0; j < b->length; j++) {
			carry += (uint64_t)a->digit[i] * b->digit[j] + product->digit[i + j];
			product->digit[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		product->digit[i + b->length] = (uint32_t)carry;
	}
	return number_trim(product);
}

static NOINLINE struct number *number_remainder(const struct number *a, uint32_t divisor)
{
	uint64_t rest = 0;

	for (unsigned i = a->length; i-- > 0;)
		rest = (rest << 32 | a->digit[i]) % divisor;
	return number_from((uint32_t)rest);
}

/* x * x + c mod m, with a fresh number for each step of it. */
static NOINLINE struct number *number_step(struct number *x, uint32_t c, uint32_t m)
{
	struct number *square = number_multiply(x, x);
	struct number *addend = number_from(c);
	struct number *sum = number_add(square, addend);
	struct number *result = number_remainder(sum, m);

	number_free(square);
	number_free(addend);
	number_free(sum);
	number_free(x);
	return result;
}

static NOINLINE uint64_t factor(uint32_t m)
{
	struct number *slow = number_from(2), *fast = number_from(2);
	uint64_t sum = 0;

	for (unsigned i = 0; i < 400; i++) {
		slow = number_step(slow, 1, m);
		fast = number_step(number_step(fast, 1, m), 1, m);
		sum += slow->digit[0] ^ fast->digit[0];
	}
	number_free(slow);
	number_free(fast);
	return sum;
}

static uint64_t work_numbers(unsigned rounds)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds; i++)
		sum += factor(1000003 + 2 * i);
	return sum;
}

/* --- sets --- */

struct set {
	unsigned count, room;
	uint32_t *member;
	char *name;
	struct set *next;
};

static NOINLINE void *get(size_t bytes)
{
	void *block = malloc(bytes);

	if (!block)
		abort();
	return block;
}

static NOINLINE void *get_more(void *block, size_t bytes)
{
	block = realloc(block, bytes);
	if (!block)
		abort();
	return block;
}

static NOINLINE char *copy_name(const char *name)
{
	size_t bytes = strlen(name) + 1;

	return memcpy(get(bytes), name, bytes);
}

static NOINLINE struct set *set_new(const char *name)
{
	struct set *set = get(sizeof(*set));

	*set = (struct set){
		.room = 4, .member = get(4 * sizeof(uint32_t)), .name = copy_name(name)};
	return set;
}

static NOINLINE void set_add(struct set *set, uint32_t member)
{
	if (set->count == set->room) {
		set->room *= 2;
		set->member = get_more(set->member, set->room * sizeof(uint32_t));
	}
	set->member[set->count++] = member;
}

static NOINLINE void set_free(struct set *set)
{
	free(set->member);
	free(set->name);
	free(set);
}

static NOINLINE struct set *set_merge(const struct set *a, const struct set *b)
{
	struct set *merged = set_new(a->name);

	for (unsigned i = 0, j = 0; i < a->count || j < b->count;) {
		if (j == b->count || (i < a->count && a->member[i] <= b->member[j]))
			set_add(merged, a->member[i++]);
		else
			set_add(merged, b->member[j++]);
	}
	return merged;
}

static NOINLINE struct set *set_random(uint32_t *seed)
{
	char name[24];
	struct set *set;

	snprintf(name, sizeof(name), "set%u", *seed % 1000);
	set = set_new(name);
	for (unsigned i = 0, n = *seed >> 27; i < n; i++)
		set_add(set, *seed = *seed * 1664525u + 1013904223u);
	*seed = *seed * 1664525u + 1013904223u;
	return set;
}

/* Merges 2^depth sets. */
static NOINLINE struct set *set_reduce(unsigned depth, uint32_t *seed)
{
	struct set *a, *b, *merged;

	if (depth == 0)
		return set_random(seed);
	a = set_reduce(depth - 1, seed);
	b = set_reduce(depth - 1, seed);
	merged = set_merge(a, b);
	set_free(a);
	set_free(b);
	return merged;
}

static uint64_t work_sets(unsigned rounds)
{
	uint32_t seed = 1;
	uint64_t sum = 0;

	for (unsigned i = 0; i < rounds; i++) {
		struct set *set = set_reduce(4 + i % 3, &seed);

		sum += set->count;
		set_free(set);
	}
	return sum;
}

/* --- tree --- */

struct tree {
	struct tree *left, *right;
	uint64_t key;
};

static NOINLINE struct tree *tree_new(uint64_t key)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		abort();
	tree->key = key;
	return tree;
}

static NOINLINE struct tree *tree_insert(struct tree *tree, uint64_t key)
{
	if (!tree)
		return tree_new(key);
	if (key < tree->key)
		tree->left = tree_insert(tree->left, key);
	else
		tree->right = tree_insert(tree->right, key);
	return tree;
}

static NOINLINE uint64_t tree_free(struct tree *tree)
{
	uint64_t sum;

	if (!tree)
		return 0;
	sum = tree->key + tree_free(tree->left) + tree_free(tree->right);
	free(tree);
	return sum;
}

static uint64_t work_tree(unsigned rounds)
{
	uint64_t key = 88172645463325252u, sum = 0;

	for (unsigned i = 0; i < rounds; i++) {
		struct tree *tree = NULL;

		for (unsigned n = 0; n < 300; n++) {
			key ^= key << 13;
			key ^= key >> 7;
			key ^= key << 17;
			tree = tree_insert(tree, key);
		}
		sum += tree_free(tree);
	}
	return sum;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
	uint64_t sum;

	if (strcmp(kind, "numbers") == 0)
		sum = work_numbers(rounds);
	else if (strcmp(kind, "sets") == 0)
		sum = work_sets(rounds);
	else if (strcmp(kind, "tree") == 0)
		sum = work_tree(rounds);
	else
		return 2;
	printf("%s %llu\n", kind, (unsigned long long)sum);
	return 0;
}
