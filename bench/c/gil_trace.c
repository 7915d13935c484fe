/* gil_trace.c: how long the main thread waits for CPython's lock, seen from below.
 *
 * Preloaded into a server (LD_PRELOAD). A thread that finds the lock taken waits in
 * pthread_cond_timedwait, again and again, a switch interval at a time; the main thread of a
 * server calls that for nothing else. So the time spent inside, timed here, is the time it
 * waited, whatever the loop itself says of it. Nothing of CPython or of any loop is read.
 *
 * How a wait began is told by what the thread did since it gave the lock up, which is when it
 * signalled a condition last:
 *   own     it went into the kernel (to poll, to read, to stay away): the loop gave the lock up
 *   inside  it did not: bytecode handed the lock over in the middle of a batch
 * A third wait, in pthread_cond_wait, is for the other thread to take what is handed over.
 *
 * The sums are in the file that GIL_TRACE names, a mapped array of 64-bit numbers (ORDER
 * gil_trace: bench/contention/trace.py), there at every moment. CPython 3.11 to 3.14.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    uint64_t waits;
    uint64_t waited_ns;
    uint64_t longest_ns;
} wait_sum;

typedef struct {
    wait_sum own;
    wait_sum inside;
    wait_sum handing_over;
} trace;

static trace nowhere; /* until there is a file */
static trace *sums = &nowhere;

static _Thread_local bool went_into_kernel; /* since the last signal */
static _Thread_local uint64_t
    waited_ns; /* by the take that is under way; 0: none is */

/* The next definition of a function. The cast by way of memory is how POSIX has it done. */
#define NEXT(function, name)                                                   \
    static __typeof__(function) *next;                                         \
    if (next == NULL)                                                          \
    *(void **)&next = dlsym(RTLD_NEXT, name)

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool
is_main_thread(void)
{
    static _Thread_local int known; /* 1: no, 2: yes */
    if (known == 0)
        known = gettid() == getpid() ? 2 : 1;
    return known == 2;
}

static void
wait_add(wait_sum *sum, uint64_t ns, uint64_t whole_ns, bool first)
{
    sum->waits += first;
    sum->waited_ns += ns;
    if (whole_ns > sum->longest_ns)
        sum->longest_ns = whole_ns;
}

/* The bare name may find an old version of the function with another layout of the condition. */
static void *
next_cond(const char *name)
{
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

int
pthread_cond_timedwait(pthread_cond_t *restrict cond,
                       pthread_mutex_t *restrict mutex,
                       const struct timespec *restrict until)
{
    static __typeof__(pthread_cond_timedwait) *next;
    if (next == NULL)
        *(void **)&next = next_cond("pthread_cond_timedwait");
    if (!is_main_thread())
        return next(cond, mutex, until);
    uint64_t began = now_ns();
    int result = next(cond, mutex, until);
    uint64_t took = now_ns() - began;
    bool first = waited_ns == 0;
    waited_ns += took;
    wait_add(went_into_kernel ? &sums->own : &sums->inside, took, waited_ns,
             first);
    return result;
}

int
pthread_cond_wait(pthread_cond_t *restrict cond,
                  pthread_mutex_t *restrict mutex)
{
    static __typeof__(pthread_cond_wait) *next;
    if (next == NULL)
        *(void **)&next = next_cond("pthread_cond_wait");
    if (!is_main_thread())
        return next(cond, mutex);
    uint64_t began = now_ns();
    int result = next(cond, mutex);
    uint64_t took = now_ns() - began;
    wait_add(&sums->handing_over, took, took, true);
    return result;
}

/* CPython signals when it has given the lock up and when it has taken it. */
int
pthread_cond_signal(pthread_cond_t *cond)
{
    static __typeof__(pthread_cond_signal) *next;
    if (next == NULL)
        *(void **)&next = next_cond("pthread_cond_signal");
    went_into_kernel = false;
    waited_ns = 0;
    return next(cond);
}

int
epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    NEXT(epoll_wait, "epoll_wait");
    went_into_kernel = true;
    return next(fd, events, count, timeout_ms);
}

int
epoll_pwait(int fd, struct epoll_event *events, int count, int timeout_ms,
            const sigset_t *mask)
{
    NEXT(epoll_pwait, "epoll_pwait");
    went_into_kernel = true;
    return next(fd, events, count, timeout_ms, mask);
}

int
epoll_pwait2(int fd, struct epoll_event *events, int count,
             const struct timespec *timeout, const sigset_t *mask)
{
    NEXT(epoll_pwait2, "epoll_pwait2");
    went_into_kernel = true;
    return next(fd, events, count, timeout, mask);
}

ssize_t
recv(int fd, void *into, size_t len, int flags)
{
    NEXT(recv, "recv");
    went_into_kernel = true;
    return next(fd, into, len, flags);
}

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
    NEXT(send, "send");
    went_into_kernel = true;
    return next(fd, data, len, flags);
}

int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *span,
                struct timespec *left)
{
    NEXT(clock_nanosleep, "clock_nanosleep");
    went_into_kernel = true;
    return next(clock, flags, span, left);
}

__attribute__((constructor)) static void
trace_open(void)
{
    const char *path = getenv("GIL_TRACE");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(trace), PROT_READ | PROT_WRITE, MAP_SHARED,
                        fd, 0);
    if (mapped != MAP_FAILED)
        sums = mapped;
    close(fd);
}
