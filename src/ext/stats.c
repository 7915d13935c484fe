/* stats.c: what a loop tells about itself, and the settings that go with it. */
#include "yulapy.h"

static PyObject *
stats_of_gil(yulapy_loop *loop)
{
    const yulapy_contention *contention = &loop->gil.contention;
    double user = yulapy_switch_interval_of_user(&loop->state->switch_interval);

    if (user < 0)
        return NULL;
    PyObject *interval = user > 0 ? PyFloat_FromDouble(user)
                                  : Py_NewRef(Py_None);
    if (interval == NULL)
        return NULL;
    return Py_BuildValue(
        "{sKsLsLsLsKsKsLsKsLsOsN}", "waits", contention->waits, "waited_ns",
        contention->waited_ns, "longest_wait_ns", contention->longest_wait_ns,
        "lost_estimate_ns", contention->lost_ns, "spins", contention->spins,
        "spins_paid", contention->spin_hits, "spun_ns", contention->spun_ns,
        "yields", contention->yields, "yielded_ns", contention->yielded_ns,
        "contended", yulapy_contended(contention) ? Py_True : Py_False,
        "user_switch_interval", interval);
}

PyObject *
yulapy_loop_stats(PyObject *self, PyObject *unused)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    yula_loop_stats stats;

    if (yulapy_loop_check_open(loop) < 0)
        return NULL;
    PyObject *gil = stats_of_gil(loop);
    if (gil == NULL)
        return NULL;
    yula_loop_get_stats(loop->core, &stats);
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsN}", "turns", stats.turns, "sleeps",
                         stats.sleeps, "callbacks", stats.callbacks, "events",
                         stats.events, "stale", stats.stale, "wakeups",
                         stats.wakeups, "reads_ahead", stats.reads_ahead,
                         "sends_ahead", stats.sends_ahead, "gil", gil);
}

/* --- settings --------------------------------------------------------------- */

/* The value of an attribute that must be a number; -1 with an exception. NaN
 * passes no comparison of the callers. */
static double
setting_number(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete %s", name);
        return -1.0;
    }
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred() &&
        PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Format(PyExc_TypeError, "%s must be a number, not %.100s", name,
                     Py_TYPE(value)->tp_name);
    return number;
}

PyObject *
yulapy_loop_get_gil_spin(PyObject *self, void *unused)
{
    const yulapy_loop *loop = (yulapy_loop *)self;
    return PyFloat_FromDouble((double)loop->gil.contention.spin_max_ns / 1e9);
}

int
yulapy_loop_set_gil_spin(PyObject *self, PyObject *value, void *unused)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    double seconds = setting_number(value, "gil_spin");

    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0.0 && seconds <= 1.0)) {
        PyErr_Format(PyExc_ValueError,
                     "gil_spin must be from 0 to 1 second, not %R", value);
        return -1;
    }
    loop->gil.contention.spin_max_ns = (int64_t)(seconds * 1e9);
    loop->gil.contention.spin_ns = loop->gil.contention.spin_max_ns;
    return 0;
}

PyObject *
yulapy_loop_get_gil_share(PyObject *self, void *unused)
{
    const yulapy_loop *loop = (yulapy_loop *)self;
    return PyFloat_FromDouble(loop->gil.contention.share);
}

int
yulapy_loop_set_gil_share(PyObject *self, PyObject *value, void *unused)
{
    yulapy_loop *loop = (yulapy_loop *)self;
    double share = setting_number(value, "gil_share");

    if (share == -1.0 && PyErr_Occurred())
        return -1;
    if (!(share > 0.0 && share <= 1.0)) {
        PyErr_Format(PyExc_ValueError,
                     "gil_share must be above 0 and at most 1, not %R", value);
        return -1;
    }
    yulapy_contention_set_share(&loop->gil.contention, share);
    return 0;
}
