import Foundation
import SessionLog

/// Writes a terminal recording in asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): a header line, then a line per
/// piece of output.
///
/// Both streams become output of the one terminal. UTF-8 sequences that two records share are joined, and what is no
/// UTF-8 becomes U+FFFD, because the data is JSON text. A newline that has no carriage return gets one, as the line
/// discipline of a terminal would have done: a container without a terminal writes none.
public struct AsciicastWriter: Sendable {
    private let columns: Int
    private let rows: Int
    private var hasHeader = false
    private var timeLine = TimeLine()
    private var stdout = Stream()
    private var stderr = Stream()

    private struct Stream: Sendable {
        /// The beginning of a UTF-8 sequence whose end has not come.
        var tail: [UInt8] = []
        var lastByte: UInt8 = 0
    }

    public init(columns: Int = 80, rows: Int = 24) {
        self.columns = columns
        self.rows = rows
    }

    /// The lines for a record of stdout or stderr, each ending in a newline.
    public mutating func encode(_ record: CRIRecord) -> [UInt8] {
        var lines = hasHeader ? [] : header(record.timestamp)
        let elapsed = timeLine.advance(to: record.timestamp)
        switch record.stream {
        case .stdout: lines += AsciicastWriter.event(record, &stdout, elapsed)
        case .stderr: lines += AsciicastWriter.event(record, &stderr, elapsed)
        case .event: break
        }
        return lines
    }

    /// The next record comes from another boot.
    public mutating func startBoot() -> [UInt8] {
        timeLine.startBoot()
        return flush()
    }

    /// The lines for what the end of the session leaves unfinished; a header if nothing came at all.
    public mutating func finish() -> [UInt8] { (hasHeader ? [] : header(Timestamp(nanoseconds: 0))) + flush() }

    /// A UTF-8 sequence that does not go on is not valid.
    private mutating func flush() -> [UInt8] {
        var lines: [UInt8] = []
        for tail in [stdout.tail, stderr.tail] where !tail.isEmpty {
            lines += AsciicastWriter.line(timeLine.elapsed, String(decoding: tail, as: UTF8.self))
        }
        (stdout, stderr) = (Stream(), Stream())
        return lines
    }

    private mutating func header(_ time: Timestamp) -> [UInt8] {
        hasHeader = true
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("version", Int64(2))
        writer.member("width", Int64(columns))
        writer.member("height", Int64(rows))
        writer.member("timestamp", time.nanoseconds / 1_000_000_000)
        writer.endObject()
        return writer.bytes + [10]
    }

    private static func event(_ record: CRIRecord, _ stream: inout Stream, _ elapsed: Int64) -> [UInt8] {
        var bytes = stream.tail + record.bytes
        stream.tail = []
        if record.endsLine {
            if (bytes.last ?? stream.lastByte) != UInt8(ascii: "\r") { bytes.append(UInt8(ascii: "\r")) }
            bytes.append(10)
        }
        stream.lastByte = bytes.last ?? stream.lastByte
        let unfinished = unfinishedSequence(bytes)
        stream.tail = Array(bytes.suffix(unfinished))
        bytes.removeLast(unfinished)
        return bytes.isEmpty ? [] : line(elapsed, String(decoding: bytes, as: UTF8.self))
    }

    private static func line(_ elapsed: Int64, _ text: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.string(text)
        let seconds = String(format: "%lld.%06lld", elapsed / 1_000_000_000, elapsed % 1_000_000_000 / 1000)
        return Array("[\(seconds), \"o\", ".utf8) + writer.bytes + Array("]\n".utf8)
    }

    /// How many bytes at the end begin a UTF-8 sequence that more bytes could complete: 0 to 3.
    static func unfinishedSequence(_ bytes: [UInt8]) -> Int {
        for length in 1...3 {
            guard length <= bytes.count else { return 0 }
            let byte = bytes[bytes.count - length]
            if byte & 0xC0 == 0x80 { continue }
            let wanted = byte >= 0xF0 && byte < 0xF5 ? 4 : byte >= 0xE0 && byte < 0xF0 ? 3 : byte >= 0xC2 && byte < 0xE0 ? 2 : 0
            return wanted > length ? length : 0
        }
        return 0
    }
}
