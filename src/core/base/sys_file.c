/* sys_file.c: the parts of sys_file.h that are not inline. */
#include "base/sys_file.h"

/* There is no MSG_NOSIGNAL for it. The signal goes to the thread that made the
 * call, so it can be held back there and taken away. */
ssize_t
yula__sys_sendfile(int socket, int fd, int64_t *offset, size_t len)
{
    const struct timespec at_once = {0};
    sigset_t signal, before;
    off_t at = (off_t)*offset;
    ssize_t n;

    YULA__SYS_FAULT("sendfile");
    sigemptyset(&signal);
    sigaddset(&signal, SIGPIPE);
    yula__must(pthread_sigmask(SIG_BLOCK, &signal, &before) == 0);
    do {
        n = sendfile(socket, fd, &at, len);
        n = n < 0 ? -errno : n;
    } while (n == -EINTR);
    if (n == -EPIPE && !sigismember(&before, SIGPIPE))
        (void)sigtimedwait(&signal, NULL, &at_once);
    yula__must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    *offset = at;
    return n;
}
