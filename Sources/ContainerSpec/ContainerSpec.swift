import Linux

/// What to run in the VM: the typed form of an OCI runtime-spec `config.json` and its extension object `tether`.
///
/// Every value in it is checked: strings that reach a system call hold no NUL, numbers fit the types that take them.
/// ``decode(_:)`` makes one from JSON; docs/configuration.md describes each property.
public struct ContainerSpec: Equatable, Sendable {
    /// `ociVersion`: the version of the runtime-spec the configuration was written for; its major version is 1.
    public var ociVersion: String
    public var process: ContainerProcess
    public var root: ContainerRoot
    /// `mounts`, in the order they are to be made.
    public var mounts: [ContainerMount]
    /// `hostname`, at most 64 bytes; nil leaves the VM's.
    public var hostname: String?
    /// `domainname`, at most 64 bytes; nil leaves the VM's.
    public var domainname: String?
    /// `annotations`, in the order of the configuration. tether itself reads none.
    public var annotations: [KeyValue]
    /// `linux.namespaces`.
    public var namespaces: ContainerNamespaces
    /// `linux.maskedPaths`: absolute paths in the container that must not be readable. Without the property the standard ones.
    public var maskedPaths: [String]
    /// `linux.readonlyPaths`: absolute paths in the container that must not be writable. Without the property the standard ones.
    public var readonlyPaths: [String]
    /// `linux.seccomp`; nil leaves every system call to the container.
    public var seccomp: SeccompProfile?
    /// `tether`: what concerns the VM rather than the container.
    public var tether: TetherSettings

    /// The specification of a process with every default: what `{"ociVersion": …, "process": {"args": args}}` decodes to.
    public init(args: [String]) {
        ociVersion = "1.2.0"
        process = ContainerProcess(args: args)
        root = ContainerRoot()
        mounts = []
        annotations = []
        namespaces = ContainerNamespaces()
        maskedPaths = ContainerSpec.standardMaskedPaths
        readonlyPaths = ContainerSpec.standardReadonlyPaths
        tether = TetherSettings()
    }
}

extension ContainerSpec {
    /// What `runc spec` masks: files of /proc and /sys that tell of the machine rather than of the container.
    public static let standardMaskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
    ]
    /// What `runc spec` makes read-only. By /proc/sys/kernel/core_pattern alone root could have the kernel run a program
    /// outside the container.
    public static let standardReadonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
}

/// `process`: the container process.
public struct ContainerProcess: Equatable, Sendable {
    /// `args`: the command and its arguments; never empty, and the command is no empty string.
    public var args: [String]
    /// `cwd`: an absolute path in the container.
    public var cwd = "/"
    /// `env`: entries of the form `NAME=value`.
    public var env: [String] = []
    public var user = ContainerUser()
    public var capabilities = CapabilitySets.standard
    /// `rlimits`: each resource at most once.
    public var resourceLimits: [ResourceLimit] = []
    public var noNewPrivileges = false
    /// `oomScoreAdj`, −1000…1000; nil is 0: nothing is inherited of what protects PID 1.
    public var oomScoreAdjustment: Int32?

    public init(args: [String]) { self.args = args }
}

/// `process.user`: whom the process runs as. IDs are never 4294967295, which means "unchanged" to the kernel.
public struct ContainerUser: Equatable, Sendable {
    public var uid: UInt32 = 0
    public var gid: UInt32 = 0
    /// `umask`, 0…0o777.
    public var umask: UInt32 = 0o022
    /// `additionalGids`, at most 65 536 (NGROUPS_MAX).
    public var additionalGids: [UInt32] = []

    public init() {}
}

/// `process.capabilities`: the five sets of capabilities(7), bit n standing for capability n.
public struct CapabilitySets: Equatable, Sendable {
    public var effective: UInt64 = 0
    public var bounding: UInt64 = 0
    public var inheritable: UInt64 = 0
    public var permitted: UInt64 = 0
    public var ambient: UInt64 = 0

    /// Five empty sets.
    public init() {}
}

/// An entry of `process.rlimits` (setrlimit(2)).
public struct ResourceLimit: Equatable, Sendable {
    /// The name in the configuration: "RLIMIT_NOFILE".
    public var type: String
    /// The kernel's number of the resource.
    public var resource: Int32
    /// Not above `hard`. 2^64 − 1 is RLIM_INFINITY.
    public var soft: UInt64
    public var hard: UInt64

    public init(type: String, resource: Int32, soft: UInt64, hard: UInt64) {
        self.type = type
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }
}

/// `root`. Its `path` says nothing here: the root is the disk that `tether.rootfs` names.
public struct ContainerRoot: Equatable, Sendable {
    public var readonly = false

    public init() {}
}

/// An entry of `mounts`.
public struct ContainerMount: Equatable, Sendable {
    /// An absolute path in the container, not "/".
    public var destination: String
    /// nil only where the options say `bind` or `rbind`.
    public var type: String?
    /// Absolute for a bind mount; nil where the configuration has none.
    public var source: String?
    /// As mount(8) takes them after `-o`, one or more (with commas) an element.
    public var options: [String]

    public init(destination: String, type: String?, source: String?, options: [String]) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
    }

    /// Whether the options ask for a bind mount (`bind`, `rbind`).
    public var isBind: Bool { options.contains("bind") || options.contains("rbind") }
}

/// `linux.namespaces`: what the process gets of its own. It always has its own mount namespace.
public struct ContainerNamespaces: Equatable, Sendable {
    public var pid = true
    public var ipc = true
    public var uts = true

    /// The default: all of them.
    public init() {}
}

/// A member of a JSON object whose values are strings.
public struct KeyValue: Equatable, Sendable {
    public var key: String
    public var value: String

    public init(key: String, value: String) {
        self.key = key
        self.value = value
    }
}
