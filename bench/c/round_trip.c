/* round_trip.c: what a call on another thread costs at least.
 *
 * A loop thread on epoll and a worker on a futex. The loop hands a function to the
 * worker and waits for it in epoll; the worker calls it and writes to the eventfd.
 * Neither makes a system call it need not: the futex is woken only if the worker
 * sleeps, the eventfd written only if the loop does, and it is edge-triggered, so
 * that it is never read. This is what loop.run_in_executor() is compared with.
 *
 *     round_trip [TRIPS [IN_FLIGHT]]
 *
 * Prints a line of JSON: CPU and wall nanoseconds of a trip, best of five.
 */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "die.h"

enum {
    REPEATS = 5
};

struct trip {
    struct trip *next;
    void (*call)(struct trip *trip);
};

/* Treiber stacks, taken whole: one each way. */
static _Atomic(struct trip *) outbox, inbox;
static atomic_uint worker_asleep;
static atomic_bool loop_asleep, ending;
static int epoll_fd, event_fd;

static bool
push(_Atomic(struct trip *) *stack, struct trip *trip)
{
    struct trip *top = atomic_load(stack);

    do
        trip->next = top;
    while (!atomic_compare_exchange_weak(stack, &top, trip));
    return top == NULL;
}

static void
wake_worker(void)
{
    if (atomic_exchange(&worker_asleep, 0) == 1)
        syscall(SYS_futex, &worker_asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL,
                0);
}

static struct trip *
worker_take(void)
{
    for (;;) {
        struct trip *taken = atomic_exchange(&outbox, NULL);
        if (taken != NULL || atomic_load(&ending))
            return taken;
        atomic_store(&worker_asleep, 1);
        if (atomic_load(&outbox) == NULL && !atomic_load(&ending))
            syscall(SYS_futex, &worker_asleep, FUTEX_WAIT_PRIVATE, 1, NULL,
                    NULL, 0);
        atomic_store(&worker_asleep, 0);
    }
}

static void *
worker_main(void *arg)
{
    static const uint64_t one = 1;
    struct trip *trip;

    while ((trip = worker_take()) != NULL) {
        while (trip != NULL) {
            struct trip *next = trip->next;
            trip->call(trip);
            push(&inbox, trip);
            if (atomic_load(&loop_asleep) &&
                atomic_exchange(&loop_asleep, false) &&
                write(event_fd, &one, sizeof(one)) < 0)
                die_errno("write");
            trip = next;
        }
    }
    return arg;
}

static struct trip *
loop_take(void)
{
    struct epoll_event event;

    for (;;) {
        struct trip *taken = atomic_exchange(&inbox, NULL);
        if (taken != NULL)
            return taken;
        atomic_store(&loop_asleep, true);
        if (atomic_load(&inbox) == NULL &&
            epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno != EINTR)
            die_errno("epoll_wait");
        atomic_store(&loop_asleep, false);
    }
}

static void
call_nothing(struct trip *trip)
{
    (void)trip;
}

/* `trips` calls, `flight` of them at a time. */
static void
make_trips(struct trip *pool, long trips, long flight)
{
    for (long made = 0; made < trips; made += flight) {
        for (long i = 0; i < flight; i++)
            push(&outbox, &pool[i]);
        wake_worker();
        for (long back = 0; back < flight;)
            for (struct trip *trip = loop_take(); trip != NULL;
                 trip = trip->next)
                back++;
    }
}

static double
clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int
main(int argc, char **argv)
{
    long trips = argc > 1 ? number_or_die(argv[1], 1, 100000000) : 20000;
    long flight = argc > 2 ? number_or_die(argv[2], 1, 10000) : 1;
    struct trip *pool = calloc((size_t)flight, sizeof(*pool));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    double cpu_ns = 1e300, wall_ns = 1e300;
    pthread_t worker;

    if (pool == NULL)
        die("out of memory");
    for (long i = 0; i < flight; i++)
        pool[i].call = call_nothing;
    trips = (trips + flight - 1) / flight * flight;
    epoll_fd = epoll_create1(0);
    event_fd = eventfd(0, EFD_NONBLOCK);
    if (epoll_fd < 0 || event_fd < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event) < 0)
        die_errno("epoll");
    if (pthread_create(&worker, NULL, worker_main, NULL) != 0)
        die("no thread could be started");
    make_trips(pool, trips / 10 / flight * flight, flight);
    for (int i = 0; i < REPEATS; i++) {
        double cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        double wall = clock_ns(CLOCK_MONOTONIC);
        make_trips(pool, trips, flight);
        cpu = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)trips;
        wall = (clock_ns(CLOCK_MONOTONIC) - wall) / (double)trips;
        cpu_ns = cpu < cpu_ns ? cpu : cpu_ns;
        wall_ns = wall < wall_ns ? wall : wall_ns;
    }
    printf("{\"trips\": %ld, \"flight\": %ld, \"cpu_ns\": %.1f, "
           "\"wall_ns\": %.1f}\n",
           trips, flight, cpu_ns, wall_ns);
    atomic_store(&ending, true);
    wake_worker();
    pthread_join(worker, NULL);
    free(pool);
    return 0;
}
