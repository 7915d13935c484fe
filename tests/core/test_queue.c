/* test_queue.c: the bounded queue. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "actors.h"
#include "support.h"
#include "test.h"

#define ITEM(n) ((void *)(uintptr_t)(n))
#define NUMBER(item) ((int)(uintptr_t)(item))

typedef struct line {
    yula_queue queue;
    void *slots[2];
    int got[16];
    int got_count;
} line;

static void
line_init(line *self, yula_loop *loop)
{
    yula_queue_init(loop, &self->queue, self->slots, 2);
    self->got_count = 0;
}

/* Puts number, number + 1 ... until it cannot. */
static int
put_three(actor *self, void *arg)
{
    line *to = arg;
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        err = yula_queue_put(&to->queue, ITEM(self->number + i));
        actor_note(self, err == 0 ? "puts" : "cannot put");
    }
    return err;
}

static int
get_all(actor *self, void *arg)
{
    line *from = arg;
    void *item;
    int err;

    while ((err = yula_queue_get(&from->queue, &item)) == 0) {
        from->got[from->got_count++] = NUMBER(item);
        yula_queue_done(&from->queue);
    }
    actor_note(self, err == YULA_EOF ? "has all" : "is interrupted");
    return err == YULA_EOF ? 0 : err;
}

TEST(a_full_queue_makes_putters_wait_and_keeps_the_order)
{
    yula_loop *loop = test_loop();
    line shared;
    actor ann, bob, cat;

    line_init(&shared, loop);
    actor_start(&ann, loop, "ann", put_three, &shared);
    ann.number = 1;
    settle(loop);
    CHECK_STR(actor_log(), "ann puts. ann puts. ");
    actor_start(&bob, loop, "bob", put_three, &shared);
    bob.number = 11;
    settle(loop);
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(99)), -EAGAIN);
    actor_start(&cat, loop, "cat", get_all, &shared);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    yula_queue_close(&shared.queue);
    yula_queue_close(&shared.queue);
    CHECK_EQ(actor_end(&cat), 0);
    (void)actor_log();
    static const int expected[] = {1, 2, 3, 11, 12, 13};
    CHECK_EQ(shared.got_count, 6);
    CHECK(memcmp(shared.got, expected, sizeof(expected)) == 0);
    yula_loop_free(loop);
}

TEST(an_item_goes_to_the_getter_that_waited_first)
{
    yula_loop *loop = test_loop();
    line shared;
    actor ann, bob;
    void *item;

    line_init(&shared, loop);
    actor_start(&ann, loop, "ann", get_all, &shared);
    actor_start(&bob, loop, "bob", get_all, &shared);
    settle(loop);
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(1)), 0);
    CHECK_EQ(shared.queue.count, 0); /* ann's already */
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), -EAGAIN);
    yula_task_cancel(ann.task); /* too late for that item */
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_EQ(shared.got_count, 1);
    CHECK_EQ(shared.got[0], 1);
    /* Nobody is in line for the next one. */
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(2)), 0);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    CHECK_EQ(NUMBER(item), 2);
    (void)actor_log();
    yula_loop_free(loop);
}

TEST(an_interrupted_putter_keeps_its_item)
{
    yula_loop *loop = test_loop();
    line shared;
    actor ann;
    void *item;

    line_init(&shared, loop);
    actor_start(&ann, loop, "ann", put_three, &shared);
    ann.number = 1;
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_STR(actor_log(), "ann puts. ann puts. ann cannot put. ");
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    CHECK_EQ(shared.queue.count, 1); /* the third one did not follow */
    yula_loop_free(loop);
}

TEST(closing_a_queue_ends_putters_at_once_and_getters_when_it_is_empty)
{
    yula_loop *loop = test_loop();
    line shared;
    actor ann;
    void *item = NULL;

    line_init(&shared, loop);
    actor_start(&ann, loop, "ann", put_three, &shared);
    ann.number = 1;
    settle(loop);
    yula_queue_close(&shared.queue);
    CHECK_EQ(actor_end(&ann), -EPIPE);
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(9)), -EPIPE);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    CHECK_EQ(NUMBER(item), 2);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), YULA_EOF);
    CHECK_EQ(NUMBER(item), 2); /* untouched */
    (void)actor_log();
    yula_loop_free(loop);
}

static int
join(actor *self, void *arg)
{
    line *shared = arg;
    int err = yula_queue_join(&shared->queue);

    actor_note(self, err == 0 ? "saw all done" : "is interrupted");
    return err;
}

TEST(a_join_waits_until_all_that_was_put_is_done)
{
    yula_loop *loop = test_loop();
    line shared;
    actor ann, bob;
    void *item;

    line_init(&shared, loop);
    actor_start(&ann, loop, "ann", join, &shared); /* of nothing */
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(1)), 0);
    CHECK_EQ(yula_queue_try_put(&shared.queue, ITEM(2)), 0);
    actor_start(&ann, loop, "ann", join, &shared);
    actor_start(&bob, loop, "bob", join, &shared);
    settle(loop);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    CHECK_EQ(yula_queue_try_get(&shared.queue, &item), 0);
    yula_queue_done(&shared.queue);
    settle(loop);
    CHECK_STR(actor_log(), "ann saw all done. ");
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    yula_queue_done(&shared.queue);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_STR(actor_log(), "ann is interrupted. bob saw all done. ");
    yula_loop_free(loop);
}

/* What was put without an error was got, or lies in the queue; in order for each
 * putter. */
static void
scene_of_a_queue(yula_loop *loop)
{
    line shared;
    actor putters[2], getter;
    int put = 0;
    void *item;

    line_init(&shared, loop);
    for (int i = 0; i < 2; i++) {
        actor_start(&putters[i], loop, "putter", put_three, &shared);
        putters[i].number = 10 * i + 1;
    }
    actor_start(&getter, loop, "getter", get_all, &shared);
    settle(loop);
    yula_queue_close(&shared.queue);
    for (int i = 0; i < 2; i++)
        (void)actor_end(&putters[i]);
    (void)actor_end(&getter);
    while (yula_queue_try_get(&shared.queue, &item) == 0)
        shared.got[shared.got_count++] = NUMBER(item);
    const char *text = actor_log();
    while ((text = strstr(text, "r puts")) != NULL) {
        text++;
        put++;
    }
    CHECK_EQ(shared.got_count, put);
    int last[2] = {0, 10};
    for (int i = 0; i < shared.got_count; i++) {
        int from = shared.got[i] > 10;
        CHECK_EQ(shared.got[i], last[from] + 1);
        last[from]++;
    }
}

TEST(a_queue_survives_an_interruption_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(scene_of_a_queue) >= 4);
}
