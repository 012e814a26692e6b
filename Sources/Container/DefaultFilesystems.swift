import CLinux
import ContainerSpec

/// What every container has, whether its configuration says so or not.
///
/// The file systems and devices are those of the OCI runtime-spec (config-linux.md, "Default Filesystems" and "Default
/// Devices"); their options are those that `runc spec` writes.
enum Defaults {
    /// - Parameter spec: its namespaces decide which of them can be mounted.
    static func mounts(_ spec: ContainerSpec) -> [MountStep] {
        var mounts = standard
        if spec.namespaces.cgroup { mounts.append(cgroups) }
        if !spec.namespaces.user { return mounts }
        for index in mounts.indices {
            // A user namespace mounts a sysfs only with a network namespace of its own, which the container does not have.
            if mounts[index].target == "/sys" {
                mounts[index] = MountStep(source: "/sys", target: "/sys", type: nil, flags: UInt(MS_BIND | MS_REC))
                mounts[index].attributes = UInt64(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
            }
            // devpts takes only a group that the namespace has.
            let hasTTYGroup = spec.gidMappings.contains { $0.containerID <= 5 && 5 - $0.containerID < $0.size }
            if mounts[index].target == "/dev/pts" && !hasTTYGroup { mounts[index].data = "newinstance,ptmxmode=0666,mode=0620" }
        }
        return mounts
    }

    /// What a container with a cgroup namespace sees of its limits: as Docker mounts it.
    private static let cgroups = MountStep(
        source: "cgroup", target: "/sys/fs/cgroup", type: "cgroup2", flags: UInt(MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY))

    private static let standard: [MountStep] = [
        MountStep(source: "proc", target: "/proc", type: "proc", flags: UInt(MS_NOSUID | MS_NOEXEC | MS_NODEV)),
        MountStep(
            source: "tmpfs", target: "/dev", type: "tmpfs", flags: UInt(MS_NOSUID | MS_STRICTATIME), data: "mode=755,size=65536k"),
        MountStep(
            source: "devpts", target: "/dev/pts", type: "devpts", flags: UInt(MS_NOSUID | MS_NOEXEC),
            data: "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        MountStep(
            source: "shm", target: "/dev/shm", type: "tmpfs", flags: UInt(MS_NOSUID | MS_NOEXEC | MS_NODEV),
            data: "mode=1777,size=65536k"),
        MountStep(source: "mqueue", target: "/dev/mqueue", type: "mqueue", flags: UInt(MS_NOSUID | MS_NOEXEC | MS_NODEV)),
        MountStep(
            source: "sysfs", target: "/sys", type: "sysfs", flags: UInt(MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY)),
    ]

    static let devices: [ContainerDevice] = [
        node("/dev/null", 1, 3), node("/dev/zero", 1, 5), node("/dev/full", 1, 7), node("/dev/random", 1, 8),
        node("/dev/urandom", 1, 9), node("/dev/tty", 5, 0),
    ]

    private static func node(_ path: String, _ major: UInt32, _ minor: UInt32) -> ContainerDevice {
        ContainerDevice(path: path, kind: .character, major: major, minor: minor)
    }

    static let links: [(path: String, target: String)] = [
        ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"), ("/dev/ptmx", "pts/ptmx"), ("/dev/core", "/proc/kcore"),
    ]

    /// The configuration's mounts, before them those of ours whose target it does not mention.
    ///
    /// Ours go first, for they hold the targets of others (a volume at /dev/something); a default under a configured
    /// mount (/dev/pts where /dev is configured) goes behind it, or it would be covered.
    static func merged(with configured: [MountStep], for spec: ContainerSpec) -> [MountStep] {
        let targets = configured.map { normalized($0.target) }
        var before: [MountStep] = []
        var after: [MountStep] = []
        for mount in mounts(spec) where !targets.contains(mount.target) {
            if targets.contains(where: { $0 == "/" || mount.target.utf8.starts(with: ($0 + "/").utf8) }) {
                after.append(mount)
            } else {
                before.append(mount)
            }
        }
        return before + configured + after
    }

    /// The standard devices, if /dev is there to hold them, and the configured ones, which replace those of the same path.
    static func devices(_ spec: ContainerSpec, mounts: [MountStep]) -> [ContainerDevice] {
        let configured = spec.devices.map { normalized($0.path) }
        let standard = makesDevices(mounts) ? devices.filter { !configured.contains($0.path) } : []
        return standard + spec.devices
    }

    /// Whether /dev is a file system of its own, in which devices may be made: not where the configuration binds one there.
    static func makesDevices(_ configured: [MountStep]) -> Bool {
        !configured.contains { normalized($0.target) == "/dev" && $0.type != "tmpfs" }
    }

    /// "/dev//pts/" → "/dev/pts"
    static func normalized(_ path: String) -> String {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"))
        return parts.isEmpty ? "/" : parts.reduce(into: "") { $0 += "/" + String(Substring($1)) }
    }
}
