/* What a machine that was asleep takes for the time. Preloaded into its programs by
   clock.rs: the moments that they read are moved by what stands in a file, which may change
   while they run. Moments that they give to the kernel are not moved: nobody here does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Nanoseconds: how much the clock that stands still in sleep lags, how much others lead. */
struct offsets {
    int64_t lag, lead;
};
static const volatile struct offsets *offsets;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MACHINE_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = mmap(NULL, sizeof(struct offsets), PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "MACHINE_CLOCK names no clock\n");
        abort();
    }
    close(file);
    offsets = memory;
}

static void move(struct timespec *moment, int64_t by)
{
    int64_t second = 1000000000;
    int64_t all = moment->tv_sec * second + moment->tv_nsec + by;
    moment->tv_sec = all / second;
    moment->tv_nsec = all % second;
}

int clock_gettime(clockid_t clock, struct timespec *moment)
{
    int failed = syscall(SYS_clock_gettime, clock, moment);
    if (failed || !offsets)
        return failed;
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
        move(moment, -offsets->lag);
        break;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_BOOTTIME:
        move(moment, offsets->lead);
    }
    return 0;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *second)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (second)
        *second = now.tv_sec;
    return now.tv_sec;
}
