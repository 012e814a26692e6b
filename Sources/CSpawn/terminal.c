/* The process's terminal: a pty of the container's own devpts, so that its name means the same inside (/dev/pts/0). */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

/* A terminal's user expects it at /dev/console, too. */
static void bind_console(const struct cspawn_plan *plan, int slave) {
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int target = root < 0 ? -1 : cspawn_make_in_root(root, "/dev/console", 1);
    int tree = target < 0 ? -1 : open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0 || move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        cspawn_fail(plan, CSPAWN_CONSOLE, 0);
    }
    close(tree);
    close(target);
    close(root);
}

static tcflag_t changed(tcflag_t flags, struct cspawn_flags changes) {
    return (flags | changes.set) & ~changes.cleared;
}

/* tcgetattr(3) and its kin are async-signal-safe (signal-safety(7)). */
static int set_modes(int slave, const struct cspawn_modes *modes) {
    struct termios settings;
    if (tcgetattr(slave, &settings) < 0) return -1;
    settings.c_iflag = changed(settings.c_iflag, modes->input);
    settings.c_oflag = changed(settings.c_oflag, modes->output);
    settings.c_lflag = changed(settings.c_lflag, modes->local);
    for (int i = 0; i < NCCS; i++) {
        if (modes->has_character[i]) settings.c_cc[i] = modes->characters[i];
    }
    if (modes->input_speed) cfsetispeed(&settings, modes->input_speed);
    if (modes->output_speed) cfsetospeed(&settings, modes->output_speed);
    return tcsetattr(slave, TCSANOW, &settings);
}

int cspawn_make_terminal(const struct cspawn_plan *plan) {
    const struct cspawn_streams *streams = &plan->streams;
    /* The real file: /dev/ptmx is a link that the image's author may have made. */
    int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
    if (master < 0) cspawn_fail(plan, CSPAWN_TERMINAL, 0);
    int locked = 0;
    if (ioctl(master, TIOCSPTLCK, &locked) < 0) cspawn_fail(plan, CSPAWN_TERMINAL, 0);
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) cspawn_fail(plan, CSPAWN_TERMINAL, 0);
    /* Group and mode are devpts's business (gid=5,mode=0620). */
    if (plan->process && !plan->process->keep_identity && fchown(slave, plan->process->uid, (gid_t)-1) < 0) {
        cspawn_fail(plan, CSPAWN_TERMINAL_OWNER, 0);
    }
    if (streams->has_size) {
        struct winsize size = {.ws_row = streams->rows, .ws_col = streams->columns};
        if (ioctl(slave, TIOCSWINSZ, &size) < 0) cspawn_fail(plan, CSPAWN_TERMINAL_SIZE, 0);
    }
    if (set_modes(slave, &streams->modes) < 0) cspawn_fail(plan, CSPAWN_TERMINAL_MODES, 0);
    if (streams->console) bind_console(plan, slave);
    if (ioctl(slave, TIOCSCTTY, 0) < 0) cspawn_fail(plan, CSPAWN_CONTROLLING_TERMINAL, 0);
    cspawn_tell(plan, CSPAWN_TERMINAL_MADE, master);
    close(master);
    return slave;
}

int cspawn_set_window_size(int terminal, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(terminal, TIOCSWINSZ, &size);
}
