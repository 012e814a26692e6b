/// Why talking to the host failed: what was done, to which key, and the cause.
public struct GuestInfoError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being done, by its RPCI name where it has one: "info-get", "info-set", "decode".
    public let operation: String
    /// The key, or the command of a plain request.
    public let object: String
    public let cause: Cause

    public enum Cause: Error, Equatable, Sendable {
        /// The exchange with the host itself failed.
        case channel(ChannelFailure)
        /// The host took the request and sent nothing back.
        case noReply
        /// The reply begins with neither "1 " nor "0 ".
        case malformedReply(length: Int)
        /// The host does not let the backdoor do this (`guest_rpc.rpci.auth.cmd.*`, or a key that is the host's own).
        case permissionDenied
        /// The host does not know the command.
        case unknownCommand
        /// The host said no, in these words.
        case refused(String)
        /// A key must be 1 to ``GuestInfoClient/maximumKey`` printable ASCII characters without a space.
        case invalidKey
        /// A value to be set is longer than the host would take.
        case valueTooLong(bytes: Int, limit: Int)
        /// The host would cut the value at its first NUL.
        case valueContainsNUL
        /// The encoding key names something else than plain, base64, b64, gzip+base64 or gz+b64.
        case unknownEncoding(String)
        case malformedBase64
        case malformedGzip
        /// The compressed data ends before its own end mark.
        case truncatedGzip
        /// Decompressed, the value is longer than the limit.
        case decodedTooLong(limit: Int)
    }

    public init(_ operation: String, _ object: String, _ cause: Cause) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    /// For example "info-get guestinfo.tether.config: permission denied by the host".
    public var description: String { "\(operation) \(object): \(cause.description)" }
}

extension GuestInfoError.Cause: CustomStringConvertible {
    public var description: String {
        switch self {
        case .channel(let failure): failure.description
        case .noReply: "the host sent no reply"
        case .malformedReply(let length): "malformed reply of \(length) bytes"
        case .permissionDenied: "permission denied by the host"
        case .unknownCommand: "the host does not know this command"
        case .refused(let message): "refused by the host: \(message)"
        case .invalidKey: "not a valid key"
        case .valueTooLong(let bytes, let limit): "value of \(bytes) bytes, the limit is \(limit)"
        case .valueContainsNUL: "the value contains a NUL byte, at which the host would cut it"
        case .unknownEncoding(let name): "unknown encoding '\(name)'"
        case .malformedBase64: "not valid base64"
        case .malformedGzip: "not valid gzip data"
        case .truncatedGzip: "the gzip data is cut short"
        case .decodedTooLong(let limit): "longer than \(limit) bytes when decompressed"
        }
    }
}

/// Why a message did not get through.
public enum ChannelFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The host opened no channel, with cookies or without.
    case notOpened
    /// The host answered a step without success.
    case stepFailed(MessageStep, status: UInt16)
    /// The host announced one step and answered another.
    case unexpectedAnswer(MessageStep)
    /// The host asked for a new start this many times.
    case checkpointed(tries: Int)
    case requestTooLong(bytes: Int, limit: Int)
    case replyTooLong(bytes: Int, limit: Int)

    /// Whether the whole exchange is worth another try on a new channel.
    var isTransient: Bool {
        switch self {
        case .notOpened, .stepFailed, .unexpectedAnswer, .checkpointed: true
        case .requestTooLong, .replyTooLong: false
        }
    }

    public var description: String {
        switch self {
        case .notOpened: "the host opened no channel"
        case .stepFailed(let step, let status): "the host failed step \(step.name) (status \(status))"
        case .unexpectedAnswer(let step): "the host did not answer step \(step.name) as announced"
        case .checkpointed(let tries): "the host asked \(tries) times to start the message again"
        case .requestTooLong(let bytes, let limit): "request of \(bytes) bytes, the limit is \(limit)"
        case .replyTooLong(let bytes, let limit): "reply of \(bytes) bytes, the limit is \(limit)"
        }
    }
}

extension MessageStep {
    /// The step's usual name.
    public var name: String {
        switch self {
        case .open: "OPEN"
        case .sendSize: "SENDSIZE"
        case .sendPayload: "SENDPAYLOAD"
        case .receiveSize: "RECVSIZE"
        case .receivePayload: "RECVPAYLOAD"
        case .receiveStatus: "RECVSTATUS"
        case .close: "CLOSE"
        }
    }
}
