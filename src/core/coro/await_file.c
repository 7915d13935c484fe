/* await_file.c: open files and names, through the workers.
 *
 *  I1. What a worker reads and writes (struct, path, buffer) belongs to the waiting
 *      call, which does not return before the worker let go of it (await_work.c).
 *      What the caller gave to count with is written afterwards, on the loop.
 *  I2. Long reads and writes are made in parts of FILE_PART, and stop between two
 *      when the task is interrupted. done counts what is finished.
 *  I3. A read that is answered on the loop gives way to other tasks every so often:
 *      a task that reads from memory alone would never wait.
 * Thread: loop; the functions called ..._run on a worker.
 */
#include <yula/file.h>

#include "base/sys_file.h"
#include "coro/await_i.h"

/* One system call of a long read or write: some 0.2 ms of copying, beside which
 * a look at the flag costs nothing. */
#define FILE_PART ((size_t)1 << 20)

/* Most bytes of one read: its count goes through an int. */
#define FILE_READ_MAX ((size_t)1 << 30)

/* I3. As much as a stream reads in a turn; a call costs as much as a page. */
#define FILE_YIELD YULA_STREAM_READ_MAX
#define FILE_CALL 4096

/* --- opening and closing ------------------------------------------------- */

typedef struct file_call {
    int fd;
    const char *path, *to;
    int flags;
    bool follow; /* symbolic links */
    mode_t mode;
    int64_t len;
    int (*sync)(int fd);
    struct stat info;
} file_call;

static int
open_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_open(call->path, call->flags, call->mode);
}

int
yula_file_open(yula_loop *loop, const char *path, int flags, mode_t mode)
{
    file_call call = {.path = path, .flags = flags, .mode = mode};

    return yula__await_work(loop, open_run, &call, NULL, "open");
}

static int
close_run(void *arg)
{
    file_call *call = arg;
    int fd = call->fd;

    call->fd = -1;
    return yula__sys_close_checked(fd);
}

int
yula_file_close(yula_loop *loop, int fd)
{
    file_call call = {.fd = fd};
    yula_scope shield;

    yula_shield_enter(loop, &shield);
    int err = yula__await_work(loop, close_run, &call, NULL, "close");
    yula_shield_leave(&shield);
    return call.fd >= 0 ? yula__sys_close_checked(fd) : err;
}

/* --- reading and writing ------------------------------------------------- */

typedef struct file_io {
    int fd;
    char *base;
    size_t len;
    size_t done;    /* of len */
    int64_t offset; /* of base; -1: at the current position */
    atomic_bool stop;
} file_io;

static int64_t
io_offset(const file_io *io)
{
    return io->offset < 0 ? -1 : io->offset + (int64_t)io->done;
}

/* I2. */
static size_t
io_part(const file_io *io)
{
    size_t left = io->len - io->done;

    return left < FILE_PART ? left : FILE_PART;
}

static bool
io_stopped(file_io *io)
{
    return atomic_load_explicit(&io->stop, memory_order_relaxed);
}

/* I3. */
int
yula__await_give_way(yula_loop *loop, size_t len)
{
    yula__tasks *tasks = loop->tasks;

    yula__rule(tasks != NULL && tasks->current != NULL,
               "something that waits was called outside of a task");
    tasks->unyielded += len < FILE_CALL ? FILE_CALL : (unsigned)len;
    if (tasks->unyielded < FILE_YIELD)
        return 0;
    tasks->unyielded = 0;
    return yula_task_yield(loop);
}

/* Read what the kernel has in memory. Returns the count; 0 if a worker has to be
 * asked (also at the end of the file: Linux 5.9 and 5.10 say 0 elsewhere, too);
 * or YULA_ECANCELED. */
static ssize_t
read_at_once(yula_loop *loop, const file_io *io)
{
    size_t len = io->len - io->done;

    if (len > YULA_FILE_AT_ONCE)
        return 0;
    int err = yula__await_give_way(loop, len);
    if (err < 0)
        return err;
    ssize_t n = yula__sys_file_read_cached(io->fd, io->base + io->done, len,
                                           io_offset(io));
    return n > 0 ? n : 0;
}

static int
read_once_run(void *arg)
{
    const file_io *io = arg;
    ssize_t n = yula__sys_file_read(io->fd, io->base, io->len, io->offset);

    return n == 0 ? YULA_EOF : (int)n;
}

static ssize_t
file_read(yula_loop *loop, int fd, void *base, size_t len, int64_t offset)
{
    file_io io = {.fd = fd,
                  .base = base,
                  .len = len < FILE_READ_MAX ? len : FILE_READ_MAX,
                  .offset = offset};

    ssize_t n = yula__await_check(loop);
    if (n == 0)
        n = len == 0 ? -EINVAL : read_at_once(loop, &io);
    if (n != 0)
        return n;
    return yula__await_work(loop, read_once_run, &io, NULL, "file");
}

ssize_t
yula_file_read(yula_loop *loop, int fd, void *base, size_t len)
{
    return file_read(loop, fd, base, len, -1);
}

ssize_t
yula_file_read_at(yula_loop *loop, int fd, void *base, size_t len,
                  int64_t offset)
{
    return offset < 0 ? -EINVAL : file_read(loop, fd, base, len, offset);
}

static int
read_all_run(void *arg)
{
    file_io *io = arg;

    while (io->done < io->len) {
        if (io_stopped(io))
            return YULA_ECANCELED;
        ssize_t n = yula__sys_file_read(io->fd, io->base + io->done,
                                        io_part(io), io_offset(io));
        if (n <= 0)
            return n == 0 ? YULA_EOF : (int)n;
        io->done += (size_t)n;
    }
    return 0;
}

static int
file_read_exactly(yula_loop *loop, int fd, void *base, size_t len,
                  int64_t offset, size_t *got)
{
    file_io io = {
        .fd = fd, .base = base, .len = len, .done = *got, .offset = offset};
    int err = yula__await_check(loop);

    if (err == 0 && io.done < io.len) {
        ssize_t n = read_at_once(loop, &io);
        if (n < 0)
            return (int)n;
        io.done += (size_t)n;
    }
    if (err == 0 && io.done < io.len)
        err = yula__await_work(loop, read_all_run, &io, &io.stop, "file");
    *got = io.done;
    return err;
}

int
yula_file_read_exactly(yula_loop *loop, int fd, void *base, size_t len,
                       size_t *got)
{
    return file_read_exactly(loop, fd, base, len, -1, got);
}

int
yula_file_read_exactly_at(yula_loop *loop, int fd, void *base, size_t len,
                          int64_t offset, size_t *got)
{
    return offset < 0 ? -EINVAL
                      : file_read_exactly(loop, fd, base, len, offset, got);
}

static int
write_run(void *arg)
{
    file_io *io = arg;

    while (io->done < io->len) {
        if (io_stopped(io))
            return YULA_ECANCELED;
        ssize_t n = yula__sys_file_write(io->fd, io->base + io->done,
                                         io_part(io), io_offset(io));
        if (n < 0)
            return (int)n;
        io->done += (size_t)n;
    }
    return 0;
}

static int
file_write(yula_loop *loop, int fd, const void *base, size_t len,
           int64_t offset, size_t *put)
{
    file_io io = {.fd = fd,
                  .base = (char *)base, /* and is not written to */
                  .len = len,
                  .done = put != NULL ? *put : 0,
                  .offset = offset};

    int err = yula__await_work(loop, write_run, &io, &io.stop, "file");
    if (put != NULL)
        *put = io.done;
    return err;
}

int
yula_file_write(yula_loop *loop, int fd, const void *base, size_t len,
                size_t *put)
{
    return file_write(loop, fd, base, len, -1, put);
}

int
yula_file_write_at(yula_loop *loop, int fd, const void *base, size_t len,
                   int64_t offset, size_t *put)
{
    return offset < 0 ? -EINVAL : file_write(loop, fd, base, len, offset, put);
}

/* --- to the disk --------------------------------------------------------- */

static int
sync_run(void *arg)
{
    const file_call *call = arg;

    return call->sync(call->fd);
}

int
yula_file_sync(yula_loop *loop, int fd)
{
    file_call call = {.fd = fd, .sync = yula__sys_fsync};

    return yula__await_work(loop, sync_run, &call, NULL, "sync");
}

int
yula_file_sync_data(yula_loop *loop, int fd)
{
    file_call call = {.fd = fd, .sync = yula__sys_fdatasync};

    return yula__await_work(loop, sync_run, &call, NULL, "sync");
}

static int
truncate_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_ftruncate(call->fd, call->len);
}

int
yula_file_truncate(yula_loop *loop, int fd, int64_t len)
{
    file_call call = {.fd = fd, .len = len};

    return yula__await_work(loop, truncate_run, &call, NULL, "file");
}

/* --- names --------------------------------------------------------------- */

static int
stat_run(void *arg)
{
    file_call *call = arg;

    return yula__sys_stat(call->fd, call->path, call->follow, &call->info);
}

static int
file_stat(yula_loop *loop, file_call *call, yula_file_info *out)
{
    const struct stat *info = &call->info;
    int err = yula__await_work(loop, stat_run, call, NULL, "stat");

    if (err < 0)
        return err;
    *out = (yula_file_info){
        .size = info->st_size,
        .modified_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 +
                       info->st_mtim.tv_nsec,
        .device = info->st_dev,
        .inode = info->st_ino,
        .links = info->st_nlink,
        .mode = info->st_mode,
        .uid = info->st_uid,
        .gid = info->st_gid,
        .allocated = (int64_t)info->st_blocks * 512,
    };
    return 0;
}

int
yula_file_stat(yula_loop *loop, const char *path, yula_file_info *out)
{
    file_call call = {.fd = AT_FDCWD, .path = path, .follow = true};

    return file_stat(loop, &call, out);
}

int
yula_file_lstat(yula_loop *loop, const char *path, yula_file_info *out)
{
    file_call call = {.fd = AT_FDCWD, .path = path};

    return file_stat(loop, &call, out);
}

int
yula_file_fstat(yula_loop *loop, int fd, yula_file_info *out)
{
    file_call call = {.fd = fd};

    return file_stat(loop, &call, out);
}

static int
rename_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_rename(call->path, call->to);
}

int
yula_file_rename(yula_loop *loop, const char *from, const char *to)
{
    file_call call = {.path = from, .to = to};

    return yula__await_work(loop, rename_run, &call, NULL, "rename");
}

static int
unlink_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_unlink(call->path);
}

int
yula_file_unlink(yula_loop *loop, const char *path)
{
    file_call call = {.path = path};

    return yula__await_work(loop, unlink_run, &call, NULL, "unlink");
}

static int
mkdir_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_mkdir(call->path, call->mode);
}

int
yula_file_mkdir(yula_loop *loop, const char *path, mode_t mode)
{
    file_call call = {.path = path, .mode = mode};

    return yula__await_work(loop, mkdir_run, &call, NULL, "mkdir");
}

static int
rmdir_run(void *arg)
{
    const file_call *call = arg;

    return yula__sys_rmdir(call->path);
}

int
yula_file_rmdir(yula_loop *loop, const char *path)
{
    file_call call = {.path = path};

    return yula__await_work(loop, rmdir_run, &call, NULL, "rmdir");
}
