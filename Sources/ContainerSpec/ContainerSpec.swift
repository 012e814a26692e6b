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
    public var hooks: ContainerHooks
    /// `linux.namespaces`.
    public var namespaces: ContainerNamespaces
    /// `linux.uidMappings` and `linux.gidMappings`: neither is empty where ``namespaces`` has a user namespace, both are elsewhere.
    public var uidMappings: [IDMapping]
    public var gidMappings: [IDMapping]
    /// `linux.timeOffsets`: only with a time namespace.
    public var timeOffsets: TimeOffsets
    /// `linux.rootfsPropagation`; nil is private.
    public var rootfsPropagation: MountPropagation?
    /// `linux.sysctl`: names with dots, checked to be parameters of namespaces that the container has of its own, and their values.
    public var sysctl: [KeyValue]
    /// `linux.devices`: nodes to make beside the standard ones.
    public var devices: [ContainerDevice]
    /// `linux.resources`.
    public var resources: ContainerResources
    /// `linux.personality.domain`; nil leaves it.
    public var personality: Personality?
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
        hooks = ContainerHooks()
        namespaces = ContainerNamespaces()
        uidMappings = []
        gidMappings = []
        timeOffsets = TimeOffsets()
        sysctl = []
        devices = []
        resources = ContainerResources()
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
    /// `uidMappings` and `gidMappings`: an id-mapped mount (mount_setattr(2)). Both are empty, or neither is.
    public var uidMappings: [IDMapping] = []
    public var gidMappings: [IDMapping] = []

    public init(destination: String, type: String?, source: String?, options: [String]) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
    }

    /// Whether the options ask for a bind mount (`bind`, `rbind`).
    public var isBind: Bool { options.contains("bind") || options.contains("rbind") }

    /// Whether the options ask for an id-mapped mount (`idmap`, `ridmap`): by the mount's own mappings, or else by the container's.
    public var isIDMapped: Bool { options.contains("idmap") || options.contains("ridmap") }
}

/// `linux.namespaces`: what the process gets of its own. It always has its own mount namespace.
public struct ContainerNamespaces: Equatable, Sendable {
    public var pid = true
    public var ipc = true
    public var uts = true
    /// The container's own cgroup is the root of what it sees.
    public var cgroup = true
    /// With ``ContainerSpec/uidMappings`` and ``ContainerSpec/gidMappings``.
    public var user = false
    /// With ``ContainerSpec/timeOffsets``.
    public var time = false

    /// The default: all but `user` and `time`, which need settings of their own.
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
