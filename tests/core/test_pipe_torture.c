/* test_pipe_torture.c: sources, sinks and children, hurt in every way at every wait
 * in turn (hurt.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hurt.h"
#include "support.h"

#define MS INT64_C(1000000)

/* fds[0] is read, fds[1] is written. */
static void
set_pipe(stage *self)
{
    CHECK_EQ(pipe2(self->fds, O_NONBLOCK | O_CLOEXEC), 0);
}

static int
play_source(stage *self)
{
    yula_source *source;
    char bytes[8], *line;
    size_t got = 0;
    int err = yula_source_new(self->loop, self->fds[0], &source);

    if (err < 0)
        return err;
    self->fds[0] = -1;
    ssize_t len = yula_source_read(source, bytes, sizeof(bytes));
    OUGHT(len < 0 || len == 3);
    if (len >= 0)
        len = yula_source_read_exactly(source, bytes, 6, &got);
    if (len >= 0)
        len = yula_source_read_line(source, &line);
    OUGHT(len < 0 || strcmp(line, "so") == 0);
    if (len >= 0)
        len = yula_source_read_until(source, "--", 2, &line);
    OUGHT(len < 0 || memcmp(line, "a--", 3) == 0);
    yula_source_close(source);
    return len < 0 ? (int)len : 0;
}

static void
poke_source(stage *self)
{
    static const char *const pieces[] = {"abc",  "def", "ghi", "so",
                                         "\r\n", "a-",  "-"};

    if (self->pokes < 7) {
        size_t len = strlen(pieces[self->pokes]);
        CHECK_EQ(write(self->fds[1], pieces[self->pokes], len), len);
    }
    self->pokes++;
}

SCENE(a_source,
      .calls = "yula_source_read yula_source_read_exactly "
               "yula_source_read_line yula_source_read_until",
      .play = play_source, .set = set_pipe, .poke = poke_source)

static int
play_file(stage *self)
{
    yula_source *source;
    char bytes[8];
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int err = yula_source_share(self->loop, fd, &source);

    close(fd);
    if (err < 0)
        return err;
    ssize_t len = yula_source_read(source, bytes, sizeof(bytes));
    OUGHT(len < 0 || len == 8);
    yula_source_close(source);
    return len < 0 ? (int)len : 0;
}

SCENE(a_source_that_is_always_ready, .calls = "yula_source_read",
      .play = play_file)

static int
play_sink(stage *self)
{
    static char bytes[1 << 19];
    yula_sink *sink;
    int err = yula_sink_new(self->loop, self->fds[1], &sink);

    if (err < 0)
        return err;
    self->fds[1] = -1;
    err = yula_sink_write(sink, bytes, sizeof(bytes));
    if (err == 0)
        err = yula_sink_write(sink, bytes, YULA_STREAM_HIGH);
    if (err == 0)
        err = yula_sink_drain(sink);
    if (err == 0)
        yula_sink_close(sink);
    else
        yula_sink_abort(sink);
    return err;
}

static void
poke_sink(stage *self)
{
    static char bytes[1 << 16];

    if (self->pokes++ % 2 == 0)
        (void)!read(self->fds[0], bytes, sizeof(bytes));
}

SCENE(a_sink, .calls = "yula_sink_write yula_sink_drain", .play = play_sink,
      .set = set_pipe, .poke = poke_sink, .often = true)

/* --- children ------------------------------------------------------------- */

static yula_process_options
pipes_to(const char *const *argv)
{
    yula_process_options options = {.size = sizeof(options), .argv = argv};

    for (int i = 0; i < 3; i++)
        options.stdio[i].io = YULA_PROCESS_PIPE;
    options.flags = YULA_PROCESS_NEW_GROUP;
    return options;
}

static void
no_child_is_left(stage *self)
{
    OUGHT(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

static int
play_run(stage *self)
{
    static const char *const argv[] = {"cat", NULL};
    yula_process_options options = pipes_to(argv);
    yula_child_result result;

    int err = yula_child_run(self->loop, &options, "word", 4, 100, &result);
    OUGHT(err < 0 || (result.status == 0 && strcmp(result.out, "word") == 0));
    yula_child_result_free(self->loop, &result);
    return err;
}

SCENE(a_child_from_start_to_end,
      .calls = "yula_child_run yula_child_communicate", .play = play_run,
      .clear = no_child_is_left)

static int
play_wait(stage *self)
{
    static const char *const argv[] = {"cat", NULL};
    yula_process_options options = pipes_to(argv);
    yula_child *child;

    int err = yula_child_start(self->loop, &options, &child);
    if (err < 0)
        return err;
    yula_child_close_stdin(child);
    err = yula_child_wait(child);
    if (err == YULA_ECANCELED)
        OUGHT(yula_child_stop(child, 0) >= 0);
    yula_child_close(child);
    return err;
}

SCENE(a_wait_for_a_child, .calls = "yula_child_wait", .play = play_wait,
      .clear = no_child_is_left)

static int
play_stop(stage *self)
{
    static const char *const argv[] = {"cat", NULL};
    yula_process_options options = pipes_to(argv);
    yula_child *child;

    int err = yula_child_start(self->loop, &options, &child);
    if (err < 0)
        return err;
    int status = yula_child_stop(child, 50 * MS);
    OUGHT(status == SIGTERM || status == SIGKILL || status == YULA_ECANCELED);
    yula_child_close(child);
    return status < 0 ? status : 0;
}

SCENE(a_child_that_is_stopped, .calls = "yula_child_stop", .play = play_stop,
      .clear = no_child_is_left)
