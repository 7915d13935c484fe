/* hurt.h: scenes of tasks that wait, hurt in every way at every wait in turn.
 *
 * A scene is a task, the victim, that waits with some calls; another one, the
 * shadow, makes what it waits for come, and hurts it: cancels it while it waits,
 * cancels it when what it waits for was just granted, lets a deadline pass, lets
 * the n-th allocation or system call fail. Whatever happens, nothing may be left
 * over, and an interruption is told to the victim exactly once.
 *
 *     static int
 *     play_sleep(stage *self)
 *     {
 *         return yula_task_sleep(self->loop, 1000000);
 *     }
 *
 *     SCENE(a_sleep, .calls = "yula_task_sleep", .play = play_sleep)
 */
#ifndef YULA__TEST_HURT_H
#define YULA__TEST_HURT_H

#include <sys/socket.h>

#include <yula/yula.h>

#include "test.h"

typedef struct hurt_scene hurt_scene;

/* What a scene may use. */
typedef struct stage {
    const hurt_scene *of;
    yula_loop *loop;
    yula_task *victim, *shadow;
    yula_scope deadline; /* around the victim's part */
    long waits;          /* of the victim, so far */
    int result;
    int later; /* what the victim's next await said */

    int pokes;
    bool done;
    int fds[2]; /* closed at the end, as is: */
    int listening;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char port[8];
    yula_event event;
    yula_mutex mutex;
    yula_condition changed;
    yula_semaphore semaphore;
    yula_queue queue;
    void *slots[1];
    yula_channel *channel, *other;
    yula_mailbox *mailbox;
    yula_signal_set signals;
} stage;

struct hurt_scene {
    const char *calls; /* that the victim waits with */
    int (*play)(stage *self);
    void (*set)(stage *self); /* NULL: nothing; on the shadow's stack, as is: */
    void (*poke)(stage *self); /* NULL: it comes by itself */
    void (*clear)(stage *self);
    bool often;          /* poke not once a wait, but always */
    bool ends_cancelled; /* by itself */
    hurt_scene *next;
};

/* Play a scene unhurt, and then over and over. */
void hurt_play(const hurt_scene *of);
/* Scenes that hurt_nothing_is_forgotten knows of. */
void hurt_add_scene(hurt_scene *of);

/* SCENE(name, .calls = ..., .play = ...): a test that plays it. */
#define SCENE(name, ...)                                                       \
    static hurt_scene scene_of_##name = {__VA_ARGS__};                         \
    __attribute__((constructor)) static void add_scene_of_##name(void)         \
    {                                                                          \
        hurt_add_scene(&scene_of_##name);                                      \
    }                                                                          \
    TEST(name##_survives_being_hurt_at_every_wait)                             \
    {                                                                          \
        hurt_play(&scene_of_##name);                                           \
    }

/* Fails the test unless every call that waits, as the headers in this folder have
 * it, has a scene, or is interrupted by a test in that folder. */
void hurt_check_headers(const char *headers, const char *tests);

/* CHECK, and say in which scene, and how it was hurt. */
void hurt_say_where(void);
#define OUGHT(expr)                                                            \
    do {                                                                       \
        if (!(expr)) {                                                         \
            hurt_say_where();                                                  \
            CHECK(expr);                                                       \
        }                                                                      \
    } while (0)

#endif /* YULA__TEST_HURT_H */
