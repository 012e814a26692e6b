public import ContainerSpec
import SessionLog

/// A key of guestinfo and its value, as they are written.
public struct VICKeyValue: Equatable, Sendable {
    public var key: String
    public var value: String

    /// An empty value is written as `<nil>`, for the host would delete the key.
    public init(_ key: VICKey, _ value: String) {
        self.key = key.name
        self.value = value.isEmpty ? VICValues.nothing : value
    }
}

extension VICExecutorConfig {
    /// The keys of this configuration, as VIC's portlayer writes them, those of the guest among them.
    ///
    /// What reads them again is this configuration, with its maps in the order of their keys.
    /// - Throws: ``SpecError`` for what the keys cannot express.
    public func keyValues() throws(SpecError) -> [VICKeyValue] {
        var encoder = VICEncoder()
        var copy = self
        copy.fields(&encoder)
        encoder.checkNames()
        if !encoder.issues.isEmpty { throw SpecError(issues: encoder.issues, omitted: encoder.omitted) }
        return encoder.keyValues
    }
}

/// Writes fields to their keys.
struct VICEncoder: VICFieldCoder {
    private(set) var keyValues: [VICKeyValue] = []
    private(set) var issues: [SpecIssue] = []
    private(set) var omitted = 0
    private var place = VICKey()

    /// Names in maps that differ in case, or in what separates their parts, have the same keys.
    mutating func checkNames() {
        var names: Set<String> = []
        for pair in keyValues where !names.insert(pair.key.lowercased()).inserted {
            if issues.count < SpecError.limit {
                issues.append(SpecIssue(.unsupported, pair.key, "two values have this key"))
            } else {
                omitted += 1
            }
        }
    }

    private mutating func report(_ key: VICKey, _ problem: String) {
        if issues.count < SpecError.limit { issues.append(SpecIssue(.unsupported, key.name, problem)) } else { omitted += 1 }
    }

    private mutating func write(_ key: VICKey, _ value: String) {
        if value == VICValues.nothing { report(key, "\"\(VICValues.nothing)\" is read as nothing") }
        if value.utf8.contains(0) { report(key, "a NUL character cannot be written") }
        keyValues.append(VICKeyValue(key, value))
    }

    // MARK: Values

    mutating func string(_ name: String, _ access: VICAccess, _ value: inout String) { write(place.field(name, access), value) }

    mutating func bool(_ name: String, _ access: VICAccess, _ value: inout Bool) {
        write(place.field(name, access), value ? "true" : "false")
    }

    mutating func integer(_ name: String, _ access: VICAccess, _ value: inout Int64) { write(place.field(name, access), "\(value)") }

    mutating func time(_ name: String, _ access: VICAccess, _ value: inout Timestamp) {
        write(place.field(name, access), VICValues.text(value))
    }

    mutating func bytes(_ name: String, _ access: VICAccess, _ value: inout [UInt8]) {
        if !value.isEmpty { write(place.field(name, access), VICValues.text(value)) }
    }

    mutating func address(_ name: String, _ access: VICAccess, _ value: inout VICAddress) { address(place.field(name, access), value) }

    private mutating func address(_ key: VICKey, _ value: VICAddress) {
        if value.bytes.isEmpty { return }
        if value.bytes.count != 4 && value.bytes.count != 16 { report(key, "an address has 4 or 16 bytes, not \(value.bytes.count)") }
        write(key, VICValues.text(value.bytes))
    }

    // MARK: Lists and structures

    mutating func strings(_ name: String, _ kind: VICListKind, _ value: inout [String]) {
        let key = place.field(name)
        if value.isEmpty { return }
        var text = ""
        for (index, string) in value.enumerated() {
            if string.utf8.contains(UInt8(ascii: "|")) { report(key.values, "a \"|\" cannot be part of a string in a list") }
            text += (index == 0 ? "" : "|") + string
        }
        write(key.values, text)
        write(key, "\(value.count - 1)")
    }

    private mutating func count(_ key: VICKey, _ count: Int) {
        if count > VICDecoder.elementLimit { report(key, "at most \(VICDecoder.elementLimit) elements can be read, not \(count)") }
        write(key, "\(count - 1)")
    }

    mutating func addresses(_ name: String, _ access: VICAccess, _ value: inout [VICAddress]) {
        let key = place.field(name, access)
        if value.isEmpty { return }
        for (index, element) in value.enumerated() { address(key.element("\(index)"), element) }
        count(key, value.count)
    }

    private mutating func at(_ key: VICKey, _ body: (inout VICEncoder) -> Void) {
        let outer = place
        place = key
        body(&self)
        place = outer
    }

    mutating func structure(_ name: String, _ access: VICAccess, _ body: (inout VICEncoder) -> Void) { at(place.field(name, access), body) }

    mutating func optional<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout Value?) {
        guard var present = value else { return }
        let before = keyValues.count
        let key = place.field(name, access)
        at(key) { present.fields(&$0) }
        if keyValues.count == before { report(key, "what is there cannot be empty") }
    }

    mutating func list<Value: VICFields>(_ name: String, _ access: VICAccess, _ value: inout [Value]) {
        let key = place.field(name, access)
        if value.isEmpty { return }
        for (index, element) in value.enumerated() {
            var copy = element
            at(key.element("\(index)")) { copy.fields(&$0) }
        }
        count(key, value.count)
    }

    mutating func map<Value: VICElement>(_ name: String, isNonPersistent: Bool, _ value: inout [Value]) {
        let key = place.field(name, nonPersistent: isNonPersistent)
        if value.isEmpty { return }
        if value.count > VICDecoder.elementLimit {
            report(key, "at most \(VICDecoder.elementLimit) elements can be read, not \(value.count)")
        }
        value.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        var names = ""
        for element in value {
            // Printable ASCII, and nothing that separates keys from what stands beside them.
            let isPlain = element.key.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "|") && $0 != UInt8(ascii: "@") && $0 != UInt8(ascii: "=")
                    && $0 != UInt8(ascii: ":")
            }
            if element.key.isEmpty || element.key.utf8.count > VICDecoder.nameLimit || !isPlain {
                report(key, "\"\(element.key)\" cannot be an element's name")
            }
            if element.problem != nil { report(key, "\"\(element.key)\" was not understood when it was read") }
            names += (names.isEmpty ? "" : "|") + element.key
            var copy = element
            at(key.element(element.key)) { copy.fields(&$0) }
        }
        write(key, names)
    }

    mutating func information(_ body: (inout VICEncoder) -> Void) { body(&self) }
}
