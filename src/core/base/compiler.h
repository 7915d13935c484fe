/* compiler.h: which tools watch this build. */
#ifndef YULA__COMPILER_H
#define YULA__COMPILER_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define YULA__ASAN 1
#define YULA__NO_ASAN __attribute__((no_sanitize_address))
#else
#define YULA__ASAN 0
#define YULA__NO_ASAN
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define YULA__TSAN 1
#else
#define YULA__TSAN 0
#endif

/* MemorySanitizer sees neither what assembler writes nor what every system call
 * does. */
#if __has_feature(memory_sanitizer)
#define YULA__MSAN 1
void __msan_unpoison(const volatile void *base, size_t len);
#define yula__was_written(base, len) __msan_unpoison(base, len)
#else
#define YULA__MSAN 0
#define yula__was_written(base, len) ((void)0)
#endif

#endif /* YULA__COMPILER_H */
