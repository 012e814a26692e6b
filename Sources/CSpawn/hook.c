/*
 * A hook's monitor.  PID 1 cannot count on the wait status of a child of its own, which whoever reaps there first takes;
 * and what a hook leaves running is found by the process group that the monitor leads.
 */
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void cspawn_monitor_hook(const struct cspawn_plan *plan) {
    if (setsid() < 0) cspawn_fail(plan, CSPAWN_SETSID, 0);
    /* The bare call: libc's would run handlers and take locks of a program that is not there any more. */
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid < 0) cspawn_fail(plan, CSPAWN_HOOK, 0);
    if (pid == 0) {
        /* Whoever ends the monitor ends the hook. */
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        return;
    }
    /* The hook's streams are not the monitor's: their end is the hook's. */
    for (int i = 0; i < 3; i++) {
        if (plan->streams.standard[i] > 2) close(plan->streams.standard[i]);
    }
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(pid, &status, 0);
    } while (ended < 0 && errno == EINTR);
    struct cspawn_report report = {.step = CSPAWN_HOOK_ENDED, .error = status};
    ssize_t sent = ended < 0 ? -1 : write(plan->report, &report, sizeof report);
    _exit(sent == sizeof report ? 0 : 125);
}
