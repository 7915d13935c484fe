/* intake.h: what came for a task and was not fetched yet: the buffer behind the
 * reading calls of connections and pipes. (Of libyula-tls, too: nothing here knows
 * the loop's insides.)
 *
 *  I1. [start, end) of the buffer was received and not fetched. It is used up
 *      before the kernel is asked again.
 *  I2. While a task waits, one read goes straight into its memory (wanted) or,
 *      for lines, behind what is in the buffer (wanted == NULL).
 */
#ifndef YULA__INTAKE_H
#define YULA__INTAKE_H

#include <string.h>
#include <sys/types.h>

#include <yula/loop.h>

/* Most bytes of one read: its count goes through an int. */
#define YULA__INTAKE_READ_MAX ((size_t)1 << 30)

typedef struct yula__intake {
    const yula_allocator *allocator; /* borrowed */
    char *wanted;                    /* I2 */
    size_t wanted_len;
    char *buffer;
    size_t start, end; /* I1 */
    size_t capacity;
    size_t limit; /* of a line, with its delimiter */
} yula__intake;

/* Wait for one read behind what is in the buffer, where there is room. Returns
 * how much came (> 0), or fails. */
typedef int (*yula__intake_receive_cb)(void *owner);

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

/* Where the read of a task that begins to wait goes. wanted: NULL, in the
 * buffer. */
static inline void
yula__intake_want(yula__intake *intake, void *wanted, size_t len)
{
    intake->wanted = wanted;
    intake->wanted_len = len < YULA__INTAKE_READ_MAX ? len
                                                     : YULA__INTAKE_READ_MAX;
}

static inline void
yula__intake_room(const yula__intake *intake, void **base, size_t *len)
{
    if (intake->wanted != NULL) {
        *base = intake->wanted;
        *len = intake->wanted_len;
    }
    else {
        *base = intake->buffer + intake->end;
        *len = intake->capacity - intake->end;
    }
}

/* That read has taken place. */
static inline void
yula__intake_took(yula__intake *intake, size_t len)
{
    if (intake->wanted == NULL)
        intake->end += len;
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

/* Room for one more byte at least, at the end of the buffer. 0 or -ENOMEM. */
int yula__intake_reserve(yula__intake *intake);

/* Up to and with the next delimiter; receive(owner) is called as long as there is
 * none. Returns the length, and in *out where it lies, valid until the next
 * read; or -EMSGSIZE (beyond the limit), -ENOMEM, or what receive fails with. */
ssize_t yula__intake_until(yula__intake *intake, const void *delimiter,
                           size_t delimiter_len,
                           yula__intake_receive_cb receive, void *owner,
                           char **out);

/* A line of len bytes, with its "\n": takes its end off and puts a NUL there.
 * Returns its new length. */
size_t yula__intake_trim(char *line, size_t len);

#endif /* YULA__INTAKE_H */
