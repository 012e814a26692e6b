public import LineEndpoint
import Linux
public import SSH

/// Why a client could not do what was asked of it.
public enum AttachError: Error, Equatable, CustomStringConvertible {
    /// The line cannot be reached, or nobody answers on it.
    case endpoint(EndpointError)
    /// The SSH connection failed.
    case connection(SSHError)
    /// The guest's host key is not taken; why.
    case hostKey(String)
    /// The guest says why it did not do it; `code` as docs/control.md names it, `exitCode` 0 where there is none.
    case refused(operation: String, object: String, cause: String, code: String, exitCode: UInt8)
    /// The time was over; what was waited for.
    case timedOut(String)
    /// A signal came before there was a process to pass it on to.
    case interrupted(Int32)
    /// Something of this machine: a file, a terminal.
    case local(operation: String, object: String, cause: String)
    /// The guest said what it must not say.
    case violation(String)

    init(_ error: SyscallError) { self = .local(operation: error.operation, object: error.object, cause: error.errno.description) }

    public var description: String {
        switch self {
        case .endpoint(let error): error.description
        case .connection(let error): "SSH connection: \(error)"
        case .hostKey(let objection): objection
        case .refused(let operation, let object, let cause, _, _), .local(let operation, let object, let cause):
            object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)"
        case .timedOut(let what): "wait for \(what): it did not come in time"
        case .interrupted(let number): "interrupted by \(Signal(rawValue: number)?.name ?? "a signal")"
        case .violation(let what): "the guest broke the protocol: \(what)"
        }
    }

    /// Whether another connection may do better.
    /// - Parameter afterSuccess: one to this guest was good: what looks like a guest that does not fit is damage on the line.
    func mayBeTriedAgain(afterSuccess: Bool) -> Bool {
        switch self {
        case .endpoint, .timedOut, .violation: true
        case .connection(let error):
            switch error.reason {
            case .noMoreAuthenticationMethods, .illegalUserName, .byApplication: false
            case .hostNotAllowed, .hostKeyNotVerifiable, .versionNotSupported, .keyExchangeFailed: afterSuccess
            default: true
            }
        case .hostKey, .refused, .interrupted, .local: false
        }
    }
}

/// Runs something of the line's layer and passes on its error as this module's.
func line<Result: ~Copyable>(_ body: () throws(EndpointError) -> Result) throws(AttachError) -> Result {
    do throws(EndpointError) { return try body() } catch { throw .endpoint(error) }
}

/// Runs a system call of the Linux layer and passes on its error as this module's.
func system<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(AttachError) -> Result {
    do throws(SyscallError) { return try body() } catch { throw AttachError(error) }
}
