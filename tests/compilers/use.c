/* use.c: what a program outside of this tree does first: two tasks, a channel. */
#include <yula/yula.h>

static int
produce(yula_task *task, void *arg)
{
    (void)task;
    for (int i = 1; i <= 3; i++) {
        int err = yula_channel_send((yula_channel *)arg, &i);
        if (err < 0)
            return err;
    }
    return 0;
}

static int
sum(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_channel *channel;
    yula_group group;
    int total = 0, one;

    (void)arg;
    int err = yula_channel_new(loop, sizeof(one), 0, &channel);
    if (err < 0)
        return err;
    yula_group_enter(loop, &group);
    err = yula_group_spawn(&group, NULL, produce, channel, NULL);
    for (int i = 0; err == 0 && i < 3; i++) {
        err = yula_channel_recv(channel, &one);
        total += one;
    }
    err = yula_group_leave(&group, err);
    yula_channel_free(channel);
    return err < 0 ? err : total;
}

int
main(void)
{
    yula_loop *loop;
    int result = 0;

    if (yula_version()[0] != '0' + YULA_VERSION_MAJOR)
        return 1;
    int err = yula_loop_new(NULL, &loop);
    if (err < 0)
        return 1;
    err = yula_task_run(loop, NULL, sum, NULL, &result);
    yula_loop_free(loop);
    return err == 0 && result == 6 ? 0 : 1;
}
