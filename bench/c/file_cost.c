/* file_cost.c: what a read from a file costs that the kernel has in memory, made
 * at once (yula_file_read_at), by a worker (yula_await_work), and bare.
 *
 *     cc -O2 -D_GNU_SOURCE -o file_cost file_cost.c \
 *         $(pkg-config --cflags --libs yula)
 *     ./file_cost [SECONDS]       (its file is made in the current directory)
 *
 * One task, one read after the other. Prints CPU and wall time of each, in
 * microseconds; CPU is that of all threads.
 */
#include <yula/yula.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FILE_LEN (64 << 20)

typedef struct request {
    int fd;
    char *base;
    size_t len;
    int64_t offset;
} request;

typedef int (*read_cb)(yula_loop *loop, request *of);

static int
read_bare(void *arg)
{
    const request *of = arg;

    return (int)pread(of->fd, of->base, of->len, of->offset);
}

static int
by_nobody(yula_loop *loop, request *of)
{
    (void)loop;
    return read_bare(of);
}

static int
at_once(yula_loop *loop, request *of)
{
    return (int)yula_file_read_at(loop, of->fd, of->base, of->len, of->offset);
}

static int
by_worker(yula_loop *loop, request *of)
{
    return yula_await_work(loop, read_bare, of);
}

static double
wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double
cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static double seconds = 0.3;

static int
measure(yula_loop *loop, const char *name, read_cb read_one, request *of)
{
    double wall = wall_us(), cpu = cpu_us(), until = wall + seconds * 1e6;
    long count = 0;

    while (wall_us() < until) {
        for (int i = 0; i < 16; i++, count++) {
            of->offset = (int64_t)(rand() % (FILE_LEN / 4096 - 64)) * 4096;
            int n = read_one(loop, of);
            if (n != (int)of->len)
                return n < 0 ? n : -EIO;
        }
    }
    printf("%8zu bytes, %-10s %8.2f us CPU %8.2f us\n", of->len, name,
           (cpu_us() - cpu) / (double)count,
           (wall_us() - wall) / (double)count);
    return 0;
}

static int
measure_all(yula_task *task, void *arg)
{
    static const size_t lens[] = {64, 4096, 16384, 65536, 262144};
    yula_loop *loop = yula_task_loop(task);
    request of = {.fd = *(int *)arg, .base = malloc(262144)};
    int err = of.base == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]) && err == 0; i++) {
        of.len = lens[i];
        err = measure(loop, "bare", by_nobody, &of);
        if (err == 0)
            err = measure(loop, "yula_file", at_once, &of);
        if (err == 0)
            err = measure(loop, "a worker", by_worker, &of);
    }
    free(of.base);
    return err;
}

int
main(int argc, char **argv)
{
    char path[] = "file_cost.XXXXXX";
    static char zeros[1 << 20];
    yula_loop *loop;
    int result = 0, fd = mkstemp(path);

    if (argc > 1)
        seconds = atof(argv[1]);
    if (fd < 0 || unlink(path) < 0)
        return 1;
    for (int i = 0; i < FILE_LEN / (1 << 20); i++) {
        if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
            return 1;
    }
    int err = yula_loop_new(NULL, &loop);
    if (err == 0) {
        err = yula_task_run(loop, NULL, measure_all, &fd, &result);
        yula_loop_free(loop);
    }
    if (err < 0 || result < 0)
        fprintf(stderr, "%s\n", yula_strerror(err < 0 ? err : result));
    return err < 0 || result < 0;
}
