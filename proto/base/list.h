/* An intrusive doubly linked ring; the head is a node of its own. */
#ifndef PROTO_BASE_LIST_H
#define PROTO_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct wf_node {
    struct wf_node *next, *prev; /* borrowed; both NULL or self while in no list */
} wf_node;

#define wf_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void wf_list_init(wf_node *head)
{
    head->next = head->prev = head;
}
static inline bool wf_list_is_empty(const wf_node *head)
{
    return head->next == head;
}
static inline bool wf_node_is_linked(const wf_node *n)
{
    return n->next != NULL && n->next != n;
}
static inline void wf_list_push(wf_node *head, wf_node *n) /* at the tail */
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void wf_list_remove(wf_node *n) /* also if it is in no list */
{
    if (n->next != NULL) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
    }
    n->next = n->prev = n;
}

#endif
