/* loop_check.c: walks a whole loop and fails the test at the first broken
 * invariant. Cheap enough for every turn of a test.
 */
#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* list.h: I1, and that both directions agree. */
static void
check_list(const yula__list *list)
{
    const yula_work *work = &list->head;

    do {
        CHECK(work->next->prev == work);
        CHECK(work == &list->head || work->cb != NULL);
        work = work->next;
    } while (work != &list->head);
}

/* timer.c: I1 to I3. */
static void
check_timers(yula_loop *loop)
{
    CHECK(loop->timer_count <= loop->timer_capacity);
    for (size_t i = 0; i < loop->timer_count; i++) {
        const yula__timer_slot *slot = &loop->timers[i];
        const yula__timer_slot *up = &loop->timers[i == 0 ? 0 : (i - 1) / 4];
        CHECK_EQ(slot->timer->slot, i);
        CHECK_EQ(slot->timer->deadline_ns, slot->deadline_ns);
        CHECK(slot->timer->loop == loop);
        CHECK(!yula__work_queued(&slot->timer->work));
        CHECK(
            up->deadline_ns < slot->deadline_ns ||
            (up->deadline_ns == slot->deadline_ns && up->order <= slot->order));
    }
}

/* watcher.c: I1 to I3. */
static void
check_watchers(yula_loop *loop)
{
    size_t watched = 0, native = 0;

    for (size_t fd = 0; fd < loop->fd_count; fd++) {
        const yula_watcher *watcher = loop->fds[fd].watcher;
        if (watcher == NULL)
            continue;
        watched += watcher->reserved != 0; /* the core's own are not counted */
        native += watcher->work.lane == YULA_LANE_NATIVE;
        CHECK_EQ(watcher->fd, fd);
        CHECK_EQ(watcher->generation, loop->fds[fd].generation);
        CHECK(watcher->loop == loop);
        CHECK(watcher->pending == 0 || yula__work_queued(&watcher->work));
    }
    CHECK_EQ(loop->watched, watched);
    CHECK_EQ(loop->watched_native, native);
}

static void
check_requests(yula_loop *loop)
{
    yula__request *const *link = &loop->requests;

    for (const yula__request *at = *link; at != NULL; at = at->next) {
        CHECK(at->link == link);
        CHECK(at->drop != NULL);
        link = &at->next;
    }
}

void
test_loop_check(yula_loop *loop)
{
    for (int lane = 0; lane < YULA__LANES; lane++) {
        check_list(&loop->ready[lane]);
        check_list(&loop->batch[lane]);
    }
    check_list(&loop->deferred);
    check_list(&loop->dead);
    check_timers(loop);
    check_watchers(loop);
    check_requests(loop);
    CHECK(loop->refs >= 0);
    CHECK(loop->in_callback >= 0);
}
