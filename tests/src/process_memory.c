/* Lets a test look into the process: from SIGUSR2 on its memory may be read, and at its very end it stops, so that it can be. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static void show(int signal) {
    static const char closed[] = "memory_access: was not dumpable\n", open[] = "memory_access: was dumpable\n";
    (void)signal;
    ssize_t said = prctl(PR_GET_DUMPABLE) == 0 ? write(2, closed, sizeof closed - 1) : write(2, open, sizeof open - 1);
    (void)said;
    prctl(PR_SET_DUMPABLE, 1);
}

__attribute__((constructor)) static void begin(void) { signal(SIGUSR2, show); }

__attribute__((destructor)) static void end(void) {
    prctl(PR_SET_DUMPABLE, 1);
    raise(SIGSTOP);
}
