/* intake.c: looking for delimiters in what came; the buffer grows as needed.
 * Thread: loop.
 */
#include "coro/intake.h"

#include <errno.h>

/* What a buffer begins with: a few lines, one page. */
#define INTAKE_FIRST 4096

int
yula__intake_reserve(yula__intake *intake)
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

ssize_t
yula__intake_until(yula__intake *intake, const void *delimiter,
                   size_t delimiter_len, yula__intake_receive_cb receive,
                   void *owner, char **out)
{
    size_t searched = 0; /* so much of the buffer has no delimiter in it */
    int err = 0;

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
        err = yula__intake_reserve(intake);
        if (err == 0)
            err = receive(owner);
    }
    return err;
}

size_t
yula__intake_trim(char *line, size_t len)
{
    len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    line[len] = '\0';
    return len;
}
