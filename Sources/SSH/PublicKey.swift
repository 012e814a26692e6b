/// A public key
public struct PublicKey: Equatable, Sendable {
    /// The key type: `ssh-ed25519`, `ecdsa-sha2-nistp256` or `ssh-rsa`.
    public let algorithm: String
    /// The key as it is sent.
    public let blob: [UInt8]
    public init(blob: [UInt8]) throws(SSHError) {
        algorithm = ""
        self.blob = blob
    }
    public init(line: String) throws(SSHError) { try self.init(blob: []) }
    public var line: String { "" }
    public var fingerprint: String { "" }
    public func verify(signature: [UInt8], algorithm: String, data: [UInt8], allowsWeak: Bool = false) -> Bool { false }
}
