import Control
import Linux

/// What PID 1 does for the clients of its control interface.
///
/// Every function answers at once, and what takes time is answered later through the connection it came from.
public protocol ControlService: AnyObject {
    var limits: ServerLimits { get }
    /// All sessions that are known, the primary one first.
    var sessions: [Session] { get }
    func summary(of session: Session) -> SessionSummary
    /// The session of this name, or the primary one for no name.
    func session(_ name: String) -> Session?
    /// Makes a session for a new process in the container. The connection attaches to it, and so learns how it goes on.
    func startExec(_ request: ExecRequest) -> Outcome<Session>
    func signal(_ session: Session, _ signal: Signal) -> RequestFailure?
    func resize(_ session: Session, rows: UInt16, columns: UInt16) -> RequestFailure?
    func forget(_ session: Session) -> RequestFailure?
    /// - Parameters: nil stands for what is configured.
    func stop(signal: Signal?, timeoutMilliseconds: UInt32?) -> RequestFailure?
    func reload() -> RequestFailure?
    /// Freezes the container or thaws it; `client` gets `done` or `failed` when that has happened.
    func setPaused(_ paused: Bool, for client: ControlConnection, tag: UInt32)
    /// Starts the session's process where that waits for a client.
    /// - Parameter modes: of the terminal of the client that has it started: a JSON array, or nothing.
    func release(_ session: Session, modes: [UInt8]) -> RequestFailure?
    /// Publishes the host keys of the attach server, if `client` is that.
    func announce(_ keys: [HostKey], from client: ControlConnection) -> RequestFailure?
    /// A JSON document.
    func statistics() -> [UInt8]
    /// The connection is closed; it is to be forgotten.
    func connectionClosed(_ connection: ControlConnection, _ cause: String)
}

/// A result, or why there is none.
public enum Outcome<Success> {
    case success(Success)
    case failure(RequestFailure)
}
