import Linux
import SessionLog

/// Keeps `guestinfo.tether.status` up to date, and the time that each phase took.
final class StatusReporter {
    static let key = "guestinfo.tether.status"

    private(set) var phase = Phase.boot
    private var phaseStarted: Int64
    private let started: Int64
    private var timings: [Status.Timing] = []
    private let diagnostics: Diagnostics
    /// nil until the backdoor has answered.
    var host: HostStore?

    var id: String?
    var pid: Int32?
    var startedAt: Timestamp?

    /// - Parameter started: PID 1's first instruction, on the monotonic clock.
    init(started: Int64, diagnostics: Diagnostics) {
        self.started = started
        phaseStarted = started
        self.diagnostics = diagnostics
    }

    /// Ends the present phase and begins `next`.
    func enter(_ next: Phase) {
        let now = Clock.monotonic()
        timings.append(Status.Timing(phase: phase, microseconds: (now - phaseStarted) / 1000))
        phase = next
        phaseStarted = now
        diagnostics.phase = next.rawValue
        publish()
    }

    /// Writes the status of a phase that goes on.
    func publish() {
        _ = write(status())
    }

    /// Writes the last status.
    /// - Returns: whether the host took it.
    func finish(_ phase: Phase, exit: ExitRecord) -> Bool {
        timings.append(Status.Timing(phase: self.phase, microseconds: (Clock.monotonic() - phaseStarted) / 1000))
        self.phase = phase
        pid = nil
        var last = status()
        last.exit = exit
        // A host that is busy (a snapshot, a migration) refuses for a moment; the client below retries each request, this
        // the whole of it, since nothing after it says how the container ended.
        for _ in 0..<3 where write(last) { return true }
        return false
    }

    private func status() -> Status {
        Status(
            phase: phase, id: id, pid: pid, startedAt: startedAt, timings: timings,
            totalMicroseconds: (Clock.monotonic() - started) / 1000)
    }

    private func write(_ status: Status) -> Bool {
        guard let host else { return false }
        if let failure = host.set(StatusReporter.key, status.json) {
            diagnostics.warning(failure)
            return false
        }
        return true
    }
}
