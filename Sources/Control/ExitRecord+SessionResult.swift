import Linux
public import SessionLog

extension ExitRecord {
    /// What records say of a session's end.
    public init(_ result: SessionResult, restarts: Int64 = 0) {
        self.init(
            id: result.id, exitCode: result.exitCode, signal: Signal(rawValue: Int32(result.signal))?.name, coreDumped: result.coreDumped,
            oomKilled: result.oomKilled, startedAt: result.startedAt, finishedAt: result.finishedAt, stdout: result.stdout,
            stderr: result.stderr, drain: result.drain,
            usage: ResourceUsage(
                userMicroseconds: result.userMicroseconds, systemMicroseconds: result.systemMicroseconds,
                maximumResidentKiB: result.maximumResidentKiB), restarts: restarts, error: result.error)
    }
}
