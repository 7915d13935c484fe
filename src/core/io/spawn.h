/* spawn.h: a child process, from options to a running program. */
#ifndef YULA__SPAWN_H
#define YULA__SPAWN_H

#include <yula/process.h>

/* fds[i] of the child leads where sources[i] of the parent does. */
#define YULA__SPAWN_DEVNULL (-1)
#define YULA__SPAWN_AS_IT_IS (-2)

/* Start it. sources: of standard input, output and error.
 *
 * pid, pidfd  receive the child; pidfd is -1 where there are none.
 *
 * Returns 0, or a negative errno: then no child is left. */
int yula__spawn(yula_loop *loop, const yula_process_options *options,
                const int sources[3], pid_t *pid, int *pidfd);

/* process.c: kill, collect and free a process that was started just now. */
void yula__process_discard(yula_process *process);

#endif /* YULA__SPAWN_H */
