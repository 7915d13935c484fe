/* test_mailbox.c: messages between loops. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "actors.h"
#include "support.h"
#include "test.h"

#define MESSAGE(n) ((void *)(uintptr_t)(n))
#define NUMBER(message) ((int)(uintptr_t)(message))

static yula_mailbox *
mailbox_of(size_t capacity)
{
    yula_mailbox *mailbox;

    CHECK_EQ(yula_mailbox_new(&test_allocator, capacity, &mailbox), 0);
    return mailbox;
}

static int
send_three(actor *self, void *arg)
{
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        err = yula_mailbox_send(self->loop, arg, MESSAGE(self->number + i));
        actor_note(self, err == 0 ? "sent" : "cannot send");
    }
    return err;
}

/* Adds what comes to self->number. */
static int
receive_all(actor *self, void *arg)
{
    void *message;
    int err;

    while ((err = yula_mailbox_recv(self->loop, arg, &message)) == 0)
        self->number += NUMBER(message);
    actor_note(self, err == YULA_EOF ? "has all" : "is interrupted");
    return err == YULA_EOF ? 0 : err;
}

/* --- on one loop --------------------------------------------------------- */

TEST(a_mailbox_must_have_room)
{
    yula_mailbox *mailbox = NULL;

    CHECK_EQ(yula_mailbox_new(NULL, 0, &mailbox), -EINVAL);
    CHECK_EQ(yula_mailbox_new(NULL, SIZE_MAX / 4, &mailbox), -EOVERFLOW);
    test_fail_alloc(1);
    CHECK_EQ(yula_mailbox_new(&test_allocator, 1, &mailbox), -ENOMEM);
    CHECK(mailbox == NULL);
    CHECK_EQ(yula_mailbox_new(NULL, 1, &mailbox), 0);
    yula_mailbox_free(mailbox);
    yula_mailbox_free(NULL);
}

TEST(a_full_mailbox_makes_senders_wait_and_keeps_the_order)
{
    yula_loop *loop = test_loop();
    yula_mailbox *mailbox = mailbox_of(2);
    actor ann, bob;
    void *message;

    actor_start(&ann, loop, "ann", send_three, mailbox);
    actor_start(&bob, loop, "bob", send_three, mailbox);
    ann.number = 1;
    bob.number = 11;
    settle(loop);
    CHECK_STR(actor_log(), "ann sent. ann sent. ");
    static const int expected[] = {1, 2, 3, 11, 12, 13};
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(yula_mailbox_try_recv(mailbox, &message), 0);
        CHECK_EQ(NUMBER(message), expected[i]);
        settle(loop);
    }
    CHECK_EQ(yula_mailbox_try_recv(mailbox, &message), -EAGAIN);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    (void)actor_log();
    yula_mailbox_free(mailbox);
    yula_loop_free(loop);
}

TEST(closing_a_mailbox_ends_all_that_wait)
{
    yula_loop *loop = test_loop();
    yula_mailbox *mailbox = mailbox_of(2);
    actor ann, bob, cat;

    actor_start(&ann, loop, "ann", send_three, mailbox);
    ann.number = 1;
    settle(loop);
    yula_mailbox_close(mailbox);
    yula_mailbox_close(mailbox);
    CHECK_EQ(actor_end(&ann), -EPIPE);
    CHECK_EQ(yula_mailbox_try_send(mailbox, NULL), -EPIPE);
    actor_start(&bob, loop, "bob", receive_all, mailbox);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(bob.number, 1 + 2);
    yula_mailbox_free(mailbox);

    mailbox = mailbox_of(1);
    actor_start(&bob, loop, "bob", receive_all, mailbox);
    actor_start(&cat, loop, "cat", receive_all, mailbox);
    settle(loop);
    yula_mailbox_close(mailbox);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(actor_end(&cat), 0);
    (void)actor_log();
    yula_mailbox_free(mailbox);
    yula_loop_free(loop);
}

TEST(a_message_handed_to_a_receiver_that_is_then_interrupted_is_not_lost)
{
    yula_loop *loop = test_loop();
    yula_mailbox *mailbox = mailbox_of(1);
    actor ann;
    void *message;

    actor_start(&ann, loop, "ann", receive_all, mailbox);
    settle(loop);
    CHECK_EQ(yula_mailbox_try_send(mailbox, MESSAGE(5)), 0);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(ann.number, 5);
    CHECK_EQ(yula_mailbox_try_send(mailbox, MESSAGE(6)), 0);
    CHECK_EQ(yula_mailbox_try_recv(mailbox, &message), 0);
    (void)actor_log();
    yula_mailbox_free(mailbox);
    yula_loop_free(loop);
}

static void
scene_of_a_mailbox(yula_loop *loop)
{
    yula_mailbox *mailbox = mailbox_of(1);
    actor senders[2], receiver;
    int sum = 0, left = 0;
    void *message;

    for (int i = 0; i < 2; i++) {
        actor_start(&senders[i], loop, "sender", send_three, mailbox);
        senders[i].number = 1; /* 1, 2, 3 */
    }
    actor_start(&receiver, loop, "receiver", receive_all, mailbox);
    settle(loop);
    yula_mailbox_close(mailbox);
    for (int i = 0; i < 2; i++)
        (void)actor_end(&senders[i]);
    (void)actor_end(&receiver);
    while (yula_mailbox_try_recv(mailbox, &message) == 0)
        left += NUMBER(message);
    /* Each sender sent 1 .. n. */
    const char *text = actor_log();
    for (int sent = 0; (text = strstr(text, "r sent")) != NULL; text++)
        sum += ++sent;
    CHECK(receiver.number + left > 0);
    CHECK(receiver.number + left <= 12);
    CHECK(sum == 0 || receiver.number + left <= sum);
    yula_mailbox_free(mailbox);
}

TEST(a_mailbox_survives_an_interruption_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(scene_of_a_mailbox) >= 4);
}

/* --- between threads ----------------------------------------------------- */

#define LOOPS 3
#define PER_SENDER 2000

typedef struct ring {
    yula_mailbox *mailbox;
    atomic_long sent, received;
    atomic_int failures; /* CHECK is for the test's own thread */
    atomic_int senders;  /* that still send */
} ring;

static int
ring_send(yula_task *task, void *arg)
{
    ring *self = arg;
    yula_loop *loop = yula_task_loop(task);

    for (long i = 1; i <= PER_SENDER; i++) {
        if (yula_mailbox_send(loop, self->mailbox, MESSAGE(i)) != 0)
            atomic_fetch_add(&self->failures, 1);
        else
            atomic_fetch_add(&self->sent, i);
    }
    if (atomic_fetch_sub(&self->senders, 1) == 1)
        yula_mailbox_close(self->mailbox);
    return 0;
}

static int
ring_receive(yula_task *task, void *arg)
{
    ring *self = arg;
    yula_loop *loop = yula_task_loop(task);
    void *message;
    int err;

    while ((err = yula_mailbox_recv(loop, self->mailbox, &message)) == 0)
        atomic_fetch_add(&self->received, NUMBER(message));
    if (err != YULA_EOF)
        atomic_fetch_add(&self->failures, 1);
    return 0;
}

/* A sender and two receivers on each loop. */
static void *
ring_thread(void *arg)
{
    ring *self = arg;
    yula_loop *loop;
    int err = yula_loop_new(NULL, &loop);

    if (err == 0) {
        err = yula_task_spawn(loop, NULL, ring_send, self, NULL);
        for (int i = 0; i < 2 && err == 0; i++)
            err = yula_task_spawn(loop, NULL, ring_receive, self, NULL);
        if (err == 0)
            err = yula_loop_run(loop);
        yula_loop_free(loop);
    }
    if (err != 0)
        atomic_fetch_add(&self->failures, 1);
    return NULL;
}

TEST(every_message_of_many_loops_arrives_at_one_of_them)
{
    static const size_t capacities[] = {1, 16};

    for (int round = 0; round < 2; round++) {
        ring self = {.mailbox = mailbox_of(capacities[round]),
                     .senders = LOOPS};
        pthread_t threads[LOOPS];
        for (int i = 0; i < LOOPS; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, ring_thread, &self), 0);
        for (int i = 0; i < LOOPS; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(self.failures, 0);
        CHECK_EQ(self.sent, (long)LOOPS * PER_SENDER * (PER_SENDER + 1) / 2);
        CHECK_EQ(self.received, self.sent);
        yula_mailbox_free(self.mailbox);
    }
}

/* A thread without a loop tries until there is room. */
static void *
feed(void *arg)
{
    ring *self = arg;

    for (long i = 1; i <= PER_SENDER; i++) {
        while (yula_mailbox_try_send(self->mailbox, MESSAGE(i)) == -EAGAIN)
            sched_yield();
        atomic_fetch_add(&self->sent, i);
    }
    yula_mailbox_close(self->mailbox);
    return NULL;
}

/* Interrupted again and again: each wait ends with a message or without one. */
static int
receive_interrupted(actor *self, void *arg)
{
    ring *from = arg;

    for (;;) {
        yula_scope scope;
        void *message;
        int err = yula_deadline_enter(self->loop, &scope,
                                      yula_loop_now(self->loop) + 20000);
        CHECK_EQ(err, 0);
        err = yula_mailbox_recv(self->loop, from->mailbox, &message);
        if (err == 0)
            atomic_fetch_add(&from->received, NUMBER(message));
        err = yula_deadline_leave(&scope, err);
        if (err == YULA_EOF)
            return 0;
        CHECK(err == 0 || err == -ETIMEDOUT);
    }
}

TEST(no_message_of_another_thread_is_lost_by_an_interruption)
{
    yula_loop *loop = test_loop();
    ring self = {.mailbox = mailbox_of(4)};
    pthread_t thread;
    actor ann, bob;

    actor_start(&ann, loop, "ann", receive_interrupted, &self);
    actor_start(&bob, loop, "bob", receive_interrupted, &self);
    CHECK_EQ(pthread_create(&thread, NULL, feed, &self), 0);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(self.received, self.sent);
    yula_mailbox_free(self.mailbox);
    yula_loop_free(loop);
}

/* Nothing but a mailbox keeps the loop, yet it does not give up. */
static int
receive_one(yula_task *task, void *arg)
{
    void *message;
    int err = yula_mailbox_recv(yula_task_loop(task), arg, &message);

    return err < 0 ? err : NUMBER(message);
}

static void *
send_one(void *arg)
{
    (void)yula_mailbox_try_send(arg, MESSAGE(42));
    return NULL;
}

TEST(a_loop_runs_on_while_a_task_waits_for_another_thread)
{
    yula_loop *loop = test_loop();
    yula_mailbox *mailbox = mailbox_of(1);
    pthread_t thread;
    int result = 0;

    CHECK_EQ(pthread_create(&thread, NULL, send_one, mailbox), 0);
    CHECK_EQ(yula_task_run(loop, NULL, receive_one, mailbox, &result), 0);
    CHECK_EQ(result, 42);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    yula_mailbox_free(mailbox);
    yula_loop_free(loop);
}
