/* intake.c: looking for delimiters in what came; the buffer grows as needed.
 * Thread: loop.
 */
#include "coro/intake.h"

/* What a buffer begins with: a few lines, one page. */
#define INTAKE_FIRST 4096

/* Room for one more byte at least, at the end of the buffer. 0 or -ENOMEM. */
static int
intake_reserve(yula__intake *intake)
{
    size_t len = yula__intake_len(intake);

    if (len == 0)
        intake->start = intake->end = 0;
    if (intake->end < intake->capacity)
        return 0;
    if (intake->buffer != NULL && intake->start > 0) {
        memmove(intake->buffer, intake->buffer + intake->start, len);
    }
    else {
        size_t capacity = len > 0 ? 2 * len : INTAKE_FIRST;
        char *grown = intake->allocator->resize(intake->buffer, capacity,
                                                intake->allocator->arg);
        if (grown == NULL)
            return -ENOMEM;
        intake->buffer = grown;
        intake->capacity = capacity;
    }
    intake->start = 0;
    intake->end = len;
    return 0;
}

int
yula__intake_read_exactly(yula__intake *intake, const yula__intake_ops *ops,
                          void *owner, void *base, size_t len, size_t *got)
{
    while (*got < len) {
        ssize_t n = yula__intake_read(intake, ops, owner, (char *)base + *got,
                                      len - *got);
        if (n < 0)
            return (int)n;
        *got += (size_t)n;
    }
    return 0;
}

/* I2. As ops->receive. */
static ssize_t
intake_receive(yula__intake *intake, const yula__intake_ops *ops, void *owner)
{
    int err = intake_reserve(intake);

    if (err < 0)
        return err;
    ssize_t n = ops->receive(owner, intake->buffer + intake->end,
                             intake->capacity - intake->end);
    if (n > 0)
        intake->end += (size_t)n;
    return n;
}

ssize_t
yula__intake_read_until(yula__intake *intake, const yula__intake_ops *ops,
                        void *owner, const void *delimiter,
                        size_t delimiter_len, char **out)
{
    size_t searched = 0; /* so much of the buffer has no delimiter in it */
    ssize_t err = delimiter_len == 0 ? -EINVAL : ops->check(owner);

    while (err >= 0) {
        size_t len = yula__intake_len(intake);
        char *base = len > 0 ? intake->buffer + intake->start : NULL;
        char *found = base == NULL || len - searched < delimiter_len
                          ? NULL
                          : memmem(base + searched, len - searched, delimiter,
                                   delimiter_len);
        size_t until = found == NULL ? len + 1
                                     : (size_t)(found - base) + delimiter_len;
        if (until > intake->limit)
            return -EMSGSIZE;
        if (found != NULL) {
            intake->start += until;
            *out = base;
            return (ssize_t)until;
        }
        if (len >= delimiter_len)
            searched = len - delimiter_len + 1;
        err = intake_receive(intake, ops, owner);
    }
    return err;
}

/* Takes the line's end off and puts a NUL there. */
static size_t
intake_trim(char *line, size_t len)
{
    len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    return len;
}

ssize_t
yula__intake_read_line(yula__intake *intake, const yula__intake_ops *ops,
                       void *owner, char **out)
{
    ssize_t len = yula__intake_read_until(intake, ops, owner, "\n", 1, out);

    return len < 0 ? len : (ssize_t)intake_trim(*out, (size_t)len);
}
