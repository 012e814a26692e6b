import CHogweed
import CNettle

/// One side's ephemeral key of a key exchange: curve25519 (RFC 8731) or ECDH over P-256 (RFC 5656).
final class EphemeralKey {
    private enum Secret {
        case curve25519(SecretBytes)
        case p256(P256Scalar)
    }

    private let secret: Secret
    /// What the peer is sent.
    let publicHalf: [UInt8]

    /// - Parameter method: one of those that are supported.
    init(method: String, random: RandomSource) {
        if method == "ecdh-sha2-nistp256" {
            let scalar = P256Scalar(random: random)
            publicHalf = P256Point(publicHalfOf: scalar).bytes
            self.secret = .p256(scalar)
            return
        }
        var scalar = random.secret(32)
        defer { scalar.wipe() }
        var point = [UInt8](repeating: 0, count: 32)
        nettle_curve25519_mul_g(&point, scalar)
        publicHalf = point
        self.secret = .curve25519(SecretBytes(scalar))
    }

    /// - Returns: the number that both sides come to, in 32 bytes, to be overwritten after its use.
    /// - Throws: for what is no point of the curve, and where the peer chose one of those that make the number known to all.
    func sharedSecret(with peer: [UInt8]) throws(SSHError) -> [UInt8] {
        switch secret {
        case .curve25519(let secret):
            guard peer.count == 32 else { throw Self.error("the peer's key has \(peer.count) bytes, not 32") }
            var result = [UInt8](repeating: 0, count: 32)
            secret.withBytes { nettle_curve25519_mul(&result, $0.baseAddress, peer) }
            guard result.reduce(0, { $0 | $1 }) != 0 else { throw Self.error("the peer's key is of low order") }
            return result
        case .p256(let scalar):
            guard let point = P256Point(peer) else { throw Self.error("the peer's key is no point of the curve") }
            return point.multiplied(by: scalar)
        }
    }

    private static func error(_ cause: String) -> SSHError { SSHError(.keyExchangeFailed, "exchange keys", "", cause) }
}

/// What is hashed to become the exchange hash (RFC 5656, 4; RFC 8731, 3). All methods here hash with SHA-256.
struct ExchangeTranscript {
    var clientIdentification: [UInt8] = []
    var serverIdentification: [UInt8] = []
    var clientInit: [UInt8] = []
    var serverInit: [UInt8] = []
    var hostKey: [UInt8] = []
    var clientKey: [UInt8] = []
    var serverKey: [UInt8] = []

    func hash(secret: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        for part in [clientIdentification, serverIdentification, clientInit, serverInit, hostKey, clientKey, serverKey] {
            writer.string(part)
        }
        writer.mpint(secret)
        defer { writer.wipe() }
        return Hashes.sha256(writer.bytes)
    }
}

/// Makes keys out of what an exchange came to (RFC 4253, 7.2).
struct KeyDerivation {
    /// The secret as an *mpint*, and the exchange hash.
    private let secret: SecretBytes
    private let hash: [UInt8]
    private let sessionID: [UInt8]

    init(secret: [UInt8], hash: [UInt8], sessionID: [UInt8]) {
        var writer = WireWriter()
        writer.mpint(secret)
        self.secret = SecretBytes(writer.bytes)
        writer.wipe()
        self.hash = hash
        self.sessionID = sessionID
    }

    /// - Parameters:
    ///   - letter: `A` to `F`: which key.
    ///   - count: how many bytes of it.
    /// - Returns: the key, to be overwritten after its use.
    func key(_ letter: UInt8, _ count: Int) -> [UInt8] {
        // With the room from the beginning, so that nothing secret is left where it was before it grew.
        let digest = Int(SHA256_DIGEST_SIZE)
        var key: [UInt8] = []
        key.reserveCapacity(max(0, count) + digest)
        while key.count < count {
            var input: [UInt8] = []
            input.reserveCapacity(secret.count + hash.count + 1 + sessionID.count + key.count)
            secret.withBytes { input.append(contentsOf: $0) }
            input += hash
            if key.isEmpty { input += [letter] + sessionID } else { input += key }
            var next = Hashes.sha256(input)
            key += next
            input.wipe()
            next.wipe()
        }
        key.withUnsafeMutableBytes { UnsafeMutableRawBufferPointer(rebasing: $0[max(0, count)...]).wipe() }
        key.removeLast(key.count - max(0, count))
        return key
    }

    /// The cipher of one direction.
    func makeCipher(_ suite: CipherSuite, fromClient: Bool) -> PacketCipher {
        var vector = key(UInt8(ascii: fromClient ? "A" : "B"), suite.initialVectorSize)
        var cipherKey = key(UInt8(ascii: fromClient ? "C" : "D"), suite.keySize)
        var macKey = key(UInt8(ascii: fromClient ? "E" : "F"), suite.macKeySize)
        defer {
            vector.wipe()
            cipherKey.wipe()
            macKey.wipe()
        }
        return suite.makeCipher(key: cipherKey, initialVector: vector, macKey: macKey)
    }
}
