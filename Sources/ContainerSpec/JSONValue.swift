import CJansson

/// A JSON text as values (RFC 8259).
public indirect enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// An integer past Int64, up to 2^64 − 1.
    case unsigned(UInt64)
    /// A number with a fraction or an exponent, or an integer out of those ranges.
    case real(Double)
    case string(String)
    case array([JSONValue])
    /// The members in the order of the text, no name twice.
    case object([Member])

    public struct Member: Equatable, Sendable {
        public let name: String
        public let value: JSONValue

        public init(name: String, value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// The bound on a text's size: twice what a guestinfo value can hold.
    public static let sizeLimit = 2 << 20
    /// The bound on nesting. The deepest property of the runtime-spec lies eight levels deep.
    public static let depthLimit = 64

    /// Reads a JSON text whose value is an object or an array. A UTF-8 byte order mark before it is skipped.
    /// - Throws: ``SpecError`` with the line and column (in characters, from 1) where the text stops being JSON, for a name
    ///   that an object has twice, and past ``sizeLimit`` or ``depthLimit``.
    public static func parse(_ bytes: [UInt8]) throws(SpecError) -> JSONValue {
        guard bytes.count <= sizeLimit else {
            throw malformed("the configuration has \(bytes.count) bytes, more than the \(sizeLimit) allowed")
        }
        guard bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0A && $0 != 0x0D }) else {
            throw malformed("the configuration is empty")
        }
        var (document, integers) = try load(bytes)
        defer { json_decref(document) }
        guard let value = JSONValue(document, &integers, depth: 1) else {
            throw malformed("the configuration is nested more than \(depthLimit) levels deep")
        }
        return value
    }

    /// The parsed document, to which the caller owns the reference; and its numbers where all of them come as reals.
    private static func load(_ bytes: [UInt8]) throws(SpecError) -> (UnsafeMutablePointer<json_t>, IntegerTexts?) {
        // NUL is let through here so that the decoder can name the property that has it.
        let flags = Int(JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)
        var failure = json_error_t()
        if let document = load(bytes, flags, &failure) { return (document, nil) }
        // jansson's integers are signed.  A document with larger ones (18446744073709551615 is the usual way to write
        // "no limit") is read once more with every number as a double, and the integers are taken from the text itself.
        if failure.code == json_error_numeric_overflow.rawValue {
            var second = json_error_t()
            if let document = load(bytes, flags | Int(JSON_DECODE_INT_AS_REAL), &second) { return (document, IntegerTexts(bytes)) }
            failure = second
        }
        throw malformed("line \(failure.line), column \(failure.column): \(failure.message)")
    }

    private static func load(_ bytes: [UInt8], _ flags: Int, _ failure: inout json_error_t) -> UnsafeMutablePointer<json_t>? {
        bytes.withUnsafeBytes { raw in
            let hasMark = raw.count >= 3 && raw[0] == 0xEF && raw[1] == 0xBB && raw[2] == 0xBF
            let text = UnsafeRawBufferPointer(rebasing: raw[(hasMark ? 3 : 0)...])
            return json_loadb(text.baseAddress?.assumingMemoryBound(to: CChar.self), text.count, flags, &failure)
        }
    }

    private static func malformed(_ problem: String) -> SpecError { SpecError(issues: [SpecIssue(.malformed, "", problem)]) }

    /// Copies what `json` refers to; `integers` are the document's own where they come as reals.
    ///
    /// nil past ``depthLimit``: the bound keeps this recursion, and the release of what it makes, within any stack.
    private init?(_ json: UnsafeMutablePointer<json_t>, _ integers: inout IntegerTexts?, depth: Int) {
        switch json.pointee.type {
        case JSON_NULL: self = .null
        case JSON_TRUE: self = .bool(true)
        case JSON_FALSE: self = .bool(false)
        case JSON_INTEGER: self = .integer(Int64(json_integer_value(json)))
        case JSON_REAL:
            let number = json_real_value(json)
            self = integers?.next(near: number) ?? .real(number)
        case JSON_STRING: self = .string(JSONValue.text(json_string_value(json), json_string_length(json)))
        case JSON_ARRAY:
            guard depth <= JSONValue.depthLimit else { return nil }
            var elements: [JSONValue] = []
            let count = json_array_size(json)
            elements.reserveCapacity(count)
            for index in 0..<count {
                guard let element = json_array_get(json, index), let value = JSONValue(element, &integers, depth: depth + 1)
                else { return nil }
                elements.append(value)
            }
            self = .array(elements)
        case JSON_OBJECT:
            guard depth <= JSONValue.depthLimit else { return nil }
            var members: [Member] = []
            members.reserveCapacity(json_object_size(json))
            var iterator = json_object_iter(json)
            while let current = iterator {
                guard let item = json_object_iter_value(current), let value = JSONValue(item, &integers, depth: depth + 1)
                else { return nil }
                let name = JSONValue.text(json_object_iter_key(current), json_object_iter_key_len(current))
                members.append(Member(name: name, value: value))
                iterator = json_object_iter_next(json, current)
            }
            self = .object(members)
        default: return nil
        }
    }

    /// jansson has checked that strings are UTF-8.
    private static func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
        String(decoding: UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count), as: UTF8.self)
    }
}

extension json_error_t {
    /// The class of the error, which json_error_code(3) takes from the last byte of the text.
    fileprivate var code: UInt32 {
        withUnsafeBytes(of: text) { bytes in UInt32(bytes.last ?? 0) }
    }

    /// What is wrong, in jansson's words.
    fileprivate var message: String {
        withUnsafeBytes(of: text) { bytes in quoted(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self), mark: "") }
    }
}
