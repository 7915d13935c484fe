/* scope.c: interrupting a task, and the scopes that decide whose it was.
 *
 * Sources of interruption are, from the outside in: yula_task_cancel, then the
 * task's scopes. A source goes from quiet to pending to delivered, the last when
 * an await point returns YULA_ECANCELED for it. task->interruptions counts those
 * that were delivered; a scope takes its own off when it is left. If it is then
 * what it was when the scope was entered, nobody further out was heard, and the
 * interruption was the scope's (asyncio.timeout does it with Task.cancelling).
 *
 *  I1. task->interrupted: a source is pending that no shield lies around.
 *  I2. Scopes are left in the reverse order of entering, in their task.
 * Thread: loop.
 */
#include "coro/task_i.h"

/* From the inside out, up to a shield. */
static bool
task_find_pending(const yula_task *task)
{
    for (yula_scope *scope = task->scope; scope != NULL; scope = scope->outer) {
        if (scope->kind == YULA__SCOPE_SHIELD)
            return false;
        if (scope->state == YULA__SCOPE_PENDING)
            return true;
    }
    return task->cancel_pending;
}

void
yula__task_interrupt(yula_task *task)
{
    task->interrupted = task_find_pending(task);
    if (!task->interrupted || task->state != YULA_TASK_WAITING ||
        task->withdraw == NULL)
        return;
    if (task->withdraw(task, task->withdraw_arg))
        yula_task_resume(task, YULA_ECANCELED);
}

void
yula__task_delivered(yula_task *task)
{
    task->interrupted = false;
    for (yula_scope *scope = task->scope; scope != NULL; scope = scope->outer) {
        if (scope->kind == YULA__SCOPE_SHIELD)
            return;
        if (scope->state == YULA__SCOPE_PENDING) {
            scope->state = YULA__SCOPE_DELIVERED;
            task->interruptions++;
        }
    }
    task->interruptions += task->cancel_pending;
    task->cancel_pending = false;
}

void
yula_task_cancel(yula_task *task)
{
    if (task->state == YULA_TASK_ENDED)
        return;
    task->cancel_pending = true;
    yula__task_interrupt(task);
}

void
yula_task_cancel_all(yula_loop *loop)
{
    if (loop->tasks == NULL)
        return;
    yula_task *current = yula_task_current(loop);
    /* Withdrawing ends no task: the list stays as it is. */
    for (yula_task *task = loop->tasks->oldest; task != NULL;
         task = task->newer)
        if (task != current)
            yula_task_cancel(task);
}

/* --- scopes -------------------------------------------------------------- */

void
yula__scope_push(yula_loop *loop, yula_scope *scope, uint8_t kind)
{
    yula_task *task = yula_task_current(loop);

    yula__rule(task != NULL,
               "scopes and groups are for tasks, and this is none");
    scope->task = task;
    scope->outer = task->scope;
    scope->interruptions = task->interruptions;
    scope->kind = kind;
    scope->state = YULA__SCOPE_QUIET;
    task->scope = scope;
}

void
yula__scope_expire(yula_scope *scope)
{
    if (scope->state != YULA__SCOPE_QUIET)
        return;
    scope->state = YULA__SCOPE_PENDING;
    yula__task_interrupt(scope->task);
}

bool
yula__scope_pop(yula_scope *scope)
{
    yula_task *task = scope->task;

    yula__rule(task->scope == scope,
               "scopes are left in the reverse order of entering, each once");
    yula__rule_checked(yula_task_current(task->tasks->loop) == task,
                       "a scope is left in the task that entered it");
    task->scope = scope->outer;
    bool delivered = scope->state == YULA__SCOPE_DELIVERED;
    task->interruptions -= delivered;
    if (scope->state == YULA__SCOPE_PENDING ||
        scope->kind == YULA__SCOPE_SHIELD)
        task->interrupted = task_find_pending(task);
    return delivered && task->interruptions == scope->interruptions;
}

static void
deadline_passed(yula_timer *timer, void *arg)
{
    yula__scope_expire(arg);
}

int
yula_deadline_enter(yula_loop *loop, yula_scope *scope, int64_t deadline_ns)
{
    yula__scope_push(loop, scope, YULA__SCOPE_DEADLINE);
    yula_timer_init(loop, &scope->timer, (yula_lane)scope->task->lane);
    int err = yula_deadline_move(scope, deadline_ns);
    if (err < 0)
        yula__scope_pop(scope);
    return err;
}

int
yula_timeout_enter(yula_loop *loop, yula_scope *scope, int64_t timeout_ns)
{
    int64_t deadline_ns;

    if (__builtin_add_overflow(yula_loop_now(loop), timeout_ns, &deadline_ns))
        deadline_ns = timeout_ns > 0 ? YULA_NEVER : 0;
    return yula_deadline_enter(loop, scope, deadline_ns);
}

int
yula_deadline_move(yula_scope *scope, int64_t deadline_ns)
{
    if (deadline_ns != YULA_NEVER)
        return yula_timer_start(&scope->timer, deadline_ns, deadline_passed,
                                scope);
    yula_timer_stop(&scope->timer);
    return 0;
}

int
yula_deadline_leave(yula_scope *scope, int status)
{
    yula__rule(scope->kind == YULA__SCOPE_DEADLINE,
               "the scope has no deadline: leave it as it was entered");
    yula_timer_stop(&scope->timer);
    bool ours = yula__scope_pop(scope);
    return ours && status == YULA_ECANCELED ? -ETIMEDOUT : status;
}

void
yula_shield_enter(yula_loop *loop, yula_scope *scope)
{
    yula__scope_push(loop, scope, YULA__SCOPE_SHIELD);
    scope->task->interrupted = false;
}

void
yula_shield_leave(yula_scope *scope)
{
    yula__rule(scope->kind == YULA__SCOPE_SHIELD,
               "the scope is no shield: leave it as it was entered");
    yula__scope_pop(scope);
}
