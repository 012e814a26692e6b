#include "CCgroups.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct bpf_insn) == sizeof(uint64_t), "an instruction is passed as one number");

int ccgroups_load_device_program(const uint64_t *instructions, size_t count) {
    if (count > UINT32_MAX) {
        errno = E2BIG;
        return -1;
    }
    union bpf_attr attribute;
    memset(&attribute, 0, sizeof attribute);
    attribute.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attribute.insns = (uint64_t)(uintptr_t)instructions;
    attribute.insn_cnt = (uint32_t)count;
    attribute.license = (uint64_t)(uintptr_t) "Apache";
    memcpy(attribute.prog_name, "devices", sizeof "devices");
    /* The descriptors that bpf(2) makes are close-on-exec. */
    return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attribute, sizeof attribute);
}

int ccgroups_attach_device_program(int cgroup, int program) {
    union bpf_attr attribute;
    memset(&attribute, 0, sizeof attribute);
    attribute.target_fd = (uint32_t)cgroup;
    attribute.attach_bpf_fd = (uint32_t)program;
    attribute.attach_type = BPF_CGROUP_DEVICE;
    attribute.attach_flags = BPF_F_ALLOW_MULTI;
    return (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attribute, sizeof attribute);
}
