/// `path` and the member `name` below it: "a.b", or `a["b.c"]` for a name that would blur the path.
func memberPath(_ path: String, _ name: String) -> String {
    let plain =
        !name.isEmpty
        && name.utf8.allSatisfy {
            $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z")
                || $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
    guard plain && name.utf8.count <= 64 else { return "\(path)[\(quoted(name))]" }
    return path.isEmpty ? name : "\(path).\(name)"
}

/// What keeps `text` from being an absolute path; nil if nothing does.
func pathProblem(_ text: String) -> String? {
    if text.utf8.first != UInt8(ascii: "/") { return "expected an absolute path, found \(quoted(text))" }
    // PATH_MAX counts the terminating NUL.
    return text.utf8.count >= 4096 ? "expected a path of at most 4095 bytes, found one of \(text.utf8.count)" : nil
}

/// `text` for a message: in quotation marks, on one line, at most 64 bytes of it.
func quoted(_ text: String, mark: String = "\"") -> String {
    var bytes: [UInt8] = []
    var shortened = false
    for scalar in text.unicodeScalars {
        if bytes.count >= 160 || (bytes.count >= 64 && !mark.isEmpty) {
            shortened = true
            break
        }
        // C0, DEL and C1 controls, which could end the line or steer a terminal.
        if scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0) {
            bytes.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".utf8)
        } else if scalar == "\"" && !mark.isEmpty {
            bytes.append(contentsOf: "\\\"".utf8)
        } else {
            bytes.append(contentsOf: String(Character(scalar)).utf8)
        }
    }
    return mark + String(decoding: bytes, as: UTF8.self) + (shortened ? "…" : "") + mark
}

extension JSONValue {
    /// The value for a message: scalars as they are, containers by their kind.
    var summary: String {
        switch self {
        case .null: "null"
        case .bool(let bool): bool ? "true" : "false"
        case .integer(let number): "\(number)"
        case .unsigned(let number): "\(number)"
        case .real: "a number with a fraction or out of range"
        case .string(let text): quoted(text)
        case .array: "an array"
        case .object: "an object"
        }
    }

    /// Whether it is what a program writes for a property that is not set: empty all through.
    var asksForNothing: Bool {
        switch self {
        case .null: true
        case .bool(let bool): !bool
        case .integer, .unsigned, .real: false
        case .string(let text): text.isEmpty
        case .array(let elements): elements.isEmpty
        case .object(let members): members.allSatisfy { $0.value.asksForNothing }
        }
    }
}
