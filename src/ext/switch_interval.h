/* switch_interval.h: CPython's switch interval, lowered while loops wait for the
 * lock.
 *
 * A thread that waits for the lock asks for it when the interval has passed
 * (sys.setswitchinterval, 5 ms), so a loop that comes back from a sleep loses
 * that much to a thread that computes. Only a waiter reads the interval. A loop
 * that sees contention therefore lowers it while it is away from the lock, and
 * sets it back when it has the lock again: other threads wait their usual 5 ms
 * for the loop, and the loop 0.1 ms for them.
 *
 * Callbacks that give the lock up themselves (TLS, hashing, files) lose it to
 * the same 5 ms each time. A loop that gets less than its share because of that
 * is *behind*, and leaves the interval at 1 ms while it has the lock: measured,
 * TLS beside a computing thread becomes twice as fast, where a plain echo
 * would only switch more often.
 *
 *  I1. The interval belongs to the lock, so to all loops that use it: the first
 *      that goes away lowers it, the last that comes back raises it again.
 *  I2. It belongs to the user before that. Any value but CPython's default is
 *      the user's and is neither lowered nor restored, also when it was set
 *      meanwhile.
 *  I3. A child after fork and an interpreter that ends get the default back,
 *      unless I2 forbids it.
 * An interpreter that shares its lock with others counts its own loops only;
 * by I2 it then finds the lowered value and leaves it to whoever lowered it.
 *
 * Thread: any that holds the lock. Needs nothing else.
 */
#ifndef YULAPY_SWITCH_INTERVAL_H
#define YULAPY_SWITCH_INTERVAL_H

#include <Python.h>
#include <stdbool.h>

/* Microseconds, as CPython counts. 0.1 ms is what a loop then waits beside a
 * thread that computes; lower only adds switches. */
#define YULAPY_SWITCH_US_DEFAULT 5000
#define YULAPY_SWITCH_US_AWAY 100
#define YULAPY_SWITCH_US_BEHIND 1000

/* Of one interpreter. */
typedef struct yulapy_switch_interval {
    PyObject *get, *set; /* sys's functions */
    unsigned away;       /* loops */
    long ours_us;        /* what we set it to; 0: CPython's or the user's */
    bool retired;        /* the interpreter ends */
} yulapy_switch_interval;

/* 0, or -1 with an exception. */
int yulapy_switch_interval_init(yulapy_switch_interval *interval);

/* A contended loop is about to leave the lock; it is back. Balanced. Never
 * fail: an interval that cannot be set stays as it is. */
void yulapy_switch_interval_leave(yulapy_switch_interval *interval);
void yulapy_switch_interval_return(yulapy_switch_interval *interval,
                                   bool behind);

/* A run ends. */
void yulapy_switch_interval_end(yulapy_switch_interval *interval);

/* In a child after fork: no loop is away any more. */
void yulapy_switch_interval_forked(yulapy_switch_interval *interval);
/* From now on leave it alone. */
void yulapy_switch_interval_retire(yulapy_switch_interval *interval);

/* Seconds that are the user's own, or 0 if it is the default or ours. -1 with
 * an exception. */
double yulapy_switch_interval_of_user(yulapy_switch_interval *interval);

#endif /* YULAPY_SWITCH_INTERVAL_H */
