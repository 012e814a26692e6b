import ContainerSpec
import Testing

@Suite struct JSONValueTests {
    private func parse(_ text: String) throws(SpecError) -> JSONValue { try JSONValue.parse(Array(text.utf8)) }

    private func failure(_ text: String) -> String {
        do throws(SpecError) {
            _ = try parse(text)
            return ""
        } catch { return error.description }
    }

    @Test func valuesOfEveryKind() throws {
        let value = try parse(
            #" {"n": null, "t": true, "f": false, "i": -9223372036854775808, "r": 1.5, "s": "ä\n", "a": [1, []], "o": {}} "#)
        #expect(
            value
                == .object([
                    .init(name: "n", value: .null), .init(name: "t", value: .bool(true)), .init(name: "f", value: .bool(false)),
                    .init(name: "i", value: .integer(.min)), .init(name: "r", value: .real(1.5)), .init(name: "s", value: .string("ä\n")),
                    .init(name: "a", value: .array([.integer(1), .array([])])), .init(name: "o", value: .object([])),
                ]))
    }

    @Test func membersKeepTheirOrder() throws {
        let names = (0..<200).map { "k\($0 * 7919 % 200)" }
        guard case .object(let members) = try parse("{" + names.map { "\"\($0)\": 0" }.joined(separator: ",") + "}") else {
            Issue.record("no object")
            return
        }
        #expect(members.map(\.name) == names)
    }

    @Test func byteOrderMarkIsSkipped() throws {
        #expect(try JSONValue.parse([0xEF, 0xBB, 0xBF] + Array("[]".utf8)) == .array([]))
    }

    @Test(arguments: [
        ("{\n  \"a\": 1,\n  \"a\": 2}", "line 3, column 5: duplicate object key"),
        ("{\n  \"a\": tru}", "line 2, column 10: invalid token"),
        ("{\"a\": 1", "line 1, column 7: '}' expected near end of file"),
        ("{} x", "line 1, column 4: end of file expected"),
        ("[1,]", "line 1, column 4: unexpected token"),
        ("7", "line 1, column 1: '[' or '{' expected"),
        ("[1e999]", "line 1, column 6: real number overflow"),
        ("[\"\\ud800\"]", "line 1, column"),
        ("[\"a\u{1}\"]", "line 1, column"),
    ])
    func malformedTextIsPlaced(_ text: String, _ expected: String) {
        #expect(failure(text).hasPrefix(expected), "\(failure(text))")
    }

    @Test(arguments: [[UInt8](), Array(" \n\t\r".utf8)])
    func emptyText(_ bytes: [UInt8]) {
        #expect(throws: SpecError(issues: [SpecIssue(.malformed, "", "the configuration is empty")])) { try JSONValue.parse(bytes) }
    }

    @Test(arguments: [[0xFF], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC3]] as [[UInt8]])
    func invalidUTF8(_ bytes: [UInt8]) {
        #expect(throws: SpecError.self) { try JSONValue.parse([0x5B] + bytes + [0x5D]) }
    }

    @Test func nestingIsBounded() throws {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(throws: Never.self) { try parse(nested(JSONValue.depthLimit)) }
        #expect(failure(nested(JSONValue.depthLimit + 1)) == "the configuration is nested more than 64 levels deep")
        #expect(failure(nested(100_000)).contains("maximum parsing depth reached"))
    }

    @Test func sizeIsBounded() throws {
        func padded(_ count: Int) -> [UInt8] { Array("[".utf8) + [UInt8](repeating: 0x20, count: count - 2) + Array("]".utf8) }
        #expect(try JSONValue.parse(padded(JSONValue.sizeLimit)) == .array([]))
        #expect(throws: SpecError.self) { try JSONValue.parse(padded(JSONValue.sizeLimit + 1)) }
    }

    @Test func integersPastInt64() throws {
        #expect(
            try parse("[18446744073709551615, 18446744073709551516, 9223372036854775808, 9223372036854775807, -9223372036854775808, 1, -0]")
                == .array([
                    .unsigned(.max), .unsigned(18_446_744_073_709_551_516), .unsigned(1 << 63), .integer(.max), .integer(.min), .integer(1),
                    .integer(0),
                ]))
        // Past 64 bits, or with a fraction or an exponent, it is no integer.
        #expect(
            try parse("[18446744073709551616, 1.0, 1e3, -9223372036854775809, 7]")
                == .array([.real(18_446_744_073_709_551_616), .real(1), .real(1000), .real(-9_223_372_036_854_775_808), .integer(7)]))
        // Digits in names and texts are no numbers, whatever escapes they have.
        #expect(
            try parse(#"{"1\\": "2", "\\\"3": [4, "\u0031-5", 18446744073709551615], "6": {"7": -8, "e": true}}"#)
                == .object([
                    .init(name: "1\\", value: .string("2")),
                    .init(name: "\\\"3", value: .array([.integer(4), .string("1-5"), .unsigned(.max)])),
                    .init(name: "6", value: .object([.init(name: "7", value: .integer(-8)), .init(name: "e", value: .bool(true))])),
                ]))
        #expect(try parse("[9223372036854775807]") == .array([.integer(.max)]))
    }

    @Test func messagesStayOnOneLine() {
        let text = failure("{\"a\nb\": \u{1b}[31m}")
        #expect(!text.isEmpty)
        #expect(!text.utf8.contains { $0 < 0x20 || $0 == 0x7F })
    }
}
