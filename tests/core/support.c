/* support.c: see support.h. Counters are atomic: workers allocate, too. */
#include "support.h"

#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/sys.h"
#include "test.h"

/* --- failures ------------------------------------------------------------ */

static atomic_long alloc_left;
static atomic_bool alloc_failed;
static atomic_long sys_left;
static atomic_bool sys_failed;
static int sys_error;
static const char *sys_name;
static bool sys_once;

/* Calls are counted by name in a small table; names are string literals, but
 * may be distinct copies. */
#define SYS_NAMES 32
static struct {
    _Atomic(const char *) name;
    atomic_long count;
} sys_counts[SYS_NAMES];

static void
sys_count(const char *name)
{
    for (int i = 0; i < SYS_NAMES; i++) {
        const char *there = NULL;
        if (atomic_compare_exchange_strong(&sys_counts[i].name, &there, name) ||
            strcmp(there, name) == 0) {
            atomic_fetch_add(&sys_counts[i].count, 1);
            return;
        }
    }
}

static int
sys_hook(const char *name)
{
    sys_count(name);
    if (sys_name != NULL && strcmp(name, sys_name) != 0)
        return 0;
    if (atomic_load(&sys_left) == 0)
        return 0;
    if (atomic_fetch_sub(&sys_left, 1) != 1)
        return 0;
    if (sys_name != NULL && !sys_once)
        atomic_store(&sys_left, 1); /* every further one, too */
    atomic_store(&sys_failed, true);
    return sys_error;
}

void
test_fail_alloc(long n)
{
    atomic_store(&alloc_failed, false);
    atomic_store(&alloc_left, n);
}

void
test_fail_sys_named(const char *name, long n, int error)
{
    atomic_store(&sys_failed, false);
    sys_name = name;
    sys_once = false;
    sys_error = error;
    atomic_store(&sys_left, n);
}

void
test_fail_sys_once(const char *name, long n, int error)
{
    test_fail_sys_named(name, 0, error);
    sys_once = true;
    atomic_store(&sys_left, n);
}

void
test_fail_sys(long n, int error)
{
    test_fail_sys_named(NULL, n, error);
}

bool
test_alloc_failed(void)
{
    return atomic_load(&alloc_failed);
}

bool
test_sys_failed(void)
{
    return atomic_load(&sys_failed);
}

long
test_sys_count(const char *name)
{
    for (int i = 0; i < SYS_NAMES; i++) {
        const char *there = atomic_load(&sys_counts[i].name);
        if (there != NULL && strcmp(there, name) == 0)
            return atomic_load(&sys_counts[i].count);
    }
    return 0;
}

void
test_faults_clear(void)
{
    test_fail_alloc(0);
    test_fail_sys(0, 0);
    for (int i = 0; i < SYS_NAMES; i++)
        atomic_store(&sys_counts[i].count, 0);
    yula__sys_hook = sys_hook;
}

/* --- memory -------------------------------------------------------------- */

static atomic_long live;

long
test_memory_live(void)
{
    return atomic_load(&live);
}

static bool
alloc_fails(void)
{
    if (atomic_load(&alloc_left) == 0 || atomic_fetch_sub(&alloc_left, 1) != 1)
        return false;
    atomic_store(&alloc_failed, true);
    return true;
}

static void *
counted_alloc(size_t len, void *arg)
{
    if (alloc_fails())
        return NULL;
    atomic_fetch_add(&live, 1);
    return malloc(len);
}

static void *
counted_resize(void *memory, size_t len, void *arg)
{
    if (alloc_fails())
        return NULL;
    atomic_fetch_add(&live, memory == NULL);
    return realloc(memory, len);
}

static void
counted_free(void *memory, void *arg)
{
    atomic_fetch_sub(&live, memory != NULL);
    free(memory);
}

const yula_allocator test_allocator = {
    .alloc = counted_alloc,
    .resize = counted_resize,
    .free = counted_free,
};

/* --- loops --------------------------------------------------------------- */

int64_t test_now_ns;

int64_t
test_clock(void *arg)
{
    return test_now_ns;
}

static yula_loop *
loop_with_clock(yula_clock_cb clock)
{
    yula_loop_options options = {
        .size = sizeof(options), .allocator = &test_allocator, .clock = clock};
    yula_loop *loop = NULL;

    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    return loop;
}

yula_loop *
test_loop(void)
{
    return loop_with_clock(NULL);
}

yula_loop *
test_loop_by_hand(void)
{
    test_now_ns = 1000;
    return loop_with_clock(test_clock);
}

bool test_locked;
int test_releases;

static void
flag_release(void *arg)
{
    CHECK(test_locked);
    test_locked = false;
    test_releases++;
}

static void
flag_acquire(void *arg)
{
    CHECK(!test_locked);
    test_locked = true;
}

static int
flag_breathe(void *arg)
{
    CHECK(test_locked);
    return 0;
}

const yula_host test_host = {
    .release = flag_release, .acquire = flag_acquire, .breathe = flag_breathe};

yula_loop *
test_loop_with_host(const yula_host *host)
{
    yula_loop_options options = {
        .size = sizeof(options), .allocator = &test_allocator, .host = host};
    yula_loop *loop = NULL;

    test_locked = true;
    test_releases = 0;
    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    return loop;
}

void
test_run_until(yula_loop *loop, const bool *flag)
{
    while (!*flag)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    test_loop_check(loop);
}

void
test_turn(yula_loop *loop)
{
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    test_loop_check(loop);
}

/* --- descriptors --------------------------------------------------------- */

int
test_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* "." and ".." and the directory itself */

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

int
test_listen(struct sockaddr_storage *addr, socklen_t *addr_len)
{
    CHECK(yula_address_parse("127.0.0.1", 0, AF_INET, addr) > 0);
    int fd = yula_listen_socket((struct sockaddr *)addr,
                                sizeof(struct sockaddr_in), 128);
    CHECK(fd >= 0);
    *addr_len = sizeof(*addr);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)addr, addr_len), 0);
    return fd;
}

void
test_tcp_pair(int fds[2])
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening = test_listen(&addr, &addr_len);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fds[0] >= 0);
    CHECK_EQ(connect(fds[0], (struct sockaddr *)&addr, addr_len), 0);
    test_wait_readable(listening);
    fds[1] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fds[1] >= 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    close(listening);
}

void
test_unix_pair(int fds[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    CHECK_EQ(socketpair(AF_UNIX, type, 0, fds), 0);
}

static void
wait_for(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    while (poll(&entry, 1, -1) < 0)
        CHECK_EQ(errno, EINTR);
}

void
test_wait_readable(int fd)
{
    wait_for(fd, POLLIN);
}

void
test_send_all(int fd, const void *base, size_t len)
{
    const char *at = base;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            wait_for(fd, POLLOUT);
            continue;
        }
        CHECK(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void
test_recv_all(int fd, void *base, size_t len)
{
    char *at = base;

    while (len > 0) {
        ssize_t n = recv(fd, at, len, 0);
        if (n < 0 && errno == EAGAIN) {
            wait_for(fd, POLLIN);
            continue;
        }
        CHECK(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void
test_recv_turning(yula_loop *loop, int fd, void *base, size_t len)
{
    char *at = base;

    while (len > 0) {
        ssize_t n = recv(fd, at, len, MSG_DONTWAIT);
        if (n < 0) {
            CHECK_EQ(errno, EAGAIN);
            CHECK_EQ(yula_loop_step(loop, 0), 0);
            continue;
        }
        CHECK(n > 0);
        at += n;
        len -= (size_t)n;
    }
}
