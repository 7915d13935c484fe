/* peer_main.c: the command line, the clock and the memory figures of every peer.
 *
 *     peer_NAME about                        what it is and what it can do
 *     peer_NAME echo [--size BYTES]          serve; prints {"port": N, ...} and ends by a signal
 *     peer_NAME change|yield|spawn [--count N] [--repeats N] [--control-words]
 *     peer_NAME sleep [--count N]
 *
 * Each prints one line of JSON. Times are CPU time of the process: what else the machine does
 * must not count.
 */
#include "peer.h"

#include "../die.h"

#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SMALLEST_BUFFER = 4096
};

bool peer_control_words;
uint64_t peer_sleeping;

typedef struct {
    uint64_t rss_kib;
    uint64_t page_tables_kib;
    uint64_t virtual_kib;
} memory;

static memory memory_before;

static uint64_t
status_field(const char *status, const char *name)
{
    const char *found = strstr(status, name);
    return found == NULL ? 0 : strtoull(found + strlen(name), NULL, 10);
}

static memory
memory_now(void)
{
    static char status[8192];
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        die_errno("/proc/self/status");
    status[fread(status, 1, sizeof status - 1, file)] = '\0';
    fclose(file);
    return (memory){.rss_kib = status_field(status, "VmRSS:"),
                    .page_tables_kib = status_field(status, "VmPTE:"),
                    .virtual_kib = status_field(status, "VmSize:")};
}

void
peer_all_sleep(void)
{
    memory now = memory_now();
    printf("{\"peer\": \"%s\", \"count\": %" PRIu64 ", \"rss_bytes\": %" PRIu64
           ", \"page_table_bytes\": %" PRIu64 ", \"virtual_bytes\": %" PRIu64
           "}\n",
           peer_under_test.name, peer_sleeping,
           (now.rss_kib - memory_before.rss_kib) * 1024,
           (now.page_tables_kib - memory_before.page_tables_kib) * 1024,
           (now.virtual_kib - memory_before.virtual_kib) * 1024);
    fflush(stdout);
    _exit(0); /* a million coroutines are not worth tidying up */
}

static void
run_sleep(uint64_t count)
{
    memory_before = memory_now();
    peer_under_test.sleep(count);
    fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 " coroutines, then: %s\n",
            program_invocation_short_name, peer_sleeping, count,
            strerror(errno));
    exit(1);
}

static uint64_t
cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
run_timed(const char *name, void (*operation)(uint64_t), uint64_t count,
          long repeats)
{
    operation(count / 10 + 2);
    double best = 0;
    for (long i = 0; i < repeats; i++) {
        uint64_t began = cpu_ns();
        operation(count);
        double ns = (double)(cpu_ns() - began) / (double)count;
        if (i == 0 || ns < best)
            best = ns;
    }
    printf("{\"peer\": \"%s\", \"operation\": \"%s\", \"ns\": %.3f}\n",
           peer_under_test.name, name, best);
}

static void
run_echo(size_t size)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          0);
    if (listener < 0)
        die_errno("socket");
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("bind");
    if (listen(listener, 4096) < 0)
        die_errno("listen");
    socklen_t addr_len = sizeof addr;
    if (getsockname(listener, (struct sockaddr *)&addr, &addr_len) < 0)
        die_errno("getsockname");
    printf("{\"port\": %d, \"loop\": \"%s\"}\n", ntohs(addr.sin_port),
           peer_under_test.name);
    if (fflush(stdout) != 0)
        die_errno("stdout");
    size_t buffer_len = size + 1 > SMALLEST_BUFFER ? size + 1 : SMALLEST_BUFFER;
    peer_under_test.echo(listener, buffer_len);
    die("the server ended");
}

static void
run_about(void)
{
    const peer *it = &peer_under_test;
    printf(
        "{\"peer\": \"%s\", \"version\": \"%s\", \"saves_control_words\": %s, "
        "\"operations\": [\"about\"%s%s%s%s%s]}\n",
        it->name, it->version, it->saves_control_words ? "true" : "false",
        it->echo != NULL ? ", \"echo\"" : "",
        it->change != NULL ? ", \"change\"" : "",
        it->yield != NULL ? ", \"yield\"" : "",
        it->spawn != NULL ? ", \"spawn\"" : "",
        it->sleep != NULL ? ", \"sleep\"" : "");
}

static _Noreturn void
usage(void)
{
    fprintf(
        stderr,
        "usage: %s about | echo [--size BYTES] | sleep [--count N]\n"
        "       %s change|yield|spawn [--count N] [--repeats N] [--control-words]\n",
        program_invocation_short_name, program_invocation_short_name);
    exit(2);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'c'},
        {"repeats", required_argument, NULL, 'r'},
        {"size", required_argument, NULL, 's'},
        {"control-words", no_argument, NULL, 'w'},
        {0}};
    uint64_t count = 1000000;
    long repeats = 5;
    size_t size = 1024;
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (opt) {
        case 'c':
            count = (uint64_t)number_or_die(optarg, 1, 1L << 40);
            break;
        case 'r':
            repeats = number_or_die(optarg, 1, 1000);
            break;
        case 's':
            size = (size_t)number_or_die(optarg, 1, 1L << 30);
            break;
        case 'w':
            peer_control_words = true;
            break;
        default:
            usage();
        }
    }
    if (optind + 1 != argc)
        usage();
    const char *what = argv[optind];
    const peer *it = &peer_under_test;
    if (strcmp(what, "about") == 0)
        run_about();
    else if (strcmp(what, "echo") == 0 && it->echo != NULL)
        run_echo(size);
    else if (strcmp(what, "sleep") == 0 && it->sleep != NULL)
        run_sleep(count);
    else if (strcmp(what, "change") == 0 && it->change != NULL)
        run_timed(what, it->change, count, repeats);
    else if (strcmp(what, "yield") == 0 && it->yield != NULL)
        run_timed(what, it->yield, count, repeats);
    else if (strcmp(what, "spawn") == 0 && it->spawn != NULL)
        run_timed(what, it->spawn, count, repeats);
    else
        usage();
    return 0;
}
