/* echo_server.c: sends back what it receives, over TCP or a Unix socket.
 *
 *     echo_server 127.0.0.1 7777
 *     echo_server /tmp/echo.sock
 *
 * SIGINT and SIGTERM end it: it accepts no more and closes what is open. When
 * nothing is left that could call back, yula_loop_run returns.
 */
#include <signal.h>

#include "listen.h"

typedef struct echo_server {
    yula_loop *loop;
    yula_listener *listener;
    yula_signal signals[2];
    struct echo_client *clients;
} echo_server;

typedef struct echo_client {
    yula_stream *stream;
    struct echo_client *next;
    struct echo_client **link; /* what points here */
    bool ending;
} echo_client;

static void
client_free(echo_client *client)
{
    *client->link = client->next;
    if (client->next != NULL)
        client->next->link = client->link;
    yula_stream_free(client->stream, true);
    free(client);
}

static void
client_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    /* Without an owner the stream copies what it cannot send at once: base is
     * ours only until we return. */
    if (yula_stream_write(stream, base, len, NULL) < 0)
        client_free(arg);
}

static void
client_ended(yula_stream *stream, void *arg)
{
    echo_client *client = arg;

    client->ending = true;
    if (yula_stream_queued(stream) == 0)
        client_free(client); /* else client_drained does */
}

static void
client_drained(yula_stream *stream, void *arg)
{
    echo_client *client = arg;

    if (client->ending)
        client_free(client);
}

static void
client_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    client_free(arg);
}

/* Who does not read what we send is not read from, either. */
static void
client_pressure(yula_stream *stream, bool high, void *arg)
{
    if (high)
        yula_stream_stop(stream);
    else
        yula_stream_start(stream);
}

static const yula_stream_ops client_ops = {.read = client_read,
                                           .ended = client_ended,
                                           .drained = client_drained,
                                           .failed = client_failed,
                                           .pressure = client_pressure};

static void
on_connection(yula_listener *listener, int fd, const struct sockaddr *addr,
              socklen_t addr_len, void *arg)
{
    echo_server *server = arg;

    if (fd < 0) {
        fprintf(stderr, "accept: %s\n", yula_strerror(fd));
        return;
    }
    echo_client *client = calloc(1, sizeof(*client));
    if (client == NULL ||
        yula_stream_new(server->loop, YULA_LANE_NATIVE, fd, &client_ops, client,
                        &client->stream) < 0) {
        close(fd);
        free(client);
        return;
    }
    client->next = server->clients;
    client->link = &server->clients;
    if (client->next != NULL)
        client->next->link = &client->next;
    server->clients = client;
    yula_stream_start(client->stream);
}

static void
on_signal(yula_signal *signal, int number, void *arg)
{
    echo_server *server = arg;

    yula_listener_free(server->listener);
    while (server->clients != NULL)
        client_free(server->clients);
    for (int i = 0; i < 2; i++)
        yula_signal_stop(&server->signals[i]);
}

static int
server_run(echo_server *server, int fd)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    int err = yula_listener_new(server->loop, YULA_LANE_NATIVE, fd,
                                on_connection, server, &server->listener);

    for (int i = 0; i < 2 && err == 0; i++) {
        yula_signal_init(server->loop, &server->signals[i], YULA_LANE_NATIVE);
        err = yula_signal_start(&server->signals[i], numbers[i], on_signal,
                                server);
    }
    return err < 0 ? err : yula_loop_run(server->loop);
}

int
main(int argc, char **argv)
{
    echo_server server = {0};
    int fd = listen_from_arguments(argc, argv);

    if (fd < 0)
        return 2;
    int err = yula_loop_new(NULL, &server.loop);
    if (err == 0) {
        err = server_run(&server, fd);
        yula_loop_free(server.loop);
    }
    close(fd);
    if (err < 0)
        fprintf(stderr, "echo_server: %s\n", yula_strerror(err));
    return err < 0;
}
