/* test_random_tasks.c: programs by chance against a model of what comes out.
 *
 * A program is a tree of parts: naps, failures, sequences, groups of tasks, and
 * deadlines. The clock is driven by hand, no two things happen at the same time,
 * and what is interrupted ends at once; so a model without tasks foresees, to
 * the nanosecond, when each part ends and with what.
 * YULA_RANDOM=seed:count runs other programs than the ones below.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

enum {
    PROGRAMS = 2000,
    PARTS = 60, /* of a program at most */
    CHILDREN = 4,
    DEPTH = 6
};

typedef enum kind {
    NAP,      /* sleeps for ns */
    FAIL,     /* sleeps, and returns -EPROTO */
    SEQUENCE, /* its children one after the other, until one fails */
    GROUP,    /* its children at once, each a task */
    DEADLINE  /* its child, for ns at most, which is no failure */
} kind;

typedef struct part {
    kind kind;
    int64_t ns;
    int count;
    struct part *children[CHILDREN];
    struct program *of;
    int64_t ended_ns; /* as it happened; 0: not */
    int result;
} part;

typedef struct program {
    uint64_t seed, random;
    part parts[PARTS];
    int count;
    yula_loop *loop;
    yula_task *root;
} program;

static uint64_t
chance(program *self, uint64_t below)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (self->random >> 20) % below;
}

/* Of so many that no two sums are equal. */
static int64_t
some_time(program *self)
{
    return (int64_t)(1 + chance(self, UINT64_C(1) << 40));
}

static part *
grow(program *self, int depth)
{
    static const kind kinds[] = {NAP,   NAP,   NAP,      FAIL,     SEQUENCE,
                                 GROUP, GROUP, SEQUENCE, DEADLINE, DEADLINE};
    part *at = &self->parts[self->count++];
    bool leaf = depth == 0 || self->count + CHILDREN * DEPTH > PARTS;

    *at = (part){.kind = kinds[chance(self, leaf ? 4 : 10)],
                 .ns = some_time(self),
                 .of = self};
    if (at->kind == SEQUENCE || at->kind == GROUP)
        at->count = 1 + (int)chance(self, CHILDREN);
    else if (at->kind == DEADLINE)
        at->count = 1;
    for (int i = 0; i < at->count; i++)
        at->children[i] = grow(self, depth - 1);
    return at;
}

/* --- the model ------------------------------------------------------------ */

/* What comes of a part that nobody interrupts: the result, and when. */
static int
foresee(const part *at, int64_t from_ns, int64_t *end_ns)
{
    int64_t failed_ns = YULA_NEVER, ns;
    int result = 0;

    bool waits = at->kind == NAP || at->kind == FAIL;
    *end_ns = waits ? from_ns + at->ns : from_ns;
    switch (at->kind) {
    case NAP:
        return 0;
    case FAIL:
        return -EPROTO;
    case SEQUENCE:
        for (int i = 0; i < at->count && result == 0; i++)
            result = foresee(at->children[i], *end_ns, end_ns);
        return result;
    case GROUP:
        for (int i = 0; i < at->count; i++) {
            if (foresee(at->children[i], from_ns, &ns) < 0 && ns < failed_ns)
                failed_ns = ns;
            if (ns > *end_ns)
                *end_ns = ns;
        }
        if (failed_ns == YULA_NEVER)
            return 0;
        *end_ns = failed_ns;
        return -EPROTO;
    case DEADLINE:
        result = foresee(at->children[0], from_ns, end_ns);
        if (*end_ns < from_ns + at->ns)
            return result;
        *end_ns = from_ns + at->ns;
        return 0;
    }
    return 0;
}

/* Compare what happened with what had to happen, to a part that began at from_ns
 * and was interrupted at stop_ns, if it had not ended by then. */
static void
compare(const part *at, int64_t from_ns, int64_t stop_ns)
{
    int64_t end_ns;
    int result = foresee(at, from_ns, &end_ns);
    bool stopped = stop_ns < end_ns;

    if (from_ns >= stop_ns)
        return; /* whether it was begun at all, nobody can tell */
    if (at->ended_ns != (stopped ? stop_ns : end_ns) ||
        at->result != (stopped ? YULA_ECANCELED : result))
        printf("  program %llu, part %d\n", (unsigned long long)at->of->seed,
               (int)(at - at->of->parts));
    CHECK_EQ(at->ended_ns, stopped ? stop_ns : end_ns);
    CHECK_EQ(at->result, stopped ? YULA_ECANCELED : result);
    if (!stopped)
        stop_ns = end_ns; /* of a group that failed, of a deadline */
    for (int i = 0; i < at->count; i++) {
        /* What ends by itself at the end of its parent was not interrupted. */
        int64_t ns;
        int failed = foresee(at->children[i], from_ns, &ns);
        compare(at->children[i], from_ns, ns == stop_ns ? YULA_NEVER : stop_ns);
        if (at->kind == SEQUENCE && (failed < 0 || ns >= stop_ns))
            break; /* the next one was not begun, or at the end */
        if (at->kind == SEQUENCE)
            from_ns = ns;
    }
}

/* --- the tasks ------------------------------------------------------------ */

static int play(part *at);

static int
play_member(yula_task *task, void *arg)
{
    return play(arg);
}

static int
play_group(part *at)
{
    yula_group group;
    int err = 0;

    yula_group_enter(at->of->loop, &group);
    for (int i = 0; i < at->count && err == 0; i++)
        err = yula_group_spawn(&group, NULL, play_member, at->children[i],
                               NULL);
    return yula_group_leave(&group, err);
}

static int
play_deadline(part *at)
{
    yula_loop *loop = at->of->loop;
    yula_scope scope;
    int err = yula_deadline_enter(loop, &scope, yula_loop_now(loop) + at->ns);

    if (err < 0)
        return err;
    err = yula_deadline_leave(&scope, play(at->children[0]));
    return err == -ETIMEDOUT ? 0 : err;
}

static int
play_kind(part *at)
{
    int err = 0;

    switch (at->kind) {
    case NAP:
        return yula_task_sleep(at->of->loop, at->ns);
    case FAIL: /* takes time, or two would fail at once */
        err = yula_task_sleep(at->of->loop, at->ns);
        return err == 0 ? -EPROTO : err;
    case SEQUENCE:
        for (int i = 0; i < at->count && err == 0; i++)
            err = play(at->children[i]);
        return err;
    case GROUP:
        return play_group(at);
    case DEADLINE:
        return play_deadline(at);
    }
    return 0;
}

static int
play(part *at)
{
    at->result = play_kind(at);
    at->ended_ns = yula_loop_now(at->of->loop);
    return at->result;
}

static void
cancel_root(yula_timer *timer, void *arg)
{
    yula_task_cancel(((program *)arg)->root);
}

static void
run_program(uint64_t seed)
{
    static program self;
    yula_timer cancel;
    int64_t end_ns, stop_ns = YULA_NEVER;

    self = (program){.seed = seed,
                     .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1};
    part *root = grow(&self, DEPTH);
    self.loop = tasks_begin();
    int64_t from_ns = yula_loop_now(self.loop);
    (void)foresee(root, from_ns, &end_ns);
    CHECK_EQ(yula_task_spawn(self.loop, NULL, play_member, root, &self.root),
             0);
    yula_timer_init(self.loop, &cancel, YULA_LANE_NATIVE);
    if (end_ns > from_ns + 1 && chance(&self, 3) == 0) {
        uint64_t span = (uint64_t)(end_ns - from_ns - 1);
        stop_ns = from_ns + 1 + (int64_t)chance(&self, span);
        CHECK_EQ(yula_timer_start(&cancel, stop_ns, cancel_root, &self), 0);
    }
    tasks_run_dry(self.loop);
    CHECK(yula_task_ended(self.root));
    CHECK_EQ(yula_task_result(self.root), root->result);
    yula_task_unref(self.root);
    CHECK_EQ(self.loop->timer_count, 0);
    tasks_end(self.loop);
    compare(root, from_ns, stop_ns);
}

TEST(programs_by_chance_do_what_a_model_foresees)
{
    const char *wish = getenv("YULA_RANDOM");
    unsigned long first = 1, count = PROGRAMS;

    if (wish != NULL)
        CHECK_EQ(sscanf(wish, "%lu:%lu", &first, &count), 2);
    for (unsigned long seed = first; seed < first + count; seed++)
        run_program(seed);
}
