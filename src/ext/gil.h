/* gil.h: the interpreter lock, and where it is given up.
 *
 * The rule for the whole extension:
 *  - The lock is released in one place, around a poll that may sleep (and what
 *    native work the core does in that stretch), through the host table below.
 *    Never around a single system call: with another thread computing, each
 *    release costs up to a switch interval (5 ms) to undo.
 *  - On free-threaded builds the same release detaches the thread, which a
 *    stop-the-world needs.
 *  - Never PyGILState_*: a loop belongs to the interpreter that made it. The
 *    thread state saved at release is the one that is restored.
 *  - Only bytecode passes CPython's eval breaker, so a batch of C callables
 *    would keep the lock for ever. `breathe` calls an empty Python function
 *    every so often, which hands the lock over when another thread has waited
 *    for its switch interval, and runs Python's signal handlers.
 *  - At finalisation PyEval_RestoreThread ends or parks a daemon thread inside
 *    acquire; nothing of ours is locked then.
 *  - After fork the child's loop is closed without touching the parent's epoll
 *    set (yula_loop_forked).
 */
#ifndef YULAPY_GIL_H
#define YULAPY_GIL_H

#include "yulapy.h"

/* Fill the host table that a loop hands to the core. */
void yulapy_gil_host(yulapy_loop *loop, yula_host *out);

/* Make the empty function of the module. 0 or -1. */
int yulapy_gil_init(yulapy_state *state);

#endif /* YULAPY_GIL_H */
