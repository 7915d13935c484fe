/* stream_end.h: what the tests of streams share: one end of a connection is a
 * stream, the other one a plain socket of the test.
 */
#ifndef YULA__TEST_STREAM_END_H
#define YULA__TEST_STREAM_END_H

#include <yula/stream.h>

#include "support.h"

typedef struct end {
    yula_loop *loop;
    yula_stream *stream;
    int peer;
    char data[256];
    size_t len;          /* received in all; data keeps the first of it */
    int reads;           /* calls of read */
    int ended, failures; /* calls */
    int status;
    bool writing;
    int high, low, drained; /* calls */
    void (*on_read)(struct end *end);
    char *into; /* where alloc receives */
    size_t into_len;
    int alloc_result;
    int allocs, unused; /* calls */
} end;

extern int released;                    /* chunks given with an owner */
extern void (*on_release)(void *owner); /* called for each, if not NULL */

typedef void (*pair_cb)(int fds[2]);
extern const pair_cb pairs[2]; /* TCP and Unix */

/* The first one uses the loop's buffer, the second one receives into end.into.
 */
extern const yula_stream_ops ops, alloc_ops;

/* What both tables report to: they count, and keep the data. */
void end_read(yula_stream *stream, void *base, size_t len, void *arg);
void end_ended(yula_stream *stream, void *arg);
void end_failed(yula_stream *stream, int status, bool writing, void *arg);
void end_pressure(yula_stream *stream, bool high, void *arg);
void end_drained(yula_stream *stream, void *arg);
void end_release(void *owner);
int end_alloc(yula_stream *stream, void **base, size_t *len, void *arg);
void end_unused(yula_stream *stream, void *arg);

/* Start a test: counters at zero, a stream on one end of a new pair. */
void begin_with(end *self, pair_cb pair, const yula_stream_ops *table);
void begin(end *self, pair_cb pair);

/* Close what is left, and the loop. */
void finish(end *self);

/* So many turns that do not sleep; the loop is walked after each. */
void turns(end *self, int count);

/* Sleep in the poll until a counter moves. */
void run_while(end *self, const int *counter, int value);

/* System calls so far. */
long receives(void);
long sends(void);

/* Send a text that carries a descriptor: on a Unix socket a read ends there. */
void send_descriptor(int socket, const char *text);

/* Exactly this is there, nothing behind it. */
void expect_at_peer(end *self, const char *text);

/* A pattern that shows a lost, doubled or swapped byte; pattern_of is to be
 * freed, which free_owner does as on_release. */
char pattern(size_t at);
char *pattern_of(size_t from, size_t len);
void free_owner(void *owner);

/* The kernel buffers as little as it can. */
void small_buffers(end *self);

/* Take len bytes at the peer, bit by bit, and run the loop in between. */
void take_pattern(end *self, size_t len);

/* So many chunks of 100,000 bytes with an owner, until some stay queued. */
void fill_queue(end *self, int chunks);

/* Five pieces, two of them with an owner: "one two three four five". */
void write_five(end *self);

#endif /* YULA__TEST_STREAM_END_H */
