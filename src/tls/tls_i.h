/* tls_i.h: shared inside libyula-tls.
 *
 * Of libyula nothing is used but what its headers export; coro/intake.c, which
 * knows nothing of the loop, is compiled into both.
 *
 *  I1. OpenSSL is called in steps: begun by yula__tls_begin, ended by
 *      yula__tls_end, and nothing waits in between. So any number of tasks can
 *      take turns, and OpenSSL's queue of errors, which is the thread's, holds
 *      those of one step only.
 *  I2. In a step, what OpenSSL sends is gathered in the loop's read buffer, and
 *      leaves in one piece at the end: one system call a flight. A single
 *      record is sent from where OpenSSL has made it. What it reads comes straight
 *      from the kernel into its buffer.
 *  I3. status is the first failure; every call tells it from then on, but for
 *      reads of what was received before.
 */
#ifndef YULA__TLS_I_H
#define YULA__TLS_I_H

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <yula/tls.h>
#include <yula/sync.h>

#include "coro/intake.h"

struct yula_tls_context {
    atomic_uint refs;
    SSL_CTX *ssl;
    BIO_METHOD *channel;
    unsigned char *alpn; /* as it is sent: lengths and names */
    unsigned alpn_len;
    bool server;
    bool insecure;
    int64_t handshake_ns;
};

struct yula_tls {
    yula_tls_context *context; /* a reference */
    yula_loop *loop;
    yula_conn *conn;
    SSL *ssl;
    char *host; /* a client's; else NULL */
    char *alpn; /* agreed upon, or NULL */

    char *out; /* I2; NULL: no step runs */
    size_t out_len;
    bool single; /* it will be one record, which needs no gathering */
    int io;      /* the socket's failure, as the channel met it */
    bool ended;  /* the socket's end */
    bool more;   /* the kernel may hold more: the last read was full */

    bool shaken;   /* the handshake is done */
    bool reading;  /* a task is in a reading call */
    bool waiting;  /* a task is in yula_conn_wait */
    bool farewell; /* we said goodbye */
    bool over;     /* the peer did */
    int status;    /* I3 */
    yula_tls_why why;
    size_t run; /* bytes read without waiting */
    unsigned
        answers; /* of OpenSSL's, since the queue was last below its mark */

    yula__intake intake;
    yula_mutex writing;  /* who waits to write has it */
    yula_event received; /* for who waits while another is `waiting` */
};

/* OpenSSL's allocator, which a program can exchange. */
extern const yula_allocator yula__tls_allocator;

/* --- why.c --- */
/* Fill in (why may be NULL) and return code; YULA_ETLS becomes -ENOMEM where
 * OpenSSL says that this was the reason. what: text in front, or NULL. Empties
 * OpenSSL's queue of errors. */
int yula__tls_explain(yula_tls_why *why, int code, const char *what);
/* The same for a text of ours. */
int yula__tls_say(yula_tls_why *why, int code, const char *text);

/* --- channel.c --- */
/* A BIO that reads from and writes to the connection; for a context. */
BIO_METHOD *yula__tls_channel_new(void);

/* I1. 0 or -ENOMEM. */
int yula__tls_begin(yula_tls *tls);
/* result: what OpenSSL's function returned, > 0 success. Returns 0; -EAGAIN (it
 * wants to read); YULA_EOF (the peer's goodbye); or the failure, which is noted. */
int yula__tls_end(yula_tls *tls, int result);

/* --- tls.c --- */
/* Wait for the socket. 0, YULA_ECANCELED or -ENOMEM. */
int yula__tls_wait(yula_tls *tls);
/* A handshake without a time limit. */
int yula__tls_shake(yula_tls *tls);
/* When a handshake that begins now must be over. */
int64_t yula__tls_deadline(const yula_tls_context *context, yula_loop *loop);
/* Free; the connection is left alone. goodbye: say it if that can be. */
void yula__tls_drop(yula_tls *tls, bool goodbye);

#endif /* YULA__TLS_I_H */
