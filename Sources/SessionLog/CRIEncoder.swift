import CLinux

/// Turns the output of a container process into CRI log lines (docs/formats.md, "Session log").
///
/// Each stream holds back its unfinished line, so that a process which writes a line in several pieces costs one record
/// and not several; the caller decides with ``flushPartial(_:into:)`` how long. Memory is bounded: at most
/// ``CRIRecord/maximumContent`` bytes are held per stream.
public struct CRIEncoder: Sendable {
    private var stdout = Line()
    private var stderr = Line()
    private var event = Line()
    private var clock = TimestampCache()

    public init() {}

    /// Appends to `log` the records that `bytes` complete, and holds back what follows the last newline.
    /// - Parameters:
    ///   - nanoseconds: when `bytes` were read, since 1970; a record carries the time at which its first byte was read.
    public mutating func encode(
        _ stream: LogStream, _ bytes: UnsafeRawBufferPointer, at nanoseconds: Int64, into log: inout [UInt8]
    ) {
        switch stream {
        case .stdout: CRIEncoder.encode(.stdout, bytes, at: nanoseconds, &stdout, &clock, into: &log)
        case .stderr: CRIEncoder.encode(.stderr, bytes, at: nanoseconds, &stderr, &clock, into: &log)
        case .event: CRIEncoder.encode(.event, bytes, at: nanoseconds, &event, &clock, into: &log)
        }
    }

    /// As ``encode(_:_:at:into:)``, from an array.
    public mutating func encode(_ stream: LogStream, _ bytes: [UInt8], at nanoseconds: Int64, into log: inout [UInt8]) {
        bytes.withUnsafeBytes { encode(stream, $0, at: nanoseconds, into: &log) }
    }

    /// Appends an event as a record of its own.
    public mutating func encode(_ event: SessionEvent, at nanoseconds: Int64, into log: inout [UInt8]) {
        var line = event.json
        line.append(newline)
        encode(.event, line, at: nanoseconds, into: &log)
    }

    /// Appends the unfinished line of `stream`, if there is one, as a `P` record.
    public mutating func flushPartial(_ stream: LogStream, into log: inout [UInt8]) {
        switch stream {
        case .stdout: CRIEncoder.flush(.stdout, &stdout, &clock, into: &log)
        case .stderr: CRIEncoder.flush(.stderr, &stderr, &clock, into: &log)
        case .event: CRIEncoder.flush(.event, &event, &clock, into: &log)
        }
    }

    /// Whether `stream` holds back an unfinished line.
    public func hasPartial(_ stream: LogStream) -> Bool { heldCount(stream) > 0 }

    /// The number of bytes of `stream` held back.
    public func heldCount(_ stream: LogStream) -> Int {
        switch stream {
        case .stdout: return stdout.held.count
        case .stderr: return stderr.held.count
        case .event: return event.held.count
        }
    }

    /// The beginning of a line whose newline has not come.
    private struct Line: Sendable {
        var held: [UInt8] = []
        /// When the first held byte was read.
        var since: Int64 = 0
    }

    private static func encode(
        _ stream: LogStream, _ bytes: UnsafeRawBufferPointer, at nanoseconds: Int64, _ line: inout Line,
        _ clock: inout TimestampCache, into log: inout [UInt8]
    ) {
        guard var start = bytes.baseAddress else { return }
        var left = bytes.count
        while left > 0 {
            let length = newlineOffset(start, left)
            var piece = UnsafeRawBufferPointer(start: start, count: length ?? left)
            let taken = piece.count + (length == nil ? 0 : 1)
            start += taken
            left -= taken

            // A line longer than a record may be goes out as full P records; the last piece, even one that fills a
            // record exactly, waits for its newline.
            while line.held.count + piece.count > CRIRecord.maximumContent {
                let head = UnsafeRawBufferPointer(rebasing: piece.prefix(CRIRecord.maximumContent - line.held.count))
                piece = UnsafeRawBufferPointer(rebasing: piece.dropFirst(head.count))
                appendRecord(stream, endsLine: false, &line, head, at: nanoseconds, &clock, into: &log)
            }
            if length != nil {
                appendRecord(stream, endsLine: true, &line, piece, at: nanoseconds, &clock, into: &log)
            } else if piece.count > 0 {
                if line.held.isEmpty { line.since = nanoseconds }
                line.held.append(contentsOf: piece.assumingMemoryBound(to: UInt8.self))
            }
        }
    }

    private static func flush(_ stream: LogStream, _ line: inout Line, _ clock: inout TimestampCache, into log: inout [UInt8]) {
        if line.held.isEmpty { return }
        appendRecord(stream, endsLine: false, &line, UnsafeRawBufferPointer(start: nil, count: 0), at: line.since, &clock, into: &log)
    }

    /// Appends one record of the held bytes and `tail`, and empties the held bytes.
    private static func appendRecord(
        _ stream: LogStream, endsLine: Bool, _ line: inout Line, _ tail: UnsafeRawBufferPointer, at nanoseconds: Int64,
        _ clock: inout TimestampCache, into log: inout [UInt8]
    ) {
        clock.append(line.held.isEmpty ? nanoseconds : line.since, to: &log)
        switch (stream, endsLine) {
        case (.stdout, true): append(" stdout F ", to: &log)
        case (.stdout, false): append(" stdout P ", to: &log)
        case (.stderr, true): append(" stderr F ", to: &log)
        case (.stderr, false): append(" stderr P ", to: &log)
        case (.event, true): append(" event F ", to: &log)
        case (.event, false): append(" event P ", to: &log)
        }
        if !line.held.isEmpty {
            log.append(contentsOf: line.held)
            line.held.removeAll(keepingCapacity: true)
        }
        if tail.count > 0 { log.append(contentsOf: tail.assumingMemoryBound(to: UInt8.self)) }
        log.append(newline)
    }

    @inline(__always)
    private static func append(_ text: StaticString, to log: inout [UInt8]) {
        log.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
}

let newline = UInt8(ascii: "\n")

/// The offset of the first newline (memchr(3)).
@inline(__always)
func newlineOffset(_ start: UnsafeRawPointer, _ count: Int) -> Int? {
    guard let found = memchr(start, Int32(newline), count) else { return nil }
    return UnsafeRawPointer(found) - start
}

/// The text of the last time stamp: most records share its second, and many, read at once, all of it.
struct TimestampCache: Sendable {
    private var nanoseconds: Int64 = -1
    private var text: [UInt8] = []

    mutating func append(_ time: Int64, to log: inout [UInt8]) {
        if time != nanoseconds || text.isEmpty { render(time) }
        log.append(contentsOf: text)
    }

    private mutating func render(_ time: Int64) {
        if time >= 0, !text.isEmpty, time / 1_000_000_000 == nanoseconds / 1_000_000_000, nanoseconds >= 0 {
            text.removeLast(10)
            Decimal.append(time % 1_000_000_000, digits: 9, to: &text)
            text.append(UInt8(ascii: "Z"))
        } else {
            text.removeAll(keepingCapacity: true)
            Timestamp(nanoseconds: time).append(to: &text)
        }
        nanoseconds = time
    }
}
