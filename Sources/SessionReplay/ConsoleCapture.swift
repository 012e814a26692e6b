import Foundation
import SessionLog

/// Prints a capture of the diagnostics port (ttyS1: kernel messages, and tether's lines beside them) with a mark where a
/// phase begins (docs/formats.md, "Diagnostics").
///
/// Carriage returns are dropped and other control characters shown as `\xNN`: firmware and kernel write for a terminal of
/// their own.
public struct ConsolePrinter: Sendable {
    /// The most of a line that is held; a longer one is cut into several.
    static let maximumLine = 65_536

    private var pending: [UInt8] = []
    private var phase = ""
    private var lastTime = 0.0
    private var boots = 0

    public init() {}

    /// The text for the next bytes of the capture.
    public mutating func decode(_ chunk: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        for byte in chunk {
            if byte != 10 { pending.append(byte) }
            if byte == 10 || pending.count >= ConsolePrinter.maximumLine { text += takeLine() }
        }
        return text
    }

    /// The text for a last line without a newline.
    public mutating func finish() -> [UInt8] { pending.isEmpty ? [] : takeLine() }

    private mutating func takeLine() -> [UInt8] {
        defer { pending.removeAll(keepingCapacity: true) }
        var text: [UInt8] = []
        if let line = ConsoleLine(pending) {
            // Time since boot starts again with each boot.
            if boots == 0 || line.seconds + 1 < lastTime {
                boots += 1
                phase = ""
                if boots > 1 { text += mark("boot \(boots)", nil) }
            }
            lastTime = line.seconds
            if let next = line.phase, next != phase {
                phase = next
                text += mark(next, line.seconds)
            }
        }
        for byte in pending {
            switch byte {
            case 13: break
            case 0..<9, 11..<32, 127: text += Array(String(format: "\\x%02x", byte).utf8)
            default: text.append(byte)
            }
        }
        return text + [10]
    }

    private func mark(_ name: String, _ seconds: Double?) -> [UInt8] {
        Array("──── \(name)\(seconds.map { String(format: " (%.3f s)", $0) } ?? "") ────\n".utf8)
    }
}

/// What a line of the diagnostics port tells about itself.
struct ConsoleLine: Equatable {
    /// Seconds since boot.
    var seconds: Double
    /// The phase, if the line is tether's own.
    var phase: String?

    /// - Returns: nil for a line without a kernel time stamp, as firmware and boot loader write.
    init?(_ line: [UInt8]) {
        guard let open = line.firstIndex(of: UInt8(ascii: "[")), open <= 8, line.prefix(open).allSatisfy({ $0 < 0x21 }),
            let close = line[open...].prefix(24).firstIndex(of: UInt8(ascii: "]"))
        else { return nil }
        let number = line[(open + 1)..<close].drop { $0 == 0x20 }
        guard number.count >= 8, number[number.endIndex - 7] == UInt8(ascii: "."),
            number.allSatisfy({ $0 == UInt8(ascii: ".") || (0x30...0x39).contains($0) }),
            let seconds = Double(String(decoding: number, as: UTF8.self))
        else { return nil }
        self.seconds = seconds
        let rest = line[(close + 1)...]
        let prefix = Array(" tether[".utf8)
        if rest.starts(with: prefix), let end = rest.firstIndex(of: UInt8(ascii: "]")) {
            let name = String(decoding: rest[(rest.startIndex + prefix.count)..<end], as: UTF8.self)
            if Phase(rawValue: name) != nil { phase = name }
        }
    }
}

/// What a capture holds, judged by its beginning.
public enum CaptureKind: Sendable {
    case sessionLog
    case console

    /// Bytes after which the judgement is made in any case.
    static let window = 65_536

    /// The kind of a capture that begins with `bytes`.
    /// - Returns: nil while that cannot be told and more bytes may come.
    public static func detect(_ bytes: [UInt8], isAll: Bool) -> CaptureKind? {
        if LogFormat.detect(bytes, isAll: isAll) != nil { return .sessionLog }
        // A few lines must agree: a stray kernel message may stand in a session log too.
        let lines = bytes.split(separator: 10, omittingEmptySubsequences: true)
        let stamped = lines.reduce(0) { $0 + (ConsoleLine(Array($1)) == nil ? 0 : 1) }
        if stamped >= 3 || (isAll && stamped > 0) { return .console }
        return isAll || bytes.count >= window ? .sessionLog : nil
    }
}
