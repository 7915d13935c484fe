/* err.c: the text of every code the library returns. */
#include <yula/err.h>

#include <assert.h>
#include <netdb.h>
#include <string.h>

/* The largest errno there can be: the kernel keeps 1 to 4095 for them. */
#define ERR_ERRNO_MAX 4095

static_assert(EAI_NONAME < 0, "YULA_EAI_BASE + EAI_* must lie below the base");

/* strerror(3) may translate, and builds its text for an unknown number in a
 * buffer that the next call overwrites: neither is a static string. */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
static const char *
err_errno_text(int number)
{
    return strerrordesc_np(number);
}
#else
static const char *
err_errno_text(int number)
{
    return strerror(number);
}
#endif

const char *
yula_strerror(int code)
{
    const char *text = NULL;

    switch (code) {
    case 0:
        return "success";
#define ERR_CASE(name, number, words)                                          \
    case name:                                                                 \
        return words;
        YULA_ERR_LIST(ERR_CASE)
#undef ERR_CASE
    default:
        break;
    }
    if (code < 0 && code >= -ERR_ERRNO_MAX)
        text = err_errno_text(-code);
    else if (code < YULA_EAI_BASE)
        text = gai_strerror(code - YULA_EAI_BASE);
    return text != NULL ? text : "unknown error";
}

const char *
yula_version(void)
{
    return YULA__VERSION;
}
