/// An IPv4 or IPv6 address.
public struct IPAddress: Equatable, Hashable, Sendable {
    /// Four or sixteen, in network order.
    public let bytes: [UInt8]

    /// - Returns: nil for another number of bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    public var isIPv4: Bool { bytes.count == 4 }
    /// 32 or 128.
    public var bitWidth: Int { bytes.count * 8 }
    /// `0.0.0.0` or `::`.
    public var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }
}

/// An address and the length of its network's prefix: `192.0.2.7/24`.
public struct IPPrefix: Equatable, Hashable, Sendable {
    public let address: IPAddress
    /// 0…``IPAddress/bitWidth``.
    public let length: Int

    /// - Returns: nil for a length that the address does not have.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.bitWidth).contains(length) else { return nil }
        self.address = address
        self.length = length
    }
}
