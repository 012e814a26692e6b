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
    public var device = DeviceSpecifier.label("containerfs")
    /// `type`: the filesystem type; nil, which "auto" stands for in the configuration, finds it out.
    public var type: String?
    /// Mount options as mount(8) takes them after `-o`.
    public var options: [String] = []
    /// `timeoutSeconds`, 1…3600: how long to wait for the disk to appear.
    public var timeoutSeconds: Int64 = 30

    public init() {}
}

/// Which block device is meant, in the notation of fstab(5).
public enum DeviceSpecifier: Equatable, Sendable, CustomStringConvertible {
    case label(String)
    case uuid(String)
    case partitionLabel(String)
    case partitionUUID(String)
    /// An absolute path: "/dev/sda1".
    case path(String)

    /// - Returns: nil for text of none of the five forms, or with nothing behind the "=".
    public init?(_ text: String) {
        if text.utf8.first == UInt8(ascii: "/") {
            self = .path(text)
            return
        }
        guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let value = String(text[text.index(after: equals)...])
        guard !value.isEmpty else { return nil }
        switch String(text[..<equals]) {
        case "LABEL": self = .label(value)
        case "UUID": self = .uuid(value)
        case "PARTLABEL": self = .partitionLabel(value)
        case "PARTUUID": self = .partitionUUID(value)
        default: return nil
        }
    }

    /// The notation of fstab(5) again: "LABEL=containerfs".
    public var description: String {
        switch self {
        case .label(let value): "LABEL=" + value
        case .uuid(let value): "UUID=" + value
        case .partitionLabel(let value): "PARTLABEL=" + value
        case .partitionUUID(let value): "PARTUUID=" + value
        case .path(let path): path
        }
    }
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
