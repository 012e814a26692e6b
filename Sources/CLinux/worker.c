#include "CLinux.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void reset_signals(void) {
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    /* SIGKILL, SIGSTOP and libc's own two signals refuse: nothing to reset there. */
    for (int number = 1; number < NSIG; number++) (void)sigaction(number, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* PID 1 is never killed for memory (oom_score_adj -1000), and a fork inherits that. */
static int set_oom_score(const char *score) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = (ssize_t)strlen(score);
    ssize_t written = write(file, score, (size_t)length);
    close(file);
    return written == length ? 0 : -1;
}

pid_t clinux_start_helper(const char *path, const char *argument, int socket, int settings, int errors) {
    sigset_t all, old;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &old) != 0) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals();
        /* See the header for the number. */
        if (set_oom_score("500") != 0) _exit(127);
        setsid();
        /* First out of the way of one another: each may have the number that another one is to get. */
        socket = fcntl(socket, F_DUPFD, 16);
        errors = fcntl(errors, F_DUPFD, 16);
        if (settings >= 0 && (settings = fcntl(settings, F_DUPFD, 16)) < 0) _exit(127);
        if (dup2(errors, 2) < 0 || dup2(socket, 3) < 0 || (settings >= 0 && dup2(settings, 4) < 0)) _exit(127);
        (void)syscall(SYS_close_range, settings >= 0 ? 5 : 4, ~0U, 0);
        char *const arguments[] = {(char *)path, (char *)argument, NULL};
        char *const environment[] = {NULL};
        execve(path, arguments, environment);
        _exit(127);
    }
    int saved = errno;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

pid_t clinux_fork_worker(int *pidfd) {
    sigset_t all, old;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &old) != 0) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals();
        /* Without /proc, or without the right to lower it, the worker has what its parent has. */
        (void)set_oom_score("0");
        return 0;
    }
    int saved = errno;
    if (pid > 0) {
        /* The child cannot be reaped before this returns, so the number is still its own. */
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0) {
            saved = errno;
            (void)kill(pid, SIGKILL);
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) { }
            pid = -1;
        } else {
            *pidfd = fd;
        }
    }
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return pid;
}

int clinux_close_others(int kept) {
    if (kept <= 2) return (int)syscall(SYS_close_range, 3, ~0U, 0);
    if (kept > 3 && syscall(SYS_close_range, 3, (unsigned int)kept - 1, 0) != 0) return -1;
    return (int)syscall(SYS_close_range, (unsigned int)kept + 1, ~0U, 0);
}

int clinux_reap_pidfd(int pidfd, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) != 0) return -1;
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

int clinux_pidfd_kill(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }
