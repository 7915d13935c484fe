/* test_file_whole.c: whole files, names and directories. */
#include <yula/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors.h"
#include "folder.h"
#include "support.h"
#include "test.h"

/* --- whole files --------------------------------------------------------- */

static int
load(yula_loop *loop, const char *path, size_t limit, const char *expected)
{
    char *base;
    size_t len;
    int err = yula_file_load(loop, path, limit, &base, &len);

    if (err < 0)
        return err;
    CHECK_STR(base, expected);
    CHECK_EQ(len, strlen(expected));
    yula_file_unload(loop, base);
    return 0;
}

static int
load_some(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    const char *path = arg;
    char *base;
    size_t len;

    CHECK_EQ(load(loop, path, 8, "01234567"), 0);
    CHECK_EQ(load(loop, path, SIZE_MAX, "01234567"), 0);
    CHECK_EQ(load(loop, path, 7, ""), -EFBIG);
    CHECK_EQ(load(loop, path, 0, ""), -EFBIG);
    CHECK_EQ(load(loop, "/dev/null", 0, ""), 0);
    CHECK_EQ(load(loop, "/dev/zero", 100000, ""), -EFBIG);
    CHECK_EQ(load(loop, in_folder("nothing"), 9, ""), -ENOENT);
    /* Longer than it says, and than what is read of it at first. */
    CHECK_EQ(yula_file_load(loop, "/proc/kallsyms", SIZE_MAX, &base, &len), 0);
    CHECK(len > 100000 && base[len] == '\0');
    yula_file_unload(loop, base);
    yula_file_unload(loop, NULL);
    return 0;
}

TEST(a_whole_file_is_read_up_to_a_limit_whatever_its_size_says)
{
    folder_begin();
    const char *path = in_folder("file");
    put(path, "01234567");
    CHECK_EQ(actor_alone(load_some, (void *)path), 0);
    unlink(path);
    folder_end();
}

static int
save_some(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    const char *path = arg;
    struct stat info;

    CHECK_EQ(yula_file_save(loop, path, "one", 3, 0600, 0), 0);
    check_contents(path, "one");
    CHECK_EQ(stat(path, &info), 0);
    CHECK_EQ(info.st_mode & 0777, 0600);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(yula_file_save(loop, path, "two!", 4, 0400, YULA_FILE_SYNC), 0);
    check_contents(path, "two!");
    char got[8] = "";
    CHECK_EQ(read(fd, got, 7), 3); /* who has the old one keeps it */
    CHECK_STR(got, "one");
    close(fd);
    CHECK_EQ(yula_file_save(loop, path, "", 0, 0600, YULA_FILE_SYNC), 0);
    check_contents(path, "");
    CHECK_EQ(yula_file_save(loop, path, "x", 1, 0600, 0x80), -EINVAL);
    CHECK_EQ(yula_file_save(loop, "", "x", 1, 0600, 0), -ENOENT);
    CHECK_EQ(yula_file_save(loop, in_folder("no/such"), "x", 1, 0600, 0),
             -ENOENT);
    return 0;
}

TEST(a_file_is_replaced_at_once)
{
    folder_begin();
    const char *path = in_folder("file");
    CHECK_EQ(actor_alone(save_some, (void *)path), 0);
    unlink(path);
    folder_end();
}

static int
save_here(actor *self, void *arg)
{
    return yula_file_save(self->loop, "here", "x", 1, 0600, YULA_FILE_SYNC);
}

TEST(a_file_of_the_current_directory_is_replaced_as_well)
{
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    folder_begin();
    CHECK_EQ(chdir(folder), 0);
    CHECK_EQ(actor_alone(save_here, NULL), 0);
    check_contents("here", "x");
    CHECK_EQ(unlink("here"), 0);
    CHECK_EQ(fchdir(before), 0);
    close(before);
    folder_end();
}

static int
save_long(actor *self, void *arg)
{
    char *bytes = file_pattern(LONG);
    int err = yula_file_save(self->loop, arg, bytes, LONG, 0600,
                             YULA_FILE_SYNC);

    free(bytes);
    return err;
}

/* At every system call of it that a test can hold up. */
TEST(saving_that_is_cancelled_leaves_the_old_file_or_the_new_one)
{
    static const char *const names[] = {"open", "file_write", "fsync",
                                        "rename"};

    folder_begin();
    const char *path = in_folder("file");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        yula_loop *loop = test_loop();
        actor ann;
        put(path, "old");
        gate_close(names[i], i == 1 ? 3 : 1);
        actor_start(&ann, loop, "ann", save_long, (void *)path);
        settle(loop);
        gate_await(i == 1 ? 3 : 1);
        yula_task_cancel(ann.task);
        settle(loop);
        CHECK(!yula_task_ended(ann.task)); /* the worker has its bytes */
        gate_open();
        int err = actor_end(&ann);
        CHECK_EQ(err, i == 3 ? 0 : YULA_ECANCELED); /* too late for rename */
        if (err < 0)
            check_contents(path, "old");
        yula_loop_free(loop);
        test_faults_clear();
    }
    unlink(path);
    folder_end();
}

/* --- names --------------------------------------------------------------- */

static int
move_things(actor *self, void *arg)
{
    yula_loop *loop = self->loop;
    const char *from = in_folder("from"), *to = in_folder("to");
    const char *link = in_folder("link");
    yula_file_info info, same;

    CHECK_EQ(yula_file_mkdir(loop, from, 0700), 0);
    CHECK_EQ(yula_file_mkdir(loop, from, 0700), -EEXIST);
    CHECK_EQ(yula_file_rename(loop, from, to), 0);
    CHECK_EQ(yula_file_stat(loop, from, &info), -ENOENT);
    CHECK_EQ(yula_file_stat(loop, to, &info), 0);
    CHECK(S_ISDIR(info.mode));
    CHECK_EQ(symlink(to, link), 0);
    CHECK_EQ(yula_file_stat(loop, link, &same), 0);
    CHECK(same.inode == info.inode && same.device == info.device);
    CHECK_EQ(yula_file_lstat(loop, link, &same), 0);
    CHECK(S_ISLNK(same.mode) && same.inode != info.inode);
    CHECK(same.modified_ns / 1000000000 > 1700000000);
    CHECK_EQ(yula_file_rmdir(loop, link), -ENOTDIR);
    CHECK_EQ(yula_file_unlink(loop, link), 0);
    CHECK_EQ(yula_file_unlink(loop, link), -ENOENT);
    CHECK_EQ(yula_file_rmdir(loop, to), 0);
    CHECK_EQ(yula_file_fstat(loop, -1, &info), -EBADF);
    return 0;
}

TEST(files_and_directories_are_made_renamed_looked_at_and_removed)
{
    folder_begin();
    CHECK_EQ(actor_alone(move_things, NULL), 0);
    folder_end();
}

/* --- directories --------------------------------------------------------- */

enum {
    ENTRIES = 1500 /* more than are fetched at a time */
};

static int
list_folder(actor *self, void *arg)
{
    bool seen[ENTRIES] = {false};
    yula_dir_entry entry;
    yula_dir *dir;
    int count = 0, number;

    int err = yula_dir_open(self->loop, arg, &dir);
    if (err < 0)
        return err;
    while ((err = yula_dir_next(dir, &entry)) == 0) {
        CHECK_EQ(sscanf(entry.name, "entry-%d", &number), 1);
        CHECK(number >= 0 && number < ENTRIES && !seen[number]);
        CHECK_EQ(entry.kind, number == 7 ? S_IFDIR : S_IFREG);
        CHECK(entry.inode != 0);
        seen[number] = true;
        count++;
    }
    if (err == YULA_EOF)
        CHECK_EQ(yula_dir_next(dir, &entry), YULA_EOF);
    yula_dir_close(dir);
    return err == YULA_EOF ? count : err;
}

static void
fill_folder(int count)
{
    for (int i = 0; i < count; i++) {
        if (i == 7)
            CHECK_EQ(mkdir(entry_name(i), 0700), 0);
        else
            put(entry_name(i), "");
    }
}

static void
empty_folder(int count)
{
    for (int i = 0; i < count; i++)
        CHECK_EQ(remove(entry_name(i)), 0);
}

TEST(every_entry_of_a_directory_is_told_once)
{
    folder_begin();
    CHECK_EQ(actor_alone(list_folder, folder), 0);
    fill_folder(ENTRIES);
    CHECK_EQ(actor_alone(list_folder, folder), ENTRIES);
    CHECK_EQ(actor_alone(list_folder, (void *)entry_name(0)), -ENOTDIR);
    empty_folder(ENTRIES);
    CHECK_EQ(actor_alone(list_folder, (void *)entry_name(0)), -ENOENT);
    yula_dir_close(NULL);
    folder_end();
}

static int
next_entry(actor *self, void *arg)
{
    yula_dir_entry entry;

    return yula_dir_next(arg, &entry);
}

static int
open_dir(actor *self, void *arg)
{
    return yula_dir_open(self->loop, folder, arg);
}

TEST(a_directory_is_read_by_one_task_at_a_time_and_an_interrupted_one_goes_on)
{
    yula_loop *loop = test_loop();
    yula_dir *dir = NULL;
    actor ann, bob;

    folder_begin();
    gate_close("getdents", 2); /* the opening fetches, too */
    actor_start(&ann, loop, "ann", open_dir, &dir);
    CHECK_EQ(actor_end(&ann), 0);
    actor_start(&ann, loop, "ann", next_entry, dir);
    settle(loop);
    actor_start(&bob, loop, "bob", next_entry, dir);
    CHECK_EQ(actor_end(&bob), -EBUSY);
    gate_await(2);
    yula_task_cancel(ann.task);
    gate_open();
    CHECK_EQ(actor_end(&ann), YULA_EOF); /* it had begun */
    CHECK_EQ(rmdir(folder), 0);
    actor_start(&ann, loop, "ann", next_entry, dir);
    CHECK_EQ(actor_end(&ann), -ENOENT);
    yula_dir_close(dir);
    yula_loop_free(loop);
    test_faults_clear();
}
