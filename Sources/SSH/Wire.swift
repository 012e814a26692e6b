/// Reads the data types of RFC 4251, section 5, one after the other.
///
/// A field that is not there reads as nothing and marks the reader: whoever reads asks ``isComplete`` once, at the end.
public struct WireReader {
    private let bytes: [UInt8]
    private var position: Int
    public private(set) var hasFailed = false

    /// - Parameter start: the index of the first byte to read; 1 leaves out a message's number.
    public init(_ bytes: [UInt8], from start: Int = 0) {
        self.bytes = bytes
        position = max(0, min(start, bytes.count))
    }

    /// Every field was there, and nothing is left.
    public var isComplete: Bool { !hasFailed && position == bytes.count }

    /// Says that a field has no meaning.
    public mutating func fail() { hasFailed = true }

    public mutating func take(_ count: Int) -> ArraySlice<UInt8> {
        guard !hasFailed, count >= 0, count <= bytes.count - position else {
            hasFailed = true
            return []
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    public mutating func byte() -> UInt8 { take(1).first ?? 0 }

    /// Any value but 0 is true, as the RFC has it.
    public mutating func boolean() -> Bool { byte() != 0 }

    public mutating func uint32() -> UInt32 { take(4).reduce(0) { $0 << 8 | UInt32($1) } }

    public mutating func uint64() -> UInt64 { take(8).reduce(0) { $0 << 8 | UInt64($1) } }

    /// A *string*: bytes with their length before them.
    public mutating func string() -> [UInt8] { Array(take(Int(uint32()))) }

    /// A *string* that is text; what is not UTF-8 becomes U+FFFD.
    public mutating func text() -> String { String(decoding: string(), as: UTF8.self) }

    /// A *name-list*. Names are ASCII; an empty list has none.
    public mutating func nameList() -> [String] {
        let list = string()
        if list.isEmpty { return [] }
        return list.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }

    /// What no field has taken.
    public mutating func rest() -> [UInt8] { Array(take(bytes.count - position)) }
}

/// Writes the data types of RFC 4251, section 5.
public struct WireWriter {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Begins a message with its number.
    public init(message number: UInt8) { bytes.append(number) }

    /// Overwrites what was written, which was secret.
    mutating func wipe() { bytes.wipe() }

    public mutating func byte(_ value: UInt8) { bytes.append(value) }

    public mutating func boolean(_ value: Bool) { bytes.append(value ? 1 : 0) }

    public mutating func uint32(_ value: UInt32) {
        for shift in [UInt32(24), 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    public mutating func uint64(_ value: UInt64) {
        uint32(UInt32(truncatingIfNeeded: value >> 32))
        uint32(UInt32(truncatingIfNeeded: value))
    }

    public mutating func string(_ value: some Collection<UInt8>) {
        uint32(UInt32(clamping: value.count))
        bytes.append(contentsOf: value)
    }

    public mutating func text(_ value: String) { string(Array(value.utf8)) }

    public mutating func nameList(_ names: [String]) { text(names.joined(separator: ",")) }

    /// A non-negative *mpint* from its bytes, most significant first.
    public mutating func mpint(_ magnitude: some Collection<UInt8>) {
        let digits = magnitude.drop { $0 == 0 }
        let needsZero = (digits.first ?? 0) & 0x80 != 0
        uint32(UInt32(clamping: digits.count + (needsZero ? 1 : 0)))
        if needsZero { bytes.append(0) }
        bytes.append(contentsOf: digits)
    }

    /// Bytes as they are.
    public mutating func raw(_ value: some Collection<UInt8>) { bytes.append(contentsOf: value) }
}
