/* task_i.h: tasks and their scheduler, shared by the files of coro/. */
#ifndef YULA__TASK_I_H
#define YULA__TASK_I_H

#include <assert.h>

#include <yula/group.h>
#include <yula/local.h>
#include <yula/scope.h>
#include <yula/task.h>

#include "coro/context.h"
#include "coro/stack.h"
#include "loop/loop_i.h"

typedef struct yula__tasks yula__tasks;

/* Who waits for the end of a task; on its stack. */
typedef struct yula__task_waiter {
    struct yula__task_waiter *next;
    yula_task *task;
} yula__task_waiter;

/* A value of one yula_local. */
typedef struct yula__local_slot {
    const yula_local *key;
    void *value;
} yula__local_slot;

/* At the upper end of its own stack: a task that sleeps takes one page. What a
 * switch needs comes first. */
struct yula_task {
    yula__context context;
    yula__tasks *tasks;

    /* From here to cb all is zero at first. Widest first: what is cleared in
     * pieces of 16 bytes must not be read across two of them. */
    yula_scope *scope; /* the innermost */
    yula__task_waiter *waiters;
    yula_work *on_end;
    yula_group *group;        /* with its place in it; group.c */
    yula__local_slot *locals; /* local.c */
    yula_task *newer;         /* in tasks->newest */
    unsigned local_count;
    unsigned local_capacity;
    int status;             /* that yula_task_suspend returns */
    uint32_t interruptions; /* sources delivered, but for scopes left since */
    uint8_t state;          /* yula_task_state */
    bool resumed;           /* while it runs: before the suspend */
    bool interrupted;    /* the next await point shall return YULA_ECANCELED */
    bool cancel_pending; /* asked for, not yet returned by an await point */
    uint8_t unused[4];

    yula_task_cb cb;
    void *arg;
    yula__stack *stack;
    yula_task *older;
    yula_task *next; /* in a queue of ready ones */
    unsigned refs;
    int result;
    uint8_t lane;

    /* Of a wait. */
    const char *waits_for;
    yula_task_withdraw_cb withdraw;
    void *withdraw_arg;
    int64_t waits_since_ns; /* coarse clock */

    yula_task *group_next;
    yula_task *group_prev;

    char name[YULA_TASK_NAME_MAX + 1];
};

#define YULA__TASK_ZEROED scope

typedef struct yula__task_queue {
    yula_task *first;
    yula_task *last;
} yula__task_queue;

/* What a loop with tasks has; made with the first one. */
struct yula__tasks {
    yula_task *current;
    yula__context *home; /* of the innermost tasks_run */
    int depth;           /* loop->in_callback in that one */
    unsigned handovers;  /* that are left to it */
    yula__task_queue ready[YULA__LANES];
    yula__task_queue later[YULA__LANES]; /* ready after the next poll */
    yula_work run[YULA__LANES];
    bool scheduled[YULA__LANES]; /* run is queued somewhere */
    int64_t now_ns;              /* coarse clock, of the turn: */
    uint64_t turn;               /* its number, from 1 */
    uint64_t began_ticks;        /* yula__ticks at the first yield; or 0 */
    uint64_t looked_ticks;       /* the last time */
    unsigned untimed;            /* yields until then */
    unsigned unyielded;          /* bytes; await_file.c, I3 */
    yula_loop *loop;
    yula_task *newest;
    yula_task *oldest;
    size_t count;
    yula__stacks stacks;
    uint64_t context_state; /* that tasks begin with: who spawned the first */
    void *signal_stack;     /* stack_setup.c; NULL if not needed */
};

/* task.c: makes loop->tasks if there is none. NULL without memory. */
yula__tasks *yula__tasks_of(yula_loop *loop);

/* The processor's own clock, of no known unit. Where there is none, time flies. */
static inline uint64_t
yula__ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    static _Thread_local uint64_t ticks;
    return ticks += 10000;
#endif
}

/* CLOCK_MONOTONIC_COARSE: cheap, and right to some milliseconds. */
int64_t yula__tasks_coarse_now(void);

#ifdef YULA__DEBUG
/* Called with a task that is about to be left. For a host, to check that none of
 * its frames is on that stack. */
extern void (*yula__task_switch_hook)(yula_task *task);
#endif

static inline void
yula__task_queue_append(yula__task_queue *queue, yula_task *task)
{
    task->next = NULL;
    if (queue->first == NULL)
        queue->first = task;
    else
        queue->last->next = task;
    queue->last = task;
}

static inline yula_task *
yula__task_queue_take(yula__task_queue *queue)
{
    yula_task *task = queue->first;
    if (task != NULL)
        queue->first = task->next;
    return task;
}

/* Whether control is in a task, and not in a loop that one runs nested. */
static inline bool
yula__tasks_inside(const yula__tasks *tasks)
{
    return tasks != NULL && tasks->current != NULL &&
           tasks->loop->in_callback == tasks->depth;
}

static inline yula_task *
yula__task_current(const yula_loop *loop)
{
    return yula__tasks_inside(loop->tasks) ? loop->tasks->current : NULL;
}

/* scope.c: a source of interruption has become pending: deliver it if no shield
 * is in the way. */
void yula__task_interrupt(yula_task *task);
/* The pending interruptions are now returned by an await point. */
void yula__task_delivered(yula_task *task);
void yula__scope_push(yula_loop *loop, yula_scope *scope, uint8_t kind);
/* Returns whether the scope was the reason of a YULA_ECANCELED. */
bool yula__scope_pop(yula_scope *scope);
void yula__scope_expire(yula_scope *scope);

enum {
    YULA__SCOPE_DEADLINE,
    YULA__SCOPE_SHIELD,
    YULA__SCOPE_GROUP,
};

enum {
    YULA__SCOPE_QUIET,   /* has not interrupted */
    YULA__SCOPE_PENDING, /* wants to; no await point has returned it yet */
    YULA__SCOPE_DELIVERED,
};

/* group.c: a member has ended. */
void yula__group_member_ended(yula_task *task);

/* stack_setup.c */
void yula__overflow_fini(yula__tasks *tasks);

/* local.c: at the start and the end of a task. */
int yula__locals_inherit(yula_task *task, const yula_task *parent);
void yula__locals_drop(yula_task *task);

#endif /* YULA__TASK_I_H */
