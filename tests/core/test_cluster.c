/* test_cluster.c: N loops on N threads. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

/* Members count; CHECK is for the test's own thread. */
static struct {
    atomic_int begun, ended, wrong;
    atomic_int seen[64];
    atomic_int served;
} tally;

static yula_cluster_options
options_for(yula_member_main main, unsigned count)
{
    memset(&tally, 0, sizeof(tally));
    return (yula_cluster_options){.size = sizeof(yula_cluster_options),
                                  .main = main,
                                  .count = count,
                                  .allocator = &test_allocator};
}

static int
look_around(yula_member *member, void *arg)
{
    sigset_t blocked;

    atomic_fetch_add(&tally.begun, 1);
    atomic_fetch_add(&tally.seen[member->index], 1);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (member->count != 3 || member->listen_fd != -1 ||
        yula_task_current(member->loop) == NULL ||
        !yula_loop_on_own_thread(member->loop) ||
        !sigismember(&blocked, SIGTERM))
        atomic_fetch_add(&tally.wrong, 1);
    return *(int *)arg;
}

TEST(each_member_runs_on_a_loop_and_a_thread_of_its_own)
{
    static const int results[] = {0, 5, YULA_ECANCELED};

    for (int i = 0; i < 3; i++) {
        yula_cluster_options options = options_for(look_around, 3);
        options.arg = (void *)&results[i];
        CHECK_EQ(yula_cluster_run(&options), 0);
        CHECK_EQ(tally.begun, 3);
        CHECK_EQ(tally.wrong, 0);
        for (int member = 0; member < 3; member++)
            CHECK_EQ(tally.seen[member], 1);
    }
}

static int
wait_for_the_end(yula_member *member, void *arg)
{
    yula_event never;

    yula_event_init(member->loop, &never);
    if (atomic_fetch_add(&tally.begun, 1) + 1 == (int)member->count &&
        arg != NULL)
        yula_cluster_stop(member->cluster);
    yula_loop_ref(member->loop); /* others will stop it */
    int err = yula_event_wait(&never);
    yula_loop_unref(member->loop);
    if (err != YULA_ECANCELED)
        atomic_fetch_add(&tally.wrong, 1);
    atomic_fetch_add(&tally.ended, 1);
    return err;
}

TEST(a_stop_cancels_every_member_from_whatever_thread)
{
    yula_cluster_options options = options_for(wait_for_the_end, 4);
    yula_cluster *cluster;

    CHECK_EQ(yula_cluster_start(&options, &cluster), 0);
    yula_cluster_stop(cluster); /* perhaps before any task has begun */
    yula_cluster_stop(cluster);
    CHECK_EQ(yula_cluster_join(cluster), 0);
    CHECK_EQ(tally.ended, 4);
    CHECK_EQ(tally.wrong, 0);

    options = options_for(wait_for_the_end, 4);
    options.arg = &tally; /* the last one to begin stops all */
    CHECK_EQ(yula_cluster_run(&options), 0);
    CHECK_EQ(tally.ended, 4);
    CHECK_EQ(tally.wrong, 0);
}

static int
fail_or_wait(yula_member *member, void *arg)
{
    if (member->index == 2)
        return -EPROTO;
    return wait_for_the_end(member, arg);
}

TEST(a_member_that_fails_stops_the_others_and_is_the_result)
{
    yula_cluster_options options = options_for(fail_or_wait, 4);

    CHECK_EQ(yula_cluster_run(&options), -EPROTO);
    CHECK_EQ(tally.ended, 3);
    CHECK_EQ(tally.wrong, 0);
}

static int
deadlock(yula_member *member, void *arg)
{
    yula_event never;

    yula_event_init(member->loop, &never);
    return yula_event_wait(&never);
}

TEST(a_member_that_waits_for_nothing_that_can_come_fails)
{
    yula_cluster_options options = options_for(deadlock, 1);

    options.allocator = NULL; /* the task is never resumed */
    CHECK_EQ(yula_cluster_run(&options), -EDEADLK);
}

TEST(options_are_checked)
{
    struct sockaddr addr = {.sa_family = AF_UNIX};
    yula_cluster_options options = options_for(look_around, 1);

    options.size--;
    CHECK_EQ(yula_cluster_run(&options), -EINVAL);
    options = options_for(NULL, 1);
    CHECK_EQ(yula_cluster_run(&options), -EINVAL);
    options = options_for(look_around, 1);
    options.addr = &addr;
    options.addr_len = sizeof(addr);
    CHECK_EQ(yula_cluster_run(&options), -EAFNOSUPPORT);
    options.addr_len = 10000;
    CHECK_EQ(yula_cluster_run(&options), -EINVAL);
    CHECK_EQ(tally.begun, 0);
}

static int
count_cpus(yula_member *member, void *arg)
{
    cpu_set_t cpus;

    atomic_fetch_add(&tally.begun, 1);
    if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) != 0 ||
        CPU_COUNT(&cpus) != 1)
        atomic_fetch_add(&tally.wrong, 1);
    return 0;
}

TEST(there_is_a_member_for_each_cpu_and_it_may_be_pinned_to_it)
{
    yula_cluster_options options = options_for(count_cpus, 0);
    cpu_set_t cpus;

    options.pin = true;
    CHECK_EQ(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    CHECK_EQ(yula_cluster_run(&options), 0);
    CHECK_EQ(tally.begun, CPU_COUNT(&cpus));
    CHECK_EQ(tally.wrong, 0);
}

/* --- listening ----------------------------------------------------------- */

/* Says who serves, to each connection, until stopped. */
static int
say_index(yula_member *member, void *arg)
{
    yula_acceptor *acceptor;
    int fd, err = yula_acceptor_new(member->loop, member->listen_fd, &acceptor);

    if (err < 0)
        return err;
    while ((fd = yula_acceptor_accept(acceptor, NULL, NULL)) >= 0) {
        char digit = (char)('0' + member->index);
        if (write(fd, &digit, 1) != 1)
            atomic_fetch_add(&tally.wrong, 1);
        close(fd);
        atomic_fetch_add(&tally.served, 1);
    }
    yula_acceptor_free(acceptor);
    return fd;
}

static int
ask_once(const struct sockaddr_storage *addr, socklen_t addr_len)
{
    char digit = '?';
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)addr, addr_len), 0);
    CHECK_EQ(recv(fd, &digit, 1, MSG_WAITALL), 1);
    close(fd);
    return digit - '0';
}

TEST(all_members_serve_one_port)
{
    static const struct {
        const char *host;
        int family;
    } hosts[] = {{"127.0.0.1", AF_INET}, {"::1", AF_INET6}};

    for (int i = 0; i < 2; i++) {
        yula_cluster_options options = options_for(say_index, 3);
        struct sockaddr_storage addr;
        socklen_t len;
        yula_cluster *cluster;
        int seen[3] = {0};
        int addr_len = yula_address_parse(hosts[i].host, 0, hosts[i].family,
                                          &addr);
        CHECK(addr_len > 0);
        options.addr = (struct sockaddr *)&addr;
        options.addr_len = (socklen_t)addr_len;
        int err = yula_cluster_start(&options, &cluster);
        if (err == -EADDRNOTAVAIL && i == 1)
            break; /* no IPv6 here */
        CHECK_EQ(err, 0);
        len = sizeof(addr);
        CHECK_EQ(yula_cluster_address(cluster, (struct sockaddr *)&addr, &len),
                 0);
        CHECK_EQ(len, addr_len);
        CHECK(((struct sockaddr_in *)&addr)->sin_port != 0);
        /* The kernel chooses by a hash of the ports: one in 3^59 that one of
         * them gets none. */
        for (int n = 0; n < 60; n++)
            seen[ask_once(&addr, len)]++;
        for (int member = 0; member < 3; member++)
            CHECK(seen[member] > 0);
        yula_cluster_stop(cluster);
        CHECK_EQ(yula_cluster_join(cluster), 0);
        CHECK_EQ(tally.served, 60);
        CHECK_EQ(tally.wrong, 0);
    }
}

TEST(without_sockets_there_is_no_address)
{
    yula_cluster_options options = options_for(wait_for_the_end, 1);
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    yula_cluster *cluster;

    CHECK_EQ(yula_cluster_start(&options, &cluster), 0);
    CHECK_EQ(yula_cluster_address(cluster, (struct sockaddr *)&addr, &len),
             -ENOENT);
    yula_cluster_stop(cluster);
    CHECK_EQ(yula_cluster_join(cluster), 0);
}

/* --- failing to start ---------------------------------------------------- */

/* Several threads allocate at once, so that the n-th failure is not always the
 * same one; whatever fails, nothing is left, and no member begins unless all
 * can. */
TEST(a_cluster_that_cannot_start_leaves_nothing_behind)
{
    static const char *const calls[] = {
        NULL,     "socket",       "setsockopt", "bind",
        "listen", "thread_start", "eventfd",    "epoll_create"};
    struct sockaddr_storage addr;
    int addr_len = yula_address_parse("127.0.0.1", 0, AF_INET, &addr);

    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            yula_cluster_options options = options_for(wait_for_the_end, 3);
            yula_cluster *cluster;
            long memory = test_memory_live();
            int fds = test_descriptors();
            options.addr = (struct sockaddr *)&addr;
            options.addr_len = (socklen_t)addr_len;
            if (calls[c] == NULL)
                test_fail_alloc(n);
            else
                test_fail_sys_named(calls[c], n, EMFILE);
            int err = yula_cluster_start(&options, &cluster);
            if (err == 0) {
                yula_cluster_stop(cluster);
                err = yula_cluster_join(cluster); /* a task without memory */
                CHECK(err == 0 || err == -ENOMEM);
            }
            else {
                CHECK_EQ(tally.begun, 0);
                CHECK(err == -ENOMEM || err == -EMFILE);
            }
            failed = calls[c] == NULL ? test_alloc_failed() : test_sys_failed();
            test_faults_clear();
            CHECK_EQ(test_memory_live(), memory);
            CHECK_EQ(test_descriptors(), fds);
            CHECK(failed || err == 0);
        }
    }
}
