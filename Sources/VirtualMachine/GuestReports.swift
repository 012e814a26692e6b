import FoundationEssentials
import SessionLog

/// How the guest says a container ended: the exit record of the session log, or the final status in guestinfo. Both have
/// the same members (docs/formats.md).
struct ExitReport: Decodable, Equatable {
    struct Stream: Decodable, Equatable {
        let bytes: UInt64
        let sha256: String
    }
    struct Failure: Decodable, Equatable, CustomStringConvertible {
        let operation: String
        let object: String?
        let cause: String
        let phase: String?

        var description: String {
            let object = object ?? ""
            return object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)"
        }
    }

    /// `exit` in a record.
    let event: String?
    /// Only in a status.
    let phase: String?
    let exitCode: Int32?
    let signal: String?
    let coreDumped: Bool?
    let oomKilled: Bool?
    let stdout: Stream?
    let stderr: Stream?
    let drain: String?
    let error: Failure?

    init?(json: [UInt8]) {
        guard let report = try? JSONDecoder().decode(ExitReport.self, from: Data(json)) else { return nil }
        self = report
    }

    /// The exit code, if there is one that a process can have.
    var validExitCode: Int32? { exitCode.flatMap { (0...255).contains($0) ? $0 : nil } }

    /// Whether a status with this phase is the VM's last word.
    var isFinalStatus: Bool { phase == "exited" || phase == "failed" }
}

/// What has come out of the session log so far: the exact bytes of both streams, and the exit record.
struct SessionReader {
    private var decoder = CRIDecoder()
    private var stdout = StreamDigest()
    private var stderr = StreamDigest()
    private(set) var exit: ExitReport?
    /// Bytes that were no part of any record.
    private(set) var skipped: UInt64 = 0
    /// Names of the events that came, in order; at most 16.
    private(set) var events: [String] = []

    /// Takes in the next bytes of the log.
    /// - Returns: what they add to the container's standard output and standard error.
    mutating func read(_ bytes: ArraySlice<UInt8>) -> (stdout: [UInt8], stderr: [UInt8]) {
        var items: [CRIDecoder.Item] = []
        bytes.withUnsafeBytes { decoder.decode($0) { items.append($0) } }
        return take(items)
    }

    /// As ``read(_:)``, for what is left when the log has ended.
    mutating func finish() -> (stdout: [UInt8], stderr: [UInt8]) {
        var items: [CRIDecoder.Item] = []
        decoder.finish { items.append($0) }
        return take(items)
    }

    /// Length and digest of each stream as it arrived.
    var totals: (stdout: StreamTotal, stderr: StreamTotal) { (stdout.total, stderr.total) }

    private mutating func take(_ items: [CRIDecoder.Item]) -> (stdout: [UInt8], stderr: [UInt8]) {
        var out: [UInt8] = []
        var err: [UInt8] = []
        for item in items {
            switch item {
            case .skipped(_, let count): skipped &+= count
            case .record(let record), .truncated(let record):
                switch record.stream {
                case .stdout: Self.append(record, to: &out)
                case .stderr: Self.append(record, to: &err)
                case .event: take(event: record.bytes)
                }
            }
        }
        stdout.update(out)
        stderr.update(err)
        return (out, err)
    }

    private static func append(_ record: CRIRecord, to bytes: inout [UInt8]) {
        bytes += record.bytes
        if record.endsLine { bytes.append(UInt8(ascii: "\n")) }
    }

    private mutating func take(event json: [UInt8]) {
        guard let report = ExitReport(json: json), let name = report.event else { return }
        if events.count < 16 { events.append(name) }
        if name == "exit" { exit = report }
    }

    /// The streams that did not arrive as `report` says the guest sent them, one sentence each.
    func differences(from report: ExitReport) -> [String] {
        [("stdout", stdout.total, report.stdout), ("stderr", stderr.total, report.stderr)].compactMap { name, arrived, sent in
            guard let sent else { return "\(name): the guest does not say how much it sent" }
            if sent.bytes != arrived.bytes { return "\(name): \(arrived.bytes) bytes arrived of the \(sent.bytes) that the container wrote" }
            return sent.sha256 == arrived.sha256 ? nil : "\(name): \(sent.bytes) bytes arrived, but not those that the container wrote (SHA-256 differs)"
        }
    }
}
