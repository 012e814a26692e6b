import Foundation
import VIC

/// The keys in what people have of a VM: its .vmx file, or what `govc vm.info -e` prints, with `-json` or without. Lines of
/// `key=value`, as `tetherctl vic encode` prints them, are read as well.
struct VICDump {
    /// Values by key, the key in lower case: the host takes upper and lower case for the same.
    private(set) var values: [String: String] = [:]
    /// The keys as they are written.
    private(set) var names: [String] = []
    /// Why it is not the dump of one VM.
    private var conflict: String?

    /// - Throws: ``VICDumpError`` for JSON that is none; any other text is read line by line, and lines without a key are passed over.
    init(_ bytes: [UInt8]) throws(VICDumpError) {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.drop(while: { $0.isWhitespace }).first.map({ $0 == "{" || $0 == "[" }) ?? false {
            let object: Any
            do { object = try JSONSerialization.jsonObject(with: Data(bytes)) } catch {
                throw VICDumpError(description: "it begins as JSON, and is none: \(error.localizedDescription)")
            }
            take(object)
        } else {
            // Other characters that end a line in Unicode can stand in a value.
            for line in bytes.split(separator: UInt8(ascii: "\n")) { take(line: line.last == UInt8(ascii: "\r") ? line.dropLast() : line) }
        }
        if let conflict { throw VICDumpError(description: conflict) }
    }

    func value(_ key: String) -> String? { values[key.lowercased()] }

    private mutating func set(_ key: String, _ value: String) {
        if key.lowercased() == VICKey.containerID.name, let other = values[key.lowercased()], other != value {
            conflict = "there are several VMs in it: of \(VICPage.printable(other)) and \(VICPage.printable(value)), for example"
        }
        if values.updateValue(value, forKey: key.lowercased()) == nil { names.append(key) }
    }

    /// `ExtraConfig` is an array of objects with a key and a value, at a place that differs from version to version.
    private mutating func take(_ object: Any) {
        if let list = object as? [Any] {
            for element in list { take(element) }
        } else if let members = object as? [String: Any] {
            let key = (members["Key"] ?? members["key"]) as? String
            let value = (members["Value"] ?? members["value"]).flatMap { ($0 as? String) ?? ($0 as? [String: Any])?["_value"] as? String }
            if let key, let value { set(key, value) } else { for member in members.values { take(member) } }
        }
    }

    /// `key = "value"` of a .vmx file, `key:  value` of govc, or `key=value`. No key has a `=`, a `:` or a space in it. By bytes, for what
    /// a value begins with may make one character of them with what stands before it.
    private mutating func take(line: ArraySlice<UInt8>) {
        let line = line.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        let key = line.prefix { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: " ") }
        if key.isEmpty { return }
        let (name, rest) = (String(decoding: key, as: UTF8.self), line[key.endIndex...])
        if rest.starts(with: " = \"".utf8), rest.count >= 5, rest.last == UInt8(ascii: "\"") {
            set(name, Self.unescaped(rest.dropFirst(4).dropLast()))
        } else if rest.first == UInt8(ascii: "=") {
            set(name, String(decoding: rest.dropFirst(), as: UTF8.self))
        } else if rest.first == UInt8(ascii: ":") {
            set(name, String(decoding: rest.dropFirst().drop { $0 == UInt8(ascii: " ") }, as: UTF8.self))
        }
    }

    /// In a .vmx file `|` and two hexadecimal digits stand for a byte.
    private static func unescaped(_ text: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "|"), digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Why a dump cannot be read.
struct VICDumpError: Error, CustomStringConvertible { let description: String }
