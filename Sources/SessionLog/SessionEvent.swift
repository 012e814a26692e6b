import Linux

/// A step in the life of a container VM; the raw value stands in events and status.
public enum Phase: String, Sendable, Equatable, Hashable, CaseIterable {
    case boot, config, devices, rootfs, volumes, network, launching, running, stopping, exited, failed
}

/// Why tether could not do its work.
public struct FailureReport: Sendable, Equatable {
    /// The phase in which it failed.
    public var phase: Phase
    /// What was attempted, for example `mount`.
    public var operation: String
    /// What it was attempted on, for example `/dev/sda`. May be empty.
    public var object: String
    /// One sentence.
    public var cause: String

    public init(phase: Phase, operation: String, object: String, cause: String) {
        self.phase = phase
        self.operation = operation
        self.object = object
        self.cause = cause
    }
}

/// How the reading of the container's output ended.
public enum Drain: String, Sendable, Equatable, CaseIterable {
    /// Both streams reached end of file.
    case eof
    /// Something still held a stream, and both were quiet for the grace period.
    case grace
    /// They were still not quiet at the deadline: later output is lost.
    case deadline
    /// tether itself crashed while the container ran: what was in its memory is lost, and the streams' totals are unknown.
    case crash
}

/// How the container ended: the last record of a session log.
public struct ExitRecord: Sendable, Equatable {
    public var id: String
    /// The process's own, 128 + signal number, or 125–127 (docs/formats.md).
    public var exitCode: UInt8
    /// `SIGKILL`, `SIGRTMIN+3`; nil if no signal ended the process.
    public var signal: String?
    public var coreDumped: Bool
    public var oomKilled: Bool
    /// Nil if the process never started.
    public var startedAt: Timestamp?
    public var finishedAt: Timestamp?
    /// Nil where it is not known (``Drain/crash``).
    public var stdout: StreamTotal?
    public var stderr: StreamTotal?
    public var drain: Drain
    /// What the process and its children used; nil where it is not known.
    public var usage: ResourceUsage?
    /// How often the process was started again.
    public var restarts: Int64
    /// What tether itself could not do.
    public var error: FailureReport?

    public init(
        id: String, exitCode: UInt8, signal: String? = nil, coreDumped: Bool = false, oomKilled: Bool = false,
        startedAt: Timestamp? = nil, finishedAt: Timestamp? = nil, stdout: StreamTotal? = .empty,
        stderr: StreamTotal? = .empty, drain: Drain = .eof, usage: ResourceUsage? = nil, restarts: Int64 = 0,
        error: FailureReport? = nil
    ) {
        self.id = id
        self.exitCode = exitCode
        self.signal = signal
        self.coreDumped = coreDumped
        self.oomKilled = oomKilled
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.stdout = stdout
        self.stderr = stderr
        self.drain = drain
        self.usage = usage
        self.restarts = restarts
        self.error = error
    }
}

/// What a record of the stream `event` says.
public enum SessionEvent: Sendable, Equatable {
    /// The first record of a VM. `interrupted`: the phase in which the run before this one was cut off, if one was.
    case boot(version: String, kernel: String, interrupted: Phase? = nil)
    /// The container process runs; `pid` as PID 1 sees it.
    case start(id: String, pid: Int32, args: [String], startedAt: Timestamp)
    /// The container process ended, and is started again after a wait.
    case die(ExitRecord, restartMilliseconds: Int64)
    /// A process was started beside it. `session` is its session's name.
    case execStart(id: String, session: String, pid: Int32, args: [String], startedAt: Timestamp)
    /// That process ended. The record's id is its session's name.
    case execDie(id: String, ExitRecord)
    /// The health check's state changed: `starting`, `healthy`, `unhealthy`.
    case health(id: String, status: String)
    case pause(id: String)
    case unpause(id: String)
    /// The last record.
    case exit(ExitRecord)

    /// One JSON object on one line, without a newline.
    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        switch self {
        case .boot(let version, let kernel, let interrupted):
            writer.member("event", "boot")
            writer.member("version", version)
            writer.member("kernel", kernel)
            if let interrupted { writer.member("interrupted", interrupted.rawValue) }
        case .start(let id, let pid, let args, let startedAt):
            writer.member("event", "start")
            writer.member("id", id)
            writer.member("pid", Int64(pid))
            writer.strings("args", args)
            writer.member("startedAt", startedAt.text)
        case .die(let record, let delay):
            writer.member("event", "die")
            writer.member("id", record.id)
            writer.exitMembers(record)
            writer.member("restartMilliseconds", delay)
        case .execStart(let id, let session, let pid, let args, let startedAt):
            writer.member("event", "exec_start")
            writer.member("id", id)
            writer.member("session", session)
            writer.member("pid", Int64(pid))
            writer.strings("args", args)
            writer.member("startedAt", startedAt.text)
        case .execDie(let id, let record):
            writer.member("event", "exec_die")
            writer.member("id", id)
            writer.member("session", record.id)
            writer.exitMembers(record)
        case .health(let id, let status):
            writer.member("event", "health_status")
            writer.member("id", id)
            writer.member("status", status)
        case .pause(let id):
            writer.member("event", "pause")
            writer.member("id", id)
        case .unpause(let id):
            writer.member("event", "unpause")
            writer.member("id", id)
        case .exit(let record):
            writer.member("event", "exit")
            writer.member("id", record.id)
            writer.exitMembers(record)
        }
        writer.endObject()
        return writer.bytes
    }
}

extension JSONWriter {
    /// The members that the exit record and the status share, without `id`.
    public mutating func exitMembers(_ record: ExitRecord) {
        member("exitCode", Int64(record.exitCode))
        if let signal = record.signal { member("signal", signal) }
        member("coreDumped", record.coreDumped)
        member("oomKilled", record.oomKilled)
        if let time = record.startedAt { member("startedAt", time.text) }
        if let time = record.finishedAt { member("finishedAt", time.text) }
        if let stdout = record.stdout { total("stdout", stdout) }
        if let stderr = record.stderr { total("stderr", stderr) }
        member("drain", record.drain.rawValue)
        if record.restarts > 0 { member("restarts", record.restarts) }
        if let usage = record.usage {
            key("usage")
            beginObject()
            member("userMicroseconds", usage.userMicroseconds)
            member("systemMicroseconds", usage.systemMicroseconds)
            member("maximumResidentKiB", usage.maximumResidentKiB)
            endObject()
        }
        if let error = record.error { failure(error) }
    }

    mutating func strings(_ name: String, _ values: [String]) {
        key(name)
        beginArray()
        for value in values { string(value) }
        endArray()
    }

    mutating func total(_ name: String, _ total: StreamTotal) {
        key(name)
        beginObject()
        key("bytes")
        integer(total.bytes)
        member("sha256", total.sha256)
        endObject()
    }

    mutating func failure(_ report: FailureReport) {
        key("error")
        beginObject()
        member("phase", report.phase.rawValue)
        member("operation", report.operation)
        member("object", report.object)
        member("cause", report.cause)
        endObject()
    }
}
