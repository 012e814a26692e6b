import CLinux

/// Reads CRI log lines from a byte stream that may have been cut or mixed with other bytes on its way.
///
/// Feed it chunks of any size. A line that is no record is searched for one that something else was glued in front of;
/// what is not part of a record is reported as skipped, and reading goes on at the next newline. Memory is bounded: of a
/// line without end only the last 32 KiB are kept, which is more than any record takes.
public struct CRIDecoder: Sendable {
    /// What the stream held next.
    public enum Item: Sendable, Equatable {
        case record(CRIRecord)
        /// `count` bytes from `offset` on (counted from the first byte fed) are no part of a record.
        case skipped(offset: UInt64, count: UInt64)
        /// The stream ended inside this record: its bytes are those that came, `endsLine` is false.
        case truncated(CRIRecord)
    }

    /// A line is given up when it grows beyond this many bytes.
    static let maximumLine = 65_536
    /// Of a line given up, this much is kept to find a record in.
    static let keptTail = 32_768

    /// The line whose newline has not come.
    private var pending: [UInt8] = []
    /// Whether the beginning of that line was given up.
    private var isPendingOverlong = false
    /// The offset of the first byte that is neither reported nor skipped.
    private var offset: UInt64 = 0
    /// Skipped bytes not yet reported, so that adjoining ones make one report.
    private var skippedFrom: UInt64 = 0
    private var skippedCount: UInt64 = 0

    public init() {}

    /// Takes in the next bytes and hands every item they complete to `receive`, in order.
    public mutating func decode(_ chunk: UnsafeRawBufferPointer, _ receive: (Item) -> Void) {
        guard var start = chunk.baseAddress else { return }
        var left = chunk.count
        while left > 0 {
            guard let length = newlineOffset(start, left) else {
                hold(UnsafeRawBufferPointer(start: start, count: left))
                return
            }
            let line = UnsafeRawBufferPointer(start: start, count: length)
            start += length + 1
            left -= length + 1
            if pending.isEmpty {
                take(line, isOverlong: length > CRIDecoder.maximumLine, hasNewline: true, receive)
            } else {
                hold(line)
                takePending(hasNewline: true, receive)
            }
        }
    }

    /// As ``decode(_:_:)``, from an array.
    public mutating func decode(_ chunk: [UInt8], _ receive: (Item) -> Void) {
        chunk.withUnsafeBytes { decode($0, receive) }
    }

    /// The stream has ended: hands out what is left.
    public mutating func finish(_ receive: (Item) -> Void) {
        if !pending.isEmpty { takePending(hasNewline: false, receive) }
        report(receive)
    }

    /// Appends to the pending line; of one too long only the tail stays, ``keptTail`` bytes or more.
    private mutating func hold(_ bytes: UnsafeRawBufferPointer) {
        var bytes = bytes
        if pending.count + bytes.count > CRIDecoder.maximumLine {
            let kept = min(bytes.count, CRIDecoder.keptTail)
            let keptPending = min(pending.count, CRIDecoder.keptTail - kept)
            skip(UInt64(pending.count - keptPending) + UInt64(bytes.count - kept))
            pending.removeFirst(pending.count - keptPending)
            isPendingOverlong = true
            bytes = UnsafeRawBufferPointer(rebasing: bytes.suffix(kept))
        }
        if bytes.count > 0 { pending.append(contentsOf: bytes.assumingMemoryBound(to: UInt8.self)) }
    }

    private mutating func takePending(hasNewline: Bool, _ receive: (Item) -> Void) {
        let line = pending
        let isOverlong = isPendingOverlong
        // Given back below, so that its storage is used again.
        pending = []
        isPendingOverlong = false
        line.withUnsafeBytes { take($0, isOverlong: isOverlong, hasNewline: hasNewline, receive) }
        pending = line
        pending.removeAll(keepingCapacity: true)
    }

    /// Interprets a line. Of an overlong one exactly the last ``keptTail`` bytes are searched, so that the result does
    /// not depend on the sizes of the chunks.
    private mutating func take(
        _ line: UnsafeRawBufferPointer, isOverlong: Bool, hasNewline: Bool, _ receive: (Item) -> Void
    ) {
        let tail = isOverlong ? UnsafeRawBufferPointer(rebasing: line.suffix(CRIDecoder.keptTail)) : line
        let end: UInt64 = hasNewline ? 1 : 0
        guard let found = CRIDecoder.find(in: tail) else {
            skip(UInt64(line.count) + end)
            return
        }
        skip(UInt64(line.count - tail.count + found.start))
        report(receive)
        offset &+= UInt64(tail.count - found.start) + end
        let record = found.header.record(tail, endsLine: hasNewline && found.header.endsLine)
        receive(hasNewline ? .record(record) : .truncated(record))
    }

    private mutating func skip(_ count: UInt64) {
        if skippedCount == 0 { skippedFrom = offset }
        skippedCount &+= count
        offset &+= count
    }

    private mutating func report(_ receive: (Item) -> Void) {
        if skippedCount > 0 { receive(.skipped(offset: skippedFrom, count: skippedCount)) }
        skippedCount = 0
    }

    /// What stands before a record's content.
    private struct Header {
        var timestamp: Timestamp
        var stream: LogStream
        var endsLine: Bool
        /// Where the content begins in the line.
        var contentStart: Int

        func record(_ line: UnsafeRawBufferPointer, endsLine: Bool) -> CRIRecord {
            CRIRecord(
                timestamp: timestamp, stream: stream, endsLine: endsLine,
                bytes: [UInt8](UnsafeRawBufferPointer(rebasing: line[contentStart...])))
        }
    }

    /// The first record header in `line`; at 0, unless something is glued in front.
    private static func find(in line: UnsafeRawBufferPointer) -> (start: Int, header: Header)? {
        if let header = header(line, at: 0) { return (0, header) }
        // The shortest header: 2026-01-02T03:04:05Z event F
        var at = 0
        while line.count - at >= 29 {
            if line[at + 4] == UInt8(ascii: "-"), let header = header(line, at: at) { return (at, header) }
            at += 1
        }
        return nil
    }

    private static func header(_ line: UnsafeRawBufferPointer, at start: Int) -> Header? {
        let text = UnsafeRawBufferPointer(rebasing: line[start...])
        guard let (timestamp, length) = Timestamp.parse(text) else { return nil }
        let rest = UnsafeRawBufferPointer(rebasing: text[length...])
        let stream: LogStream
        var at: Int
        if starts(rest, with: " stdout ") {
            (stream, at) = (.stdout, 8)
        } else if starts(rest, with: " stderr ") {
            (stream, at) = (.stderr, 8)
        } else if starts(rest, with: " event ") {
            (stream, at) = (.event, 7)
        } else {
            return nil
        }
        guard rest.count > at + 1, rest[at] == UInt8(ascii: "F") || rest[at] == UInt8(ascii: "P") else { return nil }
        let endsLine = rest[at] == UInt8(ascii: "F")
        at += 1
        // CRI allows further tags after the first, each behind a colon; no one has defined any.
        if rest[at] == UInt8(ascii: ":") {
            while at < rest.count, rest[at] != UInt8(ascii: " ") { at += 1 }
        }
        guard at < rest.count, rest[at] == UInt8(ascii: " ") else { return nil }
        return Header(timestamp: timestamp, stream: stream, endsLine: endsLine, contentStart: start + length + at + 1)
    }

    @inline(__always)
    private static func starts(_ text: UnsafeRawBufferPointer, with prefix: StaticString) -> Bool {
        guard let start = text.baseAddress, text.count >= prefix.utf8CodeUnitCount else { return false }
        return memcmp(start, prefix.utf8Start, prefix.utf8CodeUnitCount) == 0
    }
}
