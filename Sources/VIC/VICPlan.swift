public import ContainerSpec
public import Linux

/// What a configuration of VIC's means to a container VM: the container's own form of it, and what goes beyond that.
public struct VICPlan: Equatable, Sendable {
    /// The container, with VIC's ways: its log, its limits, its rights.
    public var spec: ContainerSpec
    /// The session that is the container process. It is the caller's to see whether it is to run (``VICSession/active``).
    public var primary: VICSession
    /// The processes to start beside it: further sessions, and execs.
    public var others: [VICProcess]
    /// The networks, in the order of their names, and the adapters in ``ContainerSpec/TetherSettings/network`` that they are on. One
    /// whose keys make no adapter is missing, with a warning.
    public var endpoints: [VICEndpoint]
    /// As they are before DHCP has given anything (``VICFiles/with(_:)``).
    public var files: VICFiles
    /// What is asked for and not done, a fixed word each.
    public var notHonoured: [String]
    /// What is to be said of the configuration; for each of ``notHonoured`` there is one.
    public var warnings: [SpecIssue]
}

/// A process beside the container process.
public struct VICProcess: Equatable, Sendable {
    /// Its name in the map, `sessions` or `execs`.
    public var id: String
    public var isExec: Bool
    /// nil where its keys make no process, and ``problem`` says why.
    public var process: ContainerProcess?
    public var problem: String?
    /// Is to run, or to run on.
    public var isActive: Bool
    public var wantsStdin: Bool
    /// Waits to be joined before it is started.
    public var waits: Bool
    public var stopSignal: Signal
    /// Seconds since 1970, 0 where it is not known.
    public var createTime: Int64
}

extension VICExecutorConfig {
    /// What the limits of a process are: VIC's.
    static let limits = [
        ResourceLimit("RLIMIT_NOFILE", soft: 1_048_576, hard: 1_048_576), ResourceLimit("RLIMIT_CORE", soft: .max, hard: .max),
        ResourceLimit("RLIMIT_MEMLOCK", soft: .max, hard: .max), ResourceLimit("RLIMIT_NPROC", soft: .max, hard: .max),
        // Not the soft one: without a limit on the stack the kernel lays out the address space as it was done long ago.
        ResourceLimit("RLIMIT_STACK", soft: 8 << 20, hard: .max),
    ].compactMap { $0 }

    /// What this configuration means.
    ///
    /// - Parameter known: as for ``read(_:known:from:)``. The container's own session is never known.
    /// - Throws: ``SpecError`` for what makes it none for a container.
    public func plan(known: (String) -> VICKnowledge = { _ in .none }) throws(SpecError) -> VICPlan {
        var issues: [SpecIssue] = []
        var warnings: [SpecIssue] = []
        if !isPlainName(id, limit: 128) {
            let expected = "expected 1 to 128 letters, digits, \"-\", \"_\" and \".\", first a letter or digit"
            issues.append(SpecIssue(.invalid, VICKey.containerID.name, expected))
        }
        guard let primary = sessions.first(where: { $0.key == id }) ?? (sessions.count == 1 ? sessions[0] : nil) else {
            let problem = sessions.isEmpty ? "required: the container's process" : "none of them is the container's, \(id)"
            throw SpecError(issues: issues + [SpecIssue(.missing, VICKey().field("sessions").name, problem)])
        }
        let key = VICKey.session(primary.key, isExec: false)
        var spec = ContainerSpec(args: [])
        spec.process = primary.process(key, &issues)
        spec.tether.stop.signal = primary.signal(key, &warnings)
        if !issues.isEmpty { throw SpecError(issues: issues) }
        fill(&spec, primary, &warnings)
        var others: [VICProcess] = []
        for session in sessions where session.key != primary.key {
            others.append(session.beside(isExec: false, known(session.key), &warnings))
        }
        for session in execs where session.key != primary.key {
            others.append(session.beside(isExec: true, known(session.key), &warnings))
        }
        let network = VICNetworkPlan(self)
        spec.tether.network = network.settings
        warnings += network.warnings
        let files = VICFiles(hostname: spec.hostname ?? "", domainname: domainname, endpoints: network.endpoints)
        let notHonoured = unbuilt(primary, &warnings)
        return VICPlan(
            spec: spec, primary: primary, others: others, endpoints: network.endpoints, files: files, notHonoured: notHonoured,
            warnings: warnings)
    }

    private func fill(_ spec: inout ContainerSpec, _ primary: VICSession, _ warnings: inout [SpecIssue]) {
        spec.hostname = kernelHostname(&warnings)
        // Programs write there (entrypoints do, with sysctl), and VIC let them.
        spec.readonlyPaths = []
        spec.tether.id = id
        spec.tether.log.format = .vic
        // Its reader puts a time before each record, and VIC itself wrote a line's beginning only at the end of it.
        spec.tether.log.partialFlushMilliseconds = 2000
        spec.tether.stdin = primary.openStdin ? .open : .none
        spec.tether.restart = primary.restart ? .always : .no
        // VIC bounds the number of execs by nothing, and leaves those that have ended in the configuration.
        spec.tether.sessions.maxSessions = 256
        // A VCH attaches to all of them, and gives up at the first that is refused.
        spec.tether.sessions.maxClients = 256
        // `docker attach` that pauses is waited for: it could not be told that it has missed something.
        spec.tether.sessions.slowClient = .block
        spec.tether.attach = attach(primary, &warnings)
        spec.tether.debug = diagnostics.debug > 0 || primary.diagnostics.debug > 0
    }

    /// The attach server as the VCH expects it: on VIC's line, without a key of the client's. It is there whatever the session's own
    /// `attach` says, since execs are attached to as well.
    private func attach(_ primary: VICSession, _ warnings: inout [SpecIssue]) -> AttachSettings {
        var attach = AttachSettings()
        attach.allowsVIC = true
        attach.waits = primary.runBlock
        let text = String(decoding: hostKey, as: UTF8.self)
        if text.hasPrefix("-----BEGIN ") {
            attach.hostKeys = [text]
        } else if !hostKey.isEmpty {
            warnings.append(SpecIssue(.invalid, VICKey().field("key").name, "no private key in PEM; the attach server makes its own"))
        }
        return attach
    }

    /// `hostname.domainname`, or the beginning of the id where there is no name, as Docker has it.
    private func kernelHostname(_ warnings: inout [SpecIssue]) -> String {
        let short = String(decoding: id.utf8.prefix(12), as: UTF8.self)
        if hostname.isEmpty { return short }
        let full = domainname.isEmpty ? hostname : hostname + "." + domainname
        if isPlainName(full, limit: 64) { return full }
        let usable = isPlainName(hostname, limit: 64) ? hostname : short
        warnings.append(
            SpecIssue(
                .invalid, VICKey().field("hostname").name,
                "not a host name of at most 64 letters, digits, \"-\", \"_\" and \".\"; \(usable) is taken"))
        return usable
    }

    /// What the configuration asks for and this version does not do.
    private func unbuilt(_ primary: VICSession, _ warnings: inout [SpecIssue]) -> [String] {
        var words: [String] = []
        func note(_ word: String, _ key: VICKey, _ text: String) {
            if !words.contains(word) { words.append(word) }
            warnings.append(SpecIssue(.unsupported, key.name, "not honoured: " + text))
        }
        for mount in mounts {
            note(
                "mounts", VICKey().field("mounts").element(mount.key), "no volume is mounted; \(mount.source.text) on \(mount.destination)")
        }
        for endpoint in networks where endpoint.trust != .open || endpoint.redirects {
            let key = VICKey().field("networks").element(endpoint.key).field("network").field("TrustLevel")
            note("firewall", key, "\(endpoint.trust); no port is closed, and none redirected")
        }
        func noteSyslog(_ key: VICKey, _ syslog: VICSyslog?) {
            guard let syslog else { return }
            note("syslog", key.field("diagnostics").field("syslog"), "output is not sent to \(syslog.network) \(syslog.address)")
        }
        noteSyslog(VICKey(), diagnostics.syslog)
        for (list, isExec) in [(sessions, false), (execs, true)] {
            for session in list {
                let key = VICKey.session(session.key, isExec: isExec)
                noteSyslog(key, session.diagnostics.syslog)
                guard session.restart, session.key != primary.key else { continue }
                note("restart", key.field("restart"), "only the container's own session is started again")
            }
        }
        if asymmetricRouting { note("asymrouting", VICKey().field("asymrouting"), "answers take the routes that all else takes") }
        return words
    }
}

extension VICSession {
    /// This session as a process of the container.
    fileprivate func process(_ key: VICKey, _ issues: inout [SpecIssue]) -> ContainerProcess {
        let command = path.isEmpty ? args.first ?? "" : path
        if command.isEmpty { issues.append(SpecIssue(.missing, key.field("cmd").field("Path").name, "required: the command to run")) }
        var process = ContainerProcess(args: args.isEmpty ? [command] : args)
        if process.args.first != command { process.executable = command }
        process.env = env.filter { !$0.isEmpty }
        process.cwd = directory.hasPrefix("/") ? directory : "/" + directory
        // PATH_MAX counts the terminating NUL.
        if process.cwd.utf8.count >= 4096 {
            issues.append(SpecIssue(.invalid, key.field("cmd").field("Dir").name, "expected a path of at most 4095 bytes"))
        }
        let name = group.isEmpty ? user : user + ":" + group
        if name.utf8.count > 512 { issues.append(SpecIssue(.invalid, key.field("User").name, "expected at most 512 bytes with the group")) }
        process.user.username = name.isEmpty ? nil : name
        process.terminal = tty
        process.capabilities = .all
        process.resourceLimits = VICExecutorConfig.limits
        return process
    }

    fileprivate func signal(_ key: VICKey, _ warnings: inout [SpecIssue]) -> Signal {
        if stopSignal.isEmpty { return .terminate }
        if let signal = Signal(name: stopSignal) { return signal }
        warnings.append(SpecIssue(.invalid, key.field("stopSignal").name, "there is no signal of this name; SIGTERM is taken"))
        return .terminate
    }

    fileprivate func beside(isExec: Bool, _ knowledge: VICKnowledge, _ warnings: inout [SpecIssue]) -> VICProcess {
        var result = VICProcess(
            id: key, isExec: isExec, process: nil, problem: problem, isActive: active, wantsStdin: openStdin, waits: runBlock,
            stopSignal: .terminate,
            createTime: createTime)
        if problem != nil || knowledge != .none { return result }
        var issues: [SpecIssue] = []
        let key = VICKey.session(key, isExec: isExec)
        let process = process(key, &issues)
        result.stopSignal = signal(key, &warnings)
        if issues.isEmpty { result.process = process } else { result.problem = SpecError(issues: issues).description }
        return result
    }
}
