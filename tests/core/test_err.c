/* test_err.c: texts of result codes. */
#include <yula/err.h> /* first: it must stand alone */

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

TEST(every_code_of_ours_has_its_own_text)
{
    CHECK_STR(yula_strerror(YULA_EOF), "end of stream");
    CHECK_STR(yula_strerror(YULA_ECLOSED), "the loop is closed");
    CHECK_STR(yula_strerror(YULA_ECANCELED), "cancelled by its owner");
    CHECK_STR(yula_strerror(YULA_ETLS), "TLS failed");
    CHECK_STR(yula_strerror(YULA_EALERT), "the peer refused, by a TLS alert");
    CHECK_STR(yula_strerror(YULA_ECERT),
              "the peer's certificate is not accepted");
    CHECK_STR(yula_strerror(YULA_ECUT), "the TLS connection was cut off");
}

TEST(a_negated_errno_has_the_text_of_libc)
{
    CHECK_STR(yula_strerror(-ECONNRESET), "Connection reset by peer");
    CHECK_STR(yula_strerror(-ENOMEM), "Cannot allocate memory");
}

TEST(a_look_up_code_has_the_text_of_gai_strerror)
{
    CHECK_STR(yula_strerror(YULA_EAI_BASE + EAI_NONAME),
              gai_strerror(EAI_NONAME));
    CHECK_STR(yula_strerror(YULA_EAI_BASE + EAI_AGAIN),
              gai_strerror(EAI_AGAIN));
}

TEST(zero_is_success_and_anything_else_is_unknown)
{
    CHECK_STR(yula_strerror(0), "success");
    CHECK_STR(yula_strerror(7), "unknown error");
    CHECK_STR(yula_strerror(-4095), "unknown error");
    CHECK_STR(yula_strerror(-5999), "unknown error");
    CHECK(yula_strerror(YULA_EAI_BASE - 9999) != NULL);
    CHECK(yula_strerror(INT32_MIN) != NULL);
}

TEST(a_text_stays_valid_when_another_is_asked_for)
{
    const char *first = yula_strerror(-EPERM);
    (void)yula_strerror(-4094);
    (void)yula_strerror(-ENOENT);
    CHECK_STR(first, "Operation not permitted");
}

TEST(the_headers_name_the_version_of_the_library)
{
    char text[32];

    snprintf(text, sizeof(text), "%d.%d.%d", YULA_VERSION_MAJOR,
             YULA_VERSION_MINOR, YULA_VERSION_PATCH);
    CHECK_STR(yula_version(), text);
}
