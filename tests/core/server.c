/* server.c: see server.h. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

_Noreturn static void
exec_server(int output, const char *address, const char *port)
{
    const char *program = getenv("SERVER");

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing test leaves nobody behind */
    dup2(output, STDOUT_FILENO);
    execl(program, program, address, port, (char *)NULL);
    _exit(127);
}

/* Start it and read the line that says where it listens. */
static void
spawn(server *self, const char *address, const char *port, char *line,
      int line_len)
{
    int output[2];

    CHECK(getenv("SERVER") != NULL);
    CHECK_EQ(pipe2(output, O_CLOEXEC), 0);
    self->pid = fork();
    CHECK(self->pid >= 0);
    if (self->pid == 0)
        exec_server(output[1], address, port);
    close(output[1]);
    FILE *file = fdopen(output[0], "r");
    CHECK(file != NULL);
    CHECK(fgets(line, line_len, file) != NULL);
    fclose(file);
}

void
server_start(server *self)
{
    char line[100];
    int port = 0;

    spawn(self, "127.0.0.1", "0", line, sizeof(line));
    CHECK_EQ(sscanf(line, "listening on 127.0.0.1 %d\n", &port), 1);
    self->addr_len = sizeof(struct sockaddr_in);
    CHECK(yula_address_parse("127.0.0.1", (uint16_t)port, AF_INET,
                             &self->addr) > 0);
}

void
server_start_unix(server *self, const char *path)
{
    struct sockaddr_un *addr = (struct sockaddr_un *)&self->addr;
    char line[200];

    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    CHECK(strlen(path) < sizeof(addr->sun_path));
    strcpy(addr->sun_path, path);
    self->addr_len = sizeof(*addr);
    spawn(self, path, NULL, line, sizeof(line));
    CHECK(strstr(line, path) != NULL);
}

void
server_stop(server *self, int number)
{
    int status = -1;

    CHECK_EQ(kill(self->pid, number), 0);
    CHECK_EQ(waitpid(self->pid, &status, 0), self->pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

int
server_connect(const server *self)
{
    int fd = socket(self->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&self->addr, self->addr_len),
             0);
    CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void
server_expect_end(int fd)
{
    char dropped[4096];
    ssize_t n;

    do {
        test_wait_readable(fd);
        n = recv(fd, dropped, sizeof(dropped), 0);
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    CHECK(n == 0 || errno == ECONNRESET);
}
