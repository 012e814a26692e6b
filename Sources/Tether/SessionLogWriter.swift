import CLinux
import ContainerSpec
import Linux
import SessionLog
import Sessions

/// The session log: records of the container's output and of its life, on their way to the log port.
final class SessionLogWriter: OutputLog {
    /// nil while the configuration has not said it.
    private(set) var format: LogSettings.Format?
    /// Events that wait for that, with the time of each.
    private var waiting: [(event: SessionEvent, time: Int64)] = []
    private var cri = CRIEncoder()
    private var vic = VICLogEncoder()
    private var digests = (stdout: StreamDigest(), stderr: StreamDigest())
    /// When the held-back line of a stream must go out, on the monotonic clock.
    private var partialDue: (stdout: Int64?, stderr: Int64?) = (nil, nil)
    private let port: PortWriter
    /// How long an unfinished line may wait for its newline, in nanoseconds.
    var partialDelay: Int64 = 100_000_000

    /// - Throws: ``SyscallError`` when the port cannot be opened.
    init(path: String) throws(SyscallError) {
        // 64 KiB: enough to fill the driver's buffer many times over, little enough that what is read early is soon out.
        port = try PortWriter(path, highWater: 64 * 1024)
    }

    var descriptor: Int32 { port.descriptor }
    var wantsToWrite: Bool { port.pending > 0 }
    /// The port is behind: its sources should not be read now.
    var isFull: Bool { port.isFull }
    var pendingBytes: Int { port.pending }
    var lastProgress: Int64 { port.lastProgress }
    var failure: SyscallError? { port.failure }
    var hasFailed: Bool { port.failure != nil }

    func flush() { port.flush() }

    /// Settles the format, and writes the events that waited for it. A second time changes nothing: one log has one format.
    func decide(_ format: LogSettings.Format) {
        if self.format != nil { return }
        self.format = format
        for item in waiting { write(item.event, at: item.time) }
        waiting = []
    }

    /// Takes in output that was just read.
    func output(_ stream: LogStream, _ bytes: UnsafeRawBufferPointer) {
        if stream == .stdout { digests.stdout.update(bytes) } else { digests.stderr.update(bytes) }
        let now = Clock.realtime()
        port.append { log in
            if format == .vic {
                vic.encode(stream, bytes, at: now, into: &log)
            } else {
                cri.encode(stream, bytes, at: now, into: &log)
            }
        }
        // A line that grows keeps its time: else one that grows slowly but steadily would be held back for long.
        let before = stream == .stdout ? partialDue.stdout : partialDue.stderr
        let due = hasPartial(stream) ? before ?? Clock.monotonic() &+ partialDelay : nil
        if stream == .stdout { partialDue.stdout = due } else { partialDue.stderr = due }
    }

    private func hasPartial(_ stream: LogStream) -> Bool { format == .vic ? vic.hasPartial(stream) : cri.hasPartial(stream) }

    /// When ``flushDue()`` has something to do next, on the monotonic clock. While the port is full there is no hurry.
    var nextDue: Int64? {
        if isFull { return nil }
        switch (partialDue.stdout, partialDue.stderr) {
        case (nil, nil): return nil
        case (let a?, nil): return a
        case (nil, let b?): return b
        case (let a?, let b?): return min(a, b)
        }
    }

    /// Writes the unfinished lines that have waited long enough.
    func flushDue() {
        if isFull { return }
        let now = Clock.monotonic()
        if let due = partialDue.stdout, due <= now { flushPartial(.stdout) }
        if let due = partialDue.stderr, due <= now { flushPartial(.stderr) }
    }

    /// Writes all unfinished lines: no more output comes.
    func flushPartials() {
        flushPartial(.stdout)
        flushPartial(.stderr)
    }

    private func flushPartial(_ stream: LogStream) {
        port.append { log in
            if format == .vic { vic.flushPartial(stream, into: &log) } else { cri.flushPartial(stream, into: &log) }
        }
        if stream == .stdout { partialDue.stdout = nil } else { partialDue.stderr = nil }
    }

    /// Ends a record that another writer may have left unfinished. In VIC's format nothing can, and nothing follows.
    func endInterruptedRecord() { if format != .vic { port.append { $0.append(UInt8(ascii: "\n")) } } }

    /// Queued bytes from which no event is added but the last one. Output stops far earlier; events are made by clients, too.
    private static let eventMark = 1 << 20
    /// Events that were left out because the port takes nothing.
    private(set) var lostEvents = 0

    /// Whether an event that happens now is lost.
    var losesEvents: Bool { format != .vic && port.pending >= SessionLogWriter.eventMark }

    func event(_ event: SessionEvent) {
        if losesEvents {
            guard case .exit = event else { return lostEvents &+= 1 }
        }
        let now = Clock.realtime()
        if format == nil { waiting.append((event, now)) } else { write(event, at: now) }
    }

    /// VIC's format has no place for events: its readers take every byte for output.
    private func write(_ event: SessionEvent, at time: Int64) {
        if format == .cri { port.append { cri.encode(event, at: time, into: &$0) } }
    }

    /// Length and digest of a stream until now.
    func total(_ stream: LogStream) -> StreamTotal { stream == .stdout ? digests.stdout.total : digests.stderr.total }

    /// Waits until all is out, or the port took nothing for `quietMilliseconds`.
    /// - Returns: the bytes that are not.
    func drain(quietMilliseconds: Int64) -> Int { port.drain(quietMilliseconds: quietMilliseconds) }
}
