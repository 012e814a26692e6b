@testable import SSH

/// The peer's ephemeral keys.
enum Secrets {
    nonisolated(unsafe) static let own: [String: EphemeralKey] = {
        let random = RandomSource { [UInt8](repeating: 0x33, count: $0) }
        return Dictionary(
            uniqueKeysWithValues: AlgorithmPreferences.supportedKeyExchange.map { ($0, EphemeralKey(method: $0, random: random)) })
    }()

    static func shared(_ method: String, with other: [UInt8]) -> [UInt8]? { try? own[method]?.sharedSecret(with: other) }

    static func signature(_ key: PrivateKey, _ hash: [UInt8]) -> [UInt8] {
        (try? key.sign(hash, algorithm: key.publicKey.algorithm, random: random)) ?? []
    }

    /// The keys' own signatures are always the same, since randomness is.
    static func isSignature(_ signature: [UInt8], _ keys: [PrivateKey], _ blob: [UInt8], _ hash: [UInt8]) -> Bool {
        keys.contains { $0.publicKey.blob == blob && self.signature($0, hash) == signature }
    }
}
