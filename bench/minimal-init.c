/*
 * The bare minimum that tether is measured against: an init that mounts what tether mounts, loads the modules it is
 * told to in the order given, mounts /dev/sda, and executes a shell in the same namespaces.  No configuration, no search for the disk, no
 * output handling, no error handling worth the name.  It writes one line to serial2 with the time it took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void load_modules(void) {
    FILE *list = fopen("/modules", "r");
    char path[256];
    while (list && fscanf(list, "%255s", path) == 1) {
        int module = open(path, O_RDONLY | O_CLOEXEC);
        /* As tether: the disks are there when the controller's module is loaded. */
        const char *parameters = strstr(path, "/scsi_mod.ko") ? "scan=sync" : "";
        syscall(SYS_finit_module, module, parameters, 0);
        close(module);
    }
    if (list) fclose(list);
}

static void in(const char *name, const char *type, unsigned long flags, const char *data) {
    char path[64];
    snprintf(path, sizeof path, "/root%s", name);
    mkdir(path, 0755);
    mount(type, path, type, flags, data);
}

int main(void) {
    long long start = now();
    mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755), mkdir("/run", 0755), mkdir("/root", 0755);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
    load_modules();
    while (access("/dev/sda", F_OK) != 0) usleep(1000);
    mount("/dev/sda", "/root", "ext4", 0, NULL);

    struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS, .exit_signal = SIGCHLD};
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (child == 0) {
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        in("/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
        in("/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
        in("/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
        in("/dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
        in("/dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
        in("/sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL);
        mknod("/root/dev/null", S_IFCHR | 0666, makedev(1, 3));
        int out = open("/dev/ttyS2", O_WRONLY | O_NOCTTY);
        if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/")) _exit(1);
        sethostname("box", 3);
        dprintf(out, "minimal-init microseconds=%lld\n", (now() - start) / 1000);
        execl("/bin/true", "true", NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    umount("/root");
    sync();
    reboot(RB_POWER_OFF);
    return 0;
}
