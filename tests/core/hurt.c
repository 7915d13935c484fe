/* hurt.c: see hurt.h. */
#include "hurt.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coro/task_i.h"
#include "support.h"

#define MS INT64_C(1000000)

/* --- hurting ------------------------------------------------------------- */

typedef enum how {
    UNHURT,
    CANCELED,      /* while it waits */
    CANCELED_FROM, /* and again in every later wait, of its clean-up */
    GRANTED,       /* when it will go on */
    TIMED_OUT,
    NO_MEMORY,
    NO_CALL,      /* the n-th fails */
    NO_MORE_CALLS /* and all that follow */
} how;

static const char *const how_names[] = {"unhurt",
                                        "cancelled in wait",
                                        "cancelled from wait",
                                        "cancelled after wait",
                                        "deadline in wait",
                                        "no memory at allocation",
                                        "failing call",
                                        "failing calls from"};

typedef struct hurt {
    how how;
    long n;
    const char *call;
    int error;
    bool passing; /* such a failure does not last */
    bool done;
} hurt;

static stage *staged;
static hurt hurting;

void
hurt_say_where(void)
{
    printf("  scene of %s: %s %ld (%s)\n", staged->of->calls,
           how_names[hurting.how], hurting.n,
           hurting.call != NULL ? hurting.call : "");
}

static void
count_wait(yula_task *task)
{
    if (task == staged->victim && task->state == YULA_TASK_WAITING)
        staged->waits++;
}

static void
look_at_victim(stage *self)
{
    bool due = self->waits == hurting.n && !hurting.done;

    switch (hurting.how) {
    case CANCELED:
    case CANCELED_FROM:
        if (self->victim->state != YULA_TASK_WAITING || !due)
            return;
        yula_task_cancel(self->victim);
        hurting.n += hurting.how == CANCELED_FROM;
        break;
    case GRANTED:
        if (self->victim->state != YULA_TASK_READY || !due)
            return;
        yula_task_cancel(self->victim);
        break;
    case TIMED_OUT:
        if (self->victim->state != YULA_TASK_WAITING || !due)
            return;
        OUGHT(yula_deadline_move(&self->deadline, 1) == 0);
        break;
    default:
        return;
    }
    hurting.done = hurting.how != CANCELED_FROM;
}

static void
arm_failure(void)
{
    if (hurting.how == NO_MEMORY)
        test_fail_alloc(hurting.n);
    else if (hurting.how == NO_CALL)
        test_fail_sys_once(hurting.call, hurting.n, hurting.error);
    else if (hurting.how == NO_MORE_CALLS)
        test_fail_sys_named(hurting.call, hurting.n, hurting.error);
}

/* --- the two tasks ------------------------------------------------------- */

static int
victim_main(yula_task *task, void *arg)
{
    stage *self = arg;

    OUGHT(yula_deadline_enter(self->loop, &self->deadline, YULA_NEVER) == 0);
    self->result = yula_deadline_leave(&self->deadline, self->of->play(self));
    self->later = yula_task_check(self->loop);
    return 0;
}

/* Never leaves the queue of ready tasks: so it goes on between whatever resumes
 * the victim and the victim itself. Time passes with its turns. */
static int
shadow_main(yula_task *task, void *arg)
{
    stage *self = arg;
    yula_task_options options = {.size = sizeof(options), .name = "victim"};
    long poked = 0, idle = 0;

    self->shadow = task;
    if (self->of->set != NULL)
        self->of->set(self);
    OUGHT(yula_task_spawn(self->loop, &options, victim_main, self,
                          &self->victim) == 0);
    arm_failure();
    while (!yula_task_ended(self->victim)) {
        look_at_victim(self);
        if (self->of->poke != NULL && idle >= 2 &&
            self->victim->state == YULA_TASK_WAITING &&
            (self->of->often || self->waits > poked)) {
            poked = self->waits;
            self->of->poke(self);
            look_at_victim(self);
        }
        long waits = self->waits;
        test_now_ns += 10 * MS;
        OUGHT(yula_task_yield(self->loop) == 0);
        idle = waits == self->waits ? idle + 1 : 0;
    }
    yula_task_unref(self->victim);
    return 0;
}

static void
close_all(stage *self)
{
    for (int i = 0; i < 2; i++) {
        if (self->fds[i] >= 0)
            close(self->fds[i]);
    }
    if (self->listening >= 0)
        close(self->listening);
}

/* Returns whether there was an n-th thing to hurt. */
static bool
play_once(const hurt_scene *of, hurt with)
{
    stage self = {.of = of, .fds = {-1, -1}, .listening = -1};
    long memory = test_memory_live();
    int fds = test_descriptors();
    yula_stack_stats stacks;

    staged = &self;
    hurting = with;
    self.loop = test_loop_by_hand();
    yula__task_switch_hook = count_wait;
    OUGHT(yula_task_run(self.loop, NULL, shadow_main, &self, NULL) == 0);
    yula__task_switch_hook = NULL;
    bool failed = test_alloc_failed() || test_sys_failed();
    test_faults_clear();
    close_all(&self);
    if (of->clear != NULL)
        of->clear(&self);
    OUGHT(yula_loop_run(self.loop) == 0); /* what goes on in the background */
    test_loop_check(self.loop);
    yula_stack_get_stats(self.loop, &stacks);
    OUGHT(yula_task_count(self.loop) == 0);
    OUGHT(stacks.in_use == 0);
    OUGHT(self.loop->timer_count == 0);
    OUGHT(self.loop->watched == 0);
    OUGHT(self.loop->refs == 0);
    OUGHT(self.loop->requests == NULL);
    yula_loop_free(self.loop);
    OUGHT(test_memory_live() == memory);
    OUGHT(test_descriptors() == fds);

    bool told = self.result == YULA_ECANCELED;
    bool told_later = self.later == YULA_ECANCELED;
    switch (with.how) {
    case UNHURT:
        OUGHT(self.result == 0 && self.later == 0);
        OUGHT(self.waits > 0);
        return true;
    case CANCELED:
    case GRANTED:
        if (hurting.done && !of->ends_cancelled)
            OUGHT(told + told_later == 1 && (told || self.result == 0));
        return self.waits >= with.n;
    case CANCELED_FROM:
        return self.waits >= with.n;
    case TIMED_OUT:
        OUGHT(self.result == 0 || (hurting.done && self.result == -ETIMEDOUT));
        OUGHT(self.later == 0 || of->ends_cancelled);
        return self.waits >= with.n;
    case NO_MEMORY:
        OUGHT(self.result == 0 || (failed && self.result == -ENOMEM));
        return failed;
    default:
        OUGHT(self.result == 0 || (failed && self.result < 0));
        return failed;
    }
}

static const hurt calls[] = {
    {.call = "accept", .error = EMFILE},
    {.call = "accept", .error = ECONNABORTED, .passing = true},
    {.call = "connect", .error = ECONNREFUSED},
    {.call = "epoll_ctl", .error = ENOMEM},
    {.call = "getsockopt", .error = ENOBUFS},
    {.call = "madvise", .error = EINVAL},
    {.call = "mmap", .error = ENOMEM},
    {.call = "mprotect", .error = ENOMEM},
    {.call = "pipe", .error = EMFILE},
    {.call = "recv", .error = ECONNRESET},
    {.call = "recvfrom", .error = ECONNREFUSED},
    {.call = "send", .error = EPIPE},
    {.call = "sendmsg", .error = ECONNRESET},
    {.call = "sendto", .error = ENOBUFS},
    {.call = "setsockopt", .error = ENOMEM},
    {.call = "shutdown", .error = ENOTCONN},
    {.call = "sigaction", .error = EINVAL},
    {.call = "socket", .error = EMFILE},
    {.call = "thread_start", .error = EAGAIN},
};

void
hurt_play(const hurt_scene *of)
{
    (void)play_once(of, (hurt){.how = UNHURT});
    for (how way = CANCELED; way <= NO_MEMORY; way++) {
        long n = way == GRANTED ? 0 : 1; /* also before it begins */
        while (play_once(of, (hurt){.how = way, .n = n}))
            n++;
    }
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (how way = NO_CALL;
             way <= (calls[i].passing ? NO_CALL : NO_MORE_CALLS); way++) {
            hurt next = calls[i];
            next.how = way;
            for (next.n = 1; play_once(of, next); next.n++)
                ;
        }
    }
}

/* --- nothing was forgotten ----------------------------------------------- */

static hurt_scene *first_scene;

void
hurt_add_scene(hurt_scene *of)
{
    of->next = first_scene;
    first_scene = of;
}

/* A whole file, which is forgotten by the next call. */
static const char *
read_file(const char *dir, const char *name)
{
    static char text[256 * 1024];
    char path[4096];

    CHECK(snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path));
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    CHECK(len < sizeof(text) - 1);
    text[len] = '\0';
    return text;
}

/* Call look(text, arg) for each file of a folder whose name ends so, until it
 * returns true. */
static bool
look_into_files(const char *path, const char *ending,
                bool (*look)(const char *text, void *arg), void *arg)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool found = false;

    CHECK(dir != NULL);
    while (!found && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), end = strlen(ending);
        if (len > end && strcmp(entry->d_name + len - end, ending) == 0)
            found = look(read_file(path, entry->d_name), arg);
    }
    closedir(dir);
    return found;
}

static bool
has_scene(const char *name)
{
    size_t len = strlen(name);

    for (const hurt_scene *at = first_scene; at != NULL; at = at->next) {
        for (const char *found = strstr(at->calls, name); found != NULL;
             found = strstr(found + 1, name)) {
            if (found[len] == ' ' || found[len] == '\0')
                return true;
        }
    }
    return false;
}

/* Other tests have scenes of their own. */
static bool
interrupts_calls_of(const char *text, void *name)
{
    size_t len = strlen(name);

    if (strstr(text, "actor_interrupt_everywhere(") == NULL)
        return false;
    for (const char *found = strstr(text, name); found != NULL;
         found = strstr(found + 1, name)) {
        if (found[len] == '(')
            return true;
    }
    return false;
}

static char waiting[100][80]; /* names of what waits */
static int waiting_count;

/* The functions declared from a comment that says that they block the task to
 * the next comment. */
static void
note_prototypes(const char *from, const char *until)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    static const char mark[] = "YULA_API";

    while ((from = strstr(from, mark)) != NULL && from < until) {
        from = strstr(from, "yula_");
        size_t len = strspn(from, letters);
        if (from[len] != '(') { /* the type of the result */
            from = strstr(from + len, "yula_");
            len = strspn(from, letters);
        }
        CHECK(waiting_count < 100 && len < sizeof(waiting[0]));
        memcpy(waiting[waiting_count++], from, len);
    }
}

static bool
note_header(const char *text, void *arg)
{
    static const char mark[] = "Blocks: the task";

    if (strstr(text, "Python.h") != NULL)
        return false; /* tests/py/test_c_api.py */
    for (const char *at = strstr(text, mark); at != NULL;
         at = strstr(at + 1, mark)) {
        const char *end = strstr(at, "\n/* ");
        note_prototypes(at, end != NULL ? end : at + strlen(at));
    }
    return false;
}

void
hurt_check_headers(const char *headers, const char *tests)
{
    int missing = 0;

    (void)look_into_files(headers, ".h", note_header, NULL);
    CHECK(waiting_count > 30);
    for (int i = 0; i < waiting_count; i++) {
        if (has_scene(waiting[i]) ||
            look_into_files(tests, ".c", interrupts_calls_of, waiting[i]))
            continue;
        printf("  no scene waits in %s: add a SCENE, or a scene for "
               "actor_interrupt_everywhere to a test of the room\n",
               waiting[i]);
        missing++;
    }
    CHECK_EQ(missing, 0);
}
