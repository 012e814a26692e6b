import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// Runs the container's health check, and tells when its state changes.
final class HealthChecks {
    private let runtime: Runtime
    private var monitor: HealthMonitor?
    private var session: Session?
    private var timeoutAt: Int64?
    private var hasTimedOut = false
    /// A check is being started: it may end before its session is known.
    private var isStarting = false

    init(_ runtime: Runtime) { self.runtime = runtime }

    /// The container process was started.
    func containerStarted() {
        // The check of another configuration may still run.
        if let session { runtime.execs.exec(of: session)?.kill() }
        session = nil
        timeoutAt = nil
        monitor = runtime.spec.tether.healthCheck.map { HealthMonitor($0, startedAt: Clock.monotonic()) }
        if monitor != nil { publish() }
    }

    /// It ended; a check that runs ends with it, and its result says nothing.
    func containerEnded() {
        monitor = nil
        session = nil
        timeoutAt = nil
    }

    private func start(_ now: Int64) {
        guard let check = monitor?.check else { return }
        monitor?.begin(now)
        hasTimedOut = false
        timeoutAt = now &+ check.timeout
        let process = runtime.lifecycle.launched.process.beside(args: check.test.arguments)
        isStarting = true
        defer { isStarting = false }
        switch runtime.execs.start(process, name: "", wantsStdin: false, endsInputWithClient: true, purpose: .health) {
        case .success(let session): if self.monitor?.nextCheck == nil { self.session = session }
        case .failure(let failure):
            finish(HealthMonitor.Result(exitCode: -1, output: "\(failure.operation) \(failure.object): \(failure.cause)"))
        }
    }

    /// The check's process has ended, or could not be started.
    func checkEnded(_ session: Session) {
        // One of a run or a configuration before says nothing of this one.
        guard monitor != nil, isStarting || self.session === session else { return }
        if hasTimedOut {
            let seconds = (monitor?.check.timeout ?? 0) / 1_000_000_000
            finish(HealthMonitor.Result(exitCode: -1, output: "the check has not ended within its time (\(seconds) s)"))
        } else if let failure = session.startFailure {
            finish(HealthMonitor.Result(exitCode: -1, output: "\(failure.operation) \(failure.object): \(failure.cause)"))
        } else {
            finish(HealthMonitor.Result(exitCode: Int32(session.result?.exitCode ?? 255), output: output(of: session)))
        }
    }

    /// The beginning of what the check wrote.
    private func output(of session: Session) -> String {
        var bytes: [UInt8] = []
        for stream in [LogStream.stdout, .stderr] {
            bytes += session.recentOutput(stream, atMost: HealthMonitor.outputLimit - bytes.count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func finish(_ result: HealthMonitor.Result) {
        session = nil
        timeoutAt = nil
        let changed = monitor?.end(result, Clock.monotonic()) ?? false
        if result.exitCode != 0 {
            runtime.diagnostics.info("health check: exit code \(result.exitCode): \(Runtime.printable(result.output))")
        }
        if changed { publish() }
    }

    private func publish() {
        guard let monitor else { return }
        runtime.status.health = Status.Health(
            status: monitor.state.rawValue, failingStreak: monitor.failingStreak, exitCode: monitor.last?.exitCode,
            output: monitor.last?.output ?? "")
        runtime.status.publish()
        runtime.log.event(.health(id: runtime.spec.tether.id, status: monitor.state.rawValue))
        runtime.diagnostics.info("health: \(monitor.state.rawValue)")
        let state: ControlEvent.Health =
            switch monitor.state {
            case .starting: .starting
            case .healthy: .healthy
            case .unhealthy: .unhealthy
            }
        runtime.control.notify(.health(state))
    }

    /// The container was paused for so many nanoseconds, which are not a check's.
    func wasPaused(for time: Int64) { timeoutAt = timeoutAt.map { $0 &+ time } }

    var nextDeadline: Int64? { runtime.isPaused ? nil : timeoutAt.earlier(monitor?.nextCheck) }

    func checkDeadlines(_ now: Int64) {
        // A frozen container cannot answer, and is not to be blamed for it.
        if runtime.isPaused { return }
        if let timeoutAt, timeoutAt <= now {
            self.timeoutAt = nil
            hasTimedOut = true
            if let session { runtime.execs.exec(of: session)?.kill() }
        }
        if let due = monitor?.nextCheck, due <= now { start(now) }
    }
}
