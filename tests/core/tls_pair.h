/* tls_pair.h: what the tests of TLS share: certificates made for the run, and two
 * ends of one connection.
 */
#ifndef YULA__TEST_TLS_PAIR_H
#define YULA__TEST_TLS_PAIR_H

#include <yula/tls.h>

#include "actors.h"

/* --- certificates -------------------------------------------------------- */

/* The name of a PEM file with a certificate and its key, made when first asked for;
 * the folder goes with the process. For "localhost", 127.0.0.1 and ::1, issued by
 * "ca" unless the name says otherwise: ca, server, client (long), expired, other (for
 * other.example), localhost (in the subject only), unknown (issued by itself). */
const char *tls_file(const char *name);

/* Contexts that must succeed. name: of the certificate. */
yula_tls_context *tls_server_context(const char *name, const char *const *alpn);
yula_tls_context *tls_client_context(const char *const *alpn);

/* --- pairs --------------------------------------------------------------- */

/* One end. */
typedef struct tls_end {
    yula_tls *tls;
    actor actor;
    int result; /* of the handshake */
} tls_end;

typedef struct tls_pair {
    yula_loop *loop;
    yula_tls_context *contexts[2]; /* references */
    tls_end client, server;
} tls_pair;

/* Connect the two, no more; both contexts are taken over. host: NULL for an insecure
 * client only. */
void tls_join(tls_pair *pair, yula_loop *loop, yula_tls_context *client,
              const char *host, yula_tls_context *server);
/* What an actor plays: the handshake of the tls_end it is given. */
int tls_shake(actor *self, void *arg);
/* The handshake of both. Results in the ends. */
void tls_shake_both(tls_pair *pair);

/* Both; the ends are there also when the handshake failed. */
void tls_meet(tls_pair *pair, yula_loop *loop, yula_tls_context *client,
              const char *host, yula_tls_context *server);
/* The same with the defaults, which must succeed. */
void tls_meet_well(tls_pair *pair, yula_loop *loop);
void tls_part(tls_pair *pair);

/* Play as a task of this end, until its end. Returns the result. */
int tls_play(tls_pair *pair, tls_end *end, int (*play)(actor *self, void *arg),
             int number);

#endif /* YULA__TEST_TLS_PAIR_H */
