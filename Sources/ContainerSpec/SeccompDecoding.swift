import CLinux

extension SeccompProfile {
    init(_ reader: ObjectReader) {
        self.init(defaultAction: .killProcess)
        defaultAction = reader.seccompAction("defaultAction", errnoReturn: "defaultErrnoRet", errnoName: "defaultErrno") ?? defaultAction
        architectures = reader.architectures("architectures")
        for entry in reader.objects("archMap") ?? [] { architectureMap.append(SeccompArchitectures(entry)) }
        if !architectures.isEmpty && !architectureMap.isEmpty {
            reader.report(.invalid, "archMap", "must not be given beside architectures: both say which ABIs are filtered")
        }
        _ = reader.strings("flags") { name in
            guard let flag = SeccompProfile.flag(name) else { return SeccompProfile.flagProblem(name) }
            flags |= flag
            return nil
        }
        let agent = "not honoured: there is no seccomp agent in the VM, and no action that would notify it"
        reader.refuse(["listenerPath", "listenerMetadata"], agent)
        var count = 0
        for entry in reader.objects("syscalls") ?? [] {
            let rule = SeccompRule(entry)
            rules.append(rule)
            count += rule.names.count * rule.alternatives.count
        }
        if count > SeccompProfile.ruleLimit {
            let expected = "expected at most \(SeccompProfile.ruleLimit) rules, each name counting as one"
            reader.report(.invalid, "syscalls", "\(expected), found \(count)")
        }
        reader.warnOfUnknown([
            "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags", "listenerPath", "listenerMetadata",
            "syscalls", "comment",
        ])
    }

    /// The bit of a flag that the container's filter can have (linux/seccomp.h).
    private static func flag(_ name: String) -> UInt32? {
        switch name {
        // The filter is installed while the process has one thread: there is none to synchronise with.
        case "SECCOMP_FILTER_FLAG_TSYNC": 0
        case "SECCOMP_FILTER_FLAG_LOG": 1 << 1
        case "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2
        default: nil
        }
    }

    private static func flagProblem(_ name: String) -> String {
        name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
            ? "\(name) is not honoured: it is for calls that a seccomp agent decides, and there is none"
            : "expected a flag such as \"SECCOMP_FILTER_FLAG_LOG\", found \(quoted(name))"
    }
}

extension SeccompArchitectures {
    init(_ reader: ObjectReader) {
        self.init(architecture: "", subarchitectures: reader.architectures("subArchitectures"))
        if let name = reader.string("architecture") {
            architecture = name
            if let problem = architectureProblem(name) { reader.report(.invalid, "architecture", problem) }
        } else if reader.value("architecture") == nil {
            reader.report(.missing, "architecture", "required: an architecture such as \"SCMP_ARCH_X86_64\"")
        }
        reader.warnOfUnknown(["architecture", "subArchitectures"])
    }
}

extension SeccompRule {
    init(_ reader: ObjectReader) {
        self.init(names: reader.strings("names", check: SeccompRule.nameProblem) ?? [], action: .killProcess)
        // What Docker's oldest profiles have in the place of the list.
        if let name = reader.string("name"), !name.isEmpty {
            if let problem = SeccompRule.nameProblem(name) { reader.report(.invalid, "name", problem) }
            if reader.value("names")?.asksForNothing == false {
                reader.report(.invalid, "name", "must not be given beside names")
            }
            names.append(name)
        } else if let value = reader.value("names") {
            if case .array(let elements) = value, elements.isEmpty {
                reader.report(.invalid, "names", "expected at least one system call, found an empty array")
            }
        } else {
            reader.report(.missing, "names", "required: the system calls that the rule is for")
        }
        action = reader.seccompAction("action", errnoReturn: "errnoRet", errnoName: "errno") ?? action
        for entry in reader.objects("args") ?? [] {
            if let comparison = SeccompComparison(entry) { comparisons.append(comparison) }
        }
        if let object = reader.object("includes") { includes = SeccompCondition(object) }
        if let object = reader.object("excludes") { excludes = SeccompCondition(object) }
        reader.warnOfUnknown(["names", "name", "action", "errnoRet", "errno", "args", "includes", "excludes", "comment"])
    }

    /// The comparisons as the sets of which a call has to pass one: a single set of all of them, unless two are of the same
    /// argument; then a set for each.
    public var alternatives: [[SeccompComparison]] {
        var seen: UInt32 = 0
        for comparison in comparisons {
            let bit: UInt32 = 1 << min(comparison.index, 31)
            if seen & bit != 0 { return comparisons.map { [$0] } }
            seen |= bit
        }
        return [comparisons]
    }

    /// What keeps `name` from being that of a system call of any kernel.
    private static func nameProblem(_ name: String) -> String? {
        let plain =
            !name.isEmpty && name.utf8.count <= 64
            && name.utf8.allSatisfy {
                $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z")
                    || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") || $0 == UInt8(ascii: "_")
            }
        return plain ? nil : "expected the name of a system call, found \(quoted(name))"
    }
}

extension SeccompComparison {
    init?(_ reader: ObjectReader) {
        let index = reader.integer("index", 0...5)
        if index == nil && reader.value("index") == nil { reader.report(.missing, "index", "required: which argument, 0 to 5") }
        let value = reader.unsigned("value")
        if value == nil && reader.value("value") == nil { reader.report(.missing, "value", "required: what the argument is compared with") }
        let second = reader.unsigned("valueTwo") ?? 0
        reader.warnOfUnknown(["index", "value", "valueTwo", "op"])
        guard let name = reader.string("op") else {
            if reader.value("op") == nil { reader.report(.missing, "op", "required: an operator such as \"SCMP_CMP_EQ\"") }
            return nil
        }
        guard let comparison = SeccompComparison.operator(name) else {
            reader.report(.invalid, "op", "expected an operator such as \"SCMP_CMP_EQ\", found \(quoted(name))")
            return nil
        }
        guard let index, let value else { return nil }
        self.init(index: UInt32(clamping: index), value: value, valueTwo: second, operator: comparison)
    }

    private static func `operator`(_ name: String) -> Operator? {
        switch name {
        case "SCMP_CMP_NE": .notEqual
        case "SCMP_CMP_LT": .less
        case "SCMP_CMP_LE": .lessOrEqual
        case "SCMP_CMP_EQ": .equal
        case "SCMP_CMP_GE": .greaterOrEqual
        case "SCMP_CMP_GT": .greater
        case "SCMP_CMP_MASKED_EQ": .maskedEqual
        default: nil
        }
    }
}

extension SeccompCondition {
    init(_ reader: ObjectReader) {
        self.init()
        architectures = reader.strings("arches") ?? []
        capabilities = CapabilitySets.set(reader, "caps")
        if let text = reader.string("minKernel"), !text.isEmpty {
            minimumKernel = KernelVersion(text)
            if minimumKernel == nil {
                reader.report(.invalid, "minKernel", "expected a kernel version such as \"4.8\", found \(quoted(text))")
            }
        }
        reader.warnOfUnknown(["arches", "caps", "minKernel"])
    }
}

extension ObjectReader {
    /// An action, with the errno that belongs to it: a number, or (as Podman's profiles have it) a name.
    fileprivate func seccompAction(_ name: String, errnoReturn: String, errnoName: String) -> SeccompAction? {
        guard let text = string(name) else {
            if value(name) == nil { report(.missing, name, "required: an action such as \"SCMP_ACT_ERRNO\"") }
            return nil
        }
        // The kernel gives all 16 bits to a tracer, but less than MAX_ERRNO to a process, as libseccomp has it.
        let limit: UInt16 = text == "SCMP_ACT_TRACE" ? 65_535 : 4094
        let number = integer(errnoReturn, 0...Int64(limit)).map { UInt16(clamping: $0) }
        let named = errnoNumber(errnoName, limit)
        if let number, let named, number != named {
            report(.invalid, errnoName, "must be the error that \(errnoReturn) gives: \(named) is not \(number)")
        }
        switch text {
        case "SCMP_ACT_ERRNO": return .errno(named ?? number ?? UInt16(clamping: EPERM))
        case "SCMP_ACT_TRACE": return .trace(named ?? number ?? UInt16(clamping: EPERM))
        default: break
        }
        // The runtime-spec has a runtime fail here.
        if number != nil || named != nil {
            report(.invalid, number == nil ? errnoName : errnoReturn, "must not be given with \(quoted(text)), which has no errno")
        }
        switch text {
        case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD": return .killThread
        case "SCMP_ACT_KILL_PROCESS": return .killProcess
        case "SCMP_ACT_TRAP": return .trap
        case "SCMP_ACT_LOG": return .log
        case "SCMP_ACT_ALLOW": return .allow
        case "SCMP_ACT_NOTIFY":
            report(.unsupported, name, "SCMP_ACT_NOTIFY is not honoured: there is no seccomp agent in the VM to notify")
        default: report(.invalid, name, "expected an action such as \"SCMP_ACT_ERRNO\", found \(quoted(text))")
        }
        return nil
    }

    /// The number of an errno by its name, or in digits.
    private func errnoNumber(_ name: String, _ limit: UInt16) -> UInt16? {
        guard let text = string(name), !text.isEmpty else { return nil }
        if let number = UInt16(text), number <= limit { return number }
        // Names that are second ones on Linux, which libc does not give back.
        switch text {
        case "EWOULDBLOCK": return UInt16(clamping: EAGAIN)
        case "EDEADLOCK": return UInt16(clamping: EDEADLK)
        case "ENOTSUP": return UInt16(clamping: EOPNOTSUPP)
        default: break
        }
        for number in Int32(1)...133 {
            if let known = strerrorname_np(number), String(cString: known) == text { return UInt16(clamping: number) }
        }
        report(.invalid, name, "expected an error such as \"ENOSYS\", found \(quoted(text))")
        return nil
    }

    fileprivate func architectures(_ name: String) -> [String] { strings(name, check: architectureProblem) ?? [] }
}

/// What keeps `name` from being an architecture of the runtime-spec. Which of them go together the library says that
/// compiles the profile.
private func architectureProblem(_ name: String) -> String? {
    let known = [
        "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64",
        "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB",
    ]
    for entry in known where "SCMP_ARCH_" + entry == name { return nil }
    return "expected an architecture such as \"SCMP_ARCH_X86_64\", found \(quoted(name))"
}
