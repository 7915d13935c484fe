/* group.h: tasks that end before the function that started them does.
 *
 *     yula_group group;
 *     yula_group_enter(loop, &group);
 *     int err = yula_group_spawn(&group, NULL, fetch, &first, NULL);
 *     if (err == 0)
 *         err = yula_group_spawn(&group, NULL, fetch, &second, NULL);
 *     err = yula_group_leave(&group, err);
 *
 * When one of them fails (returns a negative code), the others are cancelled,
 * and the function that owns the group is interrupted at its next await point.
 * yula_group_leave returns when all have ended, with the first failure.
 */
#ifndef YULA_GROUP_H
#define YULA_GROUP_H

#include <yula/scope.h>
#include <yula/task.h>

YULA_BEGIN

/* On the stack of the function that enters it. Complete, so that it can be
 * embedded; written by libyula only. */
typedef struct yula_group {
    yula_scope scope;
    yula_task *first; /* of those that have not ended */
    size_t count;     /* of those that have not ended */
    size_t failed;    /* how many returned a negative code on their own */
    int status;       /* the first such code, 0 without one */
    bool canceled;    /* the members were cancelled; new ones will be, too */
    bool leaving;
    uint64_t reserved[4];
} yula_group;

/* Begin a group, as a scope of the current task (yula/scope.h).
 *
 * Thread: loop, in a task.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_group_enter(yula_loop *loop, yula_group *group);

/* Make a task that belongs to the group; from its owner or from any member.
 * Arguments and results are those of yula_task_spawn, and YULA_ECANCELED: the
 * group is being cancelled, nothing was made.
 */
YULA_API int yula_group_spawn(yula_group *group,
                              const yula_task_options *options, yula_task_cb cb,
                              void *arg, yula_task **out);

/* Cancel every member. What they return is then no failure if it is
 * YULA_ECANCELED. Thread: loop. */
YULA_API void yula_group_cancel(yula_group *group);

/* Await the end of all members. The owner being interrupted, or a negative
 * status, cancels them; they are awaited all the same.
 *
 * status  what the owner's part came to.
 *
 * Returns YULA_ECANCELED if the owner was interrupted from outside of the group;
 * else the first failure of a member; else status.
 * Thread: loop, in the task that entered.  Blocks: the task.  Calls back: no.
 */
YULA_API int yula_group_leave(yula_group *group, int status);

YULA_END

#endif /* YULA_GROUP_H */
