/* test_contention.c: the arithmetic of src/ext/contention.c: when a loop counts as
 * contended, how long it polls, and what it owes. Times are made up, ns.
 */
#include "contention.h"

#include "test.h"

#define MS INT64_C(1000000)

static yulapy_contention
contended_at(int64_t now_ns)
{
    yulapy_contention contention;
    yulapy_contention_init(&contention);
    yulapy_contention_waited(&contention, now_ns, 5 * MS);
    CHECK(yulapy_contended(&contention));
    yulapy_contention_begin(&contention, now_ns, 0);
    return contention;
}

/* Polls until it is told to sleep. Returns how long that took. */
static int64_t
spin_in_vain(yulapy_contention *contention, int64_t now_ns)
{
    int64_t began_ns = now_ns;
    while (yulapy_contention_spin(contention, now_ns))
        now_ns += 1000;
    return now_ns - began_ns;
}

TEST(an_acquire_that_did_not_wait_is_no_contention)
{
    yulapy_contention contention;

    yulapy_contention_init(&contention);
    yulapy_contention_waited(&contention, MS, YULAPY_WAIT_NS - 1);
    CHECK_EQ(contention.waits, 0);
    CHECK_EQ(contention.waited_ns, 0);
    CHECK(!yulapy_contended(&contention));
}

TEST(a_short_wait_is_counted_and_changes_nothing)
{
    yulapy_contention contention;

    yulapy_contention_init(&contention);
    yulapy_contention_waited(&contention, MS, YULAPY_WAIT_NS);
    CHECK_EQ(contention.waits, 1);
    CHECK_EQ(contention.waited_ns, YULAPY_WAIT_NS);
    CHECK(!yulapy_contended(&contention));
}

TEST(waits_are_summed_and_the_longest_is_kept)
{
    yulapy_contention contention = contended_at(MS);

    yulapy_contention_waited(&contention, 10 * MS, 2 * MS);
    yulapy_contention_waited(&contention, 20 * MS, 7 * MS);
    CHECK_EQ(contention.waits, 3);
    CHECK_EQ(contention.waited_ns, 14 * MS);
    CHECK_EQ(contention.longest_wait_ns, 7 * MS);
}

TEST(contention_is_stale_when_nobody_made_the_loop_wait_for_a_while)
{
    yulapy_contention contention = contended_at(MS);
    int64_t end_ns = MS + YULAPY_CONTENTION_MEMORY_NS;

    CHECK(!yulapy_contention_stale(&contention, end_ns - 1));
    CHECK(yulapy_contention_stale(&contention, end_ns));
    yulapy_contention_waited(&contention, end_ns, YULAPY_WAIT_NS);
    CHECK(!yulapy_contention_stale(&contention, end_ns));
    yulapy_contention_calm(&contention);
    CHECK(!yulapy_contended(&contention));
}

/* --- polling --------------------------------------------------------------- */

TEST(the_first_poll_is_as_long_as_allowed)
{
    yulapy_contention contention = contended_at(MS);
    CHECK_EQ(spin_in_vain(&contention, 2 * MS), YULAPY_SPIN_DEFAULT_NS);
    CHECK_EQ(contention.spins, 1);
    CHECK_EQ(contention.spin_hits, 0);
    CHECK_EQ(contention.spun_ns, YULAPY_SPIN_DEFAULT_NS);
}

TEST(
    polls_that_find_nothing_become_short_and_now_and_then_a_full_one_looks_again)
{
    yulapy_contention contention = contended_at(MS);
    int64_t longest_ns = 0, spent_ns = 0, now_ns = MS;

    for (int i = 0; i < 8; i++)
        (void)spin_in_vain(&contention, now_ns += 10 * MS);
    for (int i = 0; i < 160; i++) {
        int64_t spun_ns = spin_in_vain(&contention, now_ns += 10 * MS);
        spent_ns += spun_ns;
        if (spun_ns > longest_ns)
            longest_ns = spun_ns;
    }
    CHECK_EQ(longest_ns, YULAPY_SPIN_DEFAULT_NS);
    /* 100 vain polls in a second: at most 2 % of it. */
    CHECK(spent_ns * 100 / 160 <= 20 * MS);
}

TEST(polls_that_pay_become_long_again)
{
    yulapy_contention contention = contended_at(MS);
    int64_t now_ns = MS;

    for (int i = 0; i < 8; i++)
        (void)spin_in_vain(&contention, now_ns += MS);
    CHECK(contention.spin_ns < YULAPY_SPIN_DEFAULT_NS);
    for (int i = 0; i < 8; i++) {
        CHECK(yulapy_contention_spin(&contention, now_ns += MS));
        yulapy_contention_spun(&contention, now_ns + 30000);
    }
    CHECK_EQ(contention.spin_hits, 8);
    CHECK_EQ(contention.spin_ns, YULAPY_SPIN_DEFAULT_NS);
}

TEST(work_without_a_poll_before_it_is_no_hit)
{
    yulapy_contention contention = contended_at(MS);
    yulapy_contention_spun(&contention, 2 * MS);
    CHECK_EQ(contention.spin_hits, 0);
    CHECK_EQ(contention.spun_ns, 0);
}

TEST(a_limit_of_zero_never_polls)
{
    yulapy_contention contention = contended_at(MS);
    contention.spin_max_ns = 0;
    CHECK(!yulapy_contention_spin(&contention, 2 * MS));
    CHECK_EQ(contention.spins, 0);
}

TEST(no_poll_is_longer_than_a_limit_below_the_shortest)
{
    yulapy_contention contention = contended_at(MS);
    contention.spin_max_ns = contention.spin_ns = 10000;
    for (int i = 1; i < 40; i++)
        CHECK(spin_in_vain(&contention, i * 10 * MS) <= 10000);
}

/* --- sharing --------------------------------------------------------------- */

TEST(what_the_loop_ran_is_owed_in_proportion)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.25);
    yulapy_contention_settle(&contention, 1 * MS, 1 * MS);
    CHECK_EQ(contention.owed_ns, 3 * MS);
    CHECK_EQ(yulapy_contention_debt(&contention, 1 * MS), 3 * MS);
    /* Away since the settlement: that pays it. */
    CHECK_EQ(yulapy_contention_debt(&contention, 2 * MS), 0);
    yulapy_contention_back(&contention, 4 * MS, 1 * MS);
    CHECK_EQ(contention.owed_ns, 0);
    CHECK_EQ(yulapy_contention_debt(&contention, 4 * MS), 0);
}

TEST(what_was_lost_in_a_batch_is_estimated_and_pays)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.5);
    yulapy_contention_settle(&contention, 10 * MS, 6 * MS);
    CHECK_EQ(contention.lost_ns, 4 * MS);
    CHECK_EQ(contention.owed_ns, 2 * MS);
}

TEST(clocks_that_disagree_lose_nothing)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_settle(&contention, 1 * MS, 2 * MS);
    CHECK_EQ(contention.lost_ns, 0);
}

TEST(a_small_debt_waits_and_a_large_one_is_forgiven)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.5);
    yulapy_contention_settle(&contention, MS - 1, MS - 1);
    CHECK_EQ(yulapy_contention_debt(&contention, MS - 1), 0);
    yulapy_contention_settle(&contention, 1000 * MS, 1000 * MS);
    CHECK_EQ(yulapy_contention_debt(&contention, 1000 * MS), 30 * MS);
}

TEST(a_long_absence_does_not_entitle_to_a_long_stay)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.5);
    yulapy_contention_settle(&contention, 0, 0);
    yulapy_contention_back(&contention, 1000 * MS, 0);
    CHECK_EQ(contention.owed_ns, -5 * MS);
    CHECK(yulapy_contention_behind(&contention));
    yulapy_contention_calm(&contention);
    CHECK(!yulapy_contention_behind(&contention));
}

TEST(a_small_share_is_taken_in_pieces_worth_a_switch)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.1);
    yulapy_contention_settle(&contention, MS / 2, MS / 2);
    CHECK_EQ(yulapy_contention_debt(&contention, MS / 2), 0);
    yulapy_contention_settle(&contention, MS, MS);
    CHECK_EQ(yulapy_contention_debt(&contention, MS), 9 * MS);
}

TEST(however_small_the_share_the_loop_is_not_away_for_long)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 0.001);
    yulapy_contention_settle(&contention, MS, MS);
    CHECK_EQ(yulapy_contention_debt(&contention, MS), 30 * MS);
}

TEST(a_share_of_one_owes_nothing)
{
    yulapy_contention contention = contended_at(0);

    yulapy_contention_set_share(&contention, 1);
    yulapy_contention_settle(&contention, 100 * MS, 100 * MS);
    CHECK_EQ(contention.owed_ns, 0);
}
