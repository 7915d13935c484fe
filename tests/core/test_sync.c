/* test_sync.c: event, mutex, semaphore, condition. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "actors.h"
#include "support.h"
#include "test.h"

/* --- event --------------------------------------------------------------- */

static int
wait_for_event(actor *self, void *arg)
{
    int err = yula_event_wait(arg);

    actor_note(self, err == 0 ? "goes on" : "is interrupted");
    return err;
}

TEST(all_that_wait_for_an_event_go_on_when_it_is_set)
{
    yula_loop *loop = test_loop();
    yula_event event;
    actor ann, bob;

    yula_event_init(loop, &event);
    actor_start(&ann, loop, "ann", wait_for_event, &event);
    actor_start(&bob, loop, "bob", wait_for_event, &event);
    settle(loop);
    CHECK_STR(actor_log(), "");
    yula_event_set(&event);
    yula_event_clear(&event); /* they go on all the same */
    settle(loop);
    CHECK_STR(actor_log(), "ann goes on. bob goes on. ");
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    yula_loop_free(loop);
}

TEST(nobody_waits_for_an_event_that_is_set)
{
    yula_loop *loop = test_loop();
    yula_event event;
    actor ann;

    yula_event_init(loop, &event);
    yula_event_set(&event);
    yula_event_set(&event);
    CHECK(event.is_set);
    actor_start(&ann, loop, "ann", wait_for_event, &event);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_STR(actor_log(), "ann goes on. ");
    yula_loop_free(loop);
}

TEST(an_interrupted_wait_for_an_event_leaves_the_others_waiting)
{
    yula_loop *loop = test_loop();
    yula_event event;
    actor actors[3];
    static const char *const names[] = {"ann", "bob", "cat"};

    for (int middle = 0; middle < 3; middle++) {
        yula_event_init(loop, &event);
        for (int i = 0; i < 3; i++)
            actor_start(&actors[i], loop, names[i], wait_for_event, &event);
        settle(loop);
        yula_task_cancel(actors[middle].task);
        CHECK_EQ(actor_end(&actors[middle]), YULA_ECANCELED);
        (void)actor_log();
        yula_event_set(&event);
        for (int i = 0; i < 3; i++) {
            if (i != middle)
                CHECK_EQ(actor_end(&actors[i]), 0);
        }
        CHECK_STR(actor_log(), middle == 0   ? "bob goes on. cat goes on. "
                               : middle == 1 ? "ann goes on. cat goes on. "
                                             : "ann goes on. bob goes on. ");
    }
    yula_loop_free(loop);
}

static int
wait_with_deadline(actor *self, void *arg)
{
    yula_scope scope;
    int err = yula_deadline_enter(self->loop, &scope, test_now_ns + 50);

    CHECK_EQ(err, 0);
    err = yula_event_wait(arg);
    CHECK_EQ(err, YULA_ECANCELED);
    return yula_deadline_leave(&scope, err);
}

TEST(a_deadline_around_a_wait_for_an_event_ends_it)
{
    yula_loop *loop = test_loop_by_hand();
    yula_event event;
    actor ann;

    yula_event_init(loop, &event);
    actor_start(&ann, loop, "ann", wait_with_deadline, &event);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    test_now_ns += 50;
    CHECK_EQ(actor_end(&ann), -ETIMEDOUT);
    yula_event_set(&event); /* nobody is in line any more */
    yula_loop_free(loop);
}

/* An interruption that came before the call is told by it, whether it would
 * have waited or not. */
static int
wait_for_event_twice(actor *self, void *arg)
{
    yula_task_cancel(self->task);
    CHECK_EQ(yula_event_wait(arg), YULA_ECANCELED);
    return yula_event_wait(arg);
}

TEST(a_pending_interruption_is_told_also_where_nothing_is_waited_for)
{
    yula_loop *loop = test_loop();
    yula_event event;
    actor ann;

    yula_event_init(loop, &event);
    yula_event_set(&event);
    actor_start(&ann, loop, "ann", wait_for_event_twice, &event);
    CHECK_EQ(actor_end(&ann), 0);
    yula_event_clear(&event);
    actor_start(&ann, loop, "ann", wait_for_event_twice, &event);
    settle(loop);
    yula_event_set(&event);
    CHECK_EQ(actor_end(&ann), 0);
    yula_loop_free(loop);
}

/* --- mutex --------------------------------------------------------------- */

typedef struct guarded {
    yula_mutex mutex;
    yula_event go; /* whoever has the mutex waits for it */
    int inside;
} guarded;

static void
guarded_init(guarded *shared, yula_loop *loop)
{
    yula_mutex_init(loop, &shared->mutex);
    yula_event_init(loop, &shared->go);
    shared->inside = 0;
}

static int
lock_and_wait(actor *self, void *arg)
{
    guarded *shared = arg;
    int err = yula_mutex_lock(&shared->mutex);

    if (err < 0) {
        actor_note(self, "gave up");
        return err;
    }
    CHECK_EQ(++shared->inside, 1);
    actor_note(self, "has it");
    err = yula_event_wait(&shared->go);
    shared->inside--;
    CHECK_EQ(yula_mutex_unlock(&shared->mutex), 0);
    return err;
}

TEST(a_mutex_is_had_in_order_of_arrival)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann, bob, cat;

    guarded_init(&shared, loop);
    actor_start(&ann, loop, "ann", lock_and_wait, &shared);
    actor_start(&bob, loop, "bob", lock_and_wait, &shared);
    actor_start(&cat, loop, "cat", lock_and_wait, &shared);
    settle(loop);
    CHECK_STR(actor_log(), "ann has it. ");
    yula_event_set(&shared.go);
    settle(loop);
    CHECK_STR(actor_log(), "bob has it. cat has it. ");
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(actor_end(&cat), 0);
    CHECK(shared.mutex.owner == NULL);
    yula_loop_free(loop);
}

static int
unlock_and_try_again(actor *self, void *arg)
{
    guarded *shared = arg;

    CHECK_EQ(yula_mutex_lock(&shared->mutex), 0);
    CHECK_EQ(yula_event_wait(&shared->go), 0);
    CHECK_EQ(yula_mutex_unlock(&shared->mutex), 0);
    CHECK_EQ(yula_mutex_try_lock(&shared->mutex), -EBUSY); /* it is bob's */
    return lock_and_wait(self, arg);
}

TEST(a_mutex_with_a_line_cannot_be_had_by_who_gave_it_back)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann, bob;

    guarded_init(&shared, loop);
    actor_start(&ann, loop, "ann", unlock_and_try_again, &shared);
    actor_start(&bob, loop, "bob", lock_and_wait, &shared);
    settle(loop);
    yula_event_set(&shared.go);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_STR(actor_log(), "bob has it. ann has it. ");
    yula_loop_free(loop);
}

static int
misuse_mutex(actor *self, void *arg)
{
    guarded *shared = arg;

    CHECK_EQ(yula_mutex_unlock(&shared->mutex), -EPERM);
    CHECK_EQ(yula_mutex_try_lock(&shared->mutex), 0);
    CHECK_EQ(yula_mutex_lock(&shared->mutex), -EDEADLK);
    return yula_mutex_unlock(&shared->mutex);
}

TEST(a_mutex_knows_who_has_it)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann;

    guarded_init(&shared, loop);
    actor_start(&ann, loop, "ann", misuse_mutex, &shared);
    CHECK_EQ(actor_end(&ann), 0);
    yula_loop_free(loop);
}

TEST(a_mutex_is_for_tasks_only)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann;

    guarded_init(&shared, loop);
    CHECK_EQ(yula_mutex_try_lock(&shared.mutex), -EPERM);
    CHECK_EQ(yula_mutex_lock(&shared.mutex), -EPERM);
    CHECK_EQ(yula_mutex_unlock(&shared.mutex), -EPERM);
    actor_start(&ann, loop, "ann", misuse_mutex, &shared); /* it is free */
    CHECK_EQ(actor_end(&ann), 0);
    yula_loop_free(loop);
}

TEST(who_waits_for_a_mutex_and_is_interrupted_does_not_have_it)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann, bob, cat;

    guarded_init(&shared, loop);
    actor_start(&ann, loop, "ann", lock_and_wait, &shared);
    actor_start(&bob, loop, "bob", lock_and_wait, &shared);
    actor_start(&cat, loop, "cat", lock_and_wait, &shared);
    settle(loop);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_STR(actor_log(), "ann has it. bob gave up. ");
    yula_event_set(&shared.go);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&cat), 0);
    CHECK_STR(actor_log(), "cat has it. ");
    yula_loop_free(loop);
}

static int
unlock_and_cancel(actor *self, void *arg)
{
    guarded *shared = arg;

    CHECK_EQ(yula_mutex_lock(&shared->mutex), 0);
    CHECK_EQ(yula_event_wait(&shared->go), 0);
    yula_event_clear(&shared->go);
    yula_task *next = shared->mutex.waiting.first->task;
    CHECK_EQ(yula_mutex_unlock(&shared->mutex), 0);
    yula_task_cancel(next); /* it was granted already */
    return 0;
}

TEST(a_mutex_handed_over_to_a_task_that_is_then_interrupted_is_not_lost)
{
    yula_loop *loop = test_loop();
    guarded shared;
    actor ann, bob, cat;

    guarded_init(&shared, loop);
    actor_start(&ann, loop, "ann", unlock_and_cancel, &shared);
    actor_start(&bob, loop, "bob", lock_and_wait, &shared);
    actor_start(&cat, loop, "cat", lock_and_wait, &shared);
    settle(loop);
    yula_event_set(&shared.go);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED); /* by its next await */
    settle(loop);
    CHECK_STR(actor_log(), "bob has it. cat has it. ");
    yula_event_set(&shared.go);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&cat), 0);
    yula_loop_free(loop);
}

/* --- semaphore ----------------------------------------------------------- */

static int
acquire(actor *self, void *arg)
{
    int err = yula_semaphore_acquire(arg);

    actor_note(self, err == 0 ? "has one" : "gave up");
    return err;
}

TEST(a_semaphore_gives_what_it_has_and_then_makes_wait)
{
    yula_loop *loop = test_loop();
    yula_semaphore semaphore;
    actor ann, bob, cat;

    yula_semaphore_init(loop, &semaphore, 2);
    actor_start(&ann, loop, "ann", acquire, &semaphore);
    actor_start(&bob, loop, "bob", acquire, &semaphore);
    actor_start(&cat, loop, "cat", acquire, &semaphore);
    settle(loop);
    CHECK_STR(actor_log(), "ann has one. bob has one. ");
    CHECK_EQ(yula_semaphore_try_acquire(&semaphore), -EAGAIN);
    yula_semaphore_release(&semaphore);
    CHECK_EQ(semaphore.free, 0); /* it is cat's */
    CHECK_EQ(yula_semaphore_try_acquire(&semaphore), -EAGAIN);
    CHECK_EQ(actor_end(&cat), 0);
    yula_semaphore_release(&semaphore);
    CHECK_EQ(semaphore.free, 1);
    CHECK_EQ(yula_semaphore_try_acquire(&semaphore), 0);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    (void)actor_log();
    yula_loop_free(loop);
}

TEST(what_a_semaphore_granted_is_not_lost_by_an_interruption)
{
    yula_loop *loop = test_loop();
    yula_semaphore semaphore;
    actor ann, bob;

    yula_semaphore_init(loop, &semaphore, 0);
    actor_start(&ann, loop, "ann", acquire, &semaphore);
    actor_start(&bob, loop, "bob", acquire, &semaphore);
    settle(loop);
    yula_semaphore_release(&semaphore);
    yula_task_cancel(ann.task); /* too late */
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    yula_semaphore_release(&semaphore); /* to nobody */
    CHECK_EQ(semaphore.free, 1);
    CHECK_STR(actor_log(), "ann has one. bob gave up. ");
    yula_loop_free(loop);
}

/* --- condition ----------------------------------------------------------- */

typedef struct store {
    yula_mutex mutex;
    yula_condition changed;
    yula_event go;
    int count;
} store;

static void
store_init(store *self, yula_loop *loop)
{
    yula_mutex_init(loop, &self->mutex);
    yula_condition_init(&self->changed);
    yula_event_init(loop, &self->go);
    self->count = 0;
}

static int
take_one(actor *self, void *arg)
{
    store *from = arg;
    int err = yula_mutex_lock(&from->mutex);

    if (err < 0)
        return err;
    while (err == 0 && from->count == 0)
        err = yula_condition_wait(&from->changed, &from->mutex);
    CHECK(from->mutex.owner == self->task); /* whatever came */
    if (err == 0)
        from->count--;
    actor_note(self, err == 0 ? "took one" : "gave up");
    CHECK_EQ(yula_mutex_unlock(&from->mutex), 0);
    return err;
}

TEST(a_condition_lets_as_many_go_on_as_it_is_told_in_order)
{
    yula_loop *loop = test_loop();
    store shared;
    actor ann, bob, cat;

    store_init(&shared, loop);
    CHECK_EQ(yula_condition_notify(&shared.changed, SIZE_MAX), 0);
    actor_start(&ann, loop, "ann", take_one, &shared);
    actor_start(&bob, loop, "bob", take_one, &shared);
    actor_start(&cat, loop, "cat", take_one, &shared);
    settle(loop);
    CHECK(shared.mutex.owner == NULL);
    shared.count = 3;
    CHECK_EQ(yula_condition_notify(&shared.changed, 1), 1);
    settle(loop);
    CHECK_STR(actor_log(), "ann took one. ");
    CHECK_EQ(yula_condition_notify(&shared.changed, SIZE_MAX), 2);
    settle(loop);
    CHECK_STR(actor_log(), "bob took one. cat took one. ");
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(actor_end(&cat), 0);
    yula_loop_free(loop);
}

TEST(who_is_interrupted_at_a_condition_has_the_mutex_all_the_same)
{
    yula_loop *loop = test_loop();
    store shared;
    actor ann;

    store_init(&shared, loop);
    actor_start(&ann, loop, "ann", take_one, &shared);
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_STR(actor_log(), "ann gave up. ");
    yula_loop_free(loop);
}

/* Has the mutex while the others want it back. */
static int
hold(actor *self, void *arg)
{
    store *shared = arg;

    CHECK_EQ(yula_mutex_lock(&shared->mutex), 0);
    actor_note(self, "holds");
    CHECK_EQ(yula_event_wait(&shared->go), 0);
    return yula_mutex_unlock(&shared->mutex);
}

TEST(who_is_interrupted_at_a_condition_waits_for_the_mutex_uninterrupted)
{
    yula_loop *loop = test_loop();
    store shared;
    actor ann, bob;

    store_init(&shared, loop);
    actor_start(&ann, loop, "ann", take_one, &shared);
    actor_start(&bob, loop, "bob", hold, &shared);
    settle(loop);
    yula_task_cancel(ann.task);
    yula_task_cancel(ann.task);
    settle(loop);
    CHECK_STR(actor_log(), "bob holds. ");
    yula_event_set(&shared.go);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_STR(actor_log(), "ann gave up. ");
    yula_loop_free(loop);
}

TEST(a_notification_is_not_lost_by_an_interruption)
{
    yula_loop *loop = test_loop();
    store shared;
    actor ann, bob;

    for (int held = 0; held < 2; held++) {
        store_init(&shared, loop);
        actor_start(&ann, loop, "ann", take_one, &shared);
        settle(loop);
        if (held) /* ann must wait for the mutex, and is cancelled there */
            actor_start(&bob, loop, "bob", hold, &shared);
        settle(loop);
        shared.count = 1;
        CHECK_EQ(yula_condition_notify(&shared.changed, 1), 1);
        yula_task_cancel(ann.task);
        yula_event_set(&shared.go);
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(shared.count, 0);
        if (held)
            CHECK_EQ(actor_end(&bob), 0);
        CHECK_STR(actor_log(),
                  held ? "bob holds. ann took one. " : "ann took one. ");
    }
    yula_loop_free(loop);
}

static int
wait_without_the_mutex(actor *self, void *arg)
{
    store *shared = arg;

    return yula_condition_wait(&shared->changed, &shared->mutex);
}

TEST(a_condition_is_for_who_has_the_mutex)
{
    yula_loop *loop = test_loop();
    store shared;
    actor ann;

    store_init(&shared, loop);
    actor_start(&ann, loop, "ann", wait_without_the_mutex, &shared);
    CHECK_EQ(actor_end(&ann), -EPERM);
    yula_loop_free(loop);
}

/* --- everywhere ---------------------------------------------------------- */

/* Several takers and one who brings; each of them may be interrupted, in which
 * case it goes, and nobody is left waiting for what it had. */
static int
bring(actor *self, void *arg)
{
    store *to = arg;
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        err = yula_mutex_lock(&to->mutex);
        if (err < 0)
            break;
        to->count++;
        (void)yula_condition_notify(&to->changed, 1);
        err = yula_task_yield(self->loop);
        CHECK_EQ(yula_mutex_unlock(&to->mutex), 0);
    }
    return err;
}

static void
scene_of_a_store(yula_loop *loop)
{
    store shared;
    actor takers[3], bringer;

    store_init(&shared, loop);
    for (int i = 0; i < 3; i++)
        actor_start(&takers[i], loop, "taker", take_one, &shared);
    actor_start(&bringer, loop, "bringer", bring, &shared);
    int brought = 3;
    if (actor_end(&bringer) < 0)
        brought = -1;
    int took = 0;
    settle(loop);
    for (int i = 0; i < 3; i++) {
        if (!yula_task_ended(takers[i].task))
            yula_task_cancel(takers[i].task); /* nobody brings any more */
        took += actor_end(&takers[i]) == 0;
    }
    /* What was brought was taken, or is there. */
    CHECK(brought < 0 || took + shared.count == brought);
    CHECK(shared.mutex.owner == NULL);
    CHECK(shared.mutex.waiting.first == NULL);
    CHECK(shared.changed.waiting.first == NULL);
    (void)actor_log();
}

TEST(mutex_and_condition_survive_an_interruption_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(scene_of_a_store) >= 8);
}
