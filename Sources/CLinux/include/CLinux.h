/*
 * CLinux: what Swift cannot say about Linux.
 *
 * Including libc's own headers here gives every Swift module the same view of libc in both builds: Embedded Swift
 * has no Glibc module.  Each function below exists for one of three reasons, named at its declaration: the thing is a
 * macro, it is variadic, or libc has no wrapper for the system call.
 */
#ifndef CLINUX_H
#define CLINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"
#include "netlink.h"
#include "packet.h"
#include "privileges.h"
#include "uevent.h"
#include "worker.h"

/* errno is a macro. */
static inline int clinux_errno(void) { return errno; }

/* open(2), openat(2), fcntl(2) and ioctl(2) are variadic. */
int clinux_open(const char *path, int flags, mode_t mode);
int clinux_openat(int directory, const char *path, int flags, mode_t mode);
int clinux_fcntl_int(int fd, int command, int argument);
int clinux_ioctl_int(int fd, unsigned long request, int argument);

/* libc 2.36 has no wrapper that Swift sees for pidfd_send_signal(2). */
int clinux_pidfd_send_signal(int pidfd, int signal);

/* reboot(2) commands that libc spells as macros above INT_MAX. Powers off, or arms/disarms Ctrl-Alt-Del. */
int clinux_power_off(void);
int clinux_ctrl_alt_del_signals_init(void);

/* A serial line's registers: TIOCSERGETLSR and TIOCOUTQ are variadic ioctl(2)s with a result. */
int clinux_serial_unsent(int fd, int *bytes);
int clinux_serial_transmitter_empty(int fd, int *empty);

/* TIOCGICOUNT is a variadic ioctl(2) with a structure of the kernel's: what a serial line has lost since the VM's boot.
 * -1 with errno where the line does not count. */
struct clinux_serial_errors {
    unsigned int framing, overrun, parity, breaks, buffer_overrun;
};
int clinux_serial_count_errors(int fd, struct clinux_serial_errors *errors);

/* TIOCGPTPEER is a variadic ioctl(2): opens the process's side of a terminal whose other side is `terminal`,
 * close-on-exec and not as controlling terminal; -1 with errno. */
int clinux_terminal_peer(int terminal);

/* FIONREAD is a variadic ioctl(2) with a result: the bytes that wait in a pipe. */
int clinux_readable_bytes(int fd, int *bytes);

/* Embedded Swift has no CommandLine. The argument at `index`, or NULL behind the last. */
const char *clinux_argument(int index);
/* Nor has it an environment. The entry `NAME=value` at `index`, or NULL behind the last. */
const char *clinux_environment(int index);
/* When the program started, in nanoseconds of CLOCK_MONOTONIC. */
int64_t clinux_start_nanoseconds(void);

/* malloc_trim(3) stands in a header of its own: gives the heap's free pages back to the kernel. */
void clinux_release_free_memory(void);

/* The type of a close-on-exec stream socket: an enum in C, a set of bits in use. */
static const int clinux_stream_socket = SOCK_STREAM | SOCK_CLOEXEC;
/* The same of one that keeps messages whole. */
static const int clinux_packet_socket = SOCK_SEQPACKET | SOCK_CLOEXEC;

/* getrandom(2) that does not wait for the kernel to have any; the flag is an enum in C. */
static const unsigned int clinux_random_at_once = GRND_NONBLOCK;

/* memfd_create(2)'s flags and the seals of fcntl(2), macros of different types: a file of memory that nobody can change any more. */
static const unsigned int clinux_memfd_sealable = MFD_CLOEXEC | MFD_ALLOW_SEALING;
static const int clinux_add_seals = F_ADD_SEALS;
static const int clinux_all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

/* Wait-status decoding is macros (wait(2)). */
static inline int clinux_wifexited(int s) { return WIFEXITED(s); }
static inline int clinux_wexitstatus(int s) { return WEXITSTATUS(s); }
static inline int clinux_wifsignaled(int s) { return WIFSIGNALED(s); }
static inline int clinux_wtermsig(int s) { return WTERMSIG(s); }
static inline int clinux_wcoredump(int s) { return WCOREDUMP(s) ? 1 : 0; }

/* makedev(3) is a macro. */
static inline dev_t clinux_makedev(unsigned int major_number, unsigned int minor_number) {
    return makedev(major_number, minor_number);
}

/* File-type tests are macros (inode(7)). */
static inline int clinux_is_regular(mode_t m) { return S_ISREG(m); }
static inline int clinux_is_block_device(mode_t m) { return S_ISBLK(m); }

#endif
