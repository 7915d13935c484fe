/* rule.h: rules of the public headers that a caller can break.
 *
 * Going on would corrupt memory, so the program ends with a sentence that says
 * what was done wrong and where (the name of the function). What costs next to
 * nothing is looked at always; the rest in builds with checks.
 */
#ifndef YULA__RULE_H
#define YULA__RULE_H

_Noreturn void yula__rule_broken(const char *function, const char *text);

#define yula__rule(expr, text)                                                 \
    do {                                                                       \
        if (__builtin_expect(!(expr), 0))                                      \
            yula__rule_broken(__func__, text);                                 \
    } while (0)

#ifdef YULA__DEBUG
#define yula__rule_checked(expr, text) yula__rule(expr, text)
#else
#define yula__rule_checked(expr, text) ((void)0)
#endif

/* Whether the caller may touch the loop: its thread runs it. A loop with a host
 * is guarded by the host's lock instead. */
#define yula__rule_thread(loop)                                                \
    yula__rule_checked(                                                        \
        (loop)->host != NULL || yula_loop_on_own_thread(loop),                 \
        "called on a thread that does not run the loop: only "                 \
        "yula_work_post, and what says \"Thread: any\", may be")

#endif /* YULA__RULE_H */
