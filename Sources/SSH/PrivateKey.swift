public struct PrivateKey: Sendable {
    public let publicKey: PublicKey
    public init(ed25519Seed: [UInt8]) throws(SSHError) { publicKey = try PublicKey(blob: []) }
    public init(ecdsaP256Scalar: [UInt8]) throws(SSHError) { publicKey = try PublicKey(blob: []) }
    public init(text: String) throws(SSHError) { publicKey = try PublicKey(blob: []) }
    public var signatureAlgorithms: [String] { [] }
    public func sign(_ data: [UInt8], algorithm: String, random: RandomSource) throws(SSHError) -> [UInt8] { [] }
    public func openSSHText(comment: String, random: RandomSource) -> String { "" }
}
