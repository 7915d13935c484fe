/* test_file.c: files as tasks use them. Whole ones and directories:
 * test_file_whole.c; sending them: test_sendfile.c. */
#include <yula/file.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "actors.h"
#include "folder.h"
#include "support.h"
#include "test.h"

/* --- reading and writing ------------------------------------------------- */

static int
write_and_read(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    char got[16] = "";
    size_t done = 0;
    yula_file_info info;

    int fd = yula_file_open(loop, arg, O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(yula_file_write(loop, fd, "hello ", 6, NULL), 0);
    CHECK_EQ(yula_file_write(loop, fd, "world", 5, &done), 0);
    CHECK_EQ(done, 5);
    CHECK_EQ(yula_file_read(loop, fd, got, 8), YULA_EOF); /* behind them */
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    CHECK_EQ(yula_file_read(loop, fd, got, 8), 8);
    CHECK_EQ(memcmp(got, "hello wo", 8), 0);
    CHECK_EQ(yula_file_read_at(loop, fd, got, 8, 4), 7);
    CHECK_EQ(memcmp(got, "o world", 7), 0);
    CHECK_EQ(yula_file_write_at(loop, fd, "J", 1, 0, NULL), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 8); /* an offset does not move it */
    CHECK_EQ(yula_file_truncate(loop, fd, 5), 0);
    CHECK_EQ(yula_file_sync(loop, fd), 0);
    CHECK_EQ(yula_file_sync_data(loop, fd), 0);
    CHECK_EQ(yula_file_fstat(loop, fd, &info), 0);
    CHECK_EQ(info.size, 5);
    CHECK(S_ISREG(info.mode));
    CHECK_EQ(info.mode & 0777 & ~0640u, 0);
    CHECK_EQ(info.links, 1);
    CHECK_EQ(yula_file_close(loop, fd), 0);
    CHECK_EQ(yula_file_close(loop, fd), -EBADF);
    CHECK_EQ(yula_file_open(loop, arg, O_RDWR | O_CREAT | O_EXCL, 0640),
             -EEXIST);
    return 0;
}

TEST(what_is_written_is_read_at_the_position_and_at_offsets)
{
    folder_begin();
    const char *path = in_folder("file");
    CHECK_EQ(actor_alone(write_and_read, (void *)path), 0);
    check_contents(path, "Jello");
    unlink(path);
    folder_end();
}

static int
read_to_the_end(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    char got[16] = "";
    size_t done = 0;

    int fd = yula_file_open(loop, arg, O_RDONLY, 0);
    CHECK(fd >= 0);
    CHECK_EQ(yula_file_read_exactly(loop, fd, got, 4, &done), 0);
    CHECK_EQ(done, 4);
    CHECK_EQ(yula_file_read_exactly(loop, fd, got, 10, &done), YULA_EOF);
    CHECK_EQ(done, 8);
    CHECK_STR(got, "01234567");
    done = 2;
    CHECK_EQ(yula_file_read_exactly_at(loop, fd, got, 3, 4, &done), 0);
    CHECK_EQ(memcmp(got, "016", 3), 0); /* got[2] is at 4 + 2 */
    CHECK_EQ(yula_file_read_exactly_at(loop, fd, got, 3, 100, &(size_t){0}),
             YULA_EOF);
    CHECK_EQ(yula_file_read(loop, fd, got, 0), -EINVAL);
    CHECK_EQ(yula_file_read_at(loop, fd, got, 1, -1), -EINVAL);
    CHECK_EQ(yula_file_read_exactly_at(loop, fd, got, 1, -1, &done), -EINVAL);
    CHECK_EQ(yula_file_write_at(loop, fd, got, 1, -1, NULL), -EINVAL);
    CHECK_EQ(yula_file_write(loop, fd, got, 1, NULL), -EBADF);
    CHECK_EQ(yula_file_close(loop, fd), 0);
    return 0;
}

TEST(a_file_that_ends_early_says_so_and_how_far_it_went)
{
    folder_begin();
    const char *path = in_folder("file");
    put(path, "01234567");
    CHECK_EQ(actor_alone(read_to_the_end, (void *)path), 0);
    unlink(path);
    folder_end();
}

static int
long_way_round(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    const int64_t far = (int64_t)6 << 30; /* beyond 32 bits */
    char *bytes = file_pattern(LONG), *got = malloc(LONG);
    size_t put_so_far = 0, done = 0;

    CHECK(got != NULL);
    int fd = yula_file_open(loop, arg, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(yula_file_write_at(loop, fd, bytes, LONG, far, &put_so_far), 0);
    CHECK_EQ(put_so_far, LONG);
    CHECK_EQ(lseek(fd, 0, SEEK_END), far + (int64_t)LONG);
    CHECK_EQ(yula_file_read_exactly_at(loop, fd, got, LONG, far, &done), 0);
    CHECK_EQ(memcmp(bytes, got, LONG), 0);
    memset(got, 1, LONG);
    for (done = 0; done < LONG;) { /* in pieces, some of them at once */
        ssize_t n = yula_file_read_at(loop, fd, got + done,
                                      done % 3 == 0 ? 70001 : 4099,
                                      far + (int64_t)done);
        CHECK(n > 0);
        done += (size_t)n;
        if (LONG - done < 70001)
            break;
    }
    CHECK_EQ(memcmp(bytes, got, done), 0);
    CHECK_EQ(yula_file_close(loop, fd), 0);
    free(bytes);
    free(got);
    return 0;
}

TEST(a_long_file_with_large_offsets_is_the_same_when_read)
{
    folder_begin();
    const char *path = in_folder("file");
    CHECK_EQ(actor_alone(long_way_round, (void *)path), 0);
    unlink(path);
    folder_end();
}

static int
fill_the_disk(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    char bytes[100] = "";
    size_t done = 0;

    int fd = yula_file_open(loop, "/dev/full", O_RDWR, 0);
    CHECK(fd >= 0);
    CHECK_EQ(yula_file_write(loop, fd, bytes, sizeof(bytes), &done), -ENOSPC);
    CHECK_EQ(done, 0);
    CHECK_EQ(yula_file_write(loop, fd, bytes, 0, NULL), 0);
    CHECK_EQ(yula_file_close(loop, fd), 0);
    return 0;
}

TEST(a_full_disk_is_reported)
{
    CHECK_EQ(actor_alone(fill_the_disk, NULL), 0);
}

static int
mistake_a_directory(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    char byte, *base = NULL;
    size_t len = 7;

    int fd = yula_file_open(loop, folder, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    CHECK_EQ(yula_file_read(loop, fd, &byte, 1), -EISDIR);
    CHECK_EQ(yula_file_close(loop, fd), 0);
    CHECK_EQ(yula_file_open(loop, folder, O_WRONLY, 0), -EISDIR);
    CHECK_EQ(yula_file_load(loop, folder, 100, &base, &len), -EISDIR);
    CHECK(base == NULL && len == 7);
    CHECK_EQ(yula_file_save(loop, folder, "x", 1, 0600, 0), -EISDIR);
    CHECK_EQ(yula_file_unlink(loop, folder), -EISDIR);
    CHECK_EQ(yula_file_open(loop, in_folder("no/such"), O_RDONLY, 0), -ENOENT);
    return 0;
}

TEST(a_directory_is_not_mistaken_for_a_file)
{
    folder_begin();
    CHECK_EQ(actor_alone(mistake_a_directory, NULL), 0);
    folder_end();
}

/* --- interruptions ------------------------------------------------------- */

typedef struct transfer {
    int fd;
    char *base;
    size_t len, done;
    int status; /* of the transfer; the actor's result is the next await's */
} transfer;

static int
read_exactly(actor *self, void *arg)
{
    transfer *of = arg;

    of->status = yula_file_read_exactly(self->loop, of->fd, of->base, of->len,
                                        &of->done);
    return yula_task_check(self->loop);
}

static int
read_once(actor *self, void *arg)
{
    transfer *of = arg;

    of->status = (int)yula_file_read(self->loop, of->fd, of->base, of->len);
    return yula_task_check(self->loop);
}

static int
write_all(actor *self, void *arg)
{
    transfer *of = arg;

    of->status = yula_file_write(self->loop, of->fd, of->base, of->len,
                                 &of->done);
    return yula_task_check(self->loop);
}

/* A pipe is not what these calls are for, but it gives as little as one likes,
 * when one likes. */
TEST(what_comes_in_pieces_is_put_together)
{
    yula_loop *loop = test_loop();
    char got[8] = "";
    transfer of = {.base = got, .len = 6};
    int fds[2];
    actor ann;

    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    of.fd = fds[0];
    gate_close("file_read", 100);
    actor_start(&ann, loop, "ann", read_exactly, &of);
    settle(loop);
    for (int i = 0; i < 3; i++) {
        gate_await(1 + i); /* it has come back for more */
        CHECK_EQ(write(fds[1], &"one two"[2 * i], 2), 2);
    }
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(of.status, 0);
    CHECK_STR(got, "one tw");
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
    test_faults_clear();
}

TEST(a_read_that_has_begun_keeps_its_buffer_until_it_ends)
{
    yula_loop *loop = test_loop();
    char got[8] = "";
    transfer of = {.base = got, .len = 6};
    int fds[2];
    actor ann;

    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    of.fd = fds[0];
    gate_close("file_read", 100);
    actor_start(&ann, loop, "ann", read_once, &of);
    settle(loop);
    gate_await(1);
    yula_task_cancel(ann.task);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    CHECK_EQ(write(fds[1], "late", 4), 4);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED); /* by the next await */
    CHECK_EQ(of.status, 4);
    CHECK_STR(got, "late");
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
    test_faults_clear();
}

TEST(a_long_write_stops_between_two_parts_and_goes_on_when_asked)
{
    yula_loop *loop = test_loop();
    transfer of = {.base = file_pattern(LONG), .len = LONG};
    actor ann;

    folder_begin();
    const char *path = in_folder("file");
    of.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    gate_close("file_write", 2);
    actor_start(&ann, loop, "ann", write_all, &of);
    settle(loop);
    gate_await(2);
    yula_task_cancel(ann.task);
    gate_open();
    CHECK_EQ(actor_end(&ann), 0); /* the write has told of it */
    CHECK_EQ(of.status, YULA_ECANCELED);
    CHECK_EQ(of.done, 2 << 20);
    CHECK_EQ(lseek(of.fd, 0, SEEK_CUR), 2 << 20);
    actor_start(&ann, loop, "ann", write_all, &of);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(of.done, LONG);
    CHECK_EQ(lseek(of.fd, 0, SEEK_CUR), LONG);
    close(of.fd);
    unlink(path);
    folder_end();
    free(of.base);
    yula_loop_free(loop);
    test_faults_clear();
}

static int
write_in_time(actor *self, void *arg)
{
    transfer *of = arg;
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(self->loop, &scope,
                                 yula_loop_now(self->loop) + 1000),
             0);
    of->status = yula_file_write(self->loop, of->fd, of->base, of->len,
                                 &of->done);
    return yula_deadline_leave(&scope, of->status);
}

TEST(a_deadline_ends_a_long_write)
{
    yula_loop *loop = test_loop_by_hand();
    transfer of = {.base = file_pattern(LONG), .len = LONG};
    actor ann;

    folder_begin();
    const char *path = in_folder("file");
    of.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    gate_close("file_write", 1);
    actor_start(&ann, loop, "ann", write_in_time, &of);
    settle(loop);
    gate_await(1);
    test_now_ns += 2000;
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    gate_open();
    CHECK_EQ(actor_end(&ann), -ETIMEDOUT);
    CHECK_EQ(of.status, YULA_ECANCELED);
    CHECK_EQ(of.done, 1 << 20);
    close(of.fd);
    unlink(path);
    folder_end();
    free(of.base);
    yula_loop_free(loop);
    test_faults_clear();
}

static int
create(actor *self, void *arg)
{
    int fd = yula_file_open(self->loop, arg, O_WRONLY | O_CREAT, 0600);

    return fd < 0 ? fd : yula_file_close(self->loop, fd);
}

TEST(what_waits_for_a_worker_is_not_done_once_interrupted)
{
    yula_loop *loop = test_loop();
    actor busy[YULA_WORKER_MAX], ann;

    folder_begin();
    const char *path = in_folder("file");
    gate_close("open", 1);
    for (int i = 0; i < YULA_WORKER_MAX; i++)
        actor_start(&busy[i], loop, "busy", create, (void *)"/dev/null");
    settle(loop);
    gate_await(YULA_WORKER_MAX);
    actor_start(&ann, loop, "ann", create, (void *)path);
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(access(path, F_OK), -1);
    gate_open();
    for (int i = 0; i < YULA_WORKER_MAX; i++)
        CHECK_EQ(actor_end(&busy[i]), 0);
    folder_end();
    yula_loop_free(loop);
    test_faults_clear();
}

static int
open_for_later(actor *self, void *arg)
{
    int *fd = arg;

    *fd = yula_file_open(self->loop, "/dev/null", O_RDONLY, 0);
    CHECK(*fd >= 0); /* it had begun: the result is not lost */
    CHECK_EQ(yula_file_close(self->loop, *fd), 0); /* this is, first */
    return yula_task_check(self->loop);
}

TEST(what_was_opened_while_cancelled_is_told_and_closing_is_not_interrupted)
{
    yula_loop *loop = test_loop();
    actor ann;
    int fd = -1;

    gate_close("open", 1);
    actor_start(&ann, loop, "ann", open_for_later, &fd);
    settle(loop);
    gate_await(1);
    yula_task_cancel(ann.task);
    gate_open();
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    yula_loop_free(loop);
    test_faults_clear();
}

static int
close_it(actor *self, void *arg)
{
    return yula_file_close(self->loop, self->number);
}

TEST(without_a_worker_nothing_is_done_but_closing)
{
    yula_loop *loop = test_loop();
    char byte = 'x';
    transfer of = {.base = &byte, .len = 1};
    actor ann;

    of.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    test_fail_sys_named("thread_start", 1, EAGAIN);
    actor_start(&ann, loop, "ann", create, (void *)"/dev/null");
    CHECK_EQ(actor_end(&ann), -EAGAIN);
    actor_start(&ann, loop, "ann", write_all, &of);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK(of.status == -EAGAIN && of.done == 0);
    actor_start(&ann, loop, "ann", close_it, NULL);
    ann.number = of.fd;
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(fcntl(of.fd, F_GETFD), -1);
    yula_loop_free(loop);
    test_faults_clear();
}

/* --- many at a time ------------------------------------------------------ */

static int
save_and_load(actor *self, void *arg)
{
    char path[128], text[32], *base;
    size_t len;

    snprintf(path, sizeof(path), "%s/entry-%d", folder, self->number);
    snprintf(text, sizeof(text), "contents %d", self->number);
    int err = yula_file_save(self->loop, path, text, strlen(text), 0600, 0);
    if (err < 0)
        return err;
    err = yula_file_load(self->loop, path, 100, &base, &len);
    if (err < 0)
        return err;
    CHECK_STR(base, text);
    yula_file_unload(self->loop, base);
    return 0;
}

static void
ignore_signal(int number)
{
}

/* And signals come all the time, which interrupt system calls. */
TEST(many_tasks_have_files_at_the_same_time)
{
    enum {
        COUNT = 200
    };
    const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0}, {0}};
    struct sigaction action = {.sa_handler = ignore_signal}, before;
    yula_loop *loop = test_loop();
    actor actors[COUNT];

    folder_begin();
    CHECK_EQ(sigaction(SIGALRM, &action, &before), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < COUNT; i++) {
        actor_start(&actors[i], loop, "one", save_and_load, NULL);
        actors[i].number = i;
    }
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(actor_end(&actors[i]), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(sigaction(SIGALRM, &before, NULL), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(unlink(entry_name(i)), 0);
    folder_end();
    yula_loop_free(loop);
}

static int
read_on_and_on(actor *self, void *arg)
{
    char bytes[64];

    while (self->number == 0) {
        ssize_t n = yula_file_read_at(self->loop, *(int *)arg, bytes,
                                      sizeof(bytes), 0);
        if (n <= 0)
            return (int)n;
    }
    return 0;
}

static int
say_stop(actor *self, void *arg)
{
    int err = yula_task_sleep(self->loop, 1000);

    ((actor *)arg)->number = 1;
    return err;
}

TEST(a_task_that_reads_what_is_in_memory_lets_others_run)
{
    yula_loop *loop = test_loop();
    actor ann, bob;

    folder_begin();
    const char *path = in_folder("file");
    put(path, "something");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    actor_start(&ann, loop, "ann", read_on_and_on, &fd);
    actor_start(&bob, loop, "bob", say_stop, &ann);
    CHECK_EQ(actor_end(&ann), 0); /* or never */
    CHECK_EQ(actor_end(&bob), 0);
    actor_start(&ann, loop, "ann", read_on_and_on, &fd);
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    close(fd);
    unlink(path);
    folder_end();
    yula_loop_free(loop);
}

/* --- everywhere ---------------------------------------------------------- */

static int
use_file(yula_loop *loop, const char *path)
{
    char got[8];
    size_t done = 0, again = 0;
    yula_file_info info;

    int fd = yula_file_open(loop, path, O_RDWR, 0);
    if (fd < 0)
        return fd;
    int err = yula_file_read_exactly(loop, fd, got, 4, &done);
    if (err == 0)
        err = yula_file_write(loop, fd, got, 4, NULL);
    if (err == 0)
        err = yula_file_write_at(loop, fd, got, 4, 100, NULL);
    if (err == 0)
        err = (int)yula_file_read_at(loop, fd, got, 8, 98);
    if (err >= 0)
        err = (int)yula_file_read(loop, fd, got, 8);
    if (err >= 0)
        err = yula_file_read_exactly_at(loop, fd, got, 8, 90, &again);
    if (err >= 0)
        err = yula_file_sync_data(loop, fd);
    if (err == 0)
        err = yula_file_truncate(loop, fd, 50);
    if (err == 0)
        err = yula_file_fstat(loop, fd, &info);
    if (err == 0)
        err = yula_file_stat(loop, path, &info);
    if (err == 0)
        err = yula_file_lstat(loop, path, &info);
    if (err == 0)
        err = yula_file_sync(loop, fd);
    int closed = yula_file_close(loop, fd);
    return err < 0 ? err : closed;
}

static int
count_entries(yula_loop *loop, const char *path)
{
    yula_dir_entry entry;
    yula_dir *dir;
    int count = 0;

    int err = yula_dir_open(loop, path, &dir);
    if (err < 0)
        return err;
    while ((err = yula_dir_next(dir, &entry)) == 0)
        count++;
    yula_dir_close(dir);
    return err == YULA_EOF ? count : err;
}

/* A bit of everything. What a step has not come to undo is removed at the end:
 * at most these, and nothing with a name of the library's. */
static int
tour(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    const char *sub = "sub", *file = "sub/file", *moved = "sub/moved";
    char *base = NULL;
    size_t len;

    int err = yula_file_mkdir(loop, sub, 0700);
    if (err == 0)
        err = yula_file_save(loop, file, "0123456789", 10, 0600,
                             YULA_FILE_SYNC);
    if (err == 0)
        err = use_file(loop, file);
    if (err == 0)
        err = yula_file_load(loop, file, 1000, &base, &len);
    yula_file_unload(loop, base);
    if (err == 0)
        err = yula_file_rename(loop, file, moved);
    if (err == 0)
        err = count_entries(loop, sub);
    if (err == 1)
        err = yula_file_unlink(loop, moved);
    if (err == 0)
        err = yula_file_rmdir(loop, sub);
    (void)unlink(file);
    (void)unlink(moved);
    CHECK(rmdir(sub) == 0 || errno == ENOENT);
    return err;
}

static void
scene_of_files(yula_loop *loop)
{
    actor ann;

    actor_start(&ann, loop, "ann", tour, NULL);
    int err = actor_end(&ann);
    CHECK(err == 0 || err == YULA_ECANCELED);
}

static int
tour_begin(void)
{
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    folder_begin();
    CHECK_EQ(chdir(folder), 0);
    return before;
}

static void
tour_end(int before)
{
    CHECK_EQ(fchdir(before), 0);
    close(before);
    folder_end();
}

TEST(files_survive_an_interruption_at_every_wait)
{
    int before = tour_begin();

    CHECK(actor_interrupt_everywhere(scene_of_files) >= 14);
    tour_end(before);
}

/* NULL: allocations. Not the write that wakes a sleeping loop: the kernel promises
 * that one. */
static const char *const calls[] = {
    NULL,         "open",     "close_checked", "file_read",
    "file_write", "fsync",    "fdatasync",     "ftruncate",
    "stat",       "rename",   "unlink",        "mkdir",
    "rmdir",      "getdents", "thread_start",  "file_read_cached",
    "epoll_ctl",  "mmap",     "madvise",
};

static void
fail_everywhere(const char *call)
{
    bool failed = true;

    for (long n = 1; failed; n++) {
        yula_loop *loop = test_loop();
        actor ann;
        actor_start(&ann, loop, "ann", tour, NULL);
        if (call == NULL)
            test_fail_alloc(n);
        else
            test_fail_sys_named(call, n, EIO);
        while (!yula_task_ended(ann.task))
            CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
        failed = call == NULL ? test_alloc_failed() : test_sys_failed();
        int result = actor_end(&ann);
        yula_loop_free(loop); /* and its threads */
        CHECK(failed || result == 0);
        if (result < 0)
            CHECK_EQ(result, call == NULL ? -ENOMEM : -EIO);
        test_faults_clear();
    }
}

TEST(a_failing_call_or_allocation_is_told_and_leaves_nothing_behind)
{
    int before = tour_begin();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        fail_everywhere(calls[i]);
    tour_end(before);
}
