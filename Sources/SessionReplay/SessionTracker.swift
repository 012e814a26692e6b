import SessionLog

/// What a session log has told about one boot of the VM.
public struct BootSummary: Sendable {
    /// Counted from 1 within the capture.
    public let number: Int
    /// Whether the boot record is there; without it the capture begins late, or the record was damaged.
    public internal(set) var hasBootRecord = false
    public internal(set) var exit: ExitRecord?
    /// When the exit record was written.
    public internal(set) var exitTime: Timestamp?
    /// The capture ends inside one of this boot's records.
    public internal(set) var isTruncated = false
    /// Whether events tell of the boot's beginning and end: not in a log in VIC's format.
    public internal(set) var hasEvents = true
    /// Bytes among this boot's records that belong to none.
    public internal(set) var skippedBytes: UInt64 = 0

    private var stdoutDigest = StreamDigest()
    private var stderrDigest = StreamDigest()

    init(number: Int) { self.number = number }

    /// The output in the capture.
    public var stdout: StreamTotal { stdoutDigest.total }
    public var stderr: StreamTotal { stderrDigest.total }

    mutating func update(_ record: CRIRecord) {
        switch record.stream {
        case .stdout: BootSummary.update(&stdoutDigest, record)
        case .stderr: BootSummary.update(&stderrDigest, record)
        case .event: break
        }
    }

    static let withoutEvents = "a log in VIC's format has no exit record: only the status in guestinfo says how the container ended"

    /// As ``defects``, without what no capture in this format can have.
    public var damage: [String] { hasEvents || exit != nil ? defects : defects.filter { $0 != BootSummary.withoutEvents } }

    private static func update(_ digest: inout StreamDigest, _ record: CRIRecord) {
        digest.update(record.bytes)
        if record.endsLine { withUnsafeBytes(of: UInt8(ascii: "\n")) { digest.update($0) } }
    }

    /// What is wrong with the capture of this boot, a sentence each; empty if every byte is there.
    public var defects: [String] {
        var defects = isTruncated ? ["the capture ends inside a record"] : []
        guard let exit else {
            let missing = hasEvents ? "the exit record is missing: the capture is incomplete" : BootSummary.withoutEvents
            return defects + [missing]
        }
        for (name, said, found) in [("stdout", exit.stdout, stdout), ("stderr", exit.stderr, stderr)] {
            guard let said else {
                defects.append("the exit record does not know how much \(name) there was: tether crashed")
                continue
            }
            if said.bytes != found.bytes {
                defects.append("\(name) has \(found.bytes) bytes, the exit record says \(said.bytes)")
            } else if said.sha256 != found.sha256 {
                defects.append("\(name) has the SHA-256 \(found.sha256), the exit record says \(said.sha256)")
            }
        }
        return defects
    }
}

/// Follows a session log item by item: joins the pieces of events, tells the boots of the VM apart (a VM that is started
/// again appends to the same file), and keeps each boot's counts and digests.
public struct SessionTracker: Sendable {
    /// What an item means.
    public enum Step: Sendable, Equatable {
        /// A record of stdout or stderr.
        case output(CRIRecord)
        case event(SessionEvent, at: Timestamp)
        /// An event this version does not know or cannot read.
        case unknownEvent([UInt8], at: Timestamp)
        case skipped(offset: UInt64, count: UInt64)
        /// The capture ends inside this record; of an event nothing can be said.
        case truncated(CRIRecord)
    }

    /// The most bytes of an event that came in pieces; a longer one counts as unknown.
    static let maximumEvent = 4 << 20

    /// The boots seen so far.
    public private(set) var boots: [BootSummary] = []
    private var eventPieces: [UInt8] = []

    public init() {}

    /// Whether the last boot has ended with its exit record.
    public var hasEnded: Bool { boots.last?.exit != nil }

    /// The log has no events: what there is of it is one boot, which ended as `exit` says.
    public mutating func end(withoutEvents exit: ExitRecord?) {
        openBoot()
        updateLast {
            $0.hasEvents = false
            $0.exit = exit
        }
    }

    /// Takes in the next item.
    /// - Returns: its meaning; nil for a piece of an event that goes on. It belongs to the last of ``boots``.
    public mutating func take(_ item: CRIDecoder.Item) -> Step? {
        switch item {
        case .skipped(let offset, let count):
            // Noise belongs to the boot around it and starts none.
            updateLast { $0.skippedBytes &+= count }
            return .skipped(offset: offset, count: count)
        case .truncated(let record):
            openBoot()
            updateLast {
                $0.isTruncated = true
                $0.update(record)
            }
            return .truncated(record)
        case .record(let record):
            if record.stream == .event { return takeEvent(record) }
            openBoot()
            updateLast { $0.update(record) }
            return .output(record)
        }
    }

    private mutating func takeEvent(_ record: CRIRecord) -> Step? {
        if eventPieces.count < SessionTracker.maximumEvent { eventPieces += record.bytes }
        guard record.endsLine else { return nil }
        let json = eventPieces
        eventPieces = []
        // Pieces without an end, from a VM that was cut off, must not hide the next boot's first event.
        let event = (json.count < SessionTracker.maximumEvent ? SessionEvent(json: json) : nil) ?? SessionEvent(json: record.bytes)
        if case .boot = event {
            boots.append(BootSummary(number: boots.count + 1))
            updateLast { $0.hasBootRecord = true }
        } else {
            openBoot()
        }
        if case .exit(let exit) = event {
            updateLast {
                $0.exit = exit
                $0.exitTime = record.timestamp
            }
        }
        guard let event else { return .unknownEvent(json, at: record.timestamp) }
        return .event(event, at: record.timestamp)
    }

    /// A record belongs to the boot that runs; after an exit record, or at the very beginning, to one whose boot record
    /// is lost.
    private mutating func openBoot() {
        if boots.last == nil || hasEnded { boots.append(BootSummary(number: boots.count + 1)) }
    }

    private mutating func updateLast(_ change: (inout BootSummary) -> Void) {
        if boots.isEmpty { return }
        change(&boots[boots.count - 1])
    }
}
