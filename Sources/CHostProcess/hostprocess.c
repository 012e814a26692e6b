#define _GNU_SOURCE
#include "CHostProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells the parent when it cannot become the program. */
struct failure {
    int error;
    const char *step; /* a literal: parent and child see it at the same address */
};

static void die(int report, const char *step)
{
    struct failure failure = {errno, step};
    ssize_t ignored = write(report, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

static void become(const char *path, char *const argv[], int output, const int *kept, int kept_count,
                   pid_t parent, int report)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1) die(report, "prctl PR_SET_PDEATHSIG");
    /* The parent may have died before the line above took effect. */
    if (getppid() != parent) _exit(127);
    /* A session of its own keeps the terminal's Ctrl-C away from QEMU: the caller decides what it means. */
    if (setsid() == -1) die(report, "setsid");

    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null == -1) die(report, "open /dev/null");
    if (dup2(null, 0) == -1 || dup2(output, 1) == -1 || dup2(output, 2) == -1) die(report, "dup2");
    /* Everything else closes at exec, also what our own parent left open, except what is named. */
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) == -1) die(report, "close_range");
    for (int i = 0; i < kept_count; i++)
        if (fcntl(kept[i], F_SETFD, 0) == -1) die(report, "fcntl F_SETFD");

    execv(path, argv);
    die(report, "execv");
}

pid_t hostprocess_spawn(const char *path, char *const argv[], int output, const int *kept, int kept_count,
                        const char **step)
{
    int report[2];
    *step = "pipe2";
    if (pipe2(report, O_CLOEXEC) == -1) return -1;

    /* Signals stay blocked until the child has its own dispositions: a handler of ours must not run in it. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    pid_t parent = getpid();
    *step = "fork";
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        become(path, argv, output, kept, kept_count, parent, report[1]);
    }
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(report[1]);

    struct failure failure = {fork_error, "fork"};
    ssize_t count = 0;
    if (pid > 0)
        do count = read(report[0], &failure, sizeof failure);
        while (count == -1 && errno == EINTR);
    close(report[0]);
    if (pid > 0 && count == 0) return pid;
    if (pid > 0) {
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {}
        *step = failure.step;
    }
    errno = failure.error;
    return -1;
}

int hostprocess_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static atomic_int signal_fd = -1;

static void on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    /* A full pipe already says that signals are there. */
    ssize_t ignored = write(atomic_load(&signal_fd), &byte, 1);
    (void)ignored;
    errno = saved;
}

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
enum { watched_count = sizeof watched_signals / sizeof watched_signals[0] };
static struct sigaction dispositions[watched_count];
static atomic_bool is_watching;

int hostprocess_watch_signals(int fd)
{
    /* Of two runs beside one another the first knows how it was before. */
    if (!atomic_exchange(&is_watching, true))
        for (int i = 0; i < watched_count; i++)
            if (sigaction(watched_signals[i], NULL, &dispositions[i]) == -1) return -1;
    atomic_store(&signal_fd, fd);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGINT, &action, NULL) == -1 || sigaction(SIGTERM, &action, NULL) == -1 || sigaction(SIGHUP, &action, NULL) == -1)
        return -1;
    action.sa_handler = SIG_IGN;
    if (sigaction(SIGPIPE, &action, NULL) == -1) return -1;
    /* The mask is inherited, and a parent with threads may start us from one that blocks everything. */
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    return sigprocmask(SIG_UNBLOCK, &watched, NULL);
}

int hostprocess_watch_more_signals(const int *numbers, int count)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigset_t watched;
    sigemptyset(&watched);
    for (int i = 0; i < count; i++) {
        if (sigaction(numbers[i], &action, NULL) == -1) return -1;
        sigaddset(&watched, numbers[i]);
    }
    return sigprocmask(SIG_UNBLOCK, &watched, NULL);
}

void hostprocess_unwatch_signals(void)
{
    /* What a program that uses this as a library had set is in force again: SIGPIPE above all, which would end it. */
    if (atomic_exchange(&is_watching, false))
        for (int i = 0; i < watched_count; i++) (void)sigaction(watched_signals[i], &dispositions[i], NULL);
    atomic_store(&signal_fd, -1);
}

int hostprocess_kvm_api_version(int kvm) { return ioctl(kvm, KVM_GET_API_VERSION, 0); }
int hostprocess_kvm_can_debug(int kvm) { return ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG) > 0; }
