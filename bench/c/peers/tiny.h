/* tiny.h: the least scheduler that a context switch needs to be a program.
 *
 * For peers that are a switch and nothing else (Boost.Context, minicoro): a ready queue, a heap of
 * deadlines, epoll, and a pool of stacks. It is as short as one can be that serves connections,
 * with no cancellation, no guard pages and no checks: what a peer's switch is worth at best.
 *
 * Included once by a program, in C or C++, which has defined
 *
 *     typedef ... tiny_context;
 *     static void tiny_context_init(tiny *co);     first resume calls tiny_body(co)
 *     static void tiny_context_resume(tiny *co);   from the scheduler
 *     static void tiny_context_suspend(tiny *co);  to the scheduler
 *     static void tiny_context_fini(tiny *co);     its stack is given back by tiny.h
 */
#ifndef BENCH_TINY_H
#define BENCH_TINY_H

#include "../die.h"
#include "peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TINY_STACK_LEN = 64 * 1024,
    TINY_STACKS_AT_ONCE = 64,
    TINY_EVENTS_AT_ONCE = 1024
};

typedef struct tiny tiny;
typedef void (*tiny_function)(void *arg);

struct tiny {
    tiny *next; /* in the ready queue */
    tiny *joiner;
    tiny_function function;
    void *arg;
    char *stack;
    int64_t deadline_ns;
    bool ended;
    tiny_context context;
};

static void tiny_context_init(tiny *co);
static void tiny_context_resume(tiny *co);
static void tiny_context_suspend(tiny *co);
static void tiny_context_fini(tiny *co);

/* --- stacks: slabs of address space, never given back; a free one keeps its memory --- */

typedef struct tiny_free_stack {
    struct tiny_free_stack *next;
} tiny_free_stack;

static tiny_free_stack *tiny_free_stacks;

/* The link is at the upper end, which is in memory already. */
static tiny_free_stack *
tiny_stack_link(char *stack)
{
    return (tiny_free_stack *)(void *)(stack + TINY_STACK_LEN -
                                       sizeof(tiny_free_stack));
}

static char *tiny_fresh_stacks;
static int tiny_fresh_count;

static char *
tiny_stack_take(void)
{
    if (tiny_free_stacks != NULL) {
        tiny_free_stack *link = tiny_free_stacks;
        tiny_free_stacks = link->next;
        return (char *)link + sizeof *link - TINY_STACK_LEN;
    }
    if (tiny_fresh_count == 0) {
        size_t len = (size_t)TINY_STACK_LEN * TINY_STACKS_AT_ONCE;
        void *slab = mmap(NULL, len, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (slab == MAP_FAILED)
            return NULL;
        madvise(slab, len, MADV_NOHUGEPAGE);
        tiny_fresh_stacks = (char *)slab;
        tiny_fresh_count = TINY_STACKS_AT_ONCE;
    }
    tiny_fresh_count--;
    char *stack = tiny_fresh_stacks;
    tiny_fresh_stacks += TINY_STACK_LEN;
    return stack;
}

static void
tiny_stack_give(char *stack)
{
    tiny_free_stack *link = tiny_stack_link(stack);
    link->next = tiny_free_stacks;
    tiny_free_stacks = link;
}

/* --- the ready queue --- */

static tiny *tiny_current;
static tiny *tiny_ready_first, *tiny_ready_last;
static uint64_t tiny_living;

static void
tiny_ready(tiny *co)
{
    co->next = NULL;
    if (tiny_ready_first == NULL)
        tiny_ready_first = co;
    else
        tiny_ready_last->next = co;
    tiny_ready_last = co;
}

static void
tiny_suspend(void)
{
    tiny_context_suspend(tiny_current);
}

static void
tiny_yield(void)
{
    tiny_ready(tiny_current);
    tiny_suspend();
}

/* NULL when there is no memory. Freed by tiny_join. */
static tiny *
tiny_spawn(tiny_function function, void *arg)
{
    tiny *co = (tiny *)malloc(sizeof *co);
    if (co == NULL)
        return NULL;
    co->stack = tiny_stack_take();
    if (co->stack == NULL) {
        free(co);
        return NULL;
    }
    co->function = function;
    co->arg = arg;
    co->joiner = NULL;
    co->ended = false;
    tiny_context_init(co);
    tiny_living++;
    tiny_ready(co);
    return co;
}

static void
tiny_join(tiny *co)
{
    if (!co->ended) {
        co->joiner = tiny_current;
        tiny_suspend();
    }
    tiny_context_fini(co);
    tiny_stack_give(co->stack);
    free(co);
}

/* What a coroutine runs. It must not be resumed after it. */
static void
tiny_body(tiny *co)
{
    co->function(co->arg);
    co->ended = true;
    tiny_living--;
    if (co->joiner != NULL)
        tiny_ready(co->joiner);
}

static void
tiny_resume(tiny *co)
{
    tiny_current = co;
    tiny_context_resume(co);
}

/* --- deadlines: a binary heap --- */

static tiny **tiny_heap;
static size_t tiny_heap_count, tiny_heap_space;

static int64_t
tiny_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool
tiny_sleep(int64_t ns)
{
    if (tiny_heap_count == tiny_heap_space) {
        size_t space = tiny_heap_space == 0 ? 1024 : 2 * tiny_heap_space;
        tiny **heap = (tiny **)realloc(tiny_heap, space * sizeof *heap);
        if (heap == NULL)
            return false;
        tiny_heap = heap;
        tiny_heap_space = space;
    }
    tiny *co = tiny_current;
    co->deadline_ns = tiny_now_ns() + ns;
    size_t at = tiny_heap_count++;
    while (at > 0 && tiny_heap[(at - 1) / 2]->deadline_ns > co->deadline_ns) {
        tiny_heap[at] = tiny_heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    tiny_heap[at] = co;
    tiny_suspend();
    return true;
}

/* --- the loop --- */

typedef struct {
    int fd;
    uint32_t ready;  /* EPOLLIN, EPOLLOUT, EPOLLRDHUP ... that have been seen */
    uint32_t wanted; /* which of them the coroutine waits for; 0: none */
    tiny *coroutine;
    size_t buffer_len;
} tiny_socket;

static int tiny_epoll = -1;

static void
tiny_poll(void)
{
    static struct epoll_event events[TINY_EVENTS_AT_ONCE];
    int count = epoll_wait(tiny_epoll, events, TINY_EVENTS_AT_ONCE, -1);
    if (count < 0 && errno != EINTR)
        die_errno("epoll_wait");
    for (int i = 0; i < count; i++) {
        tiny_socket *sock = (tiny_socket *)events[i].data.ptr;
        sock->ready |= events[i].events;
        if ((sock->ready & sock->wanted) != 0) {
            sock->wanted = 0;
            tiny_resume(sock->coroutine);
        }
    }
}

/* Run until every coroutine has ended. */
static void
tiny_run(void)
{
    while (tiny_living > 0) {
        while (tiny_ready_first != NULL) {
            tiny *co = tiny_ready_first;
            tiny_ready_first = co->next;
            tiny_resume(co);
        }
        if (tiny_living > 0)
            tiny_poll();
    }
}

static void
tiny_socket_wait(tiny_socket *sock, uint32_t events)
{
    events |= EPOLLHUP | EPOLLERR;
    if ((sock->ready & events) != 0)
        return;
    sock->wanted = events;
    tiny_suspend();
}

static void
tiny_socket_add(tiny_socket *sock, uint32_t events)
{
    struct epoll_event event;
    event.events = events | EPOLLET;
    event.data.ptr = sock;
    if (epoll_ctl(tiny_epoll, EPOLL_CTL_ADD, sock->fd, &event) < 0)
        die_errno("epoll_ctl");
}

/* --- the programs --- */

static bool
tiny_send_all(tiny_socket *sock, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(sock->fd, data, len, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                return false;
            sock->ready &= ~(uint32_t)EPOLLOUT;
            tiny_socket_wait(sock, EPOLLOUT);
            continue;
        }
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void
tiny_serve(void *arg)
{
    tiny_socket *sock = (tiny_socket *)arg;
    char *buffer = (char *)malloc(sock->buffer_len);
    if (buffer == NULL)
        die("out of memory");
    for (;;) {
        tiny_socket_wait(sock, EPOLLIN | EPOLLRDHUP);
        ssize_t got = recv(sock->fd, buffer, sock->buffer_len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        /* A short read means drained, unless data and FIN came as one event. */
        bool ending = (sock->ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        if (got < 0 || (!ending && (size_t)got < sock->buffer_len))
            sock->ready &= ~(uint32_t)EPOLLIN;
        if (got > 0 && !tiny_send_all(sock, buffer, (size_t)got))
            break;
    }
    free(buffer);
    close(sock->fd);
    free(sock);
}

static void
tiny_accept(void *arg)
{
    tiny_socket *listener = (tiny_socket *)arg;
    for (;;) {
        int fd = accept4(listener->fd, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN)
                die_errno("accept4");
            listener->ready = 0;
            tiny_socket_wait(listener, EPOLLIN);
            continue;
        }
        int on = 1;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
            die_errno("TCP_NODELAY");
        tiny_socket *sock = (tiny_socket *)calloc(1, sizeof *sock);
        if (sock == NULL)
            die("out of memory");
        sock->fd = fd;
        sock->buffer_len = listener->buffer_len;
        sock->coroutine = tiny_spawn(tiny_serve, sock);
        if (sock->coroutine == NULL)
            die("out of memory");
        tiny_socket_add(sock, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    }
}

static void
tiny_echo(int fd, size_t buffer_len)
{
    static tiny_socket listener;
    listener.fd = fd;
    listener.buffer_len = buffer_len;
    tiny_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (tiny_epoll < 0)
        die_errno("epoll_create1");
    tiny_socket_add(&listener, EPOLLIN);
    listener.coroutine = tiny_spawn(tiny_accept, &listener);
    tiny_run();
}

static void
tiny_yielder(void *arg)
{
    for (uint64_t left = *(uint64_t *)arg; left > 0; left--)
        PEER_SWITCHING(tiny_yield());
}

static void
tiny_yields(uint64_t count)
{
    uint64_t each = count / 2;
    tiny *first = tiny_spawn(tiny_yielder, &each);
    tiny *second = tiny_spawn(tiny_yielder, &each);
    if (first == NULL || second == NULL)
        die("out of memory");
    tiny_run();
    tiny_join(first);
    tiny_join(second);
}

static void
tiny_nothing(void *arg)
{
    (void)arg;
}

static void
tiny_spawner(void *arg)
{
    for (uint64_t left = *(uint64_t *)arg; left > 0; left--) {
        tiny *co = tiny_spawn(tiny_nothing, NULL);
        if (co == NULL)
            die("out of memory");
        tiny_join(co);
    }
}

static void
tiny_spawns(uint64_t count)
{
    tiny *spawner = tiny_spawn(tiny_spawner, &count);
    if (spawner == NULL)
        die("out of memory");
    tiny_run();
    tiny_join(spawner);
}

static void
tiny_sleeper(void *arg)
{
    (void)arg;
    peer_sleeping++;
    if (!tiny_sleep(INT64_C(3600) * 1000000000))
        die("out of memory");
}

static void
tiny_sleeps(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (tiny_spawn(tiny_sleeper, NULL) == NULL)
            return;
    }
    while (tiny_ready_first != NULL) {
        tiny *co = tiny_ready_first;
        tiny_ready_first = co->next;
        tiny_resume(co);
    }
    peer_all_sleep();
}

#endif
