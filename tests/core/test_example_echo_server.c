/* test_example_echo_server.c: examples/c/echo_server, as a user runs it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "support.h"
#include "test.h"

static void
check_echo(int fd, const char *text)
{
    char got[100];
    size_t len = strlen(text);

    test_send_all(fd, text, len);
    test_recv_all(fd, got, len);
    CHECK(memcmp(got, text, len) == 0);
}

TEST(what_is_sent_comes_back)
{
    server echo;

    server_start(&echo);
    int fd = server_connect(&echo);
    check_echo(fd, "hello");
    check_echo(fd, "and again");
    close(fd);
    server_stop(&echo, SIGTERM);
}

TEST(many_clients_each_get_their_own_answers)
{
    enum {
        COUNT = 100
    };
    char text[32];
    int fds[COUNT];
    server echo;

    server_start(&echo);
    for (int i = 0; i < COUNT; i++)
        fds[i] = server_connect(&echo);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(text, sizeof(text), "client %d round %d", i, round);
            check_echo(fds[(i * 37) % COUNT], text);
        }
    }
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    server_stop(&echo, SIGINT);
}

static unsigned char
pattern(size_t at)
{
    return (unsigned char)(at * 31 + at / 257);
}

/* Send and receive at the same time, as the server stops reading from who does
 * not read. */
static void
stream_pattern(int fd, size_t len)
{
    unsigned char out[65536], in[65536];
    size_t sent = 0, received = 0;

    while (received < len) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        if (sent < len)
            entry.events |= POLLOUT;
        CHECK(poll(&entry, 1, -1) == 1);
        if (entry.revents & POLLOUT) {
            size_t count = len - sent < sizeof(out) ? len - sent : sizeof(out);
            for (size_t i = 0; i < count; i++)
                out[i] = pattern(sent + i);
            ssize_t n = send(fd, out, count, MSG_NOSIGNAL);
            CHECK(n > 0 || errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        if (entry.revents & POLLIN) {
            ssize_t n = recv(fd, in, sizeof(in), 0);
            CHECK(n > 0);
            for (ssize_t i = 0; i < n; i++)
                CHECK_EQ(in[i], pattern(received + (size_t)i));
            received += (size_t)n;
        }
    }
}

TEST(ten_million_bytes_come_back_unchanged)
{
    server echo;

    server_start(&echo);
    int fd = server_connect(&echo);
    stream_pattern(fd, 10 * 1000 * 1000);
    close(fd);
    server_stop(&echo, SIGTERM);
}

TEST(what_was_sent_before_the_end_still_comes_back)
{
    static char text[300000];
    server echo;

    memset(text, 'e', sizeof(text));
    server_start(&echo);
    int fd = server_connect(&echo);
    test_send_all(fd, text, sizeof(text));
    CHECK_EQ(shutdown(fd, SHUT_WR), 0);
    memset(text, 0, sizeof(text));
    test_recv_all(fd, text, sizeof(text));
    CHECK_EQ(text[0], 'e');
    CHECK_EQ(text[sizeof(text) - 1], 'e');
    test_wait_readable(fd);
    CHECK_EQ(recv(fd, text, 1, 0), 0);
    close(fd);
    server_stop(&echo, SIGTERM);
}

TEST(a_client_that_reads_nothing_holds_up_nobody)
{
    static char text[65536];
    server echo;

    server_start(&echo);
    int lazy = server_connect(&echo), other = server_connect(&echo);
    /* Until nothing moves any more: both directions are full. */
    for (;;) {
        struct pollfd entry = {.fd = lazy, .events = POLLOUT};
        if (poll(&entry, 1, 200) == 0)
            break;
        (void)!send(lazy, text, sizeof(text), MSG_NOSIGNAL);
    }
    check_echo(other, "still here");
    close(lazy);
    check_echo(other, "and still");
    close(other);
    server_stop(&echo, SIGTERM);
}

TEST(a_signal_ends_the_server_and_its_connections)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    for (int i = 0; i < 2; i++) {
        server echo;
        server_start(&echo);
        int fd = server_connect(&echo);
        check_echo(fd, "hello");
        server_stop(&echo, numbers[i]);
        server_expect_end(fd);
        close(fd);
    }
}

TEST(the_server_listens_on_a_unix_socket)
{
    char path[] = "/tmp/yula-echo-XXXXXX";
    server echo;

    CHECK(mkdtemp(path) != NULL);
    char socket_path[64];
    snprintf(socket_path, sizeof(socket_path), "%s/echo.sock", path);
    for (int round = 0; round < 2; round++) { /* the second finds the file */
        server_start_unix(&echo, socket_path);
        int fd = server_connect(&echo);
        check_echo(fd, "hello");
        stream_pattern(fd, 1000000);
        close(fd);
        server_stop(&echo, SIGTERM);
    }
    CHECK_EQ(unlink(socket_path), 0);
    CHECK_EQ(rmdir(path), 0);
}
