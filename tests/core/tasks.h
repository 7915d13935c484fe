/* tasks.h: what the tests of tasks share: a loop whose clock jumps to the next
 * deadline when nothing is ready, and a log of letters.
 */
#ifndef YULA__TEST_TASKS_H
#define YULA__TEST_TASKS_H

#include <yula/yula.h>

/* What happened, in order. */
extern char log_text[1024];
void log_letter(char letter);

yula_loop *tasks_begin(void);

/* Run until nothing is left to do; time passes without waiting. */
void tasks_run_dry(yula_loop *loop);

/* The same; then no task may be left, no stack in use, and the loop is freed. */
void tasks_end(yula_loop *loop);

/* Spawn body as the only task, and see it to its end. Returns its result. */
int tasks_main(yula_task_cb body, void *arg);

/* Spawn a detached task; fails the test on error. */
void tasks_spawn(yula_loop *loop, yula_task_cb body, void *arg);

/* A body: waits until it is cancelled, and says so with the letter arg points
 * to. */
int tasks_wait_forever(yula_task *task, void *arg);

#endif /* YULA__TEST_TASKS_H */
