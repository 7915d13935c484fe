/* server_cost.h: what a server process has spent, read from outside it.
 *
 * CPU time is the scheduler's exact sum (user and system together), not the sampled clock
 * that divides it. Instructions and cycles are those in user mode, from the processor's
 * counters; many virtual machines have none.
 */
#ifndef BENCH_SERVER_COST_H
#define BENCH_SERVER_COST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum {
    SERVER_COST_THREADS = 256
};

typedef struct {
    clockid_t clock;
    bool counted;        /* the counters exist and are open */
    const char *why_not; /* else the reason, a short text */
    int threads;
    int instructions[SERVER_COST_THREADS];
    int cycles[SERVER_COST_THREADS];
} server_cost;

typedef struct {
    uint64_t cpu_ns;
    uint64_t instructions;
    uint64_t cycles;
} server_cost_sample;

/* Starts counting for the threads the process has now and those they start later. */
void server_cost_open(server_cost *cost, pid_t pid);

server_cost_sample server_cost_read(const server_cost *cost);

/* CPU time of one thread of the process, in nanoseconds. */
uint64_t server_cost_thread_ns(pid_t pid, pid_t thread);

#endif
