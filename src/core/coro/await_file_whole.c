/* await_file_whole.c: files read and replaced as a whole, one visit to a worker each.
 *
 *  I1. What is to be cleaned up (memory, descriptor, the file under its other name)
 *      is so on the worker, before the call returns.
 *  I2. stop is looked at between the system calls that take long, and for the
 *      last time before the rename: what came so far is complete.
 * Thread: loop; what ends in _run, and all that it calls, on a worker.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <yula/file.h>

#include "base/sys_file.h"
#include "coro/await_i.h"

/* One system call, between two looks at stop. */
#define WHOLE_PART ((size_t)1 << 20)

/* What is read of a file that does not know its size, at first. */
#define LOAD_UNKNOWN 4096

static bool
stopped(atomic_bool *stop)
{
    return atomic_load_explicit(stop, memory_order_relaxed);
}

static size_t
part_of(size_t len)
{
    return len < WHOLE_PART ? len : WHOLE_PART;
}

/* --- loading ------------------------------------------------------------- */

typedef struct load {
    yula_loop *loop; /* its memory only, which any thread may ask for */
    const char *path;
    size_t limit;
    char *base;
    size_t len;
    size_t capacity; /* one more byte than is expected: the NUL's, and by which
                      * a read finds the end or more than that */
    atomic_bool stop;
} load;

static int
load_resize(load *self, size_t capacity)
{
    if (capacity > self->limit + 1)
        capacity = self->limit + 1;
    char *base = yula__resize(self->loop, self->base, capacity);
    if (base == NULL)
        return -ENOMEM;
    self->base = base;
    self->capacity = capacity;
    return 0;
}

static int
load_begin(load *self, int fd)
{
    struct stat info;
    int err = yula__sys_stat(fd, NULL, true, &info);

    if (err < 0)
        return err;
    if (S_ISREG(info.st_mode) && (uint64_t)info.st_size > self->limit)
        return -EFBIG;
    return load_resize(self, info.st_size > 0 ? (size_t)info.st_size + 1
                                              : LOAD_UNKNOWN);
}

static int
load_read(load *self, int fd)
{
    int err = load_begin(self, fd);

    while (err == 0) {
        if (stopped(&self->stop))
            return YULA_ECANCELED;
        if (self->len > self->limit)
            return -EFBIG;
        ssize_t n = 0;
        if (self->len == self->capacity)
            err = load_resize(self, 2 * self->capacity);
        else if ((n = yula__sys_file_read(fd, self->base + self->len,
                                          part_of(self->capacity - self->len),
                                          -1)) <= 0)
            return (int)n; /* the end, or an error */
        self->len += (size_t)n;
    }
    return err;
}

static int
load_run(void *arg)
{
    load *self = arg;
    int fd = yula__sys_open(self->path, O_RDONLY, 0);

    if (fd < 0)
        return fd;
    int err = load_read(self, fd);
    yula__sys_close(fd);
    if (err == 0)
        self->base[self->len] = '\0';
    else
        yula__free(self->loop, self->base);
    return err;
}

int
yula_file_load(yula_loop *loop, const char *path, size_t limit, char **out,
               size_t *out_len)
{
    load self = {.loop = loop, .path = path, .limit = limit};

    if (limit > SSIZE_MAX / 2)
        self.limit = SSIZE_MAX / 2; /* twice that is a size_t, too */
    int err = yula__await_work(loop, load_run, &self, &self.stop, "file");
    if (err < 0)
        return err;
    *out = self.base;
    *out_len = self.len;
    return 0;
}

void
yula_file_unload(yula_loop *loop, char *base)
{
    yula__free(loop, base);
}

/* --- saving -------------------------------------------------------------- */

typedef struct save {
    const char *path;
    const char *base;
    size_t len;
    mode_t mode;
    bool sync;
    atomic_bool stop;
    char other[PATH_MAX]; /* where it is written */
} save;

/* The directory of path, with its '/': so long is it, 0 for the current one. */
static size_t
save_directory_len(const save *self)
{
    const char *slash = strrchr(self->path, '/');

    return slash == NULL ? 0 : (size_t)(slash - self->path) + 1;
}

/* Make a new file beside path. Returns its descriptor. */
static int
save_create(save *self)
{
    size_t len = save_directory_len(self);
    uint64_t number;
    int fd = -EEXIST;

    if (self->path[len] == '\0')
        return len == 0 ? -ENOENT : -EISDIR;
    if (len + 32 > sizeof(self->other))
        return -ENAMETOOLONG;
    memcpy(self->other, self->path, len);
    while (fd == -EEXIST) {
        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
            return -errno;
        snprintf(self->other + len, 32, ".yula-%016llx",
                 (unsigned long long)number);
        fd = yula__sys_open(self->other, O_WRONLY | O_CREAT | O_EXCL,
                            self->mode);
    }
    return fd;
}

static int
save_write(save *self, int fd)
{
    size_t done = 0;

    while (done < self->len) {
        if (stopped(&self->stop))
            return YULA_ECANCELED;
        ssize_t n = yula__sys_file_write(fd, self->base + done,
                                         part_of(self->len - done), -1);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return self->sync ? yula__sys_fsync(fd) : 0;
}

/* The rename itself is on the disk when the directory is. */
static int
save_sync_directory(save *self)
{
    size_t len = save_directory_len(self);

    memcpy(self->other, len > 0 ? self->path : ".", len > 0 ? len : 1);
    self->other[len > 0 ? len : 1] = '\0';
    int fd = yula__sys_open(self->other, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int err = yula__sys_fsync(fd);
    yula__sys_close(fd);
    return err;
}

static int
save_run(void *arg)
{
    save *self = arg;
    int fd = save_create(self);

    if (fd < 0)
        return fd;
    int err = save_write(self, fd);
    int closed = yula__sys_close_checked(fd);
    if (err == 0)
        err = closed;
    if (err == 0)
        err = stopped(&self->stop) ? YULA_ECANCELED
                                   : yula__sys_rename(self->other, self->path);
    if (err < 0) {
        (void)yula__sys_unlink(self->other);
        return err;
    }
    return self->sync ? save_sync_directory(self) : 0;
}

int
yula_file_save(yula_loop *loop, const char *path, const void *base, size_t len,
               mode_t mode, unsigned flags)
{
    if (flags & ~YULA_FILE_SYNC)
        return -EINVAL;
    save *self = yula__alloc(loop,
                             sizeof(*self)); /* large for a task's stack */
    if (self == NULL)
        return -ENOMEM;
    self->path = path;
    self->base = base;
    self->len = len;
    self->mode = mode;
    self->sync = flags & YULA_FILE_SYNC;
    atomic_init(&self->stop, false);
    int err = yula__await_work(loop, save_run, self, &self->stop, "file");
    yula__free(loop, self);
    return err;
}
