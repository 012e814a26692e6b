@testable import SSH

/// What takes time and comes again in most runs: it is worked out once.
enum Secrets {
    /// The peer's ephemeral keys.
    nonisolated(unsafe) static let own: [String: EphemeralKey] = {
        let random = RandomSource { [UInt8](repeating: 0x33, count: $0) }
        return Dictionary(
            uniqueKeysWithValues: AlgorithmPreferences.supportedKeyExchange.map { ($0, EphemeralKey(method: $0, random: random)) })
    }()

    nonisolated(unsafe) private static var known: [[UInt8]: [UInt8]] = [:]

    private static func once(_ question: [UInt8], _ answer: () -> [UInt8]?) -> [UInt8]? {
        if let answer = known[question] { return answer }
        if known.count >= 2000 { known.removeAll(keepingCapacity: true) }
        guard let answer = answer() else { return nil }
        known[question] = answer
        return answer
    }

    static func shared(_ method: String, with other: [UInt8]) -> [UInt8]? {
        once(Array(method.utf8) + other) { try? own[method]?.sharedSecret(with: other) }
    }

    static func signature(_ key: PrivateKey, _ hash: [UInt8]) -> [UInt8] {
        once(key.publicKey.blob + hash) { try? key.sign(hash, algorithm: key.publicKey.algorithm, random: random) } ?? []
    }

    /// The keys' own signatures are always the same, since randomness is.
    static func isSignature(_ signature: [UInt8], _ keys: [PrivateKey], _ blob: [UInt8], _ hash: [UInt8]) -> Bool {
        keys.contains { $0.publicKey.blob == blob && self.signature($0, hash) == signature }
    }
}
