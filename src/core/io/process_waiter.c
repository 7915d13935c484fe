/* process_waiter.c: a thread for each child whose end nobody else tells of: the
 * kernel has no pidfds, or the loop was freed first.
 *
 *  I1. The thread collects nothing as long as the loop wants to know: until then the
 *      child's number is its own.
 *  I2. loop and posted are looked at and changed under the lock only. While loop is
 *      not NULL the loop is alive; once posted, the thread does not touch the waiter
 *      any more.
 * Thread: loop, but for waiter_main and adopt_main.
 */
#include "io/process_waiter.h"

struct yula__process_waiter {
    pthread_mutex_t lock;
    yula_loop *loop; /* I2; NULL: was freed */
    bool posted;
    pid_t pid;
    yula_work work;
    void (*cb)(void *arg);
    void *arg;
    yula_allocator allocator; /* outlives the loop */
};

static void
waiter_free(yula__process_waiter *waiter)
{
    pthread_mutex_destroy(&waiter->lock);
    waiter->allocator.free(waiter, waiter->allocator.arg);
}

static void *
waiter_main(void *arg)
{
    yula__process_waiter *waiter = arg;
    siginfo_t info;

    (void)yula__sys_wait_end_surely(P_PID, (id_t)waiter->pid, WNOWAIT,
                                    &info); /* I1 */
    pthread_mutex_lock(&waiter->lock);
    bool wanted = waiter->loop != NULL;
    waiter->posted = wanted;
    if (wanted)
        yula_work_post(waiter->loop, &waiter->work);
    pthread_mutex_unlock(&waiter->lock);
    if (!wanted) {
        (void)yula__sys_wait_end_surely(P_PID, (id_t)waiter->pid, 0, &info);
        waiter_free(waiter);
    }
    return NULL;
}

static void
waiter_came(yula_work *work, void *arg)
{
    yula__process_waiter *waiter = arg;
    void (*cb)(void *arg) = waiter->cb;

    arg = waiter->arg;
    pthread_mutex_lock(&waiter->lock); /* the thread may still hold it */
    pthread_mutex_unlock(&waiter->lock);
    waiter_free(waiter);
    cb(arg);
}

/* A thread that nobody joins, all signals blocked. */
static int
thread_start(void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = yula__sys_thread_start(&thread, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        pthread_detach(thread);
    return err;
}

int
yula__process_waiter_new(yula_loop *loop, yula_lane lane, pid_t pid,
                         void (*cb)(void *arg), void *arg,
                         yula__process_waiter **out)
{
    yula__process_waiter *waiter = yula__alloc(loop, sizeof(*waiter));

    if (waiter == NULL)
        return -ENOMEM;
    *waiter = (yula__process_waiter){.loop = loop,
                                     .pid = pid,
                                     .cb = cb,
                                     .arg = arg,
                                     .allocator = loop->allocator};
    pthread_mutex_init(&waiter->lock, NULL);
    yula_work_init(&waiter->work, lane, waiter_came, waiter);
    int err = thread_start(waiter_main, waiter);
    if (err < 0) {
        waiter_free(waiter);
        return err;
    }
    *out = waiter;
    return 0;
}

void
yula__process_waiter_leave(yula__process_waiter *waiter)
{
    siginfo_t info;

    pthread_mutex_lock(&waiter->lock);
    bool posted = waiter->posted;
    waiter->loop = NULL;
    pthread_mutex_unlock(&waiter->lock);
    if (!posted)
        return; /* the thread does the rest */
    (void)yula__sys_wait_end(P_PID, (id_t)waiter->pid, WNOHANG, &info);
    waiter_free(waiter);
}

static void *
adopt_main(void *arg)
{
    siginfo_t info;

    (void)yula__sys_wait_end_surely(P_PID, (id_t)(uintptr_t)arg, 0, &info);
    return NULL;
}

/* Without a thread it stays a zombie until the program ends. */
void
yula__process_adopt(pid_t pid)
{
    (void)thread_start(adopt_main, (void *)(uintptr_t)pid);
}
