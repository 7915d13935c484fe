/* contention.c: see contention.h. */
#include "contention.h"

/* A wait that long is no accident: interpreters switch every 5 ms unless they
 * are told otherwise, and a wait among threads that often let go is harmless. */
#define CONTENTION_WAIT_NS 100000

/* Polls that find nothing halve the next one down to this (a round trip over
 * loopback takes 30 us); every so often a full one looks again. */
#define SPIN_MIN_NS 50000
#define SPIN_RETRY 16

/* A debt is paid when the loop had the lock for HOLD_MIN_NS: each hand-over
 * costs tens of microseconds, also in caches that were warm (at a share of 0.25
 * and 100 connections, holding it for 0.3 ms cost a fifth of the requests). No
 * payment keeps the loop away for longer than DEBT_PAID_NS, and no debt is
 * above DEBT_MAX_NS: a callback that computed for a second is not paid for with
 * another second. What the others had too much counts for a few switches only. */
#define HOLD_MIN_NS 1000000
#define DEBT_MIN_NS 1000000
#define DEBT_PAID_NS 20000000
#define DEBT_MAX_NS 30000000
#define CREDIT_MAX_NS 5000000

void
yulapy_contention_init(yulapy_contention *contention)
{
    *contention = (yulapy_contention){.spin_max_ns = YULAPY_SPIN_DEFAULT_NS};
    yulapy_contention_set_share(contention, YULAPY_SHARE_DEFAULT);
}

void
yulapy_contention_set_share(yulapy_contention *contention, double share)
{
    double debt_ns = HOLD_MIN_NS * ((1 - share) / share);

    if (debt_ns < DEBT_MIN_NS)
        debt_ns = DEBT_MIN_NS;
    if (debt_ns > DEBT_PAID_NS)
        debt_ns = DEBT_PAID_NS;
    contention->share = share;
    contention->debt_min_ns = (int64_t)debt_ns;
    contention->owed_ns = 0;
}

void
yulapy_contention_waited(yulapy_contention *contention, int64_t now_ns,
                         int64_t wait_ns)
{
    if (wait_ns < YULAPY_WAIT_NS)
        return;
    contention->waits++;
    contention->waited_ns += wait_ns;
    if (wait_ns > contention->longest_wait_ns)
        contention->longest_wait_ns = wait_ns;
    if (!yulapy_contended(contention)) {
        if (wait_ns < CONTENTION_WAIT_NS)
            return;
        contention->spin_ns = contention->spin_max_ns;
        contention->spin_failures = 0;
        contention->owed_ns = 0;
    }
    contention->until_ns = now_ns + YULAPY_CONTENTION_MEMORY_NS;
}

bool
yulapy_contention_stale(const yulapy_contention *contention, int64_t now_ns)
{
    return now_ns >= contention->until_ns;
}

void
yulapy_contention_calm(yulapy_contention *contention)
{
    contention->until_ns = 0;
    contention->spin_began_ns = 0;
}

static void
contention_owe(yulapy_contention *contention, double more_ns)
{
    double owed_ns = (double)contention->owed_ns + more_ns;

    if (owed_ns > DEBT_MAX_NS)
        owed_ns = DEBT_MAX_NS;
    if (owed_ns < -CREDIT_MAX_NS)
        owed_ns = -CREDIT_MAX_NS;
    contention->owed_ns = (int64_t)owed_ns;
}

void
yulapy_contention_begin(yulapy_contention *contention, int64_t now_ns,
                        int64_t cpu_ns)
{
    contention->since_ns = now_ns;
    contention->since_cpu_ns = cpu_ns;
}

void
yulapy_contention_settle(yulapy_contention *contention, int64_t now_ns,
                         int64_t cpu_ns)
{
    int64_t held_ns = cpu_ns - contention->since_cpu_ns;
    int64_t lost_ns = now_ns - contention->since_ns - held_ns;
    double rate = (1 - contention->share) / contention->share;

    if (lost_ns < 0) /* two clocks */
        lost_ns = 0;
    contention->lost_ns += lost_ns;
    contention_owe(contention, (double)held_ns * rate - (double)lost_ns);
    yulapy_contention_begin(contention, now_ns, cpu_ns);
}

void
yulapy_contention_back(yulapy_contention *contention, int64_t now_ns,
                       int64_t cpu_ns)
{
    contention_owe(contention, (double)(contention->since_ns - now_ns));
    yulapy_contention_begin(contention, now_ns, cpu_ns);
}

int64_t
yulapy_contention_debt(const yulapy_contention *contention, int64_t now_ns)
{
    int64_t owed_ns = contention->owed_ns - (now_ns - contention->since_ns);
    return owed_ns >= contention->debt_min_ns ? owed_ns : 0;
}

bool
yulapy_contention_behind(const yulapy_contention *contention)
{
    return yulapy_contended(contention) &&
           contention->owed_ns <= -CREDIT_MAX_NS * 4 / 5;
}

static void
spin_end(yulapy_contention *contention, int64_t now_ns)
{
    contention->spun_ns += now_ns - contention->spin_began_ns;
    contention->spin_began_ns = 0;
}

static int64_t
smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool
yulapy_contention_spin(yulapy_contention *contention, int64_t now_ns)
{
    if (contention->spin_max_ns == 0)
        return false;
    if (contention->spin_began_ns == 0) {
        contention->spin_began_ns = now_ns;
        contention->spins++;
        return true;
    }
    if (now_ns - contention->spin_began_ns < contention->spin_ns)
        return true;
    spin_end(contention, now_ns);
    if (++contention->spin_failures % SPIN_RETRY == 0)
        contention->spin_ns = contention->spin_max_ns;
    else if (contention->spin_ns / 2 >= SPIN_MIN_NS)
        contention->spin_ns /= 2;
    else
        contention->spin_ns = smaller(SPIN_MIN_NS, contention->spin_max_ns);
    return false;
}

void
yulapy_contention_spun(yulapy_contention *contention, int64_t now_ns)
{
    if (contention->spin_began_ns == 0)
        return;
    spin_end(contention, now_ns);
    contention->spin_hits++;
    contention->spin_failures = 0;
    contention->spin_ns = smaller(contention->spin_ns * 2,
                                  contention->spin_max_ns);
}
