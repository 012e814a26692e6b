import CHogweed

/// The hash of an RSA signature (RFC 8332; RFC 4253 for SHA-1), by the name of the signature algorithm.
enum RSAHash: CaseIterable {
    case sha512, sha256, sha1

    init?(algorithm: String) {
        switch algorithm {
        case "rsa-sha2-512": self = .sha512
        case "rsa-sha2-256": self = .sha256
        case "ssh-rsa": self = .sha1
        default: return nil
        }
    }

    var algorithm: String {
        switch self {
        case .sha512: "rsa-sha2-512"
        case .sha256: "rsa-sha2-256"
        case .sha1: "ssh-rsa"
        }
    }

    /// The length of a modulus that has room for the signature: the digest, the name of the hash (19 bytes, 15 for SHA-1), and 11
    /// bytes of padding (RFC 8017, 9.2).
    var minimumModulusBytes: Int {
        switch self {
        case .sha512: 64 + 19 + 11
        case .sha256: 32 + 19 + 11
        case .sha1: 20 + 15 + 11
        }
    }
}

enum RSA {
    /// A modulus of VIC's has 512 bits; beyond the upper bound, a signature is not worth the time that it takes.
    static let modulusBits = 512...16_384
    /// What is believed of others.
    static let minimumStrongBits = 2048

    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2).
    static func verify(_ data: [UInt8], signature: [UInt8], hash: RSAHash, exponent: [UInt8], modulus: [UInt8]) -> Bool {
        let number = BigNumber(signature)
        let (n, e) = (BigNumber(modulus), BigNumber(exponent))
        // The numbers of C are borrowed: the compiler does not see that they are still in use.
        defer { withExtendedLifetime((n, e)) {} }
        var key = rsa_public_key(size: 0, n: n.pointer.pointee, e: e.pointer.pointee)
        guard nettle_rsa_public_key_prepare(&key) == 1, signature.count <= key.size else { return false }
        switch hash {
        case .sha512: return nettle_rsa_sha512_verify_digest(&key, Hashes.sha512(data), number.pointer) == 1
        case .sha256: return nettle_rsa_sha256_verify_digest(&key, Hashes.sha256(data), number.pointer) == 1
        case .sha1: return nettle_rsa_sha1_verify_digest(&key, Hashes.sha1(data), number.pointer) == 1
        }
    }
}

/// The secret half of an RSA key, in the form of the Chinese remainder theorem (RFC 8017, 3.2).
struct RSASecret: Sendable {
    let p: SecretBytes
    let q: SecretBytes
    /// The private exponent modulo p − 1 and q − 1.
    let exponentP: SecretBytes
    let exponentQ: SecretBytes
    /// The inverse of q modulo p.
    let coefficient: SecretBytes

    /// - Returns: nil where the numbers do not belong together: a signature with them would fail, or give away the key.
    init?(
        modulus n: BigNumber, exponent e: BigNumber, p: BigNumber, q: BigNumber,
        exponentP: BigNumber, exponentQ: BigNumber, coefficient: BigNumber
    ) {
        let one = BigNumber(1)
        guard RSA.modulusBits.contains(n.bitCount), p.isOdd, q.isOdd, p.isAboveOne, q.isAboveOne, e.isOdd, e.isAboveOne,
            p.times(q) == n, exponentP < p, exponentQ < q, coefficient < p,
            exponentP.times(e).modulo(p.minusOne) == one, exponentQ.times(e).modulo(q.minusOne) == one,
            coefficient.times(q).modulo(p) == one
        else { return nil }
        self.p = p.secret
        self.q = q.secret
        self.exponentP = exponentP.secret
        self.exponentQ = exponentQ.secret
        self.coefficient = coefficient.secret
    }

    /// The private exponent itself, which OpenSSH's files have.
    func exponent(publicExponent e: [UInt8]) -> [UInt8] {
        let (p, q) = (BigNumber(p), BigNumber(q))
        return BigNumber(e).inverse(modulo: p.minusOne.times(q.minusOne))?.bytes ?? []
    }

    /// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.1), with blinding, and checked before it is given away.
    ///
    /// - Returns: nil where the key is too short for the hash.
    func sign(_ data: [UInt8], hash: RSAHash, exponent: [UInt8], modulus: [UInt8], random: RandomSource) -> [UInt8]? {
        let (n, e, d) = (BigNumber(modulus), BigNumber(exponent), BigNumber())
        let (p, q) = (BigNumber(p), BigNumber(q))
        let (a, b, c) = (BigNumber(exponentP), BigNumber(exponentQ), BigNumber(coefficient))
        defer { withExtendedLifetime((n, e, d, p, q)) { withExtendedLifetime((a, b, c)) {} } }
        var publicKey = rsa_public_key(size: 0, n: n.pointer.pointee, e: e.pointer.pointee)
        var key = rsa_private_key(
            size: 0, d: d.pointer.pointee, p: p.pointer.pointee, q: q.pointer.pointee, a: a.pointer.pointee, b: b.pointer.pointee,
            c: c.pointer.pointee)
        guard nettle_rsa_public_key_prepare(&publicKey) == 1, nettle_rsa_private_key_prepare(&key) == 1,
            hash.minimumModulusBytes <= publicKey.size
        else { return nil }
        let signature = BigNumber()
        let isSigned = random.withFunction { context, function in
            switch hash {
            case .sha512:
                nettle_rsa_sha512_sign_digest_tr(&publicKey, &key, context, function, Hashes.sha512(data), signature.pointer)
            case .sha256:
                nettle_rsa_sha256_sign_digest_tr(&publicKey, &key, context, function, Hashes.sha256(data), signature.pointer)
            case .sha1:
                nettle_rsa_sha1_sign_digest_tr(&publicKey, &key, context, function, Hashes.sha1(data), signature.pointer)
            }
        }
        return isSigned == 1 ? signature.bytes(count: publicKey.size) : nil
    }
}
