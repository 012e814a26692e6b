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
        sessions = [session]
        // In a guest it is the one name, with a domain or without.
        hostname = spec.hostname ?? ""
        domainname = spec.domainname ?? ""
        diagnostics.debug = spec.tether.debug ? 1 : 0

        for (name, isPlain) in [
            ("root.readonly", !spec.root.readonly), ("mounts", spec.mounts.isEmpty), ("hooks", spec.hooks == ContainerHooks()),
            ("process.capabilities", spec.process.capabilities == .standard || spec.process.capabilities == .all),
            ("process.rlimits", spec.process.resourceLimits.isEmpty), ("process.noNewPrivileges", !spec.process.noNewPrivileges),
            ("process.user.additionalGids", user.additionalGids.isEmpty), ("process.consoleSize", spec.process.consoleSize == nil),
            ("process.oomScoreAdj", spec.process.oomScoreAdjustment == nil), ("process.scheduler", spec.process.scheduler == nil),
            ("linux.namespaces", spec.namespaces == ContainerNamespaces()), ("linux.sysctl", spec.sysctl.isEmpty),
            ("linux.devices", spec.devices.isEmpty), ("linux.resources", spec.resources == ContainerResources()),
            ("linux.seccomp", spec.seccomp == nil), ("tether.rootfs", spec.tether.rootfs == RootfsSettings()),
            // An adapter is known by its PCI slot there.
            ("tether.network", spec.tether.network == nil), ("tether.healthcheck", spec.tether.healthCheck == nil),
            ("tether.restart", spec.tether.restart == .no || spec.tether.restart == .always),
        ] where !isPlain {
            omitted.append(name)
        }
    }
}
