/// `process`: the container process.
public struct ContainerProcess: Equatable, Sendable {
    /// `args`: the command and its arguments; never empty, and the command is no empty string.
    public var args: [String]
    /// What is executed, where that is not the first of ``args``. Looked for as that would be. A configuration in JSON cannot say it.
    public var executable: String?
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
    /// `terminal`: standard streams are a terminal of the container's own.
    public var terminal = false
    /// `consoleSize`: only with ``terminal``; nil leaves the kernel's 0 × 0.
    public var consoleSize: ConsoleSize?
    /// `terminalModes`: only with ``terminal``, and of a process that is started beside the container process.
    public var terminalModes = TerminalSettings()
    /// `ioPriority`; nil leaves it to the nice value (ioprio_set(2)).
    public var ioPriority: IOPriority?
    /// `scheduler`; nil is SCHED_OTHER with nice value 0.
    public var scheduler: SchedulerSettings?
    /// `execCPUAffinity`; nil leaves all CPUs. It is for processes started beside the container process, not for that itself.
    public var execCPUAffinity: ExecCPUAffinity?
    /// `apparmorProfile`, never empty. Whether the kernel has AppArmor is not known here.
    public var apparmorProfile: String?
    /// `selinuxLabel`, never empty. Whether the kernel has SELinux is not known here.
    public var selinuxLabel: String?

    public init(args: [String]) { self.args = args }
}

/// `process.user`: whom the process runs as. IDs are never 4294967295, which means "unchanged" to the kernel.
public struct ContainerUser: Equatable, Sendable {
    /// `username`: a name or number of the image's own passwd(5), perhaps with `:` and a name or number of its group(5), as Docker
    /// takes `--user`. Never empty. Where it is present `uid` and `gid` are 0 and mean nothing.
    public var username: String?
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
