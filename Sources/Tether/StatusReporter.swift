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
    var host: (any KeyWriter)? { didSet { keys = host.map { HostKeys($0, diagnostics) } } }
    private var keys: HostKeys?
    /// The last status is written: what still happens changes nothing in it.
    private var isFinished = false

    var id: String?
    var pid: Int32?
    var startedAt: Timestamp?
    var restarts: Int64 = 0
    var isPaused = false
    /// The container process is not started before a client attaches.
    var isWaiting = false
    var health: Status.Health?
    var notHonoured: [String] = []
    var network: [Status.Network] = []
    /// Tells VIC's portlayer, where it is that which configured the VM.
    var vic: VICReporter?

    /// - Parameter started: PID 1's first instruction, on the monotonic clock.
    init(started: Int64, diagnostics: Diagnostics) {
        self.started = started
        phaseStarted = started
        self.diagnostics = diagnostics
    }

    /// Ends the present phase and begins `next`. A container that is started again passes some of them again; their times add up.
    func enter(_ next: Phase) {
        if next == phase { return publish() }
        endPhase()
        phase = next
        diagnostics.phase = next.rawValue
        publish()
    }

    /// Writes the status of a phase that goes on.
    func publish() {
        if !isFinished { publish(StatusReporter.key, status().json) }
    }

    /// Writes another key, whose last value is the one that counts. Where the host refuses it now, it is written later.
    func publish(_ key: String, _ value: [UInt8]) { keys?.write(key, value) }

    /// From here on nobody waits for the host: what it refuses is written later.
    func loopBegins() { host?.maySleep = false }

    var nextDeadline: Int64? { keys?.nextDeadline }

    func checkDeadlines(_ now: Int64) { keys?.checkDeadlines(now) }

    /// Writes the last status. There may be a wait for the host until it is there.
    /// - Returns: whether the host took it.
    func finish(_ phase: Phase, exit: ExitRecord) -> Bool {
        isFinished = true
        keys?.drop(StatusReporter.key)
        host?.maySleep = true
        defer { loopBegins() }
        endPhase()
        self.phase = phase
        pid = nil
        isWaiting = false
        var last = status()
        last.exit = exit
        // A host that is busy (a snapshot, a migration) refuses for a moment; the client below retries each request, this
        // the whole of it, since nothing after it says how the container ended.
        var isTaken = false
        for _ in 0..<3 where !isTaken { isTaken = write(last) }
        // Last of all: to whoever watches it this is the end.
        let isToldVIC = vic?.finish(exit) ?? true
        return isTaken && isToldVIC
    }

    private func endPhase() {
        let now = Clock.monotonic()
        let took = (now - phaseStarted) / 1000
        phaseStarted = now
        if let index = timings.firstIndex(where: { $0.phase == phase }) {
            timings[index].microseconds &+= took
        } else {
            timings.append(Status.Timing(phase: phase, microseconds: took))
        }
    }

    private func status() -> Status {
        var status = Status(
            phase: phase, id: id, pid: pid, startedAt: startedAt, restarts: restarts, isPaused: isPaused, isWaiting: isWaiting,
            health: health, timings: timings, totalMicroseconds: (Clock.monotonic() - started) / 1000)
        status.notHonoured = notHonoured
        status.network = network
        return status
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
