import CCgroups
public import ContainerSpec
import Linux

/// Which devices the container may use, as a BPF program of the type that the kernel asks at each open(2) and mknod(2) of a device
/// node (BPF_PROG_TYPE_CGROUP_DEVICE). cgroup v2 has no device controller but this.
///
/// For each right that is asked for (read, write, mknod) the last rule that matches the device and names the right decides; where
/// none does, the answer is no.
public struct DeviceProgram: Equatable, Sendable {
    /// Each a struct bpf_insn as one number.
    let instructions: [UInt64]

    /// The rules that come behind the configuration's own. They are what runc grants every container: making any node, and using
    /// those that every container has in /dev.
    public static let standardRules: [DeviceRule] = {
        var rules = [rule(.character, nil, nil, rights: "m"), rule(.block, nil, nil, rights: "m")]
        // null, zero, full, random, urandom; tty, ptmx.
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] as [(UInt32, UInt32)] {
            rules.append(rule(.character, major, minor, rights: "rwm"))
        }
        // Pseudo-terminals: the container's devpts.
        rules.append(rule(.character, 136, nil, rights: "rwm"))
        return rules
    }()

    private static func rule(_ kind: DeviceRule.Kind, _ major: UInt32?, _ minor: UInt32?, rights: String) -> DeviceRule {
        var rule = DeviceRule(allow: true)
        rule.kind = kind
        rule.major = major
        rule.minor = minor
        rule.read = rights.utf8.contains(UInt8(ascii: "r"))
        rule.write = rights.utf8.contains(UInt8(ascii: "w"))
        rule.make = rights.utf8.contains(UInt8(ascii: "m"))
        return rule
    }

    /// - Parameter rules: `linux.resources.devices`. The standard rules come behind them, as runc has it: `runc spec` and Docker
    ///   begin with one that denies all.
    /// - Throws: ``CgroupError`` for more than `ContainerResources.deviceRuleLimit` rules.
    public init(_ rules: [DeviceRule]) throws(CgroupError) {
        guard rules.count <= ContainerResources.deviceRuleLimit else {
            throw CgroupError("convert", "linux.resources.devices", "more than \(ContainerResources.deviceRuleLimit) rules")
        }
        instructions = DeviceProgram.compile(rules + DeviceProgram.standardRules)
    }

    /// Loads the program and has the kernel ask it for `group` and all groups below. The kernel keeps it as long as the group.
    public func attach(to group: Cgroup) throws(CgroupError) {
        try CgroupError.mapping { () throws(SyscallError) in
            let program = FileDescriptor(
                owning: try attempt("bpf BPF_PROG_LOAD", "devices of \(group.path)") {
                    instructions.withUnsafeBufferPointer { ccgroups_load_device_program($0.baseAddress, $0.count) }
                })
            try attempt("bpf BPF_PROG_ATTACH", "devices of \(group.path)") {
                ccgroups_attach_device_program(group.descriptor, program.rawValue)
            }
        }
    }
}

// MARK: Instructions

/// Registers of the program: r1 is the kernel's struct bpf_cgroup_dev_ctx, r0 the answer.
private enum Register {
    static let answer: UInt64 = 0
    static let context: UInt64 = 1
    /// The rights that are asked for and not yet granted.
    static let wanted: UInt64 = 2
    static let kind: UInt64 = 3
    static let major: UInt64 = 4
    static let minor: UInt64 = 5
}

/// Operation codes of linux/bpf.h and linux/bpf_common.h, which are sums of macros.
private enum Operation {
    static let load32: UInt64 = 0x61  // BPF_LDX | BPF_MEM | BPF_W
    static let copy32: UInt64 = 0xBC  // BPF_ALU | BPF_MOV | BPF_X
    static let set32: UInt64 = 0xB4  // BPF_ALU | BPF_MOV | BPF_K
    static let and32: UInt64 = 0x54  // BPF_ALU | BPF_AND | BPF_K
    static let shiftRight32: UInt64 = 0x74  // BPF_ALU | BPF_RSH | BPF_K
    static let jumpUnlessEqual32: UInt64 = 0x56  // BPF_JMP32 | BPF_JNE | BPF_K
    static let jumpIfAny32: UInt64 = 0x46  // BPF_JMP32 | BPF_JSET | BPF_K
    static let jump: UInt64 = 0x05  // BPF_JMP | BPF_JA
    static let exit: UInt64 = 0x95  // BPF_JMP | BPF_EXIT
}

extension DeviceProgram {
    static let mknodRight: UInt32 = 1  // BPF_DEVCG_ACC_MKNOD
    static let readRight: UInt32 = 2  // BPF_DEVCG_ACC_READ
    static let writeRight: UInt32 = 4  // BPF_DEVCG_ACC_WRITE
    static let blockKind: UInt32 = 1  // BPF_DEVCG_DEV_BLOCK
    static let characterKind: UInt32 = 2  // BPF_DEVCG_DEV_CHAR
    private static let allRights: UInt32 = 7

    /// From the last rule to the first, so that the first match of a right is what decides it.
    static func compile(_ rules: [DeviceRule]) -> [UInt64] {
        // access_type holds the rights in its upper half and the kind in its lower; then come major and minor.
        var code = [
            instruction(Operation.load32, Register.wanted, source: Register.context, offset: 0),
            instruction(Operation.copy32, Register.kind, source: Register.wanted),
            instruction(Operation.and32, Register.kind, immediate: 0xFFFF),
            instruction(Operation.shiftRight32, Register.wanted, immediate: 16),
            instruction(Operation.load32, Register.major, source: Register.context, offset: 4),
            instruction(Operation.load32, Register.minor, source: Register.context, offset: 8),
        ]
        for rule in rules.reversed() {
            let rights = (rule.make ? mknodRight : 0) | (rule.read ? readRight : 0) | (rule.write ? writeRight : 0)
            if rights == 0 { continue }
            code += block(rule, rights)
            // What decides everything leaves nothing to the rules before it.
            if rights == allRights && rule.kind == .all && rule.major == nil && rule.minor == nil { break }
        }
        return code + answer(0)
    }

    private static func block(_ rule: DeviceRule, _ rights: UInt32) -> [UInt64] {
        var conditions: [(register: UInt64, value: UInt32)] = []
        switch rule.kind {
        case .all: break
        case .block: conditions.append((Register.kind, blockKind))
        case .character: conditions.append((Register.kind, characterKind))
        }
        if let major = rule.major { conditions.append((Register.major, major)) }
        if let minor = rule.minor { conditions.append((Register.minor, minor)) }

        // Denying: any right that is still asked for ends it. Granting: the rights are no longer asked for, and if none is left, yes.
        var body: [UInt64]
        if rule.allow {
            body = [
                instruction(Operation.and32, Register.wanted, immediate: allRights & ~rights),
                instruction(Operation.jumpUnlessEqual32, Register.wanted, offset: 2, immediate: 0),
            ]
            body += answer(1)
        } else {
            body = [
                instruction(Operation.jumpIfAny32, Register.wanted, offset: 1, immediate: rights),
                instruction(Operation.jump, 0, offset: 2),
            ]
            body += answer(0)
        }
        var code: [UInt64] = []
        for (index, condition) in conditions.enumerated() {
            // Over the conditions that are left and the body.
            let distance = UInt64(conditions.count - 1 - index + body.count)
            code.append(instruction(Operation.jumpUnlessEqual32, condition.register, offset: distance, immediate: condition.value))
        }
        return code + body
    }

    private static func answer(_ value: UInt32) -> [UInt64] {
        [instruction(Operation.set32, Register.answer, immediate: value), instruction(Operation.exit, 0)]
    }

    /// struct bpf_insn as one number, least significant byte first: operation, registers, offset, immediate value.
    private static func instruction(
        _ operation: UInt64, _ destination: UInt64, source: UInt64 = 0, offset: UInt64 = 0, immediate: UInt32 = 0
    ) -> UInt64 {
        operation | destination << 8 | source << 12 | offset << 16 | UInt64(immediate) << 32
    }
}
