/* test_await.c: descriptors, connections, names, blocking work, signals as tasks
 * wait for them. Connections as streams: test_conn.c. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "test.h"

/* --- descriptors --------------------------------------------------------- */

typedef struct readiness {
    int fd;
    unsigned events;
} readiness;

static int
wait_ready(actor *self, void *arg)
{
    readiness *of = arg;
    int events = yula_await_fd(self->loop, of->fd, of->events);

    actor_note(self, events >= 0 ? "is told" : "fails");
    return events;
}

TEST(a_descriptor_that_is_ready_is_reported_once_and_is_free_again)
{
    yula_loop *loop = test_loop();
    readiness of = {.events = YULA_READABLE};
    actor ann;
    int fds[2];

    test_unix_pair(fds);
    of.fd = fds[0];
    for (int round = 0; round < 2; round++) {
        actor_start(&ann, loop, "ann", wait_ready, &of);
        settle(loop);
        CHECK_STR(actor_log(), "");
        test_send_all(fds[1], "x", 1);
        CHECK_EQ(actor_end(&ann), YULA_READABLE);
        CHECK_STR(actor_log(), "ann is told. ");
        CHECK_EQ(read(fds[0], &(char){0}, 1), 1);
    }
    of.events = YULA_READABLE | YULA_WRITABLE;
    actor_start(&ann, loop, "ann", wait_ready, &of);
    CHECK_EQ(actor_end(&ann), YULA_WRITABLE);
    (void)actor_log();
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
}

TEST(an_interrupted_wait_for_a_descriptor_lets_go_of_it)
{
    yula_loop *loop = test_loop();
    readiness of = {.events = YULA_READABLE};
    actor ann, bob;
    int fds[2];

    test_unix_pair(fds);
    of.fd = fds[0];
    actor_start(&ann, loop, "ann", wait_ready, &of);
    settle(loop);
    actor_start(&bob, loop, "bob", wait_ready, &of); /* watched already */
    CHECK_EQ(actor_end(&bob), -EBUSY);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK(yula_watcher_of(loop, fds[0]) == NULL);
    of.fd = -1;
    actor_start(&ann, loop, "ann", wait_ready, &of);
    CHECK_EQ(actor_end(&ann), -EBADF);
    of.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    actor_start(&ann, loop, "ann", wait_ready, &of);
    CHECK_EQ(actor_end(&ann), -EPERM); /* a file is always ready */
    close(of.fd);
    (void)actor_log();
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
}

/* --- connecting and accepting -------------------------------------------- */

typedef struct meeting {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening;
    yula_acceptor *acceptor;
    int accepted; /* so many */
} meeting;

static void
meeting_open(meeting *self, yula_loop *loop)
{
    self->listening = test_listen(&self->addr, &self->addr_len);
    self->accepted = 0;
    CHECK_EQ(yula_acceptor_new(loop, self->listening, &self->acceptor), 0);
}

static void
meeting_close(meeting *self)
{
    yula_acceptor_free(self->acceptor);
    close(self->listening);
}

static int
connect_once(actor *self, void *arg)
{
    meeting *at = arg;
    int fd = yula_await_connect(self->loop, (struct sockaddr *)&at->addr,
                                at->addr_len);

    if (fd < 0)
        return fd;
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    return 0;
}

/* number of them, or until interrupted. */
static int
accept_some(actor *self, void *arg)
{
    meeting *at = arg;

    for (int i = 0; i < self->number; i++) {
        struct sockaddr_storage addr;
        socklen_t addr_len = sizeof(addr);
        int fd = yula_acceptor_accept(at->acceptor, (struct sockaddr *)&addr,
                                      &addr_len);
        if (fd < 0)
            return fd;
        CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
        CHECK(addr_len == 0 || addr.ss_family == AF_INET);
        at->accepted++;
        close(fd);
    }
    return 0;
}

TEST(a_task_connects_and_another_accepts)
{
    yula_loop *loop = test_loop();
    meeting at;
    actor ann, bob;

    meeting_open(&at, loop);
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = 3;
    for (int i = 0; i < 3; i++) {
        actor_start(&ann, loop, "ann", connect_once, &at);
        CHECK_EQ(actor_end(&ann), 0);
    }
    CHECK_EQ(actor_end(&bob), 0);
    meeting_close(&at);
    yula_loop_free(loop);
}

TEST(a_refused_connection_says_so_to_its_task)
{
    yula_loop *loop = test_loop();
    meeting at;
    actor ann;

    meeting_open(&at, loop);
    meeting_close(&at);
    actor_start(&ann, loop, "ann", connect_once, &at);
    CHECK_EQ(actor_end(&ann), -ECONNREFUSED);
    yula_loop_free(loop);
}

/* More than one callback of the listener brings: the acceptor stops listening
 * with a full ring, and goes on. */
TEST(connections_that_nobody_waits_for_are_kept_and_then_left_to_the_kernel)
{
    enum {
        COUNT = 100
    };
    yula_loop *loop = test_loop();
    meeting at;
    actor bob;
    int fds[COUNT];

    meeting_open(&at, loop);
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = 1;
    for (int i = 0; i < COUNT; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(fds[i], (struct sockaddr *)&at.addr, at.addr_len), 0);
    }
    CHECK_EQ(actor_end(&bob), 0);
    settle(loop);
    CHECK(yula_watcher_of(loop, at.listening) == NULL); /* full */
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = COUNT - 2;
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(at.accepted, COUNT - 1);
    meeting_close(&at); /* closes the last one, which was kept */
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    yula_loop_free(loop);
}

TEST(what_accept_fails_with_is_told_to_who_waits_and_else_to_the_next)
{
    yula_loop *loop = test_loop_by_hand();
    meeting at;
    actor bob;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    meeting_open(&at, loop);
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = 1;
    settle(loop);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at.addr, at.addr_len), 0);
    test_fail_sys_named("accept", 1, EMFILE);
    CHECK_EQ(actor_end(&bob), -EMFILE);
    test_fail_sys(0, 0);
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = 1;
    settle(loop);
    CHECK(!yula_task_ended(bob.task)); /* the listener pauses */
    test_now_ns += YULA_LISTENER_PAUSE_NS;
    CHECK_EQ(actor_end(&bob), 0);
    close(fd);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_fail_sys_named("accept", 1, EMFILE);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at.addr, at.addr_len), 0);
    settle(loop); /* nobody waits */
    test_fail_sys(0, 0);
    actor_start(&bob, loop, "bob", accept_some, &at);
    bob.number = 1;
    CHECK_EQ(actor_end(&bob), -EMFILE);
    meeting_close(&at);
    close(fd);
    yula_loop_free(loop);
}

/* Whoever is interrupted, every connection is closed by somebody. */
static void
scene_of_a_meeting(yula_loop *loop)
{
    meeting at;
    actor guests[3], hosts[2];

    meeting_open(&at, loop);
    for (int i = 0; i < 2; i++) {
        actor_start(&hosts[i], loop, "host", accept_some, &at);
        hosts[i].number = 2;
    }
    for (int i = 0; i < 3; i++)
        actor_start(&guests[i], loop, "guest", connect_once, &at);
    for (int i = 0; i < 3; i++) {
        int err = actor_end(&guests[i]);
        CHECK(err == 0 || err == YULA_ECANCELED);
    }
    for (int i = 0; i < 2; i++) {
        yula_task_cancel(hosts[i].task);
        (void)actor_end(&hosts[i]);
    }
    CHECK(at.accepted <= 3);
    meeting_close(&at);
}

TEST(connecting_and_accepting_survive_an_interruption_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(scene_of_a_meeting) >= 5);
}

/* --- names --------------------------------------------------------------- */

static char ipv4[] = "127.0.0.1", ipv6[] = "::1", local[] = "localhost";
static char nobody[] = "no such name";

static int
resolve_localhost(actor *self, void *arg)
{
    const char *host = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int err = yula_await_resolve(self->loop, host, "80", &hints, &list);

    if (err < 0)
        return err;
    int family = list->ai_family;
    yula_addrinfo_free(list);
    return family;
}

TEST(a_name_is_resolved)
{
    CHECK_EQ(actor_alone(resolve_localhost, ipv4), AF_INET);
    CHECK_EQ(actor_alone(resolve_localhost, ipv6), AF_INET6);
    int family = actor_alone(resolve_localhost, local);
    CHECK(family == AF_INET || family == AF_INET6);
    CHECK(actor_alone(resolve_localhost, nobody) < YULA_EAI_BASE);
}

static void
scene_of_names(yula_loop *loop)
{
    char *const names[] = {ipv4, local};

    for (int i = 0; i < 2; i++) {
        actor ann;
        actor_start(&ann, loop, "ann", resolve_localhost, names[i]);
        int got = actor_end(&ann);
        CHECK(got == AF_INET || got == AF_INET6 || got == YULA_ECANCELED);
    }
}

TEST(resolving_survives_an_interruption_at_every_wait)
{
    CHECK_EQ(actor_interrupt_everywhere(scene_of_names), 2);
}

/* --- blocking work ------------------------------------------------------- */

/* A job that says it has begun and waits to be let go. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool begun, open;
    atomic_int runs;
} gate;

#define GATE                                                                   \
    {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}

static int
pass_gate(void *arg)
{
    gate *self = arg;

    atomic_fetch_add(&self->runs, 1);
    pthread_mutex_lock(&self->lock);
    self->begun = true;
    pthread_cond_broadcast(&self->changed);
    while (!self->open)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
    return 7;
}

static void
gate_await_begun(gate *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->begun)
        pthread_cond_wait(&self->changed, &self->lock);
    pthread_mutex_unlock(&self->lock);
}

static void
gate_open(gate *self)
{
    pthread_mutex_lock(&self->lock);
    self->open = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static int
work_through_gate(actor *self, void *arg)
{
    return yula_await_work(self->loop, pass_gate, arg);
}

TEST(a_blocking_function_runs_on_another_thread_and_its_result_comes_back)
{
    gate door = GATE;

    gate_open(&door);
    CHECK_EQ(actor_alone(work_through_gate, &door), 7);
    CHECK_EQ(door.runs, 1);
}

static int
work_and_check(actor *self, void *arg)
{
    int result = yula_await_work(self->loop, pass_gate, arg);

    CHECK_EQ(result, 7);
    return yula_task_check(self->loop);
}

TEST(a_blocking_function_that_runs_is_awaited_whatever_comes)
{
    yula_loop *loop = test_loop();
    gate door = GATE;
    actor ann;

    actor_start(&ann, loop, "ann", work_and_check, &door);
    settle(loop);
    gate_await_begun(&door);
    yula_task_cancel(ann.task);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    gate_open(&door);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED); /* by the next await */
    yula_loop_free(loop);
}

/* Passes the gate, then works until it is asked to stop. */
static int
work_until_asked(const yula_stop *stop, void *arg)
{
    int passed = pass_gate(arg);

    while (!yula_stop_asked(stop))
        sched_yield();
    return passed == 7 ? YULA_ECANCELED : passed;
}

static int
work_stoppably(actor *self, void *arg)
{
    CHECK_EQ(yula_await_stoppable(self->loop, work_until_asked, arg),
             YULA_ECANCELED);
    return yula_task_check(self->loop); /* it was delivered */
}

TEST(a_function_on_a_worker_that_looks_can_be_asked_to_stop)
{
    yula_loop *loop = test_loop();
    gate door = GATE;
    actor ann;

    actor_start(&ann, loop, "ann", work_stoppably, &door);
    settle(loop);
    gate_await_begun(&door);
    yula_task_cancel(ann.task);
    gate_open(&door);
    CHECK_EQ(actor_end(&ann), 0);
    yula_loop_free(loop);
}

static int
work_to_its_end(const yula_stop *stop, void *arg)
{
    int result = pass_gate(arg);

    return yula_stop_asked(stop) ? result : -EPROTO;
}

static int
work_deafly(actor *self, void *arg)
{
    CHECK_EQ(yula_await_stoppable(self->loop, work_to_its_end, arg), 7);
    return yula_task_check(self->loop);
}

TEST(a_result_of_a_function_that_was_asked_to_stop_is_not_lost)
{
    yula_loop *loop = test_loop();
    gate door = GATE;
    actor ann;

    actor_start(&ann, loop, "ann", work_deafly, &door);
    settle(loop);
    gate_await_begun(&door);
    yula_task_cancel(ann.task);
    gate_open(&door);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    yula_loop_free(loop);
}

TEST(a_blocking_function_that_waits_for_a_thread_never_runs_once_interrupted)
{
    yula_loop *loop = test_loop();
    gate busy = GATE, waiting = GATE;
    actor actors[YULA_WORKER_MAX], ann;

    for (int i = 0; i < YULA_WORKER_MAX; i++)
        actor_start(&actors[i], loop, "busy", work_through_gate, &busy);
    settle(loop);
    actor_start(&ann, loop, "ann", work_through_gate, &waiting);
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(waiting.runs, 0);
    gate_open(&busy);
    for (int i = 0; i < YULA_WORKER_MAX; i++)
        CHECK_EQ(actor_end(&actors[i]), 7);
    yula_loop_free(loop);
}

TEST(a_blocking_function_without_a_thread_is_not_run)
{
    yula_loop *loop = test_loop();
    gate door = GATE;
    actor ann;

    test_fail_sys_named("thread_start", 1, EAGAIN);
    actor_start(&ann, loop, "ann", work_through_gate, &door);
    CHECK_EQ(actor_end(&ann), -EAGAIN);
    CHECK_EQ(door.runs, 0);
    yula_loop_free(loop);
}

/* --- signals ------------------------------------------------------------- */

static int
next_signal(actor *self, void *arg)
{
    return yula_signal_set_next(arg);
}

TEST(a_signal_goes_to_the_task_that_waits_and_else_to_the_next)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2};
    yula_loop *loop = test_loop();
    yula_signal_set set;
    actor ann, bob;

    CHECK_EQ(yula_signal_set_open(loop, &set, numbers, 2), 0);
    actor_start(&ann, loop, "ann", next_signal, &set);
    actor_start(&bob, loop, "bob", next_signal, &set);
    settle(loop);
    CHECK_EQ(raise(SIGUSR2), 0);
    CHECK_EQ(actor_end(&ann), SIGUSR2);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(raise(SIGUSR2), 0);
    actor_start(&ann, loop, "ann", next_signal, &set);
    int first = actor_end(&ann);
    CHECK(first == SIGUSR1 || first == SIGUSR2);
    actor_start(&ann, loop, "ann", next_signal, &set);
    CHECK_EQ(actor_end(&ann), SIGUSR1 + SIGUSR2 - first);
    actor_start(&ann, loop, "ann", next_signal, &set);
    settle(loop);
    yula_task_cancel(ann.task); /* both came once */
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    yula_signal_set_close(&set);
    yula_signal_set_close(&set);
    yula_loop_free(loop);
}

TEST(a_set_of_signals_is_caught_whole_or_not_at_all)
{
    static const int wrong[] = {SIGUSR1, SIGKILL};
    static const int many[YULA_SIGNAL_SET_MAX + 1] = {SIGUSR1};
    yula_loop *loop = test_loop(), *other = test_loop();
    yula_signal_set set, second;

    CHECK_EQ(yula_signal_set_open(loop, &set, wrong, 2), -EINVAL);
    CHECK_EQ(yula_signal_set_open(loop, &set, many, YULA_SIGNAL_SET_MAX + 1),
             -EINVAL);
    CHECK_EQ(yula_signal_set_open(loop, &set, wrong, 1), 0);
    CHECK_EQ(yula_signal_set_open(other, &second, wrong, 1), -EBUSY);
    yula_signal_set_close(&set);
    CHECK_EQ(yula_signal_set_open(other, &second, wrong, 1), 0);
    yula_signal_set_close(&second);
    yula_loop_free(loop);
    yula_loop_free(other);
}

/* --- never to be resumed ------------------------------------------------- */

static int
sleep_long(actor *self, void *arg)
{
    return yula_task_sleep(self->loop, INT64_C(3600) * 1000000000);
}

/* What they wait with lies on their stacks, which go with the loop. */
TEST(a_loop_freed_while_tasks_wait_lets_go_of_all_they_wait_for)
{
    static const int number = SIGUSR1;
    yula_loop *loop = test_loop();
    readiness of = {.events = YULA_READABLE};
    gate door = GATE;
    meeting at;
    yula_signal_set signals;
    actor actors[6];
    int fds[2];

    test_unix_pair(fds);
    of.fd = fds[0];
    at.listening = test_listen(&at.addr, &at.addr_len);
    CHECK_EQ(yula_signal_set_open(loop, &signals, &number, 1), 0);
    actor_start(&actors[0], loop, "fd", wait_ready, &of);
    actor_start(&actors[1], loop, "sleep", sleep_long, NULL);
    actor_start(&actors[2], loop, "signal", next_signal, &signals);
    settle(loop);
    actor_start(&actors[3], loop, "connect", connect_once, &at);
    actor_start(&actors[4], loop, "resolve", resolve_localhost, local);
    actor_start(&actors[5], loop, "work", work_through_gate, &door);
    test_turn(loop); /* they have begun, no more */
    for (int i = 0; i < 6; i++)
        CHECK(!yula_task_ended(actors[i].task) || i == 3 || i == 4);
    gate_await_begun(&door);
    gate_open(&door);
    yula_loop_free(loop);
    close(at.listening);
    close(fds[0]);
    close(fds[1]);
}

/* --- without memory, without system calls -------------------------------- */

typedef struct fault {
    int (*play)(actor *self, void *arg);
    void *arg;
    int error; /* what a failing system call says */
} fault;

/* What may fail. Not the write that wakes a sleeping loop: the kernel promises
 * that one. */
static const char *const calls[] = {
    NULL,           /* allocations */ "accept",
    "connect",      "epoll_ctl",
    "getsockopt",   "madvise",
    "mmap",         "socket",
    "thread_start",
};

/* One kind of call fails from the n-th time on, for n = 1, 2 ... until it does
 * not: the await says so, or gets on without, and nothing is left behind. */
static void
fail_everywhere(const fault *of, const char *call)
{
    bool failed = true;

    for (long n = 1; failed; n++) {
        yula_loop *loop = test_loop();
        actor ann;
        actor_start(&ann, loop, "ann", of->play, of->arg);
        if (call == NULL)
            test_fail_alloc(n);
        else
            test_fail_sys_named(call, n, of->error);
        while (!yula_task_ended(ann.task))
            CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
        failed = call == NULL ? test_alloc_failed() : test_sys_failed();
        int result = actor_end(&ann);
        if (!failed)
            CHECK(result >= 0);
        yula_loop_free(loop); /* and its threads */
        test_faults_clear();
    }
}

/* Connect to a listener, accept, pass the result on. */
static int
meet_oneself(actor *self, void *arg)
{
    meeting *at = arg;
    int err = yula_acceptor_new(self->loop, at->listening, &at->acceptor);

    if (err < 0)
        return err;
    err = connect_once(self, at);
    self->number = 1;
    if (err == 0)
        err = accept_some(self, at);
    yula_acceptor_free(at->acceptor);
    return err;
}

TEST(a_failing_call_or_allocation_is_told_to_the_task)
{
    gate open = GATE;
    meeting at = {.accepted = 0};
    gate_open(&open);
    at.listening = test_listen(&at.addr, &at.addr_len);
    fault faults[] = {
        {.play = meet_oneself, .arg = &at, .error = ENFILE},
        {.play = resolve_localhost, .arg = ipv4, .error = ENOMEM},
        {.play = resolve_localhost, .arg = local, .error = EAGAIN},
        {.play = work_through_gate, .arg = &open, .error = EAGAIN},
    };

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
            fail_everywhere(&faults[i], calls[c]);
    }
    close(at.listening);
}
