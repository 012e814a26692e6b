import CCapability
import CLinux
import CSpawn
import ContainerSpec
import Linux
import Storage

/// Everything the children between clone and exec need, resolved and laid out in C memory.
final class LaunchPlan {
    let spec: ContainerSpec
    /// The mounted root file system, in PID 1's view.
    let root: String
    /// The namespaces get an init of ours, and the process joins them.
    let usesHolder: Bool
    private let memory = PlanMemory()
    private let mounts: [MountStep]
    private let capabilities: cap_t
    private let noCapabilities: cap_t
    private var plan = cspawn_plan()

    /// The PATH that is searched where the container's environment has none; Docker's default.
    static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// - Throws: ``LaunchError`` for a mount option that is not supported, or when memory is short.
    init(_ spec: ContainerSpec, root: String) throws(LaunchError) {
        guard let capabilities = Capabilities.make(spec.process.capabilities), let noCapabilities = cap_init() else {
            throw LaunchError("allocate", "capabilities", "out of memory")
        }
        self.capabilities = capabilities
        self.noCapabilities = noCapabilities
        self.spec = spec
        self.root = root
        usesHolder = spec.tether.usesInit && spec.namespaces.pid
        mounts = Defaults.merged(with: try LaunchPlan.parse(spec.mounts))
        fill()
    }

    deinit {
        cap_free(UnsafeMutableRawPointer(capabilities))
        cap_free(UnsafeMutableRawPointer(noCapabilities))
    }

    private static func parse(_ mounts: [ContainerMount]) throws(LaunchError) -> [MountStep] {
        var steps: [MountStep] = []
        for mount in mounts {
            let options: MountOptions
            do throws(StorageError) { options = try MountOptions.parse(mount.options) } catch {
                throw LaunchError(error.operation, "of \(mount.destination): \(error.object)", error.cause)
            }
            let isBind = options.flags & UInt(MS_BIND) != 0
            // runc's default configuration asks for "cgroup": on a kernel with the unified hierarchy that is cgroup2.
            let type = mount.type == "cgroup" ? "cgroup2" : mount.type
            steps.append(
                MountStep(
                    source: mount.source ?? type, target: mount.destination, type: isBind ? nil : type, flags: options.flags,
                    propagation: options.propagation, data: options.data))
        }
        return steps
    }

    private func fill() {
        plan.root = UnsafePointer(memory.string(root))
        plan.root_readonly = spec.root.readonly ? 1 : 0
        plan.namespaces = namespaceFlags
        fillRoot()
        fillProcess()
    }

    private var namespaceFlags: UInt64 {
        var flags = UInt64(CLONE_NEWNS)
        if spec.namespaces.pid { flags |= UInt64(CLONE_NEWPID) }
        if spec.namespaces.ipc { flags |= UInt64(CLONE_NEWIPC) }
        if spec.namespaces.uts { flags |= UInt64(CLONE_NEWUTS) }
        return flags
    }

    private func fillRoot() {
        var entries: [cspawn_mount] = []
        for mount in mounts {
            entries.append(
                cspawn_mount(
                    source: memory.string(mount.source), target: memory.string(mount.target), type: memory.string(mount.type),
                    data: mount.data.isEmpty ? nil : memory.string(mount.data), flags: mount.flags,
                    propagation: mount.propagation.first ?? 0))
            for further in mount.propagation.dropFirst() {
                entries.append(
                    cspawn_mount(source: nil, target: memory.string(mount.target), type: nil, data: nil, flags: 0, propagation: further))
            }
        }
        plan.mounts = memory.array(entries)
        plan.mount_count = entries.count
        if Defaults.makesDevices(mounts) {
            let devices = Defaults.devices.map {
                cspawn_device(path: memory.string($0.path), mode: mode_t(S_IFCHR) | 0o666, device: clinux_makedev($0.major, $0.minor))
            }
            plan.devices = memory.array(devices)
            plan.device_count = devices.count
            let links = Defaults.links.map { cspawn_link(path: memory.string($0.path), target: memory.string($0.target)) }
            plan.links = memory.array(links)
            plan.link_count = links.count
        }
        plan.masked_paths = memory.strings(spec.maskedPaths)
        plan.masked_path_count = spec.maskedPaths.count
        plan.readonly_paths = memory.strings(spec.readonlyPaths)
        plan.readonly_path_count = spec.readonlyPaths.count
        plan.hostname = memory.string(spec.hostname)
        plan.domainname = memory.string(spec.domainname)
    }

    private func fillProcess() {
        let process = spec.process
        plan.argv = memory.strings(process.args)
        plan.envp = memory.strings(process.env)
        let path = process.env.last { $0.utf8.starts(with: "PATH=".utf8) }
        plan.search_path = memory.string(path.map { String($0.dropFirst(5)) } ?? LaunchPlan.defaultPath)
        plan.cwd = memory.string(process.cwd)
        plan.uid = process.user.uid
        plan.gid = process.user.gid
        plan.groups = memory.array(process.user.additionalGids)
        plan.group_count = process.user.additionalGids.count
        plan.umask = process.user.umask
        let limits = process.resourceLimits.map {
            cspawn_rlimit(resource: $0.resource, limit: rlimit(rlim_cur: rlim_t($0.soft), rlim_max: rlim_t($0.hard)))
        }
        plan.rlimits = memory.array(limits)
        plan.rlimit_count = limits.count
        // Always: a child must not inherit what protects PID 1 itself.
        plan.set_oom_score = 1
        plan.oom_score = process.oomScoreAdjustment ?? 0
        plan.no_new_privileges = process.noNewPrivileges ? 1 : 0
        plan.bounding = process.capabilities.bounding
        plan.ambient = process.capabilities.ambient
        plan.last_capability = Capabilities.last
    }

    /// The plan for the namespaces' init.
    func holder(report: Int32) -> cspawn_plan {
        var copy = plan
        copy.join_pidfd = -1
        copy.hold = 1
        copy.capabilities = noCapabilities
        copy.report = report
        return copy
    }

    /// The plan for the process.
    /// - Parameter joining: the init whose namespaces it joins; nil to be the first process of new ones.
    func process(joining pidfd: Int32?, standard: (Int32, Int32, Int32), report: Int32) -> cspawn_plan {
        var copy = plan
        copy.join_pidfd = pidfd ?? -1
        copy.hold = 0
        copy.capabilities = capabilities
        copy.standard = standard
        copy.report = report
        return copy
    }

    /// The target of the mount that the C plan counts as `index`.
    func mountTarget(_ index: Int) -> String {
        guard let mount = mount(index) else { return "?" }
        return mount.target
    }

    func mountDescription(_ index: Int) -> String {
        guard let mount = mount(index) else { return "?" }
        let kind = mount.type ?? "bind \(mount.source ?? "")"
        return "\(kind) on \(mount.target)" + (mount.data.isEmpty ? "" : " (\(mount.data))")
    }

    private func mount(_ index: Int) -> MountStep? {
        var rest = index
        for mount in mounts {
            let entries = max(1, mount.propagation.count)
            if rest < entries { return mount }
            rest -= entries
        }
        return nil
    }
}
