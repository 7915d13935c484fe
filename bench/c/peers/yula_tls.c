/* yula_tls.c: the echo of tls_server.c as tasks of libyula-tls, one for each connection.
 *
 * Prints {"port": N, ...} on one line when it listens. Ends by a signal.
 */
#include "../die.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yula/tls.h>
#include <yula/yula.h>

enum {
    RECORD_LEN = 16 * 1024
};

static yula_tls_context *context;

static void
check(int err, const char *what)
{
    if (err < 0) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
                yula_strerror(err));
        exit(1);
    }
}

static int
echo(yula_tls *tls, void *arg)
{
    char bytes[RECORD_LEN];
    ssize_t len;

    (void)arg;
    while ((len = yula_tls_read(tls, bytes, sizeof bytes)) > 0) {
        int err = yula_tls_write(tls, bytes, (size_t)len);
        if (err < 0)
            return err;
    }
    return (int)len;
}

static int
serve(yula_task *task, void *arg)
{
    int fd = *(int *)arg;
    return yula_tls_serve(context, yula_task_loop(task), fd, echo, NULL);
}

static int
listen_on_loopback(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t addr_len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, addr_len) < 0 ||
        listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &addr_len) < 0)
        die_errno("socket");
    printf("{\"port\": %d, \"loop\": \"libyula-tls\"}\n", ntohs(addr.sin_port));
    if (fflush(stdout) != 0)
        die_errno("stdout");
    return fd;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"size", required_argument, NULL, 's'},
        {"tls", required_argument, NULL, 't'},
        {0}};
    yula_tls_options tls = {.size = sizeof tls, .min_version = YULA_TLS_1_3};
    yula_loop *loop;
    yula_tls_why why;
    for (int opt; (opt = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (opt == 't') {
            tls.certificate_file = optarg;
        }
        else if (opt != 's') { /* taken as the other servers take it */
            fprintf(stderr, "usage: yula_tls --tls PEM [--size BYTES]\n");
            return 2;
        }
    }
    if (yula_tls_context_server(&tls, &why, &context) < 0)
        die(why.text);
    check(yula_loop_new(NULL, &loop), "yula_loop_new");
    int fd = listen_on_loopback();
    check(yula_task_run(loop, NULL, serve, &fd, NULL), "yula_task_run");
    return 0;
}
