/* folder.c: see folder.h. */
#include "folder.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "test.h"

/* --- a folder ------------------------------------------------------------ */

char folder[64];

const char *
in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void
folder_begin(void)
{
    strcpy(folder, "/tmp/yula-file-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

void
folder_end(void)
{
    CHECK_EQ(rmdir(folder), 0);
}

void
put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

void
check_contents(const char *path, const char *text)
{
    char got[256] = "";
    FILE *file = fopen(path, "re");

    CHECK(file != NULL);
    got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
    fclose(file);
    CHECK_STR(got, text);
}

const char *
entry_name(int number)
{
    char name[32];

    snprintf(name, sizeof(name), "entry-%d", number);
    return in_folder(name);
}

char *
file_pattern(size_t len)
{
    char *bytes = malloc(len);

    CHECK(bytes != NULL);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + i / 1000);
    return bytes;
}

/* --- system calls that wait ---------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *name;
    int at, begun;
    bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .changed = PTHREAD_COND_INITIALIZER};

static int
gate_hook(const char *name)
{
    if (strcmp(name, gate.name) != 0)
        return 0;
    pthread_mutex_lock(&gate.lock);
    gate.begun++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.begun >= gate.at && !gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return 0;
}

void
gate_close(const char *name, int at)
{
    gate.name = name;
    gate.at = at;
    gate.begun = 0;
    gate.open = false;
    yula__sys_hook = gate_hook;
}

void
gate_await(int count)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.begun < count)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

void
gate_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}
