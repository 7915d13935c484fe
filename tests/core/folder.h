/* folder.h: what the tests of files share: a folder of their own, and system
 * calls that can be held up.
 */
#ifndef YULA__TEST_FOLDER_H
#define YULA__TEST_FOLDER_H

#include <stddef.h>

/* --- a folder ------------------------------------------------------------ */

/* Where it is, while it is. */
extern char folder[64];

/* Everything a test has made must have been removed by it at the end: nothing is
 * left behind by the library. */
void folder_begin(void);
void folder_end(void);

/* A path in it; the last four stay valid. */
const char *in_folder(const char *name);
const char *entry_name(int number); /* entry-NUMBER */

void put(const char *path, const char *text);
void check_contents(const char *path, const char *text);

/* Longer than one part, and than what is answered at once. */
#define LONG (((size_t)5 << 20) + 12345)

/* Bytes that show one that is lost, doubled or swapped; for free(3). */
char *file_pattern(size_t len);

/* --- system calls that wait ---------------------------------------------- */

/* The calls of that name, from the at-th on, begin and wait until the gate is
 * opened. Undone by test_faults_clear. */
void gate_close(const char *name, int at);
void gate_open(void);

/* Until so many have begun. */
void gate_await(int count);

#endif /* YULA__TEST_FOLDER_H */
