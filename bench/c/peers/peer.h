/* peer.h: what each peer's program implements; peer_main.c has main() and the measuring.
 *
 * A program is one peer: it fills in `peer_under_test` and is linked with peer_main.c. What a
 * peer cannot do is NULL (libuv has no coroutines to switch between).
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;
    const char *version;
    /* Whether its switch saves what the ABI asks for of the floating-point state: the control bits
     * of MXCSR and the x87 control word belong to the callee. */
    bool saves_control_words;

    /* Echo for ever, a coroutine (or the callbacks) for each connection. The listener is bound,
     * listening and non-blocking; the buffer is larger than a message. */
    void (*echo)(int listener, size_t buffer_len);

    /* Change from one stack to the other `count` times, without a scheduler. */
    void (*change)(uint64_t count);

    /* Two coroutines that yield in turn, `count` times together, through the scheduler. */
    void (*yield)(uint64_t count);

    /* Spawn a coroutine that ends at once and wait for it, `count` times. */
    void (*spawn)(uint64_t count);

    /* Let `count` coroutines sleep for an hour and call `peer_all_sleep`, which does not return.
     * Returns, with errno set, if one could not be made. */
    void (*sleep)(uint64_t count);
} peer;

extern const peer peer_under_test;

/* Called by sleep: reports the memory and ends the process. */
void peer_all_sleep(void);

/* How many coroutines sleep, kept up to date for the report of a failure. */
extern uint64_t peer_sleeping;

/* --control-words: the coroutines save them around each switch, because the peer does not. */
extern bool peer_control_words;

typedef struct {
    uint32_t mxcsr;
    uint16_t x87;
} control_words;

static inline void
control_words_save(control_words *words)
{
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1"
                     : "=m"(words->mxcsr), "=m"(words->x87));
#else
    (void)words;
#endif
}

static inline void
control_words_restore(const control_words *words)
{
#if defined(__x86_64__)
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1"
                     :
                     : "m"(words->mxcsr), "m"(words->x87));
#else
    (void)words;
#endif
}

/* Run a statement that switches, the way the command line asked for. */
#define PEER_SWITCHING(statement)                                              \
    do {                                                                       \
        if (peer_control_words) {                                              \
            control_words words_;                                              \
            control_words_save(&words_);                                       \
            statement;                                                         \
            control_words_restore(&words_);                                    \
        }                                                                      \
        else {                                                                 \
            statement;                                                         \
        }                                                                      \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
