/* datagram.c: datagrams: batches received with remembered readiness, sent at
 * once or queued.
 *
 *  I1. The descriptor is registered once, edge-triggered; `readable` says that
 *      a call may find something, and is cleared only by proof: EAGAIN, or a
 *      batch that is not full. (An error behind the first datagram of a batch is
 *      told by the next call; the kernel has reported an event for it.)
 *  I2. A batch belongs to the socket until all of it is delivered, then to the
 *      loop. A nested turn goes on where the outer one was; it receives into
 *      another batch, because the outer one's bytes are being looked at (depth).
 *  I3. Something is queued only after the kernel refused; while it is, WRITABLE
 *      is asked for, and nothing overtakes it.
 *  I4. After yula_datagram_free fd is -1 and no callback runs; the memory goes
 *      when no callback is on the stack any more.
 * Thread: loop.
 *
 * sendmmsg for what one batch makes its owner send was measured and left out:
 * no difference at 16 datagrams, while errors and answers come later.
 */
#include <yula/datagram.h>

#include <string.h>

#include "loop/loop_i.h"

/* Queued datagrams sent in a turn, at most. */
#define DATAGRAM_SEND_BUDGET 64

/* A Unix socket that is not connected counts as writable while its receiver's
 * queue is full: asked again after so long, instead of in every turn. */
#define DATAGRAM_RETRY_NS INT64_C(1000000)

/* UDP's longest, rounded up. */
#define DATAGRAM_INET_MAX 65536u

#define DATAGRAM_BLOCK ((size_t)DATAGRAM_INET_MAX * YULA_DATAGRAM_BATCH)

/* Most of it is never touched: pages that no datagram reached. */
struct yula__datagram_batch {
    unsigned at, count; /* delivered, received */
    unsigned depth;     /* deliveries on the stack */
    size_t slot_len;    /* what the pieces are laid out for */
    struct mmsghdr messages[YULA_DATAGRAM_BATCH];
    struct iovec pieces[YULA_DATAGRAM_BATCH];
    struct sockaddr_storage senders[YULA_DATAGRAM_BATCH];
    char bytes[DATAGRAM_BLOCK];
};

typedef struct unsent {
    struct unsent *next;
    size_t len;
    socklen_t addr_len;
    struct sockaddr_storage addr;
    char bytes[];
} unsent;

struct yula_datagram {
    yula_watcher watcher;
    yula_timer retry;
    yula_work grave;
    yula_loop *loop;
    const yula_datagram_ops *ops;
    void *arg;
    int fd; /* -1 once freed */
    bool reading;
    bool readable;
    bool pressed;
    size_t slot_len;             /* longest datagram that is received whole */
    yula__datagram_batch *batch; /* with something to deliver, or NULL */
    unsent *first, **last;       /* I3 */
    size_t queued;
    size_t low, high;
};

/* --- batches ------------------------------------------------------------- */

static void
batch_lay_out(yula__datagram_batch *batch, size_t slot_len)
{
    batch->slot_len = slot_len;
    for (unsigned i = 0; i < DATAGRAM_BLOCK / slot_len; i++) {
        batch->pieces[i].iov_base = batch->bytes + i * slot_len;
        batch->pieces[i].iov_len = slot_len;
        batch->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->senders[i],
            .msg_namelen = sizeof(batch->senders[i]),
            .msg_iov = &batch->pieces[i],
            .msg_iovlen = 1,
        };
    }
}

static yula__datagram_batch *
batch_take(yula_datagram *datagram)
{
    yula_loop *loop = datagram->loop;
    yula__datagram_batch *batch = loop->datagram_batch;

    loop->datagram_batch = NULL;
    if (batch == NULL) {
        batch = yula__alloc(loop, sizeof(*batch));
        if (batch == NULL)
            return NULL;
        batch->slot_len = 0;
    }
    batch->at = batch->count = batch->depth = 0;
    if (batch->slot_len != datagram->slot_len)
        batch_lay_out(batch, datagram->slot_len);
    return batch;
}

static void
batch_put(yula_loop *loop, yula__datagram_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        batch->messages[i].msg_hdr.msg_namelen = sizeof(batch->senders[i]);
    if (loop->datagram_batch == NULL)
        loop->datagram_batch = batch;
    else
        yula__free(loop, batch);
}

/* The socket has no batch any more; whoever delivers it still puts it back. */
static void
datagram_drop_batch(yula_datagram *datagram)
{
    yula__datagram_batch *batch = datagram->batch;

    datagram->batch = NULL;
    if (batch != NULL && batch->depth == 0)
        batch_put(datagram->loop, batch);
}

/* --- receiving ----------------------------------------------------------- */

/* Fill a batch. Returns whether there is something to deliver. */
static bool
datagram_receive(yula_datagram *datagram)
{
    yula__datagram_batch *batch = batch_take(datagram);
    int n = -ENOMEM;

    if (batch != NULL) {
        unsigned room = (unsigned)(DATAGRAM_BLOCK / datagram->slot_len);
        n = yula__sys_recvmmsg(datagram->fd, batch->messages, room);
        if (n > 0) {
            batch->count = (unsigned)n;
            datagram->batch = batch;
            if (batch->count < room)
                datagram->readable = false;
            return true;
        }
        batch_put(datagram->loop, batch);
    }
    if (n == -EAGAIN)
        datagram->readable = false;
    else
        datagram->ops->failed(datagram, n, false, datagram->arg);
    return false;
}

static bool
datagram_has_batch(const yula_datagram *datagram)
{
    return datagram->batch != NULL &&
           datagram->batch->at < datagram->batch->count;
}

/* One callback of ours stands for many of the owner's: what each defers is done
 * before the next. Returns whether to go on. */
static bool
datagram_between(yula_datagram *datagram)
{
    yula__ready_run_deferred(datagram->loop);
    return datagram->reading && datagram->loop->break_status == 0;
}

static void
datagram_deliver(yula_datagram *datagram)
{
    yula_loop *loop = datagram->loop;
    yula__datagram_batch *batch = datagram->batch;

    batch->depth++;
    do {
        unsigned i = batch->at++;
        const struct msghdr *header = &batch->messages[i].msg_hdr;
        loop->resume = &datagram->watcher.work; /* I2 */
        datagram->ops->received(datagram, batch->pieces[i].iov_base,
                                batch->messages[i].msg_len, header->msg_name,
                                header->msg_namelen, datagram->arg);
        loop->resume = NULL;
    } while (datagram_between(datagram) && datagram->batch == batch &&
             batch->at < batch->count);
    if (--batch->depth > 0)
        return;
    if (datagram->batch != batch)
        batch_put(loop, batch);
    else if (batch->at == batch->count)
        datagram_drop_batch(datagram);
}

static void
datagram_read(yula_datagram *datagram)
{
    if (datagram_has_batch(datagram)) {
        datagram_deliver(datagram);
    }
    else {
        datagram_drop_batch(datagram); /* an outer delivery's, used up */
        if (datagram_receive(datagram))
            datagram_deliver(datagram);
    }
    if (datagram->reading &&
        (datagram->readable || datagram_has_batch(datagram)))
        yula_watcher_again(&datagram->watcher, 0);
}

void
yula_datagram_start(yula_datagram *datagram)
{
    datagram->reading = true;
    if (datagram->readable || datagram_has_batch(datagram))
        yula_watcher_again(&datagram->watcher, 0);
}

void
yula_datagram_stop(yula_datagram *datagram)
{
    datagram->reading = false;
}

/* --- sending ------------------------------------------------------------- */

static int
datagram_want_writable(yula_datagram *datagram, bool wanted)
{
    unsigned interest = YULA_READABLE | YULA_EDGE;
    if (wanted)
        interest |= YULA_WRITABLE;
    if (interest == datagram->watcher.interest)
        return 0;
    return yula_watcher_modify(&datagram->watcher, interest);
}

void
yula_datagram_drop(yula_datagram *datagram)
{
    unsent *next = datagram->first;

    datagram->first = NULL;
    datagram->last = &datagram->first;
    datagram->queued = 0;
    while (next != NULL) {
        unsent *item = next;
        next = item->next;
        yula__free(datagram->loop, item);
    }
}

static int
datagram_push(yula_datagram *datagram, const void *base, size_t len,
              const struct sockaddr *addr, socklen_t addr_len)
{
    if (addr_len > sizeof(struct sockaddr_storage))
        return -EINVAL;
    unsent *item = yula__alloc(datagram->loop, sizeof(*item) + len);
    if (item == NULL)
        return -ENOMEM;
    int err = datagram_want_writable(datagram, true);
    if (err < 0) {
        yula__free(datagram->loop, item);
        return err;
    }
    item->next = NULL;
    item->len = len;
    item->addr_len = addr != NULL ? addr_len : 0;
    if (item->addr_len > 0)
        memcpy(&item->addr, addr, item->addr_len);
    if (len > 0)
        memcpy(item->bytes, base, len);
    *datagram->last = item;
    datagram->last = &item->next;
    datagram->queued += len + YULA_DATAGRAM_WEIGHT;
    return 0;
}

static void
datagram_check_high(yula_datagram *datagram)
{
    if (datagram->pressed || datagram->queued <= datagram->high)
        return;
    datagram->pressed = true;
    if (datagram->ops->pressure != NULL)
        datagram->ops->pressure(datagram, true, datagram->arg);
}

int
yula_datagram_send(yula_datagram *datagram, const void *base, size_t len,
                   const struct sockaddr *addr, socklen_t addr_len)
{
    if (datagram->first == NULL) {
        ssize_t n = yula__sys_sendto(datagram->fd, base, len, addr,
                                     addr != NULL ? addr_len : 0);
        if (n != -EAGAIN)
            return n < 0 ? (int)n : 0;
    }
    int err = datagram_push(datagram, base, len, addr, addr_len);
    if (err == 0)
        datagram_check_high(datagram);
    return err;
}

/* Send the first of the queue, if the kernel takes it. Returns 0, -EAGAIN
 * (it stays), or why it was dropped. */
static int
datagram_send_first(yula_datagram *datagram)
{
    unsent *item = datagram->first;
    ssize_t n = yula__sys_sendto(
        datagram->fd, item->bytes, item->len,
        item->addr_len > 0 ? (struct sockaddr *)&item->addr : NULL,
        item->addr_len);

    if (n == -EAGAIN)
        return -EAGAIN;
    datagram->first = item->next;
    if (item->next == NULL)
        datagram->last = &datagram->first;
    datagram->queued -= item->len + YULA_DATAGRAM_WEIGHT;
    yula__free(datagram->loop, item);
    return n < 0 ? (int)n : 0;
}

static void datagram_writable(yula_datagram *datagram);

static void
datagram_retry(yula_timer *timer, void *arg)
{
    yula_datagram *datagram = arg;
    if (datagram->first != NULL)
        datagram_writable(datagram);
}

static void
datagram_wait_longer(yula_datagram *datagram)
{
    int64_t deadline_ns = yula_loop_now(datagram->loop) + DATAGRAM_RETRY_NS;
    if (yula_timer_start(&datagram->retry, deadline_ns, datagram_retry,
                         datagram) < 0)
        yula_watcher_again(&datagram->watcher, YULA_WRITABLE);
}

/* Returns whether to look at the marks now: all went well. */
static bool
datagram_send_queue(yula_datagram *datagram)
{
    for (unsigned sent = 0; datagram->first != NULL; sent++) {
        if (sent == DATAGRAM_SEND_BUDGET) {
            yula_watcher_again(&datagram->watcher, YULA_WRITABLE);
            break;
        }
        int err = datagram_send_first(datagram);
        if (err == -EAGAIN) {
            if (sent == 0)
                datagram_wait_longer(datagram);
            break;
        }
        if (err < 0) { /* as asyncio: one error a turn, the rest after it */
            yula_watcher_again(&datagram->watcher, YULA_WRITABLE);
            datagram->ops->failed(datagram, err, true, datagram->arg);
            return false;
        }
    }
    return true;
}

/* The all-clear comes before `drained`, which may close: what it makes the
 * owner send still goes out. */
static void
datagram_writable(yula_datagram *datagram)
{
    if (!datagram_send_queue(datagram))
        return;
    if (datagram->pressed && datagram->queued <= datagram->low) {
        datagram->pressed = false;
        if (datagram->ops->pressure != NULL)
            datagram->ops->pressure(datagram, false, datagram->arg);
    }
    if (datagram->fd < 0 || datagram->first != NULL)
        return;
    yula_timer_stop(&datagram->retry);
    (void)datagram_want_writable(datagram, false); /* else: a wasted event */
    if (datagram->ops->drained != NULL)
        datagram->ops->drained(datagram, datagram->arg);
}

size_t
yula_datagram_queued(const yula_datagram *datagram)
{
    return datagram->queued;
}

void
yula_datagram_get_marks(const yula_datagram *datagram, size_t *low,
                        size_t *high)
{
    *low = datagram->low;
    *high = datagram->high;
}

void
yula_datagram_set_marks(yula_datagram *datagram, size_t low, size_t high)
{
    datagram->low = low;
    datagram->high = high;
    datagram_check_high(datagram);
}

bool
yula_datagram_pressed(const yula_datagram *datagram)
{
    return datagram->pressed;
}

/* --- life ---------------------------------------------------------------- */

/* Reads come first, as in asyncio, whose selector queues the reader's handle
 * before the writer's. */
static void
datagram_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_datagram *datagram = arg;

    if (events & ~(unsigned)YULA_WRITABLE)
        datagram->readable = true;
    if (datagram->reading &&
        (datagram->readable || datagram_has_batch(datagram)))
        datagram_read(datagram);
    if (datagram->fd >= 0 &&
        (events & (YULA_WRITABLE | YULA_HANGUP | YULA_ERROR)) &&
        watcher->interest & YULA_WRITABLE)
        datagram_writable(datagram);
}

static void
datagram_bury(yula_work *work, void *arg)
{
    yula_datagram *datagram = arg;
    yula__free(datagram->loop, datagram);
}

int
yula_datagram_new(yula_loop *loop, yula_lane lane, int fd,
                  const yula_datagram_ops *ops, void *arg, yula_datagram **out)
{
    int family = yula__sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN);
    yula_datagram *datagram = yula__alloc(loop, sizeof(*datagram));
    if (datagram == NULL)
        return -ENOMEM;
    memset(datagram, 0, sizeof(*datagram));
    datagram->loop = loop;
    datagram->ops = ops;
    datagram->arg = arg;
    datagram->fd = fd;
    datagram->slot_len = family == AF_INET || family == AF_INET6
                             ? DATAGRAM_INET_MAX
                             : YULA_DATAGRAM_MAX;
    datagram->last = &datagram->first;
    datagram->low = YULA_STREAM_LOW;
    datagram->high = YULA_STREAM_HIGH;
    yula_watcher_init(loop, &datagram->watcher, lane);
    yula_timer_init(loop, &datagram->retry, lane);
    yula_work_init(&datagram->grave, lane, datagram_bury, datagram);
    int err = yula_watcher_start(&datagram->watcher, fd,
                                 YULA_READABLE | YULA_EDGE, datagram_on_event,
                                 datagram);
    if (err < 0) {
        yula__free(loop, datagram);
        return err;
    }
    *out = datagram;
    return 0;
}

int
yula_datagram_free(yula_datagram *datagram, bool close_fd)
{
    yula_loop *loop = datagram->loop;
    int fd = datagram->fd;

    datagram->reading = false;
    yula_watcher_stop(&datagram->watcher);
    yula_timer_stop(&datagram->retry);
    if (loop->resume == &datagram->watcher.work)
        loop->resume = NULL;
    yula_datagram_drop(datagram);
    datagram_drop_batch(datagram);
    datagram->fd = -1;
    if (close_fd)
        yula__sys_close(fd);
    yula__loop_bury(loop, &datagram->grave);
    return fd;
}

int
yula_datagram_fd(const yula_datagram *datagram)
{
    return datagram->fd;
}

yula_datagram *
yula_datagram_of(yula_loop *loop, int fd)
{
    yula_watcher *watcher = yula_watcher_of(loop, fd);
    if (watcher == NULL || watcher->cb != datagram_on_event)
        return NULL;
    return yula__container_of(watcher, yula_datagram, watcher);
}

void *
yula_datagram_arg(const yula_datagram *datagram)
{
    return datagram->arg;
}
