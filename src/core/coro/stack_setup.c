/* stack_setup.c: what a program can ask of its stacks, and what it is told when
 * one overflows.
 *
 *  I1. A handler of ours looks only at the loop that its thread asked for: the
 *      thread is in that loop's code, or in none.
 *  I2. Whatever it was, the handlers that were there before decide about it.
 * Thread: loop, the handler apart.
 */
#include "coro/task_i.h"

#include <stdio.h>
#include <string.h>

int
yula_stack_configure(yula_loop *loop, const yula_stack_options *options)
{
    yula__tasks *tasks = yula__tasks_of(loop);
    if (tasks == NULL)
        return -ENOMEM;
    return yula__stacks_configure(&tasks->stacks, options);
}

void
yula_stack_get_stats(const yula_loop *loop, yula_stack_stats *out)
{
    if (loop->tasks == NULL)
        memset(out, 0, sizeof(*out));
    else
        yula__stacks_get_stats(&loop->tasks->stacks, out);
}

void
yula_stack_trim(yula_loop *loop)
{
    if (loop->tasks != NULL)
        yula__stacks_trim(&loop->tasks->stacks, 0);
}

/* --- overflow ------------------------------------------------------------ */

static const int overflow_signals[] = {SIGSEGV, SIGBUS};

#define OVERFLOW_SIGNALS                                                       \
    ((int)(sizeof(overflow_signals) / sizeof(overflow_signals[0])))
#define OVERFLOW_STACK_LEN ((size_t)32 * 1024)

static struct sigaction overflow_before[OVERFLOW_SIGNALS];
static pthread_mutex_t overflow_lock = PTHREAD_MUTEX_INITIALIZER;
static bool overflow_installed;

/* Of this thread: its tasks, and the signal stack we gave it. */
static _Thread_local yula__tasks *overflow_tasks;

/* snprintf is not meant for signal handlers, but takes no lock for numbers. */
static void
overflow_tell(const yula__tasks *tasks, const yula__stack *stack)
{
    char line[256];
    const yula_task *task = tasks->current;
    int len = snprintf(line, sizeof(line),
                       "yula: stack overflow in %s \"%s\": its stack has %zu "
                       "KiB (yula_task_options.stack_size)\n",
                       task != NULL ? "task" : "coroutine",
                       task != NULL ? task->name : "",
                       (size_t)(stack->high - stack->low) / 1024);
    (void)yula__sys_write(STDERR_FILENO, line, (size_t)len);
}

static void
overflow_signal(int number, siginfo_t *info, void *context)
{
    const yula__tasks *tasks = overflow_tasks;
    int index = number == overflow_signals[0] ? 0 : 1;

    if (tasks != NULL && info->si_code > 0) {
        const yula__stack *stack = yula__stack_of_address(&tasks->stacks,
                                                          info->si_addr);
        if (stack != NULL && (char *)info->si_addr < stack->low)
            overflow_tell(tasks, stack);
    }
    /* The instruction is tried again, and reported to whoever was there. */
    (void)yula__sys_sigaction(number, &overflow_before[index], NULL);
}

static int
overflow_install(void)
{
    struct sigaction action = {.sa_sigaction = overflow_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    int err = 0;

    pthread_mutex_lock(&overflow_lock);
    for (int i = 0; i < OVERFLOW_SIGNALS && !overflow_installed; i++) {
        err = yula__sys_sigaction(overflow_signals[i], &action,
                                  &overflow_before[i]);
        if (err < 0)
            break;
        overflow_installed = i + 1 == OVERFLOW_SIGNALS;
    }
    pthread_mutex_unlock(&overflow_lock);
    return err;
}

/* The handler cannot run on the stack that has none left. */
static int
overflow_give_signal_stack(yula__tasks *tasks)
{
    stack_t now;

    if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))
        return 0;
    void *memory = yula__alloc(tasks->loop, OVERFLOW_STACK_LEN);
    if (memory == NULL)
        return -ENOMEM;
    stack_t ours = {.ss_sp = memory, .ss_size = OVERFLOW_STACK_LEN};
    if (sigaltstack(&ours, NULL) < 0) {
        yula__free(tasks->loop, memory);
        return -errno;
    }
    tasks->signal_stack = memory;
    return 0;
}

int
yula_stack_report_overflow(yula_loop *loop)
{
    yula__tasks *tasks = yula__tasks_of(loop);
    if (tasks == NULL)
        return -ENOMEM;
    if (overflow_tasks == tasks)
        return 0;
    int err = overflow_give_signal_stack(tasks);
    if (err == 0)
        err = overflow_install();
    if (err == 0)
        overflow_tasks = tasks;
    return err;
}

void
yula__overflow_fini(yula__tasks *tasks)
{
    stack_t now;

    if (overflow_tasks == tasks)
        overflow_tasks = NULL;
    if (tasks->signal_stack == NULL)
        return;
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == tasks->signal_stack) {
        stack_t none = {.ss_flags = SS_DISABLE};
        (void)sigaltstack(&none, NULL);
    }
    yula__free(tasks->loop, tasks->signal_stack);
    tasks->signal_stack = NULL;
}
