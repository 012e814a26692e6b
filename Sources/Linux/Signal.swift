import CLinux

/// A Linux signal (signal(7)), with the names people and configuration files use for it.
public struct Signal: RawRepresentable, Equatable, Hashable, Sendable, CustomStringConvertible {
    /// The number, 1–64.
    public let rawValue: Int32

    /// - Returns: nil unless `rawValue` is 1–64, the numbers the kernel knows.
    public init?(rawValue: Int32) {
        guard rawValue >= 1 && rawValue <= Signal.last else { return nil }
        self.rawValue = rawValue
    }

    private init(known: Int32) { rawValue = known }

    public static let terminate = Signal(known: SIGTERM)
    public static let kill = Signal(known: SIGKILL)

    /// The kernel's SIGRTMAX on every architecture but MIPS.
    private static let last: Int32 = 64
    /// The lowest real-time signal an application may use: libc keeps the kernel's 32 and 33 for its threads (nptl(7)).
    private static let realTimeMinimum: Int32 = 34

    /// Reads a name as kill(1) takes it: `SIGTERM` or `TERM`, `SIGRTMIN+3`, `SIGRTMAX-14`, or the number, `15`.
    ///
    /// Letters may be in either case. - Returns: nil when there is no such signal.
    public init?(name: String) {
        var text: [UInt8] = []
        for byte in name.utf8 {
            // No signal's name is longer; the bound keeps the work on a bad name small.
            if text.count == 16 { return nil }
            text.append(byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") ? byte - 0x20 : byte)
        }
        if let number = Signal.decimal(text[...]) {
            self.init(rawValue: number)
            return
        }
        var rest = text[...]
        if rest.starts(with: "SIG".utf8) { rest = rest.dropFirst(3) }
        guard let number = Signal.standard(rest) ?? Signal.realTime(rest) else { return nil }
        self.init(rawValue: number)
    }

    /// The name with its prefix: `SIGKILL`, `SIGRTMIN+3`; 32 and 33, which have none, are `SIG32` and `SIG33`.
    public var name: String {
        if let abbreviation = sigabbrev_np(rawValue) { return "SIG" + String(cString: abbreviation) }
        if rawValue < Signal.realTimeMinimum { return "SIG\(rawValue)" }
        let offset = rawValue - Signal.realTimeMinimum
        return offset == 0 ? "SIGRTMIN" : "SIGRTMIN+\(offset)"
    }

    public var description: String { name }

    /// The signals below the real-time ones, and the second names some of them have.
    private static func standard(_ name: ArraySlice<UInt8>) -> Int32? {
        for number in 1..<realTimeMinimum {
            if let abbreviation = sigabbrev_np(number) {
                if name.elementsEqual(String(cString: abbreviation).utf8) { return number }
            } else if name.elementsEqual("\(number)".utf8) {
                return number
            }
        }
        if name.elementsEqual("IO".utf8) { return SIGIO }
        if name.elementsEqual("IOT".utf8) { return SIGIOT }
        if name.elementsEqual("CLD".utf8) { return SIGCHLD }
        if name.elementsEqual("UNUSED".utf8) { return SIGSYS }
        return nil
    }

    /// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`, within the application's range.
    private static func realTime(_ name: ArraySlice<UInt8>) -> Int32? {
        let fromMinimum = name.starts(with: "RTMIN".utf8)
        guard fromMinimum || name.starts(with: "RTMAX".utf8) else { return nil }
        let tail = name.dropFirst(5)
        guard let sign = tail.first else { return fromMinimum ? realTimeMinimum : last }
        guard sign == (fromMinimum ? UInt8(ascii: "+") : UInt8(ascii: "-")), let offset = decimal(tail.dropFirst()),
            offset <= last - realTimeMinimum
        else { return nil }
        return fromMinimum ? realTimeMinimum + offset : last - offset
    }

    /// One to three decimal digits.
    private static func decimal(_ text: ArraySlice<UInt8>) -> Int32? {
        guard !text.isEmpty && text.count <= 3 else { return nil }
        var value: Int32 = 0
        for byte in text {
            guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int32(byte - UInt8(ascii: "0"))
        }
        return value
    }
}
