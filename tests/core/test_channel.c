/* test_channel.c: channels and select. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "actors.h"
#include "support.h"
#include "test.h"

/* Two channels of ints, and what was received. */
typedef struct wires {
    yula_channel *a, *b;
    int got[16];
    int got_count;
} wires;

static void
wires_make(wires *self, yula_loop *loop, size_t capacity)
{
    CHECK_EQ(yula_channel_new(loop, sizeof(int), capacity, &self->a), 0);
    CHECK_EQ(yula_channel_new(loop, sizeof(int), capacity, &self->b), 0);
    self->got_count = 0;
}

static void
wires_free(wires *self)
{
    yula_channel_free(self->a);
    yula_channel_free(self->b);
}

/* Sends number, number + 1, number + 2 on a. */
static int
send_three(actor *self, void *arg)
{
    wires *to = arg;
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        int item = self->number + i;
        err = yula_channel_send(to->a, &item);
        actor_note(self, err == 0 ? "sent" : "cannot send");
    }
    return err;
}

static int
receive_all(actor *self, void *arg)
{
    wires *from = arg;
    int item, err;

    while ((err = yula_channel_recv(from->a, &item)) == 0)
        from->got[from->got_count++] = item;
    actor_note(self, err == YULA_EOF ? "has all" : "is interrupted");
    return err == YULA_EOF ? 0 : err;
}

TEST(without_capacity_a_send_waits_for_its_receive)
{
    yula_loop *loop = test_loop();
    wires shared;
    actor ann, bob;
    int item = 7;

    wires_make(&shared, loop, 0);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), -EAGAIN);
    CHECK_EQ(yula_channel_try_recv(shared.a, &item), -EAGAIN);
    actor_start(&ann, loop, "ann", send_three, &shared);
    ann.number = 1;
    settle(loop);
    CHECK_STR(actor_log(), "");
    CHECK_EQ(yula_channel_try_recv(shared.a, &item), 0);
    CHECK_EQ(item, 1);
    actor_start(&bob, loop, "bob", receive_all, &shared);
    CHECK_EQ(actor_end(&ann), 0);
    item = 4;
    settle(loop);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), 0); /* to bob */
    CHECK_EQ(yula_channel_count(shared.a), 0);
    yula_channel_close(shared.a);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(shared.got_count, 3);
    CHECK_EQ(shared.got[0], 2);
    CHECK_EQ(shared.got[2], 4);
    (void)actor_log();
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(with_capacity_items_keep_their_order_through_the_ring_and_the_line)
{
    yula_loop *loop = test_loop();
    wires shared;
    actor ann, bob, cat;

    wires_make(&shared, loop, 2);
    actor_start(&ann, loop, "ann", send_three, &shared);
    ann.number = 1;
    settle(loop);
    CHECK_EQ(yula_channel_count(shared.a), 2);
    actor_start(&bob, loop, "bob", send_three, &shared);
    bob.number = 11;
    settle(loop);
    actor_start(&cat, loop, "cat", receive_all, &shared);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    yula_channel_close(shared.a);
    CHECK_EQ(actor_end(&cat), 0);
    static const int expected[] = {1, 2, 3, 11, 12, 13};
    CHECK_EQ(shared.got_count, 6);
    CHECK(memcmp(shared.got, expected, sizeof(expected)) == 0);
    (void)actor_log();
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(items_are_of_any_size_also_of_none)
{
    yula_loop *loop = test_loop();
    yula_channel *moments, *big;
    char in[300], out[300];

    CHECK_EQ(yula_channel_new(loop, 0, 1, &moments), 0);
    CHECK_EQ(yula_channel_try_send(moments, NULL), 0);
    CHECK_EQ(yula_channel_try_send(moments, NULL), -EAGAIN);
    CHECK_EQ(yula_channel_try_recv(moments, NULL), 0);
    CHECK_EQ(yula_channel_try_recv(moments, NULL), -EAGAIN);
    CHECK_EQ(yula_channel_new(loop, sizeof(in), 1, &big), 0);
    memset(in, 'x', sizeof(in));
    CHECK_EQ(yula_channel_try_send(big, in), 0);
    CHECK_EQ(yula_channel_try_recv(big, out), 0);
    CHECK(memcmp(in, out, sizeof(in)) == 0);
    yula_channel_free(moments);
    yula_channel_free(big);
    yula_channel_free(NULL);
    CHECK_EQ(yula_channel_new(loop, 16, SIZE_MAX / 8, &big), -EOVERFLOW);
    test_fail_alloc(1);
    CHECK_EQ(yula_channel_new(loop, 16, 16, &big), -ENOMEM);
    yula_loop_free(loop);
}

TEST(closing_a_channel_ends_senders_at_once_and_receivers_when_it_is_empty)
{
    yula_loop *loop = test_loop();
    wires shared;
    actor ann, bob;
    int item = 0;

    wires_make(&shared, loop, 2);
    actor_start(&ann, loop, "ann", send_three, &shared);
    ann.number = 1;
    settle(loop);
    yula_channel_close(shared.a);
    yula_channel_close(shared.a);
    CHECK_EQ(actor_end(&ann), -EPIPE);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), -EPIPE);
    actor_start(&bob, loop, "bob", receive_all, &shared);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(shared.got_count, 2);
    CHECK_EQ(yula_channel_try_recv(shared.a, &item), YULA_EOF);
    (void)actor_log();
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(an_item_handed_to_a_receiver_that_is_then_interrupted_is_not_lost)
{
    yula_loop *loop = test_loop();
    wires shared;
    actor ann, bob;
    int item = 5;

    wires_make(&shared, loop, 0);
    actor_start(&ann, loop, "ann", receive_all, &shared);
    settle(loop);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), 0);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED); /* at its second receive */
    CHECK_EQ(shared.got_count, 1);
    CHECK_EQ(shared.got[0], 5);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), -EAGAIN);

    actor_start(&bob, loop, "bob", send_three, &shared);
    bob.number = 1;
    settle(loop);
    CHECK_EQ(yula_channel_try_recv(shared.a, &item), 0);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_STR(actor_log(), "ann is interrupted. bob sent. bob cannot send. ");
    CHECK_EQ(yula_channel_try_recv(shared.a, &item), -EAGAIN);
    wires_free(&shared);
    yula_loop_free(loop);
}

/* --- select -------------------------------------------------------------- */

typedef struct choice {
    wires *wires;
    int64_t deadline_ns;
    int index;
    int status;
    int item;
} choice;

/* Receives from a or b, or sends 100 on b. */
static int
choose(actor *self, void *arg)
{
    choice *made = arg;
    int hundred = 100, from_a = 0, from_b = 0;
    yula_channel_case cases[] = {
        {.channel = made->wires->a, .op = YULA_CHANNEL_RECV, .item = &from_a},
        {.channel = NULL},
        {.channel = made->wires->b, .op = YULA_CHANNEL_RECV, .item = &from_b},
        {.channel = made->wires->b, .op = YULA_CHANNEL_SEND, .item = &hundred},
    };

    made->index = yula_channel_select(self->loop, cases, 4, made->deadline_ns);
    if (made->index < 0)
        return made->index;
    made->status = cases[made->index].status;
    made->item = made->index == 0 ? from_a : from_b;
    return 0;
}

TEST(a_select_does_the_one_case_that_comes)
{
    yula_loop *loop = test_loop();
    wires shared;
    choice made = {.wires = &shared, .deadline_ns = YULA_NEVER};
    actor ann;
    int item;

    wires_make(&shared, loop, 0);
    for (int which = 0; which < 4; which++) {
        if (which == 1)
            continue; /* the case without a channel */
        actor_start(&ann, loop, "ann", choose, &made);
        settle(loop);
        CHECK(!yula_task_ended(ann.task));
        item = 40 + which;
        if (which == 3)
            CHECK_EQ(yula_channel_try_recv(shared.b, &item), 0);
        else
            CHECK_EQ(
                yula_channel_try_send(which == 0 ? shared.a : shared.b, &item),
                0);
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(made.index, which);
        CHECK_EQ(made.status, 0);
        CHECK_EQ(which == 3 ? item : made.item, which == 3 ? 100 : 40 + which);
        /* It left all lines. */
        CHECK_EQ(yula_channel_try_send(shared.a, &item), -EAGAIN);
        CHECK_EQ(yula_channel_try_send(shared.b, &item), -EAGAIN);
        CHECK_EQ(yula_channel_try_recv(shared.b, &item), -EAGAIN);
    }
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(two_selects_meet)
{
    yula_loop *loop = test_loop();
    wires shared;
    choice first = {.wires = &shared, .deadline_ns = YULA_NEVER};
    choice second = first;
    actor ann, bob;

    wires_make(&shared, loop, 0);
    actor_start(&ann, loop, "ann", choose, &first);
    actor_start(&bob, loop, "bob", choose, &second);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(first.index + second.index, 2 + 3); /* one sent, one received */
    CHECK_EQ(first.item + second.item, 100);
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(a_select_without_a_deadline_to_wait_for_says_that_nothing_could_be_done)
{
    yula_loop *loop = test_loop();
    wires shared;
    choice made = {.wires = &shared, .deadline_ns = 0};
    actor ann;
    int item = 3;

    wires_make(&shared, loop, 1);
    CHECK_EQ(yula_channel_try_send(shared.b, &item), 0);
    actor_start(&ann, loop, "ann", choose, &made);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(made.index, 2);
    CHECK_EQ(made.item, 3);
    yula_channel_free(shared.b);
    CHECK_EQ(yula_channel_new(loop, sizeof(int), 0, &shared.b), 0);
    actor_start(&ann, loop, "ann", choose, &made);
    CHECK_EQ(actor_end(&ann), -EAGAIN);
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(a_select_gives_up_at_its_deadline)
{
    yula_loop *loop = test_loop_by_hand();
    wires shared;
    choice made = {.wires = &shared, .deadline_ns = test_now_ns + 100};
    actor ann;
    int item = 1;

    wires_make(&shared, loop, 0);
    actor_start(&ann, loop, "ann", choose, &made);
    settle(loop);
    test_now_ns += 99;
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    test_now_ns += 1;
    CHECK_EQ(actor_end(&ann), -ETIMEDOUT);
    CHECK_EQ(yula_channel_try_send(shared.a, &item), -EAGAIN);
    made.deadline_ns = test_now_ns + 100;
    actor_start(&ann, loop, "ann", choose, &made);
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(a_deadline_of_a_select_without_memory_says_so)
{
    yula_loop *loop = test_loop_by_hand();
    wires shared;
    choice made = {.wires = &shared, .deadline_ns = test_now_ns + 100};
    actor ann;

    wires_make(&shared, loop, 0);
    actor_start(&ann, loop, "ann", choose, &made);
    test_fail_alloc(1); /* the heap of timers */
    CHECK_EQ(actor_end(&ann), -ENOMEM);
    CHECK(test_alloc_failed());
    wires_free(&shared);
    yula_loop_free(loop);
}

TEST(a_closed_channel_ends_a_select_that_waits_for_it)
{
    yula_loop *loop = test_loop();
    wires shared;
    choice made = {.wires = &shared, .deadline_ns = YULA_NEVER};
    actor ann;

    for (int waits = 0; waits < 2; waits++) {
        wires_make(&shared, loop, 0);
        actor_start(&ann, loop, "ann", choose, &made);
        if (waits)
            settle(loop);
        yula_channel_close(shared.a);
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(made.index, 0);
        CHECK_EQ(made.status, YULA_EOF);
        wires_free(&shared);
    }
    wires_make(&shared, loop, 0);
    actor_start(&ann, loop, "ann", choose, &made);
    settle(loop);
    yula_channel_close(shared.b);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK(made.index == 2 || made.index == 3);
    CHECK_EQ(made.status, made.index == 2 ? YULA_EOF : -EPIPE);
    wires_free(&shared);
    yula_loop_free(loop);
}

static int
receive_in_turn(actor *self, void *arg)
{
    wires *shared = arg;

    for (int i = 0; i < 4; i++) {
        int item;
        yula_channel_case cases[] = {
            {.channel = shared->a, .op = YULA_CHANNEL_RECV, .item = &item},
            {.channel = shared->b, .op = YULA_CHANNEL_RECV, .item = &item},
        };
        shared->got[i] = yula_channel_select(self->loop, cases, 2, 0);
    }
    return 0;
}

TEST(a_select_takes_cases_that_can_all_be_done_in_turn)
{
    yula_loop *loop = test_loop();
    wires shared;
    actor ann;

    wires_make(&shared, loop, 4);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(yula_channel_try_send(shared.a, &i), 0);
        CHECK_EQ(yula_channel_try_send(shared.b, &i), 0);
    }
    actor_start(&ann, loop, "ann", receive_in_turn, &shared);
    CHECK_EQ(actor_end(&ann), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(shared.got[i], i % 2);
    wires_free(&shared);
    yula_loop_free(loop);
}

/* --- everywhere ---------------------------------------------------------- */

/* Passes on what comes on a or b to got; sends nothing. */
static int
collect(actor *self, void *arg)
{
    wires *from = arg;

    for (;;) {
        int item = 0;
        yula_channel_case cases[] = {
            {.channel = from->a, .op = YULA_CHANNEL_RECV, .item = &item},
            {.channel = from->b, .op = YULA_CHANNEL_RECV, .item = &item},
        };
        int which = yula_channel_select(self->loop, cases, 2, YULA_NEVER);
        if (which < 0 || cases[which].status < 0)
            return which < 0 ? which : 0;
        from->got[from->got_count++] = item;
    }
}

/* Every item whose send returned 0 arrives once, in the order of its sender. */
static void
scene_of_channels(yula_loop *loop, size_t capacity)
{
    wires shared;
    actor senders[3], receiver;
    int sent = 0, item;

    wires_make(&shared, loop, capacity);
    for (int i = 0; i < 3; i++) {
        actor_start(&senders[i], loop, "sender", send_three, &shared);
        senders[i].number = 10 * i + 1;
    }
    actor_start(&receiver, loop, "receiver", collect, &shared);
    settle(loop);
    while (yula_channel_try_recv(shared.a, &item) == 0) {
        shared.got[shared.got_count++] = item;
        settle(loop);
    }
    yula_channel_close(shared.a);
    for (int i = 0; i < 3; i++)
        (void)actor_end(&senders[i]);
    (void)actor_end(&receiver);
    const char *text = actor_log();
    while ((text = strstr(text, "r sent")) != NULL) {
        text++;
        sent++;
    }
    CHECK_EQ(shared.got_count, sent);
    int last[3] = {0, 10, 20};
    for (int i = 0; i < sent; i++) {
        int from = shared.got[i] / 10;
        CHECK_EQ(shared.got[i], last[from] + 1);
        last[from]++;
    }
    wires_free(&shared);
}

static void
scene_without_room(yula_loop *loop)
{
    scene_of_channels(loop, 0);
}

static void
scene_with_room(yula_loop *loop)
{
    scene_of_channels(loop, 2);
}

TEST(channels_and_select_survive_an_interruption_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(scene_without_room) >= 8);
    CHECK(actor_interrupt_everywhere(scene_with_room) >= 4);
}
