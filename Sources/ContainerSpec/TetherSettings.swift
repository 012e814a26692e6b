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
    /// `stdin`: where the standard input of a process without a terminal comes from.
    public var stdin = StdinMode.none
    public var sessions = SessionSettings()
    /// `restart`: when the container process is started again.
    public var restart = RestartPolicy.no
    /// `healthcheck`; nil makes none.
    public var healthCheck: HealthCheck?
    /// `control`; nil serves the control protocol on no serial line.
    public var control: ControlSettings?
    /// `attach`; nil has no attach server.
    public var attach: AttachSettings?
    /// `network`; nil leaves the VM's adapters alone.
    public var network: NetworkSettings?
    /// `memoryReserveKiB`, 4096…16777216: memory that the container cannot have, so that PID 1 keeps working; nil chooses by the
    /// VM's size.
    public var memoryReserveKiB: Int64?
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
        /// `"cri"`: CRI log lines.
        case cri
        /// `"vic"`: records of output alone, as VIC's portlayer reads them.
        case vic
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

/// `tether.stdin`. A process with a terminal reads from that, whatever is said here.
public enum StdinMode: Equatable, Sendable {
    /// `"none"`: /dev/null.
    case none
    /// `"open"`: a pipe that clients write to, and that stays open until one closes it.
    case open
    /// `"once"`: as `open`, but closed when the first client that was attached to it goes (Docker's StdinOnce).
    case once
}

/// `tether.sessions`: bounds on what PID 1 keeps for the container process and for those started beside it.
public struct SessionSettings: Equatable, Sendable {
    /// What becomes of a client that does not read as fast as the process writes.
    public enum SlowClient: Equatable, Sendable {
        /// `"detach"`: it is cut off, and told so.
        case detach
        /// `"block"`: the process waits for it.
        case block
    }

    /// `ringKiB`, 4…16384: how much recent output is kept for clients to come, for each stream, in KiB.
    public var ringKiB: Int64 = 64
    /// `slowClient`.
    public var slowClient = SlowClient.detach
    /// `slowClientSeconds`, 1…3600: how long a client may take nothing while it is waited for, before it is cut off.
    public var slowClientSeconds: Int64 = 2
    /// `maxSessions`, 1…256: sessions at the same time, that of the container process included.
    public var maxSessions: Int64 = 64
    /// `maxClients`, 1…64: clients attached at the same time, to all sessions together.
    public var maxClients: Int64 = 16

    /// What the recent output of all sessions takes at most, in KiB: two streams each.
    public var ringsKiB: Int64 { ringKiB &* 2 &* maxSessions }

    public init() {}
}

/// `tether.restart`: when a container process that has ended is started again, as Docker's `--restart` says it.
public enum RestartPolicy: Equatable, Sendable {
    /// `"no"`.
    case no
    /// `"on-failure"`, `"on-failure:5"`: after an end with another status than 0, at most `maximum` (1…) times; nil is without bound.
    case onFailure(maximum: Int64?)
    /// `"always"`.
    case always
    /// `"unless-stopped"`: always, but not after a stop was asked for. One boot of a VM knows no other difference from `always`.
    case unlessStopped
}

/// `tether.control`: a serial line on which the control protocol is served.
public struct ControlSettings: Equatable, Sendable {
    /// `device`: a path below /dev, of the VM's and not the container's.
    public var device: String

    public init(device: String) { self.device = device }
}
