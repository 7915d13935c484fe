/* use_tls.c: a program that uses an installed libyula-tls. */
#include <errno.h>
#include <stdio.h>
#include <yula/tls.h>

int
main(void)
{
    yula_tls_options options = {0};
    yula_tls_context *context;
    yula_tls_why why;

    options.size = sizeof(options);
    if (yula_tls_context_client(&options, &why, &context) < 0) {
        printf("%s\n", why.text);
        return 1;
    }
    yula_tls_context_unref(context);
    if (yula_tls_context_server(&options, &why, &context) != -EINVAL)
        return 1;
    printf("%s\n", why.text);
    return 0;
}
