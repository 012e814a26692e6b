/// An entry of `uidMappings` or `gidMappings` (user_namespaces(7)): `size` IDs from `containerID` on in the namespace are those from
/// `hostID` on outside it. Entries of a list do not overlap, and no ID of either side is above 4294967294.
public struct IDMapping: Equatable, Sendable {
    public var containerID: UInt32
    public var hostID: UInt32
    /// At least 1.
    public var size: UInt32

    public init(containerID: UInt32, hostID: UInt32, size: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.size = size
    }
}

/// `linux.timeOffsets` (time_namespaces(7)): what the container's clocks are ahead of the VM's. nil leaves a clock alone.
public struct TimeOffsets: Equatable, Sendable {
    /// `monotonic`: CLOCK_MONOTONIC.
    public var monotonic: TimeOffset?
    /// `boottime`: CLOCK_BOOTTIME.
    public var boottime: TimeOffset?

    public init() {}
}

/// What a clock is ahead.
public struct TimeOffset: Equatable, Sendable {
    /// `secs`, perhaps negative.
    public var seconds: Int64
    /// `nanosecs`, 0…999999999, added to `seconds` whatever their sign.
    public var nanoseconds: UInt32

    public init(seconds: Int64, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// `linux.rootfsPropagation` (mount_namespaces(7), "Shared subtrees").
public struct MountPropagation: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case `private`, slave, shared, unbindable
    }

    public var kind: Kind
    /// Written with an "r" before it: mounts below are meant, too.
    public var isRecursive: Bool

    public init(kind: Kind, isRecursive: Bool) {
        self.kind = kind
        self.isRecursive = isRecursive
    }
}

/// An entry of `linux.devices`: a node to make in the container.
public struct ContainerDevice: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// `"c"` or `"u"`.
        case character
        /// `"b"`.
        case block
        /// `"p"`: a FIFO, which has no numbers.
        case fifo
    }

    /// An absolute path in the container, no two entries with the same.
    public var path: String
    /// `type`.
    public var kind: Kind
    /// 0…4095; 0 for a FIFO.
    public var major: UInt32
    /// 0…1048575; 0 for a FIFO.
    public var minor: UInt32
    /// `fileMode`, the permission bits alone, 0…0o7777, whatever the umask; nil is 0o666.
    public var mode: UInt32?
    /// `uid`, the owner in the container.
    public var uid: UInt32 = 0
    /// `gid`, the group in the container.
    public var gid: UInt32 = 0

    public init(path: String, kind: Kind, major: UInt32, minor: UInt32) {
        self.path = path
        self.kind = kind
        self.major = major
        self.minor = minor
    }
}

/// `linux.personality.domain` (personality(2)).
public enum Personality: Equatable, Sendable {
    /// `"LINUX"`: PER_LINUX.
    case linux
    /// `"LINUX32"`: PER_LINUX32, with which uname(2) names a 32-bit machine.
    case linux32
}
