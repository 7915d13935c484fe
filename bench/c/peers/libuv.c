/* libuv.c: libuv's callbacks. It has no coroutines: an echo server, and timers that sleep. */
#include "peer.h"

#include "../die.h"

#include <uv.h>

typedef struct {
    uv_tcp_t tcp;
} connection;

typedef struct {
    uv_write_t write;
    char data[];
} unsent;

static uv_loop_t loop;
static uv_tcp_t listener;
static char *buffer;
static size_t buffer_len;

static void
check(int err, const char *what)
{
    if (err < 0) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
                uv_strerror(err));
        exit(1);
    }
}

static void
connection_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
connection_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(buffer, (unsigned)buffer_len);
}

static void
connection_written(uv_write_t *write, int status)
{
    uv_stream_t *stream = write->handle;
    free(write);
    if (status < 0 && !uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, connection_closed);
}

/* All of it at once in nearly every case; only the rest needs a copy and a request. */
static void
connection_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    if (got == 0)
        return;
    if (got < 0) {
        uv_close((uv_handle_t *)stream, connection_closed);
        return;
    }
    uv_buf_t data = uv_buf_init(buf->base, (unsigned)got);
    int sent = uv_try_write(stream, &data, 1);
    if (sent == got)
        return;
    size_t taken = sent < 0 ? 0 : (size_t)sent;
    size_t rest_len = (size_t)got - taken;
    unsent *rest = malloc(sizeof *rest + rest_len);
    if (rest == NULL)
        die("out of memory");
    memcpy(rest->data, buf->base + taken, rest_len);
    data = uv_buf_init(rest->data, (unsigned)rest_len);
    check(uv_write(&rest->write, stream, &data, 1, connection_written),
          "uv_write");
}

static void
listener_ready(uv_stream_t *server, int status)
{
    check(status, "listen");
    connection *conn = malloc(sizeof *conn);
    if (conn == NULL)
        die("out of memory");
    check(uv_tcp_init(&loop, &conn->tcp), "uv_tcp_init");
    check(uv_accept(server, (uv_stream_t *)&conn->tcp), "uv_accept");
    check(uv_tcp_nodelay(&conn->tcp, 1), "uv_tcp_nodelay");
    check(uv_read_start((uv_stream_t *)&conn->tcp, connection_alloc,
                        connection_read),
          "uv_read_start");
}

static void
libuv_echo(int fd, size_t len)
{
    buffer_len = len;
    buffer = malloc(len);
    if (buffer == NULL)
        die("out of memory");
    check(uv_loop_init(&loop), "uv_loop_init");
    check(uv_tcp_init(&loop, &listener), "uv_tcp_init");
    check(uv_tcp_open(&listener, fd), "uv_tcp_open");
    check(uv_listen((uv_stream_t *)&listener, 4096, listener_ready),
          "uv_listen");
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void
timer_fired(uv_timer_t *timer)
{
    (void)timer;
}

static void
libuv_sleep(uint64_t count)
{
    check(uv_loop_init(&loop), "uv_loop_init");
    for (uint64_t i = 0; i < count; i++) {
        uv_timer_t *timer = malloc(sizeof *timer);
        if (timer == NULL)
            return;
        check(uv_timer_init(&loop, timer), "uv_timer_init");
        check(uv_timer_start(timer, timer_fired, 3600000, 0), "uv_timer_start");
        peer_sleeping++;
    }
    peer_all_sleep();
}

const peer peer_under_test = {
    .name = "libuv",
    .version = PEER_VERSION,
    .saves_control_words = true,
    .echo = libuv_echo,
    .sleep = libuv_sleep,
};
