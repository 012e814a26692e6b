/// Writes fields as length and bytes, so that a record of any text crosses a pipe unchanged.
///
/// A field is its length as four bytes, least significant first, and its bytes. The reader is ``FieldDecoder``.
public struct FieldEncoder {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    public mutating func append(_ field: [UInt8]) {
        let length = UInt32(clamping: field.count)
        for shift in [UInt32(0), 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
        bytes.append(contentsOf: field.prefix(Int(length)))
    }

    public mutating func append(_ text: String) { append(Array(text.utf8)) }

    /// A number as eight bytes, least significant first.
    public mutating func append(_ number: Int64) {
        let bits = UInt64(bitPattern: number)
        var field: [UInt8] = []
        for index in 0..<UInt64(8) { field.append(UInt8(truncatingIfNeeded: bits >> (8 &* index))) }
        append(field)
    }

    public mutating func append(_ flag: Bool) { append(flag ? Int64(1) : 0) }

    /// A field that may be missing: a flag, and the text where there is one.
    public mutating func append(_ text: String?) {
        append(text != nil)
        if let text { append(text) }
    }
}

/// Reads what ``FieldEncoder`` wrote. Every call answers nil for input that ends early or has the wrong shape.
public struct FieldDecoder {
    private let bytes: [UInt8]
    private var position = 0

    public init(_ bytes: [UInt8]) { self.bytes = bytes }

    public var isAtEnd: Bool { position == bytes.count }

    public mutating func field() -> [UInt8]? {
        guard bytes.count - position >= 4 else { return nil }
        var length = 0
        for index in 0..<4 { length |= Int(bytes[position + index]) << (8 * index) }
        guard bytes.count - position - 4 >= length else { return nil }
        let start = position + 4
        position = start + length
        return Array(bytes[start..<position])
    }

    /// Bytes that are not UTF-8 become U+FFFD.
    public mutating func text() -> String? {
        guard let field = field() else { return nil }
        return String(decoding: field, as: UTF8.self)
    }

    public mutating func number() -> Int64? {
        guard let field = field(), field.count == 8 else { return nil }
        var bits: UInt64 = 0
        for index in 0..<8 { bits |= UInt64(field[index]) << UInt64(8 * index) }
        return Int64(bitPattern: bits)
    }

    public mutating func flag() -> Bool? {
        guard let number = number(), number == 0 || number == 1 else { return nil }
        return number == 1
    }

    /// The outer optional is nil on bad input, the inner one where the writer had no text.
    public mutating func optionalText() -> String?? {
        guard let present = flag() else { return nil }
        if !present { return .some(nil) }
        guard let text = text() else { return nil }
        return .some(text)
    }
}
