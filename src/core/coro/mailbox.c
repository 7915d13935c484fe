/* mailbox.c: messages between loops.
 *
 * A ring and two lines of waiters under one lock, held for a few instructions
 * and at most one wake-up, and never over a call-out.
 *  I1. Senders wait only while the ring is full, receivers only while it is
 *      empty; so one of the lines is empty.
 *  I2. A waiter, on its task's stack, is changed under the lock while it is in a
 *      line. Granted, it has left the line, and its work is on the way to its
 *      loop: until that has run the task cannot go on, cancelled or not.
 *  I3. What waits counts as a reason for its loop to go on: another thread will
 *      call back.
 * Thread: any; a waiter's work and its cancellation run on its own loop.
 */
#include <yula/mailbox.h>

#include <string.h>

#include "base/alloc.h"
#include "coro/await_i.h"

typedef struct mailbox_waiter {
    struct mailbox_waiter *next;
    yula_mailbox *mailbox;
    yula_task *task;
    yula_loop *loop;
    struct mailbox_line *line;
    yula_work work; /* brings the task back */
    void *message;  /* to send, or received */
    int status;
    bool granted;
} mailbox_waiter;

typedef struct mailbox_line {
    mailbox_waiter *first;
    mailbox_waiter **last; /* where the next one is appended */
} mailbox_line;

struct yula_mailbox {
    pthread_mutex_t lock;
    yula_allocator allocator;
    mailbox_line senders;
    mailbox_line receivers;
    size_t capacity;
    size_t first;
    size_t count;
    bool closed;
    void *ring[];
};

/* --- life ---------------------------------------------------------------- */

static void
line_init(mailbox_line *line)
{
    line->first = NULL;
    line->last = &line->first;
}

int
yula_mailbox_new(const yula_allocator *allocator, size_t capacity,
                 yula_mailbox **out)
{
    size_t len;

    if (capacity == 0)
        return -EINVAL;
    if (__builtin_mul_overflow(capacity, sizeof(void *), &len) ||
        __builtin_add_overflow(len, sizeof(yula_mailbox), &len))
        return -EOVERFLOW;
    if (allocator == NULL)
        allocator = &yula__malloc_allocator;
    yula_mailbox *mailbox = yula__allocator_alloc(allocator, len);
    if (mailbox == NULL)
        return -ENOMEM;
    memset(mailbox, 0, sizeof(*mailbox));
    yula__must(pthread_mutex_init(&mailbox->lock, NULL) == 0);
    mailbox->allocator = *allocator;
    mailbox->capacity = capacity;
    line_init(&mailbox->senders);
    line_init(&mailbox->receivers);
    *out = mailbox;
    return 0;
}

void
yula_mailbox_free(yula_mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    yula__rule(mailbox->senders.first == NULL &&
                   mailbox->receivers.first == NULL,
               "a task still waits on the mailbox: cancel and join it first");
    pthread_mutex_destroy(&mailbox->lock);
    yula_allocator allocator = mailbox->allocator;
    allocator.free(mailbox, allocator.arg);
}

/* --- who waits ----------------------------------------------------------- */

static void
line_append(mailbox_line *line, mailbox_waiter *waiter)
{
    waiter->next = NULL;
    *line->last = waiter;
    line->last = &waiter->next;
}

static void
line_remove(mailbox_line *line, mailbox_waiter *waiter)
{
    mailbox_waiter **link = &line->first;

    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
    if (line->last == &waiter->next)
        line->last = link;
}

/* Under the lock, which is held over the post: see mailbox_go_on. */
static void
line_grant_first(mailbox_line *line, int status)
{
    mailbox_waiter *waiter = line->first;

    line_remove(line, waiter);
    waiter->granted = true;
    waiter->status = status;
    yula_work_post(waiter->loop, &waiter->work);
}

/* Whoever posted this may be in yula_work_post still, and use our loop, which
 * could be gone by then if we just went on: wait until it has let go. */
static void
mailbox_go_on(yula_work *work, void *arg)
{
    mailbox_waiter *waiter = arg;

    pthread_mutex_lock(&waiter->mailbox->lock);
    pthread_mutex_unlock(&waiter->mailbox->lock);
    yula_loop_unref(waiter->loop);
    yula_task_resume(waiter->task, waiter->status);
}

/* --- the ring ------------------------------------------------------------ */

static void
mailbox_push(yula_mailbox *mailbox, void *message)
{
    size_t at = mailbox->first + mailbox->count;

    mailbox->ring[at < mailbox->capacity ? at : at - mailbox->capacity] =
        message;
    mailbox->count++;
}

static void *
mailbox_pop(yula_mailbox *mailbox)
{
    void *message = mailbox->ring[mailbox->first];

    if (++mailbox->first == mailbox->capacity)
        mailbox->first = 0;
    mailbox->count--;
    return message;
}

/* --- sending and receiving ----------------------------------------------- */

/* Both under the lock. */
static int
mailbox_send_now(yula_mailbox *mailbox, void *message)
{
    if (mailbox->closed)
        return -EPIPE;
    if (mailbox->receivers.first != NULL) {
        mailbox->receivers.first->message = message;
        line_grant_first(&mailbox->receivers, 0);
        return 0;
    }
    if (mailbox->count == mailbox->capacity)
        return -EAGAIN;
    mailbox_push(mailbox, message);
    return 0;
}

static int
mailbox_recv_now(yula_mailbox *mailbox, void **out)
{
    if (mailbox->count == 0)
        return mailbox->closed ? YULA_EOF : -EAGAIN;
    *out = mailbox_pop(mailbox);
    if (mailbox->senders.first != NULL) { /* the place is the first one's */
        mailbox_push(mailbox, mailbox->senders.first->message);
        line_grant_first(&mailbox->senders, 0);
    }
    return 0;
}

int
yula_mailbox_try_send(yula_mailbox *mailbox, void *message)
{
    pthread_mutex_lock(&mailbox->lock);
    int err = mailbox_send_now(mailbox, message);
    pthread_mutex_unlock(&mailbox->lock);
    return err;
}

int
yula_mailbox_try_recv(yula_mailbox *mailbox, void **out)
{
    pthread_mutex_lock(&mailbox->lock);
    int err = mailbox_recv_now(mailbox, out);
    pthread_mutex_unlock(&mailbox->lock);
    return err;
}

void
yula_mailbox_close(yula_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    while (mailbox->senders.first != NULL)
        line_grant_first(&mailbox->senders, -EPIPE);
    while (mailbox->receivers.first != NULL)
        line_grant_first(&mailbox->receivers, YULA_EOF);
    pthread_mutex_unlock(&mailbox->lock);
}

/* --- waiting ------------------------------------------------------------- */

static bool
mailbox_withdraw(yula_task *task, void *arg)
{
    mailbox_waiter *waiter = arg;
    yula_mailbox *mailbox = waiter->mailbox;

    pthread_mutex_lock(&mailbox->lock);
    bool waits = !waiter->granted; /* I2 */
    if (waits)
        line_remove(waiter->line, waiter);
    pthread_mutex_unlock(&mailbox->lock);
    if (waits)
        yula_loop_unref(waiter->loop);
    return waits;
}

static void
waiter_init(mailbox_waiter *waiter, yula_loop *loop, yula_mailbox *mailbox,
            mailbox_line *line)
{
    yula_task *task = yula_task_current(loop);

    *waiter = (mailbox_waiter){
        .mailbox = mailbox, .line = line, .task = task, .loop = loop};
    yula_work_init(&waiter->work, yula__await_lane(loop), mailbox_go_on,
                   waiter);
}

/* In line already; with the lock, which it lets go of. */
static int
waiter_wait(mailbox_waiter *waiter, const char *waits_for)
{
    yula_loop_ref(waiter->loop); /* I3 */
    pthread_mutex_unlock(&waiter->mailbox->lock);
    return yula_task_suspend(waiter->task, waits_for, mailbox_withdraw, waiter);
}

int
yula_mailbox_send(yula_loop *loop, yula_mailbox *mailbox, void *message)
{
    mailbox_waiter waiter;
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    waiter_init(&waiter, loop, mailbox, &mailbox->senders);
    waiter.message = message;
    pthread_mutex_lock(&mailbox->lock);
    err = mailbox_send_now(mailbox, message);
    if (err == -EAGAIN) {
        line_append(&mailbox->senders, &waiter);
        return waiter_wait(&waiter, "mailbox send");
    }
    pthread_mutex_unlock(&mailbox->lock);
    return err;
}

int
yula_mailbox_recv(yula_loop *loop, yula_mailbox *mailbox, void **out)
{
    mailbox_waiter waiter;
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    waiter_init(&waiter, loop, mailbox, &mailbox->receivers);
    pthread_mutex_lock(&mailbox->lock);
    err = mailbox_recv_now(mailbox, out);
    if (err == -EAGAIN) {
        line_append(&mailbox->receivers, &waiter);
        err = waiter_wait(&waiter, "mailbox receive");
        if (err == 0)
            *out = waiter.message;
        return err;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return err;
}
