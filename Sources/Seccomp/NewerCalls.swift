import CLinux
import CSeccomp
import ContainerSpec

/// The instructions before a filter that let system calls which are newer than its profile fail with ENOSYS.
///
/// A libc that tries a new call takes ENOSYS for an old kernel and falls back on older ones; EPERM, which most profiles have
/// as their default, it takes for an answer. So, as runc does, every call whose number is above that of all calls that the
/// profile names gets ENOSYS: numbers are given roughly in the order of time. That is only for profiles that answer with an
/// error by default: one that kills says what it wants.
enum NewerCalls {
    /// The instructions for the ABIs of `architectures` (libseccomp's tokens); empty where nothing has to be done.
    static func stub(_ defaultAction: SeccompAction, _ architectures: [UInt32], _ rules: [SeccompRule]) -> [UInt8] {
        guard case .errno(let number) = defaultAction, Int32(number) != ENOSYS else { return [] }
        var limits: [(architecture: UInt32, last: UInt32)] = []
        for architecture in architectures {
            if let last = lastCall(architecture, rules) { limits.append((architecture, last)) }
        }
        let x64 = seccomp_arch_resolve_name("x86_64")
        let x32 = seccomp_arch_resolve_name("x32")
        var sections: [[Instruction]] = []
        for limit in limits where limit.architecture != x64 && limit.architecture != x32 {
            sections.append(section(limit.architecture, [.load(numberOffset)] + check(limit.last)))
        }
        // Both have the same AUDIT_ARCH; the number tells them apart.
        let limit64 = limits.first { $0.architecture == x64 }?.last
        let limit32 = limits.first { $0.architecture == x32 }?.last
        if limit64 != nil || limit32 != nil {
            let check64 = limit64.map { check($0) } ?? [.leave]
            let check32 = limit32.map { check($0) } ?? [.leave]
            let choice = Instruction(code: Instruction.jumpIfSet, yes: UInt8(clamping: check64.count), no: 0, value: x32Bit)
            sections.append(section(x64, [.load(numberOffset), choice] + check64 + check32))
        }
        if sections.isEmpty { return [] }
        var program: [Instruction] = [.load(architectureOffset)]
        for section in sections { program += section }
        return bytes(program)
    }

    // offsetof(struct seccomp_data, nr) and (…, arch).
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4
    /// __X32_SYSCALL_BIT.
    private static let x32Bit: UInt32 = 0x4000_0000

    /// The highest number of a call that the rules name; nil where the ABI has none of them.
    private static func lastCall(_ architecture: UInt32, _ rules: [SeccompRule]) -> UInt32? {
        var last: Int32 = -1
        for rule in rules {
            // Negative ones are libseccomp's, for calls that the ABI does not have.
            for name in rule.names { last = max(last, seccomp_syscall_resolve_name_arch(architecture, name)) }
        }
        return last < 0 ? nil : UInt32(last)
    }

    /// `body`, passed over unless the call comes through the ABI.
    private static func section(_ architecture: UInt32, _ body: [Instruction]) -> [Instruction] {
        [Instruction(code: Instruction.jumpIfEqual, yes: 0, no: UInt8(clamping: body.count), value: architecture)] + body
    }

    /// Fails a call above `last`, and leaves the others to the filter.
    private static func check(_ last: UInt32) -> [Instruction] {
        [
            Instruction(code: Instruction.jumpIfGreater, yes: 0, no: 1, value: last),
            Instruction(code: Instruction.result, yes: 0, no: 0, value: SeccompAction.errno(UInt16(clamping: ENOSYS)).code), .leave,
        ]
    }

    /// Lays the instructions out, each ``Instruction/leave`` as a jump to behind the last.
    private static func bytes(_ program: [Instruction]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (index, instruction) in program.enumerated() {
            var laidOut = instruction
            if instruction.code == Instruction.jump { laidOut.value = UInt32(clamping: program.count - index - 1) }
            laidOut.append(to: &bytes)
        }
        return bytes
    }
}

/// A `struct sock_filter` (linux/filter.h).
private struct Instruction {
    var code: UInt16
    /// How many instructions a conditional jump passes over, if its condition holds and if not.
    var yes: UInt8
    var no: UInt8
    var value: UInt32

    static let jump: UInt16 = 0x05  // BPF_JMP | BPF_JA
    static let jumpIfEqual: UInt16 = 0x15  // BPF_JMP | BPF_JEQ | BPF_K
    static let jumpIfGreater: UInt16 = 0x25  // BPF_JMP | BPF_JGT | BPF_K
    static let jumpIfSet: UInt16 = 0x45  // BPF_JMP | BPF_JSET | BPF_K
    static let result: UInt16 = 0x06  // BPF_RET | BPF_K

    /// Leaves for the filter behind; where that is, is known when all is laid out.
    static let leave = Instruction(code: jump, yes: 0, no: 0, value: 0)

    /// Loads 32 bits of `struct seccomp_data`.
    static func load(_ offset: UInt32) -> Instruction {
        Instruction(code: 0x20, yes: 0, no: 0, value: offset)  // BPF_LD | BPF_W | BPF_ABS
    }

    /// In the machine's byte order.
    func append(to bytes: inout [UInt8]) {
        withUnsafeBytes(of: code) { bytes.append(contentsOf: $0) }
        bytes.append(yes)
        bytes.append(no)
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }
}
