#include "progress.h"

#include "die.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void
progress_open(progress *prog, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        die_errno(path);
    prog->count = (int)(info.st_size / (off_t)sizeof(uint64_t));
    if (prog->count < 1 || prog->count > PROGRESS_MAX)
        die("--progress: the file must hold 1 to 32 counters");
    void *mapped = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd,
                        0);
    if (mapped == MAP_FAILED)
        die_errno(path);
    prog->counts = mapped;
    close(fd);
}

progress_sample
progress_read(const progress *prog)
{
    progress_sample sample = {0};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sample.at_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    for (int i = 0; i < prog->count; i++)
        sample.counts[i] = prog->counts[i];
    return sample;
}

void
progress_print_rates(const progress *prog, const progress_sample *from,
                     const progress_sample *to)
{
    double seconds = (double)(to->at_ns - from->at_ns) / 1e9;
    for (int i = 0; i < prog->count; i++)
        printf("%s%.3f", i == 0 ? "[" : ", ",
               (double)(to->counts[i] - from->counts[i]) / seconds);
    printf("]");
}
