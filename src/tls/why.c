/* why.c: what went wrong, in numbers and in words.
 * Thread: any.
 */
#include <openssl/x509_vfy.h>
#include <stdio.h>

#include "tls_i.h"

/* OpenSSL reports the peer's alerts as reasons from here on (SSL_AD_REASON_OFFSET,
 * which is in a header of its own only by accident). */
#define WHY_ALERT_FIRST 1000
#define WHY_ALERT_LAST (WHY_ALERT_FIRST + 255)

int
yula__tls_say(yula_tls_why *why, int code, const char *text)
{
    if (why == NULL)
        return code;
    *why = (yula_tls_why){.code = code, .alert = -1};
    (void)snprintf(why->text, sizeof(why->text), "%s", text);
    return code;
}

static const char *
why_text(unsigned long error)
{
    const char *text = NULL;

    if (ERR_SYSTEM_ERROR(error))
        return yula_strerror(-ERR_GET_REASON(error));
    if (error != 0)
        text = ERR_reason_error_string(error);
    return text != NULL ? text : "unknown error of OpenSSL";
}

/* The first error of the queue is the cause, the others say who came across it.
 * Without memory it may not have been noted first. */
static unsigned long
why_first(bool *memory)
{
    unsigned long first = ERR_get_error(), error = first;

    *memory = false;
    while (error != 0) {
        *memory = *memory || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
        error = ERR_get_error();
    }
    return first;
}

int
yula__tls_explain(yula_tls_why *why, int code, const char *what)
{
    bool memory;
    unsigned long first = why_first(&memory);
    int reason = ERR_SYSTEM_ERROR(first) ? 0 : ERR_GET_REASON(first);

    if (code == YULA_ETLS && memory)
        return yula__tls_say(why, -ENOMEM, yula_strerror(-ENOMEM));
    if (why == NULL)
        return code;
    *why = (yula_tls_why){.code = code, .alert = -1, .openssl = first};
    if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason >= WHY_ALERT_FIRST &&
        reason <= WHY_ALERT_LAST)
        why->alert = reason - WHY_ALERT_FIRST;
    (void)snprintf(why->text, sizeof(why->text), "%s%s%s",
                   what != NULL ? what : "", what != NULL ? ": " : "",
                   why_text(first));
    return code;
}
