/* sys.c: the parts of sys.h that are not inline. */
#include "base/sys.h"

#include <stdio.h>
#include <string.h>

#ifdef YULA__DEBUG
int (*yula__sys_hook)(const char *name);
#endif

_Noreturn void
yula__must_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "yula: %s:%d: broken promise: %s\n", file, line, expr);
    abort();
}

_Noreturn void
yula__rule_broken(const char *function, const char *text)
{
    /* The public ones mean something to whoever reads it. */
    bool known = strncmp(function, "yula_", 5) == 0 && function[5] != '_';
    fprintf(stderr, "yula: %s%s%s\n", known ? function : "", known ? ": " : "",
            text);
    abort();
}
