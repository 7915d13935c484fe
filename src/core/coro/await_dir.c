/* await_dir.c: the entries of a directory, some hundred at a time.
 *
 *  I1. While busy the buffer is a worker's; else it holds [at, len), entries
 *      that were fetched and not told.
 *  I2. The first ones come with the opening: a small directory costs two visits
 *      to a worker, this one and the one that finds its end.
 * Thread: loop; what ends in _run on a worker.
 */
#include <string.h>

#include <yula/file.h>

#include "base/sys_file.h"
#include "coro/await_i.h"

/* What libc's readdir(3) asks for at a time. */
#define DIR_BUFFER 32768

/* As the kernel writes it. */
typedef struct dir_record {
    uint64_t inode;
    int64_t offset;
    uint16_t len; /* to the next one */
    uint8_t type;
    char name[];
} dir_record;

struct yula_dir {
    yula_loop *loop;
    const char *path; /* only while it is opened */
    int fd;
    bool busy; /* I1 */
    size_t at, len;
    _Alignas(uint64_t) char buffer[DIR_BUFFER];
};

static int
dir_fetch_run(void *arg)
{
    yula_dir *dir = arg;
    ssize_t n = yula__sys_getdents(dir->fd, dir->buffer, sizeof(dir->buffer));

    if (n < 0)
        return (int)n;
    dir->at = 0;
    dir->len = (size_t)n;
    return 0;
}

static int
dir_open_run(void *arg)
{
    yula_dir *dir = arg;
    int fd = yula__sys_open(dir->path, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return fd;
    dir->fd = fd;
    int err = dir_fetch_run(dir);
    if (err < 0)
        yula__sys_close(fd);
    return err;
}

int
yula_dir_open(yula_loop *loop, const char *path, yula_dir **out)
{
    yula_dir *dir = yula__alloc(loop, sizeof(*dir));

    if (dir == NULL)
        return -ENOMEM;
    dir->loop = loop;
    dir->path = path;
    dir->busy = false;
    int err = yula__await_work(loop, dir_open_run, dir, NULL, "directory");
    if (err < 0) {
        yula__free(loop, dir);
        return err;
    }
    *out = dir;
    return 0;
}

static int
dir_fetch(yula_dir *dir)
{
    dir->busy = true;
    int err = yula__await_work(dir->loop, dir_fetch_run, dir, NULL,
                               "directory");
    dir->busy = false;
    return err == 0 && dir->len == 0 ? YULA_EOF : err;
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int
yula_dir_next(yula_dir *dir, yula_dir_entry *out)
{
    int err = dir->busy ? -EBUSY : yula__await_check(dir->loop);

    while (err == 0) {
        if (dir->at == dir->len) {
            err = dir_fetch(dir);
            continue;
        }
        const dir_record *record = (const void *)(dir->buffer + dir->at);
        dir->at += record->len;
        if (is_dots(record->name))
            continue;
        *out = (yula_dir_entry){
            .name = record->name,
            .inode = record->inode,
            .kind = (uint32_t)record->type << 12, /* DT_* to S_IF* */
        };
        return 0;
    }
    return err;
}

void
yula_dir_close(yula_dir *dir)
{
    if (dir == NULL)
        return;
    yula__rule(!dir->busy,
               "a task still reads the directory: cancel and join it first");
    yula__sys_close(dir->fd);
    yula__free(dir->loop, dir);
}
