public import ContainerSpec
import SessionLog

/// What of a configuration is read.
public enum VICExtent: Sendable {
    /// What a guest needs to run it.
    case needed
    /// Everything.
    case all
}

/// What is known of a session when its keys are read again.
public enum VICKnowledge: Sendable {
    /// Nothing: all of its keys are read.
    case none
    /// There is a process: only what can change of it is read.
    case running
    /// It is over: nothing is read. The host leaves it in the configuration until the VM is off.
    case over
}

/// What was read of VIC's keys.
public struct VICReading: Equatable, Sendable {
    public var config: VICExecutorConfig
    /// What is odd about it, and how it was taken.
    public var warnings: [SpecIssue]
    /// How many keys were asked for.
    public var fetched: Int
}

/// Why a value could not be had.
public struct VICSourceError: Error, Equatable, Sendable {
    public let cause: String

    public init(_ cause: String) { self.cause = cause }
}

extension VICExecutorConfig {
    /// Where values come from: the one under a key, nil where there is none. Upper and lower case are the same in keys, as the host
    /// has it; VIC itself spells some of them in two ways.
    public typealias Source = (String) throws(VICSourceError) -> [UInt8]?

    /// Reads a configuration.
    ///
    /// - Parameters:
    ///   - known: what is known of a session already.
    ///   - source: is asked for the keys that are needed, and no others.
    /// - Returns: nil where there is no configuration of VIC's.
    /// - Throws: ``SpecError`` with the keys whose values cannot be understood, or the one that could not be read. Those of an exec
    ///   do not count: they are the exec's own affair (``VICSession/problem``). Nor do those of volumes and networks, or values that
    ///   the guest itself can write, and with it any process of the container: they are warnings.
    public static func read(
        _ extent: VICExtent = .needed, known: @escaping (String) -> VICKnowledge = { _ in .none }, from source: @escaping Source
    ) throws(SpecError) -> VICReading? {
        let (reading, error) = examine(extent, known: known, from: source)
        if let error { throw error }
        return reading
    }

    /// As ``read(_:known:from:)``, for those who want to see what there is, also where something is wrong with it.
    public static func examine(
        _ extent: VICExtent = .all, known: @escaping (String) -> VICKnowledge = { _ in .none }, from source: @escaping Source
    ) -> (reading: VICReading?, error: SpecError?) {
        var decoder = VICDecoder(extent, known: known, source)
        guard let id = decoder.value(VICKey.containerID) else { return (nil, decoder.error) }
        var config = VICExecutorConfig()
        config.fields(&decoder)
        if id.isEmpty { decoder.report(VICKey.containerID, "required: the container's id, found an empty value") }
        return (VICReading(config: config, warnings: decoder.warnings, fetched: decoder.fetched), decoder.error)
    }
}

/// Reads fields from their keys.
struct VICDecoder: VICFieldCoder {
    /// The most elements of a map that are new, or of a list of structures. More are nobody's configuration.
    static let elementLimit = 1024
    /// The most bytes of an element's name: a key that has one, and another in it, is not too long for the host.
    static let nameLimit = 256

    private let extent: VICExtent
    private let known: (String) -> VICKnowledge
    private let source: VICExecutorConfig.Source
    private var place = VICKey()
    private var issues: [SpecIssue] = []
    private var omitted = 0
    private(set) var warnings: [SpecIssue] = []
    private(set) var fetched = 0
    /// Values that were there.
    private var found = 0
    /// A source that failed once is not asked again: each question may take it long.
    private var hasFailed = false
    /// The container's id is asked for first, and then comes among the fields again.
    private var remembered: (name: String, value: String?)?

    init(_ extent: VICExtent, known: @escaping (String) -> VICKnowledge, _ source: @escaping VICExecutorConfig.Source) {
        self.extent = extent
        self.known = known
        self.source = source
    }

    var error: SpecError? { issues.isEmpty ? nil : SpecError(issues: issues, omitted: omitted) }

    mutating func report(_ key: VICKey, _ problem: String, _ kind: SpecIssue.Kind = .invalid) {
        // What any process of the container can write must not keep it from being started, or its configuration from being read.
        if key.isWritable && kind == .invalid { return warn(SpecIssue(kind, key.name, problem)) }
        if issues.count < SpecError.limit { issues.append(SpecIssue(kind, key.name, problem)) } else { omitted += 1 }
    }

    private mutating func warn(_ issue: SpecIssue) { if warnings.count < SpecError.limit { warnings.append(issue) } }

    /// The text under a key, empty where it is empty; nil where there is none.
    mutating func value(_ key: VICKey) -> String? {
        if hasFailed { return nil }
        let name = key.name
        if let remembered, remembered.name == name { return remembered.value }
        fetched += 1
        var value: String?
        do throws(VICSourceError) {
            if let bytes = try source(name) {
                if let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) {
                    value = text == VICValues.nothing ? "" : text
                } else {
                    report(key, "expected text in UTF-8 without NUL characters")
                }
            }
        } catch {
            hasFailed = true
            report(key, error.cause, .malformed)
        }
        if remembered == nil { remembered = (name, value) }
        if value != nil { found += 1 }
        return value
    }

    /// A value's text in a message.
    private static func quoted(_ text: String) -> String {
        var printable = ""
        for scalar in text.unicodeScalars {
            if printable.utf8.count >= 64 { return "\"\(printable)\"…" }
            // Control characters of both kinds, C0 and C1, could steer a terminal.
            let isControl = scalar.value < 0x20 || scalar.value >= 0x7F && scalar.value < 0xA0
            printable.unicodeScalars.append(isControl ? "?" : scalar)
        }
        return "\"\(printable)\""
    }

    private mutating func read<Value>(_ key: VICKey, _ value: inout Value, _ expected: String, _ parse: (String) -> Value?) {
        guard let text = self.value(key) else { return }
        if let parsed = parse(text) { value = parsed } else { report(key, "expected \(expected), found \(Self.quoted(text))") }
    }

    // MARK: Values

    mutating func string(_ name: String, _ access: VICAccess, _ value: inout String) {
        value = self.value(place.field(name, access)) ?? value
    }

    mutating func bool(_ name: String, _ access: VICAccess, _ value: inout Bool) {
        read(place.field(name, access), &value, "true or false") { VICValues.bool($0) }
    }

    mutating func integer(_ name: String, _ access: VICAccess, _ value: inout Int64) {
        read(place.field(name, access), &value, "an integer of 64 bits") { VICValues.integer($0) }
    }

    mutating func time(_ name: String, _ access: VICAccess, _ value: inout Timestamp) {
        read(place.field(name, access), &value, "a time such as \"2017-07-14 02:40:01 +0000 UTC\"") { VICValues.time($0) }
    }

    mutating func bytes(_ name: String, _ access: VICAccess, _ value: inout [UInt8]) {
        read(place.field(name, access), &value, "base64") { VICValues.bytes($0) }
    }

    mutating func address(_ name: String, _ access: VICAccess, _ value: inout VICAddress) { address(place.field(name, access), &value) }

    private mutating func address(_ key: VICKey, _ value: inout VICAddress) {
        read(key, &value, "4 or 16 bytes in base64") { text in
            guard let bytes = VICValues.bytes(text), bytes.isEmpty || bytes.count == 4 || bytes.count == 16 else { return nil }
            return VICAddress(bytes)
        }
    }

    // MARK: Lists and structures

    mutating func strings(_ name: String, _ kind: VICListKind, _ value: inout [String]) {
        let key = place.field(name)
        let countText = self.value(key)
        // An absent number is no absent list: it can be counted.
        guard let text = self.value(key.values) else {
            if let countText, VICValues.integer(countText) != -1, !countText.isEmpty {
                report(key.values, "absent, though there is \(key.name)")
            }
            return
        }
        var count: Int?
        if let countText, !countText.isEmpty {
            guard let last = VICValues.integer(countText), last >= -1, last < Int64(Int32.max) else {
                return report(key, "expected the number of strings less one, found \(Self.quoted(countText))")
            }
            if last == -1 { return }
            count = Int(last) + 1
        }
        switch VICList.split(text, count: count, kind) {
        case .exact(let strings): value = strings
        case .guessed(let strings):
            value = strings
            warn(
                SpecIssue(
                    .invalid, key.values.name,
                    "a string of this list has a \"|\" in it, which the key cannot express; it was put together by guess"))
        case .tooFew(let found): report(key.values, "expected \(count ?? 0) strings as \(key.name) says, found \(found)")
        }
    }

    /// The number of elements of a list.
    private mutating func count(_ key: VICKey) -> Int {
        guard let text = value(key), !text.isEmpty else { return 0 }
        guard let last = VICValues.integer(text), last >= -1, last < Int64(Self.elementLimit) else {
            report(key, "expected a number of elements less one, below \(Self.elementLimit), found \(Self.quoted(text))")
            return 0
        }
        return Int(last) + 1
    }

    mutating func addresses(_ name: String, _ access: VICAccess, _ value: inout [VICAddress]) {
        let key = place.field(name, access)
        let count = count(key)
        if count == 0 { return }
        value = []
        for index in 0..<count {
            var element = VICAddress()
            address(key.element("\(index)"), &element)
            value.append(element)
        }
    }

    private mutating func at(_ key: VICKey, _ body: (inout VICDecoder) -> Void) {
        let outer = place
        place = key
        body(&self)
        place = outer
    }

    mutating func structure(_ name: String, _ access: VICAccess, _ body: (inout VICDecoder) -> Void) { at(place.field(name, access), body) }

    mutating func optional<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout Value?) {
        let before = found
        var decoded = Value()
        at(place.field(name, access)) { decoded.fields(&$0) }
        if found > before { value = decoded }
    }

    mutating func list<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout [Value]) {
        let key = place.field(name, access)
        let count = count(key)
        if count == 0 { return }
        value = []
        for index in 0..<count {
            var element = Value()
            at(key.element("\(index)")) { element.fields(&$0) }
            value.append(element)
        }
    }

    mutating func map<Value: VICElement>(_ name: String, isNonPersistent: Bool, _ value: inout [Value]) {
        let key = place.field(name, nonPersistent: isNonPersistent)
        guard let text = self.value(key), !text.isEmpty else { return }
        value = []
        var (taken, new): (Set<String>, Int) = ([], 0)
        for name in text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false) {
            let name = String(Substring(name))
            if name.isEmpty { return report(key, "an element has no name") }
            if !taken.insert(key.element(name).folded).inserted { return report(key, "the element \(Self.quoted(name)) is there twice") }
            let knowledge = known(name)
            if knowledge == .none { new += 1 }
            if new > Self.elementLimit { return report(key, "expected at most \(Self.elementLimit) new elements, found more") }
            var element = Value()
            element.key = name
            let (issuesBefore, omittedBefore) = (issues.count, omitted)
            read(&element, key, knowledge)
            if (isNonPersistent || Value.isOptional) && !hasFailed && issues.count > issuesBefore {
                let own = issues[issuesBefore...]
                if isNonPersistent { element.problem = SpecError(issues: Array(own), omitted: omitted - omittedBefore).description }
                if Value.isOptional { for issue in own { warn(issue) } }
                issues.removeLast(own.count)
                omitted = omittedBefore
            }
            value.append(element)
        }
        // However the host orders them.
        value.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    private mutating func read<Value: VICElement>(_ element: inout Value, _ key: VICKey, _ knowledge: VICKnowledge) {
        // The host could not be asked for such a key: it is one word of a line.
        if element.key.utf8.count > Self.nameLimit || !element.key.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
            let expected = "expected elements' names of at most \(Self.nameLimit) printable ASCII characters"
            return report(key, "\(expected), found \(Self.quoted(element.key))")
        }
        at(key.element(element.key)) {
            switch knowledge {
            case .none: element.fields(&$0)
            case .running: element.changingFields(&$0)
            case .over: break
            }
        }
    }

    mutating func information(_ body: (inout VICDecoder) -> Void) { if extent == .all { body(&self) } }
}
