import Linux

/// Why something of the network could not be set up.
public struct NetworkError: OperationFailure, Equatable, Sendable {
    /// "add address", "dhcp".
    public let operation: String
    /// An interface, and what of it: "eth0", "192.0.2.7/24 to eth0".
    public let object: String
    public let cause: String
    /// The kernel's number, where it is the kernel that refused.
    public let errno: Errno?

    public init(_ operation: String, _ object: String, _ cause: String, errno: Errno? = nil) {
        self.operation = operation
        self.object = object
        self.cause = cause
        self.errno = errno
    }

    /// The kernel's text where it has one says more than the number.
    init(_ operation: String, _ object: String, _ errno: Errno, _ text: String = "") {
        self.init(operation, object, text.isEmpty ? errno.description : "\(text) (\(errno.description))", errno: errno)
    }

    init(_ error: SyscallError) { self.init(error.operation, error.object, error.errno) }
}
