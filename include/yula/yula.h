/* yula.h: event loop, tasks and structured concurrency for C programs.
 *
 * Includes every public header. A program makes a loop (yula_loop_new), runs a
 * task on it (yula_task_run) and frees it (yula_loop_free). Tasks are functions
 * with stacks of their own that wait without blocking: for time, for other tasks,
 * for connections, files, names, signals and blocking calls on worker threads.
 * Underneath, and beside them, are callbacks: streams, datagrams, pipes, listeners,
 * watchers, timers and posted work.
 *
 * Results. 0 or a count; on failure a negated errno or a code of err.h, which
 * yula_strerror puts into words. Nothing goes through errno. The outputs of a
 * function that failed are untouched.
 *
 * Threads. One thread owns a loop. What is marked "Thread: loop" belongs to that
 * thread; "in a task" may wait, and is for tasks only; "Thread: any" may be called
 * from everywhere. Work reaches a loop from outside by yula_work_post.
 *
 * Marks. Each function says on which thread it may be called, what it blocks on,
 * whether it calls back (no, later, before return), and whether the lock of a
 * host, Python's GIL, matters. Where that is left out, it is: loop, no, no, not used.
 *
 * Time is in nanoseconds: ..._ns is a span, deadline_ns a time of the loop's clock
 * (yula_loop_now). YULA_NEVER never comes. Sizes are bytes.
 *
 * Mistakes. A broken rule that would corrupt memory (waiting outside of a task, a
 * scope that is not left, freeing what a task waits on) ends the program with a
 * sentence on standard error. Builds with -Dchecks=true look for more, calls from
 * the wrong thread among them.
 */
#ifndef YULA_YULA_H
#define YULA_YULA_H

#include <yula/await.h>
#include <yula/channel.h>
#include <yula/cluster.h>
#include <yula/conn.h>
#include <yula/coroutine.h>
#include <yula/datagram.h>
#include <yula/err.h>
#include <yula/file.h>
#include <yula/group.h>
#include <yula/listener.h>
#include <yula/local.h>
#include <yula/loop.h>
#include <yula/mailbox.h>
#include <yula/pipe.h>
#include <yula/process.h>
#include <yula/resolve.h>
#include <yula/scope.h>
#include <yula/signal.h>
#include <yula/stack.h>
#include <yula/stream.h>
#include <yula/sync.h>
#include <yula/task.h>
#include <yula/timer.h>
#include <yula/watcher.h>
#include <yula/work.h>
#include <yula/worker.h>

#endif /* YULA_YULA_H */
