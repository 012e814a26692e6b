/// Why an SSH connection cannot go on, or why a key cannot be used.
public struct SSHError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The code that SSH_MSG_DISCONNECT carries (RFC 4253, 11.1).
    public enum Reason: UInt32, Equatable, Sendable {
        case hostNotAllowed = 1, protocolError, keyExchangeFailed, reserved, macError, compressionError, serviceNotAvailable
        case versionNotSupported, hostKeyNotVerifiable, connectionLost, byApplication, tooManyConnections, cancelledByUser
        case noMoreAuthenticationMethods, illegalUserName
    }

    public let reason: Reason
    /// What was being done: "read packet", "verify signature".
    public let operation: String
    /// What it was done to: "SSH_MSG_KEXINIT", "channel 3"; may be empty.
    public let object: String
    /// Why it failed, in one sentence.
    public let cause: String

    public init(_ reason: Reason, _ operation: String, _ object: String, _ cause: String) {
        self.reason = reason
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    public var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}
