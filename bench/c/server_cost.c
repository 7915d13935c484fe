#include "server_cost.h"

#include "die.h"

#include <dirent.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
counter_open(uint64_t config, pid_t thread)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof attr,
        .config = config,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .inherit = 1,
    };
    return (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1,
                        PERF_FLAG_FD_CLOEXEC);
}

static bool
server_cost_open_thread(server_cost *cost, pid_t thread)
{
    if (cost->threads == SERVER_COST_THREADS) {
        cost->why_not = "too many threads";
        return false;
    }
    int instructions = counter_open(PERF_COUNT_HW_INSTRUCTIONS, thread);
    int cycles = counter_open(PERF_COUNT_HW_CPU_CYCLES, thread);
    if (instructions < 0 || cycles < 0) {
        cost->why_not = errno == EACCES || errno == EPERM
                            ? "not permitted (perf_event_paranoid)"
                        : errno == ENOENT ? "this machine has no such counters"
                                          : strerror(errno);
        return false;
    }
    cost->instructions[cost->threads] = instructions;
    cost->cycles[cost->threads] = cycles;
    cost->threads++;
    return true;
}

void
server_cost_open(server_cost *cost, pid_t pid)
{
    memset(cost, 0, sizeof *cost);
    int err = clock_getcpuclockid(pid, &cost->clock);
    if (err != 0) {
        errno = err;
        die_errno("clock of the server process");
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        die_errno(path);
    cost->counted = true;
    for (struct dirent *entry;
         cost->counted && (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] != '.')
            cost->counted = server_cost_open_thread(cost,
                                                    (pid_t)atol(entry->d_name));
    }
    closedir(tasks);
}

static uint64_t
counter_read(int fd)
{
    uint64_t value = 0;
    if (read(fd, &value, sizeof value) != sizeof value)
        die_errno("read a performance counter");
    return value;
}

server_cost_sample
server_cost_read(const server_cost *cost)
{
    server_cost_sample sample = {0};
    struct timespec spent;
    if (clock_gettime(cost->clock, &spent) < 0)
        die_errno("clock of the server process");
    sample.cpu_ns = (uint64_t)spent.tv_sec * 1000000000u +
                    (uint64_t)spent.tv_nsec;
    for (int i = 0; cost->counted && i < cost->threads; i++) {
        sample.instructions += counter_read(cost->instructions[i]);
        sample.cycles += counter_read(cost->cycles[i]);
    }
    return sample;
}

uint64_t
server_cost_thread_ns(pid_t pid, pid_t thread)
{
    /* Another process's thread clocks are not for us to read; the scheduler's file is. */
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", (int)pid,
             (int)thread);
    FILE *file = fopen(path, "re");
    unsigned long long spent = 0;
    if (file == NULL || fscanf(file, "%llu", &spent) != 1)
        die_errno(path);
    fclose(file);
    return spent;
}
