/* test.h: a small harness for the C tests.
 *
 *     TEST(a_stopped_timer_does_not_fire)
 *     {
 *         CHECK_EQ(fired, 0);
 *     }
 *
 * A program runs its tests in the order of definition, or those whose names
 * contain its argument. After each test the descriptors and the memory of the
 * loops made by support.h are compared with what was there before. A test that
 * takes longer than TEST_SECONDS ends the program. Exit: 0 passed, 1 failed, 77
 * when every test was skipped.
 */
#ifndef YULA__TEST_H
#define YULA__TEST_H

#include <stdbool.h>
#include <stddef.h>

/* gcc's ThreadSanitizer takes 0.4 ms to make a coroutine known. */
#ifdef __SANITIZE_THREAD__
#define TEST_SECONDS 120
#else
#define TEST_SECONDS 30
#endif

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;

void test_register(test_case *test);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *reason);

#define TEST(name)                                                             \
    static void test_##name(void);                                             \
    __attribute__((constructor)) static void test_register_##name(void)        \
    {                                                                          \
        static test_case test = {#name, test_##name, NULL};                    \
        test_register(&test);                                                  \
    }                                                                          \
    static void test_##name(void)

/* All three leave the test when the condition does not hold. On the thread of
 * the test only. */
#define CHECK(expr)                                                            \
    do {                                                                       \
        if (!(expr))                                                           \
            test_fail(__FILE__, __LINE__, "%s", #expr);                        \
    } while (0)

#define CHECK_EQ(got, expected)                                                \
    do {                                                                       \
        long long got_ = (long long)(got);                                     \
        long long expected_ = (long long)(expected);                           \
        if (got_ != expected_)                                                 \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #got,   \
                      got_, expected_);                                        \
    } while (0)

#define CHECK_STR(got, expected)                                               \
    do {                                                                       \
        const char *got_ = (got);                                              \
        const char *expected_ = (expected);                                    \
        if (got_ == NULL || strcmp(got_, expected_) != 0)                      \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"",     \
                      #got, got_ != NULL ? got_ : "(null)", expected_);        \
    } while (0)

#endif /* YULA__TEST_H */
