/* test_cxx.cpp: the public headers are C++ as well, and exceptions stay on the
 * stack they were thrown on. A program of its own: exit 0 passed.
 */
#include <yula/yula.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>

#define CHECK(expr)                                                            \
    do {                                                                       \
        if (!(expr)) {                                                         \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #expr);             \
            std::exit(1);                                                      \
        }                                                                      \
    } while (0)

struct guard {
    int &count;
    explicit guard(int &live) : count(live)
    {
        count++;
    }
    ~guard()
    {
        count--;
    }
};

static int live;

static void
thrower(int depth)
{
    guard held(live);
    if (depth == 0)
        throw std::runtime_error("deep");
    thrower(depth - 1);
}

static int
catches_its_own(yula_task *, void *arg)
{
    try {
        thrower(10);
    } catch (const std::runtime_error &error) {
        CHECK(std::strcmp(error.what(), "deep") == 0);
        CHECK(live == 0);
        return *static_cast<int *>(arg);
    }
    return 1;
}

/* Sleeps while its exception is being handled, then throws it again. */
static int
sleeps_in_catch(yula_task *task, void *arg)
{
    const char *name = static_cast<const char *>(arg);
    try {
        try {
            throw std::runtime_error(name);
        } catch (const std::exception &) {
            for (int i = 0; i < 5; i++) {
                CHECK(yula_task_yield(yula_task_loop(task)) == 0);
                try {
                    throw i;
                } catch (int number) {
                    CHECK(yula_task_yield(yula_task_loop(task)) == 0);
                    CHECK(number == i);
                }
                CHECK(std::uncaught_exceptions() == 0);
            }
            throw;
        }
    } catch (const std::exception &error) {
        CHECK(std::strcmp(error.what(), name) == 0);
        return 0;
    }
    return 1;
}

/* A destructor that waits while an exception flies past it. */
struct waits_at_end {
    yula_loop *loop;
    ~waits_at_end()
    {
        CHECK(std::uncaught_exceptions() == 1);
        CHECK(yula_task_sleep(loop, 1000) == 0);
        CHECK(std::uncaught_exceptions() == 1);
    }
};

static int
waits_while_unwinding(yula_task *task, void *)
{
    CHECK(std::uncaught_exceptions() == 0);
    try {
        waits_at_end last = {yula_task_loop(task)};
        throw 1;
    } catch (int) {
        CHECK(std::uncaught_exceptions() == 0);
    }
    return 0;
}

static int
everything(yula_task *task, void *)
{
    yula_loop *loop = yula_task_loop(task);
    int five = 5, result = 0;
    yula_task *own;
    yula_group group;

    CHECK(yula_task_spawn(loop, nullptr, catches_its_own, &five, &own) == 0);
    CHECK(yula_task_join(own, &result) == 0);
    CHECK(result == 5);
    yula_group_enter(loop, &group);
    for (const char *name : {"one", "two", "three", "four"})
        CHECK(yula_group_spawn(&group, nullptr, sleeps_in_catch,
                               const_cast<char *>(name), nullptr) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(yula_group_spawn(&group, nullptr, waits_while_unwinding, nullptr,
                               nullptr) == 0);
    return yula_group_leave(&group, 0);
}

static void
throws_inside(yula_coroutine *coroutine, void *arg)
{
    try {
        yula_coroutine_yield(coroutine, arg);
        throw 7;
    } catch (int number) {
        yula_coroutine_yield(coroutine, number == 7 ? arg : nullptr);
    }
}

int
main()
{
    yula_loop *loop;
    yula_coroutine *coroutine;
    int result = 1;

    CHECK(yula_loop_new(nullptr, &loop) == 0);
    CHECK(yula_task_run(loop, nullptr, everything, nullptr, &result) == 0);
    CHECK(result == 0);
    CHECK(yula_coroutine_new(loop, 0, throws_inside, loop, &coroutine) == 0);
    CHECK(yula_coroutine_resume(coroutine, nullptr) == loop);
    CHECK(yula_coroutine_resume(coroutine, nullptr) == loop);
    CHECK(yula_coroutine_resume(coroutine, nullptr) == nullptr);
    yula_coroutine_free(coroutine);
    yula_loop_free(loop);
    std::puts("passed");
    return 0;
}
