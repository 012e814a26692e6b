import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// Serves the control interface: the requests of all clients, carried out by the parts of the runtime.
final class ControlServer: ControlService {
    private let runtime: Runtime
    private(set) var connections: [ControlConnection] = []
    /// The programs that carry the control protocol to the outside.
    private let relay: Helper?
    private let attach: AttachHelper?
    private var sessionsHaveChanged = false

    init(_ runtime: Runtime) {
        self.runtime = runtime
        let (loop, diagnostics) = (runtime.loop, runtime.diagnostics)
        relay = runtime.spec.tether.control.map { Helper("control relay", "/sbin/tether-relay", $0.device, loop, diagnostics) }
        attach = runtime.spec.tether.attach.map { AttachHelper($0, runtime) }
    }

    var limits: ServerLimits {
        let sessions = runtime.spec.tether.sessions
        return ServerLimits(
            maximumData: UInt32(ControlConnection.pieceSize), maximumSessions: UInt16(clamping: sessions.maxSessions),
            maximumClients: UInt16(clamping: sessions.maxClients), stdinCredit: UInt32(clamping: InputQueue.credit),
            ringBytes: UInt32(clamping: sessions.ringKiB &* 1024))
    }

    // MARK: Connections

    func connectionClosed(_ connection: ControlConnection, _ cause: String) {
        runtime.diagnostics.debug("control connection closed: \(cause)")
        connections.removeAll { $0 === connection }
        attach?.closed(connection)
    }

    func notify(_ event: ControlEvent) { for connection in connections { connection.notify(event) } }

    /// A session began or ended. Told once a turn, however many.
    func sessionsChanged() { sessionsHaveChanged = true }

    /// A child was reaped.
    /// - Returns: whether it was a helper.
    func reaped(_ child: Children.Ended) -> Bool { relay?.reaped(child) ?? false || attach?.helper.reaped(child) ?? false }

    var nextDeadline: Int64? {
        var next = (relay?.nextDeadline).earlier(attach?.helper.nextDeadline)
        for connection in connections { next = next.earlier(connection.nextDeadline) }
        return next
    }

    func turnEnded(_ now: Int64) {
        if let socket = relay?.startIfDue(now) { _ = connect(socket) }
        if let attach, let socket = attach.helper.startIfDue(now), let connection = connect(socket) { attach.started(connection) }
        if sessionsHaveChanged {
            sessionsHaveChanged = false
            notify(.sessionsChanged)
        }
        for connection in connections { connection.turnEnded() }
    }

    private func connect(_ socket: Int32) -> ControlConnection? {
        do throws(SyscallError) {
            let connection = try ControlConnection(FileDescriptor(owning: socket), loop: runtime.loop, service: self)
            connections.append(connection)
            return connection
        } catch {
            runtime.diagnostics.warning(error.description)
            return nil
        }
    }

    /// Lets the clients have what is theirs, then closes: the VM is about to go off.
    /// - Parameter whoeverFollows: also those that wait for the end of a session.
    func close(_ cause: String, whoeverFollows: Bool) {
        relay?.isWanted = false
        attach?.helper.isWanted = false
        let patience = runtime.spec.tether.sessions.slowClientSeconds &* 1000
        let now = Clock.monotonic()
        for connection in connections {
            if connection.isIdle || whoeverFollows { connection.end(cause) } else { connection.closeIfStuck(patience, now) }
        }
    }

    /// Whether nobody is left to whom something is still on its way.
    var isClosed: Bool { connections.isEmpty && relay?.isRunning != true && attach?.helper.isRunning != true }

    // MARK: Sessions

    var sessions: [Session] { [runtime.lifecycle.session] + runtime.execs.all.filter { $0.purpose == .client }.map { $0.session } }

    func session(_ name: String) -> Session? {
        if name.isEmpty || name == runtime.lifecycle.session.id { return runtime.lifecycle.session }
        return runtime.execs.all.first { $0.session.id == name && $0.purpose == .client }?.session
    }

    func summary(of session: Session) -> SessionSummary {
        var summary = session.summary
        if summary.state == .running && runtime.isPaused { summary.state = .paused }
        if session === runtime.lifecycle.session { summary.restarts = UInt32(clamping: runtime.lifecycle.restart.count) }
        return summary
    }

    func startExec(_ request: ExecRequest) -> Outcome<Session> { runtime.execs.start(request) }

    func forget(_ session: Session) -> RequestFailure? {
        if session === runtime.lifecycle.session {
            return RequestFailure(.invalid, operation: "forget", object: session.id, cause: "it is the container's own session")
        }
        if session.state != .ended { return RequestFailure(.busy, operation: "forget", object: session.id, cause: "it has not ended") }
        runtime.execs.forget(session)
        sessionsChanged()
        return nil
    }

    func signal(_ session: Session, _ signal: Signal) -> RequestFailure? {
        guard session.state == .running else { return notRunning("signal", session) }
        if session === runtime.lifecycle.session {
            runtime.lifecycle.container?.process.signal(signal)
        } else {
            runtime.execs.exec(of: session)?.signal(signal)
        }
        return nil
    }

    func resize(_ session: Session, rows: UInt16, columns: UInt16) -> RequestFailure? {
        if session === runtime.lifecycle.session, session.state == .waiting, session.hasTerminal {
            runtime.lifecycle.setConsoleSize(rows: rows, columns: columns)
            return nil
        }
        if let exec = runtime.execs.exec(of: session), session.state == .waiting, session.hasTerminal {
            exec.setConsoleSize(rows: rows, columns: columns)
            return nil
        }
        guard session.state == .running else { return notRunning("resize", session) }
        guard session.hasTerminal else {
            return RequestFailure(.noTerminal, operation: "resize", object: session.id, cause: "it has no terminal")
        }
        do throws(SyscallError) {
            if session === runtime.lifecycle.session {
                try runtime.lifecycle.container?.process.resize(rows: rows, columns: columns)
                // A process that is started again has the terminal that its clients have now.
                runtime.lifecycle.setConsoleSize(rows: rows, columns: columns)
            } else {
                try runtime.execs.exec(of: session)?.resize(rows: rows, columns: columns)
            }
            return nil
        } catch {
            return RequestFailure(.failed, operation: error.operation, object: error.object, cause: error.errno.description)
        }
    }

    private func notRunning(_ operation: String, _ session: Session) -> RequestFailure {
        RequestFailure(.notRunning, operation: operation, object: session.id, cause: "it has no process now")
    }

    // MARK: The container

    func stop(signal: Signal?, timeoutMilliseconds: UInt32?) -> RequestFailure? {
        runtime.lifecycle.stop("a control client", signal: signal, timeoutMilliseconds: timeoutMilliseconds.map { Int64($0) })
        return nil
    }

    func release(_ session: Session, modes: [UInt8]) -> RequestFailure? {
        let settings: TerminalSettings
        do throws(SpecError) { settings = try TerminalSettings.decode(modes) } catch {
            return RequestFailure(.invalid, operation: "start", object: session.id, cause: error.description)
        }
        guard session === runtime.lifecycle.session else {
            runtime.execs.exec(of: session)?.release(settings)
            return session.state == .ended ? notRunning("start", session) : nil
        }
        if runtime.lifecycle.release(settings) { return nil }
        return RequestFailure(.notRunning, operation: "start", object: runtime.spec.tether.id, cause: "the container has ended")
    }

    func announce(_ keys: [HostKey], from client: ControlConnection) -> RequestFailure? {
        if let attach { return attach.announce(keys, from: client) }
        return RequestFailure(.invalid, operation: "announce", object: "host keys", cause: "there is no attach server")
    }

    func reload() -> RequestFailure? {
        guard let failure = runtime.reload() else { return nil }
        return RequestFailure(.failed, operation: failure.operation, object: failure.object, cause: failure.cause)
    }

    func setPaused(_ paused: Bool, for client: ControlConnection, tag: UInt32) { runtime.freezer.set(paused, for: client, tag: tag) }

    func statistics() -> [UInt8] { Statistics.document(runtime) }
}
