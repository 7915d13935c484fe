/* cluster.c: N loops on N threads, run and joined as one.
 *
 *  I1. A member's loop is made, run and freed by its own thread. Others post to
 *      it under the lock, and only while member->running.
 *  I2. The task of every member runs, also when it is stopped before it begins;
 *      or, when some member could not be started, that of none.
 *  I3. status is the first failure; it is written under the lock, as is state.
 * Thread: see each function; what members[] and the options say does not change
 * after the start.
 */
#include <yula/cluster.h>

#include <netinet/in.h>
#include <sched.h>
#include <string.h>

#include <yula/listener.h>
#include <yula/task.h>

#include "base/alloc.h"
#include "loop/loop_i.h"

#define CLUSTER_BACKLOG 1024

enum {
    CLUSTER_STARTING,
    CLUSTER_STARTED,
    CLUSTER_REFUSED /* some member could not be started */
};

typedef struct cluster_member {
    yula_member shown; /* to its task */
    pthread_t thread;
    yula_task *task; /* while it runs; its own thread's, as is: */
    bool stopping;
    yula_work stop;
    bool running; /* its loop can be posted to (I1) */
} cluster_member;

struct yula_cluster {
    yula_allocator allocator;
    yula_member_main main;
    void *arg;
    struct sockaddr_storage addr;
    socklen_t addr_len; /* 0: no sockets */
    unsigned count;
    unsigned started; /* threads */

    pthread_mutex_t lock; /* over all that follows */
    pthread_cond_t changed;
    unsigned reported; /* members that have a loop, or could not make one */
    int state;
    bool stopping;
    int status;
    cluster_member members[];
};

/* --- failing and stopping ------------------------------------------------ */

/* Under the lock. */
static void
cluster_stop(yula_cluster *cluster, int status)
{
    if (cluster->status == 0)
        cluster->status = status;
    if (cluster->state == CLUSTER_STARTING)
        cluster->state = CLUSTER_REFUSED;
    pthread_cond_broadcast(&cluster->changed);
    if (cluster->stopping)
        return;
    cluster->stopping = true;
    for (unsigned i = 0; i < cluster->started; i++) {
        cluster_member *member = &cluster->members[i];
        if (member->running)
            yula_work_post(member->shown.loop, &member->stop);
    }
}

static void
cluster_fail(yula_cluster *cluster, int status)
{
    pthread_mutex_lock(&cluster->lock);
    cluster_stop(cluster, status);
    pthread_mutex_unlock(&cluster->lock);
}

void
yula_cluster_stop(yula_cluster *cluster)
{
    cluster_fail(cluster, 0);
}

static void
member_stop(yula_work *work, void *arg)
{
    cluster_member *member = arg;

    member->stopping = true;
    if (member->task != NULL)
        yula_task_cancel(member->task);
}

/* --- a member's thread --------------------------------------------------- */

static int
member_task(yula_task *task, void *arg)
{
    cluster_member *member = arg;
    yula_cluster *cluster = member->shown.cluster;

    member->task = task;
    if (member->stopping)
        yula_task_cancel(task);
    int status = cluster->main(&member->shown, cluster->arg);
    member->task = NULL;
    if (status < 0 && status != YULA_ECANCELED)
        cluster_fail(cluster, status);
    return status;
}

/* Say that the loop is there, or why not; wait for the others.
 * Returns whether to go on. */
static bool
member_report(cluster_member *member, int err)
{
    yula_cluster *cluster = member->shown.cluster;

    pthread_mutex_lock(&cluster->lock);
    if (err < 0)
        cluster_stop(cluster, err);
    member->running = err == 0;
    cluster->reported++;
    pthread_cond_broadcast(&cluster->changed);
    while (cluster->state == CLUSTER_STARTING)
        pthread_cond_wait(&cluster->changed, &cluster->lock);
    bool go_on = cluster->state == CLUSTER_STARTED;
    pthread_mutex_unlock(&cluster->lock);
    return go_on;
}

static void
member_run(cluster_member *member)
{
    yula_cluster *cluster = member->shown.cluster;
    yula_task_options options = {.size = sizeof(options), .name = "member"};
    int err = yula_task_run(member->shown.loop, &options, member_task, member,
                            NULL);

    if (err < 0)
        cluster_fail(cluster, err);
}

static void *
member_main(void *arg)
{
    cluster_member *member = arg;
    yula_cluster *cluster = member->shown.cluster;
    yula_loop_options options = {.size = sizeof(options),
                                 .allocator = &cluster->allocator};

    (void)pthread_setname_np(pthread_self(), "yula-member");
    int err = yula_loop_new(&options, &member->shown.loop);
    if (member_report(member, err))
        member_run(member);
    pthread_mutex_lock(&cluster->lock);
    member->running = false;
    pthread_mutex_unlock(&cluster->lock);
    if (err == 0)
        yula_loop_free(member->shown.loop);
    return NULL;
}

/* --- CPUs ---------------------------------------------------------------- */

static unsigned
cpu_count(cpu_set_t *cpus)
{
    if (sched_getaffinity(0, sizeof(*cpus), cpus) == 0 && CPU_COUNT(cpus) > 0)
        return (unsigned)CPU_COUNT(cpus);
    CPU_ZERO(cpus); /* more CPUs than a cpu_set_t holds */
    return 1;
}

/* The n-th CPU of a set, from the start again when there are fewer. */
static int
cpu_nth(const cpu_set_t *cpus, unsigned n)
{
    n %= (unsigned)CPU_COUNT(cpus);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, cpus) && n-- == 0)
            return cpu;
    }
    return 0;
}

/* A wish: a kernel that refuses leaves the thread where it is. */
static void
member_pin(cluster_member *member, const cpu_set_t *cpus)
{
    cpu_set_t one;

    if (CPU_COUNT(cpus) == 0)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu_nth(cpus, member->shown.index), &one);
    (void)pthread_setaffinity_np(member->thread, sizeof(one), &one);
}

/* --- sockets ------------------------------------------------------------- */

static int
cluster_listen(yula_cluster *cluster, int backlog)
{
    const struct sockaddr *addr = (const struct sockaddr *)&cluster->addr;
    int err = 0;
    int fd = yula__sys_socket(addr->sa_family, SOCK_STREAM, 0);

    if (fd < 0)
        return fd;
    err = yula__sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0)
        err = yula__sys_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (err == 0 && addr->sa_family == AF_INET6)
        err = yula__sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (err == 0)
        err = yula__sys_bind(fd, addr, cluster->addr_len);
    if (err == 0)
        err = yula__sys_listen(fd, backlog);
    if (err == 0)
        return fd;
    yula__sys_close(fd);
    return err;
}

/* The first socket may choose the port for all. */
static int
cluster_listen_all(yula_cluster *cluster, int backlog)
{
    if (cluster->addr_len == 0)
        return 0;
    for (unsigned i = 0; i < cluster->count; i++) {
        int fd = cluster_listen(cluster, backlog);
        if (fd < 0)
            return fd;
        cluster->members[i].shown.listen_fd = fd;
        socklen_t len = sizeof(cluster->addr);
        if (i == 0)
            yula__must(
                getsockname(fd, (struct sockaddr *)&cluster->addr, &len) == 0);
    }
    return 0;
}

int
yula_cluster_address(const yula_cluster *cluster, struct sockaddr *addr,
                     socklen_t *addr_len)
{
    socklen_t len = cluster->addr_len;

    if (len == 0)
        return -ENOENT;
    memcpy(addr, &cluster->addr, len < *addr_len ? len : *addr_len);
    *addr_len = len;
    return 0;
}

/* --- life ---------------------------------------------------------------- */

static int
cluster_check(const yula_cluster_options *options)
{
    if (options->size != sizeof(*options) || options->main == NULL)
        return -EINVAL;
    if (options->addr == NULL)
        return 0;
    if (options->addr_len > sizeof(struct sockaddr_storage))
        return -EINVAL;
    /* Elsewhere SO_REUSEPORT does not share a name. */
    if (options->addr->sa_family != AF_INET &&
        options->addr->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    return 0;
}

static yula_cluster *
cluster_new(const yula_cluster_options *options, unsigned count)
{
    const yula_allocator *allocator = options->allocator;
    yula_cluster *cluster;
    size_t len = sizeof(*cluster) + count * sizeof(cluster->members[0]);

    if (allocator == NULL)
        allocator = &yula__malloc_allocator;
    cluster = yula__allocator_alloc(allocator, len);
    if (cluster == NULL)
        return NULL;
    memset(cluster, 0, len);
    cluster->allocator = *allocator;
    cluster->main = options->main;
    cluster->arg = options->arg;
    cluster->count = count;
    if (options->addr != NULL) {
        memcpy(&cluster->addr, options->addr, options->addr_len);
        cluster->addr_len = options->addr_len;
    }
    yula__must(pthread_mutex_init(&cluster->lock, NULL) == 0);
    yula__must(pthread_cond_init(&cluster->changed, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        cluster_member *member = &cluster->members[i];
        member->shown = (yula_member){
            .cluster = cluster, .index = i, .count = count, .listen_fd = -1};
        yula_work_init(&member->stop, YULA_LANE_NATIVE, member_stop, member);
    }
    return cluster;
}

static void
cluster_free(yula_cluster *cluster)
{
    yula_allocator allocator = cluster->allocator;

    for (unsigned i = 0; i < cluster->count; i++) {
        if (cluster->members[i].shown.listen_fd >= 0)
            yula__sys_close(cluster->members[i].shown.listen_fd);
    }
    pthread_cond_destroy(&cluster->changed);
    pthread_mutex_destroy(&cluster->lock);
    allocator.free(cluster, allocator.arg);
}

static int
cluster_start_threads(yula_cluster *cluster)
{
    sigset_t all, before;
    int err = 0;

    sigfillset(&all);
    yula__must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    while (err == 0 && cluster->started < cluster->count) {
        cluster_member *member = &cluster->members[cluster->started];
        err = yula__sys_thread_start(&member->thread, member_main, member);
        pthread_mutex_lock(&cluster->lock); /* cluster_stop counts them */
        cluster->started += err == 0;
        pthread_mutex_unlock(&cluster->lock);
    }
    yula__must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return err;
}

/* Wait until every member has a loop, and let all of them go on; or none.
 * Returns why none. */
static int
cluster_let_go(yula_cluster *cluster, int err)
{
    pthread_mutex_lock(&cluster->lock);
    if (err < 0)
        cluster_stop(cluster, err);
    while (cluster->state == CLUSTER_STARTING &&
           cluster->reported < cluster->count)
        pthread_cond_wait(&cluster->changed, &cluster->lock);
    if (cluster->state == CLUSTER_STARTING)
        cluster->state = CLUSTER_STARTED;
    else
        err = cluster->status;
    pthread_cond_broadcast(&cluster->changed);
    pthread_mutex_unlock(&cluster->lock);
    return err;
}

int
yula_cluster_start(const yula_cluster_options *options, yula_cluster **out)
{
    cpu_set_t cpus;
    unsigned cpu_total = cpu_count(&cpus);
    int err = cluster_check(options);

    if (err < 0)
        return err;
    yula_cluster *cluster = cluster_new(
        options, options->count > 0 ? options->count : cpu_total);
    if (cluster == NULL)
        return -ENOMEM;
    err = cluster_listen_all(cluster, options->backlog > 0 ? options->backlog
                                                           : CLUSTER_BACKLOG);
    if (err < 0) {
        cluster_free(cluster);
        return err;
    }
    err = cluster_start_threads(cluster);
    for (unsigned i = 0; options->pin && i < cluster->started; i++)
        member_pin(&cluster->members[i], &cpus);
    err = cluster_let_go(cluster, err);
    if (err < 0) {
        (void)yula_cluster_join(cluster);
        return err;
    }
    *out = cluster;
    return 0;
}

int
yula_cluster_join(yula_cluster *cluster)
{
    for (unsigned i = 0; i < cluster->started; i++)
        yula__must(pthread_join(cluster->members[i].thread, NULL) == 0);
    int status = cluster->status;
    cluster_free(cluster);
    return status;
}

int
yula_cluster_run(const yula_cluster_options *options)
{
    yula_cluster *cluster;
    int err = yula_cluster_start(options, &cluster);

    return err < 0 ? err : yula_cluster_join(cluster);
}
