/* channel.c: items from task to task, and select.
 *
 *  I1. Senders wait only while the ring is full (with no capacity: always full)
 *      and no receiver waits; receivers only while it is empty and no sender
 *      waits. So at most one of the two lines has somebody in it, a task's two
 *      cases in one select apart.
 *  I2. A waiter's data is where its item lies or shall lie; whoever serves it
 *      copies, takes it and the other cases of its select out of their lines, and
 *      only then resumes its task.
 *  I3. A case of a select that waits never meets another case of the same
 *      select: it is matched only when somebody else's send or receive comes.
 * Thread: loop.
 */
#include <yula/channel.h>

#include <string.h>

#include <yula/scope.h>

#include "coro/sync_i.h"
#include "loop/loop_i.h"

struct yula_channel {
    yula_loop *loop;
    yula_wait_list senders;
    yula_wait_list receivers;
    size_t item_size;
    size_t capacity;
    size_t first; /* slot of the oldest item */
    size_t count;
    unsigned turn; /* which case a select looks at first */
    bool closed;
    _Alignas(max_align_t) char ring[];
};

/* A select that waits, on its task's stack. */
typedef struct channel_group {
    yula_channel_case *cases;
    size_t count;
    size_t chosen; /* index of the case that came */
} channel_group;

int
yula_channel_new(yula_loop *loop, size_t item_size, size_t capacity,
                 yula_channel **out)
{
    size_t len;

    if (__builtin_mul_overflow(item_size, capacity, &len) ||
        __builtin_add_overflow(len, sizeof(yula_channel), &len))
        return -EOVERFLOW;
    yula_channel *channel = yula__alloc(loop, len);
    if (channel == NULL)
        return -ENOMEM;
    memset(channel, 0, sizeof(*channel));
    channel->loop = loop;
    channel->item_size = item_size;
    channel->capacity = capacity;
    *out = channel;
    return 0;
}

void
yula_channel_free(yula_channel *channel)
{
    if (channel == NULL)
        return;
    yula__rule(channel->senders.first == NULL &&
                   channel->receivers.first == NULL,
               "a task still waits on the channel: cancel and join it first");
    yula__free(channel->loop, channel);
}

size_t
yula_channel_count(const yula_channel *channel)
{
    return channel->count;
}

/* --- the ring ------------------------------------------------------------ */

static char *
channel_slot(yula_channel *channel, size_t at)
{
    if (at >= channel->capacity)
        at -= channel->capacity;
    return channel->ring + at * channel->item_size;
}

static void
channel_copy(const yula_channel *channel, void *to, const void *from)
{
    if (channel->item_size > 0)
        memcpy(to, from, channel->item_size);
}

static void
channel_push(yula_channel *channel, const void *item)
{
    channel_copy(channel,
                 channel_slot(channel, channel->first + channel->count), item);
    channel->count++;
}

static void
channel_pop(yula_channel *channel, void *item)
{
    channel_copy(channel, item, channel_slot(channel, channel->first));
    if (++channel->first == channel->capacity)
        channel->first = 0;
    channel->count--;
}

/* --- who waits ----------------------------------------------------------- */

static void
group_leave_lines(channel_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (group->cases[i].waiter.list != NULL)
            yula__line_remove(&group->cases[i].waiter);
    }
}

/* The copying is done: let it go on. */
static void
channel_serve(yula_waiter *waiter, int status)
{
    channel_group *group = waiter->group;

    if (group == NULL) {
        yula__line_wake(waiter, status);
        return;
    }
    yula_channel_case *served = yula__container_of(waiter, yula_channel_case,
                                                   waiter);
    served->status = status;
    group->chosen = (size_t)(served - group->cases);
    group_leave_lines(group);
    yula_task_resume(waiter->task, 0);
}

/* --- without waiting ----------------------------------------------------- */

int
yula_channel_try_send(yula_channel *channel, const void *item)
{
    yula_waiter *receiver = channel->receivers.first;

    if (channel->closed)
        return -EPIPE;
    if (receiver != NULL) {
        channel_copy(channel, receiver->data, item);
        channel_serve(receiver, 0);
        return 0;
    }
    if (channel->count == channel->capacity)
        return -EAGAIN;
    channel_push(channel, item);
    return 0;
}

int
yula_channel_try_recv(yula_channel *channel, void *item)
{
    yula_waiter *sender = channel->senders.first;

    if (channel->count > 0) {
        channel_pop(channel, item);
        if (sender != NULL) /* the place is the first sender's */
            channel_push(channel, sender->data);
    }
    else if (sender != NULL) {
        channel_copy(channel, item, sender->data);
    }
    else {
        return channel->closed ? YULA_EOF : -EAGAIN;
    }
    if (sender != NULL)
        channel_serve(sender, 0);
    return 0;
}

/* --- waiting ------------------------------------------------------------- */

int
yula_channel_send(yula_channel *channel, const void *item)
{
    int err = yula__await_check(channel->loop);

    if (err == 0)
        err = yula_channel_try_send(channel, item);
    if (err != -EAGAIN)
        return err;
    return yula__line_wait(channel->loop, &channel->senders, (void *)item,
                           "channel send");
}

int
yula_channel_recv(yula_channel *channel, void *item)
{
    int err = yula__await_check(channel->loop);

    if (err == 0)
        err = yula_channel_try_recv(channel, item);
    if (err != -EAGAIN)
        return err;
    return yula__line_wait(channel->loop, &channel->receivers, item,
                           "channel receive");
}

void
yula_channel_close(yula_channel *channel)
{
    channel->closed = true;
    while (channel->senders.first != NULL)
        channel_serve(channel->senders.first, -EPIPE);
    while (channel->receivers.first != NULL)
        channel_serve(channel->receivers.first, YULA_EOF);
}

/* --- select -------------------------------------------------------------- */

static int
case_try(yula_channel_case *at)
{
    if (at->channel == NULL)
        return -EAGAIN;
    return at->op == YULA_CHANNEL_SEND
               ? yula_channel_try_send(at->channel, at->item)
               : yula_channel_try_recv(at->channel, at->item);
}

/* Where to look first: every select on this first channel begins one further. */
static size_t
select_turn(yula_channel_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cases[i].channel != NULL)
            return cases[i].channel->turn++ % count;
    }
    return 0;
}

/* Returns the index of a case that could be done, or -EAGAIN. */
static int
select_try(yula_channel_case *cases, size_t count)
{
    size_t first = select_turn(cases, count);

    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) % count;
        int status = case_try(&cases[at]);
        if (status != -EAGAIN) {
            cases[at].status = status;
            return (int)at;
        }
    }
    return -EAGAIN;
}

static void
select_join_lines(channel_group *group, yula_task *task)
{
    for (size_t i = 0; i < group->count; i++) {
        yula_channel_case *at = &group->cases[i];
        at->waiter = (yula_waiter){
            .task = task, .data = at->item, .group = group};
        if (at->channel != NULL)
            yula__line_append(at->op == YULA_CHANNEL_SEND
                                  ? &at->channel->senders
                                  : &at->channel->receivers,
                              &at->waiter);
    }
}

static bool
select_withdraw(yula_task *task, void *arg)
{
    group_leave_lines(arg);
    return true;
}

static int
select_wait(yula_loop *loop, channel_group *group, int64_t deadline_ns)
{
    yula_task *task = yula_task_current(loop);
    yula_scope scope;
    int err = yula_deadline_enter(loop, &scope, deadline_ns);

    if (err < 0)
        return err;
    select_join_lines(group, task);
    err = yula_task_suspend(task, "select", select_withdraw, group);
    err = yula_deadline_leave(&scope, err);
    return err < 0 ? err : (int)group->chosen;
}

int
yula_channel_select(yula_loop *loop, yula_channel_case *cases, size_t count,
                    int64_t deadline_ns)
{
    channel_group group = {.cases = cases, .count = count};
    int got = yula__await_check(loop);

    if (got == 0)
        got = select_try(cases, count);
    if (got != -EAGAIN || deadline_ns == 0)
        return got;
    return select_wait(loop, &group, deadline_ns);
}
