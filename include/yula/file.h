/* file.h: files and directories as tasks use them.
 *
 * A regular file is always "ready", and reading it blocks all the same, until the
 * disk has answered. So these calls are made by the loop's workers (worker.h,
 * YULA_WORKER_MAX of them at once) while the task waits. A read of at most
 * YULA_FILE_AT_ONCE bytes that the kernel has in memory is answered without one.
 * Files are plain descriptors. A callback form is yula_job_submit with the
 * system call in it.
 *
 * Interrupted (yula_task_cancel, a deadline, a group) before a worker has begun,
 * a call returns YULA_ECANCELED and has done nothing. A system call that has begun
 * cannot be stopped: its result is returned, however late, and the next await
 * point is interrupted. Calls that make many of them stop in between, and say
 * how far they came.
 *
 * So paths, buffers and results belong to the call until it returns, and never
 * longer: they may lie on the task's stack. A disk that hangs holds up the task.
 *
 * Every call may also fail with -ENOMEM or -EAGAIN (no worker could be started;
 * nothing was done) and with what its system calls say.
 */
#ifndef YULA_FILE_H
#define YULA_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <yula/conn.h>

YULA_BEGIN

/* Largest read, bytes, that is answered from memory on the loop itself. */
#define YULA_FILE_AT_ONCE (64u * 1024u)

/* --- opening and closing ------------------------------------------------- */

/* open(2).
 *
 * path   borrowed; relative to the working directory.
 * flags  O_RDONLY, O_CREAT ...; O_CLOEXEC is always set. Opening a FIFO without
 *        O_NONBLOCK keeps a worker until its other end is opened.
 * mode   of a new file, less the umask.
 *
 * Returns the descriptor, which is the caller's; -ENOENT, -EACCES ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_open(yula_loop *loop, const char *path, int flags,
                            mode_t mode);

/* close(2) on a worker: it may wait for a disk that still writes, or frees what
 * was deleted. Never interrupted; without a worker it closes on the loop. What was
 * only read may as well be closed with close(2).
 *
 * Returns 0; -EIO, -ENOSPC or -EDQUOT if what was written before is lost; -EBADF.
 * The descriptor is closed whatever is returned.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_close(yula_loop *loop, int fd);

/* --- reading ------------------------------------------------------------- */

/* Read once, at the current position (which moves) or at an offset (it stays):
 * at least one byte and at most len.
 *
 * offset  from the beginning, bytes.
 *
 * Returns the count (> 0); YULA_EOF (the end of the file), YULA_ECANCELED, -EINVAL
 * (len is 0, offset negative), -EISDIR, -EIO ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API ssize_t yula_file_read(yula_loop *loop, int fd, void *base,
                                size_t len);
YULA_API ssize_t yula_file_read_at(yula_loop *loop, int fd, void *base,
                                   size_t len, int64_t offset);

/* Read until base has len bytes.
 *
 * offset  of base in the file: with got, of its first byte and not of the rest.
 * got     how many base has already: 0 at first. Counts up, also on failure: the
 *         same call again goes on where it was.
 *
 * Returns 0; YULA_EOF (the file ended first), else as yula_file_read.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_read_exactly(yula_loop *loop, int fd, void *base,
                                    size_t len, size_t *got);
YULA_API int yula_file_read_exactly_at(yula_loop *loop, int fd, void *base,
                                       size_t len, int64_t offset, size_t *got);

/* Read a whole file, also one whose size is not known before (in /proc, say).
 *
 * limit  most bytes that are accepted.
 * out    receives the bytes, with a NUL behind them that is not counted; given
 *        back with yula_file_unload.
 *
 * Returns 0, YULA_ECANCELED, -EFBIG (more than limit), -ENOMEM, -EISDIR ...; then
 * nothing is left behind.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_load(yula_loop *loop, const char *path, size_t limit,
                            char **out, size_t *out_len);

/* Give back what yula_file_load gave; NULL is fine. Thread: any. */
YULA_API void yula_file_unload(yula_loop *loop, char *base);

/* --- writing ------------------------------------------------------------- */

/* Write all of it, at the current position or at an offset.
 *
 * offset  of base in the file: with put, of its first byte and not of the rest.
 * put     NULL, or how many bytes were written already: 0 at first. Counts up,
 *         also on failure.
 *
 * Returns 0; YULA_ECANCELED, -ENOSPC, -EFBIG, -EINVAL (offset negative) ...: of
 * more than 1 MiB a part may have been written then.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_write(yula_loop *loop, int fd, const void *base,
                             size_t len, size_t *put);
YULA_API int yula_file_write_at(yula_loop *loop, int fd, const void *base,
                                size_t len, int64_t offset, size_t *put);

/* fsync(2), fdatasync(2): wait until it is on the disk. Only the result of this
 * call tells whether it is.
 *
 * Returns 0; YULA_ECANCELED, -EIO, -EINVAL (nothing that has a disk) ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_sync(yula_loop *loop, int fd);
YULA_API int yula_file_sync_data(yula_loop *loop, int fd);

/* Cut the file, or let it grow by zeros.
 *
 * len  bytes.
 *
 * Returns 0; YULA_ECANCELED, -EINVAL (negative, or nothing that has a length),
 * -EFBIG ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_truncate(yula_loop *loop, int fd, int64_t len);

/* Not only in place, but on the disk when yula_file_save returns. */
#define YULA_FILE_SYNC 1u

/* Put a whole file in place at once: whoever opens the path finds the old one or
 * the new one, and a crash leaves one of the two. It is written beside path under
 * another name and renamed.
 *
 * path   a symbolic link is itself replaced; a directory is not.
 * mode   of the new file, less the umask: it has nothing of the old one.
 * flags  0 or YULA_FILE_SYNC.
 *
 * Returns 0, YULA_ECANCELED, -EINVAL (unknown flags), -ENOSPC, -EACCES ...: the old
 * file is untouched then, and nothing is left beside it. An error of the last
 * fsync(2), that of the directory, comes when the new one is in place.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_save(yula_loop *loop, const char *path, const void *base,
                            size_t len, mode_t mode, unsigned flags);

/* --- sending ------------------------------------------------------------- */

/* Send a part of a file over a connection, sendfile(2), behind what was written to
 * it. Other tasks' writes wait until it is over; yula_conn_try_write says -EAGAIN.
 *
 * What the kernel has in memory is sent by the loop, 256 KiB before other tasks
 * have their turn; what it has to fetch from a disk, by a worker. While the
 * peer takes no more, nobody is occupied.
 *
 * fd      a regular file; its position stays where it is.
 * offset  of the part, bytes: with sent, of its first byte and not of the rest.
 * sent    NULL, or how many bytes of it were sent already: 0 at first. Counts up,
 *         also on failure: the same call again goes on where it was.
 *
 * Returns 0; YULA_EOF (the file ended first: it has shrunk since it was looked
 * at); YULA_ECANCELED, -EPIPE or the socket's error; -EINVAL (offset negative, or
 * a file that sendfile(2) does not take), -EIO ... After a failure a part may be
 * on its way: the peer cannot tell unless the connection is closed.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_send(yula_conn *conn, int fd, int64_t offset, size_t len,
                            size_t *sent);

/* --- names --------------------------------------------------------------- */

/* What is known of a file. Written by libyula. */
typedef struct yula_file_info {
    int64_t size;        /* bytes */
    int64_t modified_ns; /* since 1970, the last change of its contents */
    uint64_t device;     /* with inode: which file it is */
    uint64_t inode;
    uint64_t links; /* names it has */
    uint32_t mode;  /* kind (S_IFMT) and permissions, as in stat(2) */
    uint32_t uid;
    uint32_t gid;
    uint32_t reserved32;
    int64_t allocated; /* bytes on the disk */
    uint64_t reserved[4];
} yula_file_info;

/* Ask what a path leads to, what is there itself (of a symbolic link: the link),
 * or what is open.
 *
 * Returns 0; -ENOENT ...: *out is untouched then.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_stat(yula_loop *loop, const char *path,
                            yula_file_info *out);
YULA_API int yula_file_lstat(yula_loop *loop, const char *path,
                             yula_file_info *out);
YULA_API int yula_file_fstat(yula_loop *loop, int fd, yula_file_info *out);

/* rename(2), unlink(2), mkdir(2) and rmdir(2).
 *
 * Returns 0; YULA_ECANCELED, -ENOENT, -EEXIST ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_file_rename(yula_loop *loop, const char *from,
                              const char *to);
YULA_API int yula_file_unlink(yula_loop *loop, const char *path);
YULA_API int yula_file_mkdir(yula_loop *loop, const char *path, mode_t mode);
YULA_API int yula_file_rmdir(yula_loop *loop, const char *path);

/* --- directories --------------------------------------------------------- */

/* A directory that is being read. One task at a time. */
typedef struct yula_dir yula_dir;

typedef struct yula_dir_entry {
    const char *name; /* valid until the next call with this directory */
    uint64_t inode;
    uint32_t kind; /* S_IFREG, S_IFDIR, S_IFLNK ...; 0: ask yula_file_lstat */
    uint32_t reserved32;
} yula_dir_entry;

/* Begin to read a directory.
 *
 * out  receives it, for yula_dir_close.
 *
 * Returns 0; YULA_ECANCELED, -ENOENT, -ENOTDIR, -EACCES ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_dir_open(yula_loop *loop, const char *path, yula_dir **out);

/* The next entry, in no particular order, without "." and "..". Some hundred are
 * fetched at a time; what comes and goes meanwhile may be told or not.
 *
 * Returns 0; YULA_EOF (no more), YULA_ECANCELED (the same call again goes on),
 * -EBUSY (another task reads), -ENOENT (the directory was removed), -EIO ...
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_dir_next(yula_dir *dir, yula_dir_entry *out);

/* Nobody may be waiting. NULL is fine.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_dir_close(yula_dir *dir);

YULA_END

#endif /* YULA_FILE_H */
