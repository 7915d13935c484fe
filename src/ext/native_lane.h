/* native_lane.h: C that goes on while the interpreter lock is waited for.
 *
 * A yula_python is what C knows of one Python loop: the loop itself, and its
 * native loop, a core loop without a host on a thread of its own. The thread never
 * touches Python: it asks the Python loop by requests, and is asked by posting
 * work to the native loop.
 *
 *  I1. What is marked "lock" is read and written under it. Nobody waits for the
 *      interpreter lock while holding it.
 *  I2. open is true from the start of the native loop until the Python loop
 *      closes. Under the lock and open, both loops can be posted to.
 *  I3. What is marked "GIL" belongs to the Python loop's thread.
 *  I4. A request that was queued comes back to its task exactly once, also when
 *      the loop closes first.
 *  I5. A C task with a future runs its finish exactly once, on the Python loop's
 *      thread, when it has ended; the loop's close awaits that. Not in a forked
 *      child, where the task no longer exists.
 *  I6. The Python loop is closed by a thread that holds the interpreter lock while
 *      the loop does not run, and that joins the native thread before either loop
 *      is freed. So the Python loop's thread, with the lock, and the native
 *      thread may post to each other's loop without ours; nobody else may.
 */
#ifndef YULAPY_NATIVE_LANE_H
#define YULAPY_NATIVE_LANE_H

#include "yulapy.h"

#include <pthread.h>
#include <stdatomic.h>

#define YULA_PYTHON_INSIDE /* the functions themselves, not the table's */
#include "yula/python.h"

typedef struct yulapy_request yulapy_request;
typedef struct yulapy_c_task yulapy_c_task;

struct yula_python {
    _Atomic int refs;
    pthread_mutex_t lock;

    /* lock */
    bool open;
    bool rung;              /* the bell is on its way */
    bool cancels;           /* some active request is to be cancelled */
    yulapy_request *queued; /* oldest first */
    yulapy_request **queue_end;
    yulapy_c_task *ended; /* oldest first */
    yulapy_c_task **ended_end;

    /* since the start */
    yula_loop *core;   /* the Python loop's; gone when closed */
    yula_loop *native; /* freed by its thread */
    pthread_t thread;
    yula_work bell; /* to the Python loop: requests, ended tasks, cancels */
    yula_work stop; /* to the native loop */
    bool stopping;  /* the native thread's */

    /* GIL */
    yulapy_loop *loop;      /* borrowed; NULL when closed */
    yulapy_request *active; /* wait for a future */
    yulapy_c_task *tasks;   /* not finished */
    bool forked;            /* in a child: there is no native thread */
};

/* c_api_call.c: what a task asks of Python. On the task's stack. */
struct yulapy_request {
    yulapy_request *next, *prev; /* queued: next (lock); active: both (GIL) */
    yula_python *python;
    yula_loop *loop;
    yula_task *task;
    yula_work back;           /* brings the task back */
    yula_python_call_cb call; /* NULL: an await */
    yula_python_begin_cb begin;
    yula_python_end_cb end;
    void *arg;
    PyObject *future;   /* GIL, owned; while active */
    PyObject *callback; /* GIL, owned: the future's; while active */
    int status;
    bool begun;       /* lock */
    bool canceled;    /* lock */
    bool cancel_sent; /* GIL */
};

/* Both on the Python loop's thread, with the GIL. */
void yulapy_request_run(yulapy_request *request);
void yulapy_requests_cancel(yula_python *python);
/* The loop closes: every request comes back with YULA_ECLOSED. */
void yulapy_requests_close(yula_python *python);
/* Let go of the futures, in a forked child. */
void yulapy_requests_forget(yula_python *python);

/* c_api_spawn.c: a C task and its future. */
struct yulapy_c_task {
    yulapy_c_task *next, *prev; /* python->tasks (GIL) */
    yulapy_c_task *next_ended;  /* lock */
    _Atomic int refs;           /* the future's callback, the task, a work */
    yula_python *python;        /* borrowed while not finished */
    PyObject *future;           /* GIL, owned; NULL when finished */
    yula_task_options options;
    char name[YULA_TASK_NAME_MAX + 1];
    yula_task_cb main;
    yula_python_finish_cb finish;
    void *arg;
    yula_work start, cancel; /* to the native loop */
    bool cancel_posted;      /* GIL */
    yula_task *task;         /* the native thread's; NULL when not running */
    bool canceled;           /* the native thread's: before it ran */
    int result;
};

void yulapy_c_task_finish(yulapy_c_task *c_task);
void yulapy_c_tasks_forget(yula_python *python);

/* native_lane.c */
/* Under the lock, open. From any thread or task: have the Python loop look. */
void yulapy_python_ring(yula_python *python);
/* Under the lock. True: the caller is to post the bell, and may let go of the lock
 * before it does. */
bool yulapy_python_take_bell(yula_python *python);
/* An exception is pending: leave the loop, or tell its exception handler. */
void yulapy_python_report(yulapy_loop *loop, PyObject *about);

/* The interpreter lock is given up meanwhile, if there is a native loop. */
void yulapy_python_close(yulapy_loop *loop);
void yulapy_python_forked(yulapy_loop *loop);
int yulapy_python_traverse(yulapy_loop *loop, visitproc visit, void *arg);

#endif /* YULAPY_NATIVE_LANE_H */
