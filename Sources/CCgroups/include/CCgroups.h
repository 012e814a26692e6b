/*
 * CCgroups: what Swift cannot say about control groups.
 *
 * bpf(2) has no libc wrapper, and its argument is a union of anonymous structs that Swift imports badly.
 */
#ifndef CCGROUPS_H
#define CCGROUPS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* the same view of libc as CLinux has */
#endif
#include <stddef.h>
#include <stdint.h>

/*
 * BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program of `count` instructions, each a struct bpf_insn as one 64-bit
 * number.  Returns a close-on-exec descriptor, or -1 with errno: EINVAL from a kernel without CONFIG_CGROUP_BPF.
 */
int ccgroups_load_device_program(const uint64_t *instructions, size_t count);

/*
 * BPF_PROG_ATTACH of that program to the cgroup whose directory is open as `cgroup`, in the mode in which programs of
 * cgroups below can only take more away (BPF_F_ALLOW_MULTI).  Returns 0, or -1 with errno.
 */
int ccgroups_attach_device_program(int cgroup, int program);

#endif
