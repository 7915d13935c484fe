/* gil.c: the host table of the core, implemented by CPython. See gil.h. */
#include "gil.h"

#include <sched.h>
#include <time.h>

#include "yulapy.h"

/* Breaths without a sleep between two passes through the eval breaker. The core
 * calls breathe once a turn and after every YULA_HOST_BREATH callbacks; a pass
 * costs about 50 ns, so one in eight is lost in the noise of a turn. */
#define GIL_BREATHS_PER_PASS 8

/* A settlement costs two clocks, one of them a system call. */
#define GIL_SETTLE_NS 500000

/* Without contention there is little to estimate. */
#define GIL_SAMPLE_NS 1000000

/* Long enough for a thread that waits for the lock to take it. */
#define GIL_PROBE_NS 50000

static inline int64_t
gil_now(void)
{
    return yula__sys_clock_ns(CLOCK_MONOTONIC);
}

static inline int64_t
gil_cpu(void)
{
    return yula__sys_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void
yulapy_gil_init(yulapy_gil *gil)
{
    yulapy_contention_init(&gil->contention);
}

/* --- leaving and taking the lock ------------------------------------------ */

static void
gil_release(void *arg)
{
    yulapy_loop *loop = arg;
    yulapy_gil *gil = &loop->gil;

    gil->breaths = 0;
    gil->sampled = false;
    if (__builtin_expect(yulapy_contended(&gil->contention), 0)) {
        yulapy_contention_settle(&gil->contention, gil_now(), gil_cpu());
        yulapy_switch_interval_leave(&loop->state->switch_interval);
        gil->away = true;
    }
    gil->tstate = PyEval_SaveThread();
}

/* Without the lock. Returns the time. */
static int64_t
gil_stay_away(yulapy_contention *contention, int64_t now_ns, int64_t least_ns)
{
    int64_t away_ns = yulapy_contention_debt(contention, now_ns);

    if (away_ns < least_ns)
        away_ns = least_ns;
    if (away_ns == 0)
        return now_ns;
    struct timespec span = {.tv_nsec = away_ns};            /* below a second */
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL); /* or a signal */
    int64_t then_ns = gil_now();
    contention->yields++;
    contention->yielded_ns += then_ns - now_ns;
    return then_ns;
}

/* The lock is back: settle what a contended loop had changed. */
static void
gil_back(yulapy_loop *loop, int64_t now_ns)
{
    yulapy_gil *gil = &loop->gil;

    if (gil->away) {
        gil->away = false;
        /* Away for so long, the loop was idle: a wait now tells nothing of the
         * next one, and an idle loop must sleep. */
        bool idle = now_ns - gil->contention.since_ns >=
                    YULAPY_CONTENTION_MEMORY_NS;
        yulapy_contention_back(&gil->contention, now_ns, gil_cpu());
        if (idle || yulapy_contention_stale(&gil->contention, now_ns))
            yulapy_contention_calm(&gil->contention);
        yulapy_switch_interval_return(
            &loop->state->switch_interval,
            yulapy_contention_behind(&gil->contention));
    }
    else {
        yulapy_contention_begin(&gil->contention, now_ns, gil_cpu());
    }
}

static void
gil_take(yulapy_loop *loop, int64_t least_away_ns)
{
    yulapy_gil *gil = &loop->gil;
    yulapy_contention *contention = &gil->contention;

    int64_t before_ns = gil_now();
    if (__builtin_expect(gil->away, 0))
        before_ns = gil_stay_away(contention, before_ns, least_away_ns);
    PyEval_RestoreThread(gil->tstate);
    int64_t now_ns = gil_now();
    yulapy_contention_waited(contention, now_ns, now_ns - before_ns);
    if (__builtin_expect(yulapy_contended(contention), 0))
        gil_back(loop, now_ns);
}

static void
gil_acquire(void *arg)
{
    gil_take(arg, 0);
}

/* --- while it is held ------------------------------------------------------ */

/* Through the eval breaker: other threads, signal handlers. 0 or -1. */
static int
gil_pass(yulapy_loop *loop)
{
    loop->gil.breaths = 0;
    PyObject *none = PyObject_CallNoArgs(loop->state->breath);
    Py_XDECREF(none);
    return none != NULL ? 0 : -1;
}

/* A signal handler raised: whatever it was leaves run_forever(), as it does
 * from asyncio's select(). */
static void
gil_raised(yulapy_loop *loop)
{
    Py_XSETREF(loop->leaving, yulapy_take_exception());
}

/* Contended: see whether it is over, and keep to the loop's share. Returns
 * whether the lock was given up for that. */
static bool
gil_share(yulapy_loop *loop)
{
    yulapy_contention *contention = &loop->gil.contention;
    int64_t now_ns = gil_now();

    yulapy_contention_spun(contention, now_ns);
    if (now_ns - contention->since_ns < GIL_SETTLE_NS)
        return false;
    yulapy_contention_settle(contention, now_ns, gil_cpu());
    bool stale = yulapy_contention_stale(contention, now_ns);
    int64_t away_ns = yulapy_contention_debt(contention, now_ns);
    if (stale && away_ns == 0)
        away_ns = GIL_PROBE_NS;
    if (away_ns == 0)
        return false;
    gil_release(loop);
    gil_take(loop, away_ns); /* may find that it is over */
    return true;
}

/* Not contended, and no sleep since the last time: what was lost meanwhile. */
static void
gil_sample(yulapy_gil *gil)
{
    yulapy_contention *contention = &gil->contention;
    int64_t now_ns = gil_now();

    if (!gil->sampled)
        yulapy_contention_begin(contention, now_ns, gil_cpu());
    else if (now_ns - contention->since_ns >= GIL_SAMPLE_NS)
        yulapy_contention_settle(contention, now_ns, gil_cpu());
    gil->sampled = true;
}

/* What the loop does without the lock serves the others only if they can run
 * meanwhile: on one CPU it was measured to cost a fifth of the requests. */
static bool
gil_several_cpus(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof(cpus), &cpus) < 0 ||
           CPU_COUNT(&cpus) > 1;
}

static inline void
gil_tell_core(yulapy_loop *loop, bool contended)
{
    if (__builtin_expect(loop->gil.told_contended == contended, 1))
        return;
    loop->gil.told_contended = contended;
    yula_loop_want_host(loop->core, contended && gil_several_cpus());
}

static int
gil_breathe(void *arg)
{
    yulapy_loop *loop = arg;
    yulapy_gil *gil = &loop->gil;
    int err = PyErr_CheckSignals();

    gil_tell_core(loop, yulapy_contended(&gil->contention));
    if (err == 0 && __builtin_expect(yulapy_contended(&gil->contention), 0))
        (void)gil_share(loop);
    if (err == 0 && ++gil->breaths >= GIL_BREATHS_PER_PASS) {
        if (!yulapy_contended(&gil->contention))
            gil_sample(gil);
        err = gil_pass(loop);
    }
    if (err == 0)
        return 0;
    gil_raised(loop);
    return 1;
}

/* Contended, with nothing to do. An idle loop gives the switch interval back:
 * its sleep is short once, and the next one is not contended. */
static bool
gil_linger(void *arg, int64_t *timeout_ns)
{
    yulapy_loop *loop = arg;
    yulapy_contention *contention = &loop->gil.contention;

    if (__builtin_expect(!yulapy_contended(contention), 1))
        return false;
    /* A debt is paid before the poll, not after it: the batch that the poll
     * finds then is the larger. */
    if (contention->spin_began_ns == 0 && gil_share(loop))
        return true;
    if (yulapy_contention_spin(contention, gil_now())) {
        if (gil_pass(loop) == 0)
            return true;
        gil_raised(loop);
        yula_loop_break(loop->core, 1);
        return false;
    }
    if (*timeout_ns > YULAPY_CONTENTION_MEMORY_NS)
        *timeout_ns = YULAPY_CONTENTION_MEMORY_NS;
    return false;
}

/* --- beginning, fork ------------------------------------------------------- */

void
yulapy_gil_host(yulapy_loop *loop, yula_host *out)
{
    *out = (yula_host){
        .release = gil_release,
        .acquire = gil_acquire,
        .breathe = gil_breathe,
        .linger = gil_linger,
        .arg = loop,
    };
}

void
yulapy_gil_end(yulapy_loop *loop)
{
    gil_tell_core(loop, false);
    if (yulapy_contended(&loop->gil.contention))
        yulapy_switch_interval_end(&loop->state->switch_interval);
}

void
yulapy_gil_forked(yulapy_loop *loop)
{
    loop->gil.away = false;
    yulapy_switch_interval_forked(&loop->state->switch_interval);
}

int
yulapy_gil_add(yulapy_state *state)
{
    PyObject *globals = PyDict_New();
    if (globals == NULL)
        return -1;
    state->breath = PyRun_String("lambda: None", Py_eval_input, globals,
                                 globals);
    Py_DECREF(globals);
    if (state->breath == NULL)
        return -1;
    return yulapy_switch_interval_init(&state->switch_interval);
}
