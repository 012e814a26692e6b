#include "CBackdoor.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void probe(void) {
    /* The parent's handlers for these signals may try to recover the parent; the child is to die. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS, SIGABRT};
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) signal(faults[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_PDEATHSIG, SIGKILL);

    const uint32_t magic = 0x564D5868;
    uint64_t registers[7] = {magic, (uint32_t)~magic, 10 /* GETVERSION */, 0x5658, 0, 0, 0};
    cbackdoor_in(registers);
    _exit((uint32_t)registers[0] == 6 && (uint32_t)registers[1] == magic ? CBACKDOOR_PROBE_ANSWERED : CBACKDOOR_PROBE_SILENT);
}

int cbackdoor_probe_start(int *pidfd) {
    /* All signals are blocked across fork, so that none runs a handler of the parent in the child. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t child = fork();
    if (child == 0) probe();
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (child == -1) {
        errno = error;
        return -1;
    }
    /* The child cannot have been reaped yet, so its id still means it; pidfds are always close-on-exec. */
    *pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    if (*pidfd == -1) {
        error = errno;
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        errno = error;
        return -1;
    }
    return child;
}
