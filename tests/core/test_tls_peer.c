/* test_tls_peer.c: TLS connections with another program at the other end, openssl(1);
 * and services: from a name to a connection, and a task for each that comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "test.h"
#include "tls_pair.h"

/* --- openssl(1) ---------------------------------------------------------- */

typedef struct peer {
    pid_t pid;
    int in, out; /* its standard input and output */
} peer;

_Noreturn static void
peer_exec(int in, int out, const char *const *words)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing test leaves nobody behind */
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp(words[0], (char *const *)words);
    _exit(127);
}

static void
peer_start(peer *self, const char *const *words)
{
    int in[2], out[2];

    CHECK_EQ(pipe2(in, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    self->pid = fork();
    CHECK(self->pid >= 0);
    if (self->pid == 0)
        peer_exec(in[0], out[1], words);
    close(in[0]);
    close(out[1]);
    self->in = in[1];
    self->out = out[0];
    CHECK_EQ(fcntl(self->out, F_SETFL, O_NONBLOCK), 0);
}

static void
peer_say(const peer *self, const char *line)
{
    CHECK_EQ(write(self->in, line, strlen(line)), strlen(line));
}

/* Run the loop until the peer has printed this; returns what follows. */
static const char *
peer_says(const peer *self, yula_loop *loop, const char *what)
{
    static char said[65536];
    size_t len = 0;

    for (;;) {
        struct pollfd wait = {.fd = self->out, .events = POLLIN};
        CHECK_EQ(yula_loop_step(loop, 0), 0);
        (void)poll(&wait, 1, 1);
        ssize_t n = read(self->out, said + len, sizeof(said) - 1 - len);
        if (n > 0)
            len += (size_t)n;
        said[len] = '\0';
        char *found = strstr(said, what);
        if (found != NULL && strchr(found, '\n') != NULL)
            return found + strlen(what);
        if (n == 0)
            test_fail(__FILE__, __LINE__, "openssl ended without \"%s\":\n%s",
                      what, said);
    }
}

static void
peer_end(peer *self)
{
    int status;

    close(self->in);
    close(self->out);
    kill(self->pid, SIGTERM);
    CHECK_EQ(waitpid(self->pid, &status, 0), self->pid);
}

static void
skip_without_openssl(void)
{
    if (system("openssl version >/dev/null 2>&1") != 0)
        test_skip("there is no openssl(1)");
}

/* --- our server ---------------------------------------------------------- */

typedef struct service {
    yula_loop *loop;
    yula_tls_context *context;
    actor actor;
    int fd;
    char address[40]; /* 127.0.0.1:port */
    const char *port;
    int served, lines;
    int last; /* what the last read or write of a guest said */
    char version[16];
} service;

static int
answer(yula_tls *tls, void *arg)
{
    service *self = arg;
    char *line;
    ssize_t len;

    self->served++;
    (void)snprintf(self->version, sizeof(self->version), "%s",
                   yula_tls_version(tls));
    while ((len = yula_tls_read_line(tls, &line)) >= 0) {
        char text[300];
        int n = snprintf(text, sizeof(text), "<%.200s>\n", line);
        self->lines++;
        int err = yula_tls_write(tls, text, (size_t)n);
        if (err < 0)
            return self->last = err;
    }
    self->last = (int)len;
    return 0;
}

static int
play_service(actor *player, void *arg)
{
    service *self = arg;

    return yula_tls_serve(self->context, self->loop, self->fd, answer, self);
}

static void
service_start(service *self, yula_loop *loop)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    *self = (service){.loop = loop,
                      .context = tls_server_context("server", NULL)};
    self->fd = test_listen(&addr, &addr_len);
    (void)snprintf(self->address, sizeof(self->address), "127.0.0.1:%d",
                   ntohs(((struct sockaddr_in *)&addr)->sin_port));
    self->port = strchr(self->address, ':') + 1;
    actor_start(&self->actor, loop, "service", play_service, self);
    settle(loop);
}

static void
service_end(service *self)
{
    yula_task_cancel(self->actor.task);
    CHECK_EQ(actor_end(&self->actor), YULA_ECANCELED);
    yula_tls_context_unref(self->context);
    close(self->fd);
    settle(self->loop);
}

static void
check_client_of(const char *version, bool exchange_keys)
{
    yula_loop *loop = test_loop();
    service self;
    peer client;

    service_start(&self, loop);
    peer_start(&client, (const char *const[]){
                            "openssl", "s_client", "-connect", self.address,
                            "-CAfile", tls_file("ca"), "-verify_return_error",
                            "-verify_hostname", "localhost", version, NULL});
    (void)peer_says(&client, loop, "Verify return code: 0");
    peer_say(&client, "hello\n");
    (void)peer_says(&client, loop, "<hello>");
    if (exchange_keys) {
        peer_say(&client, "K\n");
        (void)peer_says(&client, loop, "KEYUPDATE");
        peer_say(&client, "again\n");
        (void)peer_says(&client, loop, "<again>");
    }
    peer_say(&client, "Q\n"); /* close_notify */
    while (self.last == 0)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(self.last, YULA_EOF);
    CHECK_EQ(self.served, 1);
    CHECK_STR(self.version, exchange_keys ? "TLSv1.3" : "TLSv1.2");
    peer_end(&client);
    service_end(&self);
    yula_loop_free(loop);
}

TEST(openssl_is_a_client_of_ours)
{
    skip_without_openssl();
    check_client_of("-tls1_3", true);
    check_client_of("-tls1_2", false);
}

TEST(a_client_that_renegotiates_gets_no_further)
{
    yula_loop *loop = test_loop();
    service self;
    peer client;

    skip_without_openssl();
    service_start(&self, loop);
    peer_start(&client, (const char *const[]){"openssl", "s_client", "-connect",
                                              self.address, "-CAfile",
                                              tls_file("ca"), "-tls1_2", NULL});
    (void)peer_says(&client, loop, "Verify return code: 0");
    peer_say(&client, "hello\n");
    (void)peer_says(&client, loop, "<hello>");
    peer_say(&client, "R\n");
    (void)peer_says(&client, loop, "no renegotiation");
    peer_end(&client);
    service_end(&self);
    yula_loop_free(loop);
}

/* --- our client ---------------------------------------------------------- */

typedef struct visit {
    yula_loop *loop;
    yula_tls_context *context;
    const char *host, *port;
    yula_tls_why why;
    char line[100];
    int finished;
} visit;

static int
play_visit(actor *player, void *arg)
{
    visit *self = arg;
    yula_tls *tls;
    char *line;

    int err = yula_tls_connect(self->context, self->loop, self->host,
                               self->port, &self->why, &tls);
    if (err < 0)
        return err;
    err = yula_tls_write(tls, "hello\n", 6);
    ssize_t len = err < 0 ? err : yula_tls_read_line(tls, &line);
    if (len >= 0)
        (void)snprintf(self->line, sizeof(self->line), "%s", line);
    self->finished = yula_tls_finish(tls, INT64_C(10000000000));
    yula_tls_close(tls);
    return (int)len;
}

static int
visit_play(visit *self)
{
    actor ann;

    actor_start(&ann, self->loop, "ann", play_visit, self);
    return actor_end(&ann);
}

TEST(openssl_is_a_server_for_ours)
{
    yula_loop *loop = test_loop();
    char port[8];
    peer server;

    skip_without_openssl();
    peer_start(&server,
               (const char *const[]){"openssl", "s_server", "-accept",
                                     "127.0.0.1:0", "-cert", tls_file("server"),
                                     "-key", tls_file("server"), "-rev", NULL});
    const char *address = strchr(peer_says(&server, loop, "ACCEPT "), ':');
    CHECK(address != NULL);
    (void)snprintf(port, sizeof(port), "%d", atoi(address + 1));
    visit self = {loop, tls_client_context(NULL), "127.0.0.1", port, {0}, "",
                  0};
    CHECK_EQ(visit_play(&self), 5);
    CHECK_STR(self.line, "olleh");
    self.host = "127.0.0.2"; /* s_server does not listen there */
    CHECK_EQ(visit_play(&self), -ECONNREFUSED);
    CHECK_STR(self.why.text, "Connection refused");
    yula_tls_context_unref(self.context);
    peer_end(&server);
    yula_loop_free(loop);
}

/* --- both ---------------------------------------------------------------- */

TEST(from_a_name_to_a_connection)
{
    yula_loop *loop = test_loop();
    service server;

    service_start(&server, loop);
    visit self = {
        loop, tls_client_context(NULL), "localhost", server.port, {0}, "", 0};
    CHECK_EQ(visit_play(&self), 7);
    CHECK_STR(self.line, "<hello>");
    CHECK_EQ(self.finished, 0);
    self.port = "no-such-service";
    CHECK(visit_play(&self) < 0);
    CHECK(strlen(self.why.text) > 0);
    self.host = NULL;
    CHECK_EQ(visit_play(&self), -EINVAL);
    yula_tls_context_unref(self.context);

    self.context = NULL;
    CHECK_EQ(yula_tls_context_client(NULL, NULL, &self.context), 0);
    self.host = "localhost";
    self.port = server.port;
    CHECK_EQ(visit_play(&self), YULA_ECERT);
    CHECK_EQ(self.why.code, YULA_ECERT);
    CHECK_STR(self.why.text,
              "unable to get local issuer certificate, expected localhost");
    yula_tls_context_unref(self.context);
    settle(loop);
    CHECK_EQ(server.served, 1);
    service_end(&server);
    yula_loop_free(loop);
}

TEST(a_service_goes_on_when_guests_misbehave)
{
    yula_loop *loop = test_loop_by_hand();
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    service server;
    int fds[3];
    char byte;

    service_start(&server, loop);
    addr.sin_port = htons((uint16_t)atoi(server.port));
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)), 0);
        CHECK_EQ(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    }
    /* One says nothing, one begins, one speaks otherwise. */
    test_send_all(fds[1], "\x16\x03\x01", 3);
    test_send_all(fds[2], "HELO you\r\n", 10);
    while (yula_task_count(loop) < 4)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    while (yula_task_count(loop) > 3)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    settle(loop);
    visit self = {
        loop, tls_client_context(NULL), "127.0.0.1", server.port, {0}, "", 0};
    CHECK_EQ(visit_play(&self), 7);
    settle(loop);
    test_now_ns += YULA_TLS_HANDSHAKE_NS;
    while (yula_task_count(loop) > 1)
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    for (int i = 0; i < 2; i++) {
        test_wait_readable(fds[i]);
        CHECK_EQ(recv(fds[i], &byte, 1, 0), i == 0 ? 0 : 0);
    }
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    yula_tls_context_unref(self.context);
    CHECK_EQ(server.served, 1);
    service_end(&server);
    yula_loop_free(loop);
}
