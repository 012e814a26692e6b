/// A key that a client logs in with.
public enum ClientKey: Sendable {
    case held(PrivateKey)
    /// The private half is elsewhere, in an agent for instance. The server is asked first whether the key would do, since a signature
    /// may cost a person's confirmation; then one is asked for by ``ClientEvent/signatureWanted(_:)``.
    case elsewhere(PublicKey)

    public var publicKey: PublicKey {
        switch self {
        case .held(let key): key.publicKey
        case .elsewhere(let key): key
        }
    }
}

/// A signature that someone else is to make.
public struct SignatureRequest: Equatable, Sendable {
    public let key: PublicKey
    /// How it is to be made: `rsa-sha2-512`, for instance.
    public let algorithm: String
    /// What it is made over (RFC 4252, 7).
    public let data: [UInt8]

    public init(key: PublicKey, algorithm: String, data: [UInt8]) {
        self.key = key
        self.algorithm = algorithm
        self.data = data
    }
}
