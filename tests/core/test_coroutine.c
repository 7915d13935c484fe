/* test_coroutine.c: functions that stop half-way; and what a switch preserves. */
#include <yula/coroutine.h> /* first: it must stand alone */

#include <errno.h>
#include <fenv.h>
#include <stdint.h>
#include <string.h>
#include <unwind.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

static void
count_up(yula_coroutine *coroutine, void *arg)
{
    for (intptr_t i = 1; i <= 3; i++) {
        void *back = yula_coroutine_yield(coroutine, (void *)i);
        CHECK_EQ((intptr_t)back, i * 10);
    }
}

TEST(a_coroutine_yields_values_and_gets_values_back)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;

    CHECK_EQ(yula_coroutine_new(loop, 0, count_up, NULL, &coroutine), 0);
    CHECK(!yula_coroutine_ended(coroutine));
    CHECK_EQ((intptr_t)yula_coroutine_resume(coroutine, NULL), 1);
    CHECK_EQ((intptr_t)yula_coroutine_resume(coroutine, (void *)10), 2);
    CHECK_EQ((intptr_t)yula_coroutine_resume(coroutine, (void *)20), 3);
    CHECK(!yula_coroutine_ended(coroutine));
    CHECK(yula_coroutine_resume(coroutine, (void *)30) == NULL);
    CHECK(yula_coroutine_ended(coroutine));
    CHECK(yula_coroutine_stack_used(coroutine) > 0);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
}

TEST(a_coroutine_may_be_freed_before_its_start_and_half_way)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;
    yula_stack_stats stats;

    CHECK_EQ(yula_coroutine_new(loop, 0, count_up, NULL, &coroutine), 0);
    yula_coroutine_free(coroutine);
    CHECK_EQ(yula_coroutine_new(loop, 0, count_up, NULL, &coroutine), 0);
    CHECK_EQ((intptr_t)yula_coroutine_resume(coroutine, NULL), 1);
    yula_coroutine_free(coroutine);
    yula_coroutine_free(NULL);
    yula_stack_get_stats(loop, &stats);
    CHECK_EQ(stats.in_use, 0);
    yula_loop_free(loop);
}

static void
end_at_once(yula_coroutine *coroutine, void *arg)
{
}

/* ThreadSanitizer remembers 65,536 calls that have not returned: each coroutine
 * that ended left one on the stack of who resumed it. */
TEST(any_number_of_coroutines_end_one_after_the_other)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;

    for (int i = 0; i < 70000; i++) {
        CHECK_EQ(yula_coroutine_new(loop, 0, end_at_once, NULL, &coroutine), 0);
        CHECK(yula_coroutine_resume(coroutine, NULL) == NULL);
        yula_coroutine_free(coroutine);
    }
    yula_loop_free(loop);
}

TEST(a_coroutine_that_cannot_be_made_is_refused)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;

    CHECK_EQ(yula_coroutine_new(loop, YULA_STACK_MAX + 1, count_up, NULL,
                                &coroutine),
             -EINVAL);
    yula_loop_forked(loop);
    CHECK_EQ(yula_coroutine_new(loop, 0, count_up, NULL, &coroutine),
             YULA_ECLOSED);
    yula_loop_free(loop);
}

typedef struct tree {
    yula_loop *loop;
    int depth;
} tree;

static void
tree_walk(yula_coroutine *self, void *arg)
{
    tree below = *(tree *)arg;
    yula_coroutine *coroutine;
    void *value;

    if (below.depth-- == 0) {
        yula_coroutine_yield(self, (void *)"leaf");
        return;
    }
    for (int child = 0; child < 2; child++) {
        CHECK_EQ(
            yula_coroutine_new(below.loop, 0, tree_walk, &below, &coroutine),
            0);
        while ((value = yula_coroutine_resume(coroutine, NULL)) != NULL)
            yula_coroutine_yield(self, value);
        yula_coroutine_free(coroutine);
    }
}

TEST(coroutines_resume_coroutines)
{
    tree root = {test_loop(), 4};
    yula_coroutine *coroutine;
    int leaves = 0;

    CHECK_EQ(yula_coroutine_new(root.loop, 0, tree_walk, &root, &coroutine), 0);
    while (yula_coroutine_resume(coroutine, NULL) != NULL)
        leaves++;
    CHECK_EQ(leaves, 16);
    yula_coroutine_free(coroutine);
    yula_loop_free(root.loop);
}

static void
sleep_inside(yula_coroutine *coroutine, void *arg)
{
    yula_loop *loop = arg;

    log_letter('a');
    CHECK_EQ(yula_task_sleep(loop, 10), 0);
    log_letter('b');
    yula_coroutine_yield(coroutine, (void *)"");
    CHECK_EQ(yula_task_sleep(loop, 10), YULA_ECANCELED);
    log_letter('d');
}

static int
drive(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_coroutine *coroutine;

    CHECK_EQ(yula_coroutine_new(loop, 0, sleep_inside, loop, &coroutine), 0);
    CHECK(yula_coroutine_resume(coroutine, NULL) != NULL);
    log_letter('c');
    yula_task_cancel(task);
    CHECK(yula_coroutine_resume(coroutine, NULL) == NULL);
    yula_coroutine_free(coroutine);
    return 0;
}

TEST(a_coroutine_of_a_task_may_use_await_points)
{
    CHECK_EQ(tasks_main(drive, NULL), 0);
    CHECK_STR(log_text, "abcd");
}

/* --- what a switch preserves --------------------------------------------- */

/* More live values than there are registers, on both sides of each switch. */
#define MIX(x) ((x) * 6364136223846793005u + 1442695040888963407u)

__attribute__((noinline)) static uint64_t
keep_registers(yula_coroutine *coroutine, bool inside, uint64_t seed)
{
    uint64_t a = MIX(seed), b = MIX(a), c = MIX(b), d = MIX(c), e = MIX(d),
             f = MIX(e), g = MIX(f), h = MIX(g);
    double p = (double)(a >> 12), q = (double)(b >> 12), r = (double)(c >> 12),
           s = (double)(d >> 12), t = (double)(e >> 12);

    for (int i = 0; i < 100; i++) {
        if (inside)
            yula_coroutine_yield(coroutine, (void *)"");
        else
            yula_coroutine_resume(coroutine, NULL);
        a += b, b ^= c, c += d, d ^= e, e += f, f ^= g, g += h, h ^= a;
        p += q / 3, q += r / 5, r -= s / 7, s += t / 11, t -= p / 13;
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^
           (uint64_t)(int64_t)((p + q + r + s + t) / 1e6);
}

static uint64_t inside_result;

static void
keep_inside(yula_coroutine *coroutine, void *arg)
{
    inside_result = keep_registers(coroutine, true, 2);
}

static void
only_yield(yula_coroutine *coroutine, void *arg)
{
    for (;;)
        yula_coroutine_yield(coroutine, (void *)"");
}

TEST(a_switch_preserves_registers_on_both_sides)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine, *idle;

    CHECK_EQ(yula_coroutine_new(loop, 0, only_yield, NULL, &idle), 0);
    uint64_t expected = keep_registers(idle, false, 1);
    uint64_t expected_inside = keep_registers(idle, false, 2);
    yula_coroutine_free(idle);
    CHECK_EQ(yula_coroutine_new(loop, 0, keep_inside, NULL, &coroutine), 0);
    yula_coroutine_resume(coroutine, NULL);
    CHECK(keep_registers(coroutine, false, 1) == expected);
    CHECK(yula_coroutine_ended(coroutine));
    CHECK(inside_result == expected_inside);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
}

static void
round_down(yula_coroutine *coroutine, void *arg)
{
    CHECK_EQ(fegetround(), FE_UPWARD); /* its creator's */
    CHECK_EQ(fesetround(FE_DOWNWARD), 0);
    yula_coroutine_yield(coroutine, (void *)"");
    CHECK_EQ(fegetround(), FE_DOWNWARD);
    volatile double one = 1, three = 3;
    volatile long double long_one = 1, long_three = 3;
    CHECK(one / three * 3 < 1);
    CHECK(long_one / long_three * 3 < 1);
}

/* valgrind takes a new rounding mode, but rounds to the nearest. */
static bool
rounds_down(void)
{
    volatile double one = 1, three = 3;
    fesetround(FE_DOWNWARD);
    volatile double product = one / three * 3; /* before it is set back */
    fesetround(FE_TONEAREST);
    return product < 1;
}

TEST(rounding_belongs_to_a_coroutine)
{
    if (!rounds_down())
        test_skip("this machine rounds in one way only");
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;
    int before = fegetround();

    CHECK_EQ(fesetround(FE_UPWARD), 0);
    CHECK_EQ(yula_coroutine_new(loop, 0, round_down, NULL, &coroutine), 0);
    CHECK_EQ(fesetround(before), 0);
    yula_coroutine_resume(coroutine, NULL);
    int after = fegetround();
    yula_coroutine_resume(coroutine, NULL);
    int at_end = fegetround();
    CHECK_EQ(after, before);
    CHECK_EQ(at_end, before);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
}

static void
check_alignment(yula_coroutine *coroutine, void *arg)
{
    /* gcc takes the alignment of the stack for granted here. */
    _Alignas(16) volatile char aligned[16] = {0};
    CHECK_EQ((uintptr_t)aligned % 16, 0);
    *(uintptr_t *)arg = (uintptr_t)__builtin_frame_address(0) % 16;
}

TEST(a_coroutine_begins_on_an_aligned_stack)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;
    uintptr_t rest = 1;

    CHECK_EQ(yula_coroutine_new(loop, 0, check_alignment, &rest, &coroutine),
             0);
    yula_coroutine_resume(coroutine, NULL);
    CHECK_EQ(rest, 0);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
}

static _Unwind_Reason_Code
count_frame(struct _Unwind_Context *context, void *arg)
{
    return ++*(int *)arg < 100 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static void
unwind(yula_coroutine *coroutine, void *arg)
{
    int frames = 0;
    *(int *)arg = (int)_Unwind_Backtrace(count_frame, &frames);
    CHECK(frames >= 2 && frames < 20);
}

TEST(unwinding_ends_at_the_entry_of_a_coroutine)
{
    yula_loop *loop = test_loop();
    yula_coroutine *coroutine;
    int reason = 0;

    CHECK_EQ(yula_coroutine_new(loop, 0, unwind, &reason, &coroutine), 0);
    yula_coroutine_resume(coroutine, NULL);
    CHECK_EQ(reason, _URC_END_OF_STACK);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
}
