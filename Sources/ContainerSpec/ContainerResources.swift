/// `linux.resources`: limits on the container, in the units and with the meanings of the runtime-spec, which are those of cgroup
/// v1. nil is a limit that the configuration does not have, or has as 0 where that means the same; −1 stands for "no limit" where
/// the runtime-spec has it.
///
/// What cgroup v2 has no equal for (memory: kernel, kernelTCP, swappiness, disableOOMKiller; cpu: real-time settings; blockIO:
/// leaf weights; network) has no place here: the decoder refuses it.
public struct ContainerResources: Equatable, Sendable {
    /// `devices`: who may use which device; a later rule overrides earlier ones.
    public var devices: [DeviceRule] = []
    public var memory = MemoryResources()
    public var cpu = CPUResources()
    /// `pids.limit`, −1…: tasks at the same time. 0 is kept as it is.
    public var pidsLimit: Int64?
    public var blockIO = BlockIOResources()
    /// `hugepageLimits`: each page size at most once.
    public var hugepageLimits: [HugepageLimit] = []
    /// `unified`: files of cgroup v2 and what is written to them, in the order of the configuration. A name has no `/`, and is one of
    /// a controller: "memory.high".
    public var unified: [KeyValue] = []

    /// No limits.
    public init() {}
}

/// `linux.resources.memory`, in bytes.
public struct MemoryResources: Equatable, Sendable {
    /// `limit`, −1….
    public var limit: Int64?
    /// `reservation`, −1…: what it keeps when memory is short.
    public var reservation: Int64?
    /// `swap`, −1…: memory and swap together; needs `limit`, and is not below it.
    public var swap: Int64?

    public init() {}
}

/// `linux.resources.cpu`.
public struct CPUResources: Equatable, Sendable {
    /// `shares`, 2…262144: the weight beside others, of which 1024 is usual.
    public var shares: UInt64?
    /// `quota`, in microseconds of each ``period``: 1000…, or −1.
    public var quota: Int64?
    /// `period`, 1000…1000000 microseconds; nil is 100000.
    public var period: UInt64?
    /// `burst`, in microseconds: what may be saved up from periods that were not used up; needs a quota, and is not above it.
    public var burst: UInt64?
    /// `idle`: 1 makes it SCHED_IDLE as a whole, 0 does not.
    public var idle: Int64?
    /// `cpus`: a list as in cpuset(7), checked: "0-3,7".
    public var cpus: String?
    /// `mems`: memory nodes, written as `cpus`.
    public var mems: String?

    public init() {}
}

/// `linux.resources.blockIO`.
public struct BlockIOResources: Equatable, Sendable {
    /// `weight`, 10…1000.
    public var weight: UInt16?
    /// `weightDevice`: weights of single devices.
    public var weightDevices: [DeviceWeight] = []
    /// `throttleReadBpsDevice`: bytes a second.
    public var throttleReadBytes: [DeviceRate] = []
    /// `throttleWriteBpsDevice`: bytes a second.
    public var throttleWriteBytes: [DeviceRate] = []
    /// `throttleReadIOPSDevice`: operations a second.
    public var throttleReadOperations: [DeviceRate] = []
    /// `throttleWriteIOPSDevice`: operations a second.
    public var throttleWriteOperations: [DeviceRate] = []

    public init() {}
}

/// An entry of `linux.resources.blockIO.weightDevice`.
public struct DeviceWeight: Equatable, Sendable {
    public var major: UInt32
    public var minor: UInt32
    /// 10…1000.
    public var weight: UInt16

    public init(major: UInt32, minor: UInt32, weight: UInt16) {
        self.major = major
        self.minor = minor
        self.weight = weight
    }
}

/// An entry of one of the lists `linux.resources.blockIO.throttle…Device`.
public struct DeviceRate: Equatable, Sendable {
    public var major: UInt32
    public var minor: UInt32
    /// 0 is no limit, as in cgroup v1.
    public var rate: UInt64

    public init(major: UInt32, minor: UInt32, rate: UInt64) {
        self.major = major
        self.minor = minor
        self.rate = rate
    }
}

/// An entry of `linux.resources.hugepageLimits`.
public struct HugepageLimit: Equatable, Sendable {
    /// As the kernel names the size in its files: "64KB", "2MB", "1GB".
    public var pageSize: String
    /// In bytes.
    public var limit: UInt64

    public init(pageSize: String, limit: UInt64) {
        self.pageSize = pageSize
        self.limit = limit
    }
}

/// An entry of `linux.resources.devices`.
public struct DeviceRule: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// `"a"`: character and block devices.
        case all
        /// `"c"`.
        case character
        /// `"b"`.
        case block
    }

    public var allow: Bool
    /// `type`.
    public var kind = Kind.all
    /// nil, which −1 stands for as well: every number.
    public var major: UInt32?
    /// nil, which −1 stands for as well: every number.
    public var minor: UInt32?
    /// `access` has "r"; without `access` all three are true.
    public var read = true
    /// `access` has "w".
    public var write = true
    /// `access` has "m": making the node with mknod(2).
    public var make = true

    public init(allow: Bool) { self.allow = allow }
}
