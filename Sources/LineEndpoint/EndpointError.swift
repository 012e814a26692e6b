import Linux

/// Why a line cannot be reached or used.
public struct EndpointError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried: "connect to".
    public let operation: String
    /// On what: a path, an address.
    public let object: String
    public let cause: String

    public init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    init(_ error: SyscallError) { self.init(error.operation, error.object, error.errno.description) }

    public var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}

/// Runs a system call of the Linux layer and passes on its error as this module's.
func system<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(EndpointError) -> Result {
    do throws(SyscallError) { return try body() } catch { throw EndpointError(error) }
}
