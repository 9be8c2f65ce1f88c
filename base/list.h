/*
 * A doubly linked list whose links lie in the elements. Nothing here allocates.
 *
 *	for (struct kms_list *it = kms_list_first(&head); it; it = kms_list_next(&head, it)) {
 *		struct thing *thing = KMS_CONTAINER_OF(it, struct thing, link);
 *	}
 *
 * To remove the element while walking, take its successor first.
 *
 * Invariant: node->next->prev == node && node->prev->next == node, for the head too; a node that is
 * in no list points at itself.
 */
#ifndef KMS_BASE_LIST_H
#define KMS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/** A list head, or the link in an element. Must be initialised before use, both of them. */
struct kms_list {
	struct kms_list *next;
	struct kms_list *prev;
};

/** The struct of the given type whose member `member` is at ptr. ptr is evaluated once. */
#define KMS_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/** Makes an empty list, or a link that is in no list. */
static inline void kms_list_init(struct kms_list *node)
{
	node->next = node;
	node->prev = node;
}

/** For a head: has it no elements? For a link: is it in no list? */
static inline bool kms_list_is_empty(const struct kms_list *node)
{
	return node->next == node;
}

/** Puts a link that is in no list right behind another one. */
static inline void kms_list_insert_after(struct kms_list *at, struct kms_list *node)
{
	node->prev = at;
	node->next = at->next;
	at->next->prev = node;
	at->next = node;
}

/** Puts an element first. */
static inline void kms_list_push_front(struct kms_list *head, struct kms_list *node)
{
	kms_list_insert_after(head, node);
}

/** Puts an element last. */
static inline void kms_list_push_back(struct kms_list *head, struct kms_list *node)
{
	kms_list_insert_after(head->prev, node);
}

/** Takes an element out of its list, if it is in one. */
static inline void kms_list_remove(struct kms_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	kms_list_init(node);
}

/** The first element's link, NULL if there is none. */
static inline struct kms_list *kms_list_first(const struct kms_list *head)
{
	return head->next == head ? NULL : head->next;
}

/** The last element's link, NULL if there is none. */
static inline struct kms_list *kms_list_last(const struct kms_list *head)
{
	return head->prev == head ? NULL : head->prev;
}

/** The link after node, NULL at the end. */
static inline struct kms_list *kms_list_next(const struct kms_list *head,
					     const struct kms_list *node)
{
	return node->next == head ? NULL : node->next;
}

/** Takes the first element out; NULL if there is none. */
static inline struct kms_list *kms_list_pop_front(struct kms_list *head)
{
	struct kms_list *node = kms_list_first(head);

	if (node)
		kms_list_remove(node);
	return node;
}

/** Moves all elements of `from`, in order, behind the last one of `to`. `from` is then empty. */
static inline void kms_list_append_all(struct kms_list *to, struct kms_list *from)
{
	if (kms_list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	kms_list_init(from);
}

#endif
