/// Reads the fields of a message's body, one after the other.
///
/// A field that is not there, or has no meaning, reads as nothing and marks the reader: whoever reads asks once, at the end.
public struct BodyReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private(set) var hasFailed = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Every field was there, and nothing is left.
    var isComplete: Bool { !hasFailed && position == bytes.count }

    /// Says that a field has no meaning.
    mutating func fail() { hasFailed = true }

    private mutating func take(_ count: Int) -> UnsafeRawBufferPointer {
        guard !hasFailed, count <= bytes.count - position else {
            hasFailed = true
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        let start = position
        position += count
        return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
    }

    private mutating func number(_ size: Int) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        for byte in take(size) {
            value |= UInt64(byte) &<< shift
            shift &+= 8
        }
        return value
    }

    mutating func u8() -> UInt8 { UInt8(truncatingIfNeeded: number(1)) }
    mutating func u16() -> UInt16 { UInt16(truncatingIfNeeded: number(2)) }
    mutating func u32() -> UInt32 { UInt32(truncatingIfNeeded: number(4)) }
    mutating func u64() -> UInt64 { number(8) }
    mutating func i64() -> Int64 { Int64(bitPattern: number(8)) }

    mutating func flag() -> Bool {
        let value = u8()
        if value > 1 { hasFailed = true }
        return value == 1
    }

    /// Bytes with their length before them, at most `limit`.
    mutating func field(_ limit: Int) -> [UInt8] {
        let length = u32()
        guard length <= UInt32(clamping: limit) else {
            hasFailed = true
            return []
        }
        return Array(take(Int(length)))
    }

    /// As ``field(_:)``; what is not UTF-8 becomes U+FFFD.
    mutating func text(_ limit: Int = ControlProtocol.maximumText) -> String { String(decoding: field(limit), as: UTF8.self) }

    /// All that is left, at most `limit`.
    mutating func rest(_ limit: Int) -> [UInt8] {
        guard !hasFailed, bytes.count - position <= limit else {
            hasFailed = true
            return []
        }
        return Array(take(bytes.count - position))
    }
}

extension [UInt8] {
    /// Appends a frame whose body `write` appends.
    mutating func frame(_ type: UInt8, _ write: (inout [UInt8]) -> Void) {
        let start = count
        append(contentsOf: [0, 0, 0, 0, type])
        write(&self)
        let length = UInt32(clamping: count - start - 4)
        for index in 0..<4 { self[start + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
    }

    mutating func put(_ value: UInt8) { append(value) }

    mutating func put(_ value: UInt16) {
        append(UInt8(truncatingIfNeeded: value))
        append(UInt8(truncatingIfNeeded: value >> 8))
    }

    mutating func put(_ value: UInt32) {
        put(UInt16(truncatingIfNeeded: value))
        put(UInt16(truncatingIfNeeded: value >> 16))
    }

    mutating func put(_ value: UInt64) {
        put(UInt32(truncatingIfNeeded: value))
        put(UInt32(truncatingIfNeeded: value >> 32))
    }

    mutating func put(_ value: Int64) { put(UInt64(bitPattern: value)) }

    mutating func put(_ value: Bool) { append(value ? 1 : 0) }

    /// Bytes with their length before them; those beyond `limit` are left out.
    mutating func put(field: [UInt8], _ limit: Int) {
        let length = Swift.min(field.count, limit)
        put(UInt32(clamping: length))
        append(contentsOf: field[..<length])
    }

    /// Text with its length before it, cut between two characters where it is too long.
    mutating func put(text: String, _ limit: Int = ControlProtocol.maximumText) {
        let bytes = Array(text.utf8)
        var length = Swift.min(bytes.count, limit)
        // Bytes 0x80–0xBF continue a character of UTF-8.
        while length > 0, length < bytes.count, bytes[length] & 0xC0 == 0x80 { length -= 1 }
        put(field: bytes, length)
    }
}
