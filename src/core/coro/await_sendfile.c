/* await_sendfile.c: a part of a file over a connection.
 *
 *  I1. While it is sent nobody else writes: the mutex of the connection is held.
 *      So a worker may send on the socket that is the stream's: the loop will not.
 *  I2. Only the loop is told by the kernel to wait (stream_block): the event that
 *      ends a worker's refusal may have come and gone. What it was refused is in
 *      memory by then, so the loop tries again itself.
 * Thread: loop; send_run on a worker.
 */
#include <yula/file.h>

#include "base/sys_file.h"
#include "coro/await_i.h"
#include "coro/conn_i.h"
#include "io/stream_i.h"

/* Sent by one system call at most. */
#define SEND_PART YULA_STREAM_READ_MAX

/* The kernel reads ahead at least twice as much (128 KiB): looking at one byte of
 * each piece tells whether all is there, all but surely, for 0.2 us. */
#define SEND_PROBE ((size_t)64 << 10)

typedef struct send_call {
    int socket;
    int fd;
    int64_t offset; /* of what is left */
    size_t len;
} send_call;

static int
send_run(void *arg)
{
    send_call *call = arg;

    return (int)yula__sys_sendfile(call->socket, call->fd, &call->offset,
                                   call->len);
}

static bool
is_in_memory(const send_call *call)
{
    char byte;

    for (size_t at = 0; at < call->len; at += SEND_PROBE) {
        if (yula__sys_file_read_cached(call->fd, &byte, 1,
                                       call->offset + (int64_t)at) != 1)
            return false;
    }
    return yula__sys_file_read_cached(
               call->fd, &byte, 1, call->offset + (int64_t)call->len - 1) == 1;
}

/* On the loop. -EAGAIN: not any more, try again. */
static int
send_here(yula_conn *conn, send_call *call)
{
    int err, n = (int)yula__stream_send_file(yula_conn_stream(conn), call->fd,
                                             &call->offset, call->len);

    if (n == -EAGAIN)
        err = yula__conn_await_drained(conn);
    else
        err = n > 0 ? yula__await_give_way(yula_conn_loop(conn), (size_t)n) : 0;
    return err < 0 ? err : n;
}

/* Until offset is at the end. */
static int
send_rest(yula_conn *conn, send_call *call, int64_t end)
{
    yula_loop *loop = yula_conn_loop(conn);
    bool refused = false; /* I2 */

    while (call->offset < end) {
        int64_t left = end - call->offset;
        int n = yula__await_check(loop);
        if (n < 0)
            return n;
        call->len = left < SEND_PART ? (size_t)left : SEND_PART;
        if (refused || yula_stream_queued(yula_conn_stream(conn)) > 0 ||
            is_in_memory(call)) {
            n = send_here(conn, call);
            refused = false;
        }
        else {
            n = yula__await_work(loop, send_run, call, NULL, "file");
            refused = n == -EAGAIN;
        }
        if (n <= 0 && n != -EAGAIN)
            return n == 0 ? YULA_EOF : n;
    }
    return 0;
}

int
yula_file_send(yula_conn *conn, int fd, int64_t offset, size_t len,
               size_t *sent)
{
    send_call call = {.socket = yula_conn_fd(conn), .fd = fd};
    size_t done = sent != NULL ? *sent : 0;

    if (offset < 0 || len > (size_t)(INT64_MAX - offset))
        return -EINVAL;
    int err = yula__conn_reserve(conn);
    if (err < 0)
        return err;
    call.offset = offset + (int64_t)done;
    err = send_rest(conn, &call, offset + (int64_t)len);
    yula__conn_release(conn);
    if (sent != NULL)
        *sent = (size_t)(call.offset - offset);
    return err;
}
