/* contention.h: whether other threads want the lock, how long to poll for it
 * before sleeping, and how much of it the loop owes them. Arithmetic on times
 * only: nothing of Python is here, and nothing is locked.
 *
 * All times are nanoseconds of CLOCK_MONOTONIC.
 *
 * Detecting. No public function says that a thread waits for the lock. So an
 * acquire that had to wait is the evidence; the loop is *contended* from then on
 * for as long as acquires go on having to wait, and
 * YULAPY_CONTENTION_MEMORY_NS more.
 * While contended:
 *
 *  - Polling. Giving the lock up costs a switch interval to undo, so the loop
 *    first polls for a bounded time: long while that finds something, short
 *    while it does not, never longer than spin_max_ns.
 *  - Sharing. For what the loop holds the lock the others get their part of
 *    time: share : 1 - share. The difference is kept as a debt, and paid by
 *    staying away from the lock when it is worth a switch.
 *  - The CPU clock of the thread tells in a batch what it ran from what it
 *    lost, when bytecode handed the lock over. That is an estimate: a thread
 *    that was not running may also have been preempted, or blocked in a call.
 */
#ifndef YULAPY_CONTENTION_H
#define YULAPY_CONTENTION_H

#include <stdbool.h>
#include <stdint.h>

/* Half a millisecond of polling at most, and 60 % of the lock's time. Measured
 * on an echo (docs/gil.md): polls longer than that no longer pay; a share
 * above one half leaves the shares to the scheduler where both have one CPU. */
#define YULAPY_SPIN_DEFAULT_NS 500000
#define YULAPY_SHARE_DEFAULT 0.6

/* An acquire that takes less did not wait for another thread (it costs 0.1 us,
 * and an interrupt some). */
#define YULAPY_WAIT_NS 5000

/* How long one wait is remembered: a loop with a request every quarter of a
 * second stays contended. */
#define YULAPY_CONTENTION_MEMORY_NS 250000000

typedef struct yulapy_contention {
    /* settings */
    int64_t spin_max_ns;
    double share;        /* 0 < share <= 1 */
    int64_t debt_min_ns; /* follows from it: less is not yet paid */

    /* detecting */
    int64_t until_ns; /* contended until; 0 while not */

    /* polling */
    int64_t spin_ns;        /* what the next poll may take */
    int64_t spin_began_ns;  /* 0 while not polling */
    unsigned spin_failures; /* in a row */

    /* sharing: since the last settlement, or since the lock was left */
    int64_t since_ns;
    int64_t since_cpu_ns;
    int64_t owed_ns; /* below 0: owed to the loop */

    /* statistics */
    uint64_t waits;
    int64_t waited_ns, longest_wait_ns;
    int64_t lost_ns; /* an estimate */
    uint64_t spins, spin_hits;
    int64_t spun_ns;
    uint64_t yields;
    int64_t yielded_ns;
} yulapy_contention;

void yulapy_contention_init(yulapy_contention *contention);
void yulapy_contention_set_share(yulapy_contention *contention, double share);

static inline bool
yulapy_contended(const yulapy_contention *contention)
{
    return contention->until_ns != 0;
}

/* An acquire ended at now_ns after wait_ns: count it, and judge. */
void yulapy_contention_waited(yulapy_contention *contention, int64_t now_ns,
                              int64_t wait_ns);

/* Nobody has made the loop wait for YULAPY_CONTENTION_MEMORY_NS: see for
 * certain, then yulapy_contention_calm. */
bool yulapy_contention_stale(const yulapy_contention *contention,
                             int64_t now_ns);
void yulapy_contention_calm(yulapy_contention *contention);

/* Begin to count what the loop runs and what it loses. */
void yulapy_contention_begin(yulapy_contention *contention, int64_t now_ns,
                             int64_t cpu_ns);
/* The lock was held since the last settlement (cpu_ns: the
 * thread's CPU clock now). */
void yulapy_contention_settle(yulapy_contention *contention, int64_t now_ns,
                              int64_t cpu_ns);
/* The lock was left at the last settlement and is back. */
void yulapy_contention_back(yulapy_contention *contention, int64_t now_ns,
                            int64_t cpu_ns);
/* How long to stay away from the lock now (ns), 0 for not. */
int64_t yulapy_contention_debt(const yulapy_contention *contention,
                               int64_t now_ns);

/* Whether the loop gets clearly less than its share. */
bool yulapy_contention_behind(const yulapy_contention *contention);

/* Before a sleep, with nothing to do: whether to poll once more. */
bool yulapy_contention_spin(yulapy_contention *contention, int64_t now_ns);
/* Work came: if the loop was polling, that has paid. */
void yulapy_contention_spun(yulapy_contention *contention, int64_t now_ns);

#endif /* YULAPY_CONTENTION_H */
