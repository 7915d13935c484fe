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
    interval->lowered_seconds = PyFloat_FromDouble(YULAPY_SWITCH_US_LOWERED /
                                                   1e6);
    interval->default_seconds = PyFloat_FromDouble(YULAPY_SWITCH_US_DEFAULT /
                                                   1e6);
    if (interval->get == NULL || interval->set == NULL ||
        interval->lowered_seconds == NULL || interval->default_seconds == NULL)
        return -1;
    return 0;
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

/* Change the interval from one value to another; false if it was not the
 * first. */
static bool
interval_change(yulapy_switch_interval *interval, long from_us, PyObject *to)
{
    if (interval_now(interval) == from_us) {
        PyObject *none = PyObject_CallOneArg(interval->set, to);
        Py_XDECREF(none);
        if (none != NULL)
            return true;
    }
    PyErr_Clear(); /* only without memory: the interval stays as it is */
    return false;
}

void
yulapy_switch_interval_leave(yulapy_switch_interval *interval)
{
    if (interval->away++ == 0 && !interval->retired)
        interval->lowered = interval_change(interval, YULAPY_SWITCH_US_DEFAULT,
                                            interval->lowered_seconds);
}

static void
interval_restore(yulapy_switch_interval *interval)
{
    if (interval->lowered)
        (void)interval_change(interval, YULAPY_SWITCH_US_LOWERED,
                              interval->default_seconds);
    interval->lowered = false;
}

void
yulapy_switch_interval_return(yulapy_switch_interval *interval)
{
    if (--interval->away == 0)
        interval_restore(interval);
}

void
yulapy_switch_interval_forked(yulapy_switch_interval *interval)
{
    interval->away = 0;
    interval_restore(interval);
}

void
yulapy_switch_interval_retire(yulapy_switch_interval *interval)
{
    interval->retired = true;
    interval_restore(interval);
}

double
yulapy_switch_interval_of_user(yulapy_switch_interval *interval)
{
    long us = interval_now(interval);
    if (us < 0)
        return -1.0;
    if (us == YULAPY_SWITCH_US_DEFAULT ||
        (us == YULAPY_SWITCH_US_LOWERED && interval->lowered))
        return 0.0;
    return (double)us / 1e6;
}
