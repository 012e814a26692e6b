#include "CLinux.h"

#include <grp.h>
#include <linux/capability.h>

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

/* The capabilities of a DHCP client: packets before there is an address, and port 68. */
static const int dhcp_capabilities[] = {CAP_NET_RAW, CAP_NET_BIND_SERVICE};

static void give_up(const char *step) {
    (void)dprintf(2, "%s: %s\n", step, strerror(errno));
    _exit(127);
}

static void limit(int resource, rlim_t value) {
    struct rlimit both = {value, value};
    if (setrlimit(resource, &both) != 0) give_up("setrlimit");
}

/* In its own mount namespace, in which what it has no business with is not there. */
static void hide_files(void) {
    if (unshare(CLONE_NEWNS) != 0) give_up("unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) give_up("mount / private");
    static const char *const hidden[] = {"/run", "/sys", "/proc"};
    for (size_t index = 0; index < sizeof hidden / sizeof *hidden; index++) {
        /* One that is no mount has nothing of the system's in it. */
        if (umount2(hidden[index], MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) give_up(hidden[index]);
    }
}

static void become_dhcp_user(uid_t user) {
    size_t count = sizeof dhcp_capabilities / sizeof *dhcp_capabilities;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    for (size_t index = 0; index < count; index++) {
        uint32_t bit = 1U << dhcp_capabilities[index];
        data[0].effective |= bit;
        data[0].permitted |= bit;
        data[0].inheritable |= bit;
    }
    for (int number = 0; number < 64; number++) {
        if (number < 32 && data[0].permitted & 1U << number) continue;
        /* EINVAL: behind the last one that the kernel knows. */
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0 && errno != EINVAL) give_up("drop a capability");
    }
    if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0) give_up("setresgid");
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setresuid(user, user, user) != 0) give_up("setresuid");
    if (syscall(SYS_capset, &header, data) != 0) give_up("capset");
    for (size_t index = 0; index < count; index++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, dhcp_capabilities[index], 0, 0) != 0) give_up("raise a capability");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up("no_new_privs");
}

pid_t clinux_start_dhcp_client(const char *words, int count, int socket, int errors, uid_t user) {
    enum { MOST = 63 };
    char *arguments[MOST + 1];
    if (count < 1 || count > MOST) {
        errno = E2BIG;
        return -1;
    }
    for (int index = 0; index < count; index++) {
        arguments[index] = (char *)words;
        words += strlen(words) + 1;
    }
    arguments[count] = NULL;
    sigset_t all, old;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &old) != 0) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals();
        /* As for a helper of the other kind: it is started again. */
        if (set_oom_score("500") != 0) _exit(127);
        setsid();
        socket = fcntl(socket, F_DUPFD, 16);
        errors = fcntl(errors, F_DUPFD, 16);
        if (dup2(errors, 2) < 0 || dup2(socket, CLINUX_DHCP_SOCKET) < 0) _exit(127);
        (void)syscall(SYS_close_range, 3, CLINUX_DHCP_SOCKET - 1, 0);
        (void)syscall(SYS_close_range, CLINUX_DHCP_SOCKET + 1, ~0U, 0);
        hide_files();
        limit(RLIMIT_CORE, 0);
        limit(RLIMIT_FSIZE, 0);
        limit(RLIMIT_NOFILE, 32);
        limit(RLIMIT_NPROC, 64);
        limit(RLIMIT_AS, 64 << 20);
        become_dhcp_user(user);
        char *const environment[] = {NULL};
        execve(arguments[0], arguments, environment);
        give_up(arguments[0]);
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
