/* local.c: values that belong to a task: a short array, searched from the front.
 *
 *  I1. No slot has a NULL value, no key is there twice.
 * Thread: loop.
 */
#include "coro/task_i.h"

#include <string.h>

#define LOCAL_FIRST_CAPACITY 4

static yula__local_slot *
local_find(const yula_task *task, const yula_local *key)
{
    for (unsigned i = 0; i < task->local_count; i++)
        if (task->locals[i].key == key)
            return &task->locals[i];
    return NULL;
}

static int
locals_reserve(yula_task *task, unsigned count)
{
    yula_loop *loop = task->tasks->loop;
    unsigned capacity = task->local_capacity;

    if (count <= capacity)
        return 0;
    if (capacity == 0)
        capacity = LOCAL_FIRST_CAPACITY;
    while (capacity < count)
        capacity *= 2;
    void *locals = yula__resize(loop, task->locals,
                                capacity * sizeof(*task->locals));
    if (locals == NULL)
        return -ENOMEM;
    task->locals = locals;
    task->local_capacity = capacity;
    return 0;
}

void *
yula_local_get(const yula_loop *loop, const yula_local *key)
{
    const yula_task *task = yula_task_current(loop);
    const yula__local_slot *slot = task != NULL ? local_find(task, key) : NULL;
    return slot != NULL ? slot->value : NULL;
}

int
yula_local_set(yula_loop *loop, const yula_local *key, void *value)
{
    yula_task *task = yula_task_current(loop);
    void *old = NULL;

    if (task == NULL)
        return -EINVAL;
    yula__local_slot *slot = local_find(task, key);
    if (slot != NULL) {
        old = slot->value;
        if (value != NULL)
            slot->value = value;
        else
            *slot = task->locals[--task->local_count];
    }
    else if (value != NULL) {
        int err = locals_reserve(task, task->local_count + 1);
        if (err < 0)
            return err;
        task->locals[task->local_count++] = (yula__local_slot){key, value};
    }
    if (old != NULL && old != value && key->drop != NULL)
        key->drop(old);
    return 0;
}

int
yula__locals_inherit(yula_task *task, const yula_task *parent)
{
    unsigned count = 0;

    for (unsigned i = 0; i < parent->local_count; i++)
        count += parent->locals[i].key->inherit != NULL;
    int err = locals_reserve(task, count);
    if (err < 0)
        return err;
    for (unsigned i = 0; i < parent->local_count; i++) {
        const yula_local *key = parent->locals[i].key;
        void *value = NULL;
        if (key->inherit != NULL)
            value = key->inherit(parent->locals[i].value);
        if (value != NULL)
            task->locals[task->local_count++] = (yula__local_slot){key, value};
    }
    return 0;
}

void
yula__locals_drop(yula_task *task)
{
    /* A drop may look at other values, or set one: take them one by one, the
     * one set last first. */
    while (task->local_count > 0) {
        yula__local_slot slot = task->locals[--task->local_count];
        if (slot.key->drop != NULL)
            slot.key->drop(slot.value);
    }
    yula__free(task->tasks->loop, task->locals);
    task->locals = NULL;
    task->local_capacity = 0;
}
