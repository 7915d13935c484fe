/* test_example_http_server.c: examples/c/http_server, as a user runs it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "support.h"
#include "test.h"

static void
ask(int fd, const char *request)
{
    test_send_all(fd, request, strlen(request));
}

/* Exactly this answer comes next. */
static void
expect(int fd, const char *status, const char *body)
{
    char expected[300], got[300];

    snprintf(expected, sizeof(expected),
             "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             status, strlen(body), body);
    test_recv_all(fd, got, strlen(expected));
    got[strlen(expected)] = '\0';
    CHECK_STR(got, expected);
}

TEST(a_connection_stays_open_from_request_to_request)
{
    server http;
    server_start(&http);
    int fd = server_connect(&http);

    for (int i = 0; i < 3; i++) {
        ask(fd, "GET / HTTP/1.1\r\nHost: here\r\n\r\n");
        expect(fd, "200 OK", "hello\n");
    }
    ask(fd, "GET /nothing HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\n");
    expect(fd, "404 Not Found", "not here\n");
    expect(fd, "405 Method Not Allowed", "only GET\n");
    ask(fd, "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n");
    expect(fd, "200 OK", "hello\n");
    server_expect_end(fd);
    close(fd);
    server_stop(&http, SIGTERM);
}

TEST(a_request_may_come_byte_by_byte)
{
    static const char request[] = "GET / HTTP/1.0\n\n"; /* without \r, too */
    server http;
    server_start(&http);
    int fd = server_connect(&http);

    for (size_t i = 0; i < sizeof(request) - 1; i++)
        test_send_all(fd, &request[i], 1);
    expect(fd, "200 OK", "hello\n");
    server_expect_end(fd); /* as HTTP/1.0 has it */
    close(fd);
    server_stop(&http, SIGTERM);
}

TEST(what_is_no_request_is_refused)
{
    server http;
    server_start(&http);
    static char text[70000];
    int fd = server_connect(&http);

    ask(fd, "hello?\r\n");
    expect(fd, "400 Bad Request", "what?\n");
    server_expect_end(fd);
    close(fd);
    fd = server_connect(&http);
    memset(text, 'x', sizeof(text)); /* a line without end */
    test_send_all(fd, text, sizeof(text));
    expect(fd, "400 Bad Request", "what?\n");
    server_expect_end(fd);
    close(fd);
    server_stop(&http, SIGTERM);
}

TEST(all_loops_count_into_one)
{
    enum {
        COUNT = 40
    };
    server http;
    server_start(&http);
    char total[16];
    int fd;

    for (int i = 0; i < COUNT; i++) {
        fd = server_connect(&http);
        ask(fd, "GET / HTTP/1.0\r\n\r\n");
        expect(fd, "200 OK", "hello\n");
        server_expect_end(fd); /* counted by then */
        close(fd);
    }
    fd = server_connect(&http);
    ask(fd, "GET /served HTTP/1.1\r\n\r\n");
    snprintf(total, sizeof(total), "%d\n", COUNT);
    expect(fd, "200 OK", total);
    close(fd);
    server_stop(&http, SIGTERM);
}

TEST(a_signal_ends_the_server_and_its_connections)
{
    server http;
    server_start(&http);
    int fds[4];

    for (int i = 0; i < 4; i++) {
        fds[i] = server_connect(&http);
        ask(fds[i], "GET / HTTP/1.1\r\n\r\n");
        expect(fds[i], "200 OK", "hello\n");
    }
    server_stop(&http, SIGINT);
    for (int i = 0; i < 4; i++) {
        server_expect_end(fds[i]);
        close(fds[i]);
    }
    server_start(&http);
    server_stop(&http, SIGTERM); /* as soon as it says that it listens */
}
