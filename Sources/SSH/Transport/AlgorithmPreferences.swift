/// Which algorithms a transport offers, the most wanted first. Names that are not supported are left out of an offer.
///
/// Post-quantum exchanges (`mlkem768x25519-sha256`, `sntrup761x25519-sha512`) are not among them: no library of Debian 12 has
/// ML-KEM or Streamlined NTRU Prime, and cryptography of one's own is worse than none.
public struct AlgorithmPreferences: Equatable, Sendable {
    public var keyExchange = Self.supportedKeyExchange
    /// Signature algorithms of host keys. A server offers those for which it has a key.
    public var hostKey = Self.supportedHostKey
    public var ciphers = Self.supportedCiphers
    /// Not asked for with the ciphers that authenticate themselves.
    public var macs = Self.supportedMACs
    /// Offered only where `TransportConfiguration.compressionEnabled` says so; `none` otherwise.
    public var compression = Self.supportedCompression

    public init() {}

    /// RFC 8731 and RFC 5656. The first is the registered name, the second the one that is older than the RFC.
    public static let supportedKeyExchange = ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]
    /// RFC 8709, RFC 5656, RFC 8332, and RFC 4253's RSA with SHA-1, which clients of 2016 have alone.
    public static let supportedHostKey = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]
    /// OpenSSH's PROTOCOL and PROTOCOL.chacha20poly1305, RFC 4344.
    public static let supportedCiphers = [
        "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr",
    ]
    /// RFC 6668; of what is encrypted (`etm`, OpenSSH's PROTOCOL) or of the plain text.
    public static let supportedMACs = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"]
    /// From the authentication on (OpenSSH), or not: nobody who has not logged in has this side decompress anything, as they could with
    /// the `zlib` of RFC 4253, 6.2.
    public static let supportedCompression = ["zlib@openssh.com", "none"]
}

/// What a key exchange agreed on (RFC 4253, 7.1), for logs and tests.
public struct NegotiatedAlgorithms: Equatable, Sendable {
    public var keyExchange = ""
    public var hostKey = ""
    public var clientToServer = Direction()
    public var serverToClient = Direction()

    public struct Direction: Equatable, Sendable {
        public var cipher = "none"
        /// Empty where the cipher authenticates.
        public var mac = ""
        public var compression = "none"
    }
}
