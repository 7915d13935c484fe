/* await_process.c: a child as tasks use it.
 *
 *  I1. Who waits for the end is in line until the process tells of it; from then on
 *      its status is there for everybody.
 *  I2. While a child communicates, three tasks keep its pipes moving, so that none
 *      of the two sides waits for the other: the caller's reads what it writes, a
 *      group of two writes its input and reads its errors.
 * Thread: loop.
 */
#include <yula/group.h>
#include <yula/process.h>

#include "base/sys_process.h"
#include "coro/await_i.h"
#include "coro/sync_i.h"
#include "io/spawn.h"

/* What collecting a text begins with. */
#define TEXT_FIRST 4096

struct yula_child {
    yula_loop *loop;
    yula_process *process;
    yula_sink *in;
    yula_source *out, *err;
    yula_wait_list waiting; /* I1 */
    bool grouped;
};

/* --- life ----------------------------------------------------------------- */

static void
child_ended(yula_process *process, int status, void *arg)
{
    yula_child *child = arg;

    yula__line_wake_all(&child->waiting, status);
}

/* Its end of a pipe, if there is one. */
static int
child_open_source(yula_child *child, int which, yula_source **out)
{
    int fd = yula_process_take(child->process, which);
    if (fd < 0)
        return 0;
    int err = yula_source_new(child->loop, fd, out);
    if (err < 0)
        yula__sys_close(fd);
    return err;
}

static int
child_open_sink(yula_child *child)
{
    int fd = yula_process_take(child->process, 0);
    if (fd < 0)
        return 0;
    int err = yula_sink_new(child->loop, fd, &child->in);
    if (err < 0)
        yula__sys_close(fd);
    return err;
}

int
yula_child_start(yula_loop *loop, const yula_process_options *options,
                 yula_child **out)
{
    yula_child *child = yula__alloc(loop, sizeof(*child));

    if (child == NULL)
        return -ENOMEM;
    *child = (yula_child){.loop = loop};
    int err = yula_process_start(loop, yula__await_lane(loop), options,
                                 child_ended, child, &child->process);
    if (err < 0) {
        yula__free(loop, child);
        return err;
    }
    child->grouped = (options->flags &
                      (YULA_PROCESS_NEW_SESSION | YULA_PROCESS_NEW_GROUP)) != 0;
    err = child_open_sink(child);
    if (err == 0)
        err = child_open_source(child, 1, &child->out);
    if (err == 0)
        err = child_open_source(child, 2, &child->err);
    if (err < 0)
        goto discard;
    *out = child;
    return 0;
discard:
    yula_sink_close(child->in);
    yula_source_close(child->out);
    yula_source_close(child->err);
    yula__process_discard(child->process);
    yula__free(loop, child);
    return err;
}

void
yula_child_close_stdin(yula_child *child)
{
    yula_sink_close(child->in);
    child->in = NULL;
}

void
yula_child_close(yula_child *child)
{
    if (child == NULL)
        return;
    yula__must(child->waiting.first ==
               NULL); /* it would go on in freed memory */
    yula_child_close_stdin(child);
    yula_source_close(child->out);
    yula_source_close(child->err);
    yula_process_free(child->process);
    yula__free(child->loop, child);
}

yula_sink *
yula_child_stdin(yula_child *child)
{
    return child->in;
}

yula_source *
yula_child_stdout(yula_child *child)
{
    return child->out;
}

yula_source *
yula_child_stderr(yula_child *child)
{
    return child->err;
}

yula_process *
yula_child_process(yula_child *child)
{
    return child->process;
}

/* --- its end -------------------------------------------------------------- */

int
yula_child_wait(yula_child *child)
{
    int err = yula__await_check(child->loop);
    int status = yula_process_status(child->process);

    if (err < 0)
        return err;
    if (status != -EBUSY)
        return status;
    return yula__line_wait(child->loop, &child->waiting, NULL, "process");
}

/* Returns the status, -ETIMEDOUT, or YULA_ECANCELED. */
static int
child_wait_for(yula_child *child, int64_t timeout_ns)
{
    yula_scope scope;
    int64_t deadline_ns = yula_loop_now(child->loop) + timeout_ns;

    int err = yula_deadline_enter(child->loop, &scope, deadline_ns);
    if (err < 0)
        return err;
    return yula_deadline_leave(&scope, yula_child_wait(child));
}

static int
child_signal(yula_child *child, int number)
{
    return child->grouped ? yula_process_signal_group(child->process, number)
                          : yula_process_signal(child->process, number);
}

int
yula_child_stop(yula_child *child, int64_t grace_ns)
{
    yula_scope shield;
    int status = yula_process_status(child->process);

    if (status == -EBUSY && grace_ns > 0) {
        (void)child_signal(child, SIGTERM);
        status = child_wait_for(child, grace_ns);
    }
    if (yula_process_status(child->process) != -EBUSY)
        return status;
    (void)child_signal(child, SIGKILL);
    yula_shield_enter(child->loop, &shield);
    int ended = yula_child_wait(child);
    yula_shield_leave(&shield);
    return status == YULA_ECANCELED ? status : ended;
}

/* --- communicating -------------------------------------------------------- */

typedef struct text {
    yula_loop *loop;
    yula_source *source; /* NULL: none */
    char *base;
    size_t len, capacity, limit;
} text;

/* Room for one more byte and for the NUL. */
static int
text_reserve(text *self)
{
    size_t capacity = self->capacity > 0 ? 2 * self->capacity : TEXT_FIRST;

    if (self->len + 1 < self->capacity)
        return 0;
    char *grown = yula__resize(self->loop, self->base, capacity);
    if (grown == NULL)
        return -ENOMEM;
    self->base = grown;
    self->capacity = capacity;
    return 0;
}

/* Until the end. At most limit bytes, and one to know that there are more. */
static int
text_collect(text *self)
{
    if (self->source == NULL)
        return 0;
    for (;;) {
        int err = text_reserve(self);
        if (err < 0)
            return err;
        size_t room = self->capacity - self->len - 1;
        size_t left = self->limit - self->len;
        if (left < room)
            room = left + 1;
        ssize_t n = yula_source_read(self->source, self->base + self->len,
                                     room);
        if (n < 0)
            return n == YULA_EOF ? 0 : (int)n;
        if ((size_t)n > left) {
            self->len = self->limit;
            return -EMSGSIZE;
        }
        self->len += (size_t)n;
    }
}

static int
text_main(yula_task *task, void *arg)
{
    return text_collect(arg);
}

typedef struct input {
    yula_child *child;
    const void *base;
    size_t len;
} input;

static int
input_main(yula_task *task, void *arg)
{
    input *self = arg;
    yula_child *child = self->child;

    int err = yula_sink_write(child->in, self->base, self->len);
    if (err == 0)
        err = yula_sink_drain(child->in);
    yula_sink_abort(child->in);
    child->in = NULL;
    return err == -EPIPE ? 0 : err;
}

/* I2. */
static int
child_talk(yula_child *child, input *in, text *out, text *err_out)
{
    yula_group group;
    int err = 0;

    yula_group_enter(child->loop, &group);
    if (child->in != NULL)
        err = yula_group_spawn(&group, NULL, input_main, in, NULL);
    if (err == 0 && err_out->source != NULL)
        err = yula_group_spawn(&group, NULL, text_main, err_out, NULL);
    if (err == 0)
        err = text_collect(out);
    err = yula_group_leave(&group, err);
    if (err == 0) {
        int status = yula_child_wait(child);
        err = status == YULA_ECANCELED ? status : 0;
    }
    return err;
}

/* Hand a text over. There is one where there is a pipe, if there is memory. */
static void
text_give(text *self, char **base, size_t *len)
{
    if (self->base != NULL)
        self->base[self->len] = '\0';
    *base = self->base;
    *len = self->len;
}

int
yula_child_communicate(yula_child *child, const void *base, size_t len,
                       size_t limit, yula_child_result *result)
{
    yula_loop *loop = child->loop;
    input in = {.child = child, .base = base, .len = len};
    text out = {.loop = loop, .source = child->out, .limit = limit};
    text err_out = {.loop = loop, .source = child->err, .limit = limit};

    int err = yula__await_check(loop);
    if (err == 0)
        err = child_talk(child, &in, &out, &err_out);
    *result = (yula_child_result){
        .status = yula_process_status(child->process)};
    text_give(&out, &result->out, &result->out_len);
    text_give(&err_out, &result->err, &result->err_len);
    return err;
}

int
yula_child_run(yula_loop *loop, const yula_process_options *options,
               const void *base, size_t len, size_t limit,
               yula_child_result *result)
{
    yula_child *child;

    *result = (yula_child_result){.status = -EBUSY};
    int err = yula__await_check(loop);
    if (err < 0)
        return err;
    err = yula_child_start(loop, options, &child);
    if (err < 0)
        return err;
    err = yula_child_communicate(child, base, len, limit, result);
    if (err < 0)
        result->status = yula_child_stop(child, 0);
    yula_child_close(child);
    return err;
}

void
yula_child_result_free(yula_loop *loop, yula_child_result *result)
{
    yula__free(loop, result->out);
    yula__free(loop, result->err);
    *result = (yula_child_result){.status = result->status};
}
