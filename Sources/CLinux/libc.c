#include "CLinux.h"

#include <linux/serial.h>
#include <malloc.h>
#include <sys/ioctl.h>

int clinux_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

int clinux_openat(int directory, const char *path, int flags, mode_t mode) {
    return openat(directory, path, flags, mode);
}

int clinux_fcntl_int(int fd, int command, int argument) { return fcntl(fd, command, argument); }

int clinux_ioctl_int(int fd, unsigned long request, int argument) { return ioctl(fd, request, argument); }

int clinux_pidfd_send_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

int clinux_power_off(void) { return reboot((int)RB_POWER_OFF); }

int clinux_ctrl_alt_del_signals_init(void) { return reboot((int)RB_DISABLE_CAD); }

int clinux_serial_unsent(int fd, int *bytes) { return ioctl(fd, TIOCOUTQ, bytes); }

int clinux_serial_count_errors(int fd, struct clinux_serial_errors *errors) {
    struct serial_icounter_struct counters;
    if (ioctl(fd, TIOCGICOUNT, &counters) != 0) return -1;
    errors->framing = (unsigned int)counters.frame;
    errors->overrun = (unsigned int)counters.overrun;
    errors->parity = (unsigned int)counters.parity;
    errors->breaks = (unsigned int)counters.brk;
    errors->buffer_overrun = (unsigned int)counters.buf_overrun;
    return 0;
}

int clinux_serial_transmitter_empty(int fd, int *empty) {
    unsigned int state = 0;
    int result = ioctl(fd, TIOCSERGETLSR, &state);
    *empty = (state & TIOCSER_TEMT) != 0;
    return result;
}

int clinux_terminal_peer(int terminal) { return ioctl(terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); }

int clinux_readable_bytes(int fd, int *bytes) { return ioctl(fd, FIONREAD, bytes); }

void clinux_release_free_memory(void) { malloc_trim(0); }
