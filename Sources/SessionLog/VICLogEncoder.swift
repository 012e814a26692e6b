/// Turns the output of a container process into the records of VIC's `output.log` (docs/formats.md, "VIC's log").
///
/// A record is a line with its newline, or a piece of a line that is longer than a record can be. Each stream holds back its own
/// unfinished line, so that lines of the two are never mixed. Events are not part of this log.
public struct VICLogEncoder: Sendable {
    private var stdout = Line()
    private var stderr = Line()

    public init() {}

    /// Appends to `log` the records that `bytes` complete, and holds back what follows the last newline.
    /// - Parameters:
    ///   - nanoseconds: when `bytes` were read, since 1970; a record carries the time at which its first byte was read.
    public mutating func encode(_ stream: LogStream, _ bytes: UnsafeRawBufferPointer, at nanoseconds: Int64, into log: inout [UInt8]) {
        switch stream {
        case .stdout: VICLogEncoder.encode(.stdout, bytes, at: nanoseconds, &stdout, into: &log)
        case .stderr: VICLogEncoder.encode(.stderr, bytes, at: nanoseconds, &stderr, into: &log)
        case .event: break
        }
    }

    /// As ``encode(_:_:at:into:)``, from an array.
    public mutating func encode(_ stream: LogStream, _ bytes: [UInt8], at nanoseconds: Int64, into log: inout [UInt8]) {
        bytes.withUnsafeBytes { encode(stream, $0, at: nanoseconds, into: &log) }
    }

    /// Appends the unfinished line of `stream`, if there is one, as a record.
    public mutating func flushPartial(_ stream: LogStream, into log: inout [UInt8]) {
        switch stream {
        case .stdout: VICLogEncoder.flush(.stdout, &stdout, into: &log)
        case .stderr: VICLogEncoder.flush(.stderr, &stderr, into: &log)
        case .event: break
        }
    }

    /// Whether `stream` holds back an unfinished line.
    public func hasPartial(_ stream: LogStream) -> Bool { heldCount(stream) > 0 }

    /// The number of bytes of `stream` held back, less than ``VICLogRecord/maximumContent`` and as much at most.
    public func heldCount(_ stream: LogStream) -> Int {
        switch stream {
        case .stdout: stdout.held.count
        case .stderr: stderr.held.count
        case .event: 0
        }
    }

    private struct Line: Sendable {
        var held: [UInt8] = []
        /// When the first held byte was read.
        var since: Int64 = 0
    }

    private static func encode(
        _ stream: LogStream, _ bytes: UnsafeRawBufferPointer, at nanoseconds: Int64, _ line: inout Line, into log: inout [UInt8]
    ) {
        guard var start = bytes.baseAddress else { return }
        var left = bytes.count
        while left > 0 {
            let length = newlineOffset(start, left).map { $0 + 1 }
            // As much as the record has room for: a piece of a line, or its end.
            let piece = UnsafeRawBufferPointer(start: start, count: min(length ?? left, VICLogRecord.maximumContent - line.held.count))
            start += piece.count
            left -= piece.count
            if line.held.isEmpty { line.since = nanoseconds }
            line.held.append(contentsOf: piece.assumingMemoryBound(to: UInt8.self))
            if piece.count == length || line.held.count == VICLogRecord.maximumContent { flush(stream, &line, into: &log) }
        }
    }

    private static func flush(_ stream: LogStream, _ line: inout Line, into log: inout [UInt8]) {
        if line.held.isEmpty { return }
        VICLogRecord.append(line.since, stream, size: line.held.count, to: &log)
        log.append(contentsOf: line.held)
        line.held.removeAll(keepingCapacity: true)
    }
}
