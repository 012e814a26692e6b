import Linux

/// Why a capture could not be read or its content not written.
public struct ReplayError: Error, Sendable, Equatable, CustomStringConvertible {
    public let operation: String
    /// A path, or `standard input`, `standard output`, `standard error`.
    public let object: String
    public let cause: String

    public init(operation: String, object: String, cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    init(_ error: SyscallError) { self.init(operation: error.operation, object: error.object, cause: error.errno.description) }

    /// For example "cannot open session.log: No such file or directory".
    public var description: String { "cannot \(operation) \(object): \(cause)" }
}
