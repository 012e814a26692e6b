/// Collects what is wrong with a configuration, so that one run names everything.
final class IssueList {
    private(set) var issues: [SpecIssue] = []
    private(set) var omitted = 0
    private(set) var warnings: [SpecIssue] = []

    /// How much was reported so far.
    var count: Int { issues.count &+ omitted }

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

    /// An integer that may be past Int64.
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

    /// An integer of 4 bytes.
    func integer32(_ name: String, _ range: ClosedRange<Int64> = 0...Int64(UInt32.max)) -> UInt32? {
        integer(name, range).map { UInt32(clamping: $0) }
    }

    /// One of a few words; "" is what Go programs write for none.
    func choice<Value>(_ name: String, _ choices: [(word: String, value: Value)]) -> Value? {
        guard let value = value(name) else { return nil }
        if case .string(let text) = value {
            if text.isEmpty { return nil }
            for choice in choices where choice.word == text { return choice.value }
        }
        var expected = ""
        for (index, choice) in choices.enumerated() {
            expected += (index == 0 ? "" : index == choices.count - 1 ? " or " : ", ") + quoted(choice.word)
        }
        mismatch(name, expected, value)
        return nil
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

    /// The objects of an array, which has at most `limit` elements.
    func objects(_ name: String, limit: Int = .max) -> [ObjectReader]? {
        guard let elements = array(name) else { return nil }
        if elements.count > limit {
            report(.invalid, name, "expected at most \(limit) elements, found \(elements.count)")
            return nil
        }
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

    /// Reports a property that has to be there, and is not: `what` says what it is.
    func require(_ name: String, _ what: String) {
        if value(name) == nil { report(.missing, name, "required: \(what)") }
    }

    /// The members of an object whose values are strings.
    func keyValues() -> [KeyValue] {
        var pairs: [KeyValue] = []
        pairs.reserveCapacity(members.count)
        for member in members {
            if case .string(let value) = member.value {
                pairs.append(KeyValue(key: member.name, value: value))
            } else {
                mismatch(member.name, "a string", member.value)
            }
        }
        return pairs
    }

    /// Entries of the form NAME=value.
    func environment(_ name: String) -> [String]? {
        strings(name) { entry in
            guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                return "expected NAME=value, found \(quoted(entry))"
            }
            return equals == entry.utf8.startIndex ? "expected NAME=value, found no name in \(quoted(entry))" : nil
        }
    }

    /// Refuses the named properties where they say something: absent, null, false, "", [] and {} ask for nothing.
    func refuse(_ names: [String], _ reason: String? = nil) {
        for name in names {
            if let value = value(name), !value.asksForNothing { report(.unsupported, name, reason ?? ObjectReader.refusal) }
        }
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
