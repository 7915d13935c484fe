/* test_torture.c: many tasks do things by chance with everything that tasks can
 * wait for, while another one interrupts them, also by chance.
 *
 * What must hold whatever happens: a mutex has one owner, a semaphore no more
 * than it has to give, what was sent without an error was received once or is
 * still there, and at the end there is nothing left. YULA_TORTURE=seed:count runs
 * other rounds than the ones below.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "test.h"

enum {
    TASKS = 10,
    STEPS = 40,
    PLACES = 2, /* of the semaphore */
    ROUNDS = 200
};

typedef struct world {
    yula_loop *loop;
    uint64_t random;

    yula_mutex mutex;
    yula_condition condition;
    yula_semaphore semaphore;
    yula_event event;
    int in_mutex, in_semaphore;

    yula_queue queue;
    void *slots[3];
    yula_channel *direct, *roomy; /* of long */
    yula_mailbox *mailbox;
    yula_conn *ends[2];
    long sent, received; /* sums over all four ways */
    long written, read;  /* bytes, from end 0 to end 1 */
    bool reading;        /* one task at a time may */

    yula_task *tasks[TASKS];
    int playing;
} world;

static unsigned
chance(world *self, unsigned below)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (unsigned)((self->random >> 20) % below);
}

/* An interruption, and nothing else, may have come in between. */
static bool
worked(int err)
{
    CHECK(err == 0 || err == YULA_ECANCELED);
    return err == 0;
}

/* --- what a task may do -------------------------------------------------- */

static void
use_mutex(world *self)
{
    if (!worked(yula_mutex_lock(&self->mutex)))
        return;
    CHECK_EQ(++self->in_mutex, 1);
    (void)worked(yula_task_yield(self->loop));
    CHECK_EQ(self->in_mutex--, 1);
    if (chance(self, 2) == 0) {
        int err = yula_condition_wait(&self->condition, &self->mutex);
        (void)worked(err); /* and have it again, whatever came */
        CHECK_EQ(++self->in_mutex, 1);
        (void)worked(yula_task_yield(self->loop));
        CHECK_EQ(self->in_mutex--, 1);
    }
    CHECK_EQ(yula_mutex_unlock(&self->mutex), 0);
}

static void
use_semaphore(world *self)
{
    if (!worked(yula_semaphore_acquire(&self->semaphore)))
        return;
    CHECK(++self->in_semaphore <= PLACES);
    (void)worked(yula_task_yield(self->loop));
    self->in_semaphore--;
    yula_semaphore_release(&self->semaphore);
}

static void
use_event(world *self)
{
    switch (chance(self, 3)) {
    case 0:
        yula_event_set(&self->event);
        break;
    case 1:
        yula_event_clear(&self->event);
        break;
    default:
        (void)worked(yula_event_wait(&self->event));
    }
}

static void
use_queue(world *self, long item)
{
    void *got;

    if (chance(self, 2) == 0) {
        if (worked(yula_queue_put(&self->queue, (void *)item)))
            self->sent += item;
    }
    else if (worked(yula_queue_get(&self->queue, &got))) {
        self->received += (long)got;
        yula_queue_done(&self->queue);
    }
}

static void
use_mailbox(world *self, long item)
{
    void *got;

    if (chance(self, 2) == 0) {
        if (worked(yula_mailbox_send(self->loop, self->mailbox, (void *)item)))
            self->sent += item;
    }
    else if (worked(yula_mailbox_recv(self->loop, self->mailbox, &got))) {
        self->received += (long)got;
    }
}

static void
use_channel(world *self, yula_channel *channel, long item)
{
    long got = 0;

    if (chance(self, 2) == 0) {
        if (worked(yula_channel_send(channel, &item)))
            self->sent += item;
    }
    else if (worked(yula_channel_recv(channel, &got))) {
        self->received += got;
    }
}

/* Any mix of sends and receives on both. */
static void
use_select(world *self, long item)
{
    yula_channel_case cases[3];
    long got[3] = {0};
    int64_t deadline_ns = chance(self, 4) == 0 ? 0 : YULA_NEVER;

    if (chance(self, 4) == 0)
        deadline_ns = yula_loop_now(self->loop) + chance(self, 50000);
    for (int i = 0; i < 3; i++) {
        bool send = chance(self, 2) == 0;
        cases[i] = (yula_channel_case){
            .channel = chance(self, 2) == 0 ? self->direct : self->roomy,
            .op = send ? YULA_CHANNEL_SEND : YULA_CHANNEL_RECV,
            .item = send ? &item : &got[i]};
    }
    int which = yula_channel_select(self->loop, cases, 3, deadline_ns);
    if (which < 0) {
        CHECK(which == YULA_ECANCELED || which == -ETIMEDOUT ||
              which == -EAGAIN);
        return;
    }
    CHECK_EQ(cases[which].status, 0);
    if (cases[which].op == YULA_CHANNEL_SEND)
        self->sent += item;
    else
        self->received += got[which];
}

static void
use_connection(world *self)
{
    char bytes[3000] = {0};
    size_t len = 1 + chance(self, sizeof(bytes));

    if (chance(self, 2) == 0 || self->reading) {
        if (worked(yula_conn_write(self->ends[0], bytes, len)))
            self->written += (long)len;
        return;
    }
    self->reading = true;
    if (chance(self, 2) == 0) {
        size_t got = 0;
        (void)worked(yula_conn_read_exactly(self->ends[1], bytes, len, &got));
        self->read += (long)got;
    }
    else {
        ssize_t got = yula_conn_read(self->ends[1], bytes, len);
        CHECK(got > 0 || got == YULA_ECANCELED);
        self->read += got > 0 ? got : 0;
    }
    self->reading = false;
}

static void
do_something(world *self, long item)
{
    switch (chance(self, 10)) {
    case 0:
        use_mutex(self);
        break;
    case 1:
        (void)yula_condition_notify(&self->condition, 1 + chance(self, 2));
        break;
    case 2:
        use_semaphore(self);
        break;
    case 3:
        use_event(self);
        break;
    case 4:
        use_queue(self, item);
        break;
    case 5:
        use_mailbox(self, item);
        break;
    case 6:
        use_channel(self, chance(self, 2) ? self->direct : self->roomy, item);
        break;
    case 7:
        use_connection(self);
        break;
    case 8:
        (void)worked(yula_task_sleep(self->loop, chance(self, 30000)));
        break;
    default:
        use_select(self, item);
    }
}

static int
play(yula_task *task, void *arg)
{
    world *self = arg;

    for (long step = 1; step <= STEPS; step++) {
        yula_scope scope;
        bool hurried = chance(self, 3) == 0;
        if (hurried)
            CHECK_EQ(yula_deadline_enter(self->loop, &scope,
                                         yula_loop_now(self->loop) +
                                             chance(self, 60000)),
                     0);
        do_something(self, step);
        if (hurried)
            (void)yula_deadline_leave(&scope, 0);
    }
    self->playing--;
    return 0;
}

/* Interrupts somebody now and then; whoever waits for ever is freed that way. */
static int
interrupt(yula_task *task, void *arg)
{
    world *self = arg;

    while (self->playing > 0) {
        yula_task_cancel(self->tasks[chance(self, TASKS)]);
        CHECK_EQ(yula_task_sleep(self->loop, chance(self, 20000)), 0);
    }
    return 0;
}

/* --- a round ------------------------------------------------------------- */

static void
world_make(world *self, uint64_t seed)
{
    int fds[2];

    memset(self, 0, sizeof(*self));
    self->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    self->loop = test_loop();
    yula_mutex_init(self->loop, &self->mutex);
    yula_condition_init(&self->condition);
    yula_semaphore_init(self->loop, &self->semaphore, PLACES);
    yula_event_init(self->loop, &self->event);
    yula_queue_init(self->loop, &self->queue, self->slots, 3);
    CHECK_EQ(yula_channel_new(self->loop, sizeof(long), 0, &self->direct), 0);
    CHECK_EQ(yula_channel_new(self->loop, sizeof(long), 2, &self->roomy), 0);
    CHECK_EQ(yula_mailbox_new(&test_allocator, 2, &self->mailbox), 0);
    if (seed % 2 == 0)
        test_tcp_pair(fds);
    else
        test_unix_pair(fds);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(yula_conn_new(self->loop, fds[i], &self->ends[i]), 0);
}

/* What nobody received. */
static int
collect(yula_task *task, void *arg)
{
    world *self = arg;
    char bytes[4096];
    void *item;
    long number;
    ssize_t len;

    while (yula_queue_try_get(&self->queue, &item) == 0)
        self->received += (long)item;
    while (yula_mailbox_try_recv(self->mailbox, &item) == 0)
        self->received += (long)item;
    while (yula_channel_try_recv(self->roomy, &number) == 0)
        self->received += number;
    CHECK_EQ(yula_channel_try_recv(self->direct, &number), -EAGAIN);
    CHECK_EQ(yula_conn_shutdown(self->ends[0]), 0);
    while ((len = yula_conn_read(self->ends[1], bytes, sizeof(bytes))) > 0)
        self->read += len;
    CHECK_EQ(len, YULA_EOF);
    return 0;
}

static void
world_end(world *self)
{
    CHECK_EQ(self->sent, self->received);
    CHECK_EQ(self->written, self->read);
    CHECK(self->mutex.owner == NULL);
    CHECK(self->mutex.waiting.first == NULL);
    CHECK(self->condition.waiting.first == NULL);
    CHECK_EQ(self->semaphore.free, PLACES);
    CHECK(self->event.waiting.first == NULL);
    CHECK(self->queue.getters.first == NULL);
    CHECK(self->queue.putters.first == NULL);
    yula_channel_free(self->direct);
    yula_channel_free(self->roomy);
    yula_mailbox_free(self->mailbox);
    yula_conn_close(self->ends[0]);
    yula_conn_close(self->ends[1]);
    CHECK_EQ(yula_task_count(self->loop), 0);
    test_loop_check(self->loop);
    yula_loop_free(self->loop);
}

static void
round_of_chance(uint64_t seed)
{
    static world self;

    world_make(&self, seed);
    for (int i = 0; i < TASKS; i++) {
        self.playing++;
        CHECK_EQ(yula_task_spawn(self.loop, NULL, play, &self, &self.tasks[i]),
                 0);
    }
    CHECK_EQ(yula_task_run(self.loop, NULL, interrupt, &self, NULL), 0);
    for (int i = 0; i < TASKS; i++)
        yula_task_unref(self.tasks[i]);
    CHECK_EQ(yula_task_run(self.loop, NULL, collect, &self, NULL), 0);
    world_end(&self);
}

TEST(nothing_is_lost_and_nobody_is_stuck_whoever_is_interrupted)
{
    const char *wish = getenv("YULA_TORTURE");
    unsigned long first = 1, count = ROUNDS;

    if (wish != NULL)
        CHECK_EQ(sscanf(wish, "%lu:%lu", &first, &count), 2);
    for (unsigned long seed = first; seed < first + count; seed++) {
        if (wish != NULL && (seed - first) % 100 == 0)
            printf("seed %lu\n", seed);
        round_of_chance(seed);
    }
}
