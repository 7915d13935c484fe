/* native_lane.c: the native loop of a Python loop: its thread, its beginning and
 * its end. The invariants are in native_lane.h.
 */
#include "native_lane.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coro/task_i.h"
#include "loop/loop_i.h"

/* One ring serves so many requests before other callbacks have their turn. */
#define LANE_BATCH 256

/* The shortest that Linux grants. */
#define LANE_SLICE_NS 100000

/* How long what tasks have written may take to leave, when they have ended. */
#define LANE_LINGER_NS INT64_C(100000000)

/* --- the native thread ------------------------------------------------------- */

static void
lane_stop(yula_work *work, void *arg)
{
    yula_python *python = arg;

    python->stopping = true;
    yula_task_cancel_all(python->native);
}

static void
lane_wake(yula_timer *timer, void *arg)
{
}

/* Connections that were closed with bytes still queued. */
static void
lane_linger(yula_loop *native)
{
    yula_timer limit;
    int64_t deadline_ns = yula_loop_now(native) + LANE_LINGER_NS;

    yula_timer_init(native, &limit, YULA_LANE_NATIVE);
    while (native->refs > 0 && yula_loop_now(native) < deadline_ns) {
        if (yula_timer_start(&limit, deadline_ns, lane_wake, NULL) < 0)
            break;
        (void)yula_loop_step(native, deadline_ns);
    }
    yula_timer_stop(&limit);
}

/* Where a thread that computes has the same CPU, waiting for the rest of its slice
 * (3 ms) would be most of an answer's time. A thread that asks for short slices
 * gets no more of the CPU, but sooner (Linux 6.12; before, this does nothing). */
static void
lane_ask_for_short_slices(void)
{
    const struct { /* struct sched_attr, which only new C libraries have */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } wanted = {.size = sizeof(wanted),
                .policy = SCHED_OTHER,
                .nice = getpriority(PRIO_PROCESS, 0),
                .runtime_ns = LANE_SLICE_NS};

    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
}

static void *
lane_main(void *arg)
{
    yula_python *python = arg;
    yula_loop *native = python->native;

    lane_ask_for_short_slices();
    (void)pthread_setname_np(pthread_self(), "yula-native");
    /* A step that fails, or is broken off by a callback, is tried again: there
     * is nobody to tell. */
    while (!python->stopping || yula_task_count(native) > 0)
        (void)yula_loop_step(native, YULA_NEVER);
    lane_linger(native);
    /* Who stopped it may still be on the way out of waking it: lane_close. */
    pthread_mutex_lock(&python->lock);
    pthread_mutex_unlock(&python->lock);
    yula_loop_free(native);
    return NULL;
}

/* --- from C to the Python loop ------------------------------------------------ */

/* Under the lock, open. */
static void
lane_post_core(yula_python *python, yula_work *work)
{
    yula_loop *core = python->core;

    /* From the Python loop's own native lane, which may not touch its queues. */
    if (yula_loop_on_own_thread(core) && core->in_callback > 0 &&
        core->lane == YULA_LANE_NATIVE)
        yula__inbox_push(core, work);
    else
        yula_work_post(core, work);
}

bool
yulapy_python_take_bell(yula_python *python)
{
    bool mine = !python->rung;

    python->rung = true;
    return mine;
}

void
yulapy_python_ring(yula_python *python)
{
    if (yulapy_python_take_bell(python))
        lane_post_core(python, &python->bell);
}

static yulapy_request *
lane_take_request(yula_python *python)
{
    pthread_mutex_lock(&python->lock);
    yulapy_request *request = python->queued;
    if (request != NULL) {
        python->queued = request->next;
        if (python->queued == NULL)
            python->queue_end = &python->queued;
        request->begun = true;
    }
    pthread_mutex_unlock(&python->lock);
    return request;
}

static yulapy_c_task *
lane_take_ended(yula_python *python)
{
    pthread_mutex_lock(&python->lock);
    yulapy_c_task *c_task = python->ended;
    if (c_task != NULL) {
        python->ended = c_task->next_ended;
        if (python->ended == NULL)
            python->ended_end = &python->ended;
    }
    pthread_mutex_unlock(&python->lock);
    return c_task;
}

/* On the Python loop, with the lock. What it calls may run anything, and close
 * the loop (not while it runs, so not from here). */
static void
lane_bell(yula_work *work, void *arg)
{
    yula_python *python = arg;
    int left = LANE_BATCH;

    assert(yula_task_current(python->core) == NULL);
    pthread_mutex_lock(&python->lock);
    python->rung = false;
    bool cancels = python->cancels;
    python->cancels = false;
    pthread_mutex_unlock(&python->lock);
    if (cancels)
        yulapy_requests_cancel(python);
    yulapy_c_task *c_task;
    while (left > 0 && (c_task = lane_take_ended(python)) != NULL) {
        yulapy_c_task_finish(c_task);
        left--;
    }
    yulapy_request *request;
    while (left > 0 && (request = lane_take_request(python)) != NULL) {
        yulapy_request_run(request);
        left--;
    }
    if (left > 0)
        return;
    pthread_mutex_lock(&python->lock);
    yulapy_python_ring(python); /* the rest in the next turn */
    pthread_mutex_unlock(&python->lock);
}

void
yulapy_python_report(yulapy_loop *loop, PyObject *about)
{
    if (yulapy_leaves_loop(loop))
        return;
    PyObject *exc = yulapy_take_exception();
    PyObject *result = PyObject_CallMethod(loop->state->failure,
                                           "native_failed", "OO", loop, exc);
    if (result == NULL && !yulapy_leaves_loop(loop))
        PyErr_WriteUnraisable(about != NULL ? about : (PyObject *)loop);
    Py_XDECREF(result);
    Py_DECREF(exc);
}

/* --- posting ------------------------------------------------------------------ */

int
yula_python_post(yula_python *python, yula_work *work)
{
    pthread_mutex_lock(&python->lock);
    bool open = python->open;
    if (open && work->lane == YULA_LANE_NATIVE)
        yula_work_post(python->native, work);
    else if (open)
        lane_post_core(python, work);
    pthread_mutex_unlock(&python->lock);
    return open ? 0 : YULA_ECLOSED;
}

yula_loop *
yula_python_native(const yula_python *python)
{
    return python->native;
}

yula_loop *
yula_python_core(const yula_python *python)
{
    return python->core;
}

/* --- life --------------------------------------------------------------------- */

yula_python *
yula_python_ref(yula_python *python)
{
    atomic_fetch_add_explicit(&python->refs, 1, memory_order_relaxed);
    return python;
}

void
yula_python_unref(yula_python *python)
{
    if (python == NULL ||
        atomic_fetch_sub_explicit(&python->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&python->lock);
    PyMem_RawFree(python);
}

static int
lane_start_thread(yula_python *python)
{
    sigset_t all, before;

    sigfillset(&all); /* they are Python's */
    yula__must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int err = pthread_create(&python->thread, NULL, lane_main, python);
    yula__must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -err;
}

static yula_python *
lane_new(yulapy_loop *loop)
{
    yula_python *python = PyMem_RawCalloc(1, sizeof(*python));

    if (python == NULL)
        return NULL;
    yula__must(pthread_mutex_init(&python->lock, NULL) == 0);
    python->refs = 1;
    python->queue_end = &python->queued;
    python->ended_end = &python->ended;
    python->loop = loop;
    python->core = loop->core;
    yula_work_init(&python->bell, YULA_LANE_HOST, lane_bell, python);
    yula_work_init(&python->stop, YULA_LANE_NATIVE, lane_stop, python);
    return python;
}

static int
lane_start(yulapy_loop *loop, yula_python **out)
{
    yula_python *python = lane_new(loop);

    if (python == NULL)
        return -ENOMEM;
    int err = yula_loop_new(NULL, &python->native);
    if (err < 0)
        goto unref;
    /* Ours no longer: from here on what this thread has for it is posted. */
    atomic_store(&python->native->owner, 0);
    python->open = true;
    err = lane_start_thread(python);
    if (err < 0)
        goto free_native;
    *out = python;
    return 0;
free_native:
    yula_loop_free(python->native);
unref:
    yula_python_unref(python);
    return err;
}

static yulapy_loop *
lane_python_loop(PyObject *object)
{
    for (PyTypeObject *type = Py_TYPE(object); type != NULL;
         type = type->tp_base) {
        yulapy_state *state = yulapy_state_of_type(type);
        if (state == NULL)
            PyErr_Clear(); /* TypeError: not of our module */
        else if (type == state->loop_type)
            return (yulapy_loop *)object;
    }
    PyErr_Format(PyExc_TypeError, "a yula.Loop is needed, not %.200s",
                 Py_TYPE(object)->tp_name);
    return NULL;
}

static int
lane_open(PyObject *object, yula_python **out)
{
    yulapy_loop *loop = lane_python_loop(object);

    if (loop == NULL || yulapy_loop_check_open(loop) < 0)
        return -1;
    assert(yula_task_current(loop->core) == NULL);
    if (loop->python == NULL) {
        int err = lane_start(loop, &loop->python);
        if (err < 0) {
            yulapy_raise_code(err);
            return -1;
        }
    }
    *out = yula_python_ref(loop->python);
    return 0;
}

int
yula_python_open(PyObject *loop, yula_python **out)
{
    if (loop != NULL && loop != Py_None)
        return lane_open(loop, out);
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    PyObject *running = NULL;
    if (asyncio != NULL)
        running = PyObject_CallMethod(asyncio, "get_running_loop", NULL);
    int err = running != NULL ? lane_open(running, out) : -1;
    Py_XDECREF(asyncio);
    Py_XDECREF(running);
    return err;
}

int
yulapy_python_traverse(yulapy_loop *loop, visitproc visit, void *arg)
{
    if (loop->python == NULL)
        return 0;
    for (yulapy_request *request = loop->python->active; request != NULL;
         request = request->next) {
        Py_VISIT(request->future);
        Py_VISIT(request->callback);
    }
    for (yulapy_c_task *c_task = loop->python->tasks; c_task != NULL;
         c_task = c_task->next)
        Py_VISIT(c_task->future);
    return 0;
}

/* --- the end ------------------------------------------------------------------ */

static void
lane_stop_accepting(yula_python *python)
{
    pthread_mutex_lock(&python->lock);
    python->open = false;
    pthread_mutex_unlock(&python->lock);
}

static void
lane_close(yula_python *python)
{
    lane_stop_accepting(python);
    yulapy_requests_close(python);
    pthread_mutex_lock(&python->lock);
    yula_work_post(python->native, &python->stop);
    pthread_mutex_unlock(&python->lock);
    Py_BEGIN_ALLOW_THREADS yula__must(pthread_join(python->thread, NULL) == 0);
    Py_END_ALLOW_THREADS yulapy_c_task *c_task;
    while ((c_task = lane_take_ended(python)) != NULL)
        yulapy_c_task_finish(c_task);
    assert(python->tasks == NULL && python->active == NULL);
}

void
yulapy_python_close(yulapy_loop *loop)
{
    yula_python *python = loop->python;

    if (python == NULL)
        return;
    loop->python = NULL;
    if (python->forked) {
        yulapy_requests_forget(python);
        yulapy_c_tasks_forget(python);
    }
    else {
        lane_close(python);
    }
    yula__inbox_drain(python->core); /* what is in there cannot be cancelled */
    yula_work_cancel(&python->bell);
    python->loop = NULL;
    yula_python_unref(python);
}

void
yulapy_python_forked(yulapy_loop *loop)
{
    yula_python *python = loop->python;

    if (python == NULL)
        return;
    /* The thread, which may have been anywhere, is gone: nothing of its loop can
     * be relied on but the descriptors. */
    yula__must(pthread_mutex_init(&python->lock, NULL) == 0);
    python->open = false;
    python->forked = true;
    yula__inbox_fini(python->native);
    yula__poller_fini(&python->native->poller);
}
