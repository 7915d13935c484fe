/* task_dump.c: what the tasks of a loop are doing. */
#include "coro/task_i.h"

#include <stdio.h>
#include <string.h>

void
yula_task_set_name(yula_task *task, const char *name)
{
    size_t len = strnlen(name, YULA_TASK_NAME_MAX);
    memcpy(task->name, name, len);
    task->name[len] = '\0';
}

const char *
yula_task_name(const yula_task *task)
{
    return task->name;
}

size_t
yula_task_count(const yula_loop *loop)
{
    return loop->tasks != NULL ? loop->tasks->count : 0;
}

void
yula_task_get_info(const yula_task *task, yula_task_info *out)
{
    const yula__tasks *tasks = task->tasks;

    *out = (yula_task_info){
        .task = (yula_task *)task,
        .name = task->name,
        .state = (yula_task_state)task->state,
        .lane = (yula_lane)task->lane,
        .waits_for = "",
        .stack_size = (size_t)(task->stack->high - task->stack->low),
        .stack_used = yula__stack_used(&tasks->stacks, task->stack),
    };
    if (task->state == YULA_TASK_WAITING) {
        int64_t now_ns = yula__tasks_coarse_now();
        out->waits_for = task->waits_for;
        if (now_ns > task->waits_since_ns)
            out->waited_ns = now_ns - task->waits_since_ns;
    }
}

int
yula_task_visit(yula_loop *loop, yula_task_visit_cb visit, void *arg)
{
    if (loop->tasks == NULL)
        return 0;
    for (yula_task *task = loop->tasks->oldest; task != NULL;
         task = task->newer) {
        yula_task_info info;
        yula_task_get_info(task, &info);
        int result = visit(&info, arg);
        if (result != 0)
            return result;
    }
    return 0;
}

static int
dump_line(const yula_task_info *info, void *arg)
{
    static const char *const states[] = {"ready", "running", "waits", "ended"};
    char line[256];
    const int *fd = arg;

    int len = snprintf(line, sizeof(line), "task %p \"%s\": %s",
                       (void *)info->task, info->name, states[info->state]);
    size_t at = (size_t)len;
    if (info->state == YULA_TASK_WAITING)
        at += (size_t)snprintf(line + at, sizeof(line) - at,
                               " for %.40s since %lld ms", info->waits_for,
                               (long long)(info->waited_ns / 1000000));
    at += (size_t)snprintf(
        line + at, sizeof(line) - at, ", stack %zu of %zu KiB\n",
        (info->stack_used + 1023) / 1024, info->stack_size / 1024);
    for (size_t done = 0; done < at;) {
        ssize_t written = yula__sys_write(*fd, line + done, at - done);
        if (written < 0)
            return (int)written;
        done += (size_t)written;
    }
    return 0;
}

int
yula_task_dump(yula_loop *loop, int fd)
{
    return yula_task_visit(loop, dump_line, &fd);
}
