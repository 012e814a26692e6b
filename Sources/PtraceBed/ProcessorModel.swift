import CPtrace

/// What `cpuid` says on a VMware virtual machine: this machine's own answers, and VMware's hypervisor leaves.
enum ProcessorModel {
    static func cpuid(leaf: UInt32, subleaf: UInt32) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) {
        switch leaf {
        case 1:
            var result = native(leaf, subleaf)
            result.ecx |= 1 << 31
            return result
        case 0x4000_0000:
            // "VMwareVMware" in EBX, ECX, EDX; EAX: the last hypervisor leaf.
            return (0x4000_0010, 0x6177_4D56, 0x4D56_6572, 0x6572_6177)
        case 0x4000_0010:
            // EAX, EBX: frequencies of the time-stamp counter and the bus in kHz. ECX: no hypercall in place of the port,
            // which keeps the guest to the instructions that can be served here.
            return (2_000_000, 66_000, 0, 0)
        case 0x4000_0001...0x4FFF_FFFF:
            return (0, 0, 0, 0)
        default:
            return native(leaf, subleaf)
        }
    }

    private static func native(_ leaf: UInt32, _ subleaf: UInt32) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) {
        var result: [UInt32] = [0, 0, 0, 0]
        cptrace_cpuid(leaf, subleaf, &result)
        return (result[0], result[1], result[2], result[3])
    }
}
