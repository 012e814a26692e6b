import Linux

/// The extension object `tether`: settings of the VM around the container.
public struct TetherSettings: Equatable, Sendable {
    /// `id`: the container's name in records and messages. Defaults to the hostname, then to "tether".
    public var id = "tether"
    public var rootfs = RootfsSettings()
    public var log = LogSettings()
    public var stop = StopSettings()
    public var drain = DrainSettings()
    /// `init`: the process runs under a minimal init in its PID namespace, which reaps orphans and lets default signal
    /// actions work; false makes the process PID 1 of the namespace, as systemd needs it.
    public var usesInit = true
    /// `debug`: diagnostics at level debug.
    public var debug = false

    public init() {}
}

/// `tether.rootfs`: the disk that becomes the container's root.
public struct RootfsSettings: Equatable, Sendable {
    public var device = DiskSpecifier.label("containerfs")
    /// `type`: the filesystem type; nil, which "auto" stands for in the configuration, finds it out.
    public var type: String?
    /// Mount options as mount(8) takes them after `-o`.
    public var options: [String] = []
    /// `timeoutSeconds`, 1…3600: how long to wait for the disk to appear.
    public var timeoutSeconds: Int64 = 30

    public init() {}
}

/// `tether.log`: the session log.
public struct LogSettings: Equatable, Sendable {
    public enum Format: Equatable, Sendable {
        /// CRI log lines.
        case cri
    }

    public var format = Format.cri
    /// `partialFlushMilliseconds`, 0…60000: how long an unfinished line is held back before it is sent as a partial one.
    public var partialFlushMilliseconds: Int64 = 100

    public init() {}
}

/// `tether.stop`: how the container process is asked to end.
public struct StopSettings: Equatable, Sendable {
    public var signal = Signal.terminate
    /// `timeoutSeconds`, 0…3600: how long after the signal SIGKILL follows.
    public var timeoutSeconds: Int64 = 10

    public init() {}
}

/// `tether.drain`: how long output is read after the process has ended, when something else still holds its pipes.
public struct DrainSettings: Equatable, Sendable {
    /// `graceMilliseconds`, 0…600000: silence after which the output counts as ended.
    public var graceMilliseconds: Int64 = 1000
    /// `deadlineSeconds`, 0…3600: when reading ends even if there is no silence.
    public var deadlineSeconds: Int64 = 30

    public init() {}
}
