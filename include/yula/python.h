/* python.h: libyula inside CPython: what an extension module needs to run C tasks
 * beside the Python code of a yula.Loop.
 *
 * The module links nothing: every function of libyula, and the ones below, are
 * reached through a table in the capsule yula._C_API, so that there is one copy
 * of the library in the process and it is the one whose loop runs.
 *
 *     #include <Python.h>
 *     #include <yula/python.h>
 *
 *     static int
 *     module_exec(PyObject *module)
 *     {
 *         return yula_python_import();
 *     }
 *
 *     cc -shared -fPIC $(python3 -c 'if True:
 *         import sysconfig, yula
 *         print("-I" + sysconfig.get_path("include"), "-I" + yula.get_include())') ...
 *
 * Two loops. Each yula.Loop that is asked for one gets a *native loop*: a core
 * loop on a thread of its own, that never takes the interpreter lock and never
 * waits for it. C tasks live there and call what the other headers offer. The
 * *Python loop* runs on its thread as ever. What crosses between the two:
 *
 *     from Python to C   yula_python_spawn: a C task, as an asyncio.Future
 *     from C to Python   yula_python_call: a function, under the lock
 *                        yula_python_await: anything that can be awaited
 *     from any thread    yula_python_post: work for either loop
 *
 * The lock. Functions marked "GIL: held" are called with the interpreter lock, on
 * the thread that runs (or made) the Python loop, and from no task. Callbacks
 * marked so are called in that way. Everything else is called without the lock,
 * and C tasks never touch Python: on a coroutine's stack CPython's guards against
 * deep recursion do not hold, and a task that is switched away from with the lock
 * would never give it back. A task asks for a call and waits; it is the Python
 * loop's own stack that makes it.
 *
 * References. Objects belong to whoever the comment says, and are touched under
 * the lock only: a task may carry a PyObject * about, and hand it to its
 * callbacks, but not look into it, nor count its references.
 *
 * The end. When the Python loop closes, requests that have not been answered
 * return YULA_ECLOSED, all tasks of the native loop are cancelled once, and close()
 * waits, without the lock, until they have ended: a task that does not end when
 * cancelled holds it up. After os.fork() the child has no native loop: its
 * tasks are gone as threads are, nothing is called for them, and the memory
 * and descriptors that they held stay where they are.
 */
#ifndef YULA_PYTHON_H
#define YULA_PYTHON_H

#include <Python.h>

#include <yula/yula.h>

YULA_BEGIN

/* What C knows of one Python loop. Opaque; counted. */
typedef struct yula_python yula_python;

/* Marks the functions that are in the table but not in libyula. */
#define YULA_PYTHON_API

/* --- life ------------------------------------------------------------------- */

/* Get the bridge to a loop, and start its native loop if there is none yet.
 *
 * loop  a yula.Loop; NULL or None: the one that runs on this thread. Borrowed.
 * out   receives a reference, given back by yula_python_unref. It does not keep
 *       the loop alive.
 *
 * Returns 0, or -1 with an exception: TypeError (not a yula.Loop), RuntimeError (no
 * running loop, or a closed one), OSError, MemoryError.
 * GIL: held.  Blocks: no.
 */
YULA_PYTHON_API int yula_python_open(PyObject *loop, yula_python **out);

/* Count the users. What is left after the last one is freed.
 *
 * Thread: any.  Blocks: no.  GIL: not used.
 */
YULA_PYTHON_API yula_python *yula_python_ref(yula_python *python);
YULA_PYTHON_API void yula_python_unref(yula_python *python);

/* The native loop, for the calls of its own tasks and callbacks. From another
 * thread nothing may be done with it: see yula_python_post. Dangling once the
 * Python loop is closed.
 *
 * Thread: any.  Blocks: no.  GIL: not used.
 */
YULA_PYTHON_API yula_loop *yula_python_native(const yula_python *python);

/* The core of the Python loop, for callbacks that need to be on its thread
 * (YULA_LANE_HOST: with the lock held). No tasks on it: there is the native
 * loop. Everything started on it is stopped before the loop closes.
 *
 * Thread: any.  Blocks: no.  GIL: not used.
 */
YULA_PYTHON_API yula_loop *yula_python_core(const yula_python *python);

/* Post work: of YULA_LANE_NATIVE to the native loop, of YULA_LANE_HOST to the
 * Python loop, where it runs with the lock held, on the loop's own stack. The
 * rules are those of yula_work_post. Work that the Python loop has not run
 * when it closes is forgotten; the native loop runs what it was given.
 *
 * Returns 0, or YULA_ECLOSED (nothing was posted).
 * Thread: any.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_PYTHON_API int yula_python_post(yula_python *python, yula_work *work);

/* --- C tasks as futures ----------------------------------------------------- */

/* Makes the result of a C task, when it has ended, and lets go of arg. Called
 * exactly once for each task that was made, also when the future was cancelled
 * or the loop closes (then what it returns is dropped).
 *
 * status  what the task returned.
 *
 * Returns a new reference; or NULL with an exception, which becomes the
 * future's.
 * GIL: held.
 */
typedef PyObject *(*yula_python_finish_cb)(int status, void *arg);

/* Run a C task on the native loop, and have a future of it.
 *
 * A future that is cancelled cancels the task, and a task that returns
 * YULA_ECANCELED cancels the future. A future is cancelled at once; its task
 * ends in its own time.
 *
 * options  NULL for defaults; copied. The lane is ignored.
 * main     the task; runs on the native loop's thread, without the lock.
 * finish   NULL: the result is the task's status as an int, or as an OSError
 *          when it is negative.
 * arg      for both.
 *
 * Returns an asyncio.Future of the Python loop; or NULL with an exception
 * (RuntimeError: the loop is closed), and neither callback is called.
 * GIL: held.  Blocks: no.  Calls back: later.
 */
YULA_PYTHON_API PyObject *
yula_python_spawn(yula_python *python, const yula_task_options *options,
                  yula_task_cb main, yula_python_finish_cb finish, void *arg);

/* --- Python as await points ------------------------------------------------- */

/* What a task wants done under the lock. Returns 0 or a count, or a negative
 * code. An exception that is left pending goes to the loop's exception handler.
 * Must not run the loop.
 *
 * GIL: held.
 */
typedef int (*yula_python_call_cb)(void *arg);

/* Have cb called on the Python loop, and wait for it.
 *
 * loop  the caller's: the native loop, or another one without a host that
 *       outlives the call (then the bridge is kept referenced).
 * arg   borrowed until this returns; may lie on the task's stack.
 *
 * Calls that wait at the same time share one acquisition of the lock.
 *
 * Returns what cb returned; or, cb not having been called, YULA_ECANCELED or
 * YULA_ECLOSED. Once cb runs the wait is not interrupted.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: on the Python loop.
 * GIL: not held.
 */
YULA_PYTHON_API int yula_python_call(yula_python *python, yula_loop *loop,
                                     yula_python_call_cb cb, void *arg);

/* Makes what is awaited: a new reference to a coroutine, a future or any other
 * awaitable; or NULL with an exception. GIL: held. */
typedef PyObject *(*yula_python_begin_cb)(void *arg);

/* Takes what came of it; called exactly once if begin was called.
 *
 * result  borrowed; NULL: an exception is pending, that of begin or of the
 *         awaitable (asyncio.CancelledError when it was cancelled, or the loop
 *         closes). It is the callback's to clear; one that is left, other than CancelledError, goes to the
 *         loop's exception handler.
 *
 * Returns what yula_python_await is to return.
 * GIL: held.
 */
typedef int (*yula_python_end_cb)(PyObject *result, void *arg);

/* Await something of Python's. A coroutine runs as a task of the Python loop.
 *
 * When the C task is interrupted, the Python task or future is cancelled, and
 * the wait goes on until that has ended.
 *
 * loop, arg  as for yula_python_call.
 * end        NULL: 0, YULA_ECANCELED (it was cancelled), or -EIO (it raised; the
 *            exception went to the loop's exception handler).
 *
 * Returns what end returned; YULA_ECANCELED: the C task was interrupted, and what
 * it awaited was cancelled or not begun; YULA_ECLOSED: the loop closes.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: on the Python loop.
 * GIL: not held.
 */
YULA_PYTHON_API int yula_python_await(yula_python *python, yula_loop *loop,
                                      yula_python_begin_cb begin,
                                      yula_python_end_cb end, void *arg);

/* --- the table -------------------------------------------------------------- */

#define YULA_PYTHON_CAPSULE "yula._C_API"

/* Changes when a module must be compiled again. Functions that are added do not
 * change it: a table may be longer than the module knows. */
#define YULA_PYTHON_ABI 1

#include <yula/python_table.h>

#ifndef YULA_PYTHON_INSIDE

/* One for all files of a module: the linker merges them. */
__attribute__((weak, visibility("hidden")))
const yula_python_table *yula_python_api;

/* Once, before anything else: import yula and find its table.
 *
 * Returns 0, or -1 with an ImportError.
 * GIL: held.
 */
static inline int
yula_python_import(void)
{
    const yula_python_table *table =
        (const yula_python_table *)PyCapsule_Import(YULA_PYTHON_CAPSULE, 0);

    if (table == NULL)
        return -1;
    if (table->abi != YULA_PYTHON_ABI || table->size < sizeof(*table)) {
        PyErr_Format(PyExc_ImportError,
                     "this module was compiled for another yula than %s, which "
                     "is installed",
                     table->version);
        return -1;
    }
    yula_python_api = table;
    return 0;
}

#endif /* YULA_PYTHON_INSIDE */

YULA_END

#endif /* YULA_PYTHON_H */
