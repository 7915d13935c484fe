/* test_example_chat_server.c: examples/c/chat_server, as a user runs it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"
#include "support.h"
#include "test.h"

static void
say(int fd, const char *text)
{
    test_send_all(fd, text, strlen(text));
}

/* Exactly this arrives next. */
static void
expect(int fd, const char *text)
{
    char got[200];
    size_t len = strlen(text);

    CHECK(len < sizeof(got));
    test_recv_all(fd, got, len);
    got[len] = '\0';
    CHECK_STR(got, text);
}

static int
enter(const server *chat, const char *name)
{
    int fd = server_connect(chat);
    say(fd, name);
    say(fd, "\n");
    return fd;
}

/* Two guests who both know that the other one is there. */
static void
two_guests(server *chat, int *ann, int *bob)
{
    server_start(chat);
    *ann = enter(chat, "ann");
    say(*ann, "anybody?\n"); /* nobody */
    *bob = enter(chat, "bob");
    expect(*ann, "* bob came in\n");
}

static void
finish(server *chat, int ann, int bob)
{
    close(ann);
    close(bob);
    server_stop(chat, SIGTERM);
}

TEST(a_line_goes_to_the_others_with_the_name_of_who_said_it)
{
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    int eve = enter(&chat, "eve");
    expect(ann, "* eve came in\n");
    expect(bob, "* eve came in\n");
    say(ann, "hello\n");
    expect(bob, "ann: hello\n");
    expect(eve, "ann: hello\n");
    say(bob, "hello ann\r\n");
    expect(ann, "bob: hello ann\n"); /* and not her own line before it */
    expect(eve, "bob: hello ann\n");
    close(eve);
    finish(&chat, ann, bob);
}

TEST(lines_may_come_in_pieces_and_many_at_once)
{
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    say(ann, "on");
    say(bob, "wait\n");
    expect(ann, "bob: wait\n"); /* the piece has surely arrived */
    say(ann, "e\ntwo\n\nthr");
    expect(bob, "ann: one\nann: two\nann: \n");
    say(ann, "ee\n");
    expect(bob, "ann: three\n");
    finish(&chat, ann, bob);
}

TEST(the_others_are_told_who_left)
{
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    int nameless = server_connect(&chat);
    close(nameless); /* nobody is told of this one */
    close(bob);
    expect(ann, "* bob left\n");
    bob = enter(&chat, "bob");
    expect(ann, "* bob came in\n");
    finish(&chat, ann, bob);
}

TEST(a_guest_without_a_name_hears_nothing)
{
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    int eve = server_connect(&chat);
    say(ann, "secret\n");
    expect(bob, "ann: secret\n");
    say(eve, "eve\n");
    expect(ann, "* eve came in\n");
    say(ann, "public\n");
    expect(eve, "ann: public\n");
    close(eve);
    finish(&chat, ann, bob);
}

TEST(a_name_that_is_empty_or_too_long_ends_the_conversation)
{
    static const char *const names[] = {"\n", "\r\n",
                                        "012345678901234567890123456789012\n"};
    server chat;

    server_start(&chat);
    for (int i = 0; i < 3; i++) {
        int fd = server_connect(&chat);
        say(fd, names[i]);
        server_expect_end(fd);
        close(fd);
    }
    server_stop(&chat, SIGINT);
}

TEST(a_line_that_never_ends_ends_the_conversation)
{
    char text[4096];
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    memset(text, 'x', sizeof(text));
    test_send_all(bob, text, sizeof(text));
    server_expect_end(bob);
    expect(ann, "* bob left\n");
    finish(&chat, ann, bob);
}

/* Whoever does not listen is sent away; the others hear every line. */
TEST(a_guest_who_does_not_read_is_sent_away)
{
    char line[1001], heard[1005 + 1];
    server chat;
    int ann, bob;
    bool left = false;

    two_guests(&chat, &ann, &bob);
    int deaf = enter(&chat, "deaf");
    expect(ann, "* deaf came in\n");
    expect(bob, "* deaf came in\n");
    memset(line, 'x', 999);
    strcpy(line + 999, "\n");
    /* Each line is heard by bob before the next, so bob is never behind. */
    for (int i = 0; i < 50000 && !left; i++) {
        say(ann, line);
        test_recv_all(bob, heard, 1);
        left = heard[0] == '*';
        if (!left)
            test_recv_all(bob, heard + 1, strlen("ann: ") + 1000 - 1);
    }
    CHECK(left);
    expect(bob, " deaf left\n");
    expect(ann, "* deaf left\n");
    server_expect_end(deaf);
    close(deaf);
    finish(&chat, ann, bob);
}

TEST(a_signal_ends_the_chat)
{
    server chat;
    int ann, bob;

    two_guests(&chat, &ann, &bob);
    server_stop(&chat, SIGINT);
    server_expect_end(ann);
    server_expect_end(bob);
    close(ann);
    close(bob);
}
