/*
 * CHostProcess: starting QEMU and hearing signals on the host.
 *
 * In C because between fork and exec, and in a signal handler, only async-signal-safe functions may be called: the
 * Swift runtime may take locks that another thread held at the fork, or that the interrupted code holds.
 */
#ifndef CHOSTPROCESS_H
#define CHOSTPROCESS_H

#include <sys/types.h>

/*
 * Starts `path` in a session of its own, with the default signal dispositions and an empty signal mask.  The kernel
 * kills it when the calling thread ends, however that comes about.  Standard input is /dev/null, standard output and
 * error are `output`; of all other descriptors only the `kept_count` in `kept` stay open, under their numbers, which
 * must be above 2.
 *
 * Returns the pid, or -1 with errno set and *step naming the call that failed ("fork", "execv", ...).
 */
pid_t hostprocess_spawn(const char *path, char *const argv[], int output, const int *kept, int kept_count,
                        const char **step);

/* A descriptor that becomes readable when the process ends (pidfd_open(2)); glibc 2.36 has a wrapper, older ones do not. */
int hostprocess_pidfd(pid_t pid);

/*
 * From now on the arrival of SIGINT, SIGTERM or SIGHUP writes its number as one byte to `fd`, which must not block.
 * SIGPIPE is ignored.  A signalfd would not do: it needs the signals blocked in every thread, also in those that the
 * Swift runtime has started before.
 */
int hostprocess_watch_signals(int fd);
/* The same for others, after hostprocess_watch_signals(): SIGWINCH, SIGQUIT and the like. */
int hostprocess_watch_more_signals(const int *numbers, int count);
/* Gives the four signals the dispositions again that they had before. */
void hostprocess_unwatch_signals(void);

/* The ioctls of /dev/kvm carry encoded numbers (KVM_GET_API_VERSION, KVM_CHECK_EXTENSION): macros. */
int hostprocess_kvm_api_version(int kvm);
int hostprocess_kvm_can_debug(int kvm);

#endif
