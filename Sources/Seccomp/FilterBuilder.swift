import CLinux
import CSeccomp
import ContainerSpec
import Linux

/// Builds a filter with libseccomp. It is work of unknown length, and so for a ``Worker``.
struct FilterBuilder: ~Copyable {
    private let filter: scmp_filter_ctx

    /// The program of the rules of `profile` that apply to `target`. Its flags are those of the profile.
    static func program(_ profile: SeccompProfile, _ target: SeccompTarget) throws(SeccompError) -> SeccompProgram {
        let rules = profile.rules(for: target)
        let builder = try FilterBuilder(profile.defaultAction)
        let architectures = try builder.addArchitectures(profile.effectiveArchitectures)
        // A binary tree over the numbers, as runc asks for; with no rules libseccomp 2.5 would go wrong on it. A library too
        // old for it does without.
        if rules.reduce(0, { $0 &+ $1.names.count }) > 32 { _ = seccomp_attr_set(builder.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) }
        var unknown: [String] = []
        for rule in rules where rule.action != profile.defaultAction {
            for name in rule.names { try builder.add(rule, name, &unknown) }
        }
        let stub = NewerCalls.stub(profile.defaultAction, architectures, rules)
        let instructions = stub + (try builder.export())
        let count = instructions.count / SeccompProgram.instructionSize
        guard count <= SeccompProgram.instructionLimit else {
            throw SeccompError(
                "compile", "linux.seccomp", "it takes \(count) instructions, and the kernel at most \(SeccompProgram.instructionLimit)")
        }
        return SeccompProgram(instructions: instructions, flags: profile.flags, unknownCalls: unknown)
    }

    private init(_ defaultAction: SeccompAction) throws(SeccompError) {
        guard let filter = seccomp_init(defaultAction.code) else {
            throw SeccompError(
                "make seccomp filter", "with default action \(defaultAction.name)", "libseccomp or the kernel refuses the action")
        }
        self.filter = filter
    }

    deinit { seccomp_release(filter) }

    /// Adds ABIs to the machine's own, which is in the filter from the beginning.
    /// - Returns: libseccomp's tokens of all.
    private borrowing func addArchitectures(_ names: [String]) throws(SeccompError) -> [UInt32] {
        var tokens = [seccomp_arch_native()]
        for name in names {
            let operation = "add seccomp architecture"
            let token = seccomp_arch_resolve_name(String(name.dropFirst("SCMP_ARCH_".utf8.count)).lowercased())
            guard token != 0 else { throw SeccompError(operation, name, "libseccomp does not know it") }
            switch seccomp_arch_add(filter, token) {
            case 0: tokens.append(token)
            case -EEXIST: break
            case -EDOM: throw SeccompError(operation, name, "its byte order is not this machine's")
            case let result: throw SeccompError(operation, name, FilterBuilder.cause(result))
            }
        }
        return tokens
    }

    /// Adds the rule for one of its calls. A call that the library does not know is left to the default action, as runc does.
    private borrowing func add(_ rule: SeccompRule, _ name: String, _ unknown: inout [String]) throws(SeccompError) {
        let number = seccomp_syscall_resolve_name(name)
        guard number != SCMP.unknown else {
            if unknown.count < SeccompProgram.unknownLimit && !unknown.contains(name) { unknown.append(name) }
            return
        }
        for comparisons in rule.alternatives {
            let arguments = comparisons.map {
                scmp_arg_cmp(arg: $0.index, op: $0.operator.code, datum_a: $0.value, datum_b: $0.valueTwo)
            }
            // Not the exact form: a comparison may have to be dropped or rewritten for one of several ABIs.
            let result = arguments.withUnsafeBufferPointer {
                seccomp_rule_add_array(filter, rule.action.code, number, UInt32(clamping: $0.count), $0.baseAddress)
            }
            if result != 0 { throw SeccompError("add seccomp rule", "\(rule.action.name) for \(name)", FilterBuilder.cause(result)) }
        }
    }

    /// The program as libseccomp writes it.
    private borrowing func export() throws(SeccompError) -> [UInt8] {
        do throws(SyscallError) {
            let file = FileDescriptor(owning: try attempt("memfd_create", "seccomp") { memfd_create("seccomp", UInt32(MFD_CLOEXEC)) })
            let result = seccomp_export_bpf(filter, file.rawValue)
            if result != 0 { throw SyscallError("seccomp_export_bpf", "", Errno(rawValue: 0 &- result)) }
            let size = try attempt("lseek", "seccomp") { lseek(file.rawValue, 0, SEEK_END) }
            try attempt("lseek", "seccomp") { lseek(file.rawValue, 0, SEEK_SET) }
            guard let bytes = try file.read(atMost: Int(size), object: "seccomp"), bytes.count == Int(size), !bytes.isEmpty else {
                throw SyscallError("read", "seccomp", .ioError)
            }
            return bytes
        } catch {
            throw SeccompError("compile", "linux.seccomp", error.description)
        }
    }

    /// libseccomp's functions return a negative errno.
    private static func cause(_ result: Int32) -> String { Errno(rawValue: 0 &- result).description }
}

/// Macros of seccomp.h that Swift does not import.
enum SCMP {
    /// __NR_SCMP_ERROR: no such system call.
    static let unknown: Int32 = -1
}

extension SeccompAction {
    /// SCMP_ACT_*, which are the kernel's SECCOMP_RET_*.
    var code: UInt32 {
        switch self {
        case .killThread: UInt32(SECCOMP_RET_KILL_THREAD)
        case .killProcess: UInt32(SECCOMP_RET_KILL_PROCESS)
        case .trap: UInt32(SECCOMP_RET_TRAP)
        case .errno(let number): UInt32(SECCOMP_RET_ERRNO) | UInt32(number)
        case .trace(let number): UInt32(SECCOMP_RET_TRACE) | UInt32(number)
        case .log: UInt32(SECCOMP_RET_LOG)
        case .allow: UInt32(SECCOMP_RET_ALLOW)
        }
    }

    /// The runtime-spec's name, for messages.
    var name: String {
        switch self {
        case .killThread: "SCMP_ACT_KILL_THREAD"
        case .killProcess: "SCMP_ACT_KILL_PROCESS"
        case .trap: "SCMP_ACT_TRAP"
        case .errno(let number): "SCMP_ACT_ERRNO(\(number))"
        case .trace(let number): "SCMP_ACT_TRACE(\(number))"
        case .log: "SCMP_ACT_LOG"
        case .allow: "SCMP_ACT_ALLOW"
        }
    }
}

extension SeccompComparison.Operator {
    fileprivate var code: scmp_compare {
        switch self {
        case .notEqual: SCMP_CMP_NE
        case .less: SCMP_CMP_LT
        case .lessOrEqual: SCMP_CMP_LE
        case .equal: SCMP_CMP_EQ
        case .greaterOrEqual: SCMP_CMP_GE
        case .greater: SCMP_CMP_GT
        case .maskedEqual: SCMP_CMP_MASKED_EQ
        }
    }
}
