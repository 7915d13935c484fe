/* progress.h: how far computing threads have come, as a server publishes it in a file.
 *
 * The file is an array of 64-bit counters, one a thread, which the server maps and each thread
 * adds to. Reading it costs the server nothing.
 */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stdint.h>

enum {
    PROGRESS_MAX = 32
};

typedef struct {
    int count;                       /* counters in the file */
    const volatile uint64_t *counts; /* the mapped file */
} progress;

typedef struct {
    uint64_t at_ns; /* CLOCK_MONOTONIC */
    uint64_t counts[PROGRESS_MAX];
} progress_sample;

/* Maps the file for reading; ends the program when that fails. */
void progress_open(progress *prog, const char *path);

progress_sample progress_read(const progress *prog);

/* Prints "[a, b]": what each thread did a second between two samples. */
void progress_print_rates(const progress *prog, const progress_sample *from,
                          const progress_sample *to);

#endif
