/// One message of netlink (RFC 3549, section 2.2; netlink(7)), in the byte order of x86.
public struct NetlinkMessage: Equatable, Sendable {
    /// What it is: NLMSG_* below 16, RTM_* from there.
    public var type: UInt16
    /// NLM_F_*.
    public var flags: UInt16
    /// The answer has that of the request.
    public var sequence: UInt32
    /// What follows the header.
    public var payload: [UInt8]

    /// The header's bytes: length, type, flags, sequence, port.
    public static let headerSize = 16

    public init(type: UInt16, flags: UInt16, sequence: UInt32, payload: [UInt8]) {
        self.type = type
        self.flags = flags
        self.sequence = sequence
        self.payload = payload
    }

    /// The message as it is sent.
    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        LittleEndian.append(UInt32(clamping: NetlinkMessage.headerSize + payload.count), to: &bytes)
        LittleEndian.append(type, to: &bytes)
        LittleEndian.append(flags, to: &bytes)
        LittleEndian.append(sequence, to: &bytes)
        // The kernel knows the sender by its socket.
        LittleEndian.append(UInt32(0), to: &bytes)
        return bytes + payload
    }

    /// The messages of one datagram; what behind the last whole one is none, is left out.
    public static func decode(_ datagram: [UInt8]) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = datagram[...]
        while let size = LittleEndian.uint32(rest, 0), let length = Int(exactly: size), length >= headerSize, length <= rest.count,
            let type = LittleEndian.uint16(rest, 4), let flags = LittleEndian.uint16(rest, 6), let sequence = LittleEndian.uint32(rest, 8)
        {
            let payload = Array(rest.prefix(length).dropFirst(headerSize))
            messages.append(NetlinkMessage(type: type, flags: flags, sequence: sequence, payload: payload))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return messages
    }
}

/// Attributes: length with the header of four bytes, type, value, padding to four.
public enum NetlinkAttributes {
    /// Adds an attribute.
    public static func append(_ type: UInt16, _ value: [UInt8], to bytes: inout [UInt8]) {
        LittleEndian.append(UInt16(clamping: 4 + value.count), to: &bytes)
        LittleEndian.append(type, to: &bytes)
        bytes += value
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    /// Adds a number.
    public static func append(_ type: UInt16, _ value: UInt32, to bytes: inout [UInt8]) {
        var field: [UInt8] = []
        LittleEndian.append(value, to: &field)
        append(type, field, to: &bytes)
    }

    /// A text with the zero byte that the kernel wants behind it.
    public static func append(_ type: UInt16, _ text: String, to bytes: inout [UInt8]) { append(type, Array(text.utf8) + [0], to: &bytes) }

    /// Hands out the attributes in `bytes` up to the first that is none.
    public static func forEach(_ bytes: ArraySlice<UInt8>, _ body: (UInt16, ArraySlice<UInt8>) -> Void) {
        var rest = bytes
        while let size = LittleEndian.uint16(rest, 0), let type = LittleEndian.uint16(rest, 2) {
            let length = Int(size)
            guard length >= 4, length <= rest.count else { return }
            // The two highest bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
            body(type & 0x3FFF, rest.prefix(length).dropFirst(4))
            rest = rest.dropFirst((length + 3) & ~3)
        }
    }

    /// A text up to its zero byte.
    public static func text(_ value: ArraySlice<UInt8>) -> String { String(decoding: value.prefix { $0 != 0 }, as: UTF8.self) }
}

/// Numbers, least significant byte first.
public enum LittleEndian {
    public static func append(_ value: UInt16, to bytes: inout [UInt8]) {
        bytes.append(UInt8(truncatingIfNeeded: value))
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    }

    public static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        append(UInt16(truncatingIfNeeded: value), to: &bytes)
        append(UInt16(truncatingIfNeeded: value >> 16), to: &bytes)
    }

    /// - Returns: nil where the slice has no two bytes from `offset` on, of its own start.
    public static func uint16(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt16? {
        guard offset >= 0, offset <= bytes.count - 2 else { return nil }
        let start = bytes.startIndex + offset
        return UInt16(bytes[start]) | UInt16(bytes[start + 1]) << 8
    }

    /// - Returns: nil where the slice has no four bytes from `offset` on, of its own start.
    public static func uint32(_ bytes: ArraySlice<UInt8>, _ offset: Int) -> UInt32? {
        guard let low = uint16(bytes, offset), let high = uint16(bytes, offset + 2) else { return nil }
        return UInt32(low) | UInt32(high) << 16
    }
}
