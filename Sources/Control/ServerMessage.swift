public import SessionLog

/// What PID 1 tells a client about itself.
public struct ServerLimits: Sendable, Equatable {
    /// The most bytes of output in a message.
    public var maximumData: UInt32
    /// How many sessions there may be, and how many clients.
    public var maximumSessions: UInt16
    public var maximumClients: UInt16
    /// How many bytes of input an attachment may send before it is granted more.
    public var stdinCredit: UInt32
    /// How many bytes of recent output are kept of each stream.
    public var ringBytes: UInt32

    public init(maximumData: UInt32, maximumSessions: UInt16, maximumClients: UInt16, stdinCredit: UInt32, ringBytes: UInt32) {
        self.maximumData = maximumData
        self.maximumSessions = maximumSessions
        self.maximumClients = maximumClients
        self.stdinCredit = stdinCredit
        self.ringBytes = ringBytes
    }
}

/// Why a request was not done.
public struct RequestFailure: Sendable, Equatable {
    public enum Code: UInt8, Sendable, Equatable, CaseIterable {
        /// There is no session of this name.
        case unknownSession = 1
        /// The session has no process now.
        case notRunning
        /// There is no attachment with this tag.
        case unknownAttachment
        /// The session has no standard input, or none that is open.
        case noStdin
        /// The session has no terminal.
        case noTerminal
        /// A limit is reached: sessions, clients, attachments.
        case tooMany
        /// The request has no meaning: a bad process object, a signal that does not exist, a name that is taken.
        case invalid
        /// The process could not be started.
        case launchFailed
        /// This tether, or its kernel, cannot do it.
        case unsupported
        /// It cannot be done now: the container is stopping, or is being started.
        case busy
        /// It was tried and failed.
        case failed
    }

    public var code: Code
    /// Of a process that could not be started, the number that a shell would give: 125, 126 or 127; else 0.
    public var exitCode: UInt8
    /// What was attempted.
    public var operation: String
    /// What it was attempted on. May be empty.
    public var object: String
    /// One sentence.
    public var cause: String

    public init(_ code: Code, exitCode: UInt8 = 0, operation: String, object: String, cause: String) {
        self.code = code
        self.exitCode = exitCode
        self.operation = operation
        self.object = object
        self.cause = cause
    }
}

/// One session, as a list shows it.
public struct SessionSummary: Sendable, Equatable {
    public enum Kind: UInt8, Sendable, Equatable, CaseIterable { case primary = 0, exec }

    public enum State: UInt8, Sendable, Equatable, CaseIterable {
        /// No process yet, or between two of them.
        case waiting = 0
        case running
        /// It runs, and is frozen.
        case paused
        /// The process has ended; its output is read on.
        case draining
        case ended
    }

    /// Which bytes of a stream are kept, as absolute offsets.
    public struct Kept: Sendable, Equatable {
        /// The first that is.
        public var first: UInt64
        /// Behind the last: how many bytes the stream has carried.
        public var end: UInt64

        public init(first: UInt64, end: UInt64) {
            self.first = first
            self.end = end
        }
    }

    public var id: String
    public var kind: Kind
    public var state: State
    /// As PID 1 sees it; 0 where there is no process.
    public var pid: Int32
    public var hasTerminal: Bool
    /// Whether input can reach the process.
    public var stdinIsOpen: Bool
    /// How many clients are attached.
    public var clients: UInt16
    /// How often its process was started again.
    public var restarts: UInt32
    /// When the process was started; nil if it never was.
    public var startedAt: Timestamp?
    public var stdout: Kept
    public var stderr: Kept
    /// The command and its arguments, the first 4 KiB of them.
    public var args: [String]

    public init(
        id: String, kind: Kind, state: State, pid: Int32 = 0, hasTerminal: Bool = false, stdinIsOpen: Bool = false, clients: UInt16 = 0,
        restarts: UInt32 = 0, startedAt: Timestamp? = nil, stdout: Kept = Kept(first: 0, end: 0), stderr: Kept = Kept(first: 0, end: 0),
        args: [String] = []
    ) {
        self.id = id
        self.kind = kind
        self.state = state
        self.pid = pid
        self.hasTerminal = hasTerminal
        self.stdinIsOpen = stdinIsOpen
        self.clients = clients
        self.restarts = restarts
        self.startedAt = startedAt
        self.stdout = stdout
        self.stderr = stderr
        self.args = args
    }
}

/// The answer to `attach` and `exec`.
public struct Attached: Sendable, Equatable {
    /// The session's name.
    public var session: String
    public var hasTerminal: Bool
    /// The offset of the first byte that comes of each stream. A terminal's output comes as stdout.
    public var stdoutOffset: UInt64
    public var stderrOffset: UInt64
    /// How many bytes before it were asked for and are no longer kept.
    public var stdoutMissed: UInt64
    public var stderrMissed: UInt64
    /// How many bytes of input the client may send; 0 for an attachment without input, or where others' input still waits for the
    /// process.
    public var stdinCredit: UInt32
    /// How many bytes of input were taken from the client by its key, over all its attachments. nil where it gave none, or where the
    /// key is not known any more: then they are counted from here.
    public var stdinTaken: UInt64?

    public init(
        session: String, hasTerminal: Bool = false, stdoutOffset: UInt64 = 0, stderrOffset: UInt64 = 0, stdoutMissed: UInt64 = 0,
        stderrMissed: UInt64 = 0, stdinCredit: UInt32 = 0, stdinTaken: UInt64? = nil
    ) {
        self.session = session
        self.hasTerminal = hasTerminal
        self.stdoutOffset = stdoutOffset
        self.stderrOffset = stderrOffset
        self.stdoutMissed = stdoutMissed
        self.stderrMissed = stderrMissed
        self.stdinCredit = stdinCredit
        self.stdinTaken = stdinTaken
    }
}

/// Why an attachment is over before its session's end, and where it could go on.
public struct Detachment: Sendable, Equatable {
    public enum Reason: UInt8, Sendable, Equatable, CaseIterable {
        /// The client asked for it.
        case requested = 0
        /// It took no output for so long that the process would have had to wait.
        case slow
        /// The session was forgotten.
        case forgotten
        /// PID 1 closes its control interface: the VM goes off.
        case stopping
    }

    public var reason: Reason
    /// The offset of the first byte of each stream that was not sent.
    public var stdoutOffset: UInt64
    public var stderrOffset: UInt64

    public init(_ reason: Reason, stdoutOffset: UInt64 = 0, stderrOffset: UInt64 = 0) {
        self.reason = reason
        self.stdoutOffset = stdoutOffset
        self.stderrOffset = stderrOffset
    }
}

/// How a session ended.
public struct SessionResult: Sendable, Equatable {
    /// The session's name.
    public var id: String
    /// The process's own, 128 + signal number, or 125–127 (docs/formats.md).
    public var exitCode: UInt8
    /// The signal that ended it; 0 for none.
    public var signal: UInt8
    public var coreDumped: Bool
    /// The kernel killed a process of the session for want of memory.
    public var oomKilled: Bool
    /// Processor time of the process and of the children it waited for.
    public var userMicroseconds: Int64
    public var systemMicroseconds: Int64
    /// The largest resident set of one of them.
    public var maximumResidentKiB: Int64
    public var stdout: StreamTotal
    public var stderr: StreamTotal
    public var drain: Drain
    /// Nil if the process never started.
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp
    /// What tether itself could not do.
    public var error: FailureReport?

    public init(
        id: String, exitCode: UInt8, signal: UInt8 = 0, coreDumped: Bool = false, oomKilled: Bool = false, userMicroseconds: Int64 = 0,
        systemMicroseconds: Int64 = 0, maximumResidentKiB: Int64 = 0, stdout: StreamTotal = .empty, stderr: StreamTotal = .empty,
        drain: Drain = .eof, startedAt: Timestamp? = nil, finishedAt: Timestamp, error: FailureReport? = nil
    ) {
        self.id = id
        self.exitCode = exitCode
        self.signal = signal
        self.coreDumped = coreDumped
        self.oomKilled = oomKilled
        self.userMicroseconds = userMicroseconds
        self.systemMicroseconds = systemMicroseconds
        self.maximumResidentKiB = maximumResidentKiB
        self.stdout = stdout
        self.stderr = stderr
        self.drain = drain
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.error = error
    }
}

/// What a subscriber is told.
public enum ControlEvent: Sendable, Equatable {
    public enum Health: UInt8, Sendable, Equatable, CaseIterable { case starting = 0, healthy, unhealthy }

    /// A session began, ended or was forgotten: list again.
    case sessionsChanged
    /// The health check's state changed.
    case health(Health)
    case paused
    case resumed
    /// The primary process ended and is started again, for the `count`-th time, after a wait.
    case restarting(count: UInt32, delayMilliseconds: UInt64)
    /// The container is being stopped.
    case stopping
}

/// Why no input is taken any more.
public enum StdinEnd: UInt8, Sendable, Equatable, CaseIterable {
    /// A client asked for it.
    case requested = 0
    /// The process closed its end.
    case processClosed
    /// The session ended.
    case sessionEnded
    /// This client sent more than it was granted.
    case overrun
}

/// What PID 1 says to a client.
public enum ServerMessage: ControlMessage, Equatable {
    /// The answer to `hello`.
    case hello(version: UInt16, name: String, ServerLimits)
    case done(tag: UInt32)
    /// A request was not done, or, for a tag of an attachment, a message to it was in vain. `tag` is 0 where there is none.
    case failed(tag: UInt32, RequestFailure)
    case session(tag: UInt32, SessionSummary)
    case attached(tag: UInt32, Attached)
    /// Output of the attachment's session. `offset` is that of the first byte.
    case output(tag: UInt32, LogStream, offset: UInt64, [UInt8])
    /// The stream has ended; no more output of it comes.
    case eof(tag: UInt32, LogStream)
    /// The client may send `bytes` more of input.
    case stdinCredit(tag: UInt32, bytes: UInt32)
    /// No more input is taken.
    case stdinClosed(tag: UInt32, StdinEnd)
    /// Input is taken again: the session's process was started anew.
    case stdinOpened(tag: UInt32)
    /// The attachment is over, but not the session.
    case detached(tag: UInt32, Detachment)
    /// The session has ended; of an attachment the last message, after all output.
    case exited(tag: UInt32, SessionResult)
    /// A JSON document (docs/control.md).
    case stats(tag: UInt32, [UInt8])
    case event(tag: UInt32, ControlEvent)
    case pong(tag: UInt32)
    /// The last message: why PID 1 closes the connection.
    case closing(cause: String)

    /// The types' numbers on the wire.
    enum Kind: UInt8 {
        case hello = 128, done, failed, session, attached, output, eof, stdinCredit, stdinClosed, detached, exited, stats, event, pong
        case closing, stdinOpened
    }

    /// The tag that it answers; nil where it answers none.
    public var tag: UInt32? {
        switch self {
        case .hello, .closing: return nil
        case .done(let tag), .failed(let tag, _), .session(let tag, _), .attached(let tag, _), .output(let tag, _, _, _),
            .eof(let tag, _), .stdinCredit(let tag, _), .stdinClosed(let tag, _), .stdinOpened(let tag), .detached(let tag, _),
            .exited(let tag, _), .stats(let tag, _), .event(let tag, _), .pong(let tag):
            return tag
        }
    }
}
