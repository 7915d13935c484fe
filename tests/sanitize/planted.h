/* planted.h: see planted.c. */
#ifndef PLANTED_H
#define PLANTED_H

/* Do what name says. Returns 0 if it went unnoticed, -1 if there is no such bug. */
int planted_run(const char *name);

#endif
