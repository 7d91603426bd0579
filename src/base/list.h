/* list.h -- embedded circular doubly linked list; a node is in one list or points at itself. */
#pragma once

#include "base/base.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name) {&(name), &(name)}
#define list_entry(node, type, member) container_of(node, type, member)
/* Safe against removal of `node` itself inside the body. */
#define list_for_each(node, head)                                                                  \
    for (struct list *node = (head)->next, *node##_next_ = node->next; node != (head);             \
         node = node##_next_, node##_next_ = node->next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_add_tail(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_add_head(struct list *head, struct list *node)
{
    list_add_tail(head->next, node);
}
static inline void list_del(struct list *node) /* a node in no list: no-op */
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
static inline struct list *list_pop(struct list *head) /* first, or NULL */
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_del(node);
    return node;
}
