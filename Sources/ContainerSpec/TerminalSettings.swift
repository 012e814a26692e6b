/// `process.terminalModes`: how a terminal differs from a new one of the kernel's, in the numbers of SSH (RFC 4254, section 8). It is
/// tether's own, for processes that are started beside the container process, and for that where a client starts it.
public struct TerminalSettings: Equatable, Sendable {
    public struct Mode: Equatable, Sendable {
        /// The mode's opcode, 1–159.
        public let opcode: UInt8
        public let value: UInt32
    }

    /// Each opcode once, with the value that came last. What a terminal of Linux does not have is there, too.
    public private(set) var modes: [Mode] = []

    public init() {}

    /// Sets a mode. An opcode that carries no value (RFC 4254: 0 and 160–255) is none.
    public mutating func set(_ opcode: UInt8, _ value: UInt32) {
        guard (1...159).contains(opcode) else { return }
        modes.removeAll { $0.opcode == opcode }
        modes.append(Mode(opcode: opcode, value: value))
    }

    /// Reads the JSON array alone, as the control protocol's `release` carries it; no bytes are no modes.
    /// - Throws: ``SpecError`` where it has another form.
    public static func decode(_ bytes: [UInt8]) throws(SpecError) -> TerminalSettings {
        if bytes.isEmpty { return TerminalSettings() }
        guard case .array(let entries) = try JSONValue.parse(bytes) else {
            throw SpecError(issues: [SpecIssue(.invalid, "terminalModes", "expected an array")])
        }
        var issues: [SpecIssue] = []
        let settings = TerminalSettings(entries) { issues.append(SpecIssue(.invalid, "terminalModes[\($0)]", $1)) }
        if !issues.isEmpty { throw SpecError(issues: issues) }
        return settings
    }

    /// - Parameter report: told of what is none, by its place.
    init(_ entries: [JSONValue], _ report: (Int, String) -> Void) {
        // More than there are opcodes would be no use to anyone.
        if entries.count > 159 { report(159, "expected at most 159 modes, found \(entries.count)") }
        for (index, entry) in entries.prefix(159).enumerated() {
            if case .array(let pair) = entry, pair.count == 2, case .integer(let opcode) = pair[0], case .integer(let value) = pair[1],
                (1...159).contains(opcode), (0...4_294_967_295).contains(value)
            {
                set(UInt8(clamping: opcode), UInt32(clamping: value))
            } else {
                report(index, "expected an opcode from 1 to 159 and its value, in an array")
            }
        }
    }
}
