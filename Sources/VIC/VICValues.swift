import Base64Coding
import SessionLog

/// The texts of single values, as Go's strconv, time and encoding/base64 read and write them.
enum VICValues {
    /// The literal that stands for an empty string: the host deletes a key whose value is empty.
    static let nothing = "<nil>"

    static func bool(_ text: String) -> Bool? {
        switch text {
        case "", "0", "f", "F", "false", "FALSE", "False": false
        case "1", "t", "T", "true", "TRUE", "True": true
        default: nil
        }
    }

    static func integer(_ text: String) -> Int64? { text.isEmpty ? 0 : Int64(text) }

    /// RFC 4648 with padding.
    static func bytes(_ text: String) -> [UInt8]? { Base64.decode(text.utf8) }

    static func text(_ bytes: [UInt8]) -> String { Base64.encode(bytes) }

    /// Go's default text of a time: `2017-07-14 02:40:01.25 +0200 CEST`, perhaps with a reading of the monotonic clock behind it.
    /// Its zero time, which stands for none, is long before 1970, and so becomes 1970.
    static func time(_ text: String) -> Timestamp? {
        if text.isEmpty { return Timestamp(nanoseconds: 0) }
        let words = text.utf8.split(separator: UInt8(ascii: " "))
        guard words.count >= 3, let offset = rfc3339Offset(Array(words[2])) else { return nil }
        return Timestamp(String(decoding: Array(words[0]) + [UInt8(ascii: "T")] + Array(words[1]) + offset, as: UTF8.self))
    }

    /// `+0200` → `+02:00`
    private static func rfc3339Offset(_ text: [UInt8]) -> [UInt8]? {
        guard text.count == 5 else { return nil }
        return Array(text.prefix(3)) + [UInt8(ascii: ":")] + Array(text.suffix(2))
    }

    /// In UTC, without the zeros at the end of the fraction.
    static func text(_ time: Timestamp) -> String {
        if time.nanoseconds == 0 { return "0001-01-01 00:00:00 +0000 UTC" }
        var bytes = Array(time.text.utf8)
        bytes.removeLast()
        while bytes.last == UInt8(ascii: "0") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        for index in bytes.indices where bytes[index] == UInt8(ascii: "T") { bytes[index] = UInt8(ascii: " ") }
        return String(decoding: bytes, as: UTF8.self) + " +0000 UTC"
    }
}

/// Lists of strings, which VIC writes with `|` between them, and with no way to tell a `|` that is part of one.
enum VICList {
    enum Reading: Equatable {
        case exact([String])
        /// There are more pieces than strings; these have been put together by what they look like.
        case guessed([String])
        case tooFew(found: Int)
    }

    /// - Parameter count: of the strings, where the host says it.
    static func split(_ text: String, count: Int?, _ kind: VICListKind) -> Reading {
        let pieces = text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false).map { String(Substring($0)) }
        guard let count, count != pieces.count else { return .exact(pieces) }
        if count > pieces.count || count < 1 { return .tooFew(found: pieces.count) }
        switch kind {
        case .environment:
            let joined = joinedByName(pieces)
            return .guessed(
                joined.count == count
                    ? joined : joined.count < count ? join(pieces, count, at: count - 1) : join(joined, count, at: count - 1))
        case .arguments: return .guessed(join(pieces, count, at: min(scriptIndex(pieces) ?? count - 1, count - 1)))
        case .other: return .guessed(join(pieces, count, at: count - 1))
        }
    }

    /// Makes `count` of the pieces, those too many all part of the string at `index`.
    private static func join(_ pieces: [String], _ count: Int, at index: Int) -> [String] {
        var result = Array(pieces.prefix(index + 1))
        let extra = pieces.count - count
        for piece in pieces.dropFirst(index + 1).prefix(extra) { result[index] += "|" + piece }
        return result + pieces.dropFirst(index + 1 + extra)
    }

    /// A piece that does not begin as `NAME=` goes on with the one before.
    private static func joinedByName(_ pieces: [String]) -> [String] {
        var result: [String] = []
        for piece in pieces {
            if let last = result.indices.last, !beginsWithName(piece) { result[last] += "|" + piece } else { result.append(piece) }
        }
        return result
    }

    private static func beginsWithName(_ text: String) -> Bool {
        let name = text.utf8.prefix { $0 != UInt8(ascii: "=") }
        guard name.count < text.utf8.count, let first = name.first, first < UInt8(ascii: "0") || first > UInt8(ascii: "9") else {
            return false
        }
        return name.allSatisfy {
            $0 == UInt8(ascii: "_") || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")
                || $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z")
                || $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z")
        }
    }

    /// Where a shell's command line is, which is what most often has a `|` in it: behind `-c`, `-ec`, `-lc`.
    private static func scriptIndex(_ pieces: [String]) -> Int? {
        for index in pieces.indices.dropFirst().dropLast() {
            let option = pieces[index].utf8
            guard option.first == UInt8(ascii: "-") else { return nil }
            if option.count <= 8 && option.last == UInt8(ascii: "c") && !option.dropFirst().contains(UInt8(ascii: "-")) { return index + 1 }
        }
        return nil
    }
}
