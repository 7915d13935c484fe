/* list.h: a circular doubly linked list of works.
 *
 * Any node can leave in O(1), whichever list it is in, without knowing it: that
 * is what lets a callback cancel what waits behind it.
 *  I1. A node is in at most one list; next == NULL means in none.
 *  I2. The head is a node that is never run.
 */
#ifndef YULA__LIST_H
#define YULA__LIST_H

#include <yula/work.h>

typedef struct yula__list {
    yula_work head;
} yula__list;

static inline void
yula__list_init(yula__list *list)
{
    list->head.next = list->head.prev = &list->head;
}

static inline bool
yula__list_empty(const yula__list *list)
{
    return list->head.next == &list->head;
}

static inline bool
yula__work_queued(const yula_work *work)
{
    return work->next != NULL;
}

static inline void
yula__list_append(yula__list *list, yula_work *work)
{
    yula_work *last = list->head.prev;
    work->prev = last;
    work->next = &list->head;
    last->next = work;
    list->head.prev = work;
}

static inline void
yula__list_remove(yula_work *work)
{
    work->prev->next = work->next;
    work->next->prev = work->prev;
    work->next = NULL;
}

static inline yula_work *
yula__list_take_first(yula__list *list)
{
    yula_work *work = list->head.next;
    yula__list_remove(work);
    return work;
}

/* Move all of from to the front of to; from is empty afterwards. */
static inline void
yula__list_prepend_all(yula__list *to, yula__list *from)
{
    if (yula__list_empty(from))
        return;
    yula_work *first = from->head.next, *last = from->head.prev;
    yula_work *after = to->head.next;
    to->head.next = first;
    first->prev = &to->head;
    last->next = after;
    after->prev = last;
    yula__list_init(from);
}

#endif /* YULA__LIST_H */
