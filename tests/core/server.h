/* server.h: runs an example server in a process of its own, for its test.
 *
 * The program is named by the environment variable SERVER.
 */
#ifndef YULA__TEST_SERVER_H
#define YULA__TEST_SERVER_H

#include <sys/socket.h>
#include <sys/types.h>

typedef struct server {
    pid_t pid;
    struct sockaddr_storage addr;
    socklen_t addr_len;
} server;

/* Start on a free port of 127.0.0.1, or on a Unix socket; returns when it
 * listens. */
void server_start(server *server);
void server_start_unix(server *server, const char *path);

/* Send a signal and wait for the end, which must be a good one. */
void server_stop(server *server, int number);

/* A new non-blocking connection. */
int server_connect(const server *server);

/* Wait for the end of a connection; what still arrives is dropped. */
void server_expect_end(int fd);

#endif /* YULA__TEST_SERVER_H */
