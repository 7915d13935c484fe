/* chat_server.c: a chat of lines, over TCP or a Unix socket.
 *
 *     chat_server 127.0.0.1 7777          (try: nc 127.0.0.1 7777)
 *     chat_server /tmp/chat.sock
 *
 * The first line a guest sends is its name; every other one goes to all the
 * others. A guest who reads more slowly than the others talk is sent away, so
 * that what waits for it does not grow for ever. SIGINT and SIGTERM end it.
 */
#include <signal.h>

#include "listen.h"

/* Longest line, with its end; what is longer ends the conversation. */
#define LINE_MAX_LEN 1024
#define NAME_MAX_LEN 32

/* Bytes that may wait for one guest before it is sent away. */
#define BACKLOG_MAX (64 * 1024)

typedef struct chat_room {
    yula_loop *loop;
    yula_listener *listener;
    yula_signal signals[2];
    struct chat_guest *guests;
} chat_room;

typedef struct chat_guest {
    chat_room *room;
    yula_stream *stream;
    struct chat_guest *next;
    char name[NAME_MAX_LEN + 1]; /* "" before the first line */
    char line[LINE_MAX_LEN];
    size_t len;   /* of what came of the next line */
    bool leaving; /* goes at the end of the callback: see guest_leave */
    yula_work goodbye;
} chat_guest;

/* --- talking ------------------------------------------------------------- */

static void
room_tell(chat_room *room, const chat_guest *except, const char *text,
          size_t len)
{
    for (chat_guest *to = room->guests; to != NULL; to = to->next) {
        if (to != except && to->name[0] != '\0' && !to->leaving)
            (void)yula_stream_write(to->stream, text, len, NULL);
    }
}

static void
room_say(chat_room *room, const chat_guest *from, const char *format,
         const char *text)
{
    char line[LINE_MAX_LEN + NAME_MAX_LEN + 32];
    int len = snprintf(line, sizeof(line), format, from->name, text);

    room_tell(room, from, line, (size_t)len);
}

/* --- coming and going ---------------------------------------------------- */

static void
guest_free(chat_guest *guest)
{
    struct chat_guest **link = &guest->room->guests;

    while (*link != guest)
        link = &(*link)->next;
    *link = guest->next;
    yula_work_cancel(&guest->goodbye);
    yula_stream_free(guest->stream, true);
    free(guest);
}

static void
guest_say_goodbye(yula_work *work, void *arg)
{
    chat_guest *guest = arg;

    if (guest->name[0] != '\0')
        room_say(guest->room, guest, "* %s left%s\n", "");
    guest_free(guest);
}

/* May be called while room_tell walks the guests (a full queue is reported
 * inside write), so the guest goes in a turn of its own. */
static void
guest_leave(chat_guest *guest)
{
    guest->leaving = true;
    yula_stream_stop(guest->stream);
    yula_work_queue(guest->room->loop, &guest->goodbye);
}

static void
guest_take_name(chat_guest *guest, const char *name)
{
    if (name[0] == '\0' || strlen(name) > NAME_MAX_LEN) {
        guest_leave(guest);
        return;
    }
    strcpy(guest->name, name);
    room_say(guest->room, guest, "* %s came in%s\n", "");
}

static void
guest_line(chat_guest *guest, char *line)
{
    line[strcspn(line, "\r")] = '\0';
    if (guest->name[0] == '\0')
        guest_take_name(guest, line);
    else
        room_say(guest->room, guest, "%s: %s\n", line);
}

/* --- what the stream tells ----------------------------------------------- */

static int
guest_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    chat_guest *guest = arg;

    *base = guest->line + guest->len;
    *len = sizeof(guest->line) - guest->len;
    return 0; /* *len == 0, a line too long, becomes -ENOBUFS in guest_failed */
}

static void
guest_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    chat_guest *guest = arg;
    char *line = guest->line, *end;

    guest->len += len;
    char *last = guest->line + guest->len;
    while ((end = memchr(line, '\n', (size_t)(last - line))) != NULL &&
           !guest->leaving) {
        *end = '\0';
        guest_line(guest, line);
        line = end + 1;
    }
    guest->len = (size_t)(last - line);
    memmove(guest->line, line, guest->len);
}

static void
guest_ended(yula_stream *stream, void *arg)
{
    guest_leave(arg);
}

static void
guest_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    guest_leave(arg);
}

static void
guest_pressure(yula_stream *stream, bool high, void *arg)
{
    if (high)
        guest_leave(arg);
}

static const yula_stream_ops guest_ops = {.alloc = guest_alloc,
                                          .read = guest_read,
                                          .ended = guest_ended,
                                          .failed = guest_failed,
                                          .pressure = guest_pressure};

/* --- the room ------------------------------------------------------------ */

static void
on_connection(yula_listener *listener, int fd, const struct sockaddr *addr,
              socklen_t addr_len, void *arg)
{
    chat_room *room = arg;

    if (fd < 0) {
        fprintf(stderr, "accept: %s\n", yula_strerror(fd));
        return;
    }
    chat_guest *guest = calloc(1, sizeof(*guest));
    if (guest == NULL ||
        yula_stream_new(room->loop, YULA_LANE_NATIVE, fd, &guest_ops, guest,
                        &guest->stream) < 0) {
        close(fd);
        free(guest);
        return;
    }
    yula_work_init(&guest->goodbye, YULA_LANE_NATIVE, guest_say_goodbye, guest);
    guest->room = room;
    guest->next = room->guests;
    room->guests = guest;
    yula_stream_set_marks(guest->stream, BACKLOG_MAX / 2, BACKLOG_MAX);
    yula_stream_start(guest->stream);
}

static void
on_signal(yula_signal *signal, int number, void *arg)
{
    chat_room *room = arg;

    yula_listener_free(room->listener);
    while (room->guests != NULL)
        guest_free(room->guests);
    for (int i = 0; i < 2; i++)
        yula_signal_stop(&room->signals[i]);
}

static int
room_run(chat_room *room, int fd)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    int err = yula_listener_new(room->loop, YULA_LANE_NATIVE, fd, on_connection,
                                room, &room->listener);

    for (int i = 0; i < 2 && err == 0; i++) {
        yula_signal_init(room->loop, &room->signals[i], YULA_LANE_NATIVE);
        err = yula_signal_start(&room->signals[i], numbers[i], on_signal, room);
    }
    return err < 0 ? err : yula_loop_run(room->loop);
}

int
main(int argc, char **argv)
{
    chat_room room = {0};
    int fd = listen_from_arguments(argc, argv);

    if (fd < 0)
        return 2;
    int err = yula_loop_new(NULL, &room.loop);
    if (err == 0) {
        err = room_run(&room, fd);
        yula_loop_free(room.loop);
    }
    close(fd);
    if (err < 0)
        fprintf(stderr, "chat_server: %s\n", yula_strerror(err));
    return err < 0;
}
