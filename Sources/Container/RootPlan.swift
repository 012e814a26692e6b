import CLinux
import CSpawn
import ContainerSpec
import Linux

/// New namespaces and the root in them, resolved and laid out in C memory.
final class RootPlan {
    let spec: ContainerSpec
    /// The mounted root file system, in PID 1's view.
    let path: String
    /// CLONE_NEW* of clone3(2).
    let cloned: UInt64
    let mounts: [MountStep]
    let devices: [ContainerDevice]
    /// What to give to the children; valid as long as the plan.
    private(set) var pointer: UnsafePointer<cspawn_root>?
    private let memory = PlanMemory()
    private var idMaps: [UserNamespace] = []

    /// The descriptors that the child needs.
    var descriptors: [Int32] { idMaps.map { $0.descriptor } }

    /// - Throws: ``LaunchError`` for a mount that is not possible, or when memory is short.
    init(_ spec: ContainerSpec, path: String) throws(LaunchError) {
        self.spec = spec
        self.path = path
        var configured: [MountStep] = []
        for mount in spec.mounts { configured.append(try MountStep(mount, of: spec)) }
        mounts = Defaults.merged(with: configured, for: spec)
        devices = Defaults.devices(spec, mounts: mounts)
        var flags = UInt64(CLONE_NEWNS)
        if spec.namespaces.pid { flags |= UInt64(CLONE_NEWPID) }
        if spec.namespaces.ipc { flags |= UInt64(CLONE_NEWIPC) }
        if spec.namespaces.uts { flags |= UInt64(CLONE_NEWUTS) }
        if spec.namespaces.user { flags |= UInt64(CLONE_NEWUSER) }
        cloned = flags
        pointer = try fill()
        try memory.check()
    }

    /// CLONE_NEW* of what a process joins: the time and the cgroup namespace are not made by clone3(2), but entered as well.
    var joined: UInt64 {
        var flags = cloned
        if spec.namespaces.cgroup { flags |= UInt64(CLONE_NEWCGROUP) }
        if spec.namespaces.time { flags |= UInt64(CLONE_NEWTIME) }
        return flags
    }

    private func fill() throws(LaunchError) -> UnsafePointer<cspawn_root>? {
        var root = cspawn_root()
        root.path = memory.string(path)
        root.readonly = spec.root.readonly ? 1 : 0
        root.separate_cgroups = spec.namespaces.cgroup ? 1 : 0
        if spec.namespaces.time { root.time_offsets = memory.string(RootPlan.text(spec.timeOffsets)) }
        fillPropagation(&root)
        // As everywhere, a dot of the name is a slash of the path.
        let sysctls = spec.sysctl.map {
            cspawn_sysctl(path: memory.string(RootPlan.sysctlPath($0.key)), value: memory.string($0.value))
        }
        root.sysctls = memory.array(sysctls)
        root.sysctl_count = sysctls.count
        let entries = try mountEntries()
        root.mounts = memory.array(entries)
        root.mount_count = entries.count
        let nodes = devices.map { node($0) }
        root.devices = memory.array(nodes)
        root.device_count = nodes.count
        if Defaults.makesDevices(mounts) {
            let links = Defaults.links.map { cspawn_link(path: memory.string($0.path), target: memory.string($0.target)) }
            root.links = memory.array(links)
            root.link_count = links.count
        }
        root.masked_paths = memory.strings(spec.maskedPaths)
        root.masked_path_count = spec.maskedPaths.count
        root.readonly_paths = memory.strings(spec.readonlyPaths)
        root.readonly_path_count = spec.readonlyPaths.count
        root.hostname = memory.string(spec.hostname)
        root.domainname = memory.string(spec.domainname)
        let hooks = spec.hooks
        root.pause_before_enter = hooks.prestart.isEmpty && hooks.createRuntime.isEmpty && hooks.createContainer.isEmpty ? 0 : 1
        return memory.value(root)
    }

    /// Private until all is mounted, unless mounts of the VM shall reach the container, or the other way: then what the kernel
    /// copied stays a slave, or a peer.
    private func fillPropagation(_ root: inout cspawn_root) {
        root.first_propagation = UInt(MS_PRIVATE) | UInt(MS_REC)
        guard let wanted = spec.rootfsPropagation else { return }
        switch wanted.kind {
        case .private: root.propagation = UInt(MS_PRIVATE)
        case .slave:
            root.first_propagation = UInt(MS_SLAVE) | UInt(MS_REC)
            root.propagation = UInt(MS_SLAVE)
        case .shared: root.propagation = UInt(MS_SHARED)
        case .unbindable: root.propagation = UInt(MS_UNBINDABLE)
        }
        if wanted.isRecursive { root.propagation |= UInt(MS_REC) }
    }

    private func mountEntries() throws(LaunchError) -> [cspawn_mount] {
        var entries: [cspawn_mount] = []
        for mount in mounts {
            var entry = cspawn_mount()
            entry.source = memory.string(mount.source)
            entry.target = memory.string(mount.target)
            entry.type = memory.string(mount.type)
            entry.data = mount.data.isEmpty ? nil : memory.string(mount.data)
            entry.flags = mount.flags
            entry.propagation = mount.propagation.first ?? 0
            entry.attributes = mount.attributes
            entry.cleared = mount.clearedAttributes
            entry.no_link = mount.needsDirectory ? 1 : 0
            entry.id_map = -1
            if !mount.uidMappings.isEmpty {
                let map = try UserNamespace(mount.uidMappings, mount.gidMappings, for: mount.target)
                idMaps.append(map)
                entry.id_map = map.descriptor
                entry.id_map_recursive = mount.mapsRecursively ? 1 : 0
            }
            entries.append(entry)
            for further in mount.propagation.dropFirst() {
                var entry = cspawn_mount()
                entry.target = memory.string(mount.target)
                entry.propagation = further
                entry.id_map = -1
                entries.append(entry)
            }
        }
        return entries
    }

    private func node(_ device: ContainerDevice) -> cspawn_device {
        let type: mode_t
        switch device.kind {
        case .character: type = mode_t(S_IFCHR)
        case .block: type = mode_t(S_IFBLK)
        case .fifo: type = mode_t(S_IFIFO)
        }
        return cspawn_device(
            path: memory.string(device.path), mode: type | (device.mode ?? 0o666) & 0o7777,
            device: clinux_makedev(device.major, device.minor), uid: device.uid, gid: device.gid)
    }

    /// "kernel.shmmax" → "/proc/sys/kernel/shmmax"
    private static func sysctlPath(_ name: String) -> String {
        let path = name.utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "/") : $0 }
        return "/proc/sys/" + String(decoding: path, as: UTF8.self)
    }

    /// As timens_offsets takes it (time_namespaces(7)).
    private static func text(_ offsets: TimeOffsets) -> String {
        var text = ""
        if let offset = offsets.monotonic { text += "monotonic \(offset.seconds) \(offset.nanoseconds)\n" }
        if let offset = offsets.boottime { text += "boottime \(offset.seconds) \(offset.nanoseconds)\n" }
        return text
    }

    /// The mount that the C plan counts as `index`.
    func mount(_ index: Int) -> MountStep? {
        var rest = index
        for mount in mounts {
            let entries = max(1, mount.propagation.count)
            if rest < entries { return mount }
            rest -= entries
        }
        return nil
    }
}
