/* test.c: runs the tests of one program, see test.h. */
#include "test.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

static test_case *first_test;
static test_case **last_test = &first_test;
static const char *running;
static jmp_buf leave_test;

enum {
    TEST_PASSED,
    TEST_FAILED,
    TEST_SKIPPED
};

void
test_register(test_case *test)
{
    *last_test = test;
    last_test = &test->next;
}

void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    printf("%s:%d: ", file, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    longjmp(leave_test, TEST_FAILED);
}

void
test_skip(const char *reason)
{
    printf("skipped %s: %s\n", running, reason);
    longjmp(leave_test, TEST_SKIPPED);
}

static void
test_took_too_long(int number)
{
    static const char text[] = "took too long: ";
    ssize_t ignored = write(STDOUT_FILENO, text, sizeof(text) - 1);
    ignored = write(STDOUT_FILENO, running, strlen(running));
    ignored = write(STDOUT_FILENO, "\n", 1);
    (void)ignored;
    _exit(1);
}

/* Leaks are looked for only where nothing else went wrong. */
static int
test_run(const test_case *test)
{
    int fds = test_descriptors();
    long memory = test_memory_live();

    running = test->name;
    test_faults_clear();
    alarm(TEST_SECONDS);
    int result = setjmp(leave_test);
    if (result == 0) {
        test->run();
        CHECK_EQ(test_memory_live(), memory);
        CHECK_EQ(test_descriptors(), fds);
    }
    alarm(0);
    test_faults_clear();
    if (result == TEST_FAILED)
        printf("FAILED %s\n", test->name);
    return result;
}

int
main(int argc, char **argv)
{
    int count[3] = {0};

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, test_took_too_long);
    for (const test_case *test = first_test; test != NULL; test = test->next) {
        if (argc < 2 || strstr(test->name, argv[1]) != NULL)
            count[test_run(test)]++;
    }
    printf("%d passed, %d failed, %d skipped\n", count[TEST_PASSED],
           count[TEST_FAILED], count[TEST_SKIPPED]);
    if (count[TEST_FAILED] > 0)
        return 1;
    return count[TEST_PASSED] == 0 ? 77 : 0;
}
