/*
 * The init of the container's PID namespace: reaps what the container leaves behind, so that the container process is
 * not PID 1 of its namespace and the default actions of signals apply to it.  It holds nothing: no descriptor, no
 * capability, no way to be killed from inside.
 */
#include "internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void cspawn_hold_namespaces(const struct cspawn_plan *plan) {
    setsid();
    prctl(PR_SET_NAME, "tether-init", 0, 0, 0);
    /* Root inside the container must not be able to look into a copy of PID 1's memory. (Changes of identity may have
     * brought back what the clone had taken.) */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);

    cspawn_tell(plan, CSPAWN_READY, -1);
    syscall(SYS_close_range, 0, ~0U, 0);
    cap_set_proc(plan->no_capabilities);

    for (;;) {
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD) {
            /* Nothing to reap. An orphan that comes sends SIGCHLD when it ends, which is blocked and so waits here. */
            siginfo_t info;
            sigset_t child;
            sigemptyset(&child);
            sigaddset(&child, SIGCHLD);
            sigwaitinfo(&child, &info);
        }
    }
}
