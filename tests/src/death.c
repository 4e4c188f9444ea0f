/* Kills the process at a step of its writing to disk: the one that DIE_AFTER says, counted from when the file DIE_WHEN exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int steps;

static void step(void) {
    const char *when = getenv("DIE_WHEN"), *after = getenv("DIE_AFTER");
    if (!when || !after || access(when, F_OK) != 0) return;
    if (atomic_fetch_add(&steps, 1) == atoi(after)) kill(getpid(), SIGKILL);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    step();
    return real(file);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    step();
    return real(from, to);
}
