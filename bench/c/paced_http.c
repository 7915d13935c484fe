/* paced_http.c: HTTP requests at a given rate, each timed from when it was due.
 *
 *     paced_http [--spin] PORT RATE SECONDS CONNECTIONS PATH...
 *
 * RATE requests a second for each path, at irregular distances, on CONNECTIONS
 * connections of its own for each. A load that always has a request waiting measures
 * its own queue, and sends nothing while it is kept waiting, which flatters a server
 * that stops now and then; here a request that is due while all connections are busy
 * goes later, and the wait is part of its latency.
 *
 * With --spin it never sleeps: for a client that has a CPU to itself, whose own
 * waking up would otherwise be a part of what it measures. It then knows when it did
 * not run all the same, because something else had its CPU. When the answers came
 * that it finds after that cannot be told: they are counted as "unseen" only.
 *
 * Answers are short ones with a Content-Length of 0. Prints one JSON object a line
 * for each path, with the fields of wrk_report.lua.
 */
#include "die.h"
#include "latency.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PATHS = 4,
    CONNECTIONS_MAX = 256,
    EVENTS = 64,
    ANSWER_MAX = 4096,
    ABSENT_NS = 250000, /* longer than all of the client's work at once */
    /* A server that answers nobody for this long has failed. */
    SILENCE_MS = 10000
};

typedef struct path path;

typedef struct {
    path *of;
    int fd;
    bool busy;
    bool unseen;     /* the client was away meanwhile */
    uint64_t due_ns; /* of the request in flight */
    size_t got;
    char answer[ANSWER_MAX + 1];
} connection;

struct path {
    char request[512];
    size_t request_len;
    uint64_t due_ns; /* of the next request */
    uint64_t random;
    uint64_t refused; /* answered with something else than 200 */
    uint64_t unseen;
    latency latencies;
    connection *connections;
};

static struct {
    uint64_t distance_ns, began_ns, end_ns;
    uint64_t back_ns; /* when the client ran again, after it had not */
    int epoll;
    bool spin;
    size_t path_count, connection_count;
    size_t in_flight;
    path paths[PATHS];
} run;

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Half to one and a half of the distance, lest requests beat against some period of
 * the server (xorshift64). */
static uint64_t
distance_ns(path *of)
{
    of->random ^= of->random << 13;
    of->random ^= of->random >> 7;
    of->random ^= of->random << 17;
    return run.distance_ns / 2 + of->random % run.distance_ns;
}

/* --- connections -------------------------------------------------------------- */

static void
connection_open(connection *conn, path *of, long port)
{
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    const int on = 1;

    conn->of = of;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 ||
        connect(conn->fd, (struct sockaddr *)&server, sizeof(server)) < 0)
        die_errno("connect");
    if (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die_errno("TCP_NODELAY");
    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void
connection_ask(connection *conn, uint64_t due_ns)
{
    path *of = conn->of;

    conn->busy = true;
    conn->unseen = due_ns < run.back_ns;
    conn->due_ns = due_ns;
    conn->got = 0;
    run.in_flight++;
    if (send(conn->fd, of->request, of->request_len, MSG_NOSIGNAL) !=
        (ssize_t)of->request_len)
        die_errno("send");
}

/* Ask what is due, as far as connections are idle. */
static void
path_ask(path *of, uint64_t now)
{
    for (size_t i = 0; i < run.connection_count; i++) {
        if (of->due_ns > now || of->due_ns >= run.end_ns)
            return;
        if (of->connections[i].busy)
            continue;
        connection_ask(&of->connections[i], of->due_ns);
        of->due_ns += distance_ns(of);
    }
}

static void
connection_answered(connection *conn)
{
    path *of = conn->of;
    uint64_t now = now_ns();

    if (conn->unseen)
        of->unseen++;
    else
        latency_add(&of->latencies, now - conn->due_ns);
    of->refused += memcmp(conn->answer, "HTTP/1.1 200", 12) != 0;
    conn->busy = false;
    run.in_flight--;
    path_ask(of, now);
}

static void
connection_receive(connection *conn)
{
    ssize_t got = recv(conn->fd, conn->answer + conn->got,
                       ANSWER_MAX - conn->got, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 0)
        die_errno("recv");
    conn->got += (size_t)got;
    conn->answer[conn->got] = '\0';
    if (got == 0 || conn->got == ANSWER_MAX || !conn->busy)
        die("the server closed a connection, or said more than it was asked");
    char *end = strstr(conn->answer, "\r\n\r\n");
    if (end == NULL)
        return;
    if (end[4] != '\0' ||
        strcasestr(conn->answer, "\nContent-Length: 0\r") == NULL)
        die("an answer that is not empty");
    connection_answered(conn);
}

/* --- the run ------------------------------------------------------------------ */

/* When the next request is due for which a connection is idle. */
static uint64_t
next_due_ns(void)
{
    uint64_t next = UINT64_MAX;

    for (size_t p = 0; p < run.path_count; p++) {
        const path *of = &run.paths[p];
        bool idle = false;
        for (size_t i = 0; i < run.connection_count; i++)
            idle |= !of->connections[i].busy;
        if (idle && of->due_ns < run.end_ns && of->due_ns < next)
            next = of->due_ns;
    }
    return next;
}

static int
wait_events(struct epoll_event *events, uint64_t next, uint64_t now)
{
    uint64_t left = next == UINT64_MAX ? (uint64_t)SILENCE_MS * 1000000u
                    : next > now       ? next - now
                                       : 0;
    struct timespec limit = {.tv_sec = (time_t)(left / 1000000000u),
                             .tv_nsec = (long)(left % 1000000000u)};

    if (run.spin)
        limit = (struct timespec){0};
    int count = epoll_pwait2(run.epoll, events, EVENTS, &limit, NULL);
    if (count < 0 && errno != EINTR)
        die_errno("epoll_pwait2");
    return count < 0 ? 0 : count;
}

static void
note_absence(uint64_t now)
{
    run.back_ns = now;
    for (size_t p = 0; p < run.path_count; p++)
        for (size_t i = 0; i < run.connection_count; i++)
            run.paths[p].connections[i].unseen = true;
}

static void
play(void)
{
    struct epoll_event events[EVENTS];
    uint64_t answered_ns = now_ns(), before_ns = answered_ns;

    for (;;) {
        uint64_t now = now_ns();
        if (run.spin && now - before_ns > ABSENT_NS)
            note_absence(now);
        before_ns = now;
        for (size_t p = 0; p < run.path_count; p++)
            path_ask(&run.paths[p], now);
        uint64_t next = next_due_ns();
        if (run.in_flight == 0 && next == UINT64_MAX)
            return;
        int count = wait_events(events, next, now_ns());
        for (int i = 0; i < count; i++)
            connection_receive(events[i].data.ptr);
        if (count > 0 || run.in_flight == 0)
            answered_ns = now_ns();
        else if (now_ns() - answered_ns > (uint64_t)SILENCE_MS * 1000000u)
            die("no answer for 10 s");
    }
}

static void
path_print(const path *of, uint64_t took_ns)
{
    const latency *hist = &of->latencies;

    printf(
        "{\"requests\": %llu, \"microseconds\": %llu, \"p50_us\": %.1f, "
        "\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, "
        "\"unseen\": %llu, \"non_2xx\": %llu, \"connect\": 0, \"read\": 0, \"write\": 0, "
        "\"timeout\": 0}\n",
        (unsigned long long)(hist->count + of->unseen),
        (unsigned long long)(took_ns / 1000),
        (double)latency_quantile_ns(hist, 0.50) / 1e3,
        (double)latency_quantile_ns(hist, 0.99) / 1e3,
        (double)latency_quantile_ns(hist, 0.999) / 1e3,
        (double)hist->max_ns / 1e3, (unsigned long long)of->unseen,
        (unsigned long long)of->refused);
}

static void
path_init(path *of, const char *target, long port)
{
    of->request_len = (size_t)snprintf(
        of->request, sizeof(of->request),
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", target);
    if (of->request_len >= sizeof(of->request))
        die("a path is too long");
    of->random = 88172645463325252u + (uint64_t)(of - run.paths);
    of->connections = calloc(run.connection_count, sizeof(connection));
    if (of->connections == NULL)
        die("no memory");
    for (size_t i = 0; i < run.connection_count; i++)
        connection_open(&of->connections[i], of, port);
}

int
main(int argc, char **argv)
{
    run.spin = argc > 1 && strcmp(argv[1], "--spin") == 0;
    argc -= run.spin;
    argv += run.spin;
    if (argc < 6 || argc > 5 + PATHS)
        die("usage: paced_http [--spin] PORT RATE SECONDS CONNECTIONS PATH...");
    long port = number_or_die(argv[1], 1, 65535);
    run.distance_ns = 1000000000u /
                      (uint64_t)number_or_die(argv[2], 1, 1000000);
    uint64_t seconds = (uint64_t)number_or_die(argv[3], 1, 3600);
    run.connection_count = (size_t)number_or_die(argv[4], 1, CONNECTIONS_MAX);
    run.path_count = (size_t)argc - 5;
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.epoll < 0)
        die_errno("epoll_create1");
    if (prctl(PR_SET_TIMERSLACK, 1) <
        0) /* 50 µs of being late are not the server's */
        die_errno("prctl");
    for (size_t p = 0; p < run.path_count; p++)
        path_init(&run.paths[p], argv[5 + p], port);
    run.began_ns = now_ns();
    run.end_ns = run.began_ns + seconds * 1000000000u;
    for (size_t p = 0; p < run.path_count; p++)
        run.paths[p].due_ns = run.began_ns + distance_ns(&run.paths[p]);
    play();
    uint64_t took_ns = now_ns() - run.began_ns;
    for (size_t p = 0; p < run.path_count; p++)
        path_print(&run.paths[p], took_ns);
    return 0;
}
