/* conn_i.h: a connection, for what sends over it in a way of its own. */
#ifndef YULA__CONN_I_H
#define YULA__CONN_I_H

#include <yula/conn.h>

/* Wait until it is this task's turn to write, and keep the others waiting until
 * yula__conn_release. Returns 0, YULA_ECANCELED, or the socket's error. */
int yula__conn_reserve(yula_conn *conn);
void yula__conn_release(yula_conn *conn);

/* Wait until the queue, or what refused to take more, is empty: after a -EAGAIN of
 * yula__stream_send_file, and nothing else. Returns as yula__conn_reserve. */
int yula__conn_await_drained(yula_conn *conn);

#endif /* YULA__CONN_I_H */
