/* support.h: loops whose memory is counted and whose clock is driven by hand,
 * failures on demand, and connected sockets.
 */
#ifndef YULA__TEST_SUPPORT_H
#define YULA__TEST_SUPPORT_H

#include <stdint.h>
#include <sys/socket.h>

#include <yula/yula.h>

/* --- loops --------------------------------------------------------------- */

/* Counts what is allocated and not freed; fails on demand. */
extern const yula_allocator test_allocator;
long test_memory_live(void);

/* A loop with test_allocator and the real clock. Fails the test on error. */
yula_loop *test_loop(void);

/* The same, on a clock that stands still at test_now_ns. */
yula_loop *test_loop_by_hand(void);
extern int64_t test_now_ns;
int64_t test_clock(void *arg);

/* A host whose lock is a flag: fails the test unless it is taken and given in
 * turns, and held where the host is asked. */
extern const yula_host test_host;
extern bool test_locked;
extern int test_releases;

/* A loop with test_host, or with a table of the test's own that calls it. The
 * lock is held at first. */
yula_loop *test_loop_with_host(const yula_host *host);

/* Run single turns that do not sleep until *flag is set (by a callback). For
 * what other threads or the kernel will do: sleeps in the poll in between. */
void test_run_until(yula_loop *loop, const bool *flag);

/* One turn that does not sleep, which must succeed; then walk the loop. */
void test_turn(yula_loop *loop);

/* Walk the whole loop and fail the test at the first broken invariant. */
void test_loop_check(yula_loop *loop);

/* --- failures ------------------------------------------------------------ */

/* The n-th allocation or system call from now on fails (0: none). */
void test_fail_alloc(long n);
void test_fail_sys(long n, int error);
/* The same for the calls of one name, all of them from the n-th on. */
void test_fail_sys_named(const char *name, long n, int error);
/* And that one alone. */
void test_fail_sys_once(const char *name, long n, int error);
/* Whether the failure asked for has happened. */
bool test_alloc_failed(void);
bool test_sys_failed(void);
/* Calls of that name since the last test_faults_clear. */
long test_sys_count(const char *name);
void test_faults_clear(void);

/* --- descriptors --------------------------------------------------------- */

/* How many are open in this process. */
int test_descriptors(void);

/* Two connected sockets, non-blocking. */
void test_tcp_pair(int fds[2]);
void test_unix_pair(int fds[2]);

/* A listening socket on a free port of 127.0.0.1, and its address. */
int test_listen(struct sockaddr_storage *addr, socklen_t *addr_len);

/* Send and receive all of it on a non-blocking socket of the test's own,
 * waiting with poll(2). */
void test_send_all(int fd, const void *base, size_t len);
void test_recv_all(int fd, void *base, size_t len);
/* The same with turns of the loop, which plays the other end. */
void test_recv_turning(yula_loop *loop, int fd, void *base, size_t len);
/* Wait until fd has something to report. */
void test_wait_readable(int fd);

#endif /* YULA__TEST_SUPPORT_H */
