/* sys.c: the parts of sys.h that are not inline. */
#include "base/sys.h"

#include <stdio.h>

#ifdef YULA__DEBUG
int (*yula__sys_hook)(const char *name);
#endif

_Noreturn void
yula__must_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "yula: %s:%d: broken promise: %s\n", file, line, expr);
    abort();
}
