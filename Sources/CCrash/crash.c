#define _GNU_SOURCE
#include "CCrash.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static const char *program_path;
static int is_recovering;
static int diagnostics_fd = -1;
/* Not SIGSTKSZ: the kernel's signal frame alone takes more than that with AVX-512 and AMX state. */
static char stack[64 * 1024];

/* snprintf(3) is not async-signal-safe. */
static size_t format(char *out, uintptr_t value, unsigned base) {
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (size_t i = 0; i < count; i++) out[i] = digits[count - 1 - i];
    out[count] = 0;
    return count;
}

static void say(const char *text) {
    ssize_t ignored = write(diagnostics_fd, text, strlen(text));
    (void)ignored;
}

static void handle(int number, siginfo_t *info, void *context) {
    (void)context;
    char signal_text[24], address_text[24], sender_text[24];
    format(signal_text, (uintptr_t)number, 10);
    /* si_code <= 0: sent by a process, and si_addr means nothing. */
    int sent = info->si_code <= 0;
    format(address_text, sent ? 0 : (uintptr_t)info->si_addr, 16);
    format(sender_text, sent ? (uintptr_t)info->si_pid : 0, 10);

    say(is_recovering ? "tether: fatal signal " : "tether: fatal signal, starting anew: ");
    say(signal_text);
    say("\r\n");
    if (is_recovering) {
        reboot((int)RB_POWER_OFF);
        _exit(125); /* not PID 1, or not allowed to */
    }
    /* The mask survives execve(2): this signal, blocked while handled, must be able to reach the new program. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *const arguments[] = {(char *)program_path, CCRASH_ARGUMENT, signal_text, address_text, sender_text, NULL};
    char *const environment[] = {NULL};
    execve(program_path, arguments, environment);
    reboot((int)RB_POWER_OFF);
    _exit(125);
}

int ccrash_install(const char *program, int recovering, int diagnostics) {
    static const int signals[] = {SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
    program_path = program;
    is_recovering = recovering;
    diagnostics_fd = diagnostics;
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    if (sigaltstack(&alternate, NULL) < 0) return -1;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (sigaction(signals[i], &action, NULL) < 0) return -1;
    }
    return 0;
}
