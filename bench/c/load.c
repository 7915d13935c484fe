/* load.c: ping-pong clients on one thread that check every byte they get back.
 *
 * Each connection sends one message, waits for all of it, compares it, sends the next. A
 * message is 16 bytes of header (the connection's nonce and the request's number) and a body
 * cut from one random block at a place that depends on both, so that an answer which belongs
 * to another connection or another request does not compare equal. Messages shorter than the
 * header are its first bytes.
 *
 * With --reconnect every request has a connection of its own: connect, one message each way,
 * close. A datagram that does not come back is not sent again; it is counted as lost.
 *
 * With --pid it reads the server's CPU clock and counters itself, at the first and the last
 * moment of the measured window: no second process has to be told when that is. The same holds
 * for the server's computing threads (--progress, progress.h), whose speed is also taken alone,
 * before the first connection and after the last (--solo-ms).
 *
 * With --paced it starts so many requests a second, at irregular distances, on connections that
 * are idle; a request that finds none waits for one, and that wait is part of its latency.
 *
 * Results go to stdout as one JSON object. With --step it waits for a line on stdin between
 * warm-up and measurement and again before it closes, with no request in flight at either
 * moment, so that a caller can start and stop a profiler or counter exactly there.
 */
#include "die.h"
#include "latency.h"
#include "progress.h"
#include "server_cost.h"
#include "tls.h"
#include "wire.h"

#include <getopt.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>

enum {
    EVENTS_AT_ONCE = 1024,
    HEADER_LEN = 16,
    PLACES = 1 << 16, /* how many different places a body can be cut from */
    PORTS = 8,        /* listeners that the connections are spread over */
    RECEIVE_LEN = 256 * 1024,
    SILENCE_MS =
        20000,     /* a server that answers nobody for this long has failed */
    LOST_MS = 500, /* a datagram that is not back after this was dropped */
    SOURCES = 8,   /* of our own addresses, with --reconnect */
    GOODBYE_MS = 2000, /* how long the last answers may take before --solo-ms */
};

static const uint64_t NO_LIMIT = UINT64_MAX;

typedef struct {
    wire to;
    bool busy;   /* a request is in flight */
    size_t port; /* index of the listener it is connected to */
    uint64_t nonce;
    uint64_t number; /* of the request in flight */
    uint64_t started_ns;
    const char *body;
    size_t sent;
    size_t received;
    char header[HEADER_LEN];
} client;

typedef struct {
    int epoll;
    size_t size;
    size_t connections;
    wire_address servers[PORTS]; /* which differ in the port only */
    size_t server_count;
    bool reconnect;
    long silence_ms;
    bool wants_answer; /* a deadline is not kept before there was one */
    client *clients;
    char *block;        /* random bytes: PLACES + size */
    char *received;     /* RECEIVE_LEN */
    uint64_t may_start; /* requests that may still be started */
    uint64_t in_flight;
    uint64_t answered_ns; /* when the last answer came */
    uint64_t completed[PORTS];
    latency latencies;
    uint64_t
        pace_ns; /* between requests, on average; 0: as fast as answers come */
    uint64_t due_ns; /* paced: when the next request is to start */
    int timer;       /* paced: fires then */
} load;

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* splitmix64: a bijection whose output looks random. */
static uint64_t
mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static size_t
header_len(const load *run)
{
    return run->size < HEADER_LEN ? run->size : HEADER_LEN;
}

static _Noreturn void
client_fail(const load *run, const client *cli, const char *what)
{
    fprintf(stderr, "load: connection %td, request %llu, byte %zu of %zu: %s\n",
            cli - run->clients, (unsigned long long)cli->number, cli->received,
            run->size, what);
    exit(1);
}

/* Sends as much of the message as the kernel takes; the rest waits for EPOLLOUT. */
static void
client_send(load *run, client *cli)
{
    while (cli->sent < run->size) {
        size_t head = header_len(run);
        size_t head_at = cli->sent < head ? cli->sent : head;
        size_t body_at = cli->sent - head_at;
        ssize_t sent = wire_send(&cli->to, cli->header + head_at,
                                 head - head_at, cli->body + body_at,
                                 run->size - head - body_at);
        if (sent < 0) {
            if (errno == EAGAIN)
                return;
            client_fail(run, cli, strerror(errno));
        }
        cli->sent += (size_t)sent;
    }
}

static void
client_start(load *run, client *cli, uint64_t now)
{
    run->may_start -= run->may_start != NO_LIMIT;
    run->in_flight++;
    cli->busy = true;
    cli->number++;
    cli->started_ns = now;
    cli->sent = 0;
    cli->received = 0;
    uint64_t tag = mix(cli->nonce + cli->number);
    memcpy(cli->header, &tag, sizeof tag);
    memcpy(cli->header + sizeof tag, &cli->number, sizeof cli->number);
    cli->body = run->block + tag % PLACES;
    client_send(run, cli);
}

/* Starts what is due, as far as connections are idle, and sets the timer for what follows. */
static void
pace_start_due(load *run, uint64_t now)
{
    size_t next = 0;
    while (run->may_start > 0 && run->due_ns <= now) {
        while (next < run->connections && run->clients[next].busy)
            next++;
        if (next == run->connections)
            return; /* all busy: the next answer comes here again */
        client_start(run, &run->clients[next], run->due_ns);
        /* 0.5 to 1.5 of the distance, lest requests beat against some period of the server */
        run->due_ns += run->pace_ns / 2 + mix(run->due_ns) % run->pace_ns;
    }
    struct itimerspec when = {
        .it_value.tv_sec = (time_t)(run->due_ns / 1000000000u),
        .it_value.tv_nsec = (long)(run->due_ns % 1000000000u),
    };
    if (timerfd_settime(run->timer, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        die_errno("timerfd_settime");
}

static void
pace_init(load *run, uint64_t per_second)
{
    run->pace_ns = 1000000000u / per_second;
    run->due_ns = now_ns();
    run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (run->timer < 0)
        die_errno("timerfd_create");
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &event) < 0)
        die_errno("epoll_ctl");
}

static void
client_check(load *run, client *cli, const char *data, size_t len)
{
    if (!cli->busy || len > run->size - cli->received)
        client_fail(run, cli, "the server sent more than it was sent");
    if (cli->received + len > cli->sent)
        client_fail(run, cli, "the server answered before it was asked");
    size_t head = header_len(run);
    if (cli->received < head) {
        size_t part = len < head - cli->received ? len : head - cli->received;
        if (memcmp(data, cli->header + cli->received, part) != 0)
            client_fail(
                run, cli,
                "wrong bytes: the header is another request's or damaged");
        cli->received += part;
        data += part;
        len -= part;
    }
    if (len > 0 && memcmp(data, cli->body + (cli->received - head), len) != 0)
        client_fail(run, cli, "wrong bytes");
    cli->received += len;
}

static void
client_connect(load *run, client *cli, unsigned source)
{
    wire_open(&cli->to, &run->servers[cli->port], source);
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = cli};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, cli->to.fd, &event) < 0)
        die_errno("epoll_ctl");
}

static void
client_finish(load *run, client *cli)
{
    uint64_t now = now_ns();
    latency_add(&run->latencies, now - cli->started_ns);
    run->completed[cli->port]++;
    run->in_flight--;
    run->answered_ns = now;
    cli->busy = false;
    if (run->reconnect) {
        wire_close(&cli->to);
        client_connect(run, cli, 1 + (unsigned)(cli->number % SOURCES));
    }
    if (run->pace_ns != 0)
        pace_start_due(run, now);
    else if (run->may_start > 0)
        client_start(run, cli, now);
}

static void
client_receive(load *run, client *cli)
{
    for (;;) {
        ssize_t got = wire_receive(&cli->to, run->received, RECEIVE_LEN);
        if (got == 0)
            client_fail(run, cli, "the server closed the connection");
        if (got < 0) {
            if (errno == EAGAIN)
                return;
            client_fail(run, cli, strerror(errno));
        }
        client_check(run, cli, run->received, (size_t)got);
        if (cli->received == run->size) {
            client_finish(run, cli);
            return; /* nothing more can have arrived for the old request: it was checked */
        }
        if (got < RECEIVE_LEN && wire_short_is_drained(&cli->to))
            return; /* a new edge follows what comes next */
    }
}

static uint64_t
silence_ns(const load *run)
{
    return (uint64_t)run->silence_ms * 1000000u;
}

static int
wait_ms(const load *run, uint64_t now, uint64_t deadline_ns)
{
    uint64_t until = run->answered_ns + silence_ns(run);
    if (deadline_ns < until && deadline_ns > now)
        until = deadline_ns;
    return until <= now ? 0 : (int)((until - now + 999999) / 1000000);
}

/* Runs until the deadline, or until nothing is in flight and nothing may be started. */
static void
load_run(load *run, uint64_t deadline_ns)
{
    static struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t now = run->answered_ns = now_ns();
    if (run->pace_ns != 0)
        pace_start_due(run, now);
    for (size_t i = 0;
         run->pace_ns == 0 && i < run->connections && run->may_start > 0; i++) {
        if (!run->clients[i].busy)
            client_start(run, &run->clients[i], now);
    }
    while ((run->in_flight > 0 || (run->pace_ns != 0 && run->may_start > 0)) &&
           (now < deadline_ns ||
            (run->wants_answer && run->latencies.count == 0))) {
        int count = epoll_wait(run->epoll, events, EVENTS_AT_ONCE,
                               wait_ms(run, now, deadline_ns));
        if (count < 0 && errno != EINTR)
            die_errno("epoll_wait");
        if (count == 0 && now_ns() - run->answered_ns >= silence_ns(run)) {
            fprintf(stderr,
                    "load: the server has answered nobody for %g seconds\n",
                    (double)run->silence_ms / 1e3);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            client *cli = events[i].data.ptr;
            if (cli == NULL) {
                pace_start_due(run, now_ns());
                continue;
            }
            if (cli->busy && cli->sent < run->size)
                client_send(run, cli);
            if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                client_receive(run, cli);
        }
        now = now_ns();
    }
}

static void
load_connect(load *run)
{
    for (size_t i = 0; i < run->connections; i++) {
        client *cli = &run->clients[i];
        cli->port = i % run->server_count;
        if (getrandom(&cli->nonce, sizeof cli->nonce, 0) != sizeof cli->nonce)
            die_errno("getrandom");
        client_connect(run, cli, 0);
    }
}

static size_t
load_lost(const load *run)
{
    size_t lost = 0;
    uint64_t now = now_ns();
    for (size_t i = 0; i < run->connections; i++) {
        const client *cli = &run->clients[i];
        lost += cli->busy &&
                now - cli->started_ns > UINT64_C(1000000) * LOST_MS;
    }
    return lost;
}

static void
load_init(load *run)
{
    run->clients = calloc(run->connections, sizeof *run->clients);
    run->block = malloc(PLACES + run->size);
    run->received = malloc(RECEIVE_LEN);
    if (run->clients == NULL || run->block == NULL || run->received == NULL)
        die("out of memory");
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        die_errno("getrandom");
    for (size_t i = 0; i < PLACES + run->size; i++)
        run->block[i] = (char)mix(seed + i);
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll < 0)
        die_errno("epoll_create1");
}

/* Says where we are and waits for a line. End of file counts as one. */
static void
step(const char *word)
{
    printf("%s\n", word);
    fflush(stdout);
    char line[64];
    if (fgets(line, sizeof line, stdin) == NULL && ferror(stdin))
        die_errno("stdin");
}

typedef struct {
    pid_t pid;
    pid_t loop_thread;    /* 0: its CPU time is not asked for */
    const char *progress; /* file of progress counters, or NULL */
    long solo_ms;         /* how long the threads are watched alone, twice */
    long
        settle_ms; /* limit for the first answer on every connection; 0: do not wait */
    long warmup_ms;
    long measure_ms;
    uint64_t requests; /* 0: measure by time */
    uint64_t paced;    /* requests a second; 0: as fast as answers come */
    bool step;
} settings;

typedef struct {
    uint64_t at_ns;
    server_cost_sample cost;
    uint64_t loop_cpu_ns;
    progress_sample done;
} moment;

typedef struct {
    moment begin, end;
    moment solo[4]; /* alone: before, from and to; after, from and to */
    uint64_t
        unanswered; /* connections without an answer when settle_ms was over */
} window;

static moment
moment_read(const settings *set, const server_cost *cost, const progress *prog)
{
    moment now = {0};
    if (set->pid != 0)
        now.cost = server_cost_read(cost);
    if (set->loop_thread != 0)
        now.loop_cpu_ns = server_cost_thread_ns(set->pid, set->loop_thread);
    if (set->progress != NULL)
        now.done = progress_read(prog);
    now.at_ns = now_ns();
    return now;
}

/* The part of a CPU that the server had. */
static double
cpu_between(const moment *from, const moment *to)
{
    return (double)(to->cost.cpu_ns - from->cost.cpu_ns) /
           (double)(to->at_ns - from->at_ns);
}

static void
print_progress(const progress *prog, const window *win)
{
    printf(", \"progress\": ");
    progress_print_rates(prog, &win->begin.done, &win->end.done);
    const moment *solo = win->solo;
    if (solo[1].at_ns != 0) {
        printf(", \"solo_before\": ");
        progress_print_rates(prog, &solo[0].done, &solo[1].done);
        printf(", \"solo_after\": ");
        progress_print_rates(prog, &solo[2].done, &solo[3].done);
        printf(", \"solo_cpu\": [%.4f, %.4f]", cpu_between(&solo[0], &solo[1]),
               cpu_between(&solo[2], &solo[3]));
    }
}

static void
print_cost(const server_cost *cost, const window *win)
{
    const server_cost_sample *before = &win->begin.cost,
                             *after = &win->end.cost;
    printf(", \"server_cpu_ns\": %llu",
           (unsigned long long)(after->cpu_ns - before->cpu_ns));
    if (cost->counted)
        printf(", \"server_instructions\": %llu, \"server_cycles\": %llu",
               (unsigned long long)(after->instructions - before->instructions),
               (unsigned long long)(after->cycles - before->cycles));
    else
        printf(", \"no_counters\": \"%s\"", cost->why_not);
}

static void
print_result(const load *run, const settings *set, const window *win,
             const server_cost *cost, const progress *prog)
{
    double seconds = (double)(win->end.at_ns - win->begin.at_ns) / 1e9;
    uint64_t completed = run->latencies.count;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"rate\": %.1f",
           (unsigned long long)completed, seconds, (double)completed / seconds);
    printf(
        ", \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f",
        (double)latency_quantile_ns(&run->latencies, 0.5) / 1e3,
        (double)latency_quantile_ns(&run->latencies, 0.99) / 1e3,
        (double)latency_quantile_ns(&run->latencies, 0.999) / 1e3,
        (double)run->latencies.max_ns / 1e3);
    printf(", \"lost\": %zu", load_lost(run));
    if (run->server_count > 1) {
        for (size_t i = 0; i < run->server_count; i++)
            printf("%s%.1f", i == 0 ? ", \"port_rates\": [" : ", ",
                   (double)run->completed[i] / seconds);
        printf("]");
    }
    if (set->settle_ms != 0)
        printf(", \"unanswered\": %llu", (unsigned long long)win->unanswered);
    if (set->loop_thread != 0)
        printf(", \"loop_cpu_ns\": %llu",
               (unsigned long long)(win->end.loop_cpu_ns -
                                    win->begin.loop_cpu_ns));
    if (set->progress != NULL)
        print_progress(prog, win);
    if (set->pid != 0)
        print_cost(cost, win);
    printf("}\n");
    fflush(stdout);
}

static void
watch_solo(const settings *set, const server_cost *cost, const progress *prog,
           moment *from, moment *to)
{
    struct timespec time = {set->solo_ms / 1000, set->solo_ms % 1000 * 1000000};
    *from = moment_read(set, cost, prog);
    nanosleep(&time, NULL);
    *to = moment_read(set, cost, prog);
}

/* Lets what is in flight come home, closes all connections and gives the server a moment. */
static void
load_disconnect(load *run)
{
    run->may_start = 0;
    load_run(run, now_ns() + GOODBYE_MS * UINT64_C(1000000));
    for (size_t i = 0; i < run->connections; i++)
        wire_close(&run->clients[i].to);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* One request on every connection; how many were not answered in time. */
static uint64_t
load_settle(load *run, long settle_ms)
{
    run->may_start = run->connections;
    load_run(run, now_ns() + (uint64_t)settle_ms * 1000000u);
    return run->in_flight + run->may_start;
}

static void
load_measure(load *run, const settings *set)
{
    server_cost cost;
    progress prog = {0};
    window win = {0};
    if (set->progress != NULL)
        progress_open(&prog, set->progress);
    if (set->pid != 0)
        server_cost_open(&cost, set->pid);
    if (set->solo_ms != 0)
        watch_solo(set, &cost, &prog, &win.solo[0], &win.solo[1]);
    load_connect(run);
    if (set->settle_ms != 0)
        win.unanswered = load_settle(run, set->settle_ms);
    if (set->paced != 0)
        pace_init(run, set->paced);
    run->may_start = set->warmup_ms > 0 ? NO_LIMIT : 0;
    load_run(run, now_ns() + (uint64_t)set->warmup_ms * 1000000u);
    if (set->step || set->requests != 0) {
        run->may_start = 0; /* let what is in flight come home */
        load_run(run, NO_LIMIT);
        if (set->step)
            step("warm");
    }
    run->may_start = set->requests != 0 ? set->requests : NO_LIMIT;
    memset(&run->latencies, 0, sizeof run->latencies);
    memset(run->completed, 0, sizeof run->completed);
    win.begin = moment_read(set, &cost, &prog);
    run->wants_answer = true; /* a figure needs one, however busy the CPU */
    load_run(run, set->requests != 0
                      ? NO_LIMIT
                      : win.begin.at_ns + (uint64_t)set->measure_ms * 1000000u);
    run->wants_answer = false;
    if (set->step) {
        run->may_start = 0;
        load_run(run, NO_LIMIT);
    }
    win.end = moment_read(set, &cost, &prog);
    if (set->step)
        step("done");
    if (set->solo_ms != 0) {
        load copy = *run; /* what is answered from here on is not counted */
        load_disconnect(&copy);
        watch_solo(set, &cost, &prog, &win.solo[2], &win.solo[3]);
    }
    print_result(run, set, &win, &cost, &prog);
}

static const char USAGE[] =
    "usage: load --port N [--port N ...] [--host IPV4] | --unix PATH [--udp] [--tls PEM]\n"
    "            [--connections N] [--size BYTES] [--reconnect]\n"
    "            [--settle-ms N] [--warmup-ms N] [--measure-ms N | --requests N]\n"
    "            [--silence-ms N] [--paced N] [--pid SERVER [--loop-thread ID]] [--step]\n"
    "            [--progress FILE [--solo-ms N]]\n";

static const struct option OPTIONS[] = {
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"unix", required_argument, NULL, 'U'},
    {"udp", no_argument, NULL, 'u'},
    {"tls", required_argument, NULL, 'T'},
    {"connections", required_argument, NULL, 'c'},
    {"size", required_argument, NULL, 's'},
    {"reconnect", no_argument, NULL, 'r'},
    {"silence-ms", required_argument, NULL, 'q'},
    {"settle-ms", required_argument, NULL, 'e'},
    {"warmup-ms", required_argument, NULL, 'w'},
    {"measure-ms", required_argument, NULL, 'm'},
    {"requests", required_argument, NULL, 'n'},
    {"paced", required_argument, NULL, 'a'},
    {"pid", required_argument, NULL, 'i'},
    {"loop-thread", required_argument, NULL, 'l'},
    {"progress", required_argument, NULL, 'g'},
    {"solo-ms", required_argument, NULL, 'o'},
    {"step", no_argument, NULL, 't'},
    {0}};

/* Where and what. Returns whether the option is one of these. */
static bool
take_load_option(load *run, wire_address *server, int opt)
{
    switch (opt) {
    case 'h':
        server->host = optarg;
        return true;
    case 'p':
        if (run->server_count == PORTS)
            die("too many --port");
        run->servers[run->server_count++].port = (uint16_t)number_or_die(
            optarg, 1, 65535);
        return true;
    case 'U':
        server->unix_path = optarg;
        return true;
    case 'u':
        server->udp = true;
        return true;
    case 'T':
        server->tls = tls_context_new(optarg);
        return true;
    case 'c':
        run->connections = (size_t)number_or_die(optarg, 1, 100000);
        return true;
    case 's':
        run->size = (size_t)number_or_die(optarg, 1, 1L << 30);
        return true;
    case 'r':
        run->reconnect = true;
        return true;
    case 'q':
        run->silence_ms = number_or_die(optarg, 1, 3600000);
        return true;
    default:
        return false;
    }
}

/* When, and what to read beside it. Returns whether the option is one of these. */
static bool
take_setting(settings *set, int opt)
{
    switch (opt) {
    case 'e':
        set->settle_ms = number_or_die(optarg, 1, 3600000);
        return true;
    case 'w':
        set->warmup_ms = number_or_die(optarg, 0, 3600000);
        return true;
    case 'm':
        set->measure_ms = number_or_die(optarg, 1, 3600000);
        return true;
    case 'n':
        set->requests = (uint64_t)number_or_die(optarg, 1, 1L << 40);
        return true;
    case 'a':
        set->paced = (uint64_t)number_or_die(optarg, 1, 1000000);
        return true;
    case 'i':
        set->pid = (pid_t)number_or_die(optarg, 1, 1L << 22);
        return true;
    case 'l':
        set->loop_thread = (pid_t)number_or_die(optarg, 1, 1L << 22);
        return true;
    case 'g':
        set->progress = optarg;
        return true;
    case 'o':
        set->solo_ms = number_or_die(optarg, 1, 3600000);
        return true;
    case 't':
        set->step = true;
        return true;
    default:
        return false;
    }
}

static void
set_servers(load *run, const wire_address *server)
{
    if (server->unix_path != NULL)
        run->server_count = 1;
    if (run->server_count == 0)
        die("--port is missing");
    for (size_t i = 0; i < run->server_count; i++) {
        uint16_t port = run->servers[i].port;
        run->servers[i] = *server;
        run->servers[i].port = port;
    }
}

int
main(int argc, char **argv)
{
    static load run = {
        .size = 1024, .connections = 100, .silence_ms = SILENCE_MS};
    wire_address server = {.host = "127.0.0.1"};
    settings set = {.warmup_ms = 300, .measure_ms = 1000};
    for (int opt; (opt = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (!take_load_option(&run, &server, opt) && !take_setting(&set, opt)) {
            fputs(USAGE, stderr);
            return 2;
        }
    }
    set_servers(&run, &server);
    if (set.loop_thread != 0 && set.pid == 0)
        die("--loop-thread needs --pid");
    if (set.solo_ms != 0 && set.progress == NULL)
        die("--solo-ms needs --progress");
    load_init(&run);
    load_measure(&run, &set);
    return 0;
}
