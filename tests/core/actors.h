/* actors.h: tasks of a test that write what happens to them into one log.
 *
 *     actor ann = actor_start(loop, "ann", lock_and_sleep, &mutex);
 *     settle(loop);
 *     CHECK_STR(actor_log(), "ann has it. ");
 */
#ifndef YULA__TEST_ACTORS_H
#define YULA__TEST_ACTORS_H

#include <yula/yula.h>

typedef struct actor {
    const char *name;
    yula_loop *loop;
    yula_task *task; /* a reference; NULL after actor_end */
    int (*play)(struct actor *self, void *arg);
    void *arg;
    int number; /* for play to use */
} actor;

/* Start one: it plays in the next turns. actor stays the caller's. */
void actor_start(actor *self, yula_loop *loop, const char *name,
                 int (*play)(actor *self, void *arg), void *arg);

/* Let the tasks go as far as they can without time passing. */
void settle(yula_loop *loop);

/* Run until it has ended, and return its result. */
int actor_end(actor *self);

/* Append "name what. " to the log. */
void actor_note(const actor *self, const char *what);

/* What was written since the last call; valid until the next. */
const char *actor_log(void);

/* Play on a loop of its own until the end; everything must have been given
 * back. Returns the result. */
int actor_alone(int (*play)(actor *self, void *arg), void *arg);

/* Play a scene over and over: in the n-th round the n-th wait of all its tasks
 * is interrupted, until a round has fewer waits. The scene makes and ends all it
 * needs; cancelled or not, it must leave nothing behind.
 *
 * Returns how many rounds were interrupted. */
int actor_interrupt_everywhere(void (*scene)(yula_loop *loop));

#endif /* YULA__TEST_ACTORS_H */
