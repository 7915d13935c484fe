/* request.c: memory of the core's own that waits for its callback.
 *
 * A look-up, an attempt to connect, a connection: allocated for an operation and
 * freed by it, or by the loop, if that is freed before.
 *
 * Thread: loop.
 */
#include "loop/loop_i.h"
void
yula__request_add(yula_loop *loop, yula__request *request)
{
    request->next = loop->requests;
    request->link = &loop->requests;
    if (request->next != NULL)
        request->next->link = &request->next;
    loop->requests = request;
}

void
yula__request_remove(yula__request *request)
{
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
}

void
yula__requests_drop(yula_loop *loop)
{
    while (loop->requests != NULL) {
        yula__request *request = loop->requests;
        yula__request_remove(request);
        request->drop(loop, request);
    }
}
