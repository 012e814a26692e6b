import CNettle

/// The running length and SHA-256 (FIPS 180-4, by nettle) of one output stream.
public struct StreamDigest: Sendable {
    private var context = sha256_ctx()
    /// Bytes seen so far.
    public private(set) var bytes: UInt64 = 0

    public init() { nettle_sha256_init(&context) }

    /// Takes in the stream's next bytes.
    public mutating func update(_ chunk: UnsafeRawBufferPointer) {
        guard let start = chunk.baseAddress, chunk.count > 0 else { return }
        nettle_sha256_update(&context, chunk.count, start.assumingMemoryBound(to: UInt8.self))
        bytes &+= UInt64(chunk.count)
    }

    /// As ``update(_:)``, from an array.
    public mutating func update(_ chunk: [UInt8]) { chunk.withUnsafeBytes { update($0) } }

    /// Length and digest of what was taken in; the running digest goes on.
    public var total: StreamTotal {
        var copy = context
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_SIZE))
        nettle_sha256_digest(&copy, digest.count, &digest)
        return StreamTotal(bytes: bytes, sha256: Hexadecimal.text(digest))
    }
}

/// Length and digest of a whole stream.
public struct StreamTotal: Sendable, Equatable {
    public var bytes: UInt64
    /// 64 lower-case hexadecimal digits.
    public var sha256: String

    public init(bytes: UInt64, sha256: String) {
        self.bytes = bytes
        self.sha256 = sha256
    }

    /// The total of a stream that carried nothing.
    public static var empty: StreamTotal { StreamDigest().total }
}

enum Hexadecimal {
    static func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }

    static func text(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            text.append(digit(byte >> 4))
            text.append(digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }
}
