/* test_program.c: a whole program, interrupted at every wait of its tasks in turn,
 * and left without memory or a system call everywhere.
 *
 * Clients look a name up, connect and ask; a server has a task for each of them,
 * which hands the question to a pool; the pool's tasks compute on worker threads
 * and answer over a channel; a book-keeper adds up, by select, with a deadline.
 * Whatever is interrupted or fails, all of it ends and nothing is left: no
 * memory, no descriptor, no task.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "test.h"

#define CLIENTS 3
#define WORKERS 2
#define SECOND INT64_C(1000000000)

/* A question on its way through the pool, on the stack of who asks it. */
typedef struct question {
    int number;
    int answer;
    yula_event answered;
} question;

typedef struct program {
    yula_loop *loop;
    char port[8];
    int listening;
    yula_queue questions;
    void *slots[1];
    yula_channel *sums; /* of int */
    yula_mutex printer; /* of transcript */
    char transcript[64];
    size_t transcript_len;
    int right; /* answers that clients got */
    int sum;   /* what the book-keeper added up */
} program;

/* --- the pool ------------------------------------------------------------ */

static int
square(void *arg)
{
    question *asked = arg;

    asked->answer = asked->number * asked->number;
    return 0;
}

static void
pool_answer(program *self, question *asked, int answer)
{
    asked->answer = answer;
    yula_event_set(&asked->answered); /* its owner may go on */
    yula_queue_done(&self->questions);
}

/* Take part until the queue is closed, or something fails. */
static int
pool_work(program *self)
{
    void *next;
    int err;

    while ((err = yula_queue_get(&self->questions, &next)) == 0) {
        question *asked = next;
        err = yula_await_work(self->loop, square, asked);
        int answer = err < 0 ? err : asked->answer;
        pool_answer(self, asked, answer);
        if (err == 0)
            err = yula_channel_send(self->sums, &answer);
        if (err < 0)
            return err;
    }
    return err == YULA_EOF ? 0 : err;
}

/* Whoever goes turns the rest away: somebody waits for each answer. */
static int
pool_worker(yula_task *task, void *arg)
{
    program *self = arg;
    void *next;
    int err = pool_work(self);

    yula_queue_close(&self->questions);
    while (yula_queue_try_get(&self->questions, &next) == 0)
        pool_answer(self, next, YULA_ECANCELED);
    return err;
}

/* The pool has the question until it answers, so the wait is shielded: the
 * question lies on our stack. */
static int
pool_ask(program *self, question *asked)
{
    yula_scope shield;

    yula_event_init(self->loop, &asked->answered);
    int err = yula_queue_put(&self->questions, asked);
    if (err < 0)
        return err;
    yula_shield_enter(self->loop, &shield);
    err = yula_event_wait(&asked->answered);
    yula_shield_leave(&shield);
    return err < 0 ? err : asked->answer;
}

/* --- the server and its clients ------------------------------------------ */

static int
serve_client(yula_conn *conn, void *arg)
{
    program *self = arg;
    char *line, answer[16];
    ssize_t len;

    while ((len = yula_conn_read_line(conn, &line)) >= 0) {
        question asked = {.number = atoi(line)};
        int err = pool_ask(self, &asked);
        if (err < 0)
            return err;
        int size = snprintf(answer, sizeof(answer), "%d\n", asked.answer);
        err = yula_conn_write(conn, answer, (size_t)size);
        if (err < 0)
            return err;
    }
    return (int)len;
}

static int
serve(yula_task *task, void *arg)
{
    program *self = arg;

    return yula_conn_serve(self->loop, self->listening, serve_client, self);
}

static int
client_note(program *self)
{
    int err = yula_mutex_lock(&self->printer);

    if (err < 0)
        return err;
    err = yula_task_yield(self->loop); /* across a wait */
    self->transcript[self->transcript_len++] = '.';
    (void)yula_mutex_unlock(&self->printer);
    return err;
}

static int
client_ask(program *self, yula_conn *conn, int number)
{
    char text[16], *line;
    int size = snprintf(text, sizeof(text), "%d\n", number);

    int err = yula_conn_write(conn, text, (size_t)size);
    if (err < 0)
        return err;
    ssize_t len = yula_conn_read_line(conn, &line);
    if (len < 0)
        return (int)len;
    if (atoi(line) != number * number)
        return -EPROTO;
    self->right++;
    return client_note(self);
}

static int
client(yula_task *task, void *arg)
{
    program *self = arg;
    yula_conn *conn;

    int err = yula_conn_connect(self->loop, "localhost", self->port, &conn);
    if (err < 0)
        return err;
    for (int number = 2; number < 4 && err == 0; number++)
        err = client_ask(self, conn, number);
    if (err == 0)
        err = yula_conn_shutdown(conn);
    yula_conn_close(conn);
    return err;
}

/* --- the book-keeper ----------------------------------------------------- */

static int
keep_books(yula_task *task, void *arg)
{
    program *self = arg;

    for (;;) {
        int answer = 0;
        yula_channel_case cases[] = {
            {.channel = self->sums, .op = YULA_CHANNEL_RECV, .item = &answer},
            {.channel = NULL},
        };
        int which = yula_channel_select(
            self->loop, cases, 2, yula_loop_now(self->loop) + 20 * SECOND);
        if (which < 0)
            return which;
        if (cases[which].status < 0)
            return 0; /* closed */
        self->sum += answer;
    }
}

/* --- all of it ----------------------------------------------------------- */

static int
clients_run(program *self)
{
    yula_group clients;
    int err = 0;

    yula_group_enter(self->loop, &clients);
    for (int i = 0; i < CLIENTS && err == 0; i++)
        err = yula_group_spawn(&clients, NULL, client, self, NULL);
    return yula_group_leave(&clients, err);
}

static int
program_main(actor *me, void *arg)
{
    program *self = arg;
    yula_group group;

    yula_queue_init(self->loop, &self->questions, self->slots, 1);
    yula_mutex_init(self->loop, &self->printer);
    int err = yula_channel_new(self->loop, sizeof(int), 0, &self->sums);
    if (err < 0)
        return err;
    yula_group_enter(self->loop, &group);
    for (int i = 0; i < WORKERS && err == 0; i++)
        err = yula_group_spawn(&group, NULL, pool_worker, self, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, keep_books, self, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, serve, self, NULL);
    if (err == 0)
        err = clients_run(self);
    if (err == 0)
        err = yula_queue_join(&self->questions);
    if (err == 0)
        err = yula_task_yield(self->loop);
    yula_group_cancel(&group);
    err = yula_group_leave(&group, err);
    yula_channel_free(self->sums);
    return err;
}

static int listening;

/* What shall fail in it, from the n-th time on; call NULL: allocations, once. */
typedef struct fault {
    const char *call;
    long n; /* 0: nothing */
} fault;

static int
program_run(yula_loop *loop, fault of)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    program self = {.loop = loop, .listening = listening};
    actor main;

    CHECK_EQ(getsockname(listening, (struct sockaddr *)&addr, &addr_len), 0);
    snprintf(self.port, sizeof(self.port), "%d",
             ntohs(((struct sockaddr_in *)&addr)->sin_port));
    actor_start(&main, loop, "main", program_main, &self);
    if (of.call == NULL)
        test_fail_alloc(of.n);
    else
        test_fail_sys_named(of.call, of.n, ECONNRESET);
    int result = actor_end(&main);
    if (result == 0) {
        CHECK_EQ(self.right, 2 * CLIENTS);
        CHECK_EQ(self.transcript_len, 2 * CLIENTS);
    }
    CHECK(self.sum <= CLIENTS * (4 + 9));
    return result;
}

static void
program_round(yula_loop *loop)
{
    (void)program_run(loop, (fault){.n = 0});
}

TEST(the_program_works)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    yula_loop *loop = test_loop();

    listening = test_listen(&addr, &addr_len);
    CHECK_EQ(program_run(loop, (fault){.n = 0}), 0);
    CHECK_EQ(yula_task_count(loop), 0);
    close(listening);
    yula_loop_free(loop);
}

TEST(the_program_ends_and_leaves_nothing_when_any_wait_is_interrupted)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    listening = test_listen(&addr, &addr_len);
    CHECK(actor_interrupt_everywhere(program_round) > 40);
    close(listening);
}

/* Not the write that wakes a loop, which the kernel promises. */
static const char *const calls[] = {
    NULL,         /* allocations */ "accept",
    "connect",    "epoll_ctl",
    "getsockopt", "madvise",
    "mmap",       "recv",
    "send",       "sendmsg",
    "setsockopt", "shutdown",
    "socket",     "thread_start",
};

TEST(the_program_ends_and_leaves_nothing_when_anything_fails)
{
    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct sockaddr_storage addr;
            socklen_t addr_len;
            listening = test_listen(&addr, &addr_len);
            long memory = test_memory_live();
            int fds = test_descriptors();
            yula_loop *loop = test_loop();
            int result = program_run(loop, (fault){.call = calls[c], .n = n});
            failed = calls[c] == NULL ? test_alloc_failed() : test_sys_failed();
            CHECK(failed || result == 0);
            CHECK_EQ(yula_task_count(loop), 0);
            yula_loop_free(loop);
            test_faults_clear();
            CHECK_EQ(test_memory_live(), memory);
            CHECK_EQ(test_descriptors(), fds);
            close(listening);
        }
    }
}
