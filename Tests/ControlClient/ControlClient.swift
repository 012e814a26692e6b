public import Control
public import Linux

/// A client of PID 1's control interface, for tests and host tools.
///
/// Its calls block until they are answered or their time is over; whatever else arrives meanwhile is kept for whom it is
/// meant. There is no thread behind it: nothing is read or sent between calls. Not to be used by two threads at once.
public final class ControlClient {
    /// What PID 1 said of itself.
    public private(set) var serverName = ""
    public private(set) var version: UInt16 = 0
    public private(set) var limits = ServerLimits(maximumData: 0, maximumSessions: 0, maximumClients: 0, stdinCredit: 0, ringBytes: 0)
    /// How long a call without a time of its own waits for its answer, in seconds.
    public var patience = 60.0

    private var transport: ControlTransport
    private var decoder = FrameDecoder()
    private var isGreeted = false
    /// Why the connection is over, once it is.
    private var ending: ControlClientError?
    private var lastTag: UInt32 = 0
    /// Answers that nobody has taken yet, by tag.
    private var answers: [UInt32: [ServerMessage]] = [:]
    private var sessions: [UInt32: RemoteSession] = [:]
    private var subscriptions: Set<UInt32> = []
    /// Events of the subscriptions, in their order.
    private var events: [ControlEvent] = []

    /// Speaks over a connected stream socket.
    public init(_ descriptor: consuming FileDescriptor, name: String = "control-client", patience: Double = 60) throws(ControlClientError) {
        transport = try ControlTransport(descriptor)
        self.patience = patience
        try greet(name, Deadline.after(seconds: patience))
    }

    /// Speaks over a VM's serial line, which is offered as a unix socket (QEMU's `-serial`), once the guest answers there.
    public init(
        serialSocket path: String, name: String = "control-client", timeout: Double, patience: Double = 60
    ) throws(ControlClientError) {
        let deadline = Deadline.after(seconds: timeout)
        transport = try ControlTransport(serialSocket: path, deadline: deadline)
        self.patience = patience
        try greet(name, deadline)
    }

    private func greet(_ name: String, _ deadline: Deadline) throws(ControlClientError) {
        transport.send(ClientMessage.hello(version: ControlProtocol.version, name: name).encoded)
        while !isGreeted { try step(deadline, "the server's hello") }
        if version == 0 || version > ControlProtocol.version { throw .violation("it answers in version \(version)") }
    }

    // MARK: Requests

    public func ping(timeout: Double? = nil) throws(ControlClientError) {
        let answer = try request(timeout, "a pong") { .ping(tag: $0) }
        guard case .pong = answer else { throw .violation("it answers a ping with \(answer)") }
    }

    /// All sessions.
    public func list(timeout: Double? = nil) throws(ControlClientError) -> [SessionSummary] {
        let tag = newTag()
        try send(.list(tag: tag))
        let deadline = deadline(timeout)
        var summaries: [SessionSummary] = []
        while true {
            switch try answer(tag, deadline, "the list of sessions") {
            case .session(_, let summary): summaries.append(summary)
            case .done: return summaries
            case let other: throw .violation("it answers a list with \(other)")
            }
        }
    }

    /// Follows a session.
    /// - Parameter grants: ``RemoteSession/grantsWindow`` from the first byte on.
    public func attach(
        _ attach: AttachRequest = AttachRequest(), grants: Bool = true, timeout: Double? = nil
    ) throws(ControlClientError) -> RemoteSession {
        let tag = newTag()
        let session = RemoteSession(
            client: self, tag: tag, windows: (attach.stdoutWindow, attach.stderrWindow),
            follows: (attach.stdout != .none, attach.stderr != .none), grants: grants)
        try begin(session, .attach(tag: tag, attach))
        try started(session, timeout: timeout)
        return session
    }

    /// Starts a process in the container.
    /// - Parameter grants: ``RemoteSession/grantsWindow`` from the first byte on.
    public func exec(_ exec: ExecRequest, grants: Bool = true, timeout: Double? = nil) throws(ControlClientError) -> RemoteSession {
        let session = try beginExec(exec, grants: grants)
        try started(session, timeout: timeout)
        return session
    }

    /// As ``exec(_:grants:timeout:)`` without waiting for the answer, so that many can be on their way.
    /// ``started(_:timeout:)`` waits.
    public func beginExec(_ exec: ExecRequest, grants: Bool = true) throws(ControlClientError) -> RemoteSession {
        let tag = newTag()
        let session = RemoteSession(
            client: self, tag: tag, windows: (exec.stdoutWindow, exec.stderrWindow), follows: (true, true), grants: grants)
        try begin(session, .exec(tag: tag, exec))
        return session
    }

    /// Waits until PID 1 has answered the request that made `session`.
    public func started(_ session: RemoteSession, timeout: Double? = nil) throws(ControlClientError) {
        let deadline = deadline(timeout)
        while session.attached == nil {
            if let failure = session.failures.first {
                sessions[session.tag] = nil
                throw .refused(failure)
            }
            try step(deadline, "the answer to exec or attach")
        }
    }

    /// How a session ended, once it has.
    public func wait(_ session: String, timeout: Double? = nil) throws(ControlClientError) -> SessionResult {
        let answer = try request(timeout, "the end of session \(session)") { .wait(tag: $0, session: session) }
        guard case .exited(_, let result) = answer else { throw .violation("it answers a wait with \(answer)") }
        return result
    }

    public func signal(_ session: String, _ number: UInt8, timeout: Double? = nil) throws(ControlClientError) {
        try done(timeout, "signal") { .signal(tag: $0, session: session, number: number) }
    }

    public func resize(_ session: String, rows: UInt16, columns: UInt16, timeout: Double? = nil) throws(ControlClientError) {
        try done(timeout, "resize") { .resize(tag: $0, session: session, rows: rows, columns: columns) }
    }

    public func forget(_ session: String, timeout: Double? = nil) throws(ControlClientError) {
        try done(timeout, "forget") { .forget(tag: $0, session: session) }
    }

    public func stop(signal: UInt8 = 0, timeoutMilliseconds: UInt32? = nil, timeout: Double? = nil) throws(ControlClientError) {
        try done(timeout, "stop") { .stop(tag: $0, signal: signal, timeoutMilliseconds: timeoutMilliseconds) }
    }

    public func pause(timeout: Double? = nil) throws(ControlClientError) { try done(timeout, "pause") { .pause(tag: $0) } }
    public func resume(timeout: Double? = nil) throws(ControlClientError) { try done(timeout, "resume") { .resume(tag: $0) } }
    /// Has a process started that waits for a client.
    /// - Parameter session: empty for the container's own.
    public func release(_ session: String = "", timeout: Double? = nil) throws(ControlClientError) {
        try done(timeout, "release") { .release(tag: $0, session: session) }
    }

    public func reload(timeout: Double? = nil) throws(ControlClientError) { try done(timeout, "reload") { .reload(tag: $0) } }

    /// The statistics, a JSON document.
    public func stats(timeout: Double? = nil) throws(ControlClientError) -> [UInt8] {
        let answer = try request(timeout, "the statistics") { .stats(tag: $0) }
        guard case .stats(_, let document) = answer else { throw .violation("it answers stats with \(answer)") }
        return document
    }

    /// Asks for events; ``nextEvent(timeout:where:)`` gives them.
    public func subscribe(timeout: Double? = nil) throws(ControlClientError) {
        let tag = newTag()
        subscriptions.insert(tag)
        try send(.subscribe(tag: tag))
        let answer = try answer(tag, deadline(timeout), "the answer to subscribe")
        guard case .done = answer else { throw .violation("it answers subscribe with \(answer)") }
    }

    /// The next event that `isWanted`; those before it are passed over.
    public func nextEvent(
        timeout: Double? = nil, where isWanted: (ControlEvent) -> Bool = { _ in true }
    ) throws(ControlClientError) -> ControlEvent {
        let deadline = deadline(timeout)
        while true {
            while !events.isEmpty {
                let event = events.removeFirst()
                if isWanted(event) { return event }
            }
            try step(deadline, "an event")
        }
    }

    // MARK: Beneath the requests

    /// Sends a request that is answered by one message.
    public func request(_ timeout: Double?, _ what: String, _ make: (UInt32) -> ClientMessage) throws(ControlClientError) -> ServerMessage {
        let tag = newTag()
        try send(make(tag))
        return try answer(tag, deadline(timeout), what)
    }

    private func done(_ timeout: Double?, _ what: String, _ make: (UInt32) -> ClientMessage) throws(ControlClientError) {
        let answer = try request(timeout, "the answer to \(what)", make)
        guard case .done = answer else { throw .violation("it answers \(what) with \(answer)") }
    }

    /// Sends bytes as they are: for tests of what is no message.
    public func sendRaw(_ bytes: [UInt8]) { transport.send(bytes) }

    /// The next answer to `tag`, where no request of this client is behind it.
    public func rawAnswer(_ tag: UInt32, timeout: Double? = nil) throws(ControlClientError) -> ServerMessage {
        try answer(tag, deadline(timeout), "an answer with tag \(tag)")
    }

    private func newTag() -> UInt32 {
        lastTag &+= 1
        return lastTag
    }

    func send(_ message: ClientMessage) throws(ControlClientError) {
        if let ending { throw ending }
        var bytes: [UInt8] = []
        guard message.encode(into: &bytes) else {
            throw .violation("a document of ours has more than \(ControlProtocol.maximumDocument) bytes")
        }
        transport.send(bytes)
    }

    private func begin(_ session: RemoteSession, _ message: ClientMessage) throws(ControlClientError) {
        try send(message)
        sessions[session.tag] = session
    }

    func deadline(_ timeout: Double?) -> Deadline { Deadline.after(seconds: timeout ?? patience) }

    private func answer(_ tag: UInt32, _ deadline: Deadline, _ what: String) throws(ControlClientError) -> ServerMessage {
        while true {
            if var waiting = answers[tag], !waiting.isEmpty {
                let message = waiting.removeFirst()
                answers[tag] = waiting.isEmpty ? nil : waiting
                if case .failed(_, let failure) = message { throw .refused(failure) }
                return message
            }
            try step(deadline, what)
        }
    }

    /// Sends and reads once, and deals out what came.
    func step(_ deadline: Deadline, _ what: String) throws(ControlClientError) {
        if let ending { throw ending }
        if deadline.hasPassed { throw .timedOut(what) }
        do throws(ControlClientError) {
            guard let bytes = try transport.exchange(deadline) else { throw .disconnected("the other end closed it") }
            try take(bytes)
        } catch {
            if case .timedOut = error { throw error }
            ending = error
            throw error
        }
    }

    private func take(_ bytes: [UInt8]) throws(ControlClientError) {
        var position = 0
        while position < bytes.count {
            position += bytes[position...].withUnsafeBytes { decoder.append($0) }
            do throws(ControlError) {
                while let frame = try decoder.next(ServerMessage.self) {
                    guard case .message(let message) = frame else { continue }
                    do throws(ControlClientError) { try deal(message) } catch { ending = error }
                    if ending != nil { break }
                }
            } catch { throw .violation(error.description) }
            if let ending { throw ending }
        }
    }

    private func deal(_ message: ServerMessage) throws(ControlClientError) {
        switch message {
        case .hello(let version, let name, let limits):
            (self.version, serverName, self.limits) = (version, name, limits)
            isGreeted = true
        case .closing(let cause): throw .disconnected(cause)
        case .event(let tag, let event) where subscriptions.contains(tag): events.append(event)
        default:
            guard let tag = message.tag else { return }
            guard let session = sessions[tag] else {
                answers[tag, default: []].append(message)
                return
            }
            try session.take(message)
            if session.isOver { sessions[tag] = nil }
        }
    }
}

extension Deadline {
    /// The deadline `seconds` from now.
    static func after(seconds: Double) -> Deadline { .after(milliseconds: Int64(max(0, min(seconds, 1e9)) * 1000)) }
}
