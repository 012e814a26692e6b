extension ContainerProcess {
    /// Reads an OCI `process` object alone, as `runc exec --process` takes one: what to start in a container that runs.
    ///
    /// What the object does not have is as in the container's own process, so that no process has more rights than that one unless it
    /// is said. A member that it has counts as a whole: `env` replaces the environment, and a `user` without `additionalGids` has none.
    /// Only `args`, which is required, `terminal` and `consoleSize` come from the object alone. Not OCI's are `addEnv`, with variables
    /// that are added to the environment, and `terminalModes`.
    /// - Parameters:
    ///   - container: what the process is started in.
    ///   - warnings: receives a note on each ignored property, at most ``SpecError/limit`` of them.
    /// - Throws: ``SpecError`` with everything that is wrong; paths begin below the object ("user.uid").
    public static func decode(
        _ bytes: [UInt8], in container: ContainerSpec, warnings: inout [SpecIssue]
    ) throws(SpecError) -> ContainerProcess {
        let document = try JSONValue.parse(bytes)
        guard case .object(let members) = document else {
            throw SpecError(issues: [SpecIssue(.invalid, "", "expected an object, found \(document.summary)")])
        }
        let issues = IssueList()
        var process = container.process.beside(args: [])
        let reader = ObjectReader(members: members, path: "", issues: issues)
        process.read(reader, more: ["addEnv", "terminalModes"])
        if let modes = reader.array("terminalModes"), process.terminal {
            process.terminalModes = TerminalSettings(modes) { reader.report($0, "terminalModes", $1) }
        }
        process.add(environment: reader.environment("addEnv") ?? [])
        container.checkMappings(of: process.user, "user", issues)
        warnings.append(contentsOf: issues.warnings)
        if !issues.issues.isEmpty { throw SpecError(issues: issues.issues, omitted: issues.omitted) }
        return process
    }

    /// As ``decode(_:in:warnings:)``, without the warnings.
    public static func decode(_ bytes: [UInt8], in container: ContainerSpec) throws(SpecError) -> ContainerProcess {
        var warnings: [SpecIssue] = []
        return try decode(bytes, in: container, warnings: &warnings)
    }

    /// Adds variables to the environment, in the place of those of the same names.
    private mutating func add(environment: [String]) {
        for entry in environment {
            let name = entry.utf8.prefix { $0 != UInt8(ascii: "=") }
            env.removeAll { $0.utf8.starts(with: name) && $0.utf8.dropFirst(name.count).first == UInt8(ascii: "=") }
            env.append(entry)
        }
    }

    /// A process in the same container, as the same user, in the same directory, with the same environment and rights, that runs
    /// something else and has no terminal: what a health check starts.
    /// - Parameter args: the command and its arguments, as ``args`` has to be.
    public func beside(args: [String]) -> ContainerProcess {
        var process = self
        process.args = args
        process.terminal = false
        process.consoleSize = nil
        process.terminalModes = TerminalSettings()
        return process
    }

    init(_ reader: ObjectReader) {
        self.init(args: [])
        read(reader)
    }

    /// Takes what the object has; what it does not have stays as it is.
    private mutating func read(_ reader: ObjectReader, more: [String] = []) {
        args = reader.strings("args") ?? []
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
        env = reader.environment("env") ?? env
        if let object = reader.object("user") { user = ContainerUser(object) }
        if let object = reader.object("capabilities") { capabilities = CapabilitySets(object) }
        resourceLimits = ResourceLimit.list(reader) ?? resourceLimits
        noNewPrivileges = reader.bool("noNewPrivileges") ?? noNewPrivileges
        if let score = reader.integer("oomScoreAdj", -1000...1000) { oomScoreAdjustment = Int32(clamping: score) }
        terminal = reader.bool("terminal") ?? false
        if terminal {
            consoleSize = reader.object("consoleSize").flatMap { ConsoleSize.read($0) }
        } else if let size = reader.value("consoleSize"), !size.asksForNothing {
            reader.issues.warn(reader.path("consoleSize"), "ignored: there is no terminal")
        }
        ioPriority = reader.object("ioPriority").flatMap { IOPriority.read($0) } ?? ioPriority
        scheduler = reader.object("scheduler").flatMap { SchedulerSettings.read($0) } ?? scheduler
        execCPUAffinity = reader.object("execCPUAffinity").flatMap { ExecCPUAffinity.read($0) } ?? execCPUAffinity
        apparmorProfile = reader.label("apparmorProfile") ?? apparmorProfile
        selinuxLabel = reader.label("selinuxLabel") ?? selinuxLabel
        reader.refuse(["commandLine"], "not honoured: it is for Windows; give args")
        reader.warnOfUnknown(
            more + [
                "args", "cwd", "env", "user", "capabilities", "rlimits", "noNewPrivileges", "oomScoreAdj", "terminal", "consoleSize",
                "ioPriority", "scheduler", "execCPUAffinity", "apparmorProfile", "selinuxLabel", "commandLine",
            ])
    }
}

extension ObjectReader {
    /// A name that a security module knows, on one line as it is written into its file; nil for "".
    fileprivate func label(_ name: String) -> String? {
        guard let text = string(name), !text.isEmpty else { return nil }
        if text.utf8.count < 4096, !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return text }
        report(.invalid, name, "expected at most 4095 bytes on one line, found \(quoted(text))")
        return nil
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
        if let name = reader.string("username"), !name.isEmpty {
            username = name
            let parts = name.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            let isPrintable = !name.utf8.contains { $0 < 0x20 || $0 == 0x7F }
            if parts.count > 2 || name.utf8.count > 512 || parts.contains(where: { $0.isEmpty }) || !isPrintable {
                reader.report(.invalid, "username", "expected a user or user:group, found \(quoted(name))")
            }
            // Programs that always write both write 0.
            if uid != 0 { reader.report(.invalid, "uid", "must be 0 or left out beside username") }
            if gid != 0 { reader.report(.invalid, "gid", "must be 0 or left out beside username") }
        }
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

    /// The limit of a resource by its name in setrlimit(2); nil if there is none of that name.
    public init?(_ type: String, soft: UInt64, hard: UInt64) {
        guard let number = ResourceLimit.resources.firstIndex(of: type) else { return nil }
        self.init(type: type, resource: Int32(clamping: number), soft: soft, hard: hard)
    }

    /// nil where there is no list.
    static func list(_ process: ObjectReader) -> [ResourceLimit]? {
        guard let entries = process.objects("rlimits") else { return nil }
        var limits: [ResourceLimit] = []
        for reader in entries {
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
        reader.require(name, "the limit")
        return reader.unsigned(name)
    }
}
