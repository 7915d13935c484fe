/* stream_i.h: a stream's fields. */
#ifndef YULA__STREAM_I_H
#define YULA__STREAM_I_H

#include <yula/stream.h>

#include "loop/loop_i.h"

/* A response of two or three pieces queues without an allocation. */
#define YULA__STREAM_FIRST_CHUNKS 4

typedef struct yula__chunk {
    const char *base; /* what is still to be sent */
    size_t len;
    void *owner; /* for ops->release; NULL if copied */
    void *copy;  /* ours */
} yula__chunk;

struct yula_stream {
    yula_watcher watcher;
    yula_loop *loop;
    const yula_stream_ops *ops;
    void *arg;
    int fd;           /* -1 once freed */
    unsigned trouble; /* READ_CLOSED, HANGUP, ERROR, PRIORITY seen so far */
    bool tcp;
    bool reading;  /* the owner wants data */
    bool readable; /* a read may find something */
    bool ended;
    bool failed;
    bool blocked; /* bytes refused, or the budget spent; an event will come */
    bool pressed; /* the owner was told that the queue is high */
    bool sending; /* inside stream_send: a release may have come back */
    bool shutdown_wanted;
    bool shutdown_done;
    int write_status;
    size_t queued;
    size_t low, high;
    yula_work deferred; /* flush at the end of the callback; then: free */
    yula_work failure;
    yula__chunk *chunks; /* [chunk_first, chunk_end) wait to be sent */
    unsigned chunk_first, chunk_end, chunk_capacity;
    yula__chunk first_chunks[YULA__STREAM_FIRST_CHUNKS];
};

#endif /* YULA__STREAM_I_H */
