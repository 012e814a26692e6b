import SessionLog
import SessionReplay

/// What has come out of the session log so far: the exact bytes of both streams, and the exit record.
struct SessionReader {
    private var decoder = LogDecoder()
    private var tracker = SessionTracker()
    /// Bytes that were no part of any record.
    private(set) var skipped: UInt64 = 0
    /// What the events that came said, in order; at most 16.
    private(set) var events: [String] = []

    /// Takes in the next bytes of the log.
    /// - Returns: what they add to the container's standard output and standard error.
    mutating func read(_ bytes: ArraySlice<UInt8>) -> (stdout: [UInt8], stderr: [UInt8]) {
        take(decoder.decode(bytes))
    }

    /// As ``read(_:)``, for what is left when the log has ended.
    mutating func finish() -> (stdout: [UInt8], stderr: [UInt8]) {
        take(decoder.finish())
    }

    /// The boot that ended; until one has, the one that runs. A VM of ours boots once.
    private var boot: BootSummary? { tracker.boots.last { $0.exit != nil } ?? tracker.boots.last }

    var exit: ExitRecord? { boot?.exit }

    /// Whether the log has an exit record where it is whole: one in VIC's format has none.
    var hasEvents: Bool { decoder.format != .vic }

    /// Length and digest of each stream as it arrived.
    var totals: (stdout: StreamTotal, stderr: StreamTotal) { (boot?.stdout ?? .empty, boot?.stderr ?? .empty) }

    private mutating func take(_ items: [CRIDecoder.Item]) -> (stdout: [UInt8], stderr: [UInt8]) {
        var out: [UInt8] = []
        var err: [UInt8] = []
        for item in items {
            switch tracker.take(item) {
            case .skipped(_, let count): skipped &+= count
            case .output(let record), .truncated(let record):
                switch record.stream {
                case .stdout: Self.append(record, to: &out)
                case .stderr: Self.append(record, to: &err)
                case .event: break
                }
            case .event(let event, _): note(event.summary)
            case .unknownEvent: note("an event that this version does not know")
            case nil: break
            }
        }
        return (out, err)
    }

    private mutating func note(_ event: String) { if events.count < 16 { events.append(event) } }

    private static func append(_ record: CRIRecord, to bytes: inout [UInt8]) {
        bytes += record.bytes
        if record.endsLine { bytes.append(UInt8(ascii: "\n")) }
    }

    /// The streams that did not arrive as `report` says the guest sent them, one sentence each.
    func differences(from report: ExitRecord) -> [String] {
        let arrived = totals
        let streams = [("stdout", arrived.stdout, report.stdout), ("stderr", arrived.stderr, report.stderr)]
        var differences = streams.compactMap { name, arrived, sent -> String? in
            guard let sent else { return "\(name): the guest does not say how much it sent" }
            if sent.bytes != arrived.bytes {
                return "\(name): \(arrived.bytes) bytes arrived of the \(sent.bytes) that the container wrote"
            }
            if sent.sha256 == arrived.sha256 { return nil }
            return "\(name): \(sent.bytes) bytes arrived, but not those that the container wrote (SHA-256 differs)"
        }
        if tracker.boots.last?.number != boot?.number { differences.append("records came after the exit record") }
        return differences
    }
}

extension SessionEvent {
    /// One line for a person.
    fileprivate var summary: String {
        switch self {
        case .boot(let version, let kernel, _): "boot: tether \(version) on Linux \(kernel)"
        case .start(let id, let pid, _, _): "start: \(id), pid \(pid)"
        case .die(let record, let delay): "die: code \(record.exitCode), starts again in \(delay) ms"
        case .execStart(_, let session, let pid, _, _): "exec_start: \(session), pid \(pid)"
        case .execDie(_, let record): "exec_die: \(record.id), code \(record.exitCode)"
        case .health(_, let status): "health_status: \(status)"
        case .pause: "pause"
        case .unpause: "unpause"
        case .exit(let record): "exit: code \(record.exitCode)"
        }
    }
}
