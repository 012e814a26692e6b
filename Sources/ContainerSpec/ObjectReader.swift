/// Collects what is wrong with a configuration, so that one run names everything.
final class IssueList {
    private(set) var issues: [SpecIssue] = []
    private(set) var omitted = 0
    private(set) var warnings: [SpecIssue] = []

    func report(_ kind: SpecIssue.Kind, _ path: String, _ problem: String) {
        if issues.count < SpecError.limit { issues.append(SpecIssue(kind, path, problem)) } else { omitted += 1 }
    }

    func warn(_ path: String, _ problem: String) {
        if warnings.count < SpecError.limit { warnings.append(SpecIssue(.unknown, path, problem)) }
    }
}

/// A JSON object on the way to its typed form: reads members by name and type, and reports what does not fit.
///
/// null counts as absent, as it does for the Go programs that write most configurations. After a report the reader goes
/// on with nil, so what it returns is only good if nothing was reported at the end.
struct ObjectReader {
    let members: [JSONValue.Member]
    let path: String
    let issues: IssueList

    /// The path of the member `name`.
    func path(_ name: String) -> String { memberPath(path, name) }

    func report(_ kind: SpecIssue.Kind, _ name: String, _ problem: String) { issues.report(kind, path(name), problem) }

    /// Reports that `name` should have been `expected`.
    func mismatch(_ name: String, _ expected: String, _ found: JSONValue) {
        report(.invalid, name, "expected \(expected), found \(found.summary)")
    }

    /// The member `name`; nil when there is none or it is null.
    func value(_ name: String) -> JSONValue? {
        for member in members where member.name == name {
            if case .null = member.value { return nil }
            return member.value
        }
        return nil
    }

    func bool(_ name: String) -> Bool? {
        guard let value = value(name) else { return nil }
        if case .bool(let bool) = value { return bool }
        mismatch(name, "true or false", value)
        return nil
    }

    func integer(_ name: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard let value = value(name) else { return nil }
        if case .integer(let number) = value, range.contains(number) { return number }
        mismatch(name, "an integer from \(range.lowerBound) to \(range.upperBound)", value)
        return nil
    }

    func unsigned(_ name: String) -> UInt64? {
        guard let value = value(name) else { return nil }
        switch value {
        case .integer(let number) where number >= 0: return UInt64(number)
        case .unsigned(let number): return number
        default:
            mismatch(name, "an integer from 0 to 18446744073709551615", value)
            return nil
        }
    }

    /// A string without NUL, which no system call could take.
    func string(_ name: String, _ expected: String = "a string") -> String? {
        guard let value = value(name) else { return nil }
        guard case .string(let text) = value else {
            mismatch(name, expected, value)
            return nil
        }
        guard !text.utf8.contains(0) else {
            report(.invalid, name, "must not contain a NUL character")
            return nil
        }
        return text
    }

    /// A string that is no longer than PATH_MAX allows and begins with "/".
    func absolutePath(_ name: String) -> String? {
        guard let text = string(name, "an absolute path") else { return nil }
        guard let problem = pathProblem(text) else { return text }
        report(.invalid, name, problem)
        return nil
    }

    /// An array of strings, none with NUL; `check` says what else is wrong with one, or nil.
    func strings(_ name: String, check: (String) -> String? = { _ in nil }) -> [String]? {
        guard let elements = array(name) else { return nil }
        var strings: [String] = []
        strings.reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() {
            if case .string(let text) = element {
                if text.utf8.contains(0) {
                    report(index, name, "must not contain a NUL character")
                } else if let problem = check(text) {
                    report(index, name, problem)
                } else {
                    strings.append(text)
                }
            } else {
                report(index, name, "expected a string, found \(element.summary)")
            }
        }
        return strings
    }

    func array(_ name: String) -> [JSONValue]? {
        guard let value = value(name) else { return nil }
        if case .array(let elements) = value { return elements }
        mismatch(name, "an array", value)
        return nil
    }

    func object(_ name: String) -> ObjectReader? {
        guard let value = value(name) else { return nil }
        if case .object(let members) = value { return ObjectReader(members: members, path: path(name), issues: issues) }
        mismatch(name, "an object", value)
        return nil
    }

    /// The objects of an array.
    func objects(_ name: String) -> [ObjectReader]? {
        guard let elements = array(name) else { return nil }
        var readers: [ObjectReader] = []
        for (index, element) in elements.enumerated() {
            if case .object(let members) = element {
                readers.append(ObjectReader(members: members, path: "\(path(name))[\(index)]", issues: issues))
            } else {
                report(index, name, "expected an object, found \(element.summary)")
            }
        }
        return readers
    }

    /// Refuses the named properties where they say something: absent, null, false, "", [] and {} ask for nothing.
    func refuse(_ names: [String], _ reason: String? = nil) {
        for name in names {
            if let value = value(name), !value.asksForNothing { report(.unsupported, name, reason ?? ObjectReader.refusal) }
        }
    }

    /// Refuses every member that says something.
    func refuseAll() {
        for member in members where !member.value.asksForNothing { report(.unsupported, member.name, ObjectReader.refusal) }
    }

    private static let refusal = "not honoured yet: tether refuses it rather than ignore it"

    /// Warns of members that are not in `known`: the runtime-spec has unknown properties ignored.
    func warnOfUnknown(_ known: [String]) {
        for member in members where !known.contains(member.name) {
            issues.warn(path(member.name), "unknown property, ignored")
        }
    }

    /// Refuses members that are not in `known`.
    func refuseUnknown(_ known: [String]) {
        for member in members where !known.contains(member.name) {
            report(.unknown, member.name, "unknown property")
        }
    }

    /// Reports what is wrong with element `index` of the array `name`.
    func report(_ index: Int, _ name: String, _ problem: String) {
        issues.report(.invalid, "\(path(name))[\(index)]", problem)
    }
}

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
