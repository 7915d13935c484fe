/* planted.c: one bug per sanitizer, on purpose.
 *
 * A sanitizer that is off reports nothing, exactly as one that found nothing.
 * These make each report something. The first two are hit by an instruction of
 * libyula itself, so they also show that the library was instrumented.
 */
#include "planted.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <yula/yula.h>

static void
plant_use_after_free(void)
{
    yula_timer *timer = malloc(sizeof(*timer));
    yula_timer *volatile kept = timer; /* or the compiler sees through it */
    free(timer);
    yula_timer_armed(kept);
}

static void
plant_misaligned_access(void)
{
    static _Alignas(yula_timer) char room[sizeof(yula_timer) * 2];
    yula_timer_armed((yula_timer *)(void *)(room + 1));
}

static void
plant_leak(void)
{
    void *volatile lost = malloc(4321);
    memset(lost, 1, 4321);
    lost = NULL;
}

static volatile int raced;

static void *
race(void *arg)
{
    raced++;
    return arg;
}

static void
plant_data_race(void)
{
    pthread_t other;

    if (pthread_create(&other, NULL, race, NULL) != 0)
        return;
    raced++;
    pthread_join(other, NULL);
}

int
planted_run(const char *name)
{
    if (strcmp(name, "use-after-free") == 0)
        plant_use_after_free();
    else if (strcmp(name, "misaligned-access") == 0)
        plant_misaligned_access();
    else if (strcmp(name, "leak") == 0)
        plant_leak();
    else if (strcmp(name, "data-race") == 0)
        plant_data_race();
    else
        return -1;
    return 0;
}
