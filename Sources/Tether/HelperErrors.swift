import Linux

/// The lines of a helper's standard error. It may be in the hands of whoever is at the other end of its line: so many lines, and so long
/// ones, and no more; what is left out is said.
struct HelperLines {
    static let longest = 512
    static let perSecond = 10

    private var line: [UInt8] = []
    /// Bytes of the line that did not fit in.
    private var isCut = false
    private var second: Int64 = 0
    private var lines = 0

    /// - Parameter second: of a clock, now.
    /// - Returns: what is to be told, without control characters.
    mutating func take(_ bytes: [UInt8], second: Int64) -> [String] {
        var told = second == self.second ? [] : next(second)
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                told += finishLine()
            } else if line.count < HelperLines.longest {
                line.append(byte)
            } else {
                isCut = true
            }
        }
        return told
    }

    /// Nothing follows.
    mutating func finish() -> [String] { finishLine() + next(second) }

    /// How many lines the last second had too many.
    private mutating func next(_ second: Int64) -> [String] {
        let omitted = lines - HelperLines.perSecond
        (self.second, lines) = (second, 0)
        return omitted > 0 ? ["\(omitted) lines left out"] : []
    }

    private mutating func finishLine() -> [String] {
        if line.isEmpty { return [] }
        let text = String(decoding: line.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self) + (isCut ? "…" : "")
        (line, isCut) = ([], false)
        lines &+= 1
        return lines > HelperLines.perSecond ? [] : [text]
    }
}

/// What a helper writes to its standard error, on its way to the diagnostics.
final class HelperErrors {
    enum Progress { case more, ended }
    private enum Read { case bytes, nothing, ended }

    private let name: String
    private let descriptor: FileDescriptor
    private let diagnostics: Diagnostics
    private var lines = HelperLines()

    private static let readSize = 1024
    /// How often it is read in one turn of the event loop.
    private static let readsAtOnce = 4
    /// What a pipe holds.
    private static let pipeSize = 65_536

    init(_ name: String, _ descriptor: consuming FileDescriptor, _ diagnostics: Diagnostics) {
        self.name = name
        self.descriptor = descriptor
        self.diagnostics = diagnostics
    }

    /// Takes what is there, at most a few reads of it.
    func take(isQuiet: Bool) -> Progress {
        for _ in 0..<HelperErrors.readsAtOnce {
            switch read(isQuiet) {
            case .bytes: continue
            case .nothing: return .more
            case .ended:
                finish(isQuiet)
                return .ended
            }
        }
        return .more
    }

    /// Takes all that is there: the helper has ended.
    func takeRest(isQuiet: Bool) {
        for _ in 0...HelperErrors.pipeSize / HelperErrors.readSize { if read(isQuiet) != .bytes { break } }
        finish(isQuiet)
    }

    private func read(_ isQuiet: Bool) -> Read {
        do throws(SyscallError) {
            guard let bytes = try descriptor.read(atMost: HelperErrors.readSize, object: name) else { return .nothing }
            if bytes.isEmpty { return .ended }
            tell(lines.take(bytes, second: Clock.monotonic() / 1_000_000_000), isQuiet)
            return .bytes
        } catch { return .ended }
    }

    private func finish(_ isQuiet: Bool) {
        tell(lines.finish(), isQuiet)
    }

    private func tell(_ texts: [String], _ isQuiet: Bool) {
        for text in texts { if isQuiet { diagnostics.debug("\(name): \(text)") } else { diagnostics.info("\(name): \(text)") } }
    }
}
