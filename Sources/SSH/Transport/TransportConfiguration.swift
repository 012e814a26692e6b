/// What a ``Transport`` is told at its start.
public struct TransportConfiguration: Sendable {
    public enum Role: Sendable { case server, client }

    public var role: Role
    /// The software version of the identification string (RFC 4253, 4.2): printable ASCII without blanks and minus signs.
    public var software: String
    public var algorithms = AlgorithmPreferences()
    /// The server's keys; of several that fit an algorithm, the first is used.
    public var hostKeys: [PrivateKey] = []
    /// A client takes RSA keys of less than 2048 bits and signatures with SHA-1 from the server.
    public var allowsWeakHostKeys = false
    /// The keys are replaced when so many bytes have been sent or received with them (RFC 4253, 9).
    public var rekeyBytes: UInt64 = 1 << 30
    /// The keys are replaced when they are so old, unless nothing at all was sent or received with them.
    public var rekeyMilliseconds: Int64 = 3_600_000
    /// Each key exchange must be complete within this time: nothing else is sent until then.
    public var handshakeMilliseconds: Int64 = 120_000
    public var compressionEnabled = false

    public init(role: Role, software: String = "tether") {
        self.role = role
        self.software = software
    }
}
