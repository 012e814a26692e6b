import CNettle

/// The header of a record in VIC's `output.log`: ten bytes in base64, in front of as many bytes of output as it says.
///
/// Eight bytes of nanoseconds since 1970, then two with the size in the upper twelve bits and the stream in bit 3, both least
/// significant byte first. The lowest three bits are not used.
public enum VICLogRecord {
    /// Bytes of a header as it is written.
    public static let headerLength = 16
    /// The most output that a record can have.
    public static let maximumContent = 4095

    static func append(_ nanoseconds: Int64, _ stream: LogStream, size: Int, to log: inout [UInt8]) {
        let time = UInt64(max(0, nanoseconds))
        let word = UInt16(clamping: size) << 4 | (stream == .stderr ? 8 : 0)
        var header: [UInt8] = []
        header.reserveCapacity(10)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { header.append(UInt8(truncatingIfNeeded: time >> shift)) }
        header.append(UInt8(truncatingIfNeeded: word))
        header.append(UInt8(truncatingIfNeeded: word >> 8))
        let start = log.count
        for _ in 0..<headerLength { log.append(0) }
        log.withUnsafeMutableBytes { target in
            nettle_base64_encode_raw(target.baseAddress.map { ($0 + start).assumingMemoryBound(to: CChar.self) }, header.count, header)
        }
    }

    struct Header {
        var time: Timestamp
        var stream: LogStream
        var size: Int
    }

    /// The header that is all of `text`, which has its length.
    ///
    /// - Returns: nil for what no writer writes: another text, bits that mean nothing, or no output at all. The stricter this is,
    ///   the sooner a reader finds its way again behind garbage.
    static func header(_ text: UnsafeRawBufferPointer) -> Header? {
        guard text.count == headerLength, text[14] == UInt8(ascii: "="), text[15] == UInt8(ascii: "=") else { return nil }
        var bits: (time: UInt64, word: UInt16) = (0, 0)
        var pending: UInt32 = 0
        var count: UInt32 = 0
        var index: UInt64 = 0
        for character in text.prefix(14) {
            guard let value = value(character) else { return nil }
            pending = pending << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            let byte = UInt8(truncatingIfNeeded: pending >> count)
            pending &= (1 << count) - 1
            if index < 8 { bits.time |= UInt64(byte) << (8 * index) } else { bits.word |= UInt16(byte) << UInt16(8 * (index - 8)) }
            index += 1
        }
        let size = Int(bits.word >> 4)
        guard pending == 0, bits.word & 7 == 0, size > 0 else { return nil }
        return Header(
            time: Timestamp(nanoseconds: Int64(clamping: bits.time)), stream: bits.word & 8 == 0 ? .stdout : .stderr, size: size)
    }

    private static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
