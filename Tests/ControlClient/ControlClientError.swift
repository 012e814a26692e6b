public import Control
public import Linux

/// Why a client could not do what was asked of it.
public enum ControlClientError: Error, Equatable, CustomStringConvertible {
    /// PID 1 says why it did not do it.
    case refused(RequestFailure)
    /// The time was over; what was waited for.
    case timedOut(String)
    /// The connection is over; why, as far as that is known.
    case disconnected(String)
    /// PID 1 said what it must not say.
    case violation(String)
    case system(SyscallError)

    public var description: String {
        switch self {
        case .refused(let failure):
            let object = failure.object.isEmpty ? "" : " \(failure.object)"
            return "\(failure.operation)\(object): \(failure.cause)"
        case .timedOut(let what): return "wait for \(what): it did not come in time"
        case .disconnected(let why): return "control connection: \(why)"
        case .violation(let what): return "control connection: the server broke the protocol: \(what)"
        case .system(let error): return error.description
        }
    }
}

/// Runs a system call of the Linux layer and passes on its error as this module's.
func system<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(ControlClientError) -> Result {
    do throws(SyscallError) { return try body() } catch { throw .system(error) }
}
