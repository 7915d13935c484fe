/* sync_queue.c: a bounded queue of pointers.
 *
 *  I1. Putters wait only while all slots are taken, getters only while none is:
 *      who takes an item out gives the place to the first putter, who puts one
 *      in while getters wait gives it to the first of them.
 *  I2. undone counts the items that were put and not reported done.
 * Thread: loop.
 */
#include "coro/sync_i.h"

void
yula_queue_init(yula_loop *loop, yula_queue *queue, void **slots,
                size_t capacity)
{
    yula__rule(capacity > 0, "a queue needs room for an item");
    *queue = (yula_queue){.loop = loop, .slots = slots, .capacity = capacity};
}

static void
queue_push(yula_queue *queue, void *item)
{
    size_t at = queue->first + queue->count;

    queue->slots[at < queue->capacity ? at : at - queue->capacity] = item;
    queue->count++;
    queue->undone++;
}

static void *
queue_pop(yula_queue *queue)
{
    void *item = queue->slots[queue->first];

    if (++queue->first == queue->capacity)
        queue->first = 0;
    queue->count--;
    return item;
}

int
yula_queue_try_put(yula_queue *queue, void *item)
{
    yula_waiter *getter = queue->getters.first;

    if (queue->closed)
        return -EPIPE;
    if (queue->count == queue->capacity)
        return -EAGAIN;
    if (getter == NULL) {
        queue_push(queue, item);
        return 0;
    }
    queue->undone++;
    *(void **)getter->data = item;
    yula__line_wake(getter, 0);
    return 0;
}

int
yula_queue_put(yula_queue *queue, void *item)
{
    int err = yula__await_check(queue->loop);

    if (err == 0)
        err = yula_queue_try_put(queue, item);
    if (err != -EAGAIN)
        return err;
    return yula__line_wait(queue->loop, &queue->putters, item, "queue put");
}

int
yula_queue_try_get(yula_queue *queue, void **out)
{
    yula_waiter *putter = queue->putters.first;

    if (queue->count == 0)
        return queue->closed ? YULA_EOF : -EAGAIN;
    *out = queue_pop(queue);
    if (putter != NULL) {
        queue_push(queue, putter->data);
        yula__line_wake(putter, 0);
    }
    return 0;
}

int
yula_queue_get(yula_queue *queue, void **out)
{
    int err = yula__await_check(queue->loop);

    if (err == 0)
        err = yula_queue_try_get(queue, out);
    if (err != -EAGAIN)
        return err;
    return yula__line_wait(queue->loop, &queue->getters, out, "queue get");
}

void
yula_queue_close(yula_queue *queue)
{
    queue->closed = true;
    yula__line_wake_all(&queue->putters, -EPIPE);
    yula__line_wake_all(&queue->getters, YULA_EOF); /* I1: it is empty */
}

void
yula_queue_done(yula_queue *queue)
{
    yula__rule(queue->undone > 0, "called more often than items were put in");
    if (--queue->undone == 0)
        yula__line_wake_all(&queue->joiners, 0);
}

int
yula_queue_join(yula_queue *queue)
{
    if (queue->undone == 0)
        return yula__await_check(queue->loop);
    return yula__line_wait(queue->loop, &queue->joiners, NULL, "queue join");
}
