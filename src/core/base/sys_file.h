/* sys_file.h: the system calls for files, as sys.h has the others.
 *
 * Most of them block, so they are made on workers; what is asked at once says so.
 */
#ifndef YULA__SYS_FILE_H
#define YULA__SYS_FILE_H

#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/sys.h"

static inline int
yula__sys_open(const char *path, int flags, mode_t mode)
{
    YULA__SYS_RETRY(int, "open", open(path, flags | O_CLOEXEC, mode))
}

/* As close(2), with what it reports. The descriptor is free again also when that
 * fails, so it is not retried. */
static inline int
yula__sys_close_checked(int fd)
{
    int err = 0;

#ifdef YULA__DEBUG
    if (yula__sys_hook != NULL)
        err = -yula__sys_hook("close_checked");
#endif
    if (close(fd) < 0 && errno != EINTR)
        err = -errno;
    return err;
}

/* offset -1: at the current position, which moves. */
static inline ssize_t
yula__sys_file_read(int fd, void *base, size_t len, int64_t offset)
{
    struct iovec piece = {.iov_base = base, .iov_len = len};
    YULA__SYS_RETRY(ssize_t, "file_read", preadv2(fd, &piece, 1, offset, 0))
}

/* The same, of what is in memory already; never waits for a disk. */
static inline ssize_t
yula__sys_file_read_cached(int fd, void *base, size_t len, int64_t offset)
{
    struct iovec piece = {.iov_base = base, .iov_len = len};
    YULA__SYS_RETRY(ssize_t, "file_read_cached",
                    preadv2(fd, &piece, 1, offset, RWF_NOWAIT))
}

static inline ssize_t
yula__sys_file_write(int fd, const void *base, size_t len, int64_t offset)
{
    struct iovec piece = {.iov_base = (void *)base, .iov_len = len};
    YULA__SYS_RETRY(ssize_t, "file_write", pwritev2(fd, &piece, 1, offset, 0))
}

static inline int
yula__sys_fsync(int fd)
{
    YULA__SYS_RETRY(int, "fsync", fsync(fd))
}

static inline int
yula__sys_fdatasync(int fd)
{
    YULA__SYS_RETRY(int, "fdatasync", fdatasync(fd))
}

static inline int
yula__sys_ftruncate(int fd, int64_t len)
{
    YULA__SYS_RETRY(int, "ftruncate", ftruncate(fd, len))
}

/* path NULL: of the descriptor. */
static inline int
yula__sys_stat(int fd, const char *path, bool follow, struct stat *out)
{
    int flags = path == NULL ? AT_EMPTY_PATH
                             : (follow ? 0 : AT_SYMLINK_NOFOLLOW);
    YULA__SYS_RETRY(int, "stat",
                    fstatat(fd, path != NULL ? path : "", out, flags))
}

static inline int
yula__sys_rename(const char *from, const char *to)
{
    YULA__SYS_RETRY(int, "rename", rename(from, to))
}

static inline int
yula__sys_unlink(const char *path)
{
    YULA__SYS_RETRY(int, "unlink", unlink(path))
}

static inline int
yula__sys_mkdir(const char *path, mode_t mode)
{
    YULA__SYS_RETRY(int, "mkdir", mkdir(path, mode))
}

static inline int
yula__sys_rmdir(const char *path)
{
    YULA__SYS_RETRY(int, "rmdir", rmdir(path))
}

/* Raw entries of a directory; 0 at its end. */
static inline ssize_t yula__sys_getdents(int fd, void *base, size_t len){
    YULA__SYS_RETRY(ssize_t, "getdents",
                    syscall(SYS_getdents64, fd, base, len))}

/* sendfile(2) without SIGPIPE. socket must be non-blocking; offset moves. */
ssize_t yula__sys_sendfile(int socket, int fd, int64_t *offset, size_t len);

#endif /* YULA__SYS_FILE_H */
