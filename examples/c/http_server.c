/* http_server.c: HTTP/1.1 on all CPUs: a loop for each, a task for each
 * connection, which stays open from request to request.
 *
 *     http_server 127.0.0.1 8080          (try: curl http://127.0.0.1:8080/)
 *     http_server 127.0.0.1 8080 2        with two loops
 *
 * /        says hello
 * /served  how many requests were answered, by all loops
 *
 * A connection on which nothing was asked for IDLE_NS is closed. SIGINT and
 * SIGTERM end the server.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <yula/yula.h>

#define IDLE_NS (INT64_C(10) * 1000000000)

typedef struct request {
    char method[8];
    char path[64];
    bool close; /* the client asked to, or is of HTTP/1.0 */
} request;

/* --- HTTP ---------------------------------------------------------------- */

static bool
header_says_close(const char *line)
{
    return strncasecmp(line, "Connection:", 11) == 0 &&
           strcasestr(line, "close") != NULL;
}

/* Read up to the empty line. Bodies are not expected. */
static int
request_read(yula_conn *conn, request *self)
{
    int minor = 0;
    char *line;
    ssize_t len = yula_conn_read_line(conn, &line);

    if (len < 0)
        return (int)len;
    if (sscanf(line, "%7s %63s HTTP/1.%d", self->method, self->path, &minor) !=
        3)
        return -EPROTO;
    self->close = minor == 0;
    while ((len = yula_conn_read_line(conn, &line)) > 0) {
        if (header_says_close(line))
            self->close = true;
    }
    return (int)len;
}

static int
respond(yula_conn *conn, const char *status, const char *body)
{
    char response[256];
    int len = snprintf(response, sizeof(response),
                       "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       status, strlen(body), body);

    return yula_conn_write(conn, response, (size_t)len);
}

static int
answer(yula_conn *conn, const request *asked, atomic_long *served)
{
    char count[32];

    if (strcmp(asked->method, "GET") != 0)
        return respond(conn, "405 Method Not Allowed", "only GET\n");
    if (strcmp(asked->path, "/") == 0)
        return respond(conn, "200 OK", "hello\n");
    if (strcmp(asked->path, "/served") != 0)
        return respond(conn, "404 Not Found", "not here\n");
    snprintf(count, sizeof(count), "%ld\n", atomic_load(served));
    return respond(conn, "200 OK", count);
}

/* --- connections --------------------------------------------------------- */

static int
read_in_time(yula_conn *conn, request *asked)
{
    yula_loop *loop = yula_conn_loop(conn);
    yula_scope scope;

    int err = yula_deadline_enter(loop, &scope, yula_loop_now(loop) + IDLE_NS);
    if (err < 0)
        return err;
    return yula_deadline_leave(&scope, request_read(conn, asked));
}

static int
serve(yula_conn *conn, void *arg)
{
    atomic_long *served = arg;
    request asked;
    int err;

    do {
        err = read_in_time(conn, &asked);
        if (err == -EPROTO || err == -EMSGSIZE)
            return respond(conn, "400 Bad Request", "what?\n");
        if (err == 0)
            err = answer(conn, &asked, served);
        if (err == 0)
            atomic_fetch_add(served, 1);
    } while (err == 0 && !asked.close);
    return err;
}

static int
member_main(yula_member *member, void *arg)
{
    return yula_conn_serve(member->loop, member->listen_fd, serve, arg);
}

/* --- the program --------------------------------------------------------- */

typedef struct program {
    yula_cluster *cluster;
    const char *host;
} program;

static void
say_where(const program *self)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);

    (void)yula_cluster_address(self->cluster, (struct sockaddr *)&addr,
                               &addr_len);
    /* The port lies at the same place in both families. */
    printf("listening on %s %d\n", self->host,
           ntohs(((struct sockaddr_in *)&addr)->sin_port));
    fflush(stdout);
}

/* Whoever reads where we listen may send a signal: catch them first. */
static int
until_signal(yula_task *task, void *arg)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    yula_signal_set signals;

    int err = yula_signal_set_open(yula_task_loop(task), &signals, numbers, 2);
    if (err < 0)
        return err;
    say_where(arg);
    err = yula_signal_set_next(&signals);
    yula_signal_set_close(&signals);
    return err < 0 ? err : 0;
}

/* On a loop of the main thread's own: the members' threads block signals. */
static int
wait_for_signal(program *self)
{
    yula_loop *loop;
    int result = 0;

    int err = yula_loop_new(NULL, &loop);
    if (err < 0)
        return err;
    err = yula_task_run(loop, NULL, until_signal, self, &result);
    yula_loop_free(loop);
    return err < 0 ? err : result;
}

int
main(int argc, char **argv)
{
    static atomic_long served;
    struct sockaddr_storage addr;
    program self;
    int len = argc < 3 ? -EINVAL
                       : yula_address_parse(argv[1], (uint16_t)atoi(argv[2]),
                                            AF_UNSPEC, &addr);

    if (len < 0) {
        fprintf(stderr, "usage: %s ADDRESS PORT [LOOPS]\n", argv[0]);
        return 2;
    }
    yula_cluster_options options = {.size = sizeof(options),
                                    .main = member_main,
                                    .arg = &served,
                                    .count = argc > 3 ? (unsigned)atoi(argv[3])
                                                      : 0,
                                    .addr = (struct sockaddr *)&addr,
                                    .addr_len = (socklen_t)len};
    self.host = argv[1];
    int err = yula_cluster_start(&options, &self.cluster);
    if (err == 0) {
        err = wait_for_signal(&self);
        yula_cluster_stop(self.cluster);
        int status = yula_cluster_join(self.cluster);
        err = err < 0 ? err : status;
    }
    if (err < 0)
        fprintf(stderr, "http_server: %s\n", yula_strerror(err));
    return err < 0;
}
