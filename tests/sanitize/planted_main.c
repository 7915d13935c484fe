/* planted_main.c: the planted bugs as a program, for libyula alone. */
#include "planted.h"

int
main(int argc, char **argv)
{
    return argc == 2 && planted_run(argv[1]) == 0 ? 0 : 2;
}
