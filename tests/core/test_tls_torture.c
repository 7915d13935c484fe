/* test_tls_torture.c: TLS connections whose tasks are interrupted at every wait in
 * turn, and that get no memory at many allocations in turn, libyula's and OpenSSL's.
 *
 * Nothing may be left over, and the calls either do their work or say why not. That
 * OpenSSL gives back what it has is seen by the address sanitizer.
 */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test.h"
#include "tls_pair.h"

/* --- OpenSSL's memory ---------------------------------------------------- */

static atomic_long countdown; /* the allocation that fails; 0: none */
static atomic_bool failed;

static bool
fails_now(void)
{
    if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&failed, true);
    return true;
}

static void *
ssl_alloc(size_t len, const char *file, int line)
{
    return fails_now() ? NULL : malloc(len);
}

static void *
ssl_resize(void *memory, size_t len, const char *file, int line)
{
    return fails_now() ? NULL : realloc(memory, len);
}

static void
ssl_free(void *memory, const char *file, int line)
{
    free(memory);
}

/* Before OpenSSL has allocated anything. */
__attribute__((constructor)) static void
ssl_memory_set_up(void)
{
    if (CRYPTO_set_mem_functions(ssl_alloc, ssl_resize, ssl_free) != 1)
        abort();
}

/* --- a scene ------------------------------------------------------------- */

/* A server, and a client that connects by name, talks, and leaves in order; in
 * between lines, whole numbers of bytes, and more than fits into the queue. */
#define BULK (300 * 1024)

typedef struct scene {
    yula_loop *loop;
    yula_tls_context *server, *client;
    int listening;
    char port[8];
    actor host, guest;
    int result; /* of the guest */
    int greeted;
} scene;

static int
serve_guest(yula_tls *tls, void *arg)
{
    scene *self = arg;
    char *line, *bulk = NULL;
    size_t got = 0;

    self->greeted++;
    ssize_t len = yula_tls_read_line(tls, &line);
    if (len < 0)
        return (int)len;
    bulk = malloc(BULK);
    int err = yula_tls_read_exactly(tls, bulk, BULK, &got);
    if (err == 0)
        err = yula_tls_write(tls, bulk, BULK);
    if (err == 0)
        err = yula_tls_drain(tls);
    free(bulk);
    if (err < 0)
        return err;
    return yula_tls_finish(tls, INT64_C(5000000000));
}

static int
play_host(actor *player, void *arg)
{
    scene *self = arg;

    return yula_tls_serve(self->server, self->loop, self->listening,
                          serve_guest, self);
}

static int
talk(yula_tls *tls)
{
    static char bulk[BULK];
    size_t got = 0;

    memset(bulk, 'x', sizeof(bulk));
    bulk[BULK - 1] = '\n';
    int err = yula_tls_write(tls, "hello\n", 6);
    if (err == 0)
        err = yula_tls_write(tls, bulk, sizeof(bulk));
    if (err == 0)
        err = yula_tls_read_exactly(tls, bulk, 1000, &got);
    got = 0;
    if (err == 0)
        err = yula_tls_read_exactly(tls, bulk, BULK - 1000, &got);
    if (err == 0)
        err = yula_tls_finish(tls, INT64_C(5000000000));
    return err;
}

static int
play_guest(actor *player, void *arg)
{
    scene *self = arg;
    yula_tls *tls;

    int err = yula_tls_connect(self->client, self->loop, "127.0.0.1",
                               self->port, NULL, &tls);
    if (err == 0) {
        err = talk(tls);
        yula_tls_close(tls);
    }
    yula_task_cancel(self->host.task);
    return err;
}

static void
scene_begin(scene *self, yula_loop *loop)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    *self = (scene){.loop = loop};
    self->server = tls_server_context("server", NULL);
    self->client = tls_client_context(NULL);
    self->listening = test_listen(&addr, &addr_len);
    (void)snprintf(self->port, sizeof(self->port), "%d",
                   ntohs(((struct sockaddr_in *)&addr)->sin_port));
}

/* Without its host nobody answers the guest. */
static void
scene_play(scene *self)
{
    actor_start(&self->host, self->loop, "host", play_host, self);
    actor_start(&self->guest, self->loop, "guest", play_guest, self);
    while (!yula_task_ended(self->guest.task)) {
        CHECK_EQ(yula_loop_step(self->loop, YULA_NEVER), 0);
        if (yula_task_ended(self->host.task))
            yula_task_cancel(self->guest.task);
    }
    self->result = actor_end(&self->guest);
    (void)actor_end(&self->host);
}

static void
scene_end(scene *self)
{
    yula_tls_context_unref(self->server);
    yula_tls_context_unref(self->client);
    close(self->listening);
    settle(self->loop); /* what the connections left behind */
}

static int last_result;

static void
play_scene(yula_loop *loop)
{
    scene self;

    scene_begin(&self, loop);
    scene_play(&self);
    scene_end(&self);
    last_result = self.result;
}

TEST(tasks_interrupted_at_every_wait_in_turn_leave_nothing_behind)
{
    int rounds = actor_interrupt_everywhere(play_scene);

    CHECK(rounds > 8);
    CHECK_EQ(last_result, 0); /* in the round without interruption */
}

/* --- memory -------------------------------------------------------------- */

static bool
play_without_memory(long n, bool of_openssl)
{
    yula_loop *loop = test_loop();
    scene self;

    scene_begin(&self, loop);
    if (of_openssl) {
        atomic_store(&failed, false);
        atomic_store(&countdown, n);
    }
    else {
        test_fail_alloc(n);
    }
    scene_play(&self);
    bool happened = of_openssl ? atomic_load(&failed) : test_alloc_failed();
    atomic_store(&countdown, 0);
    test_fail_alloc(0);
    scene_end(&self);
    yula_loop_free(loop);
    if (!happened)
        CHECK_EQ(self.result, 0);
    return happened;
}

TEST(without_memory_of_the_loop_a_connection_fails_in_order)
{
    long n = 3; /* the tasks of the scene */

    while (play_without_memory(n, false))
        n++;
    CHECK(n > 12);
}

/* All the first ones, and then every now and then one: there are thousands. */
TEST(without_memory_of_openssl_a_connection_fails_in_order)
{
    long n = 1;

    while (play_without_memory(n, true))
        n += 1 + n / 40;
    CHECK(n > 500);
}

TEST(without_memory_of_openssl_there_is_no_context)
{
    yula_tls_options options = {.size = sizeof(options),
                                .certificate_file = tls_file("server"),
                                .trust_file = tls_file("ca"),
                                .alpn = (const char *const[]){"h2", NULL}};

    for (int server = 0; server < 2; server++) {
        for (long n = 1;; n += 1 + n / 40) {
            yula_tls_context *context = NULL;
            yula_tls_why why;
            atomic_store(&failed, false);
            atomic_store(&countdown, n);
            int err = server
                          ? yula_tls_context_server(&options, &why, &context)
                          : yula_tls_context_client(&options, &why, &context);
            atomic_store(&countdown, 0);
            if (err == 0)
                yula_tls_context_unref(context);
            else
                CHECK(context == NULL && strlen(why.text) > 0);
            if (!atomic_load(&failed))
                break;
        }
    }
}
