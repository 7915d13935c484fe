/* die.h: a benchmark tool that meets an error it did not plan for says so and ends. */
#ifndef BENCH_DIE_H
#define BENCH_DIE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints "program: what: reason" (the reason is errno's text) and exits with 1. */
static _Noreturn inline void
die_errno(const char *what)
{
    int err = errno;
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            strerror(err));
    exit(1);
}

static _Noreturn inline void
die(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

/* A whole decimal number between min and max, or the end of the program. */
static inline long
number_or_die(const char *text, long min, long max)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min ||
        value > max) {
        fprintf(stderr, "%s: '%s' is not a number from %ld to %ld\n",
                program_invocation_short_name, text, min, max);
        exit(2);
    }
    return value;
}

#endif
