import CLinux

/// A file system to mount in the container, ready for mount(2).
public struct MountStep: Equatable, Sendable {
    public var source: String?
    /// Absolute, inside the container's root.
    public var target: String
    /// nil for a bind mount.
    public var type: String?
    /// MS_* flags.
    public var flags: UInt
    /// MS_SHARED, MS_SLAVE, …, each set after the mount, in this order.
    public var propagation: [UInt]
    /// The file system's own options, separated by commas.
    public var data: String

    public init(source: String?, target: String, type: String?, flags: UInt = 0, propagation: [UInt] = [], data: String = "") {
        self.source = source
        self.target = target
        self.type = type
        self.flags = flags
        self.propagation = propagation
        self.data = data
    }
}

/// A device node to make in the container.
struct DeviceNode {
    var path: String
    var major: UInt32
    var minor: UInt32
}

/// What every container has, whether its configuration says so or not.
///
/// The file systems and devices are those of the OCI runtime-spec (config-linux.md, "Default Filesystems" and "Default
/// Devices"); their options are those that `runc spec` writes.
enum Defaults {
    static let mounts: [MountStep] = [
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

    static let devices: [DeviceNode] = [
        DeviceNode(path: "/dev/null", major: 1, minor: 3), DeviceNode(path: "/dev/zero", major: 1, minor: 5),
        DeviceNode(path: "/dev/full", major: 1, minor: 7), DeviceNode(path: "/dev/random", major: 1, minor: 8),
        DeviceNode(path: "/dev/urandom", major: 1, minor: 9), DeviceNode(path: "/dev/tty", major: 5, minor: 0),
    ]

    static let links: [(path: String, target: String)] = [
        ("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"), ("/dev/ptmx", "pts/ptmx"), ("/dev/core", "/proc/kcore"),
    ]

    /// The configuration's mounts, before them those of ours whose target it does not mention.
    ///
    /// Ours go first, for they hold the targets of others (a volume at /dev/something); a default under a configured
    /// mount (/dev/pts where /dev is configured) goes behind it, or it would be covered.
    static func merged(with configured: [MountStep]) -> [MountStep] {
        let targets = configured.map { normalized($0.target) }
        var before: [MountStep] = []
        var after: [MountStep] = []
        for mount in mounts where !targets.contains(mount.target) {
            if targets.contains(where: { $0 == "/" || mount.target.utf8.starts(with: ($0 + "/").utf8) }) {
                after.append(mount)
            } else {
                before.append(mount)
            }
        }
        return before + configured + after
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
