/// The numbers of a JSON text in their order, with the exact value of each that is an integer of 64 bits.
///
/// For documents with integers past Int64, which jansson can only give as doubles: those have 53 significant bits, and an
/// argument of a system call has 64.
struct IntegerTexts {
    /// nil for a number that is no such integer.
    private var values: [JSONValue?] = []
    private var position = 0

    /// - Parameter text: well-formed JSON.
    init(_ text: [UInt8]) {
        var index = 0
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                index += 1
                while index < text.count, text[index] != UInt8(ascii: "\"") { index += text[index] == UInt8(ascii: "\\") ? 2 : 1 }
                index += 1
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let start = index
                while index < text.count, IntegerTexts.isPartOfNumber(text[index]) { index += 1 }
                values.append(IntegerTexts.value(text[start..<index]))
            default: index += 1
            }
        }
    }

    /// The next number, which was read as `real`; nil where it is no integer of 64 bits.
    mutating func next(near real: Double) -> JSONValue? {
        guard position < values.count else { return nil }
        defer { position += 1 }
        // What is not the same number rounded is another number: then the double is to be believed.
        switch values[position] {
        case .integer(let number) where Double(number) == real: return .integer(number)
        case .unsigned(let number) where Double(number) == real: return .unsigned(number)
        default: return nil
        }
    }

    private static func isPartOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"),
            UInt8(ascii: "E"):
            true
        default: false
        }
    }

    private static func value(_ digits: ArraySlice<UInt8>) -> JSONValue? {
        let text = String(decoding: digits, as: UTF8.self)
        if let number = Int64(text) { return .integer(number) }
        if let number = UInt64(text) { return .unsigned(number) }
        return nil
    }
}
