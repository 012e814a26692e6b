public import SSH

/// Why an agent was of no use.
public struct AgentError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried: "ask".
    public let operation: String
    /// On what: the agent's socket.
    public let object: String
    /// Why it failed: the end of a sentence.
    public let cause: String

    init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    public var description: String { "\(operation) \(object): \(cause)" }
}

/// What an SSH agent is asked (draft-ietf-sshm-ssh-agent, 3).
public enum AgentRequest: Equatable, Sendable {
    /// Its keys (3.5).
    case identities
    /// A signature by one of them (3.6).
    case signature(SignatureRequest)

    /// As it is sent: the length, then the message.
    public var frame: [UInt8] {
        var message: WireWriter
        switch self {
        case .identities: message = WireWriter(message: 11)
        case .signature(let request):
            message = WireWriter(message: 13)
            message.string(request.key.blob)
            message.string(request.data)
            message.uint32(Self.flags(request.algorithm))
        }
        var frame = WireWriter()
        frame.string(message.bytes)
        return frame.bytes
    }

    /// By which hash an RSA key is to sign: without a flag it is SHA-1.
    private static func flags(_ algorithm: String) -> UInt32 {
        switch algorithm {
        case "rsa-sha2-256": 2
        case "rsa-sha2-512": 4
        default: 0
        }
    }
}

/// What an agent answers.
public enum AgentAnswer: Equatable, Sendable {
    /// It does not do it, and never says why.
    case failure
    /// Its keys, those left out that are of no type that is supported, such as certificates.
    case identities([PublicKey])
    /// As it is sent (RFC 4253, 6.6); that it fits the request is for others to see.
    case signature([UInt8])

    /// Reads a message.
    /// - Throws: for one of another form, or of none of these numbers.
    public init(_ message: [UInt8]) throws(AgentError) {
        var reader = WireReader(message, from: 1)
        switch message.first {
        case 5: self = .failure
        case 12:
            var left = reader.uint32()
            var keys: [PublicKey] = []
            // A count that lies ends with the message.
            while left > 0, !reader.hasFailed {
                left -= 1
                let blob = reader.string()
                _ = reader.string()
                if !reader.hasFailed, let key = try? PublicKey(blob: blob), !keys.contains(key) { keys.append(key) }
            }
            self = .identities(keys)
        case 14: self = .signature(reader.string())
        default: throw AgentError("read", "the agent's answer", "message \(message.first.map { "\($0)" } ?? "without a number") is none")
        }
        guard self == .failure || reader.isComplete else {
            throw AgentError("read", "the agent's answer", "its fields are not those of message \(message[0])")
        }
    }
}

/// Puts together the one message that an agent answers with.
public struct AgentFrame: Sendable {
    /// The longest message that is read, in bytes: as OpenSSH has it.
    public static let limit = 256 * 1024

    private var bytes: [UInt8] = []

    public init() {}

    /// Takes what was read.
    /// - Returns: the message, once it is whole.
    /// - Throws: for a message that is too long, and for bytes behind it, which nobody asked for.
    public mutating func receive(_ more: some Collection<UInt8>) throws(AgentError) -> [UInt8]? {
        bytes.append(contentsOf: more)
        guard bytes.count >= 4 else { return nil }
        let length = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length <= Self.limit else {
            throw AgentError("read", "the agent's answer", "it has \(length) bytes, and \(Self.limit) are the most")
        }
        guard bytes.count <= 4 + length else { throw AgentError("read", "the agent's answer", "something follows it") }
        return bytes.count == 4 + length ? Array(bytes[4...]) : nil
    }
}
