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
    yula_task *next; /* in a queue of ready ones */
    int status;      /* that yula_task_suspend returns */
    uint8_t state;   /* yula_task_state */
    uint8_t lane;
    bool resumed;     /* while it runs: before the suspend, status is set */
    bool interrupted; /* the next await point shall return YULA_ECANCELED */
    const char *waits_for;
    yula_task_withdraw_cb withdraw;
    void *withdraw_arg;
    int64_t waits_since_ns; /* coarse clock */
    struct yula__tasks *tasks;

    /* scope.c */
    yula_scope *scope;      /* the innermost */
    uint32_t interruptions; /* sources delivered, but for scopes left since */
    bool cancel_pending;    /* asked for, not yet returned by an await point */

    /* life */
    unsigned refs;
    int result;
    yula_task_cb cb;
    void *arg;
    yula__stack *stack;
    yula__task_waiter *waiters;
    yula_work *on_end;
    yula_task *older; /* in tasks->newest */
    yula_task *newer;

    /* group.c */
    yula_group *group;
    yula_task *group_next;
    yula_task *group_prev;

    /* local.c */
    yula__local_slot *locals;
    unsigned local_count;
    unsigned local_capacity;

    char name[YULA_TASK_NAME_MAX + 1];
};

typedef struct yula__task_queue {
    yula_task *first;
    yula_task *last;
} yula__task_queue;

/* What a loop with tasks has; made with the first one. */
typedef struct yula__tasks {
    yula_task *current;
    yula__context *home; /* of the innermost tasks_run */
    int depth;           /* loop->in_callback in that one */
    unsigned handovers;  /* that are left to it */
    yula__task_queue ready[YULA__LANES];
    yula__task_queue later[YULA__LANES]; /* ready after the next poll */
    yula_work run[YULA__LANES];
    bool scheduled[YULA__LANES]; /* run is queued somewhere */
    int64_t now_ns;              /* coarse clock, of the last tasks_run */
    yula_loop *loop;
    yula_task *newest;
    yula_task *oldest;
    size_t count;
    yula__stacks stacks;
    void *signal_stack; /* stack_setup.c; NULL if not needed */
} yula__tasks;

/* task.c: makes loop->tasks if there is none. NULL without memory. */
yula__tasks *yula__tasks_of(yula_loop *loop);

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
