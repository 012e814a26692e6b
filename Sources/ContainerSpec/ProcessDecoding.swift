extension ContainerProcess {
    init(_ reader: ObjectReader) {
        self.init(args: reader.strings("args") ?? [])
        if let command = reader.value("args") {
            if case .array(let elements) = command, elements.isEmpty {
                reader.report(.invalid, "args", "expected at least the command, found an empty array")
            } else if args.first?.isEmpty == true {
                reader.report(0, "args", "expected a command, found an empty string")
            }
        } else {
            reader.report(.missing, "args", "required: the command and its arguments")
        }
        // The runtime-spec requires it; "/" is what everyone who leaves it out means.
        cwd = reader.absolutePath("cwd") ?? cwd
        env =
            reader.strings("env") { entry in
                guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                    return "expected NAME=value, found \(quoted(entry))"
                }
                return equals == entry.utf8.startIndex ? "expected NAME=value, found no name in \(quoted(entry))" : nil
            } ?? []
        if let object = reader.object("user") { user = ContainerUser(object) }
        if let object = reader.object("capabilities") { capabilities = CapabilitySets(object) }
        resourceLimits = ResourceLimit.list(reader)
        noNewPrivileges = reader.bool("noNewPrivileges") ?? false
        if let score = reader.integer("oomScoreAdj", -1000...1000) { oomScoreAdjustment = Int32(clamping: score) }
        if reader.bool("terminal") == true {
            reader.report(.unsupported, "terminal", "a terminal is not honoured yet: set it to false")
        }
        let refused = ["apparmorProfile", "selinuxLabel", "ioPriority", "scheduler", "execCPUAffinity", "commandLine"]
        reader.refuse(refused)
        // consoleSize is for a terminal, so without one it is right to ignore it.
        reader.warnOfUnknown(
            [
                "args", "cwd", "env", "user", "capabilities", "rlimits", "noNewPrivileges", "oomScoreAdj", "terminal", "consoleSize",
            ] + refused)
    }
}

extension ContainerUser {
    init(_ reader: ObjectReader) {
        self.init()
        // 4294967295, (uid_t)-1, means "leave unchanged" to setresuid(2) and its kin.
        let ids: ClosedRange<Int64> = 0...4_294_967_294
        uid = UInt32(clamping: reader.integer("uid", ids) ?? 0)
        gid = UInt32(clamping: reader.integer("gid", ids) ?? 0)
        if let mask = reader.integer("umask", 0...0o777) { umask = UInt32(clamping: mask) }
        let groups = reader.array("additionalGids") ?? []
        if groups.count > 65_536 {
            reader.report(.invalid, "additionalGids", "expected at most 65536 groups, found \(groups.count)")
        }
        for (index, group) in groups.enumerated() {
            if case .integer(let id) = group, ids.contains(id) {
                additionalGids.append(UInt32(clamping: id))
            } else {
                let expected = "an integer from \(ids.lowerBound) to \(ids.upperBound)"
                reader.report(index, "additionalGids", "expected \(expected), found \(group.summary)")
            }
        }
        reader.refuse(["username"], "a user by name is not honoured: give uid and gid")
        reader.warnOfUnknown(["uid", "gid", "umask", "additionalGids", "username"])
    }
}

extension ResourceLimit {
    /// The kernel's numbers of the resources, in order (asm-generic/resource.h; the same on x86 and Arm).
    private static let resources = [
        "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE",
        "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
    ]

    static func list(_ process: ObjectReader) -> [ResourceLimit] {
        var limits: [ResourceLimit] = []
        for reader in process.objects("rlimits") ?? [] {
            reader.warnOfUnknown(["type", "soft", "hard"])
            let soft = limit(reader, "soft")
            let hard = limit(reader, "hard")
            guard let type = reader.string("type") else {
                if reader.value("type") == nil { reader.report(.missing, "type", "required: a resource such as \"RLIMIT_NOFILE\"") }
                continue
            }
            guard let number = resources.firstIndex(of: type) else {
                reader.report(.invalid, "type", "expected a resource such as \"RLIMIT_NOFILE\", found \(quoted(type))")
                continue
            }
            if limits.contains(where: { $0.type == type }) { reader.report(.invalid, "type", "\(type) is limited twice") }
            guard let soft, let hard else { continue }
            if soft > hard { reader.report(.invalid, "soft", "must not be above hard: \(soft) is above \(hard)") }
            limits.append(ResourceLimit(type: type, resource: Int32(clamping: number), soft: soft, hard: hard))
        }
        return limits
    }

    private static func limit(_ reader: ObjectReader, _ name: String) -> UInt64? {
        if reader.value(name) == nil { reader.report(.missing, name, "required: the limit") }
        return reader.unsigned(name)
    }
}
