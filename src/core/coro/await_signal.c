/* await_signal.c: signals.
 *
 *  I1. A signal that nobody waits for is noted, once for each number; while
 *      somebody waits nothing is noted.
 * Thread: loop.
 */
#include <yula/await.h>

#include "coro/await_i.h"
#include "coro/sync_i.h"

static void
signal_came(yula_signal *signal, int number, void *arg)
{
    yula_signal_set *set = arg;

    if (set->waiting.first != NULL)
        yula__line_wake(set->waiting.first, number);
    else
        set->came[signal - set->signals] = true;
}

int
yula_signal_set_open(yula_loop *loop, yula_signal_set *set, const int *numbers,
                     unsigned count)
{
    yula_lane lane = yula__await_lane(loop);

    if (count > YULA_SIGNAL_SET_MAX)
        return -EINVAL;
    *set = (yula_signal_set){.loop = loop};
    for (; set->count < count; set->count++) {
        yula_signal *signal = &set->signals[set->count];
        yula_signal_init(loop, signal, lane);
        int err = yula_signal_start(signal, numbers[set->count], signal_came,
                                    set);
        if (err < 0) {
            yula_signal_set_close(set);
            return err;
        }
    }
    return 0;
}

int
yula_signal_set_next(yula_signal_set *set)
{
    int err = yula_task_check(set->loop);

    if (err < 0)
        return err;
    for (unsigned i = 0; i < set->count; i++) {
        if (set->came[i]) {
            set->came[i] = false;
            return set->signals[i].number;
        }
    }
    return yula__line_wait(set->loop, &set->waiting, NULL, "signal");
}

void
yula_signal_set_close(yula_signal_set *set)
{
    yula__rule(set->waiting.first == NULL,
               "a task still waits for the signals: cancel and join it first");
    while (set->count > 0)
        yula_signal_stop(&set->signals[--set->count]);
}
