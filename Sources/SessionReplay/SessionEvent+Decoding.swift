import Foundation
import Linux
import SessionLog

extension SessionEvent {
    /// Reads the JSON object of an event record (docs/formats.md, "Events").
    ///
    /// Members it does not know are ignored.
    /// - Returns: nil for what is no JSON object, for an event of another name, and where a member is missing or has
    ///   another type.
    public init?(json: [UInt8]) {
        guard let event = try? JSONDecoder().decode(EventMembers.self, from: Data(json)).sessionEvent else { return nil }
        self = event
    }

    /// Whether `json` is an event of a name that this version does not know: no damage, only news.
    static func isUnknown(json: [UInt8]) -> Bool {
        struct Name: Decodable { var event: String }
        guard let name = try? JSONDecoder().decode(Name.self, from: Data(json)).event else { return false }
        return !["boot", "start", "die", "exec_start", "exec_die", "health_status", "pause", "unpause", "exit"].contains(name)
    }
}

/// What the status in guestinfo says of the container.
public struct StatusReport: Sendable, Equatable {
    public var phase: Phase
    /// How the container ended, once it has; its `id` is empty where none was known.
    public var exit: ExitRecord?

    /// Whether this is the VM's last word.
    public var isFinal: Bool { phase == .exited || phase == .failed }

    /// Reads the value of `guestinfo.tether.status` (docs/formats.md, "Status").
    ///
    /// Members it does not know are ignored.
    /// - Returns: nil for what is no JSON object, for an unknown phase, and where a member has another type.
    public init?(json: [UInt8]) {
        guard let members = try? JSONDecoder().decode(EventMembers.self, from: Data(json)), let phase = members.phase.flatMap(Phase.init)
        else { return nil }
        self.phase = phase
        exit = members.exitRecord(id: members.id ?? "")
        if exit == nil, members.exitCode != nil { return nil }
    }
}

/// The members of every event and of the status, as they stand in the JSON text.
private struct EventMembers: Decodable {
    struct Total: Decodable {
        var bytes: UInt64
        var sha256: String
        var streamTotal: StreamTotal { StreamTotal(bytes: bytes, sha256: sha256) }
    }

    struct Usage: Decodable {
        var userMicroseconds: Int64
        var systemMicroseconds: Int64
        var maximumResidentKiB: Int64
    }

    struct Failure: Decodable {
        var phase: String
        var operation: String
        var object: String
        var cause: String
    }

    var event: String?
    /// Of the status alone.
    var phase: String?
    var version: String?
    var kernel: String?
    var interrupted: String?
    var id: String?
    var pid: Int32?
    var args: [String]?
    var startedAt: String?
    var finishedAt: String?
    var exitCode: UInt8?
    var signal: String?
    var coreDumped: Bool?
    var oomKilled: Bool?
    var stdout: Total?
    var stderr: Total?
    var drain: String?
    var usage: Usage?
    var restarts: Int64?
    var error: Failure?
    var restartMilliseconds: Int64?
    var session: String?
    var status: String?

    var sessionEvent: SessionEvent? {
        switch event {
        case "boot":
            guard let version, let kernel else { return nil }
            return .boot(version: version, kernel: kernel, interrupted: interrupted.flatMap(Phase.init))
        case "start":
            guard let id, let pid, let args, let startedAt = startedAt.flatMap(Timestamp.init) else { return nil }
            return .start(id: id, pid: pid, args: args, startedAt: startedAt)
        case "die":
            guard let record = id.flatMap(exitRecord), let restartMilliseconds else { return nil }
            return .die(record, restartMilliseconds: restartMilliseconds)
        case "exec_start":
            guard let id, let session, let pid, let args, let startedAt = startedAt.flatMap(Timestamp.init) else { return nil }
            return .execStart(id: id, session: session, pid: pid, args: args, startedAt: startedAt)
        case "exec_die":
            guard let id, let record = session.flatMap(exitRecord) else { return nil }
            return .execDie(id: id, record)
        case "health_status":
            guard let id, let status else { return nil }
            return .health(id: id, status: status)
        case "pause": return id.map { .pause(id: $0) }
        case "unpause": return id.map { .unpause(id: $0) }
        case "exit":
            return id.flatMap(exitRecord).map(SessionEvent.exit)
        default: return nil
        }
    }

    func exitRecord(id: String) -> ExitRecord? {
        guard let exitCode, let coreDumped, let oomKilled, let drain = drain.flatMap(Drain.init) else { return nil }
        // Only a crash leaves the totals unknown.
        guard drain == .crash || (stdout != nil && stderr != nil) else { return nil }
        var report: FailureReport?
        if let error {
            guard let phase = Phase(rawValue: error.phase) else { return nil }
            report = FailureReport(phase: phase, operation: error.operation, object: error.object, cause: error.cause)
        }
        return ExitRecord(
            id: id, exitCode: exitCode, signal: signal, coreDumped: coreDumped, oomKilled: oomKilled,
            startedAt: startedAt.flatMap(Timestamp.init), finishedAt: finishedAt.flatMap(Timestamp.init),
            stdout: stdout?.streamTotal, stderr: stderr?.streamTotal, drain: drain,
            usage: usage.map {
                ResourceUsage(
                    userMicroseconds: $0.userMicroseconds, systemMicroseconds: $0.systemMicroseconds,
                    maximumResidentKiB: $0.maximumResidentKiB)
            }, restarts: restarts ?? 0, error: report)
    }
}

extension FailureReport {
    /// "mount /dev/sda: Structure needs cleaning"
    public var sentence: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}

extension ExitRecord {
    /// Several lines for a person to read, each ending in a newline.
    public var report: String {
        var lines = ["container  \(id.isEmpty ? "(no id)" : id)"]
        var how = "\(exitCode)"
        if let signal { how += ", killed by \(signal)" }
        if coreDumped { how += ", core dumped" }
        if oomKilled { how += ", out of memory" }
        lines.append("exit code  \(how)")
        if let error {
            lines.append("error      \(error.phase.rawValue): \(error.sentence)")
        }
        if let startedAt { lines.append("started    \(startedAt.text)") }
        if let finishedAt {
            var took = ""
            if let startedAt, finishedAt >= startedAt {
                took = String(format: " (after %.3f s)", Double(finishedAt.nanoseconds - startedAt.nanoseconds) / 1e9)
            }
            lines.append("finished   \(finishedAt.text)\(took)")
        }
        if restarts > 0 { lines.append("restarts   \(restarts)") }
        if let usage {
            let seconds = (Double(usage.userMicroseconds) / 1e6, Double(usage.systemMicroseconds) / 1e6)
            lines.append(
                String(format: "used       %.3f s user, %.3f s system, ", seconds.0, seconds.1) + "\(usage.maximumResidentKiB) KiB at most")
        }
        for (name, total) in [("stdout", stdout), ("stderr", stderr)] {
            lines.append("\(name)     " + (total.map { "\($0.bytes) bytes, SHA-256 \($0.sha256)" } ?? "unknown"))
        }
        switch drain {
        case .eof: lines.append("drain      eof: both streams ended")
        case .grace: lines.append("drain      grace: something still held a stream, and it was quiet")
        case .deadline: lines.append("drain      deadline: later output is lost")
        case .crash: lines.append("drain      crash: tether itself crashed, and lost what it held")
        }
        return lines.map { line in
            // What came over the wire may hold anything, also what would upset a terminal.
            String(String.UnicodeScalarView(line.unicodeScalars.filter { $0.properties.generalCategory != .control })) + "\n"
        }.joined()
    }
}
