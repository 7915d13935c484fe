/* intake.h: what came for a task and was not fetched yet: the buffer behind the
 * reading calls of connections and pipes. (Of libyula-tls, too: nothing here knows
 * the loop's insides.)
 *
 *  I1. [start, end) of the buffer was received and not fetched. It is used up
 *      before the kernel is asked again.
 *  I2. One read goes straight into the memory of the task that waits for it or,
 *      for lines, behind what is in the buffer.
 */
#ifndef YULA__INTAKE_H
#define YULA__INTAKE_H

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include <yula/loop.h>

typedef struct yula__intake {
    const yula_allocator *allocator; /* borrowed */
    char *buffer;
    size_t start, end; /* I1 */
    size_t capacity;
    size_t limit; /* of a line, with its delimiter */
} yula__intake;

/* How its owner reads: a constant, so that yula__intake_read calls no pointers. */
typedef struct yula__intake_ops {
    /* Every read begins with this: 0, or why there cannot be one now. */
    int (*check)(const void *owner);
    /* Wait for one read to base. Returns how much came (> 0), or fails. */
    ssize_t (*receive)(void *owner, void *base, size_t len);
} yula__intake_ops;

static inline void
yula__intake_init(yula__intake *intake, const yula_allocator *allocator,
                  size_t limit)
{
    *intake = (yula__intake){.allocator = allocator, .limit = limit};
}

static inline void
yula__intake_fini(yula__intake *intake)
{
    intake->allocator->free(intake->buffer, intake->allocator->arg);
}

static inline size_t
yula__intake_len(const yula__intake *intake)
{
    return intake->end - intake->start;
}

/* Up to len bytes out of the buffer. Returns how many. */
static inline size_t
yula__intake_fetch(yula__intake *intake, void *base, size_t len)
{
    size_t buffered = yula__intake_len(intake);

    if (len > buffered)
        len = buffered;
    memcpy(base, intake->buffer + intake->start, len);
    intake->start += len;
    return len;
}

/* The reading calls of conn.h, pipe.h and tls.h. */
__attribute__((always_inline)) static inline ssize_t
yula__intake_read(yula__intake *intake, const yula__intake_ops *ops,
                  void *owner, void *base, size_t len)
{
    int err = len == 0 ? -EINVAL : ops->check(owner);

    if (err < 0)
        return err;
    if (yula__intake_len(intake) == 0)
        return ops->receive(owner, base, len);
    return (ssize_t)yula__intake_fetch(intake, base, len);
}

int yula__intake_read_exactly(yula__intake *intake, const yula__intake_ops *ops,
                              void *owner, void *base, size_t len, size_t *got);

/* *out lies in the buffer, valid until the next read. -EMSGSIZE: beyond the
 * limit; -ENOMEM. */
ssize_t yula__intake_read_until(yula__intake *intake,
                                const yula__intake_ops *ops, void *owner,
                                const void *delimiter, size_t delimiter_len,
                                char **out);
ssize_t yula__intake_read_line(yula__intake *intake,
                               const yula__intake_ops *ops, void *owner,
                               char **out);

#endif /* YULA__INTAKE_H */
