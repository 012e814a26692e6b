import CLinux
import Linux
import SessionLog
import VIC

/// Writes what VIC's portlayer watches of the container's own session.
final class VICReporter {
    private let host: any KeyWriter
    private let diagnostics: Diagnostics
    private let results: VICResults
    /// When the session was made, as the host says it, in seconds since 1970; 0 where it does not.
    var created: Int64 = 0
    /// The process's working directory, which stands in what is said of a command that is not there.
    var directory = "/"
    private var isStarted: Bool

    /// The most keys that are written before PID 1 looks at what else there is to do: each is a question to the host.
    private static let burst = 16
    /// How long the end of the VM waits for them, in milliseconds.
    private static let finalPatience: Int64 = 5000
    private var queue = VICQueue()
    /// Nothing was given up.
    private var isWhole = true

    /// - Parameter isStarted: its process had been started when PID 1 crashed.
    init(_ results: VICResults, host: any KeyWriter, diagnostics: Diagnostics, isStarted: Bool = false) {
        self.results = results
        self.host = host
        self.diagnostics = diagnostics
        self.isStarted = isStarted
    }

    /// The session's name.
    var session: String { results.id }

    static func seconds(_ time: Timestamp?) -> Int64 { (time?.nanoseconds ?? Clock.realtime()) / 1_000_000_000 }

    // MARK: Writing

    /// Has keys written in their order, soon.
    ///
    /// - Parameter owner: whose they are: the name of a session or a network.
    func write(_ keys: [VICKeyValue], of owner: String) {
        let lost = queue.append(keys, of: owner)
        if lost == 0 { return }
        isWhole = false
        diagnostics.warning("the host takes no results: \(lost) are given up")
    }

    private func writeWaiting() {
        for _ in 0..<VICReporter.burst {
            guard let pair = queue.next(Clock.monotonic()) else { return }
            guard let refusal = host.set(pair.key, Array(pair.value.utf8)) else {
                queue.taken()
                continue
            }
            // By now, for to be refused may have taken long.
            switch queue.refused(Clock.monotonic()) {
            case .again: break
            case .putOff: diagnostics.warning("\(refusal); it is tried again every 10 s")
            case .givenUp:
                isWhole = false
                diagnostics.warning(refusal)
            }
        }
    }

    var nextDeadline: Int64? { queue.due }

    func checkDeadlines(_ now: Int64) { if let due = queue.due, due <= now { writeWaiting() } }

    /// Writes what is left, for the VM is about to go off.
    /// - Returns: whether the host took all that there ever was.
    private func finishWriting() -> Bool {
        queue.finish()
        let deadline = Deadline.after(milliseconds: VICReporter.finalPatience)
        while let due = queue.due, !deadline.hasPassed {
            let pause = (due &- Clock.monotonic()) / 1_000_000 &+ 1
            if pause > 1 { _ = poll(nil, 0, Int32(clamping: pause)) }
            writeWaiting()
        }
        for pair in queue.waiting { diagnostics.warning("info-set \(pair.key): the host did not take it in time") }
        return isWhole && queue.waiting.isEmpty
    }

    /// The container process runs.
    func started(at time: Timestamp?, resurrections: Int64) {
        isStarted = true
        write(results.started(at: VICReporter.seconds(time), created: created, resurrections: resurrections), of: session)
    }

    /// The container has ended, or has not been started at all.
    /// - Returns: whether the host took all that there was to tell.
    func finish(_ exit: ExitRecord) -> Bool {
        let time = VICReporter.seconds(exit.finishedAt)
        if isStarted {
            let start = exit.startedAt.map { VICReporter.seconds($0) } ?? 0
            write(results.ended(status: Int64(exit.exitCode), at: time, startedAt: start), of: session)
        } else {
            let reason = VICReporter.reason(exit.error, exit.exitCode, directory)
            write(results.failed(reason, status: Int64(exit.exitCode), at: time, created: created, endsVM: true), of: session)
        }
        return finishWriting()
    }

    static func reason(_ failure: FailureReport?, _ exitCode: UInt8, _ directory: String) -> String {
        guard let failure else { return "" }
        return VICResults.reason(failure.operation, failure.object, failure.cause, exitCode: exitCode, directory: directory)
    }
}
