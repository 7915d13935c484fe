/* latency.h: a histogram of durations, exact to 1.6 %.
 *
 * 64 linear steps in every power of two of nanoseconds: fixed memory, two shifts to record.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_STEP_BITS = 6,
    LATENCY_STEPS = 1 << LATENCY_STEP_BITS,
    LATENCY_POWERS = 40
};

typedef struct {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[LATENCY_POWERS * LATENCY_STEPS];
} latency;

static inline unsigned
latency_bucket(uint64_t ns)
{
    if (ns < LATENCY_STEPS)
        return (unsigned)ns;
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    unsigned power = top - LATENCY_STEP_BITS + 1;
    if (power >= LATENCY_POWERS)
        return LATENCY_POWERS * LATENCY_STEPS - 1;
    unsigned step = (unsigned)(ns >> (top - LATENCY_STEP_BITS)) &
                    (LATENCY_STEPS - 1);
    return power * LATENCY_STEPS + step;
}

/* The middle of a bucket. */
static inline uint64_t
latency_bucket_ns(unsigned bucket)
{
    if (bucket < LATENCY_STEPS)
        return bucket;
    unsigned shift = bucket / LATENCY_STEPS - 1;
    uint64_t low = (uint64_t)(LATENCY_STEPS + bucket % LATENCY_STEPS) << shift;
    return low + ((UINT64_C(1) << shift) >> 1);
}

static inline void
latency_add(latency *hist, uint64_t ns)
{
    hist->buckets[latency_bucket(ns)]++;
    hist->count++;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
}

static inline uint64_t
latency_quantile_ns(const latency *hist, double quantile)
{
    uint64_t wanted = (uint64_t)(quantile * (double)hist->count);
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_POWERS * LATENCY_STEPS; i++) {
        seen += hist->buckets[i];
        if (seen > wanted) {
            uint64_t middle = latency_bucket_ns(i);
            return middle < hist->max_ns ? middle : hist->max_ns;
        }
    }
    return hist->max_ns;
}

#endif
