/* test_watcher.c: readiness, and who it is reported to. */
#include <yula/watcher.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

typedef struct seen {
    yula_watcher watcher;
    int count;
    unsigned events; /* of all calls */
} seen;

static void
on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    seen *self = arg;
    self->count++;
    self->events |= events;
}

static void
watch(yula_loop *loop, seen *self, int fd, unsigned interest)
{
    *self = (seen){0};
    yula_watcher_init(loop, &self->watcher, YULA_LANE_HOST);
    CHECK_EQ(yula_watcher_start(&self->watcher, fd, interest, on_event, self),
             0);
}

static void
turns(yula_loop *loop, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(loop);
}

static void
end(yula_loop *loop, int fds[2])
{
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

TEST(a_level_watcher_is_told_in_every_turn_until_it_is_drained)
{
    yula_loop *loop = test_loop();
    seen reader;
    char byte;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE);
    test_send_all(fds[0], "x", 1);
    turns(loop, 3);
    CHECK_EQ(reader.count, 3);
    CHECK_EQ(reader.events, YULA_READABLE);
    CHECK_EQ(read(fds[1], &byte, 1), 1);
    turns(loop, 2);
    CHECK_EQ(reader.count, 3);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

TEST(an_edge_watcher_is_told_once_for_each_arrival)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE | YULA_EDGE);
    test_send_all(fds[0], "x", 1);
    turns(loop, 3);
    CHECK_EQ(reader.count, 1);
    test_send_all(fds[0], "y", 1);
    turns(loop, 3);
    CHECK_EQ(reader.count, 2);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

TEST(an_edge_is_armed_again_by_asking_for_the_same)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE | YULA_EDGE);
    test_send_all(fds[0], "x", 1);
    turns(loop, 2);
    CHECK_EQ(reader.count, 1);
    CHECK_EQ(yula_watcher_modify(&reader.watcher, YULA_READABLE | YULA_EDGE),
             0);
    turns(loop, 2);
    CHECK_EQ(reader.count, 2);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

TEST(the_interest_can_change_from_reading_to_writing)
{
    yula_loop *loop = test_loop();
    seen both;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &both, fds[1], YULA_READABLE);
    turns(loop, 1);
    CHECK_EQ(both.count, 0);
    CHECK_EQ(yula_watcher_modify(&both.watcher, YULA_WRITABLE), 0);
    turns(loop, 1);
    CHECK_EQ(both.events, YULA_WRITABLE);
    CHECK_EQ(yula_watcher_modify(&both.watcher, YULA_READABLE), 0);
    turns(loop, 1);
    CHECK_EQ(both.count, 1);
    yula_watcher_stop(&both.watcher);
    CHECK_EQ(yula_watcher_modify(&both.watcher, YULA_READABLE), -EBADF);
    end(loop, fds);
}

TEST(the_end_of_a_peer_is_reported_unasked)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_tcp_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE);
    CHECK_EQ(shutdown(fds[0], SHUT_WR), 0);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK(reader.events & YULA_READ_CLOSED);
    CHECK(!(reader.events & YULA_HANGUP));
    CHECK_EQ(shutdown(fds[1], SHUT_WR), 0);
    reader.events = 0;
    while (!(reader.events & YULA_HANGUP))
        turns(loop, 1);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

TEST(urgent_data_is_reported_to_who_asks_for_it)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_tcp_pair(fds);
    watch(loop, &reader, fds[1], YULA_PRIORITY);
    CHECK_EQ(send(fds[0], "!", 1, MSG_OOB), 1);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK(reader.events & YULA_PRIORITY);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

/* --- one owner, one generation ------------------------------------------- */

static void
stop_other(yula_watcher *watcher, unsigned events, void *arg)
{
    on_event(watcher, events, yula__container_of(watcher, seen, watcher));
    yula_watcher_stop(arg);
}

TEST(a_watcher_stopped_in_the_same_turn_is_not_told)
{
    yula_loop *loop = test_loop();
    seen first, second;
    int fds[2], more[2];

    test_unix_pair(fds);
    test_unix_pair(more);
    watch(loop, &first, fds[1], YULA_READABLE);
    watch(loop, &second, more[1], YULA_READABLE);
    first.watcher.cb = second.watcher.cb = stop_other;
    first.watcher.work.arg = &second.watcher;
    second.watcher.work.arg = &first.watcher;
    test_send_all(fds[0], "x", 1);
    test_send_all(more[0], "x", 1);
    turns(loop, 1);
    CHECK_EQ(first.count + second.count, 1);
    yula_watcher_stop(&first.watcher);
    yula_watcher_stop(&second.watcher);
    end(loop, fds);
    close(more[0]);
    close(more[1]);
}

TEST(a_watcher_may_be_freed_by_its_own_callback)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE);
    reader.watcher.cb = stop_other;
    reader.watcher.work.arg = &reader.watcher;
    test_send_all(fds[0], "x", 1);
    turns(loop, 2);
    CHECK_EQ(reader.count, 1);
    CHECK_EQ(yula_loop_run(loop), 0); /* nothing is left */
    end(loop, fds);
}

/* epoll(7), Q6: while a duplicate of a closed descriptor is open, the kernel
 * goes on reporting for it, under its number. */
TEST(events_of_a_closed_descriptor_never_reach_the_next_owner_of_its_number)
{
    yula_loop *loop = test_loop();
    seen old, fresh;
    yula_loop_stats stats;
    int fds[2], quiet[2];

    test_unix_pair(fds);
    test_unix_pair(quiet);
    watch(loop, &old, fds[1], YULA_READABLE);
    int duplicate = dup(fds[1]);
    CHECK(duplicate >= 0);
    /* The number changes hands behind the loop's back. */
    CHECK_EQ(dup2(quiet[1], fds[1]), fds[1]);
    watch(loop, &fresh, fds[1], YULA_READABLE);
    test_send_all(fds[0], "x", 1); /* for the duplicate, which nobody reads */
    turns(loop, 4);
    CHECK_EQ(old.count, 0);
    CHECK_EQ(fresh.count, 0);
    yula_loop_get_stats(loop, &stats);
    CHECK(stats.stale >= 4);
    test_send_all(quiet[0], "y", 1);
    turns(loop, 1);
    CHECK_EQ(fresh.count, 1);
    yula_watcher_stop(&fresh.watcher);
    close(duplicate);
    close(quiet[0]);
    close(quiet[1]);
    end(loop, fds);
}

/* The event is already out of the kernel when the number changes hands. */
static int changing_fd, its_next_peer[2];
static seen next_owner;

static void
change_hands(yula_watcher *watcher, unsigned events, void *arg)
{
    seen *victim = arg;
    yula_loop *loop = watcher->loop;

    yula_watcher_stop(watcher);
    yula_watcher_stop(&victim->watcher);
    CHECK_EQ(close(changing_fd), 0);
    CHECK_EQ(dup2(its_next_peer[1], changing_fd), changing_fd);
    watch(loop, &next_owner, changing_fd, YULA_READABLE);
}

TEST(an_event_of_the_same_turn_does_not_reach_the_next_owner_either)
{
    yula_loop *loop = test_loop();
    seen first, second;
    int fds[2], more[2];

    test_unix_pair(fds);
    test_unix_pair(more);
    test_unix_pair(its_next_peer);
    watch(loop, &first, fds[1], YULA_READABLE);
    watch(loop, &second, more[1], YULA_READABLE);
    changing_fd = more[1];
    first.watcher.cb = change_hands;
    first.watcher.work.arg = &second;
    test_send_all(fds[0], "x", 1); /* reported first: it was first to come */
    test_send_all(more[0], "x", 1);
    turns(loop, 3);
    CHECK_EQ(second.count, 0);
    CHECK_EQ(next_owner.count, 0);
    yula_watcher_stop(&next_owner.watcher);
    close(its_next_peer[0]);
    close(its_next_peer[1]);
    close(more[0]);
    close(more[1]);
    end(loop, fds);
}

TEST(left_over_events_that_never_end_do_not_keep_the_loop_awake)
{
    yula_loop *loop = test_loop();
    seen old, fresh;
    yula_loop_stats before, after;
    int fds[2], quiet[2];

    test_unix_pair(fds);
    test_unix_pair(quiet);
    watch(loop, &old, fds[1], YULA_READABLE);
    watch(loop, &fresh, quiet[1], YULA_READABLE);
    int duplicate = dup(fds[1]);
    close(fds[1]); /* without stopping first */
    yula_watcher_stop(&old.watcher);
    test_send_all(fds[0], "x", 1);
    turns(loop, 100);
    yula_loop_get_stats(loop, &before);
    turns(loop, 10);
    yula_loop_get_stats(loop, &after);
    CHECK_EQ(after.events, before.events);
    test_send_all(quiet[0], "y", 1); /* the others are still watched */
    turns(loop, 1);
    CHECK_EQ(fresh.count, 1);
    yula_watcher_stop(&fresh.watcher);
    close(duplicate);
    close(fds[0]);
    end(loop, quiet);
}

TEST(a_left_over_watcher_is_stopped_by_the_next_start_on_its_number)
{
    yula_loop *loop = test_loop();
    seen old, fresh;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &old, fds[1], YULA_READABLE);
    watch(loop, &fresh, fds[1], YULA_READABLE);
    CHECK(yula_watcher_of(loop, fds[1]) == &fresh.watcher);
    CHECK_EQ(old.watcher.fd, -1);
    test_send_all(fds[0], "x", 1);
    turns(loop, 1);
    CHECK_EQ(old.count, 0);
    CHECK_EQ(fresh.count, 1);
    yula_watcher_stop(&old.watcher); /* changes nothing */
    turns(loop, 1);
    CHECK_EQ(fresh.count, 2);
    yula_watcher_stop(&fresh.watcher);
    CHECK(yula_watcher_of(loop, fds[1]) == NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    end(loop, fds);
}

TEST(a_modified_watcher_whose_number_was_reopened_is_registered_again)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2], more[2];

    test_unix_pair(fds);
    test_unix_pair(more);
    watch(loop, &reader, fds[1], YULA_READABLE);
    CHECK_EQ(close(fds[1]), 0);
    CHECK_EQ(dup2(more[1], fds[1]), fds[1]);
    CHECK_EQ(yula_watcher_modify(&reader.watcher, YULA_WRITABLE), 0);
    turns(loop, 1);
    CHECK_EQ(reader.events, YULA_WRITABLE);
    yula_watcher_stop(&reader.watcher);
    close(more[0]);
    close(more[1]);
    end(loop, fds);
}

TEST(what_is_pending_for_a_number_that_was_reopened_is_dropped)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2], more[2];

    test_unix_pair(fds);
    test_unix_pair(more);
    watch(loop, &reader, fds[1], YULA_READABLE);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(yula_loop_collect(loop), 0);
    CHECK_EQ(close(fds[1]), 0);
    CHECK_EQ(dup2(more[1], fds[1]), fds[1]);
    CHECK_EQ(yula_watcher_modify(&reader.watcher, YULA_READABLE), 0);
    turns(loop, 2);
    CHECK_EQ(reader.count, 0);
    test_send_all(more[0], "y", 1);
    turns(loop, 1);
    CHECK_EQ(reader.count, 1);
    yula_watcher_stop(&reader.watcher);
    close(more[0]);
    close(more[1]);
    end(loop, fds);
}

TEST(a_descriptor_stopped_after_it_was_closed_does_no_harm)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE);
    CHECK_EQ(close(fds[1]), 0);
    yula_watcher_stop(&reader.watcher);
    turns(loop, 2);
    yula_loop_free(loop);
    close(fds[0]);
}

/* --- remembered events --------------------------------------------------- */

TEST(events_given_again_are_merged_with_the_kernels)
{
    yula_loop *loop = test_loop();
    seen reader;
    int fds[2];

    test_unix_pair(fds);
    watch(loop, &reader, fds[1], YULA_READABLE | YULA_EDGE);
    yula_watcher_again(&reader.watcher, YULA_WRITABLE);
    yula_watcher_again(&reader.watcher, 0);
    test_send_all(fds[0], "x", 1);
    turns(loop, 1);
    CHECK_EQ(reader.count, 1);
    CHECK_EQ(reader.events, YULA_READABLE | YULA_WRITABLE);
    yula_watcher_again(&reader.watcher, YULA_READABLE);
    yula_watcher_stop(&reader.watcher);
    yula_watcher_again(&reader.watcher, YULA_READABLE);
    turns(loop, 1);
    CHECK_EQ(reader.count, 1);
    end(loop, fds);
}

/* --- what cannot be watched ---------------------------------------------- */

TEST(what_cannot_be_watched_is_refused)
{
    yula_loop *loop = test_loop();
    seen reader = {0};
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fds[2];

    test_unix_pair(fds);
    yula_watcher_init(loop, &reader.watcher, YULA_LANE_HOST);
    CHECK_EQ(yula_watcher_start(&reader.watcher, file, YULA_READABLE, on_event,
                                &reader),
             -EPERM);
    CHECK_EQ(yula_watcher_start(&reader.watcher, -1, YULA_READABLE, on_event,
                                &reader),
             -EBADF);
    close(file);
    CHECK_EQ(yula_watcher_start(&reader.watcher, file, YULA_READABLE, on_event,
                                &reader),
             -EBADF);
    CHECK_EQ(yula_watcher_start(&reader.watcher, fds[0], YULA_READABLE,
                                on_event, &reader),
             0);
    CHECK_EQ(yula_watcher_start(&reader.watcher, fds[1], YULA_READABLE,
                                on_event, &reader),
             -EBUSY);
    yula_watcher_stop(&reader.watcher);
    CHECK_EQ(yula_loop_run(loop), 0);
    end(loop, fds);
}

TEST(a_start_that_fails_leaves_nothing_behind)
{
    yula_loop *loop = test_loop();
    seen reader = {0};
    int fds[2];

    test_unix_pair(fds);
    yula_watcher_init(loop, &reader.watcher, YULA_LANE_HOST);
    test_fail_alloc(1);
    CHECK_EQ(yula_watcher_start(&reader.watcher, fds[1], YULA_READABLE,
                                on_event, &reader),
             -ENOMEM);
    test_fail_alloc(0);
    test_fail_sys(1, ENOSPC);
    CHECK_EQ(yula_watcher_start(&reader.watcher, fds[1], YULA_READABLE,
                                on_event, &reader),
             -ENOSPC);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(yula_watcher_start(&reader.watcher, fds[1], YULA_READABLE,
                                on_event, &reader),
             0);
    test_send_all(fds[0], "x", 1);
    turns(loop, 1);
    CHECK_EQ(reader.count, 1);
    yula_watcher_stop(&reader.watcher);
    end(loop, fds);
}

TEST(more_descriptors_are_ready_than_one_poll_can_take)
{
    enum {
        COUNT = 450
    };
    yula_loop *loop = test_loop();
    static seen readers[COUNT];
    static int pairs[COUNT][2];

    for (int i = 0; i < COUNT; i++) {
        test_unix_pair(pairs[i]);
        watch(loop, &readers[i], pairs[i][1], YULA_READABLE);
        test_send_all(pairs[i][0], "x", 1);
    }
    /* More than one poll can take: the rest comes in the next turn. */
    for (int left = COUNT, turn = 0; left > 0; turn++) {
        CHECK(turn < 10);
        turns(loop, 1);
        left = COUNT;
        for (int i = 0; i < COUNT; i++)
            left -= readers[i].count > 0;
    }
    for (int i = 0; i < COUNT; i++) {
        yula_watcher_stop(&readers[i].watcher);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    yula_loop_free(loop);
}
