/* test_process_await.c: children as tasks use them. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "actors.h"
#include "support.h"
#include "test.h"

#if YULA__HAVE_VALGRIND
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#define MILLISECOND INT64_C(1000000)
#define BULK ((size_t)1 << 20) /* more than pipes and queues hold */

typedef struct play {
    const char *argv[4];
    yula_process_options options;
    yula_child *child;
    const char *input;
    size_t input_len;
    size_t limit;
    int64_t timeout_ns; /* 0: none */
    yula_child_result result;
    int number;
} play;

/* A script for the shell, its standard descriptors pipes. */
static play *
script(const char *text)
{
    static play self;

    self = (play){.argv = {"sh", "-c", text},
                  .options = {.size = sizeof(self.options)},
                  .limit = 2 * BULK};
    self.options.argv = self.argv;
    for (int i = 0; i < 3; i++)
        self.options.stdio[i].io = YULA_PROCESS_PIPE;
    return &self;
}

static void
no_child_is_left(void)
{
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

static int
run_child(actor *self, void *arg)
{
    play *with = arg;
    yula_scope scope;
    int64_t deadline_ns = YULA_NEVER;

    if (with->timeout_ns > 0)
        deadline_ns = yula_loop_now(self->loop) + with->timeout_ns;
    CHECK_EQ(yula_deadline_enter(self->loop, &scope, deadline_ns), 0);
    int err = yula_child_run(self->loop, &with->options, with->input,
                             with->input_len, with->limit, &with->result);
    return yula_deadline_leave(&scope, err);
}

static void
forget(play *with)
{
    yula_loop *loop = test_loop();

    yula_child_result_free(loop, &with->result);
    CHECK(with->result.out == NULL && with->result.out_len == 0);
    yula_loop_free(loop);
}

/* --- all at once ---------------------------------------------------------- */

TEST(what_a_child_writes_comes_with_its_status)
{
    play *with = script("read word; echo \"got $word\"; echo bad >&2; exit 3");

    with->input = "this\n";
    with->input_len = 5;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK_STR(with->result.out, "got this\n");
    CHECK_EQ(with->result.out_len, 9);
    CHECK_STR(with->result.err, "bad\n");
    CHECK_EQ(yula_process_code(with->result.status), 3);
    forget(with);

    with = script("exit 0"); /* says nothing, wants nothing */
    with->input = "this\n";
    with->input_len = 5;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK_STR(with->result.out, "");
    CHECK_STR(with->result.err, "");
    CHECK_EQ(with->result.status, 0);
    forget(with);

    with = script("echo unheard");
    with->options.stdio[1].io = YULA_PROCESS_DEVNULL;
    with->options.stdio[2].io = YULA_PROCESS_INHERIT;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK(with->result.out == NULL && with->result.err == NULL);
    forget(with);
    no_child_is_left();
}

TEST(a_program_that_is_not_there_is_an_error_without_a_child)
{
    play *with = script("");

    if (RUNNING_ON_VALGRIND)
        test_skip("its children do not share our memory: they exit with 127");
    with->options.file = "no-such-program-anywhere";
    CHECK_EQ(actor_alone(run_child, with), -ENOENT);
    CHECK_EQ(with->result.status, -EBUSY);
    CHECK(with->result.out == NULL);
    no_child_is_left();
}

TEST(much_goes_in_and_comes_out_at_the_same_time)
{
    play *with = script("tee /dev/stderr");
    char *bytes = malloc(BULK);

    for (size_t i = 0; i < BULK; i++)
        bytes[i] = (char)(i * 7 + (i >> 8));
    with->input = bytes;
    with->input_len = BULK;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK_EQ(with->result.status, 0);
    CHECK_EQ(with->result.out_len, BULK);
    CHECK(memcmp(with->result.out, bytes, BULK) == 0);
    CHECK_EQ(with->result.err_len, BULK);
    CHECK(memcmp(with->result.err, bytes, BULK) == 0);
    forget(with);

    with = script("sleep 0.01; exit 4"); /* and it does not want it */
    with->input = bytes;
    with->input_len = BULK;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK_EQ(yula_process_code(with->result.status), 4);
    forget(with);
    free(bytes);
    no_child_is_left();
}

TEST(a_child_that_says_too_much_is_killed)
{
    static const char *const scripts[] = {"exec yes", "exec yes >&2"};

    for (int i = 0; i < 2; i++) {
        play *with = script(scripts[i]);
        with->limit = 5001;
        CHECK_EQ(actor_alone(run_child, with), -EMSGSIZE);
        CHECK_EQ(with->result.out_len + with->result.err_len, 5001);
        CHECK(WIFSIGNALED(with->result.status));
        forget(with);
        no_child_is_left();
    }
    play *with = script("printf 12345"); /* just enough */
    with->limit = 5;
    CHECK_EQ(actor_alone(run_child, with), 0);
    CHECK_STR(with->result.out, "12345");
    forget(with);
}

TEST(a_deadline_kills_the_child_and_its_group_and_keeps_what_came)
{
    play *with = script("echo begun; sleep 100 & sleep 100");

    with->options.flags = YULA_PROCESS_NEW_GROUP;
    with->timeout_ns = 200 * MILLISECOND;
    CHECK_EQ(actor_alone(run_child, with), -ETIMEDOUT);
    CHECK_EQ(with->result.status, SIGKILL);
    CHECK_STR(with->result.out, "begun\n");
    forget(with);
    no_child_is_left();
}

/* --- step by step --------------------------------------------------------- */

static int
converse(actor *self, void *arg)
{
    play *with = arg;
    char *line;

    CHECK_EQ(yula_child_start(self->loop, &with->options, &with->child), 0);
    yula_child *child = with->child;
    CHECK(yula_child_stderr(child) == NULL);
    CHECK_EQ(yula_process_signal(yula_child_process(child), 0), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(yula_sink_write(yula_child_stdin(child), "word\n", 5), 0);
        CHECK_EQ(yula_source_read_line(yula_child_stdout(child), &line), 6);
        CHECK_STR(line, "<word>");
    }
    yula_child_close_stdin(child);
    CHECK(yula_child_stdin(child) == NULL);
    CHECK_EQ(yula_source_read_line(yula_child_stdout(child), &line), YULA_EOF);
    int status = yula_child_wait(child);
    CHECK_EQ(yula_child_wait(child), status);
    CHECK_EQ(yula_child_stop(child, MILLISECOND), status); /* it has ended */
    yula_child_close(child);
    return yula_process_code(status);
}

TEST(a_task_talks_with_a_child)
{
    play *with = script("while read word; do echo \"<$word>\"; done; exit 9");

    with->options.stdio[2].io = YULA_PROCESS_INHERIT;
    CHECK_EQ(actor_alone(converse, with), 9);
    no_child_is_left();
}

static int
wait_for_child(actor *self, void *arg)
{
    play *with = arg;

    return yula_child_wait(with->child);
}

TEST(several_tasks_wait_for_a_child_and_one_is_interrupted)
{
    yula_loop *loop = test_loop();
    play *with = script("exec cat");
    actor ann, bob, cleo;

    CHECK_EQ(yula_child_start(loop, &with->options, &with->child), 0);
    actor_start(&ann, loop, "ann", wait_for_child, with);
    actor_start(&bob, loop, "bob", wait_for_child, with);
    actor_start(&cleo, loop, "cleo", wait_for_child, with);
    settle(loop);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_EQ(yula_process_signal(yula_child_process(with->child), SIGTERM), 0);
    CHECK_EQ(actor_end(&ann), SIGTERM);
    CHECK_EQ(actor_end(&cleo), SIGTERM);
    yula_child_close(with->child);
    no_child_is_left();
    yula_loop_free(loop);
}

/* Starts it, waits for its first line, and stops it. */
static int
stop_after_a_line(actor *self, void *arg)
{
    play *with = arg;
    char *line;

    int err = yula_child_start(self->loop, &with->options, &with->child);
    CHECK_EQ(err, 0);
    ssize_t len = yula_source_read_line(yula_child_stdout(with->child), &line);
    CHECK_EQ(len, 5);
    int status = yula_child_stop(with->child, with->timeout_ns);
    yula_child_close(with->child);
    return status;
}

TEST(a_child_is_stopped_gently_at_first)
{
    play *with = script("trap 'exit 5' TERM; echo ready; "
                        "while :; do sleep 0.01; done");

    with->timeout_ns = 20000 * MILLISECOND;
    CHECK_EQ(yula_process_code(actor_alone(stop_after_a_line, with)), 5);

    with = script("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    with->options.flags = YULA_PROCESS_NEW_SESSION;
    with->timeout_ns = 20 * MILLISECOND;
    CHECK_EQ(actor_alone(stop_after_a_line, with), SIGKILL);

    with = script("trap 'exit 5' TERM; echo ready; "
                  "while :; do sleep 0.01; done");
    CHECK_EQ(actor_alone(stop_after_a_line, with), SIGKILL); /* at once */
    no_child_is_left();
}

TEST(an_interrupted_stop_kills_the_child)
{
    yula_loop *loop = test_loop();
    play *with = script("trap '' TERM; echo ready; "
                        "while :; do sleep 0.01; done");
    actor ann;

    with->timeout_ns = 20000 * MILLISECOND;
    actor_start(&ann, loop, "ann", stop_after_a_line, with);
    yula_task_info info = {.waits_for = ""};
    while (strcmp(info.waits_for, "process") != 0) {
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
        yula_task_get_info(ann.task, &info);
    }
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    no_child_is_left();
    yula_loop_free(loop);
}

static int
communicate_late(actor *self, void *arg)
{
    play *with = arg;
    yula_scope scope;

    int err = yula_child_start(self->loop, &with->options, &with->child);
    CHECK_EQ(err, 0);
    CHECK_EQ(yula_deadline_enter(self->loop, &scope,
                                 yula_loop_now(self->loop) + 100 * MILLISECOND),
             0);
    err = yula_child_communicate(with->child, NULL, 0, with->limit,
                                 &with->result);
    err = yula_deadline_leave(&scope, err);
    CHECK_EQ(with->result.status, -EBUSY); /* runs on */
    CHECK_EQ(yula_process_signal(yula_child_process(with->child), SIGTERM), 0);
    CHECK_EQ(yula_child_wait(with->child), SIGTERM);
    yula_child_close(with->child);
    return err;
}

TEST(communicating_that_takes_too_long_leaves_the_child_to_its_owner)
{
    play *with = script("echo begun; exec sleep 100");

    CHECK_EQ(actor_alone(communicate_late, with), -ETIMEDOUT);
    CHECK_STR(with->result.out, "begun\n");
    forget(with);
    no_child_is_left();
}

/* --- torture -------------------------------------------------------------- */

static int
run_twice(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    play *with = arg;
    yula_child *child;

    int err = yula_child_run(loop, &with->options, with->input, with->input_len,
                             with->limit, &with->result);
    CHECK(err < 0 || with->result.out_len == with->input_len);
    yula_child_result_free(loop, &with->result);
    if (err == 0)
        err = yula_child_start(loop, &with->options, &child);
    if (err < 0)
        return err;
    err = yula_sink_write(yula_child_stdin(child), "word\n", 5);
    char *line;
    if (err == 0)
        err = (int)yula_source_read_line(yula_child_stdout(child), &line);
    int status = yula_child_stop(child, 1000 * MILLISECOND);
    yula_child_close(child);
    CHECK(status == SIGTERM || status == SIGKILL || status == YULA_ECANCELED);
    return err < 0 ? err : 0;
}

static void
child_scene(yula_loop *loop)
{
    static char bytes[100000];
    play *with = script("exec cat");
    int result = 0;

    with->input = bytes;
    with->input_len = sizeof(bytes);
    int err = yula_task_run(loop, NULL, run_twice, with, &result);
    if (err == 0)
        err = result;
    CHECK(err == 0 || err == YULA_ECANCELED || err == -ENOMEM);
    /* What was started and could not be handed over ends in the background. */
    while (waitpid(-1, NULL, WNOHANG) == 0)
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    no_child_is_left();
}

TEST(children_whose_tasks_are_interrupted_at_every_wait_leave_nothing_behind)
{
    CHECK(actor_interrupt_everywhere(child_scene) > 8);
}

TEST(children_without_memory_at_every_allocation_in_turn_leave_nothing_behind)
{
    for (long n = 1;; n++) {
        yula_loop *loop = test_loop();
        test_fail_alloc(n);
        child_scene(loop);
        bool failed = test_alloc_failed();
        test_faults_clear();
        yula_loop_free(loop);
        no_child_is_left();
        if (!failed) {
            CHECK(n > 15);
            return;
        }
    }
}
