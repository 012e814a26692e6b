import Base64Coding
@testable import SSH

/// A stream of zlib's: no more comes out of a packet than its bound, and what one side has compressed the other one decompresses.
func checkCompression(_ option: UInt8, _ input: [UInt8]) {
    let maximum = 1 + Int(option) * 139
    if let decompressor = Decompressor() {
        for start in stride(from: 0, to: input.count, by: 256) {
            let piece = input[start..<min(input.count, start + 256)]
            guard let result = piece.withUnsafeBufferPointer({ decompressor.decompress($0, maximum: maximum) }) else { break }
            precondition(result.count <= maximum, "more comes out than may")
        }
    }
    // The window and the tables of the other direction take much longer to make than the rest, so not in each run.
    guard option % 16 == 0, let compressor = Compressor(), let decompressor = Decompressor() else { return }
    for start in stride(from: 0, to: input.count, by: 100) {
        let payload = Array(input[start..<min(input.count, start + 100)])
        let packet = compressor.compress(payload)
        precondition(packet?.withUnsafeBufferPointer { decompressor.decompress($0, maximum: 100) } == payload, "it is not what it was")
    }
}

/// Fields one after the other, of kinds that the first bytes say: beside a second reader, which knows nothing but positions.
func checkFields(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let kinds = input.dropFirst().prefix(Int(first % 32))
    let bytes = Array(input.dropFirst(1 + kinds.count))
    var reader = WireReader(bytes)
    var position: Int? = 0
    func number(_ size: Int) -> UInt64? {
        guard let start = position, bytes.count - start >= size else {
            position = nil
            return nil
        }
        position = start + size
        return bytes[start..<start + size].reduce(0) { $0 << 8 | UInt64($1) }
    }
    func string() -> [UInt8]? {
        guard let count = number(4), let start = position, count <= UInt64(bytes.count - start) else {
            position = nil
            return nil
        }
        position = start + Int(count)
        return Array(bytes[start..<start + Int(count)])
    }
    for kind in kinds {
        switch kind % 8 {
        case 0: precondition(UInt64(reader.byte()) == number(1) ?? 0)
        case 1: precondition(reader.boolean() == (number(1) ?? 0 != 0))
        case 2: precondition(UInt64(reader.uint32()) == number(4) ?? 0)
        case 3: precondition(reader.uint64() == number(8) ?? 0)
        case 4: precondition(reader.string() == string() ?? [])
        case 5: precondition(Array(reader.text().utf8) == Array(String(decoding: string() ?? [], as: UTF8.self).utf8))
        case 6:
            let (names, list) = (reader.nameList(), string() ?? [])
            let commas = list.count { $0 == UInt8(ascii: ",") }
            precondition(names.count == (list.isEmpty ? 0 : commas + 1), "names are lost or come out of nothing")
        default: checkNumber(&reader, string(), &position, maximum: Int(kind / 8))
        }
        precondition(reader.hasFailed == (position == nil), "a field is read that there is not, or the other way round")
    }
    precondition(reader.isComplete == (position == bytes.count) && (position == nil || reader.rest() == Array(bytes[(position ?? 0)...])))
}

/// An *mpint* is understood in the one form in which it is written.
private func checkNumber(_ reader: inout WireReader, _ field: [UInt8]?, _ position: inout Int?, maximum: Int) {
    let digits = reader.mpint(maximum: maximum)
    guard let field else { return precondition(reader.hasFailed && digits.isEmpty) }
    var writer = WireWriter()
    writer.mpint(field)
    let isCanonical = writer.bytes.dropFirst(4).elementsEqual(field) && field.first ?? 0 < 0x80
    let magnitude = field.drop { $0 == 0 }
    if isCanonical, magnitude.count <= maximum {
        precondition(digits.elementsEqual(magnitude), "it is another number")
    } else {
        precondition(reader.hasFailed && digits.isEmpty, "a number is understood that is negative, too long or not in its one form")
        position = nil
    }
}

/// What was encoded is decoded, and what was decoded is the text's, but for white space and bits that stand for nothing.
func checkBase64(_ input: [UInt8]) {
    let text = Base64.encode(input)
    precondition(text.utf8.count == (input.count + 2) / 3 * 4 && Base64.decode(text.utf8) == input, "it is not what it was")
    guard let bytes = Base64.decode(input) else { return }
    let letters = input.filter { !($0 == 0x20 || (9...13).contains($0)) }
    let again = Array(Base64.encode(bytes).utf8)
    // Of the last group the last letter may differ, by those bits.
    let certain = bytes.count * 8 / 6
    precondition(again.count == letters.count && again[..<certain] == letters[..<certain], "it is another text")
}
