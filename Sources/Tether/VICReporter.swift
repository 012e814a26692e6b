import CLinux
import Linux
import SessionLog
import VIC

/// Writes what VIC's portlayer watches of the container's own session.
final class VICReporter {
    private let host: HostStore
    private let diagnostics: Diagnostics
    private let results: VICResults
    /// When the session was made, as the host says it, in seconds since 1970; 0 where it does not.
    var created: Int64 = 0
    /// The process's working directory, which stands in what is said of a command that is not there.
    var directory = "/"
    private var isStarted: Bool

    /// Milliseconds before a key that was refused is tried again.
    private static let pauses: [Int64] = [10, 100, 1000]
    /// The most keys that wait for a host that takes none.
    private static let waitingLimit = 4096
    /// How long the end of the VM waits for them, in milliseconds.
    private static let finalPatience: Int64 = 5000
    /// Keys that are still to be written.
    private var waiting: [VICKeyValue] = []
    /// How often the first of them was refused, and when it is tried again.
    private var refused = 0
    private var due: Int64?
    /// The host has taken all keys.
    private var isWhole = true

    /// - Parameter isStarted: its process had been started when PID 1 crashed.
    init(_ results: VICResults, host: HostStore, diagnostics: Diagnostics, isStarted: Bool = false) {
        self.results = results
        self.host = host
        self.diagnostics = diagnostics
        self.isStarted = isStarted
    }

    /// The session's name.
    var session: String { results.id }

    static func seconds(_ time: Timestamp?) -> Int64 { (time?.nanoseconds ?? Clock.realtime()) / 1_000_000_000 }

    // MARK: Writing

    /// Writes keys in their order, behind those that the host has not taken yet.
    func write(_ keys: [VICKeyValue]) {
        waiting += keys
        if waiting.count > VICReporter.waitingLimit {
            diagnostics.warning("the host takes no results: \(waiting.count - VICReporter.waitingLimit) are given up")
            waiting.removeFirst(waiting.count - VICReporter.waitingLimit)
        }
        if due == nil { writeWaiting() }
    }

    /// Goes on until the host refuses. A busy one does so for a moment: then the rest waits, and nobody waits for it.
    private func writeWaiting() {
        due = nil
        while let pair = waiting.first {
            if let refusal = host.set(pair.key, Array(pair.value.utf8)) {
                guard refused < VICReporter.pauses.count else {
                    diagnostics.warning(refusal)
                    isWhole = false
                    refused = 0
                    waiting.removeFirst()
                    continue
                }
                due = Clock.monotonic() &+ VICReporter.pauses[refused] &* 1_000_000
                refused += 1
                return
            }
            refused = 0
            waiting.removeFirst()
        }
    }

    var nextDeadline: Int64? { due }

    func checkDeadlines(_ now: Int64) { if let due, due <= now { writeWaiting() } }

    /// Writes what is left, for the VM is about to go off.
    /// - Returns: whether the host took all of it.
    private func finishWriting() -> Bool {
        isWhole = true
        let deadline = Deadline.after(milliseconds: VICReporter.finalPatience)
        while let due, !deadline.hasPassed {
            let pause = (due &- Clock.monotonic()) / 1_000_000 &+ 1
            if pause > 0 { _ = poll(nil, 0, Int32(clamping: pause)) }
            checkDeadlines(Clock.monotonic())
        }
        for pair in waiting { diagnostics.warning("info-set \(pair.key): the host did not take it in time") }
        return isWhole && waiting.isEmpty
    }

    /// The container process runs.
    func started(at time: Timestamp?, resurrections: Int64) {
        isStarted = true
        write(results.started(at: VICReporter.seconds(time), created: created, resurrections: resurrections))
    }

    /// The container has ended, or has not been started at all.
    /// - Returns: whether the host took all that there was to tell.
    func finish(_ exit: ExitRecord) -> Bool {
        let time = VICReporter.seconds(exit.finishedAt)
        if isStarted {
            let start = exit.startedAt.map { VICReporter.seconds($0) } ?? 0
            write(results.ended(status: Int64(exit.exitCode), at: time, startedAt: start))
        } else {
            let reason = VICReporter.reason(exit.error, exit.exitCode, directory)
            write(results.failed(reason, status: Int64(exit.exitCode), at: time, created: created, endsVM: true))
        }
        return finishWriting()
    }

    static func reason(_ failure: FailureReport?, _ exitCode: UInt8, _ directory: String) -> String {
        guard let failure else { return "" }
        return VICResults.reason(failure.operation, failure.object, failure.cause, exitCode: exitCode, directory: directory)
    }
}
