/* test_await_torture.c: every call that a task can wait in, hurt in every way at
 * every wait in turn.
 *
 * A scene is a task, the victim, that waits with some calls; another one, the
 * shadow, makes what it waits for come, and hurts it: cancels it while it waits,
 * cancels it when what it waits for was just granted, lets a deadline pass, lets
 * the n-th allocation or system call fail. Whatever happens, nothing may be left
 * over, and an interruption is told to the victim exactly once.
 *
 * The last test reads the headers: whatever waits has a scene.
 */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coro/task_i.h"
#include "support.h"
#include "test.h"

#define MS INT64_C(1000000)

typedef struct scene scene;

/* What a scene may use. */
typedef struct stage {
    const scene *of;
    yula_loop *loop;
    yula_task *victim, *shadow;
    yula_scope deadline; /* around the victim's part */
    long waits;          /* of the victim, so far */
    int result;
    int later; /* what the victim's next await said */

    int pokes;
    bool done;
    int fds[2]; /* closed at the end, as is: */
    int listening;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char port[8];
    yula_event event;
    yula_mutex mutex;
    yula_condition changed;
    yula_semaphore semaphore;
    yula_queue queue;
    void *slots[1];
    yula_channel *channel, *other;
    yula_mailbox *mailbox;
    yula_signal_set signals;
} stage;

struct scene {
    const char *calls; /* that the victim waits with */
    int (*play)(stage *self);
    void (*set)(stage *self); /* NULL: nothing; on the shadow's stack, as is: */
    void (*poke)(stage *self); /* NULL: it comes by itself */
    void (*clear)(stage *self);
    bool often;          /* poke not once a wait, but always */
    bool ends_cancelled; /* by itself */
    struct scene *next;
};

/* --- hurting ------------------------------------------------------------- */

typedef enum how {
    UNHURT,
    CANCELED,      /* while it waits */
    CANCELED_FROM, /* and again in every later wait, of its clean-up */
    GRANTED,       /* when it will go on */
    TIMED_OUT,
    NO_MEMORY,
    NO_CALL,      /* the n-th fails */
    NO_MORE_CALLS /* and all that follow */
} how;

static const char *const how_names[] = {"unhurt",
                                        "cancelled in wait",
                                        "cancelled from wait",
                                        "cancelled after wait",
                                        "deadline in wait",
                                        "no memory at allocation",
                                        "failing call",
                                        "failing calls from"};

typedef struct hurt {
    how how;
    long n;
    const char *call;
    int error;
    bool passing; /* such a failure does not last */
    bool done;
} hurt;

static stage *staged;
static hurt hurting;

static void
say_where(void)
{
    printf("  scene of %s: %s %ld (%s)\n", staged->of->calls,
           how_names[hurting.how], hurting.n,
           hurting.call != NULL ? hurting.call : "");
}

#define OUGHT(expr)                                                            \
    do {                                                                       \
        if (!(expr)) {                                                         \
            say_where();                                                       \
            CHECK(expr);                                                       \
        }                                                                      \
    } while (0)

static void
count_wait(yula_task *task)
{
    if (task == staged->victim && task->state == YULA_TASK_WAITING)
        staged->waits++;
}

static void
look_at_victim(stage *self)
{
    bool due = self->waits == hurting.n && !hurting.done;

    switch (hurting.how) {
    case CANCELED:
    case CANCELED_FROM:
        if (self->victim->state != YULA_TASK_WAITING || !due)
            return;
        yula_task_cancel(self->victim);
        hurting.n += hurting.how == CANCELED_FROM;
        break;
    case GRANTED:
        if (self->victim->state != YULA_TASK_READY || !due)
            return;
        yula_task_cancel(self->victim);
        break;
    case TIMED_OUT:
        if (self->victim->state != YULA_TASK_WAITING || !due)
            return;
        OUGHT(yula_deadline_move(&self->deadline, 1) == 0);
        break;
    default:
        return;
    }
    hurting.done = hurting.how != CANCELED_FROM;
}

static void
arm_failure(void)
{
    if (hurting.how == NO_MEMORY)
        test_fail_alloc(hurting.n);
    else if (hurting.how == NO_CALL)
        test_fail_sys_once(hurting.call, hurting.n, hurting.error);
    else if (hurting.how == NO_MORE_CALLS)
        test_fail_sys_named(hurting.call, hurting.n, hurting.error);
}

/* --- the two tasks ------------------------------------------------------- */

static int
victim_main(yula_task *task, void *arg)
{
    stage *self = arg;

    OUGHT(yula_deadline_enter(self->loop, &self->deadline, YULA_NEVER) == 0);
    self->result = yula_deadline_leave(&self->deadline, self->of->play(self));
    self->later = yula_task_check(self->loop);
    return 0;
}

/* Never leaves the queue of ready tasks: so it goes on between whatever resumes
 * the victim and the victim itself. Time passes with its turns. */
static int
shadow_main(yula_task *task, void *arg)
{
    stage *self = arg;
    yula_task_options options = {.size = sizeof(options), .name = "victim"};
    long poked = 0, idle = 0;

    self->shadow = task;
    if (self->of->set != NULL)
        self->of->set(self);
    OUGHT(yula_task_spawn(self->loop, &options, victim_main, self,
                          &self->victim) == 0);
    arm_failure();
    while (!yula_task_ended(self->victim)) {
        look_at_victim(self);
        if (self->of->poke != NULL && idle >= 2 &&
            self->victim->state == YULA_TASK_WAITING &&
            (self->of->often || self->waits > poked)) {
            poked = self->waits;
            self->of->poke(self);
            look_at_victim(self);
        }
        long waits = self->waits;
        test_now_ns += 10 * MS;
        OUGHT(yula_task_yield(self->loop) == 0);
        idle = waits == self->waits ? idle + 1 : 0;
    }
    yula_task_unref(self->victim);
    return 0;
}

static void
close_all(stage *self)
{
    for (int i = 0; i < 2; i++) {
        if (self->fds[i] >= 0)
            close(self->fds[i]);
    }
    if (self->listening >= 0)
        close(self->listening);
}

/* Returns whether there was an n-th thing to hurt. */
static bool
play_once(const scene *of, hurt with)
{
    stage self = {.of = of, .fds = {-1, -1}, .listening = -1};
    long memory = test_memory_live();
    int fds = test_descriptors();
    yula_stack_stats stacks;

    staged = &self;
    hurting = with;
    self.loop = test_loop_by_hand();
    yula__task_switch_hook = count_wait;
    OUGHT(yula_task_run(self.loop, NULL, shadow_main, &self, NULL) == 0);
    yula__task_switch_hook = NULL;
    bool failed = test_alloc_failed() || test_sys_failed();
    test_faults_clear();
    close_all(&self);
    if (of->clear != NULL)
        of->clear(&self);
    OUGHT(yula_loop_run(self.loop) == 0); /* what goes on in the background */
    test_loop_check(self.loop);
    yula_stack_get_stats(self.loop, &stacks);
    OUGHT(yula_task_count(self.loop) == 0);
    OUGHT(stacks.in_use == 0);
    OUGHT(self.loop->timer_count == 0);
    OUGHT(self.loop->watched == 0);
    OUGHT(self.loop->refs == 0);
    OUGHT(self.loop->requests == NULL);
    yula_loop_free(self.loop);
    OUGHT(test_memory_live() == memory);
    OUGHT(test_descriptors() == fds);

    bool told = self.result == YULA_ECANCELED;
    bool told_later = self.later == YULA_ECANCELED;
    switch (with.how) {
    case UNHURT:
        OUGHT(self.result == 0 && self.later == 0);
        OUGHT(self.waits > 0);
        return true;
    case CANCELED:
    case GRANTED:
        if (hurting.done && !of->ends_cancelled)
            OUGHT(told + told_later == 1 && (told || self.result == 0));
        return self.waits >= with.n;
    case CANCELED_FROM:
        return self.waits >= with.n;
    case TIMED_OUT:
        OUGHT(self.result == 0 || (hurting.done && self.result == -ETIMEDOUT));
        OUGHT(self.later == 0 || of->ends_cancelled);
        return self.waits >= with.n;
    case NO_MEMORY:
        OUGHT(self.result == 0 || (failed && self.result == -ENOMEM));
        return failed;
    default:
        OUGHT(self.result == 0 || (failed && self.result < 0));
        return failed;
    }
}

static const hurt calls[] = {
    {.call = "accept", .error = EMFILE},
    {.call = "accept", .error = ECONNABORTED, .passing = true},
    {.call = "connect", .error = ECONNREFUSED},
    {.call = "epoll_ctl", .error = ENOMEM},
    {.call = "getsockopt", .error = ENOBUFS},
    {.call = "madvise", .error = EINVAL},
    {.call = "mmap", .error = ENOMEM},
    {.call = "mprotect", .error = ENOMEM},
    {.call = "pipe", .error = EMFILE},
    {.call = "recv", .error = ECONNRESET},
    {.call = "recvfrom", .error = ECONNREFUSED},
    {.call = "send", .error = EPIPE},
    {.call = "sendmsg", .error = ECONNRESET},
    {.call = "sendto", .error = ENOBUFS},
    {.call = "setsockopt", .error = ENOMEM},
    {.call = "shutdown", .error = ENOTCONN},
    {.call = "sigaction", .error = EINVAL},
    {.call = "socket", .error = EMFILE},
    {.call = "thread_start", .error = EAGAIN},
};

static void
play_hurt(const scene *of)
{
    (void)play_once(of, (hurt){.how = UNHURT});
    for (how way = CANCELED; way <= NO_MEMORY; way++) {
        long n = way == GRANTED ? 0 : 1; /* also before it begins */
        while (play_once(of, (hurt){.how = way, .n = n}))
            n++;
    }
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (how way = NO_CALL;
             way <= (calls[i].passing ? NO_CALL : NO_MORE_CALLS); way++) {
            hurt next = calls[i];
            next.how = way;
            for (next.n = 1; play_once(of, next); next.n++)
                ;
        }
    }
}

/* --- the scenes ---------------------------------------------------------- */

static scene *first_scene;

/* SCENE(name, .calls = ..., .play = ...): a test that plays it. */
#define SCENE(name, ...)                                                       \
    static scene scene_of_##name = {__VA_ARGS__};                              \
    __attribute__((constructor)) static void add_scene_of_##name(void)         \
    {                                                                          \
        scene_of_##name.next = first_scene;                                    \
        first_scene = &scene_of_##name;                                        \
    }                                                                          \
    TEST(name##_survives_being_hurt_at_every_wait)                             \
    {                                                                          \
        play_hurt(&scene_of_##name);                                           \
    }

/* Time. */

static int
play_sleep(stage *self)
{
    int err = yula_task_sleep(self->loop, MS);

    if (err == 0)
        err = yula_task_sleep_until(self->loop, yula_loop_now(self->loop) + MS);
    return err == 0 ? yula_task_yield(self->loop) : err;
}

SCENE(a_sleep, .calls = "yula_task_sleep yula_task_sleep_until yula_task_yield",
      .play = play_sleep)

static int
play_deadlines(stage *self)
{
    yula_scope outer, inner;
    int err = yula_deadline_enter(self->loop, &outer,
                                  yula_loop_now(self->loop) + 9 * MS);

    if (err < 0)
        return err;
    err = yula_deadline_enter(self->loop, &inner,
                              yula_loop_now(self->loop) + MS);
    if (err == 0) {
        err = yula_task_sleep_until(self->loop, YULA_NEVER);
        err = yula_deadline_leave(&inner, err);
        if (err == -ETIMEDOUT)
            err = yula_task_sleep_until(self->loop, YULA_NEVER);
    }
    err = yula_deadline_leave(&outer, err);
    return err == -ETIMEDOUT ? 0 : err;
}

SCENE(a_deadline_in_another, .calls = "yula_task_sleep_until",
      .play = play_deadlines)

static int
play_shield(stage *self)
{
    yula_scope scope;

    yula_shield_enter(self->loop, &scope);
    int err = yula_task_sleep(self->loop, MS);
    OUGHT(err == 0 || err == -ENOMEM);
    yula_shield_leave(&scope);
    int checked = yula_task_check(self->loop);
    return err == 0 ? checked : err;
}

SCENE(a_shield, .calls = "yula_task_sleep", .play = play_shield)

/* Other tasks. */

static int
nap(yula_task *task, void *arg)
{
    return yula_task_sleep(yula_task_loop(task), MS);
}

static int
play_join(stage *self)
{
    yula_task *child;
    int result, err = yula_task_spawn(self->loop, NULL, nap, NULL, &child);

    if (err < 0)
        return err;
    err = yula_task_join(child, &result);
    if (err == 0)
        return result;
    yula_task_cancel(child);
    yula_task_unref(child);
    return err;
}

SCENE(a_join, .calls = "yula_task_join", .play = play_join)

static int
play_group(stage *self)
{
    yula_group group;
    int err = 0;

    yula_group_enter(self->loop, &group);
    for (int i = 0; i < 2 && err == 0; i++)
        err = yula_group_spawn(&group, NULL, nap, NULL, NULL);
    return yula_group_leave(&group, err);
}

SCENE(a_group, .calls = "yula_group_leave", .play = play_group)

static int
nap_and_fail(yula_task *task, void *arg)
{
    int err = nap(task, arg);

    return err == 0 ? -EPROTO : err;
}

/* The second wait is the one that the failure interrupts. */
static int
play_failing_group(stage *self)
{
    yula_group group;

    yula_group_enter(self->loop, &group);
    int err = yula_group_spawn(&group, NULL, nap_and_fail, NULL, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, nap, NULL, NULL);
    if (err == 0)
        err = yula_task_sleep(self->loop, MS / 2);
    if (err == 0)
        err = yula_task_sleep_until(self->loop, YULA_NEVER);
    err = yula_group_leave(&group, err);
    return err == -EPROTO ? 0 : err;
}

SCENE(a_group_that_fails, .calls = "yula_group_leave",
      .play = play_failing_group)

static bool
withdraw_nothing(yula_task *task, void *arg)
{
    ((stage *)arg)->done = true;
    return true;
}

static int
play_suspend(stage *self)
{
    return yula_task_suspend(self->victim, "poke", withdraw_nothing, self);
}

static void
poke_suspended(stage *self)
{
    if (!self->done)
        yula_task_resume(self->victim, 0);
}

SCENE(a_suspended_task, .calls = "yula_task_suspend", .play = play_suspend,
      .poke = poke_suspended)

/* A coroutine of the task's may wait, too. */

static void
generate(yula_coroutine *coroutine, void *arg)
{
    stage *self = arg;

    self->result = yula_task_sleep(self->loop, MS);
    yula_coroutine_yield(coroutine, self);
}

static int
play_coroutine(stage *self)
{
    yula_coroutine *coroutine;
    int err = yula_coroutine_new(self->loop, 0, generate, self, &coroutine);

    if (err < 0)
        return err;
    OUGHT(yula_coroutine_resume(coroutine, NULL) == self);
    err = self->result;
    if (err == 0)
        err = yula_task_sleep(self->loop, MS);
    (void)yula_coroutine_resume(coroutine, NULL);
    yula_coroutine_free(coroutine);
    return err;
}

SCENE(a_coroutine_in_a_task, .calls = "yula_task_sleep", .play = play_coroutine)

/* Each other. */

static void
set_sync(stage *self)
{
    yula_event_init(self->loop, &self->event);
    yula_mutex_init(self->loop, &self->mutex);
    yula_condition_init(&self->changed);
    yula_semaphore_init(self->loop, &self->semaphore, 0);
    yula_queue_init(self->loop, &self->queue, self->slots, 1);
}

static int
play_event(stage *self)
{
    return yula_event_wait(&self->event);
}

static void
poke_event(stage *self)
{
    yula_event_set(&self->event);
}

SCENE(an_event, .calls = "yula_event_wait", .play = play_event, .set = set_sync,
      .poke = poke_event)

static void
set_locked(stage *self)
{
    set_sync(self);
    CHECK_EQ(yula_mutex_lock(&self->mutex), 0);
}

static int
play_mutex(stage *self)
{
    int err = yula_mutex_lock(&self->mutex);

    if (err < 0)
        return err;
    OUGHT(self->mutex.owner == self->victim);
    return yula_mutex_unlock(&self->mutex);
}

static void
unlock_if_ours(stage *self)
{
    if (self->mutex.owner == self->shadow)
        CHECK_EQ(yula_mutex_unlock(&self->mutex), 0);
}

static void
mutex_is_free(stage *self)
{
    OUGHT(self->mutex.owner == NULL || self->mutex.owner == self->shadow);
    OUGHT(self->mutex.waiting.first == NULL);
    OUGHT(self->changed.waiting.first == NULL);
}

SCENE(a_mutex, .calls = "yula_mutex_lock", .play = play_mutex,
      .set = set_locked, .poke = unlock_if_ours, .clear = mutex_is_free)

static int
play_semaphore(stage *self)
{
    int err = yula_semaphore_acquire(&self->semaphore);

    if (err == 0)
        self->done = true;
    return err;
}

static void
poke_semaphore(stage *self)
{
    if (self->pokes++ == 0)
        yula_semaphore_release(&self->semaphore);
}

static void
semaphore_adds_up(stage *self)
{
    OUGHT((int)self->semaphore.free + self->done == self->pokes);
}

SCENE(a_semaphore, .calls = "yula_semaphore_acquire", .play = play_semaphore,
      .set = set_sync, .poke = poke_semaphore, .clear = semaphore_adds_up)

static int
play_condition(stage *self)
{
    int err = yula_mutex_lock(&self->mutex);

    if (err < 0)
        return err;
    err = yula_condition_wait(&self->changed, &self->mutex);
    OUGHT(self->mutex.owner == self->victim);
    (void)yula_mutex_unlock(&self->mutex);
    return err;
}

/* Have the mutex, notify, give it back some time later. */
static void
poke_condition(stage *self)
{
    if (self->mutex.owner == self->shadow) {
        if (self->pokes++ % 3 == 2)
            CHECK_EQ(yula_mutex_unlock(&self->mutex), 0);
    }
    else if (self->mutex.owner == NULL) {
        CHECK_EQ(yula_mutex_lock(&self->mutex), 0);
        (void)yula_condition_notify(&self->changed, 1);
    }
}

SCENE(a_condition, .calls = "yula_condition_wait", .play = play_condition,
      .set = set_sync, .poke = poke_condition, .clear = mutex_is_free,
      .often = true)

static int
play_queue(stage *self)
{
    void *got;
    int err = yula_queue_put(&self->queue, self);

    if (err == 0)
        err = yula_queue_put(&self->queue, self); /* full */
    if (err == 0)
        err = yula_queue_join(&self->queue);
    if (err == 0)
        err = yula_queue_get(&self->queue, &got);
    return err;
}

static void
poke_queue(stage *self)
{
    void *item;

    if (self->queue.undone == 0 && self->queue.getters.first != NULL)
        CHECK_EQ(yula_queue_try_put(&self->queue, self), 0);
    else if (yula_queue_try_get(&self->queue, &item) == 0)
        yula_queue_done(&self->queue);
}

static void
queue_is_left(stage *self)
{
    OUGHT(self->queue.getters.first == NULL);
    OUGHT(self->queue.putters.first == NULL);
    OUGHT(self->queue.joiners.first == NULL);
}

SCENE(a_queue, .calls = "yula_queue_put yula_queue_get yula_queue_join",
      .play = play_queue, .set = set_sync, .poke = poke_queue,
      .clear = queue_is_left, .often = true)

static void
set_channels(stage *self)
{
    CHECK_EQ(yula_channel_new(self->loop, sizeof(int), 0, &self->channel), 0);
    CHECK_EQ(yula_channel_new(self->loop, sizeof(int), 1, &self->other), 0);
}

static int
play_channel(stage *self)
{
    int item = 5, err = yula_channel_send(self->channel, &item);

    item = 0;
    if (err == 0)
        err = yula_channel_recv(self->channel, &item);
    OUGHT(err != 0 || item == 7);
    return err;
}

static void
poke_channel(stage *self)
{
    int item = 0, seven = 7;

    if (yula_channel_try_recv(self->channel, &item) == 0)
        OUGHT(item == 5);
    else
        (void)yula_channel_try_send(self->channel, &seven);
}

static void
free_channels(stage *self)
{
    yula_channel_free(self->channel);
    yula_channel_free(self->other);
}

SCENE(a_channel, .calls = "yula_channel_send yula_channel_recv",
      .play = play_channel, .set = set_channels, .poke = poke_channel,
      .clear = free_channels)

static int
play_select(stage *self)
{
    int item = 5, got[2] = {0};
    yula_channel_case cases[] = {
        {.channel = self->channel, .op = YULA_CHANNEL_SEND, .item = &item},
        {.channel = self->channel, .op = YULA_CHANNEL_RECV, .item = &got[0]},
        {.channel = self->other, .op = YULA_CHANNEL_RECV, .item = &got[1]},
    };
    int err = 0;

    for (int i = 0; i < 2 && err >= 0; i++)
        err = yula_channel_select(self->loop, cases, 3, YULA_NEVER);
    if (err >= 0) /* nobody comes */
        err = yula_channel_select(self->loop, cases, 3,
                                  yula_loop_now(self->loop) + MS);
    return err == -ETIMEDOUT ? 0 : err;
}

static void
poke_select(stage *self)
{
    int item = 7;

    if (self->pokes == 0)
        CHECK_EQ(yula_channel_try_recv(self->channel, &item), 0);
    else if (self->pokes == 1)
        CHECK_EQ(yula_channel_try_send(self->other, &item), 0);
    self->pokes++;
}

SCENE(a_select, .calls = "yula_channel_select", .play = play_select,
      .set = set_channels, .poke = poke_select, .clear = free_channels)

static void
set_mailbox(stage *self)
{
    CHECK_EQ(yula_mailbox_new(&test_allocator, 1, &self->mailbox), 0);
}

static int
play_mailbox(stage *self)
{
    void *got;
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) /* the second waits */
        err = yula_mailbox_send(self->loop, self->mailbox, self);
    if (err == 0)
        err = yula_mailbox_recv(self->loop, self->mailbox, &got);
    return err;
}

/* Whoever waits: one of the two can be done. From another thread. */
static void *
use_mailbox(void *arg)
{
    stage *self = arg;
    void *message;

    if (self->pokes++ == 0)
        while (yula_mailbox_try_recv(self->mailbox, &message) == 0)
            ;
    else
        (void)yula_mailbox_try_send(self->mailbox, self);
    return NULL;
}

static void
poke_mailbox(stage *self)
{
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, use_mailbox, self), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void
free_mailbox(stage *self)
{
    yula_mailbox_free(self->mailbox);
}

SCENE(a_mailbox, .calls = "yula_mailbox_send yula_mailbox_recv",
      .play = play_mailbox, .set = set_mailbox, .poke = poke_mailbox,
      .clear = free_mailbox)

/* Threads and signals. */

static int
count_one(void *arg)
{
    ++*(int *)arg;
    return 7;
}

static int
play_work(stage *self)
{
    int count = 0, result = yula_await_work(self->loop, count_one, &count);

    OUGHT(result < 0 || result == 7);
    OUGHT(count == (result == 7));
    return result == 7 ? 0 : result;
}

SCENE(blocking_work, .calls = "yula_await_work", .play = play_work)

static int
play_resolve(stage *self)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) {
        err = yula_await_resolve(self->loop, hosts[i], "80", &hints, &list);
        if (err == 0)
            yula_addrinfo_free(list);
    }
    return err;
}

SCENE(a_name, .calls = "yula_await_resolve", .play = play_resolve)

static int
play_signal(stage *self)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2};
    yula_signal_set set;
    int err = yula_signal_set_open(self->loop, &set, numbers, 2);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err >= 0; i++) {
        err = yula_signal_set_next(&set);
        OUGHT(err < 0 || err == numbers[i]);
    }
    yula_signal_set_close(&set);
    return err < 0 ? err : 0;
}

static void
poke_signal(stage *self)
{
    raise(self->pokes++ == 0 ? SIGUSR1 : SIGUSR2);
}

SCENE(a_signal, .calls = "yula_signal_set_next", .play = play_signal,
      .poke = poke_signal)

/* Descriptors. */

static void
set_pair(stage *self)
{
    test_unix_pair(self->fds);
}

static void
set_tcp(stage *self)
{
    test_tcp_pair(self->fds);
}

static int
play_fd(stage *self)
{
    char byte;
    int events = yula_await_fd(self->loop, self->fds[0], YULA_WRITABLE);

    if (events > 0)
        events = yula_await_fd(self->loop, self->fds[0], YULA_READABLE);
    OUGHT(events < 0 || recv(self->fds[0], &byte, 1, 0) == 1);
    return events < 0 ? events : 0;
}

static void
poke_fd(stage *self)
{
    if (self->waits == 2 && self->pokes++ == 0)
        test_send_all(self->fds[1], "x", 1);
}

SCENE(a_descriptor, .calls = "yula_await_fd", .play = play_fd, .set = set_pair,
      .poke = poke_fd)

static void
set_listening(stage *self)
{
    self->listening = test_listen(&self->addr, &self->addr_len);
    snprintf(self->port, sizeof(self->port), "%d",
             ntohs(((struct sockaddr_in *)&self->addr)->sin_port));
}

static int
play_connect(stage *self)
{
    int fd = yula_await_connect(self->loop, (struct sockaddr *)&self->addr,
                                self->addr_len);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

SCENE(connecting, .calls = "yula_await_connect", .play = play_connect,
      .set = set_listening)

/* Somebody connects; and whoever did before is gone. */
static void
poke_listening(stage *self)
{
    if (self->fds[1] >= 0)
        close(self->fds[1]);
    self->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(self->fds[1] >= 0);
    CHECK_EQ(
        connect(self->fds[1], (struct sockaddr *)&self->addr, self->addr_len),
        0);
    test_send_all(self->fds[1], "hello\n", 6);
}

static int
play_accept(stage *self)
{
    struct sockaddr_storage addr;
    yula_acceptor *acceptor;
    int err = yula_acceptor_new(self->loop, self->listening, &acceptor);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err >= 0; i++) {
        socklen_t addr_len = sizeof(addr);
        err = yula_acceptor_accept(acceptor, (struct sockaddr *)&addr,
                                   &addr_len);
        if (err >= 0)
            close(err);
    }
    yula_acceptor_free(acceptor);
    return err < 0 ? err : 0;
}

SCENE(accepting, .calls = "yula_acceptor_accept", .play = play_accept,
      .set = set_listening, .poke = poke_listening)

static int
greet(yula_conn *conn, void *arg)
{
    stage *self = arg;
    char *line;
    ssize_t len = yula_conn_read_line(conn, &line);

    if (len < 0)
        return (int)len;
    int err = yula_conn_write(conn, "good day\n", 9);
    if (err == 0) {
        self->done = true;
        yula_task_cancel(self->victim);
    }
    return err;
}

static int
play_serve(stage *self)
{
    int err = yula_conn_serve(self->loop, self->listening, greet, self);

    OUGHT(err < 0);
    return self->done && err == YULA_ECANCELED ? 0 : err;
}

/* The server goes on whatever happens to single connections: it takes no harm,
 * and a task that cannot be made is a connection closed. */
static void
poke_server(stage *self)
{
    if (++self->pokes > 2000)
        yula_task_cancel(self->victim);
    else if (self->pokes % 20 == 1)
        poke_listening(self);
}

SCENE(serving, .calls = "yula_conn_serve", .play = play_serve,
      .set = set_listening, .poke = poke_server, .often = true,
      .ends_cancelled = true)

/* Connections. */

static int
play_conn_connect(stage *self)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) {
        yula_conn *conn;
        err = yula_conn_connect(self->loop, hosts[i], self->port, &conn);
        if (err == 0)
            yula_conn_close(conn);
    }
    return err;
}

SCENE(connecting_to_a_name, .calls = "yula_conn_connect",
      .play = play_conn_connect, .set = set_listening)

/* Of one end of the pair. */
static int
open_conn(stage *self, yula_conn **out)
{
    int err = yula_conn_new(self->loop, self->fds[0], out);

    if (err == 0)
        self->fds[0] = -1;
    return err;
}

static int
play_read(stage *self)
{
    yula_conn *conn;
    char bytes[8];
    size_t got = 0;
    int err = open_conn(self, &conn);

    if (err < 0)
        return err;
    ssize_t n = yula_conn_read(conn, bytes, sizeof(bytes));
    if (n > 0)
        n = yula_conn_read_exactly(conn, bytes, 7, &got);
    OUGHT(n != 0 || (got == 7 && memcmp(bytes, "abcabca", 7) == 0));
    yula_conn_close(conn);
    return n < 0 ? (int)n : 0;
}

static void
poke_bytes(stage *self)
{
    test_send_all(self->fds[1], "abc", 3);
}

SCENE(a_read, .calls = "yula_conn_read yula_conn_read_exactly",
      .play = play_read, .set = set_tcp, .poke = poke_bytes)

static int
play_lines(stage *self)
{
    yula_conn *conn;
    char *line;
    int err = open_conn(self, &conn);

    if (err < 0)
        return err;
    ssize_t len = yula_conn_read_line(conn, &line);
    if (len >= 0) {
        OUGHT(strcmp(line, "ab") == 0);
        len = yula_conn_read_until(conn, "--", 2, &line);
        OUGHT(len < 0 || (len == 3 && memcmp(line, "x--", 3) == 0));
    }
    yula_conn_close(conn);
    return len < 0 ? (int)len : 0;
}

static void
poke_lines(stage *self)
{
    static const char pieces[][3] = {"a", "b", "\r", "\n", "x-", "-"};

    if (self->pokes < 6)
        test_send_all(self->fds[1], pieces[self->pokes],
                      strlen(pieces[self->pokes]));
    self->pokes++;
}

SCENE(lines, .calls = "yula_conn_read_line yula_conn_read_until",
      .play = play_lines, .set = set_pair, .poke = poke_lines)

enum {
    BULK = 1 << 20
};

static int
play_write(stage *self)
{
    yula_conn *conn;
    char *bytes = calloc(1, BULK);
    int err = open_conn(self, &conn);

    if (err == 0) {
        err = yula_conn_write(conn, bytes, BULK); /* in parts */
        if (err == 0)
            err = yula_conn_write(conn, bytes, YULA_STREAM_HIGH);
        if (err == 0)
            err = yula_conn_drain(conn);
        if (err == 0)
            yula_conn_close(conn);
        else
            yula_conn_abort(conn);
    }
    free(bytes);
    return err;
}

static void
poke_reader(stage *self)
{
    static char bytes[256 * 1024];

    if (self->pokes++ % 2 == 0)
        (void)recv(self->fds[1], bytes, sizeof(bytes), MSG_DONTWAIT);
}

SCENE(a_write, .calls = "yula_conn_write yula_conn_drain", .play = play_write,
      .set = set_pair, .poke = poke_reader, .often = true)

/* Datagrams. */

static void
set_datagrams(stage *self)
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                        self->fds),
             0);
}

static int
open_port(stage *self, yula_port **out)
{
    int err = yula_port_new(self->loop, self->fds[0], out);

    if (err == 0)
        self->fds[0] = -1;
    return err;
}

static int
play_receive(stage *self)
{
    yula_port *port;
    char bytes[8];
    int err = open_port(self, &port);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err == 0; i++) {
        ssize_t n = yula_port_receive(port, bytes, sizeof(bytes), NULL, NULL);
        OUGHT(n < 0 || n == 3);
        err = n < 0 ? (int)n : 0;
    }
    yula_port_close(port);
    return err;
}

SCENE(receiving_datagrams, .calls = "yula_port_receive", .play = play_receive,
      .set = set_datagrams, .poke = poke_bytes)

static int
play_send(stage *self)
{
    static char bytes[8192];
    yula_port *port;
    int err = open_port(self, &port);

    if (err < 0)
        return err;
    while (err == 0 && self->waits < 3)
        err = yula_port_send(port, bytes, sizeof(bytes), NULL, 0);
    yula_port_close(port);
    return err;
}

SCENE(sending_datagrams, .calls = "yula_port_send", .play = play_send,
      .set = set_datagrams, .poke = poke_reader, .often = true)

/* --- nothing was forgotten ----------------------------------------------- */

/* A whole file, which is forgotten by the next call. */
static const char *
read_file(const char *dir, const char *name)
{
    static char text[256 * 1024];
    char path[4096];

    CHECK(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    CHECK(len < sizeof(text) - 1);
    text[len] = '\0';
    return text;
}

/* Call look(text, arg) for each file of a folder whose name ends so, until it
 * returns true. */
static bool
look_into_files(const char *path, const char *ending,
                bool (*look)(const char *text, void *arg), void *arg)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool found = false;

    CHECK(dir != NULL);
    while (!found && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), end = strlen(ending);
        if (len > end && strcmp(entry->d_name + len - end, ending) == 0)
            found = look(read_file(path, entry->d_name), arg);
    }
    closedir(dir);
    return found;
}

static bool
has_scene(const char *name)
{
    size_t len = strlen(name);

    for (const scene *at = first_scene; at != NULL; at = at->next) {
        for (const char *found = strstr(at->calls, name); found != NULL;
             found = strstr(found + 1, name)) {
            if (found[len] == ' ' || found[len] == '\0')
                return true;
        }
    }
    return false;
}

/* Other tests have scenes of their own. */
static bool
interrupts_calls_of(const char *text, void *name)
{
    size_t len = strlen(name);

    if (strstr(text, "actor_interrupt_everywhere(") == NULL)
        return false;
    for (const char *found = strstr(text, name); found != NULL;
         found = strstr(found + 1, name)) {
        if (found[len] == '(')
            return true;
    }
    return false;
}

static char waiting[100][80]; /* names of what waits */
static int waiting_count;

/* The functions declared from a comment that says that they block the task to
 * the next comment. */
static void
note_prototypes(const char *from, const char *until)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    static const char mark[] = "YULA_API";

    while ((from = strstr(from, mark)) != NULL && from < until) {
        from = strstr(from, "yula_");
        size_t len = strspn(from, letters);
        if (from[len] != '(') { /* the type of the result */
            from = strstr(from + len, "yula_");
            len = strspn(from, letters);
        }
        CHECK(waiting_count < 100 && len < sizeof(waiting[0]));
        memcpy(waiting[waiting_count++], from, len);
    }
}

static bool
note_header(const char *text, void *arg)
{
    static const char mark[] = "Blocks: the task";

    if (strstr(text, "Python.h") != NULL)
        return false; /* tests/py/test_c_api.py */
    for (const char *at = strstr(text, mark); at != NULL;
         at = strstr(at + 1, mark)) {
        const char *end = strstr(at, "\n/* ");
        note_prototypes(at, end != NULL ? end : at + strlen(at));
    }
    return false;
}

TEST(whatever_waits_according_to_the_headers_is_hurt_by_a_test)
{
    int missing = 0;

    (void)look_into_files(YULA__TEST_ROOT "/include/yula", ".h", note_header,
                          NULL);
    CHECK(waiting_count > 30);
    for (int i = 0; i < waiting_count; i++) {
        if (has_scene(waiting[i]) ||
            look_into_files(YULA__TEST_ROOT "/tests/core", ".c",
                            interrupts_calls_of, waiting[i]))
            continue;
        printf("  no scene waits in %s: add one to this file, or one for "
               "actor_interrupt_everywhere to a test of the room\n",
               waiting[i]);
        missing++;
    }
    CHECK_EQ(missing, 0);
}
