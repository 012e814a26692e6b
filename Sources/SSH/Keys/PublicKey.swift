import Base64Coding
import CHogweed

/// A public key: of a host, or of a user who may log in.
public struct PublicKey: Equatable, Sendable {
    enum Material: Equatable, Sendable {
        case ed25519([UInt8])
        /// As SEC 1 writes it, uncompressed; checked to be on the curve.
        case ecdsaP256([UInt8])
        case rsa(exponent: [UInt8], modulus: [UInt8])
    }

    /// The key's type: `ssh-ed25519`, `ecdsa-sha2-nistp256` or `ssh-rsa`.
    public let algorithm: String
    /// The key as it is sent (RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4).
    public let blob: [UInt8]
    let material: Material

    /// - Throws: for what is no key, for a type that is not supported, and for numbers that no such key has.
    public init(blob: [UInt8]) throws(SSHError) {
        var reader = WireReader(blob)
        let type = reader.text()
        switch type {
        case "ssh-ed25519":
            let point = reader.string()
            if point.count != 32 { reader.fail() }
            material = .ed25519(point)
        case "ecdsa-sha2-nistp256":
            if reader.text() != "nistp256" { reader.fail() }
            let point = reader.string()
            if !reader.hasFailed, P256Point(point) == nil {
                throw Self.error(type, "the point is not on the curve")
            }
            material = .ecdsaP256(point)
        case "ssh-rsa":
            let exponent = reader.mpint(maximum: 8)
            let modulus = reader.mpint(maximum: RSA.modulusBits.upperBound / 8)
            let isUsable = (exponent.last ?? 0) & 1 == 1 && exponent != [1] && (modulus.last ?? 0) & 1 == 1
            if !reader.hasFailed, !isUsable || !RSA.modulusBits.contains(Self.bits(modulus)) {
                throw Self.error(type, "the modulus or the exponent is none that can be used")
            }
            material = .rsa(exponent: exponent, modulus: modulus)
        default:
            throw Self.error(reader.hasFailed ? "" : Self.shown(type), "keys of this type are not supported")
        }
        guard reader.isComplete else { throw Self.error(type, "the key is cut off, or something follows it") }
        algorithm = type
        self.blob = blob
    }

    /// - Parameter line: as in OpenSSH's `.pub` files: type, key in base64, and a comment, which is left out. A line of an
    ///   `authorized_keys` file that begins with options is refused, since nothing here would obey them.
    public init(line: String) throws(SSHError) {
        let fields = line.utf8.split { $0 == 0x20 || (9...13).contains($0) }
        guard fields.count >= 2, line.utf8.count <= 32 << 10, Self.isOneLine(line) else {
            throw Self.error("", "one line with a type and a key in base64 is expected")
        }
        let type = String(decoding: fields[0], as: UTF8.self)
        guard ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"].contains(type) else {
            throw Self.error(Self.shown(type), "no type of key that is supported (options are not, either)")
        }
        guard let blob = Base64.decode(fields[1]) else { throw Self.error(type, "the key is not base64") }
        try self.init(blob: blob)
        guard algorithm == type else { throw Self.error(type, "the key is of the type \(algorithm)") }
    }

    /// Whether a line end is nowhere but at the end: what follows one would be taken for a comment, and a second key be left out unseen.
    static func isOneLine(_ text: String) -> Bool {
        func isEnd(_ byte: UInt8) -> Bool { byte == 0x0a || byte == 0x0d }
        return text.utf8.drop { !isEnd($0) }.allSatisfy(isEnd)
    }

    public static func == (a: PublicKey, b: PublicKey) -> Bool { a.blob == b.blob }

    /// The key as OpenSSH's files have it, without a comment.
    public var line: String { "\(algorithm) \(Base64.encode(blob))" }

    /// As OpenSSH shows it: `SHA256:` and the digest of the blob in base64 without padding.
    public var fingerprint: String { "SHA256:\(Base64.encode(Hashes.sha256(blob), padding: false))" }

    /// The length of the key's modulus or curve.
    public var bits: Int {
        if case .rsa(_, let modulus) = material { return Self.bits(modulus) }
        return 256
    }

    /// An RSA key of less than 2048 bits, which is not to be believed.
    public var isWeak: Bool { algorithm == "ssh-rsa" && bits < RSA.minimumStrongBits }

    /// The algorithms by which this key signs, best first, as far as its size allows.
    public var signatureAlgorithms: [String] {
        guard case .rsa(_, let modulus) = material else { return [algorithm] }
        return RSAHash.allCases.filter { $0.minimumModulusBytes <= modulus.count }.map { $0.algorithm }
    }

    /// - Parameters:
    ///   - signature: as it is sent (RFC 4253, 6.6).
    ///   - algorithm: the one that was negotiated or announced; the signature must be of no other.
    ///   - allowsWeak: also believes RSA keys of less than 2048 bits, and SHA-1.
    public func verify(signature: [UInt8], algorithm: String, data: [UInt8], allowsWeak: Bool = false) -> Bool {
        var reader = WireReader(signature)
        guard reader.text() == algorithm else { return false }
        let value = reader.string()
        guard reader.isComplete, signatureAlgorithms.contains(algorithm) else { return false }
        switch material {
        case .ed25519(let point):
            return value.count == 64 && nettle_ed25519_sha512_verify(point, data.count, data, value) == 1
        case .ecdsaP256(let point):
            var numbers = WireReader(value)
            let (r, s) = (numbers.mpint(maximum: 32), numbers.mpint(maximum: 32))
            guard numbers.isComplete, let point = P256Point(point) else { return false }
            return point.verify(digest: Hashes.sha256(data), r: r, s: s)
        case .rsa(let exponent, let modulus):
            guard let hash = RSAHash(algorithm: algorithm), allowsWeak || (!isWeak && hash != .sha1) else { return false }
            return RSA.verify(data, signature: value, hash: hash, exponent: exponent, modulus: modulus)
        }
    }

    private static func bits(_ number: [UInt8]) -> Int { number.isEmpty ? 0 : number.count * 8 - number[0].leadingZeroBitCount }

    private static func shown(_ type: String) -> String { printable(Array(type.utf8), limit: ConnectionLimits.maximumName) }

    private static func error(_ type: String, _ cause: String) -> SSHError {
        SSHError(.hostKeyNotVerifiable, "read public key", type, cause)
    }
}
