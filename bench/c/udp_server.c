/* udp_server.c: the bare limit of UDP. One recvfrom and one sendto a datagram.
 *
 * It blocks in recvfrom: with one socket there is nothing to choose between, and no event loop
 * can do with fewer system calls a datagram. Prints {"port": N, ...} on one line when it is bound.
 * Ends by a signal.
 */
#include "die.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum {
    LARGEST_DATAGRAM = 64 * 1024
};

static int
bound_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die_errno("socket");
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        die_errno("bind");
    socklen_t addr_len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) < 0)
        die_errno("getsockname");
    printf("{\"port\": %d, \"loop\": \"c-recvfrom\"}\n", ntohs(addr.sin_port));
    if (fflush(stdout) != 0)
        die_errno("stdout");
    return fd;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'}, {0}};
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (opt != 's') { /* taken as the other servers take it; not needed */
            fprintf(stderr, "usage: udp_server [--size BYTES]\n");
            return 2;
        }
    }
    static char buffer[LARGEST_DATAGRAM];
    int fd = bound_socket();
    for (;;) {
        struct sockaddr_in from;
        socklen_t from_len = sizeof from;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0,
                               (struct sockaddr *)&from, &from_len);
        if (got < 0) {
            if (errno == EINTR || errno == ECONNREFUSED)
                continue;
            die_errno("recvfrom");
        }
        /* A client that is gone refuses: not our concern. */
        if (sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from,
                   from_len) < 0 &&
            errno != ECONNREFUSED)
            die_errno("sendto");
    }
}
