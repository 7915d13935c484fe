/* gil.h: the interpreter lock, and where it is given up. The contract:
 *
 *  - The lock is released around a poll that may sleep (and the native work the
 *    core does in that stretch), around the joining of workers, and to stay away
 *    when the loop has had more than its share: all through the host table
 *    below. (Workers have thread states of their own and wait for jobs without
 *    the lock: executor.c.) Never around a single system call: with another
 *    thread computing, each release costs up to a switch interval to undo.
 *  - One release goes past the table: a closed loop that had C tasks joins its
 *    native loop's thread (native_lane.c) while those clean up, for as long as
 *    that takes. Other threads run Python meanwhile; the loop is closed to them.
 *  - While other threads want it (contention.h), the loop polls a little before
 *    it sleeps, lowers the switch interval while it is away
 *    (switch_interval.h), keeps to its share, and has the core read and send
 *    large batches without the lock where that leaves them a CPU
 *    (yula_loop_want_host). While nobody does, all of that is off and costs two
 *    looks at the clock for each sleep.
 *  - Only bytecode passes CPython's eval breaker, so a batch of C callables
 *    would keep the lock for ever. `breathe` and `linger` call an empty Python
 *    function every so often, which hands the lock over when another thread has
 *    waited for its switch interval, and runs Python's signal handlers.
 *  - On free-threaded builds the same release detaches the thread, which a
 *    stop-the-world needs.
 *  - Never PyGILState_*: a loop belongs to the interpreter that made it. The
 *    thread state saved at release is the one that is restored.
 *  - At finalisation PyEval_RestoreThread ends or parks a daemon thread inside
 *    acquire; nothing of ours is locked then.
 *  - After fork the child's loop is closed without touching the parent's epoll
 *    set (yula_loop_forked), and the switch interval is the user's again.
 */
#ifndef YULAPY_GIL_H
#define YULAPY_GIL_H

#include <Python.h>
#include <yula/loop.h>

#include "contention.h"

typedef struct yulapy_loop yulapy_loop;
typedef struct yulapy_state yulapy_state;

/* A loop's dealings with the lock. */
typedef struct yulapy_gil {
    PyThreadState *tstate; /* saved while the lock is released */
    yulapy_contention contention;
    unsigned breaths; /* since the last pass through the eval breaker */
    bool away;        /* left while contended: counted in the switch interval */
    bool told_contended; /* the core (yula_loop_want_host) */
    bool sampled; /* contention.since_* are of this stretch of the lock */
} yulapy_gil;

void yulapy_gil_init(yulapy_gil *gil);

/* Fill the host table that a loop hands to the core. */
void yulapy_gil_host(yulapy_loop *loop, yula_host *out);

/* A run ends: what was written while others wanted the lock is sent. */
void yulapy_gil_end(yulapy_loop *loop);

/* In a child after fork, which has none of the threads. */
void yulapy_gil_forked(yulapy_loop *loop);

/* Of the module: the empty function, the switch interval. 0 or -1. */
int yulapy_gil_add(yulapy_state *state);

#endif /* YULAPY_GIL_H */
