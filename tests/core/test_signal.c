/* test_signal.c: Unix signals as callbacks. */
#include <yula/signal.h> /* first: it must stand alone */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

static int seen[64], seen_count;

static void
on_signal(yula_signal *signal, int number, void *arg)
{
    seen[seen_count++] = number;
    if (arg != NULL)
        *(bool *)arg = true;
}

static yula_loop *
begin(void)
{
    seen_count = 0;
    return test_loop();
}

static void
signal_begin(yula_loop *loop, yula_signal *signal, int number, bool *flag)
{
    yula_signal_init(loop, signal, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(signal, number, on_signal, flag), 0);
}

/* Run what is there. A loop with nothing else to watch need not look at its
 * signals in every turn that does not sleep. */
static void
some_turns(yula_loop *loop)
{
    for (int i = 0; i < 50; i++)
        test_turn(loop);
}

TEST(a_signal_calls_back)
{
    yula_loop *loop = begin();
    yula_signal usr1;
    bool came = false;

    signal_begin(loop, &usr1, SIGUSR1, &came);
    raise(SIGUSR1);
    test_run_until(loop, &came);
    CHECK_EQ(seen_count, 1);
    CHECK_EQ(seen[0], SIGUSR1);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

static void *
kill_the_sleeper(void *arg)
{
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}

static void *
raise_here(void *arg)
{
    raise(SIGUSR1);
    return NULL;
}

TEST(a_signal_on_any_thread_wakes_a_sleeping_loop)
{
    yula_loop *loop = begin();
    pthread_t self = pthread_self(), thread;
    yula_signal usr1;
    bool came = false;

    signal_begin(loop, &usr1, SIGUSR1, &came);
    CHECK_EQ(pthread_create(&thread, NULL, kill_the_sleeper, &self), 0);
    test_run_until(loop, &came);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    came = false;
    CHECK_EQ(pthread_create(&thread, NULL, raise_here, NULL), 0);
    test_run_until(loop, &came);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(seen_count, 2);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

TEST(a_signal_between_two_runs_is_delivered_in_the_next)
{
    yula_loop *loop = begin();
    yula_signal usr1;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    raise(SIGUSR1);
    CHECK_EQ(seen_count, 0);
    some_turns(loop);
    CHECK_EQ(seen_count, 1);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

static void
queue_again(yula_work *work, void *arg)
{
    yula_work_queue(arg, work);
}

/* It never sleeps, and has nothing else to ask the kernel for. */
TEST(a_signal_reaches_a_loop_that_is_busy_with_callbacks_alone)
{
    yula_loop *loop = begin();
    yula_signal usr1;
    yula_work work;
    bool came = false;

    signal_begin(loop, &usr1, SIGUSR1, &came);
    yula_work_init(&work, YULA_LANE_HOST, queue_again, loop);
    yula_work_queue(loop, &work);
    test_turn(loop);
    raise(SIGUSR1);
    int turn = 0;
    while (!came) {
        CHECK(turn++ < 50);
        test_turn(loop);
    }
    CHECK(yula_work_cancel(&work));
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

TEST(deliveries_between_two_turns_count_once)
{
    yula_loop *loop = begin();
    yula_signal usr1, usr2;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    signal_begin(loop, &usr2, SIGUSR2, NULL);
    for (int i = 0; i < 100; i++) {
        raise(SIGUSR1);
        raise(SIGUSR2);
    }
    some_turns(loop);
    CHECK_EQ(seen_count, 2);
    CHECK_EQ(seen[0] + seen[1], SIGUSR1 + SIGUSR2);
    some_turns(loop);
    CHECK_EQ(seen_count, 2);
    yula_signal_stop(&usr1);
    yula_signal_stop(&usr2);
    yula_loop_free(loop);
}

TEST(watchers_of_one_loop_may_share_a_signal)
{
    yula_loop *loop = begin();
    yula_signal first, second;

    signal_begin(loop, &first, SIGUSR1, NULL);
    signal_begin(loop, &second, SIGUSR1, NULL);
    raise(SIGUSR1);
    some_turns(loop);
    CHECK_EQ(seen_count, 2);
    yula_signal_stop(&first);
    raise(SIGUSR1); /* the handler is still ours */
    some_turns(loop);
    CHECK_EQ(seen_count, 3);
    yula_signal_stop(&second);
    yula_loop_free(loop);
}

TEST(a_signal_belongs_to_one_loop_at_a_time)
{
    yula_loop *loop = begin(), *other = test_loop();
    yula_signal usr1, theirs;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    CHECK_EQ(yula_signal_start(&usr1, SIGUSR2, on_signal, NULL), -EBUSY);
    yula_signal_init(other, &theirs, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&theirs, SIGUSR1, on_signal, NULL), -EBUSY);
    yula_signal_stop(&usr1);
    CHECK_EQ(yula_signal_start(&theirs, SIGUSR1, on_signal, NULL), 0);
    raise(SIGUSR1);
    some_turns(loop);
    CHECK_EQ(seen_count, 0);
    some_turns(other);
    CHECK_EQ(seen_count, 1);
    yula_signal_stop(&theirs);
    yula_loop_free(loop);
    yula_loop_free(other);
}

TEST(numbers_that_cannot_be_caught_are_refused)
{
    static const int numbers[] = {-1, 0, SIGKILL, SIGSTOP, NSIG, 100000};
    yula_loop *loop = begin();
    yula_signal signal;

    yula_signal_init(loop, &signal, YULA_LANE_HOST);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(yula_signal_start(&signal, numbers[i], on_signal, NULL),
                 -EINVAL);
    CHECK_EQ(yula_loop_run(loop), 0); /* nothing keeps it running */
    yula_loop_free(loop);
}

/* --- the handler of the process ------------------------------------------ */

static atomic_int plain_count;

static void
plain_handler(int number)
{
    atomic_fetch_add(&plain_count, 1);
}

static void
other_handler(int number)
{
}

TEST(stopping_restores_the_handler_that_was_there)
{
    yula_loop *loop = begin();
    yula_signal usr1;

    atomic_store(&plain_count, 0);
    signal(SIGUSR1, plain_handler);
    signal_begin(loop, &usr1, SIGUSR1, NULL);
    raise(SIGUSR1);
    CHECK_EQ(atomic_load(&plain_count), 0);
    yula_signal_stop(&usr1);
    yula_signal_stop(&usr1);
    raise(SIGUSR1);
    CHECK_EQ(atomic_load(&plain_count), 1);
    some_turns(loop);
    CHECK_EQ(seen_count, 0); /* what was pending went with the watcher */
    signal(SIGUSR1, SIG_DFL);
    yula_loop_free(loop);
}

TEST(a_handler_installed_over_ours_is_left_alone)
{
    yula_loop *loop = begin();
    yula_signal usr1;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    signal(SIGUSR1, other_handler);
    yula_signal_stop(&usr1);
    CHECK(signal(SIGUSR1, SIG_DFL) == other_handler);
    yula_loop_free(loop);
}

TEST(freeing_the_loop_restores_handlers_that_were_not_stopped)
{
    yula_loop *loop = begin();
    yula_signal usr1;

    signal(SIGUSR1, plain_handler);
    signal_begin(loop, &usr1, SIGUSR1, NULL);
    yula_loop_free(loop);
    CHECK(signal(SIGUSR1, SIG_DFL) == plain_handler);
}

TEST(the_handler_leaves_errno_alone)
{
    yula_loop *loop = begin();
    yula_signal usr1;
    int fd = yula_signal_pipe(loop, NULL, NULL);

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    while (write(fd, "", 1) == 1) /* a full pipe: the handler's write fails */
        continue;
    errno = ELOOP;
    raise(SIGUSR1);
    CHECK_EQ(errno, ELOOP);
    while (seen_count == 0)
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_EQ(seen_count, 1); /* and nothing was lost */
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

TEST(a_slow_system_call_is_not_interrupted_by_a_watched_signal)
{
    yula_loop *loop = begin();
    yula_signal usr1;
    struct sigaction action;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    CHECK_EQ(sigaction(SIGUSR1, NULL, &action), 0);
    CHECK(action.sa_flags & SA_RESTART);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

/* --- callbacks may do anything ------------------------------------------- */

static yula_signal *victim;

static void
stop_victim(yula_signal *signal, int number, void *arg)
{
    on_signal(signal, number, NULL);
    yula_signal_stop(victim);
    yula_signal_stop(signal);
}

TEST(a_watcher_stopped_by_another_ones_callback_is_not_told)
{
    yula_loop *loop = begin();
    yula_signal first, second;

    yula_signal_init(loop, &first, YULA_LANE_HOST);
    yula_signal_init(loop, &second, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&first, SIGUSR1, stop_victim, NULL), 0);
    CHECK_EQ(yula_signal_start(&second, SIGUSR1, stop_victim, NULL), 0);
    victim = &first;
    raise(SIGUSR1);
    some_turns(loop);
    CHECK_EQ(seen_count, 1);
    yula_signal_stop(&second);
    CHECK_EQ(yula_loop_run(loop), 0);
    yula_loop_free(loop);
}

TEST(a_started_signal_keeps_the_loop_running_and_a_stopped_one_does_not)
{
    yula_loop *loop = begin();
    yula_signal usr1;

    yula_signal_init(loop, &usr1, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&usr1, SIGUSR1, stop_victim, NULL), 0);
    victim = &usr1;
    raise(SIGUSR1);
    CHECK_EQ(yula_loop_run(loop), 0); /* ends because the callback stops it */
    CHECK_EQ(seen_count, 1);
    yula_loop_free(loop);
}

TEST(a_signal_that_cannot_start_leaves_nothing_behind)
{
    for (long n = 1;; n++) {
        yula_loop *loop = begin();
        yula_signal usr1;
        yula_signal_init(loop, &usr1, YULA_LANE_HOST);
        test_fail_sys(n, EMFILE);
        int err = yula_signal_start(&usr1, SIGUSR1, on_signal, NULL);
        bool failed = test_sys_failed();
        test_fail_sys(0, 0);
        CHECK_EQ(err, failed ? -EMFILE : 0);
        if (failed)
            CHECK_EQ(yula_signal_start(&usr1, SIGUSR1, on_signal, NULL), 0);
        yula_signal_stop(&usr1);
        yula_loop_free(loop);
        CHECK_EQ(test_memory_live(), 0);
        if (!failed)
            break;
        CHECK(n < 10);
    }
    yula_loop *loop = begin();
    test_fail_alloc(1);
    CHECK_EQ(yula_signal_pipe(loop, NULL, NULL), -ENOMEM);
    yula_loop_free(loop);
}

/* --- a host's own handlers ----------------------------------------------- */

static void
on_byte(yula_loop *loop, int number, void *arg)
{
    seen[seen_count++] = number;
    if (arg != NULL)
        *(bool *)arg = true;
}

TEST(bytes_written_to_the_pipe_arrive_as_numbers_in_order)
{
    yula_loop *loop = begin();
    bool came = false;
    int fd = yula_signal_pipe(loop, on_byte, &came);

    CHECK(fd >= 0);
    CHECK_EQ(yula_signal_pipe(loop, on_byte, &came), fd);
    CHECK_EQ(write(fd, "\2\17\2", 3), 3);
    test_run_until(loop, &came);
    CHECK_EQ(seen_count, 3);
    CHECK_EQ(seen[0], 2);
    CHECK_EQ(seen[1], 15);
    CHECK_EQ(seen[2], 2);
    CHECK_EQ(yula_loop_run(loop), 0); /* the pipe keeps nothing running */
    yula_loop_free(loop);
}

TEST(signals_of_ours_are_not_reported_as_bytes_of_the_host)
{
    yula_loop *loop = begin();
    yula_signal usr1;
    bool byte = false, came = false;

    CHECK(yula_signal_pipe(loop, on_byte, &byte) >= 0);
    signal_begin(loop, &usr1, SIGUSR1, &came);
    raise(SIGUSR1);
    test_run_until(loop, &came);
    CHECK(!byte);
    CHECK_EQ(seen_count, 1);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

/* --- driven from outside ------------------------------------------------- */

TEST(a_foreign_loop_is_woken_by_a_signal_and_rests_after_it)
{
    yula_loop *loop = begin();
    struct pollfd entry = {.fd = yula_loop_fd(loop), .events = POLLIN};
    yula_signal usr1;

    signal_begin(loop, &usr1, SIGUSR1, NULL);
    for (int round = 1; round <= 3; round++) {
        CHECK_EQ(yula_loop_next_deadline(loop), YULA_NEVER);
        CHECK_EQ(poll(&entry, 1, 0), 0);
        raise(SIGUSR1);
        CHECK_EQ(poll(&entry, 1, -1), 1);
        while (poll(&entry, 1, 0) == 1 ||
               yula_loop_next_deadline(loop) != YULA_NEVER)
            test_turn(loop); /* must come to an end */
        CHECK_EQ(seen_count, round);
    }
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

/* --- two threads --------------------------------------------------------- */

static atomic_bool keep_raising;

static void *
raise_for_ever(void *arg)
{
    while (atomic_load(&keep_raising))
        raise(SIGUSR2);
    return NULL;
}

/* The descriptor a stopped loop closes is reused at once: a handler that still
 * wrote to it would show up in the other end of the pair. */
TEST(a_handler_never_writes_into_a_descriptor_that_was_closed)
{
    pthread_t thread;

    seen_count = 0;
    signal(SIGUSR2, SIG_IGN);
    atomic_store(&keep_raising, true);
    CHECK_EQ(pthread_create(&thread, NULL, raise_for_ever, NULL), 0);
    for (int round = 0; round < 200; round++) {
        yula_loop *loop = test_loop();
        yula_signal usr2;
        char byte;
        int fds[2];
        bool came = false;
        signal_begin(loop, &usr2, SIGUSR2, &came);
        if (round % 2 == 0)
            test_run_until(loop, &came);
        seen_count = 0;
        yula_signal_stop(&usr2);
        yula_loop_free(loop);
        test_unix_pair(fds);
        sched_yield();
        CHECK_EQ(read(fds[0], &byte, 1), -1);
        CHECK_EQ(read(fds[1], &byte, 1), -1);
        close(fds[0]);
        close(fds[1]);
    }
    atomic_store(&keep_raising, false);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    signal(SIGUSR2, SIG_DFL);
}
