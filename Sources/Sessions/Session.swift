import CLinux
import Control
import Linux
import SessionLog

/// A process with its streams, and the clients attached to them.
///
/// The session outlives its process where that is started again: rings, counts and clients go on. It reads its process only
/// while everyone who gets the output can take it, so nothing is dropped and no buffer grows.
public final class Session: EventHandler {
    enum Role: Int32 { case stdout, stderr, input }

    public let id: String
    public let kind: SessionSummary.Kind
    /// The times hold from when they are set; the rings keep the size that they were made with.
    public var limits: SessionLimits
    /// The command, for lists.
    public var args: [String]
    public internal(set) var state = SessionSummary.State.waiting
    /// How the last process ended, once all its output is read.
    public private(set) var result: SessionResult?
    /// Why the process of an exec session was not started.
    public private(set) var startFailure: RequestFailure?
    public private(set) var process: (any StreamedProcess)?
    /// There is or was a process.
    public private(set) var hasStarted = false
    /// When the process was started, in nanoseconds since 1970.
    public private(set) var startedAt: Int64 = 0

    /// When the process was started, on the monotonic clock, and how much output there was by then.
    private var started: (monotonic: Int64, stdout: UInt64, stderr: UInt64) = (0, 0, 0)

    let loop: EventLoop
    let log: (any OutputLog)?
    let buffer: ReadBuffer
    /// Is told when the process has ended and its output is drained.
    public var owner: (any SessionOwner)?
    public internal(set) var attachments: [Attachment] = []
    private var attachmentsMade: UInt64 = 0
    /// The input ends when the first client that could write to it goes: that of a container with `"stdin": "once"` (Docker's
    /// StdinOnce), and that of an exec whose client does not come again.
    public var endsInputWithClient: Bool

    var stdout: OutputStream
    var stderr: OutputStream
    /// When output last arrived, or could have but was not read because someone was behind.
    var lastOutput: Int64 = 0

    var input = InputQueue()
    var inputSources = InputSources()
    var inputWatch: EventLoop.Watch?
    /// Why no more input is taken; then the process's end is closed once the queue is empty.
    var inputEnd: StdinEnd?
    /// Whether the session's processes have a standard input at all.
    public var mayTakeInput: Bool
    /// Whether they have a terminal.
    public var wantsTerminal: Bool

    /// How the process ended, from then until the output is drained.
    var ended: Ended?
    struct Ended {
        var end: ProcessEnd
        var usage: ResourceUsage
        var oomKilled: Bool
        var monotonic: Int64
        var realtime: Int64
    }

    /// A second handle of the terminal's process side, held while the process runs: without one, a process that closes its
    /// terminal and opens it again would look like one that has ended.
    private var terminalPeer: Int32 = -1
    /// The terminal once more, for writing: an epoll set takes a descriptor only once, and the other one is read.
    private(set) var terminalInput: Int32 = -1

    /// - Parameters:
    ///   - log: gets the output, too; nil for a session that is not logged.
    ///   - buffer: shared by all sessions, which read one after the other.
    ///   - wantsTerminal: the process will have a terminal, which a client is told before there is one.
    public init(
        id: String, kind: SessionSummary.Kind, args: [String], limits: SessionLimits, mayTakeInput: Bool,
        wantsTerminal: Bool = false, endsInputWithClient: Bool, loop: EventLoop, log: (any OutputLog)?,
        buffer: ReadBuffer
    ) {
        self.id = id
        self.kind = kind
        self.args = args
        self.limits = limits
        self.mayTakeInput = mayTakeInput
        self.wantsTerminal = wantsTerminal
        self.endsInputWithClient = endsInputWithClient
        self.loop = loop
        self.log = log
        self.buffer = buffer
        stdout = OutputStream(.stdout, capacity: limits.ringCapacity)
        stderr = OutputStream(.stderr, capacity: limits.ringCapacity)
    }

    deinit { closeTerminal() }

    /// As a list shows it; that it is paused, or was started again, its owner knows.
    public var summary: SessionSummary {
        SessionSummary(
            id: id, kind: kind, state: state, pid: process?.processID ?? 0, hasTerminal: hasTerminal, stdinIsOpen: takesInput,
            clients: UInt16(clamping: attachments.count), startedAt: hasStarted ? Timestamp(nanoseconds: startedAt) : nil,
            stdout: SessionSummary.Kept(first: stdout.ring.start, end: stdout.ring.end),
            stderr: SessionSummary.Kept(first: stderr.ring.start, end: stderr.ring.end), args: args)
    }

    /// Bytes a second of each stream since the process was started, on average.
    public func throughput(now: Int64) -> (stdout: Int64, stderr: Int64) {
        let milliseconds = max(1, (now &- started.monotonic) / 1_000_000)
        func rate(_ end: UInt64, _ start: UInt64) -> Int64 {
            let (product, overflow) = Int64(clamping: end &- start).multipliedReportingOverflow(by: 1000)
            return overflow ? .max : product / milliseconds
        }
        return (rate(stdout.ring.end, started.stdout), rate(stderr.ring.end, started.stderr))
    }

    public var hasTerminal: Bool { process == nil ? wantsTerminal : terminal >= 0 }
    var terminal: Int32 { process?.terminal ?? -1 }

    // MARK: The process

    /// A process has been started for the session.
    public func begin(_ process: any StreamedProcess) {
        self.process = process
        state = .running
        result = nil
        ended = nil
        startedAt = Clock.realtime()
        lastOutput = Clock.monotonic()
        started = (lastOutput, stdout.ring.end, stderr.ring.end)
        if process.terminal >= 0 {
            terminalPeer = clinux_terminal_peer(process.terminal)
            terminalInput = clinux_fcntl_int(process.terminal, F_DUPFD_CLOEXEC, 0)
            stdout.open(process.terminal)
        } else {
            stdout.open(process.stdout)
            stderr.open(process.stderr)
        }
        hasStarted = true
        updateReading()
        if mayBeWritten { updateInput() } else { discardInput() }
        if inputEnd != nil { markInputEnd() }
        // An exec is answered now, also where the process never writes a byte.
        tellAll()
    }

    /// The process has ended. Its output is read on until it is complete, and then the owner is told.
    public func processEnded(_ end: ProcessEnd, _ usage: ResourceUsage, oomKilled: Bool) {
        guard state == .running else { return }
        state = .draining
        ended = Ended(end: end, usage: usage, oomKilled: oomKilled, monotonic: Clock.monotonic(), realtime: Clock.realtime())
        stdout.processEnded()
        stderr.processEnded()
        discardInput()
        // The next process, if there is one, has an input of its own, and what clients say from now on is for that.
        inputEnd = nil
        closeTerminal()
        updateReading()
    }

    /// The process could not be started, and the session is over with that.
    public func fail(_ failure: RequestFailure) {
        startFailure = failure
        finish()
    }

    /// The session is over and no process will follow: clients are told once they have all that is left.
    public func finish() {
        stdout.close(loop)
        stderr.close(loop)
        if inputEnd == nil { inputEnd = .sessionEnded }
        discardInput()
        closeTerminal()
        process = nil
        state = .ended
        owner = nil
        tellAll()
    }

    private func closeTerminal() {
        if terminalPeer >= 0 { _ = close(terminalPeer) }
        if terminalInput >= 0 { _ = close(terminalInput) }
        terminalPeer = -1
        terminalInput = -1
    }

    /// The output is complete.
    private func drained(_ drain: Drain, _ ended: Ended) {
        stdout.close(loop)
        stderr.close(loop)
        process = nil
        state = .waiting
        result = SessionResult(
            id: id, exitCode: UInt8(clamping: ended.end.exitCode), signal: UInt8(clamping: ended.end.signal ?? 0),
            coreDumped: ended.end.coreDumped, oomKilled: ended.oomKilled, userMicroseconds: ended.usage.userMicroseconds,
            systemMicroseconds: ended.usage.systemMicroseconds, maximumResidentKiB: ended.usage.maximumResidentKiB,
            stdout: stdout.digest.total, stderr: stderr.digest.total, drain: drain, startedAt: Timestamp(nanoseconds: startedAt),
            finishedAt: Timestamp(nanoseconds: ended.realtime))
        self.ended = nil
        owner?.sessionEnded(self)
    }

    /// Bytes of output that are kept.
    public var keptBytes: Int { Int(clamping: stdout.ring.end - stdout.ring.start) &+ Int(clamping: stderr.ring.end - stderr.ring.start) }

    // MARK: Clients

    /// Attaches a client, without credit for output yet.
    /// - Parameter inputKey: what its input is known by when it comes again; 0: nothing.
    public func attach(
        _ client: any SessionClient, tag: UInt32, stdout: StreamStart, stderr: StreamStart, takesInput: Bool, inputKey: UInt64 = 0
    ) -> Attachment {
        attachmentsMade &+= 1
        let key = takesInput ? inputKey : 0
        let taken = key == 0 ? nil : beginInput(key)
        let attachment = Attachment(
            key: attachmentsMade, session: self, client: client, tag: tag,
            positions: (position(stdout, self.stdout.ring), position(stderr, self.stderr.ring)), takesInput: takesInput, inputKey: key,
            inputTaken: taken, orphanedInput: orphanedInput)
        attachments.append(attachment)
        return attachment
    }

    private func position(_ start: StreamStart, _ ring: OutputRing) -> UInt64? {
        switch start {
        case .none: nil
        case .live: ring.end
        case .oldest: ring.start
        case .offset(let offset): min(max(offset, ring.start), ring.end)
        }
    }

    /// Lets go of a client; it is told unless its connection is gone.
    public func detach(_ attachment: Attachment, _ why: Attachment.End) {
        guard attachments.contains(where: { $0 === attachment }) else { return }
        remove(attachment, why)
        if attachment.takesInput && endsInputWithClient { endInput() }
    }

    /// Takes an attachment from the list; the input stays as it is.
    func remove(_ attachment: Attachment, _ why: Attachment.End) {
        attachments.removeAll { $0 === attachment }
        attachment.detached(why)
        // It may have been the one that held the process back.
        updateReading()
    }

    func tellAll() { for attachment in attachments { attachment.changed() } }

    // MARK: Events and deadlines

    public func ready(role: Int32, _ event: Epoll.Event) {
        switch Role(rawValue: role) {
        case .stdout: read(.stdout)
        case .stderr: read(.stderr)
        case .input: writeInput()
        case nil: break
        }
    }

    /// When ``checkDeadlines(_:)`` has something to do, on the monotonic clock; nil for never.
    public var nextDeadline: Int64? {
        var next = Int64.max
        if let ended {
            next = min(next, max(lastOutput, ended.monotonic) &+ limits.drainGrace &* 1_000_000)
            // The log's progress sends no event; while it is full it is looked at once a second.
            next = min(next, Clock.monotonic() &+ 1_000_000_000)
        }
        if let stalled = nextStall { next = min(next, stalled) }
        return next == .max ? nil : next
    }

    /// Ends what has waited long enough. Call it after every turn of the loop.
    public func checkDeadlines(_ now: Int64) {
        detachStalled(now)
        updateReading()
        if let ended, let drain = drainState(ended, now) { drained(drain, ended) }
    }

    /// How the draining ended, once it has.
    private func drainState(_ ended: Ended, _ now: Int64) -> Drain? {
        stdout.recheckOwed()
        stderr.recheckOwed()
        if !stdout.isOpen && !stderr.isOpen { return .eof }
        if let log, log.hasFailed || (log.isFull && now - log.lastProgress > limits.drainDeadline &* 1_000_000) { return .deadline }
        // What the process itself wrote is read whatever the time.
        if stdout.owed > 0 || stderr.owed > 0 { return nil }
        if now - max(lastOutput, ended.monotonic) >= limits.drainGrace &* 1_000_000 { return .grace }
        if now - ended.monotonic >= limits.drainDeadline &* 1_000_000 && !(log?.isFull ?? false) { return .deadline }
        return nil
    }
}
