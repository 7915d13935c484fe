/* listen.h: what both example servers do with their command line.
 *
 *     server 127.0.0.1 7777      TCP; port 0 lets the system choose
 *     server /tmp/server.sock    a Unix socket
 */
#ifndef EXAMPLE_LISTEN_H
#define EXAMPLE_LISTEN_H

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <yula/yula.h>

/* Returns a listening socket, or a negative code. */
static int
listen_unix(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    strcpy(addr.sun_path, path);
    unlink(path); /* left by a server that was killed */
    int fd = yula_listen_socket((struct sockaddr *)&addr, sizeof(addr), 128);
    if (fd >= 0)
        printf("listening on %s\n", path);
    return fd;
}

/* Returns a listening socket, or a negative code. */
static int
listen_tcp(const char *host, const char *port)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);
    int len = yula_address_parse(host, (uint16_t)atoi(port), AF_UNSPEC, &addr);

    if (len < 0)
        return len; /* not a literal; yula_resolve_start takes names, too */
    int fd = yula_listen_socket((struct sockaddr *)&addr, (socklen_t)len, 128);
    if (fd < 0)
        return fd;
    getsockname(fd, (struct sockaddr *)&addr, &addr_len);
    /* The port lies at the same place in both families. */
    printf("listening on %s %d\n", host,
           ntohs(((struct sockaddr_in *)&addr)->sin_port));
    return fd;
}

/* Listen where the command line says. Says so, or what is wrong, itself.
 * Returns the socket, or -1. */
static int
listen_from_arguments(int argc, char **argv)
{
    int fd;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3)
        fd = listen_tcp(argv[1], argv[2]);
    else if (argc == 2)
        fd = listen_unix(argv[1]);
    else {
        fprintf(stderr, "usage: %s ADDRESS PORT | %s PATH\n", argv[0], argv[0]);
        return -1;
    }
    if (fd >= 0)
        return fd;
    fprintf(stderr, "cannot listen on %s: %s\n", argv[1], yula_strerror(fd));
    return -1;
}

#endif /* EXAMPLE_LISTEN_H */
