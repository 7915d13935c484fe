/* cluster.h: N loops on N threads, run and joined as one.
 *
 * Each loop, a member, runs the same function as its first task (by
 * yula_task_run). A member that fails, or yula_cluster_stop, cancels that task
 * in all of them; the cluster is done when every loop has run out of tasks. Members share nothing but what the program lets
 * them share; messages between them go through mailboxes (mailbox.h).
 *
 *     static int
 *     serve(yula_member *member, void *arg)
 *     {
 *         ... accept on member->listen_fd until that returns YULA_ECANCELED
 *     }
 *
 *     yula_cluster_options options = {
 *         .size = sizeof(options), .main = serve, .addr = addr, ...};
 *     int err = yula_cluster_run(&options);
 */
#ifndef YULA_CLUSTER_H
#define YULA_CLUSTER_H

#include <sys/socket.h>

#include <yula/loop.h>

YULA_BEGIN

typedef struct yula_cluster yula_cluster;

/* What a member's task is given; the library's, until the cluster is joined. */
typedef struct yula_member {
    yula_cluster *cluster;
    yula_loop *loop;
    unsigned index; /* 0 to count - 1 */
    unsigned count; /* of all members */
    int listen_fd;  /* its own listening socket, closed at the end; or -1 */
} yula_member;

/* The task of a member. 0 and YULA_ECANCELED are good ends: the other members
 * go on; any other negative code stops them all. */
typedef int (*yula_member_main)(yula_member *member, void *arg);

/* Zeroed means defaults. Checked through size = sizeof(options). */
typedef struct yula_cluster_options {
    size_t size;
    yula_member_main main; /* required */
    void *arg;             /* borrowed until the cluster is joined */
    unsigned count;        /* of loops; 0: one for each CPU we may run on */
    bool pin;              /* each thread to a CPU of its own */
    /* Where to listen: every member gets a socket of its own bound there with
     * SO_REUSEPORT, and the kernel spreads the connections. TCP only; copied.
     * NULL: no sockets. Port 0: the system chooses one for all. */
    const struct sockaddr *addr;
    socklen_t addr_len;
    int backlog;                     /* 0: 1024 */
    const yula_allocator *allocator; /* for all loops; copied; NULL: malloc */
    void *reserved[8];
} yula_cluster_options;

/* Make the sockets, the loops and the threads; each member's task starts at
 * once. When anything fails nothing is left behind.
 *
 * The threads block all signals, as worker threads do; a member that wants
 * some awaits them (await.h).
 *
 * Returns 0, -EINVAL (options of an unknown size, no main), -ENOMEM, -EAGAIN (no
 * thread), or what making a socket or a loop returned.
 * Thread: any.  Blocks: no.  Calls back: no (main runs on other threads).
 * GIL: not used.
 */
YULA_API int yula_cluster_start(const yula_cluster_options *options,
                                yula_cluster **out);

/* Cancel the task of every member, once. It ends in its own time; what else runs
 * on its loop is cancelled when it has.
 *
 * Thread: any, also a member's; until yula_cluster_join returns.  Blocks: no.
 * Calls back: no.  GIL: not used.
 */
YULA_API void yula_cluster_stop(yula_cluster *cluster);

/* Wait until all members have ended, and free the cluster.
 *
 * Returns 0, or the code of the member that failed first.
 * Thread: the one that started it.  Blocks: until they ended.  Calls back: no.
 * GIL: not used.
 */
YULA_API int yula_cluster_join(yula_cluster *cluster);

/* Start and join.
 *
 * Returns as yula_cluster_start and yula_cluster_join do.
 * Thread: any.  Blocks: until all have ended.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_cluster_run(const yula_cluster_options *options);

/* The address that the members listen on (with the port that was chosen), or
 * -ENOENT without sockets.
 *
 * addr  receives the address; *addr_len is its room before and its length after.
 *
 * Thread: any, until yula_cluster_join.  Blocks: no.  Calls back: no.
 */
YULA_API int yula_cluster_address(const yula_cluster *cluster,
                                  struct sockaddr *addr, socklen_t *addr_len);

YULA_END

#endif /* YULA_CLUSTER_H */
