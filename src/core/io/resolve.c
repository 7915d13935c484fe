/* resolve.c: getaddrinfo and getnameinfo, on workers or at once.
 *
 * libc does the work in both cases, so that the answers, their order and their
 * error codes are libc's; a literal is only a promise that it will not block.
 *
 *  I1. A request is freed when its callback has run and no job of it is out.
 *  I2. status, list and text belong to the worker while the job is out.
 *  I3. Until then it is in the loop's list of requests: it dies with the loop.
 * Thread: loop.
 */
#include <assert.h>
#include <string.h>

#include <yula/resolve.h>

#include "loop/loop_i.h"

struct yula_resolve {
    yula__request request; /* I3 */
    yula_job job;
    yula_work answer; /* reports what needs no worker, and cancellations */
    yula_loop *loop;
    int (*look_up)(yula_resolve *resolve); /* returns EAI_* or 0 */
    void (*report)(yula_resolve *resolve, int status);
    int status;
    bool out;      /* the job is with the workers, or on its way back */
    bool canceled; /* the callback shall say so, or has */
    bool reported;
    void *arg;

    /* names to addresses */
    yula_resolve_cb cb;
    const char *host, *service; /* in text, or NULL */
    bool hinted;
    struct addrinfo hints;
    struct addrinfo *list;

    /* addresses to names: the host in text, the service behind NI_MAXHOST */
    yula_resolve_name_cb name_cb;
    int flags;
    socklen_t addr_len;
    struct sockaddr_storage addr;

    char text[];
};

static void
resolve_free(yula_loop *loop, yula_resolve *resolve)
{
    yula_addrinfo_free(resolve->list);
    yula__free(loop, resolve);
}

static void
resolve_drop(yula_loop *loop, yula__request *request)
{
    resolve_free(loop, yula__container_of(request, yula_resolve, request));
}

static int
resolve_status(int eai)
{
    static_assert(EAI_NONAME < 0, "codes must lie below YULA_EAI_BASE");
    switch (eai) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    default:
        return YULA_EAI_BASE + eai;
    }
}

static void
resolve_look_up(yula_resolve *resolve)
{
    errno = 0;
    resolve->status = resolve_status(resolve->look_up(resolve));
}

static void
resolve_report(yula_resolve *resolve, int status)
{
    resolve->reported = true;
    resolve->report(resolve, resolve->canceled ? YULA_ECANCELED : status);
    if (resolve->out)
        return; /* resolve_done frees it */
    yula__request_remove(&resolve->request);
    resolve_free(resolve->loop, resolve);
}

static void
resolve_answer(yula_work *work, void *arg)
{
    yula_resolve *resolve = arg;

    /* Cancelled, a worker may be writing the status: I2. */
    resolve_report(resolve,
                   resolve->canceled ? YULA_ECANCELED : resolve->status);
}

static void
resolve_run(yula_job *job, void *arg)
{
    resolve_look_up(arg);
}

static void
resolve_done(yula_job *job, int status, void *arg)
{
    yula_resolve *resolve = arg;

    resolve->out = false;
    if (yula__work_queued(&resolve->answer))
        return; /* cancelled, and about to say so */
    if (!resolve->reported) {
        resolve_report(resolve, status != 0 ? status : resolve->status);
        return;
    }
    yula__request_remove(&resolve->request);
    resolve_free(resolve->loop, resolve);
}

static yula_resolve *
resolve_new(yula_loop *loop, yula_lane lane, size_t text_len, void *arg)
{
    yula_resolve *resolve = yula__alloc(loop, sizeof(*resolve) + text_len);

    if (resolve == NULL)
        return NULL;
    *resolve = (yula_resolve){.loop = loop, .arg = arg};
    resolve->request.drop = resolve_drop;
    yula_work_init(&resolve->answer, lane, resolve_answer, resolve);
    return resolve;
}

static int
resolve_go(yula_resolve *resolve, bool at_once)
{
    yula_loop *loop = resolve->loop;

    if (at_once) {
        resolve_look_up(resolve);
        yula_work_queue(loop, &resolve->answer);
    }
    else {
        int err = yula_job_submit(loop, &resolve->job, resolve->answer.lane,
                                  resolve_run, resolve_done, resolve);
        if (err < 0) {
            resolve_free(loop, resolve);
            return err;
        }
        resolve->out = true;
    }
    yula__request_add(loop, &resolve->request);
    return 0;
}

static int
addresses_look_up(yula_resolve *resolve)
{
    return getaddrinfo(resolve->host, resolve->service,
                       resolve->hinted ? &resolve->hints : NULL,
                       &resolve->list);
}

static void
addresses_report(yula_resolve *resolve, int status)
{
    struct addrinfo *list = NULL;

    if (status == 0) { /* else a worker may be writing to it */
        list = resolve->list;
        resolve->list = NULL;
    }
    resolve->cb(resolve, status, list, resolve->arg);
}

static bool
resolve_is_literal(const char *host, const char *service)
{
    struct sockaddr_storage unused;

    if (host == NULL || yula_address_parse(host, 0, AF_UNSPEC, &unused) < 0)
        return false;
    return service == NULL ||
           (*service != '\0' && service[strspn(service, "0123456789")] == '\0');
}

/* Copy text, which may be NULL, to *at and move on. */
static const char *
resolve_copy(char **at, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t len = strlen(text) + 1;
    char *copy = memcpy(*at, text, len);
    *at += len;
    return copy;
}

int
yula_resolve_start(yula_loop *loop, yula_lane lane, const char *host,
                   const char *service, const struct addrinfo *hints,
                   yula_resolve_cb cb, void *arg, yula_resolve **out)
{
    size_t host_len = host != NULL ? strlen(host) + 1 : 0;
    size_t service_len = service != NULL ? strlen(service) + 1 : 0;

    if (host_len > NI_MAXHOST)
        return -EINVAL;
    yula_resolve *resolve = resolve_new(loop, lane, host_len + service_len,
                                        arg);
    if (resolve == NULL)
        return -ENOMEM;
    char *at = resolve->text;
    resolve->look_up = addresses_look_up;
    resolve->report = addresses_report;
    resolve->cb = cb;
    resolve->host = resolve_copy(&at, host);
    resolve->service = resolve_copy(&at, service);
    resolve->hinted = hints != NULL;
    if (hints != NULL) /* getaddrinfo wants the other fields to be zero */
        resolve->hints = (struct addrinfo){.ai_flags = hints->ai_flags,
                                           .ai_family = hints->ai_family,
                                           .ai_socktype = hints->ai_socktype,
                                           .ai_protocol = hints->ai_protocol};
    int err = resolve_go(resolve, resolve_is_literal(host, service));
    if (err == 0)
        *out = resolve;
    return err;
}

static int
names_look_up(yula_resolve *resolve)
{
    return getnameinfo((struct sockaddr *)&resolve->addr, resolve->addr_len,
                       resolve->text, NI_MAXHOST, resolve->text + NI_MAXHOST,
                       NI_MAXSERV, resolve->flags);
}

static void
names_report(yula_resolve *resolve, int status)
{
    bool good = status == 0;

    resolve->name_cb(resolve, status, good ? resolve->text : NULL,
                     good ? resolve->text + NI_MAXHOST : NULL, resolve->arg);
}

int
yula_resolve_name(yula_loop *loop, yula_lane lane, const struct sockaddr *addr,
                  socklen_t addr_len, int flags, yula_resolve_name_cb cb,
                  void *arg, yula_resolve **out)
{
    const int numeric = NI_NUMERICHOST | NI_NUMERICSERV;
    yula_resolve *resolve;

    if (addr_len > sizeof(resolve->addr))
        return -EINVAL;
    resolve = resolve_new(loop, lane, NI_MAXHOST + NI_MAXSERV, arg);
    if (resolve == NULL)
        return -ENOMEM;
    resolve->look_up = names_look_up;
    resolve->report = names_report;
    resolve->name_cb = cb;
    resolve->flags = flags;
    resolve->addr_len = addr_len;
    memcpy(&resolve->addr, addr, addr_len);
    int err = resolve_go(resolve, (flags & numeric) == numeric);
    if (err == 0)
        *out = resolve;
    return err;
}

void
yula_resolve_cancel(yula_resolve *resolve)
{
    if (resolve->reported || resolve->canceled)
        return;
    resolve->canceled = true;
    /* A look-up that runs cannot be stopped, but need not be waited for. */
    if (resolve->out && yula_job_cancel(&resolve->job) < 0)
        yula_work_queue(resolve->loop, &resolve->answer);
}

void
yula_addrinfo_free(struct addrinfo *list)
{
    if (list != NULL)
        freeaddrinfo(list);
}
