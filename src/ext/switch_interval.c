/* switch_interval.c: see switch_interval.h. */
#include "switch_interval.h"

#include <math.h>

static PyObject *
sys_function(const char *name)
{
    PyObject *function = PySys_GetObject(name); /* borrowed */
    if (function == NULL)
        PyErr_Format(PyExc_RuntimeError, "lost sys.%s", name);
    return Py_XNewRef(function);
}

int
yulapy_switch_interval_init(yulapy_switch_interval *interval)
{
    interval->get = sys_function("getswitchinterval");
    interval->set = sys_function("setswitchinterval");
    return interval->get != NULL && interval->set != NULL ? 0 : -1;
}

/* Microseconds, or -1 with an exception. */
static long
interval_now(yulapy_switch_interval *interval)
{
    PyObject *seconds = PyObject_CallNoArgs(interval->get);
    if (seconds == NULL)
        return -1;
    double value = PyFloat_AsDouble(seconds);
    Py_DECREF(seconds);
    return value == -1.0 && PyErr_Occurred() ? -1 : lround(value * 1e6);
}

/* Only without memory: the interval stays as it is. */
static void
interval_set(yulapy_switch_interval *interval, long us)
{
    PyObject *seconds = PyFloat_FromDouble((double)us / 1e6);
    PyObject *none = NULL;

    if (seconds != NULL)
        none = PyObject_CallOneArg(interval->set, seconds);
    if (none == NULL)
        PyErr_Clear();
    else
        interval->ours_us = us != YULAPY_SWITCH_US_DEFAULT ? us : 0;
    Py_XDECREF(none);
    Py_XDECREF(seconds);
}

/* Whether the interval is what we made it, or CPython's default. */
static bool
interval_is_ours(yulapy_switch_interval *interval)
{
    long us = interval_now(interval);
    if (us < 0)
        PyErr_Clear();
    if (us == YULAPY_SWITCH_US_DEFAULT || us == interval->ours_us)
        return true;
    interval->ours_us = 0; /* the user's from now on */
    return false;
}

void
yulapy_switch_interval_leave(yulapy_switch_interval *interval)
{
    if (interval->away++ == 0 && !interval->retired &&
        interval_is_ours(interval))
        interval_set(interval, YULAPY_SWITCH_US_AWAY);
}

static void
interval_back(yulapy_switch_interval *interval, long us)
{
    if (interval->ours_us != 0 && interval->ours_us != us &&
        interval_is_ours(interval))
        interval_set(interval, us);
}

void
yulapy_switch_interval_return(yulapy_switch_interval *interval, bool behind)
{
    if (--interval->away == 0)
        interval_back(interval, behind ? YULAPY_SWITCH_US_BEHIND
                                       : YULAPY_SWITCH_US_DEFAULT);
}

void
yulapy_switch_interval_end(yulapy_switch_interval *interval)
{
    if (interval->away == 0)
        interval_back(interval, YULAPY_SWITCH_US_DEFAULT);
}

void
yulapy_switch_interval_forked(yulapy_switch_interval *interval)
{
    interval->away = 0;
    yulapy_switch_interval_end(interval);
}

void
yulapy_switch_interval_retire(yulapy_switch_interval *interval)
{
    interval->retired = true;
    interval_back(interval, YULAPY_SWITCH_US_DEFAULT);
}

double
yulapy_switch_interval_of_user(yulapy_switch_interval *interval)
{
    long us = interval_now(interval);
    if (us < 0)
        return -1.0;
    if (us == YULAPY_SWITCH_US_DEFAULT || us == interval->ours_us)
        return 0.0;
    return (double)us / 1e6;
}
