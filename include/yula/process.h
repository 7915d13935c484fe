/* process.h: child processes.
 *
 * A child is started without copying the parent (as posix_spawn does it), and
 * gets the descriptors it is given and no others, whatever other threads open
 * meanwhile. Its end is reported by a descriptor of its own (a pidfd), not by
 * SIGCHLD: that signal may be blocked, ignored or handled by somebody else, and
 * several loops may have children. Without pidfds (Linux before 5.3) a thread
 * waits for each.
 */
#ifndef YULA_PROCESS_H
#define YULA_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

#include <yula/pipe.h>

YULA_BEGIN

typedef struct yula_process yula_process;

/* Where a standard descriptor of the child leads. */
typedef enum yula_process_io {
    YULA_PROCESS_INHERIT = 0, /* where the parent's does */
    YULA_PROCESS_DEVNULL = 1,
    YULA_PROCESS_PIPE = 2, /* to the parent: see yula_process_take */
    YULA_PROCESS_FD = 3,   /* to fd */
    YULA_PROCESS_STDOUT =
        4, /* standard error only: where standard output does */
} yula_process_io;

typedef struct yula_process_stdio {
    yula_process_io io;
    int fd; /* of YULA_PROCESS_FD: stays the caller's */
} yula_process_stdio;

/* Flags of yula_process_options. */
enum {
    YULA_PROCESS_NEW_SESSION = 1u << 0, /* setsid(2): no terminal */
    YULA_PROCESS_NEW_GROUP = 1u << 1,   /* a process group of its own */
};

/* Zeroed means defaults, argv apart. Checked through size = sizeof(options). */
typedef struct yula_process_options {
    size_t size;
    const char *const *argv; /* argv[0], ..., NULL */
    /* To execute; NULL: argv[0]. Without a "/" it is looked for in env's PATH. */
    const char *file;
    const char *const *env; /* "NAME=value", ..., NULL; or NULL: the parent's */
    const char *cwd;        /* working directory; NULL: the parent's */
    yula_process_stdio stdio[3];
    /* Others that the child shall have, 3 or higher, under the same numbers. */
    const int *pass_fds;
    unsigned pass_count;
    unsigned flags;
    void *reserved[6];
} yula_process_options;

/* The child has ended; called once, on the loop, in the process's lane, never
 * inside yula_process_start. The process may be freed in it. What the child wrote
 * may not have been read yet, and a child of its own may still write.
 *
 * status  as wait(2) gives it (WIFEXITED, WEXITSTATUS, WTERMSIG ... of
 *         <sys/wait.h>); -ECHILD: it has ended, but somebody else collected the
 *         status, or SIGCHLD is ignored, on Linux before 6.15.
 */
typedef void (*yula_process_exit_cb)(yula_process *process, int status,
                                     void *arg);

/* Start a child. Blocks no signal in it, whatever the parent does; what the parent
 * ignores it ignores too, but for SIGPIPE and SIGCHLD.
 *
 * options  copied or used before this returns.
 * cb, arg  see above; cb may be NULL.
 *
 * Returns 0: the program runs; or, with no child left, what execve(2), chdir(2)
 * or opening failed with (-ENOENT, -EACCES, -E2BIG ...); -EAGAIN (too many
 * processes), -ENOMEM, -EMFILE, -EBADF (a descriptor that is not open), -EINVAL.
 * Thread: loop.  Blocks: until the child executes its program (the calling thread).
 * Calls back: later.  GIL: not used.
 */
YULA_API int yula_process_start(yula_loop *loop, yula_lane lane,
                                const yula_process_options *options,
                                yula_process_exit_cb cb, void *arg,
                                yula_process **out);

/* Let go. A child that has not ended runs on: it is not signalled, cb will not be
 * called, the loop does not run for its sake, and it is collected in the background
 * when it ends, so that no zombie is left, also after the loop was freed. (To end it
 * first: yula_process_signal with SIGKILL.) Pipe ends not taken are closed. NULL is
 * fine.
 *
 * Thread: loop, before yula_loop_free.  Blocks: no.  Calls back: no.
 * GIL: not used.
 */
YULA_API void yula_process_free(yula_process *process);

/* Its number: whose it is once the child has ended is not said. Thread: loop. */
YULA_API pid_t yula_process_pid(const yula_process *process);

/* The status as in the callback, or -EBUSY: it has not ended, or the loop does
 * not know yet. Thread: loop. */
YULA_API int yula_process_status(const yula_process *process);

/* What a shell would call a status: the exit code, or 128 and the number of the
 * signal; a negative code stays as it is. Thread: any. */
YULA_API int yula_process_code(int status);

/* Our end of a pipe, for a yula_pipe_writer (0) or a yula_pipe_reader (1, 2).
 *
 * which  0, 1 or 2: the child's standard input, output, error.
 *
 * Returns a non-blocking descriptor, which is the caller's from now on; -EBADF: no
 * pipe was asked for, or it was taken already.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_process_take(yula_process *process, int which);

/* Send a signal to the child, and to nobody else who might have got its number;
 * or to its whole process group, if it was started with one of its own.
 *
 * Returns 0; -ESRCH (it has ended), -EINVAL (no such signal; no group of its own),
 * -EPERM (it runs as another user by now).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_process_signal(yula_process *process, int number);
YULA_API int yula_process_signal_group(yula_process *process, int number);

/* --- as tasks use it ------------------------------------------------------ */

/* A child with calls that wait, and its pipes with it. The rules of await.h
 * apply. */
typedef struct yula_child yula_child;

/* Start one, as yula_process_start, which also says what is returned. After -ENOMEM
 * and -ENOSPC it may have begun to run, and was killed.
 *
 * Thread: loop.  Blocks: until the child executes its program.  Calls back: no.
 * GIL: not used.
 */
YULA_API int yula_child_start(yula_loop *loop,
                              const yula_process_options *options,
                              yula_child **out);

/* Close the pipes and let go, as yula_process_free: a child that runs runs on.
 * Nobody may be waiting for it. NULL is fine.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_child_close(yula_child *child);

/* The ends of its pipes, which stay the child's; NULL: it has none, or it was
 * closed. Thread: loop. */
YULA_API yula_sink *yula_child_stdin(yula_child *child);
YULA_API yula_source *yula_child_stdout(yula_child *child);
YULA_API yula_source *yula_child_stderr(yula_child *child);

/* Close its standard input, after what was written: the child reads the end.
 * Nobody may be writing. Thread: loop.  Blocks: no.  Calls back: no. */
YULA_API void yula_child_close_stdin(yula_child *child);

/* The process underneath, for its number and for signals (its owner is the child:
 * no _free, no _take). Thread: loop. */
YULA_API yula_process *yula_child_process(yula_child *child);

/* Wait for its end. Any number of tasks may, at any time; also afterwards.
 *
 * Returns the status (>= 0), YULA_ECANCELED (the child runs on), or -ECHILD; see
 * yula_process_exit_cb.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_child_wait(yula_child *child);

/* End it, with its process group if it has one of its own: SIGTERM, and SIGKILL if
 * it has not ended after a while; and wait for that.
 *
 * grace_ns  from SIGTERM to SIGKILL; 0: SIGKILL at once. Being interrupted cuts it
 *           short; nothing interrupts the wait that follows SIGKILL.
 *
 * Returns as yula_child_wait; after YULA_ECANCELED, too, the child has ended.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_child_stop(yula_child *child, int64_t grace_ns);

/* What a child had to say. Each text has a NUL behind it, or is NULL where there is
 * no pipe. */
typedef struct yula_child_result {
    int status; /* >= 0 or -ECHILD, see yula_process_exit_cb; -EBUSY: runs on */
    char *out;
    char *err;
    size_t out_len; /* bytes */
    size_t err_len;
} yula_child_result;

/* Write to its standard input, close that, read its output and errors until both
 * ends, and wait for its end, all at the same time. A child that does not want
 * its input is no failure. Other tasks must keep off its pipes meanwhile.
 *
 * input   input_len bytes; borrowed. None where there is no pipe.
 * limit   most bytes of each of output and errors.
 * result  receives, also on failure, what has come; free it in every case.
 *
 * Returns 0 (whatever the status says), YULA_ECANCELED (a deadline, say: the child
 * runs on), -EMSGSIZE (beyond the limit), -ENOMEM, or what reading and writing fail
 * with.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_child_communicate(yula_child *child, const void *input,
                                    size_t input_len, size_t limit,
                                    yula_child_result *result);

/* Start a child, communicate, and leave nothing behind: on failure or interrupted
 * it is killed (its group, if it has its own), and waited for.
 *
 * Returns as yula_child_start and yula_child_communicate.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_child_run(yula_loop *loop,
                            const yula_process_options *options,
                            const void *input, size_t input_len, size_t limit,
                            yula_child_result *result);

/* Give the texts back; a zeroed result has none. Thread: loop. */
YULA_API void yula_child_result_free(yula_loop *loop,
                                     yula_child_result *result);

YULA_END

#endif /* YULA_PROCESS_H */
