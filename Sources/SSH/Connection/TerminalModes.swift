/// The modes of a terminal as `pty-req` carries them (RFC 4254, 8): the client's, for the server's terminal to begin with.
public struct TerminalModes: Equatable, Sendable {
    /// The modes that mean something to a terminal of Linux. Others are carried all the same.
    public enum Opcode: UInt8, Sendable, CaseIterable {
        // Control characters; 255 is none.
        case vintr = 1, vquit, verase, vkill, veof, veol, veol2, vstart, vstop, vsusp
        case vreprint = 12, vwerase, vlnext, vswtch = 16, vdiscard = 18
        // Input.
        case ignpar = 30, parmrk, inpck, istrip, inlcr, igncr, icrnl, iuclc, ixon, ixany, ixoff, imaxbel, iutf8
        // Local.
        case isig = 50, icanon, xcase, echo, echoe, echok, echonl, noflsh, tostop, iexten, echoctl, echoke, pendin
        // Output.
        case opost = 70, olcuc, onlcr, ocrnl, onocr, onlret
        // Control, and speeds in bits per second.
        case cs7 = 90, cs8, parenb, parodd
        case inputSpeed = 128, outputSpeed
    }

    /// Not more are kept; there are 159 opcodes that carry a value.
    static let maximum = 159

    /// In the order in which they came, each opcode once, with the value that came last.
    private var values: [(opcode: UInt8, value: UInt32)] = []

    public init() {}

    /// Reads the encoded modes, which end with opcode 0, with the first opcode that is not defined (160–255), or with the bytes: a
    /// mode cut short is none.
    public init(encoded: [UInt8]) {
        var reader = WireReader(encoded)
        while true {
            let opcode = reader.byte()
            let value = reader.uint32()
            guard !reader.hasFailed, (1...159).contains(opcode) else { return }
            self[opcode] = value
        }
    }

    public var isEmpty: Bool { values.isEmpty }

    /// A mode by its number, 1–159; nil where it was not given.
    public subscript(opcode: UInt8) -> UInt32? {
        get { values.first { $0.opcode == opcode }?.value }
        set {
            let place = values.firstIndex { $0.opcode == opcode }
            switch (newValue, place) {
            case (let value?, let place?): values[place].value = value
            case (let value?, nil): if values.count < Self.maximum, (1...159).contains(opcode) { values.append((opcode, value)) }
            case (nil, let place?): values.remove(at: place)
            case (nil, nil): break
            }
        }
    }

    public subscript(opcode: Opcode) -> UInt32? {
        get { self[opcode.rawValue] }
        set { self[opcode.rawValue] = newValue }
    }

    /// A control character (``Opcode/vintr`` to ``Opcode/vdiscard``); nil where it was not given, or is none.
    public func character(_ opcode: Opcode) -> UInt8? {
        guard let value = self[opcode], value < 255 else { return nil }
        return UInt8(truncatingIfNeeded: value)
    }

    public var encoded: [UInt8] {
        var writer = WireWriter()
        for mode in values {
            writer.byte(mode.opcode)
            writer.uint32(mode.value)
        }
        writer.byte(0)
        return writer.bytes
    }

    public static func == (one: TerminalModes, other: TerminalModes) -> Bool {
        one.values.count == other.values.count
            && zip(one.values, other.values).allSatisfy { $0.opcode == $1.opcode && $0.value == $1.value }
    }
}
