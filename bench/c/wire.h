/* wire.h: a connection of the load client, over whatever it goes: TCP, a Unix socket, UDP, TLS.
 *
 * Sockets are non-blocking. A call that cannot go on now fails with errno EAGAIN, also where TLS
 * has to wait for the peer.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct tls_context tls_context;
typedef struct tls_stream tls_stream;

/* Where to connect to, and how. */
typedef struct {
    const char *host; /* an IPv4 address */
    uint16_t port;
    const char *unix_path; /* instead of host and port, or NULL */
    bool udp;
    tls_context *tls; /* NULL: in the clear */
} wire_address;

typedef struct {
    int fd;
    bool is_datagram;
    tls_stream *tls;
} wire;

/* Connects, or ends the program. source: added to 127.0.0.1 for our own address, so that more
 * connections than one address has ports can be made one after the other; 0: the kernel's choice.
 */
void wire_open(wire *to, const wire_address *address, unsigned source);

void wire_close(wire *at);

/* The bytes of head[from..] followed by body: what the kernel took of them, or -1. */
ssize_t wire_send(wire *at, const char *head, size_t head_len, const char *body,
                  size_t body_len);

/* 0 at the end of the stream, -1 with errno otherwise. */
ssize_t wire_receive(wire *at, char *buffer, size_t len);

/* Whether receiving fewer bytes than asked for means that nothing more is there. */
bool wire_short_is_drained(const wire *at);

#endif
