/* test_process.c: child processes. */
#include <yula/process.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

#if YULA__HAVE_VALGRIND
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* A child and what is told of it. */
typedef struct play {
    yula_process *process;
    yula_process_options options;
    const char *argv[16];
    int told, status;
    bool done;
    bool free_when_told;
} play;

static void
on_exit_told(yula_process *process, int status, void *arg)
{
    play *self = arg;

    CHECK(process == self->process);
    CHECK_EQ(yula_process_status(process), status);
    self->told++;
    self->status = status;
    self->done = true;
    if (self->free_when_told)
        yula_process_free(process);
}

/* A script for the shell. */
static play *
script(const char *text)
{
    static play self;

    self = (play){.options = {.size = sizeof(self.options)},
                  .argv = {"sh", "-c", text, "sh"}};
    self.options.argv = self.argv;
    return &self;
}

static int
start(play *self, yula_loop *loop)
{
    return yula_process_start(loop, YULA_LANE_HOST, &self->options,
                              on_exit_told, self, &self->process);
}

static int
finish(play *self, yula_loop *loop)
{
    CHECK_EQ(yula_loop_run(loop), 0); /* as long as the child runs */
    CHECK_EQ(self->told, 1);
    yula_process_free(self->process);
    return self->status;
}

static int
exit_of(play *self, yula_loop *loop)
{
    CHECK_EQ(start(self, loop), 0);
    return finish(self, loop);
}

static void
no_child_is_left(void)
{
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
}

/* All that comes from our end of a pipe; closes it. */
static const char *
all_of(int fd)
{
    static char text[8192];
    size_t len = 0;
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    CHECK(fd >= 0);
    for (;;) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n == 0)
            break;
        if (n < 0) {
            CHECK_EQ(errno, EAGAIN);
            (void)poll(&entry, 1, -1);
            continue;
        }
        len += (size_t)n;
    }
    text[len] = '\0';
    close(fd);
    return text;
}

/* What it writes to its standard output. */
static const char *
output_of(play *self, yula_loop *loop)
{
    self->options.stdio[1].io = YULA_PROCESS_PIPE;
    CHECK_EQ(start(self, loop), 0);
    int fd = yula_process_take(self->process, 1);
    CHECK_EQ(yula_process_take(self->process, 1), -EBADF);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    const char *text = all_of(fd);
    CHECK_EQ(finish(self, loop), 0);
    return text;
}

/* --- the end -------------------------------------------------------------- */

TEST(the_end_of_a_child_is_told_once)
{
    yula_loop *loop = test_loop();
    play *self = script("exit 7");

    CHECK_EQ(start(self, loop), 0);
    CHECK_EQ(yula_process_status(self->process), -EBUSY);
    pid_t pid = yula_process_pid(self->process);
    CHECK(pid > 0 && pid != getpid());
    CHECK_EQ(self->told, 0);
    int status = finish(self, loop);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_EQ(yula_process_code(status), 7);
    status = exit_of(script("kill -9 $$"), loop);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    CHECK_EQ(yula_process_code(status), 128 + SIGKILL);
    CHECK_EQ(yula_process_code(-ECHILD), -ECHILD);
    no_child_is_left();
    yula_loop_free(loop);
}

TEST(a_process_can_be_freed_when_its_end_is_told)
{
    yula_loop *loop = test_loop();
    play *self = script("exit 0");

    self->free_when_told = true;
    CHECK_EQ(start(self, loop), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self->told, 1);
    no_child_is_left();
    yula_loop_free(loop);
}

TEST(of_many_children_each_tells_its_own_end)
{
    enum {
        MANY = 40
    };
    static play all[MANY];
    static char codes[MANY][4];
    yula_loop *loop = test_loop();

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(codes[i], sizeof(codes[i]), "%d", i);
        all[i] = *script("exit $1");
        all[i].argv[4] = codes[i];
        all[i].options.argv = all[i].argv;
        CHECK_EQ(start(&all[i], loop), 0);
    }
    CHECK_EQ(yula_loop_run(loop), 0);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(all[i].told, 1);
        CHECK_EQ(yula_process_code(all[i].status), i);
        yula_process_free(all[i].process);
    }
    no_child_is_left();
    yula_loop_free(loop);
}

/* Where the kernel cannot tell any more (before 6.15), it is -ECHILD. */
static void
check_lost(int status, int code)
{
    CHECK(status == -ECHILD || yula_process_code(status) == code);
}

TEST(an_end_is_not_lost_when_sigchld_is_blocked_or_ignored)
{
    yula_loop *loop = test_loop();
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    CHECK_EQ(sigprocmask(SIG_BLOCK, &set, &before), 0);
    CHECK_EQ(yula_process_code(exit_of(script("exit 3"), loop)), 3);
    CHECK_EQ(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    CHECK(signal(SIGCHLD, SIG_IGN) == SIG_DFL);
    for (int i = 0; i < 20; i++)
        check_lost(exit_of(script("exit 4"), loop), 4);
    test_fail_sys_named("pidfd", 1, ENOSYS);
    CHECK_EQ(exit_of(script("exit 4"), loop), -ECHILD);
    test_faults_clear();
    CHECK(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
    yula_loop_free(loop);
}

TEST(an_end_that_somebody_else_collects_is_told_all_the_same)
{
    yula_loop *loop = test_loop();
    play *self = script("exit 5");

    CHECK_EQ(start(self, loop), 0);
    CHECK_EQ(waitpid(-1, NULL, 0), yula_process_pid(self->process));
    check_lost(finish(self, loop), 5);
    yula_loop_free(loop);
}

TEST(without_pidfds_a_thread_waits)
{
    yula_loop *loop = test_loop();
    play *self = script("exit 6");

    test_fail_sys_named("pidfd", 1, ENOSYS);
    CHECK_EQ(yula_process_code(exit_of(self, loop)), 6);
    self = script("exec sleep 100");
    CHECK_EQ(start(self, loop), 0);
    CHECK_EQ(yula_process_signal(self->process, SIGTERM), 0);
    CHECK_EQ(finish(self, loop), SIGTERM);
    test_fail_sys_named("thread_start", 1, EAGAIN);
    test_faults_clear();
    no_child_is_left();
    yula_loop_free(loop);
}

/* --- starting ------------------------------------------------------------- */

TEST(a_program_that_cannot_be_executed_is_an_error_of_the_start)
{
    const char *env[] = {"PATH=/no/where", NULL};
    play *self = script("");

    if (RUNNING_ON_VALGRIND)
        test_skip("its children do not share our memory: they exit with 127");
    yula_loop *loop = test_loop();
    self->options.env = env;
    CHECK_EQ(start(self, loop), -ENOENT); /* there is a shell, but not there */
    self->options.env = NULL;
    self->options.file = "no-such-program-anywhere";
    CHECK_EQ(start(self, loop), -ENOENT);
    self->options.file = "/no/such/program";
    CHECK_EQ(start(self, loop), -ENOENT);
    self->options.file = "";
    CHECK_EQ(start(self, loop), -ENOENT);
    self->options.file = "/etc/passwd";
    CHECK_EQ(start(self, loop), -EACCES);
    self->options.file = NULL;
    self->options.cwd = "/no/such/folder";
    CHECK_EQ(start(self, loop), -ENOENT);
    self->options.cwd = NULL;
    self->options.stdio[1] = (yula_process_stdio){YULA_PROCESS_FD, 900};
    CHECK_EQ(start(self, loop), -EBADF);
    self->options.stdio[1].fd = -1;
    CHECK_EQ(start(self, loop), -EBADF);
    self->options.stdio[1].io = YULA_PROCESS_STDOUT;
    CHECK_EQ(start(self, loop), -EINVAL);
    self->options.stdio[1].io = (yula_process_io)9;
    CHECK_EQ(start(self, loop), -EINVAL);
    self->options.stdio[1].io = YULA_PROCESS_INHERIT;
    self->options.pass_fds = (const int[]){2};
    self->options.pass_count = 1;
    CHECK_EQ(start(self, loop), -EINVAL);
    self->options.pass_fds = (const int[]){900};
    CHECK_EQ(start(self, loop), -EBADF);
    self->options.pass_count = 0;
    self->argv[0] = NULL;
    CHECK_EQ(start(self, loop), -EINVAL);
    self->options.size = 1;
    CHECK_EQ(start(self, loop), -EINVAL);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self->told, 0);
    no_child_is_left();
    yula_loop_free(loop);
}

TEST(a_child_has_the_environment_and_the_folder_it_was_given)
{
    yula_loop *loop = test_loop();
    const char *env[] = {"WORD=given", "PATH=/no/where::/bin:/usr/bin", NULL};
    play *self = script("printf '%s %s %s' \"$WORD\" \"$HOME\" \"$(pwd)\"");

    self->options.env = env;
    self->options.cwd = "/usr";
    CHECK_STR(output_of(self, loop), "given  /usr");
    CHECK_EQ(setenv("WORD", "inherited", 1), 0);
    CHECK_STR(output_of(script("printf %s \"$WORD\""), loop), "inherited");
    self = script("printf %s $0"); /* another name than the file's */
    self->argv[0] = "other";
    self->argv[3] = NULL;
    self->options.file = "sh";
    CHECK_STR(output_of(self, loop), "other");
    yula_loop_free(loop);
}

/* --- descriptors ---------------------------------------------------------- */

TEST(a_child_reads_and_writes_pipes)
{
    yula_loop *loop = test_loop();
    play *self = script("read word; echo \"got $word\"; echo wrong >&2");

    for (int i = 0; i < 3; i++)
        self->options.stdio[i].io = YULA_PROCESS_PIPE;
    CHECK_EQ(start(self, loop), 0);
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = yula_process_take(self->process, i);
    CHECK_EQ(yula_process_take(self->process, 3), -EBADF);
    CHECK_EQ(write(fds[0], "this\n", 5), 5);
    close(fds[0]);
    CHECK_STR(all_of(fds[1]), "got this\n");
    CHECK_STR(all_of(fds[2]), "wrong\n");
    CHECK_EQ(finish(self, loop), 0);
    yula_loop_free(loop);
}

TEST(descriptors_lead_where_they_were_told_also_crosswise)
{
    yula_loop *loop = test_loop();
    play *self = script("echo out; echo err >&2");
    int fds[2];

    self->options.stdio[2].io = YULA_PROCESS_STDOUT;
    CHECK_STR(output_of(self, loop), "out\nerr\n");

    self = script("read line; echo \"$line.\"; ls -l /proc/self/fd/0");
    self->options.stdio[0].io = YULA_PROCESS_DEVNULL;
    CHECK(strstr(output_of(self, loop), "/dev/null") != NULL);

    /* Standard output to the pipe by its number, errors where ours goes; and
     * both the other way round. */
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    int out = fcntl(1, F_DUPFD_CLOEXEC, 3), err = fcntl(2, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK_EQ(dup2(fds[1], 1), 1);
    CHECK_EQ(dup2(null, 2), 2);
    self = script("echo out; echo err >&2");
    self->options.stdio[1] = (yula_process_stdio){YULA_PROCESS_FD, 2};
    self->options.stdio[2] = (yula_process_stdio){YULA_PROCESS_FD, 1};
    int status = exit_of(self, loop);
    self = script("echo plain");
    self->options.stdio[1] = (yula_process_stdio){YULA_PROCESS_FD, fds[1]};
    self->options.stdio[2].io = YULA_PROCESS_DEVNULL;
    status |= exit_of(self, loop);
    CHECK_EQ(dup2(out, 1), 1);
    CHECK_EQ(dup2(err, 2), 2);
    close(out);
    close(err);
    close(null);
    close(fds[1]);
    CHECK_EQ(status, 0);
    CHECK_STR(all_of(fds[0]), "err\nplain\n");
    yula_loop_free(loop);
}

static void
check_no_others(yula_loop *loop)
{
    int leaks[2], passed[2];
    char names[3][8];
    const char *text = "for n in \"$@\"; do if [ -e /proc/self/fd/$n ]; "
                       "then echo \"$n\"; fi; done";
    play *self = script(text);

    CHECK_EQ(pipe(leaks), 0); /* and would be inherited */
    CHECK_EQ(pipe2(passed, O_CLOEXEC), 0);
    (void)snprintf(names[0], 8, "%d", leaks[0]);
    (void)snprintf(names[1], 8, "%d", leaks[1]);
    (void)snprintf(names[2], 8, "%d", passed[1]);
    for (int i = 0; i < 3; i++)
        self->argv[4 + i] = names[i];
    self->options.pass_fds = &passed[1];
    self->options.pass_count = 1;
    char expected[16];
    (void)snprintf(expected, sizeof(expected), "%d\n", passed[1]);
    CHECK_STR(output_of(self, loop), expected);
    CHECK_EQ(fcntl(passed[1], F_GETFD), FD_CLOEXEC); /* ours is as it was */
    for (int i = 0; i < 2; i++) {
        close(leaks[i]);
        close(passed[i]);
    }
}

TEST(a_child_has_no_descriptors_but_those_it_was_given)
{
    yula_loop *loop = test_loop();

    check_no_others(loop);
    test_fail_sys_named("close_range", 1, ENOSYS); /* an older kernel */
    check_no_others(loop);
    test_faults_clear();
    yula_loop_free(loop);
}

/* In a copy of this process that has no standard descriptors: pipes get their
 * numbers. */
static int
without_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    yula_loop *loop;
    if (yula_loop_new(NULL, &loop) < 0) /* takes those numbers as well */
        return 10;
    play *self = script("read word; echo \"$word\"; [ ! -e /proc/self/fd/2 ]");
    self->options.stdio[0].io = YULA_PROCESS_PIPE;
    self->options.stdio[1].io = YULA_PROCESS_PIPE;
    if (start(self, loop) < 0)
        return 11;
    int in = yula_process_take(self->process, 0);
    int out = yula_process_take(self->process, 1);
    if (write(in, "word\n", 5) != 5)
        return 12;
    close(in);
    if (strcmp(all_of(out), "word\n") != 0)
        return 13;
    if (yula_loop_run(loop) < 0 || self->told != 1)
        return 14;
    yula_process_free(self->process);
    yula_loop_free(loop);
    return yula_process_code(self->status);
}

TEST(a_parent_without_standard_descriptors_has_children_with_them)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(without_standard_descriptors());
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

/* --- signals -------------------------------------------------------------- */

static void
on_usr1(int number)
{
    CHECK(false);
}

/* The mask that a line of /proc/self/status has. */
static unsigned long long
mask_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    CHECK(line != NULL);
    return strtoull(line + strlen(name), NULL, 16);
}

TEST(a_child_blocks_no_signal_and_ignores_what_it_should)
{
    yula_loop *loop = test_loop();
    play *self = script("exec cat /proc/self/status");
    sigset_t set, before;

    sigfillset(&set);
    CHECK_EQ(sigprocmask(SIG_BLOCK, &set, &before), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGUSR1, on_usr1);
    const char *text = output_of(self, loop);
    (void)signal(SIGHUP, SIG_DFL);
    (void)signal(SIGUSR1, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    CHECK_EQ(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    CHECK_EQ(mask_of(text, "SigBlk:"), 0);
    unsigned long long ignored = mask_of(text, "SigIgn:");
    CHECK(ignored & 1ULL << (SIGHUP - 1));
    CHECK(!(ignored & 1ULL << (SIGPIPE - 1)));
    CHECK_EQ(mask_of(text, "SigCgt:"), 0);
    yula_loop_free(loop);
}

TEST(a_child_is_signalled_until_its_end_is_known)
{
    yula_loop *loop = test_loop();
    play *self = script("exec sleep 100");

    CHECK_EQ(start(self, loop), 0);
    CHECK_EQ(yula_process_signal(self->process, 0), 0);
    CHECK_EQ(yula_process_signal(self->process, 999), -EINVAL);
    CHECK_EQ(yula_process_signal_group(self->process, SIGTERM), -EINVAL);
    CHECK_EQ(yula_process_signal(self->process, SIGTERM), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self->status, SIGTERM);
    CHECK_EQ(yula_process_signal(self->process, SIGTERM), -ESRCH);
    yula_process_free(self->process);
    yula_loop_free(loop);
}

TEST(a_group_or_session_of_its_own_is_signalled_as_a_whole)
{
    static const unsigned flags[] = {YULA_PROCESS_NEW_GROUP,
                                     YULA_PROCESS_NEW_SESSION};
    yula_loop *loop = test_loop();

    for (int i = 0; i < 2; i++) {
        play *self = script("sleep 100 & echo started; wait");
        self->options.flags = flags[i];
        self->options.stdio[1].io = YULA_PROCESS_PIPE;
        CHECK_EQ(start(self, loop), 0);
        pid_t pid = yula_process_pid(self->process);
        CHECK_EQ(getpgid(pid), pid);
        CHECK_EQ(getsid(pid), i == 0 ? getsid(0) : pid);
        int fd = yula_process_take(self->process, 1);
        test_wait_readable(fd);
        CHECK_EQ(yula_process_signal_group(self->process, SIGTERM), 0);
        CHECK_STR(all_of(fd), "started\n"); /* the sleep has closed it, too */
        CHECK_EQ(yula_loop_run(loop), 0);
        CHECK_EQ(self->status, SIGTERM);
        CHECK_EQ(yula_process_signal_group(self->process, SIGTERM), -ESRCH);
        yula_process_free(self->process);
    }
    yula_loop_free(loop);
}

/* --- letting go ----------------------------------------------------------- */

/* It has ended, and somebody has collected it. */
static bool
is_gone(pid_t pid)
{
    siginfo_t info;

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0;
}

/* A child that ends when its input does: when the process is freed. */
static pid_t
start_and_free(yula_loop *loop)
{
    play *self = script("exec cat");

    self->options.stdio[0].io = YULA_PROCESS_PIPE;
    CHECK_EQ(start(self, loop), 0);
    pid_t pid = yula_process_pid(self->process);
    CHECK(!is_gone(pid));
    yula_process_free(self->process);
    return pid;
}

TEST(a_child_let_go_is_collected_when_it_ends)
{
    for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
        yula_loop *loop = test_loop();
        if (!with_pidfd)
            test_fail_sys_named("pidfd", 1, ENOSYS);
        pid_t pid = start_and_free(loop);
        CHECK_EQ(yula_loop_run(loop), 0); /* does not wait for it */
        while (!is_gone(pid))
            CHECK_EQ(yula_loop_step(loop, 0), 0);
        test_faults_clear();
        yula_loop_free(loop);
    }
}

TEST(a_child_that_outlives_its_loop_is_collected_when_it_ends)
{
    for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
        yula_loop *loop = test_loop();
        if (!with_pidfd)
            test_fail_sys_named("pidfd", 1, ENOSYS);
        play *self = script("exec cat");
        self->options.stdio[0].io = YULA_PROCESS_PIPE;
        CHECK_EQ(start(self, loop), 0);
        pid_t pid = yula_process_pid(self->process);
        int fd = yula_process_take(self->process, 0);
        yula_process_free(self->process);
        yula_loop_free(loop);
        CHECK(!is_gone(pid));
        close(fd);
        while (!is_gone(pid) || test_memory_live() > 0)
            sched_yield();
        test_faults_clear();
    }
}

TEST(a_child_that_ended_unnoticed_is_collected_with_the_loop)
{
    siginfo_t info;

    for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
        yula_loop *loop = test_loop();
        if (!with_pidfd)
            test_fail_sys_named("pidfd", 1, ENOSYS);
        play *self = script("exit 0");
        CHECK_EQ(start(self, loop), 0);
        pid_t pid = yula_process_pid(self->process);
        CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        yula_process_free(self->process);
        yula_loop_free(loop);
        while (!is_gone(pid) || test_memory_live() > 0)
            sched_yield(); /* at once, with a pidfd */
        test_faults_clear();
    }
}

TEST(the_copy_of_a_forked_process_leaves_the_children_alone)
{
    yula_loop *loop = test_loop();
    play *self = script("exec cat");
    int status;

    self->options.stdio[0].io = YULA_PROCESS_PIPE;
    CHECK_EQ(start(self, loop), 0);
    pid_t pid = fork();
    if (pid == 0) {
        yula_loop_forked(loop);
        yula_process_free(self->process);
        yula_loop_free(loop);
        _exit(test_memory_live() == 0 ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(yula_process_signal(self->process, 0), 0);
    close(yula_process_take(self->process, 0));
    CHECK_EQ(finish(self, loop), 0);
    yula_loop_free(loop);
}

/* --- failures ------------------------------------------------------------- */

/* Returns whether the failure asked for has happened. */
static bool
start_hurt(long n, bool alloc)
{
    yula_loop *loop = test_loop();
    play *self = script("exec cat");

    for (int i = 0; i < 3; i++)
        self->options.stdio[i].io = YULA_PROCESS_PIPE;
    if (alloc)
        test_fail_alloc(n);
    else
        test_fail_sys(n, EMFILE);
    int err = start(self, loop);
    bool failed = alloc ? test_alloc_failed() : test_sys_failed();
    test_faults_clear();
    CHECK(err == 0 || err == (alloc ? -ENOMEM : -EMFILE));
    if (err == 0) {
        close(yula_process_take(self->process, 0));
        int status = finish(self, loop);
        CHECK_EQ(status, 0);
    }
    no_child_is_left();
    yula_loop_free(loop);
    return failed;
}

TEST(a_start_whose_calls_fail_in_turn_leaves_nothing_behind)
{
    long n = 1;

    while (start_hurt(n, false))
        n++;
    CHECK(n > 7);
    for (n = 1; start_hurt(n, true);)
        n++;
    CHECK(n > 3);
}

TEST(a_child_that_cannot_be_watched_is_not_left_running)
{
    yula_loop *loop = test_loop();
    play *self = script("exec sleep 100");

    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    CHECK_EQ(start(self, loop), -ENOSPC);
    test_fail_sys_named("thread_start", 1, EAGAIN);
    CHECK_EQ(start(self, loop), 0); /* needs none */
    CHECK_EQ(yula_process_signal(self->process, SIGKILL), 0);
    CHECK_EQ(finish(self, loop), SIGKILL);
    test_faults_clear();
    no_child_is_left();
    yula_loop_free(loop);
}
