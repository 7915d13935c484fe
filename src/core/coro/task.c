/* task.c: tasks: their life, and changing from one to the next.
 *
 *  I1. A task is running (tasks->current, or one that runs a loop nested), in
 *      one queue (READY), known to whom it waits for (WAITING), or ENDED.
 *  I2. A task that leaves hands over to the next ready one directly; at the end
 *      of the queue, or after TASKS_HANDOVERS, to the loop's own stack (home).
 *  I3. A task's struct lies on its stack. Both go when the last reference goes:
 *      a running task holds one itself.
 *  I4. While scheduled[lane] is set, run[lane] will call tasks_run; while it is
 *      not, ready[lane] and later[lane] are empty or tasks_run is on the stack
 *      (a loop that a task runs nested begins with yula__tasks_nest).
 * Thread: loop.
 */
#include "coro/task_i.h"

#include <string.h>
#include <time.h>

/* Tasks that wake each other may do so this often before the loop polls, and as
 * often again while that takes no time to speak of (TASKS_TICKS). An empty poll
 * costs about as much as ten handovers. */
#define TASKS_HANDOVERS 64
/* And those that yield, so long: 30 to 100 µs on what there is. Looking at the
 * clock takes as long as a yield (10 ns): as long as that many of them took no
 * longer than so, only every so often. */
#define TASKS_TICKS 100000
#define TASKS_YIELDS_UNTIMED 16
#define TASKS_TICKS_UNTIMED 10000

static void tasks_run(yula_work *work, void *arg);

yula__tasks *
yula__tasks_of(yula_loop *loop)
{
    if (loop->tasks != NULL)
        return loop->tasks;
    yula__tasks *tasks = yula__alloc(loop, sizeof(*tasks));
    if (tasks == NULL)
        return NULL;
    memset(tasks, 0, sizeof(*tasks));
    tasks->loop = loop;
    for (int lane = 0; lane < YULA__LANES; lane++)
        yula_work_init(&tasks->run[lane], (yula_lane)lane, tasks_run, tasks);
    yula__stacks_init(&tasks->stacks, loop);
    yula__context_choose();
    tasks->context_state = yula__context_state();
    loop->tasks = tasks;
    return tasks;
}

void
yula__tasks_fini(yula_loop *loop)
{
    if (loop->tasks == NULL)
        return;
    for (yula_task *task = loop->tasks->newest; task != NULL;
         task = task->older)
        yula__free(loop, task->locals);
    yula__overflow_fini(loop->tasks);
    yula__stacks_fini(&loop->tasks->stacks);
    yula__free(loop, loop->tasks);
    loop->tasks = NULL;
}

/* --- the scheduler ------------------------------------------------------- */

/* The lists of the host lane may not be touched without the host's lock. */
static void
tasks_queue_work(yula_loop *loop, yula_work *work)
{
    if (loop->host != NULL && loop->in_callback > 0 &&
        loop->lane == YULA_LANE_NATIVE && work->lane == YULA_LANE_HOST)
        yula__inbox_push(loop, work);
    else
        yula_work_queue(loop, work);
}

/* Have tasks_run called for this lane: once the batch's callbacks have woken all
 * that they wake, which then go on from one to the next. */
__attribute__((noinline)) static void
tasks_schedule(yula__tasks *tasks, yula_lane lane)
{
    yula_loop *loop = tasks->loop;

    if (tasks->scheduled[lane])
        return;
    tasks->scheduled[lane] = true;
    if (loop->in_callback > 0 && loop->lane == lane)
        yula__list_append(&loop->batch[lane], &tasks->run[lane]);
    else if (loop->in_callback > 0 && loop->host == NULL)
        yula_loop_defer(loop, &tasks->run[lane]);
    else
        tasks_queue_work(loop, &tasks->run[lane]);
}

void
yula__tasks_nest(yula_loop *loop)
{
    for (int lane = 0; lane < YULA__LANES; lane++) {
        yula_work *work = &loop->tasks->run[lane];
        if (loop->tasks->ready[lane].first != NULL &&
            !loop->tasks->scheduled[lane]) {
            loop->tasks->scheduled[lane] = true;
            tasks_queue_work(loop, work);
        }
    }
}

void
yula__tasks_look_at_each(yula_loop *loop)
{
    if (loop->tasks != NULL)
        loop->tasks->handovers = 0;
}

static inline void
tasks_make_ready(yula__tasks *tasks, yula_task *task)
{
    task->state = YULA_TASK_READY;
    yula__task_queue_append(&tasks->ready[task->lane], task);
    /* Inside of tasks_run its turn comes anyway. */
    if (!yula__tasks_inside(tasks) || tasks->current->lane != task->lane)
        tasks_schedule(tasks, (yula_lane)task->lane);
}

int64_t
yula__tasks_coarse_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Once a turn. Beside a host the native lane runs before the turn is counted. */
static void
tasks_look_at_clock(yula__tasks *tasks, yula_lane lane)
{
    const yula_loop *loop = tasks->loop;
    bool early = loop->host != NULL && lane == YULA_LANE_NATIVE;
    uint64_t turn = loop->stats.turns + early + 1;

    if (tasks->turn == turn)
        return;
    tasks->turn = turn;
    tasks->now_ns = yula__tasks_coarse_now();
}

static void
tasks_append_later(yula__tasks *tasks, int lane)
{
    yula__task_queue *ready = &tasks->ready[lane], *later = &tasks->later[lane];

    if (later->first == NULL)
        return;
    if (ready->first == NULL)
        ready->first = later->first;
    else
        ready->last->next = later->first;
    ready->last = later->last;
    later->first = NULL;
}

/* It returns from yula_task_suspend now, or begins. */
static inline void *
task_go_on(yula__tasks *tasks, yula_task *task)
{
    task->state = YULA_TASK_RUNNING;
    tasks->current = task;
    if (__builtin_expect(task->interrupted && task->status == YULA_ECANCELED,
                         0))
        yula__task_delivered(task);
    return (void *)(intptr_t)task->status;
}

static void
tasks_run(yula_work *work, void *arg)
{
    yula__tasks *tasks = arg;
    yula_lane lane = work->lane;
    yula__context here;
    /* Not NULL in a loop that a task runs nested. */
    yula_task *outer = tasks->current;
    yula__context *outer_home = tasks->home;
    int outer_depth = tasks->depth;
    unsigned outer_handovers = tasks->handovers;

    tasks->scheduled[lane] = false;
    if (tasks->loop->closed) /* deferred, and then the loop was freed */
        return;
    yula_task *task = yula__task_queue_take(&tasks->ready[lane]);
    if (task != NULL) {
        tasks_look_at_clock(tasks, lane);
        tasks->began_ticks = 0;
        tasks->untimed = 0;
        /* Who watches for slow tasks looks at each hand-over (slow.c). */
        bool watched = __builtin_expect(tasks->loop->slow_ns > 0, 0);
        tasks->handovers = watched ? 0 : TASKS_HANDOVERS;
        tasks->depth = tasks->loop->in_callback;
        tasks->home = &here;
        yula__context_switch(&here, &task->context, task_go_on(tasks, task));
        tasks->current = outer;
        tasks->home = outer_home;
        tasks->depth = outer_depth;
        tasks->handovers = outer_handovers;
        yula__stacks_settle(&tasks->stacks);
    }
    tasks_append_later(tasks, lane);
    if (tasks->ready[lane].first != NULL && !tasks->scheduled[lane]) {
        tasks->scheduled[lane] = true;
        yula_work_queue(tasks->loop, work);
    }
}

/* Whether tasks that yield, or wake each other, have had enough of this turn.
 * They may compute a lot in between: what counts is the time since it was looked
 * at first, of which some 50 µs are not noticed. */
__attribute__((noinline)) static bool
tasks_had_enough(yula__tasks *tasks)
{
    uint64_t now = yula__ticks();
    bool watched = tasks->loop->slow_ns > 0;

    if (watched)
        yula__slow_look(tasks->loop, tasks->current->name);
    bool first = tasks->began_ticks == 0;
    bool quick = !first && !watched &&
                 now - tasks->looked_ticks < TASKS_TICKS_UNTIMED;

    if (first)
        tasks->began_ticks = now;
    tasks->untimed = quick ? TASKS_YIELDS_UNTIMED : 0;
    tasks->looked_ticks = now;
    if (now - tasks->began_ticks > TASKS_TICKS)
        return true;
    /* An empty poll would cost more. */
    tasks->handovers = watched ? 1 : TASKS_HANDOVERS;
    return false;
}

/* Who goes on when the current task leaves; NULL for the loop's own stack. */
static inline yula_task *
task_next(const yula_task *task)
{
    yula__tasks *tasks = task->tasks;
    yula_task *next = tasks->ready[task->lane].first;

#ifdef YULA__DEBUG
    if (yula__task_switch_hook != NULL)
        yula__task_switch_hook(tasks->current);
#endif
    if (next != NULL) {
        if ((tasks->handovers == 0 && tasks_had_enough(tasks)) ||
            tasks->loop->break_status != 0)
            return NULL;
        tasks->handovers--;
        tasks->ready[task->lane].first = next->next;
    }
    else if (__builtin_expect(tasks->loop->slow_ns > 0, 0))
        yula__slow_look(tasks->loop, tasks->current->name);
    return next;
}

/* Continue somebody else. Returns the status that the task is resumed with. */
static inline int
task_leave(yula_task *task)
{
    yula__tasks *tasks = task->tasks;
    yula_task *next = task_next(task);
    yula__context *to = tasks->home;
    void *value = NULL;

    if (next != NULL) {
        value = task_go_on(tasks, next);
        to = &next->context;
    }
    return (int)(intptr_t)yula__context_switch(&task->context, to, value);
}

#ifdef YULA__DEBUG
void (*yula__task_switch_hook)(yula_task *task);
#endif

/* --- waiting ------------------------------------------------------------- */

int
yula_task_suspend(yula_task *task, const char *waits_for,
                  yula_task_withdraw_cb withdraw, void *arg)
{
    yula__rule(task != NULL && yula__tasks_inside(task->tasks) &&
                   task->tasks->current == task,
               "something that waits was called outside of a task");
    if (__builtin_expect(task->resumed, 0)) {
        task->resumed = false;
        return task->status;
    }
    if (__builtin_expect(task->interrupted && withdraw != NULL, 0) &&
        withdraw(task, arg)) {
        yula__task_delivered(task);
        return YULA_ECANCELED;
    }
    task->waits_for = waits_for;
    task->withdraw = withdraw;
    task->withdraw_arg = arg;
    task->waits_since_ns = task->tasks->now_ns;
    task->state = YULA_TASK_WAITING;
    return task_leave(task);
}

void
yula_task_resume(yula_task *task, int status)
{
    yula__rule_thread(task->tasks->loop);
    task->status = status;
    if (task->state == YULA_TASK_RUNNING) {
        task->resumed = true;
        return;
    }
    yula__rule_checked(task->state == YULA_TASK_WAITING,
                       "the task does not wait: resume it once a suspend");
    task->withdraw = NULL;
    tasks_make_ready(task->tasks, task);
}

int
yula_task_check(yula_loop *loop)
{
    yula_task *task = yula__task_current(loop);
    if (task == NULL || !task->interrupted)
        return 0;
    yula__task_delivered(task);
    return YULA_ECANCELED;
}

int
yula_task_yield(yula_loop *loop)
{
    yula_task *task = yula__task_current(loop);

    yula__rule(task != NULL, "only a task can wait, and this is none");
    if (__builtin_expect(task->interrupted, 0))
        return yula_task_check(loop);
    yula__tasks *tasks = task->tasks;
    yula__task_queue *queue = &tasks->ready[task->lane];
    task->state = YULA_TASK_READY;
    task->status = 0;
    if (tasks->untimed > 0)
        tasks->untimed--;
    else if (tasks_had_enough(tasks))
        queue = &tasks->later[task->lane];
    if (queue->first == NULL)
        queue = &tasks->later[task->lane];
    yula__task_queue_append(queue, task);
    (void)task_leave(task);
    return __builtin_expect(task->interrupted, 0) ? yula_task_check(loop) : 0;
}

/* --- life ---------------------------------------------------------------- */

static void
tasks_link(yula__tasks *tasks, yula_task *task)
{
    task->older = tasks->newest;
    if (tasks->newest != NULL)
        tasks->newest->newer = task;
    else
        tasks->oldest = task;
    tasks->newest = task;
    tasks->count++;
}

static void
tasks_unlink(yula__tasks *tasks, yula_task *task)
{
    if (task->newer != NULL)
        task->newer->older = task->older;
    else
        tasks->newest = task->older;
    if (task->older != NULL)
        task->older->newer = task->newer;
    else
        tasks->oldest = task->newer;
    tasks->count--;
}

static void
task_resume_waiters(yula_task *task)
{
    while (task->waiters != NULL) {
        yula__task_waiter *waiter = task->waiters;
        task->waiters = waiter->next;
        yula_task_resume(waiter->task, 0);
    }
}

static inline void
task_unref(yula_task *task)
{
    yula__rule_checked(task->refs > 0, "a reference was given back before");
    if (--task->refs == 0)
        yula__stack_give(&task->tasks->stacks, task->stack);
}

/* On the task's own stack; somebody else goes on from here. */
_Noreturn static void
task_end(yula_task *task, int result)
{
    yula__tasks *tasks = task->tasks;

    yula__rule(task->scope == NULL,
               "a task ended inside of a deadline, shield or group: "
               "yula_..._leave is missing");
    if (task->locals != NULL)
        yula__locals_drop(task); /* calls back, while this still is a task */
    task->result = result;
    task->state = YULA_TASK_ENDED;
    tasks_unlink(tasks, task);
    if (task->group != NULL)
        yula__group_member_ended(task);
    if (task->waiters != NULL)
        task_resume_waiters(task);
    if (task->on_end != NULL)
        tasks_queue_work(tasks->loop, task->on_end);
    task_unref(task);
    yula_task *next = task_next(task);
    if (next != NULL)
        yula__context_end(&task->context, &next->context,
                          task_go_on(tasks, next));
    yula__context_end(&task->context, tasks->home, NULL);
}

static void
task_begin(void *carried, void *arg)
{
    yula_task *task = arg;

    (void)yula__context_begin(&task->context, carried);
    task_end(task, task->cb(task, task->arg));
}

/* The struct comes above the stack proper. Not in a cache line with it. */
static yula_task *
task_place(yula__stack *stack)
{
    uintptr_t high = (uintptr_t)stack->high - sizeof(yula_task);
    return (yula_task *)(high & ~(uintptr_t)63);
}

int
yula_task_spawn(yula_loop *loop, const yula_task_options *options,
                yula_task_cb cb, void *arg, yula_task **out)
{
    static const yula_task_options defaults = {.size = sizeof(defaults)};
    yula__stack *stack;

    yula__rule_thread(loop);
    if (options == NULL)
        options = &defaults;
    if (__builtin_expect(options->size != sizeof(*options) ||
                             (unsigned)options->lane >= YULA__LANES,
                         0))
        return -EINVAL;
    if (__builtin_expect(loop->closed, 0))
        return YULA_ECLOSED;
    yula__tasks *tasks = yula__tasks_of(loop);
    if (tasks == NULL)
        return -ENOMEM;
    int err = yula__stack_take(&tasks->stacks, options->stack_size, &stack);
    if (err < 0)
        return err;
    yula_task *task = task_place(stack);
    memset(&task->YULA__TASK_ZEROED, 0,
           offsetof(yula_task, cb) - offsetof(yula_task, YULA__TASK_ZEROED));
    task->name[0] = '\0';
    task->tasks = tasks;
    task->lane = (uint8_t)options->lane;
    task->refs = out != NULL ? 2 : 1;
    task->cb = cb;
    task->arg = arg;
    task->stack = stack;
    if (options->name != NULL)
        yula_task_set_name(task, options->name);
    yula_task *parent = yula__task_current(loop);
    if (__builtin_expect(parent != NULL && parent->local_count > 0, 0)) {
        err = yula__locals_inherit(task, parent);
        if (err < 0)
            goto give_stack;
    }
    yula__context_init(&task->context, stack->low, (char *)task, task_begin,
                       task, tasks->context_state);
    tasks_link(tasks, task);
    tasks_make_ready(tasks, task);
    if (out != NULL)
        *out = task;
    return 0;
give_stack:
    yula__stack_give(&tasks->stacks, stack);
    return err;
}

yula_task *
yula_task_ref(yula_task *task)
{
    task->refs++;
    return task;
}

void
yula_task_unref(yula_task *task)
{
    task_unref(task);
}

bool
yula_task_ended(const yula_task *task)
{
    return task->state == YULA_TASK_ENDED;
}

int
yula_task_result(const yula_task *task)
{
    return yula_task_ended(task) ? task->result : -EBUSY;
}

int
yula_task_on_end(yula_task *task, yula_work *work)
{
    if (work != NULL && task->on_end != NULL)
        return -EBUSY;
    task->on_end = work;
    if (work != NULL && yula_task_ended(task))
        tasks_queue_work(task->tasks->loop, work);
    return 0;
}

yula_task *
yula_task_current(const yula_loop *loop)
{
    return yula__task_current(loop);
}

yula_loop *
yula_task_loop(const yula_task *task)
{
    return task->tasks->loop;
}
