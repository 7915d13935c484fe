/* visit.c: what the loop holds, for a host that collects cycles. */
#include "loop/loop_i.h"

static int
visit_list(yula__list *list, yula__visit_cb visit, void *arg)
{
    for (yula_work *work = list->head.next; work != &list->head;
         work = work->next) {
        int result = visit(work, arg);
        if (result != 0)
            return result;
    }
    return 0;
}

int
yula__loop_visit(yula_loop *loop, yula__visit_cb visit, void *arg)
{
    int result = visit_list(&loop->ready[YULA_LANE_HOST], visit, arg);
    if (result == 0)
        result = visit_list(&loop->batch[YULA_LANE_HOST], visit, arg);
    for (size_t i = 0; i < loop->timer_count && result == 0; i++)
        if (loop->timers[i].timer->work.lane == YULA_LANE_HOST)
            result = visit(&loop->timers[i].timer->work, arg);
    for (size_t fd = 0; fd < loop->fd_count && result == 0; fd++) {
        yula_watcher *watcher = loop->fds[fd].watcher;
        /* A queued watcher was seen in its list. */
        if (watcher != NULL && watcher->work.lane == YULA_LANE_HOST &&
            !yula__work_queued(&watcher->work))
            result = visit(&watcher->work, arg);
    }
    return result;
}
