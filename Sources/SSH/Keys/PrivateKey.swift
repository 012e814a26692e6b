import CHogweed

/// A private key, whose secret half is overwritten when its last copy goes.
public struct PrivateKey: Sendable {
    enum Secret: Sendable {
        case ed25519(seed: SecretBytes)
        case ecdsaP256(scalar: SecretBytes)
        case rsa(RSASecret)
    }

    public let publicKey: PublicKey
    let secret: Secret

    /// - Parameter ed25519Seed: 32 random bytes (RFC 8032, 5.1.5).
    public init(ed25519Seed: [UInt8]) throws(SSHError) {
        guard ed25519Seed.count == 32 else { throw Self.error("ssh-ed25519", "the seed has \(ed25519Seed.count) bytes, not 32") }
        var point = [UInt8](repeating: 0, count: 32)
        nettle_ed25519_sha512_public_key(&point, ed25519Seed)
        var blob = WireWriter()
        blob.text("ssh-ed25519")
        blob.string(point)
        publicKey = try PublicKey(blob: blob.bytes)
        secret = .ed25519(seed: SecretBytes(ed25519Seed))
    }

    /// - Parameter ecdsaP256Scalar: the private number, most significant byte first.
    /// - Throws: for 0, and for the order of the curve or more.
    public init(ecdsaP256Scalar: [UInt8]) throws(SSHError) {
        guard ecdsaP256Scalar.count <= 33, let scalar = P256Scalar(ecdsaP256Scalar) else {
            throw Self.error("ecdsa-sha2-nistp256", "the private number is not below the order of the curve")
        }
        var blob = WireWriter()
        blob.text("ecdsa-sha2-nistp256")
        blob.text("nistp256")
        blob.string(P256Point(publicHalfOf: scalar).bytes)
        publicKey = try PublicKey(blob: blob.bytes)
        var bytes = scalar.bytes
        secret = .ecdsaP256(scalar: SecretBytes(bytes))
        bytes.wipe()
    }

    init(
        rsaModulus n: BigNumber, exponent e: BigNumber, p: BigNumber, q: BigNumber,
        exponentP: BigNumber, exponentQ: BigNumber, coefficient: BigNumber
    ) throws(SSHError) {
        var blob = WireWriter()
        blob.text("ssh-rsa")
        blob.mpint(e.bytes)
        blob.mpint(n.bytes)
        publicKey = try PublicKey(blob: blob.bytes)
        guard
            let secret = RSASecret(
                modulus: n, exponent: e, p: p, q: q, exponentP: exponentP, exponentQ: exponentQ, coefficient: coefficient)
        else { throw Self.error("ssh-rsa", "its numbers do not belong together") }
        self.secret = .rsa(secret)
    }

    /// The algorithms by which this key signs, best first: of RSA those for which it is long enough.
    public var signatureAlgorithms: [String] { publicKey.signatureAlgorithms }

    /// - Parameters:
    ///   - algorithm: one of ``signatureAlgorithms``.
    ///   - random: for ECDSA's number and RSA's blinding; Ed25519 needs none.
    /// - Returns: the signature as it is sent (RFC 4253, 6.6).
    public func sign(_ data: [UInt8], algorithm: String, random: RandomSource) throws(SSHError) -> [UInt8] {
        guard signatureAlgorithms.contains(algorithm) else {
            throw SSHError(.keyExchangeFailed, "sign with", publicKey.algorithm, "the key does not sign by \(algorithm)")
        }
        var result = WireWriter()
        result.text(algorithm)
        switch secret {
        case .ed25519(let seed):
            guard case .ed25519(let point) = publicKey.material else { break }
            var signature = [UInt8](repeating: 0, count: 64)
            seed.withBytes { nettle_ed25519_sha512_sign(point, $0.baseAddress, data.count, data, &signature) }
            result.string(signature)
        case .ecdsaP256(let scalar):
            var bytes = scalar.copy
            defer { bytes.wipe() }
            guard let scalar = P256Scalar(bytes) else { break }
            let (r, s) = scalar.sign(digest: Hashes.sha256(data), random: random)
            var numbers = WireWriter()
            numbers.mpint(r)
            numbers.mpint(s)
            result.string(numbers.bytes)
        case .rsa(let rsa):
            guard case .rsa(let exponent, let modulus) = publicKey.material, let hash = RSAHash(algorithm: algorithm) else { break }
            guard let signature = rsa.sign(data, hash: hash, exponent: exponent, modulus: modulus, random: random) else {
                throw SSHError(.keyExchangeFailed, "sign with", publicKey.algorithm, "the signature does not verify")
            }
            result.string(signature)
        }
        return result.bytes
    }

    static func error(_ type: String, _ cause: String) -> SSHError { SSHError(.keyExchangeFailed, "read private key", type, cause) }
}
