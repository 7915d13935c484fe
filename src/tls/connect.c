/* connect.c: from a name to a TLS connection; and a task for each that comes.
 * Thread: loop.
 */
#include <yula/scope.h>

#include "tls_i.h"

/* --- out ----------------------------------------------------------------- */

int
yula_tls_connect(yula_tls_context *context, yula_loop *loop, const char *host,
                 const char *service, yula_tls_why *why, yula_tls **out)
{
    yula_conn *conn;
    yula_tls *tls;
    int err = context->server || host == NULL
                  ? -EINVAL
                  : yula_conn_connect(loop, host, service, &conn);

    if (err < 0)
        return yula__tls_say(why, err, yula_strerror(err));
    err = yula_tls_client(context, conn, host, &tls);
    if (err < 0) {
        yula_conn_abort(conn);
        return yula__tls_say(why, err, yula_strerror(err));
    }
    err = yula_tls_handshake(tls);
    if (err == 0) {
        *out = tls;
        return 0;
    }
    if (why != NULL && tls->why.code == err)
        *why = tls->why;
    else
        yula__tls_say(why, err, yula_strerror(err));
    yula_tls_close(tls);
    return err;
}

/* --- in ------------------------------------------------------------------ */

typedef struct tls_service {
    yula_tls_context *context;
    yula_tls_serve_cb cb;
    void *arg;
} tls_service;

/* Nothing is made before the first byte came. */
static int
serve_greet(tls_service *self, yula_conn *conn, yula_tls **out)
{
    int err = yula_conn_wait(conn);

    if (err == 0)
        err = yula_tls_server(self->context, conn, out);
    return err < 0 ? err : yula__tls_shake(*out);
}

static int
serve_one(yula_conn *conn, void *arg)
{
    tls_service *self = arg;
    yula_loop *loop = yula_conn_loop(conn);
    yula_tls *tls = NULL;
    yula_scope scope;
    int err = yula_deadline_enter(loop, &scope,
                                  yula__tls_deadline(self->context, loop));

    if (err < 0)
        return err;
    err = yula_deadline_leave(&scope, serve_greet(self, conn, &tls));
    if (err == 0)
        err = self->cb(tls, self->arg);
    if (tls != NULL)
        yula__tls_drop(tls, true);
    return err;
}

int
yula_tls_serve(yula_tls_context *context, yula_loop *loop, int fd,
               yula_tls_serve_cb cb, void *arg)
{
    tls_service self = {.context = context, .cb = cb, .arg = arg};

    if (!context->server)
        return -EINVAL;
    return yula_conn_serve(loop, fd, serve_one, &self);
}
