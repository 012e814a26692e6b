import ContainerSpec
import Linux
import VIC

extension VICExecutorConfig {
    /// The configuration of VIC's that runs what an OCI configuration describes.
    ///
    /// - Parameter omitted: properties that VIC's keys have no place for.
    init(_ spec: ContainerSpec, omitted: inout [String]) {
        self.init()
        var session = VICSession()
        id = spec.tether.id
        session.key = id
        session.id = id
        session.path = spec.process.args.first ?? ""
        session.args = spec.process.args
        session.env = spec.process.env
        session.directory = spec.process.cwd
        session.tty = spec.process.terminal
        session.openStdin = spec.tether.stdin != .none
        session.attach = session.openStdin
        session.stopSignal = spec.tether.stop.signal.name
        session.restart = spec.tether.restart == .always
        let user = spec.process.user
        let names = (user.username ?? "\(user.uid):\(user.gid)").split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        session.user = names.first.map(String.init) ?? ""
        session.group = names.count > 1 ? String(names[1]) : ""
        // In a guest it is the one name, with a domain or without.
        hostname = spec.hostname ?? ""
        domainname = spec.domainname ?? ""
        diagnostics.debug = spec.tether.debug ? 1 : 0
        session.runBlock = spec.tether.attach?.waits ?? false
        sessions = [session]
        omitted += VICExecutorConfig.withoutPlace(in: spec)
    }

    /// What is left of a description when everything is taken away that the keys can say. Whatever it is, and however new, it is named.
    private static func withoutPlace(in spec: ContainerSpec) -> [String] {
        let plain = ContainerSpec(args: [])
        var rest = spec
        // Nobody reads these.
        (rest.ociVersion, rest.annotations) = (plain.ociVersion, [])
        (rest.process.args, rest.process.env, rest.process.cwd) = ([], [], plain.process.cwd)
        rest.process.terminal = false
        (rest.process.user.username, rest.process.user.uid, rest.process.user.gid) = (nil, 0, 0)
        // VIC's containers have all.
        if rest.process.capabilities == .all { rest.process.capabilities = plain.process.capabilities }
        (rest.hostname, rest.domainname) = (nil, nil)
        (rest.tether.id, rest.tether.debug, rest.tether.stop.signal) = (plain.tether.id, false, plain.tether.stop.signal)
        if rest.tether.stdin == .open { rest.tether.stdin = .none }
        if rest.tether.restart == .always { rest.tether.restart = .no }
        // Another format there is not.
        rest.tether.log.format = plain.tether.log.format
        // Who has the line is let in without a key.
        rest.tether.attach?.waits = false
        rest.tether.attach?.allowsVIC = false
        if rest.tether.attach?.authentication == AttachSettings.Authentication.none { rest.tether.attach?.authentication = .publicKey }
        if rest.tether.attach == AttachSettings() { rest.tether.attach = nil }
        var names: [String] = []
        for (name, take) in parts {
            let before = rest
            take(&rest, plain)
            if rest != before { names.append(name) }
        }
        if rest != plain { names.append("what else there is") }
        return names
    }

    private static var parts: [(String, (inout ContainerSpec, ContainerSpec) -> Void)] {
        [
            ("root.readonly", { $0.root = $1.root }), ("mounts", { $0.mounts = $1.mounts }), ("hooks", { $0.hooks = $1.hooks }),
            ("process.capabilities", { $0.process.capabilities = $1.process.capabilities }),
            ("process.rlimits", { $0.process.resourceLimits = $1.process.resourceLimits }),
            ("process.noNewPrivileges", { $0.process.noNewPrivileges = $1.process.noNewPrivileges }),
            ("process.user.umask", { $0.process.user.umask = $1.process.user.umask }),
            ("process.user.additionalGids", { $0.process.user.additionalGids = $1.process.user.additionalGids }),
            ("process.consoleSize", { $0.process.consoleSize = $1.process.consoleSize }),
            ("process.oomScoreAdj", { $0.process.oomScoreAdjustment = $1.process.oomScoreAdjustment }),
            ("process.ioPriority", { $0.process.ioPriority = $1.process.ioPriority }),
            ("process.scheduler", { $0.process.scheduler = $1.process.scheduler }),
            ("process.execCPUAffinity", { $0.process.execCPUAffinity = $1.process.execCPUAffinity }),
            ("process.apparmorProfile", { $0.process.apparmorProfile = $1.process.apparmorProfile }),
            ("process.selinuxLabel", { $0.process.selinuxLabel = $1.process.selinuxLabel }),
            ("linux.namespaces", { $0.namespaces = $1.namespaces }), ("linux.uidMappings", { $0.uidMappings = $1.uidMappings }),
            ("linux.gidMappings", { $0.gidMappings = $1.gidMappings }), ("linux.timeOffsets", { $0.timeOffsets = $1.timeOffsets }),
            ("linux.rootfsPropagation", { $0.rootfsPropagation = $1.rootfsPropagation }), ("linux.sysctl", { $0.sysctl = $1.sysctl }),
            ("linux.devices", { $0.devices = $1.devices }), ("linux.resources", { $0.resources = $1.resources }),
            ("linux.personality", { $0.personality = $1.personality }), ("linux.maskedPaths", { $0.maskedPaths = $1.maskedPaths }),
            ("linux.readonlyPaths", { $0.readonlyPaths = $1.readonlyPaths }), ("linux.seccomp", { $0.seccomp = $1.seccomp }),
            ("tether.rootfs", { $0.tether.rootfs = $1.tether.rootfs }), ("tether.log", { $0.tether.log = $1.tether.log }),
            ("tether.stop", { $0.tether.stop = $1.tether.stop }), ("tether.drain", { $0.tether.drain = $1.tether.drain }),
            ("tether.init", { $0.tether.usesInit = $1.tether.usesInit }), ("tether.stdin", { $0.tether.stdin = $1.tether.stdin }),
            ("tether.sessions", { $0.tether.sessions = $1.tether.sessions }), ("tether.restart", { $0.tether.restart = $1.tether.restart }),
            ("tether.healthcheck", { $0.tether.healthCheck = $1.tether.healthCheck }),
            ("tether.control", { $0.tether.control = $1.tether.control }), ("tether.attach", { $0.tether.attach = $1.tether.attach }),
            // An adapter is known by its PCI slot there.
            ("tether.network", { $0.tether.network = $1.tether.network }),
            ("tether.memoryReserveKiB", { $0.tether.memoryReserveKiB = $1.tether.memoryReserveKiB }),
        ]
    }
}
