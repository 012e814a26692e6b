import SSH

/// What a client is to do on a session's channel.
public struct AttachOptions {
    /// What the channel is for.
    public enum Purpose: Equatable {
        /// Follows a session; empty: the primary one. The starts are `live`, `oldest`, `none`, an offset, or empty for what the guest
        /// thinks best.
        case attach(session: String, stdoutFrom: String, stderrFrom: String)
        /// Starts a process beside the container's: the runtime-spec's `process` object.
        case exec(process: [UInt8], session: String)
    }

    public var purpose: Purpose
    public var wantsInput = true
    public var detachKeys = DetachKeys.standard
    public var stdin: Int32 = 0
    public var stdout: Int32 = 1
    public var stderr: Int32 = 2
    /// The terminal that is made raw while the session has one.
    public var terminal: LocalTerminal?
    /// How long a line that is down is tried again, in milliseconds; 0: not at all.
    public var reconnectMilliseconds: Int64 = 60_000
    /// The first attempt, too, is made again when it fails: the line is known to be there soon.
    public var triesFirst = false
    /// Signals that came, a byte each (hostprocess_watch_signals); -1: none.
    public var signals: Int32 = -1
    /// Told what happens, a line each.
    public var log: (String) -> Void = { _ in }
    /// Asked before an attempt to connect again; true gives up: the VM is known to be gone.
    public var isHopeless: () -> Bool = { false }

    public init(_ purpose: Purpose) { self.purpose = purpose }
}

/// How a client's session ended.
public enum AttachOutcome: Equatable, Sendable {
    /// The process ended; its exit code as a shell gives it.
    case exited(Int32)
    /// The person has left; the session goes on.
    case detached
    /// The reader of the output is gone; the session goes on.
    case outputClosed
    /// A SIGHUP: the terminal is gone; the session goes on.
    case hungUp
}
