/* test_resolve.c: names, literals, and address parsing. No test asks a server:
 * names come from /etc/hosts, or are refused by libc itself.
 */
#include <yula/resolve.h> /* first: it must stand alone */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "test.h"

typedef struct look_up {
    yula_resolve *resolve;
    bool answered;
    int status;
    struct addrinfo *list;
    char host[NI_MAXHOST], service[NI_MAXSERV];
} look_up;

static void
on_addresses(yula_resolve *resolve, int status, struct addrinfo *list,
             void *arg)
{
    look_up *self = arg;
    CHECK(!self->answered);
    CHECK((list != NULL) == (status == 0));
    self->answered = true;
    self->status = status;
    self->list = list;
}

static void
on_names(yula_resolve *resolve, int status, const char *host,
         const char *service, void *arg)
{
    look_up *self = arg;
    CHECK(!self->answered);
    self->answered = true;
    self->status = status;
    if (status == 0) {
        snprintf(self->host, sizeof(self->host), "%s", host);
        snprintf(self->service, sizeof(self->service), "%s", service);
    }
}

static const struct addrinfo tcp = {.ai_socktype = SOCK_STREAM};

static int
start(yula_loop *loop, look_up *self, const char *host, const char *service,
      const struct addrinfo *hints)
{
    *self = (look_up){0};
    return yula_resolve_start(loop, YULA_LANE_HOST, host, service, hints,
                              on_addresses, self, &self->resolve);
}

static void
check_same_list(const struct addrinfo *got, const struct addrinfo *expected)
{
    while (got != NULL && expected != NULL) {
        CHECK_EQ(got->ai_family, expected->ai_family);
        CHECK_EQ(got->ai_socktype, expected->ai_socktype);
        CHECK_EQ(got->ai_protocol, expected->ai_protocol);
        CHECK_EQ(got->ai_addrlen, expected->ai_addrlen);
        CHECK(memcmp(got->ai_addr, expected->ai_addr, got->ai_addrlen) == 0);
        got = got->ai_next;
        expected = expected->ai_next;
    }
    CHECK(got == NULL && expected == NULL);
}

TEST(a_literal_with_a_numeric_service_is_answered_in_the_next_turn)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "fe80::1%1",
                                        "::ffff:10.1.2.3"};
    yula_loop *loop = test_loop();
    look_up asked;

    for (int i = 0; i < 4; i++) {
        struct addrinfo *expected;
        CHECK_EQ(getaddrinfo(hosts[i], "8080", &tcp, &expected), 0);
        CHECK_EQ(start(loop, &asked, hosts[i], "8080", &tcp), 0);
        CHECK(!asked.answered);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
        CHECK(asked.answered);
        CHECK_EQ(asked.status, 0);
        check_same_list(asked.list, expected);
        yula_addrinfo_free(asked.list);
        freeaddrinfo(expected);
    }
    CHECK_EQ(test_sys_count("thread_start"), 0);
    yula_loop_free(loop);
}

TEST(a_name_is_looked_up_on_a_worker_with_the_answer_of_libc)
{
    yula_loop *loop = test_loop();
    struct addrinfo *expected;
    look_up asked;

    CHECK_EQ(getaddrinfo("localhost", "http", NULL, &expected), 0);
    CHECK_EQ(start(loop, &asked, "localhost", "http", NULL), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(test_sys_count("thread_start"), 1);
    CHECK_EQ(asked.status, 0);
    check_same_list(asked.list, expected);
    yula_addrinfo_free(asked.list);
    freeaddrinfo(expected);
    yula_loop_free(loop);
}

TEST(short_forms_of_addresses_mean_what_they_mean_to_libc)
{
    yula_loop *loop = test_loop();
    look_up asked;

    CHECK_EQ(start(loop, &asked, "127.1", "80", &tcp), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(asked.status, 0);
    const struct sockaddr_in *addr = (void *)asked.list->ai_addr;
    CHECK_EQ(ntohl(addr->sin_addr.s_addr), INADDR_LOOPBACK);
    yula_addrinfo_free(asked.list);
    yula_loop_free(loop);
}

TEST(no_host_means_the_wildcard_or_the_loopback_address)
{
    struct addrinfo passive = {.ai_family = AF_INET,
                               .ai_socktype = SOCK_STREAM,
                               .ai_flags = AI_PASSIVE};
    yula_loop *loop = test_loop();
    look_up asked;

    CHECK_EQ(start(loop, &asked, NULL, "80", &passive), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(asked.status, 0);
    const struct sockaddr_in *addr = (void *)asked.list->ai_addr;
    CHECK_EQ(addr->sin_addr.s_addr, INADDR_ANY);
    yula_addrinfo_free(asked.list);
    yula_loop_free(loop);
}

TEST(a_failure_carries_the_code_of_libc)
{
    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo ip4 = {.ai_family = AF_INET};
    yula_loop *loop = test_loop();
    look_up on_worker, at_once, neither;

    CHECK_EQ(start(loop, &on_worker, "no literal", "80", &numeric), 0);
    CHECK_EQ(start(loop, &at_once, "::1", "80", &ip4), 0);
    CHECK_EQ(start(loop, &neither, NULL, NULL, NULL), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(on_worker.status, YULA_EAI_BASE + EAI_NONAME);
    CHECK_EQ(at_once.status, YULA_EAI_BASE + EAI_ADDRFAMILY);
    CHECK_EQ(neither.status, YULA_EAI_BASE + EAI_NONAME);
    yula_loop_free(loop);
}

TEST(a_host_longer_than_a_name_can_be_is_refused)
{
    char host[NI_MAXHOST + 1];
    yula_loop *loop = test_loop();
    look_up asked;

    memset(host, 'a', NI_MAXHOST);
    host[NI_MAXHOST] = '\0';
    CHECK_EQ(start(loop, &asked, host, "80", &tcp), -EINVAL);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(!asked.answered);
    yula_loop_free(loop);
}

TEST(an_address_turns_into_names)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(8080)};
    yula_loop *loop = test_loop();
    look_up numeric = {0}, named = {0};

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(yula_resolve_name(loop, YULA_LANE_HOST, (struct sockaddr *)&addr,
                               sizeof(addr), NI_NUMERICHOST | NI_NUMERICSERV,
                               on_names, &numeric, &numeric.resolve),
             0);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_EQ(test_sys_count("thread_start"), 0);
    CHECK_STR(numeric.host, "127.0.0.1");
    CHECK_STR(numeric.service, "8080");
    CHECK_EQ(yula_resolve_name(loop, YULA_LANE_HOST, (struct sockaddr *)&addr,
                               sizeof(addr), NI_NUMERICSERV, on_names, &named,
                               &named.resolve),
             0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(test_sys_count("thread_start"), 1);
    CHECK_EQ(named.status, 0);
    CHECK_STR(named.service, "8080");
    yula_loop_free(loop);
}

TEST(an_address_of_no_family_has_no_name)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    yula_loop *loop = test_loop();
    look_up asked = {0};

    CHECK_EQ(yula_resolve_name(loop, YULA_LANE_HOST, (struct sockaddr *)&addr,
                               sizeof(addr), NI_NUMERICHOST | NI_NUMERICSERV,
                               on_names, &asked, &asked.resolve),
             0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(asked.status, YULA_EAI_BASE + EAI_FAMILY);
    CHECK_EQ(yula_resolve_name(loop, YULA_LANE_HOST, (struct sockaddr *)&addr,
                               sizeof(addr) + 1, 0, on_names, &asked,
                               &asked.resolve),
             -EINVAL);
    yula_loop_free(loop);
}

/* --- cancelling ---------------------------------------------------------- */

TEST(a_cancelled_literal_says_so_later_and_once)
{
    yula_loop *loop = test_loop();
    look_up asked;

    CHECK_EQ(start(loop, &asked, "127.0.0.1", "80", &tcp), 0);
    yula_resolve_cancel(asked.resolve);
    yula_resolve_cancel(asked.resolve);
    CHECK(!asked.answered);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(asked.status, YULA_ECANCELED);
    yula_loop_free(loop);
}

/* Whether each one waits, runs or is done when it is cancelled is up to the
 * scheduler; all must say so once, and nothing may leak. */
TEST(cancelled_look_ups_say_so_whatever_their_worker_does)
{
    enum {
        COUNT = 200
    };
    static look_up asked[COUNT];
    yula_loop *loop = test_loop();

    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(start(loop, &asked[i], "localhost", "80", &tcp), 0);
    for (int i = 0; i < COUNT; i += 2)
        yula_resolve_cancel(asked[i].resolve);
    CHECK_EQ(yula_loop_run(loop), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK(asked[i].answered);
        CHECK_EQ(asked[i].status, i % 2 == 0 ? YULA_ECANCELED : 0);
        yula_addrinfo_free(asked[i].list);
    }
    yula_loop_free(loop);
}

static void
cancel_inside(yula_resolve *resolve, int status, struct addrinfo *list,
              void *arg)
{
    yula_resolve_cancel(resolve);
    on_addresses(resolve, status, list, arg);
}

TEST(cancelling_inside_the_callback_changes_nothing)
{
    yula_loop *loop = test_loop();
    look_up asked = {0};

    CHECK_EQ(yula_resolve_start(loop, YULA_LANE_HOST, "127.0.0.1", "80", &tcp,
                                cancel_inside, &asked, &asked.resolve),
             0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(asked.status, 0);
    yula_addrinfo_free(asked.list);
    yula_loop_free(loop);
}

TEST(look_ups_not_answered_are_freed_with_the_loop)
{
    enum {
        COUNT = 30
    };
    static look_up asked[COUNT];
    yula_loop *loop = test_loop();

    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(start(loop, &asked[i], i % 3 == 0 ? "::1" : "localhost", "80",
                       &tcp),
                 0);
    for (int i = 0; i < COUNT; i += 4)
        yula_resolve_cancel(asked[i].resolve);
    yula_loop_free(loop);
    for (int i = 0; i < COUNT; i++)
        CHECK(!asked[i].answered);
}

TEST(a_look_up_that_cannot_start_leaves_nothing_behind)
{
    for (long n = 1;; n++) {
        yula_loop *loop = test_loop();
        look_up asked;
        test_fail_alloc(n);
        int err = start(loop, &asked, "localhost", "80", &tcp);
        bool failed = test_alloc_failed();
        test_fail_alloc(0);
        CHECK_EQ(err, failed ? -ENOMEM : 0);
        CHECK_EQ(yula_loop_run(loop), 0);
        CHECK_EQ(asked.answered, !failed);
        yula_addrinfo_free(asked.list);
        yula_loop_free(loop);
        CHECK_EQ(test_memory_live(), 0);
        if (!failed)
            break;
        CHECK(n < 10);
    }
    yula_loop *loop = test_loop();
    look_up asked;
    test_fail_sys_named("thread_start", 1, EAGAIN);
    CHECK_EQ(start(loop, &asked, "localhost", "80", &tcp), -EAGAIN);
    yula_loop_free(loop);
}

/* --- yula_address_parse -------------------------------------------------- */

TEST(literals_of_both_families_are_parsed)
{
    struct sockaddr_storage addr;
    const struct sockaddr_in *ip4 = (void *)&addr;
    const struct sockaddr_in6 *ip6 = (void *)&addr;

    CHECK_EQ(yula_address_parse("10.20.30.40", 8080, AF_UNSPEC, &addr),
             sizeof(*ip4));
    CHECK_EQ(ip4->sin_family, AF_INET);
    CHECK_EQ(ntohl(ip4->sin_addr.s_addr), 0x0a141e28);
    CHECK_EQ(ntohs(ip4->sin_port), 8080);
    CHECK_EQ(yula_address_parse("2001:db8::1", 1, AF_INET6, &addr),
             sizeof(*ip6));
    CHECK_EQ(ip6->sin6_family, AF_INET6);
    CHECK_EQ(ip6->sin6_addr.s6_addr[15], 1);
    CHECK_EQ(ip6->sin6_scope_id, 0);
    CHECK_EQ(yula_address_parse("::ffff:1.2.3.4", 1, AF_UNSPEC, &addr),
             sizeof(*ip6));
}

TEST(a_scope_is_the_name_or_the_number_of_an_interface)
{
    struct sockaddr_storage addr;
    const struct sockaddr_in6 *ip6 = (void *)&addr;

    CHECK(yula_address_parse("fe80::1%lo", 1, AF_UNSPEC, &addr) > 0);
    CHECK_EQ(ip6->sin6_scope_id, if_nametoindex("lo"));
    CHECK(yula_address_parse("fe80::1%4294967295", 1, AF_UNSPEC, &addr) > 0);
    CHECK_EQ(ip6->sin6_scope_id, 4294967295u);
    CHECK(yula_address_parse("2001:db8::1%7", 1, AF_UNSPEC, &addr) > 0);
    CHECK_EQ(ip6->sin6_scope_id, 7);
}

TEST(whatever_is_not_a_literal_is_refused_and_the_output_left_alone)
{
    static const char *const texts[] = {
        "",           " 127.0.0.1",
        "127.0.0.1 ", "127.1",
        "127",        "0x7f.0.0.1",
        "01.2.3.4",   "1.2.3.256",
        "1.2.3.4.5",  "1.2.3.4:80",
        "localhost",  "[::1]",
        ":::",        "::1%",
        "::1%lo",     "fe80::1%no such one",
        "fe80::1%0",  "::1%-1",
        "::1%1x",     "::1%4294967296",
        "12345::",    "1:2:3:4:5:6:7:8:9",
        "1.2.3.4%1",  "0000:0000:0000:0000:0000:0000:255.255.255.2555",
    };
    struct sockaddr_storage addr, before;

    memset(&before, 0xa5, sizeof(before));
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        addr = before;
        if (yula_address_parse(texts[i], 80, AF_UNSPEC, &addr) != -EINVAL)
            test_fail(__FILE__, __LINE__, "\"%s\" was accepted", texts[i]);
        CHECK(memcmp(&addr, &before, sizeof(addr)) == 0);
    }
    CHECK_EQ(yula_address_parse("127.0.0.1", 80, AF_INET6, &addr), -EINVAL);
    CHECK_EQ(yula_address_parse("::1", 80, AF_INET, &addr), -EINVAL);
    CHECK_EQ(yula_address_parse("::1", 80, AF_UNIX, &addr), -EINVAL);
}
