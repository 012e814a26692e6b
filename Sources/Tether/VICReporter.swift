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

    /// Writes keys in their order.
    /// - Returns: whether the host took all of them.
    @discardableResult
    func write(_ keys: [VICKeyValue]) -> Bool {
        var areTaken = true
        for pair in keys {
            var refusal: String?
            // As for the status: a busy host refuses for a moment, and nobody says this again.
            for _ in 0..<3 {
                refusal = host.set(pair.key, Array(pair.value.utf8))
                if refusal == nil { break }
            }
            guard let refusal else { continue }
            diagnostics.warning(refusal)
            areTaken = false
        }
        return areTaken
    }

    /// The container process runs.
    func started(at time: Timestamp?, resurrections: Int64) {
        isStarted = true
        write(results.started(at: VICReporter.seconds(time), created: created, resurrections: resurrections))
    }

    /// The container has ended, or has not been started at all.
    func finish(_ exit: ExitRecord) -> Bool {
        let time = VICReporter.seconds(exit.finishedAt)
        if isStarted { return write(results.ended(status: Int64(exit.exitCode), at: time)) }
        let reason = VICReporter.reason(exit.error, exit.exitCode, directory)
        return write(results.failed(reason, status: Int64(exit.exitCode), at: time, created: created, endsVM: true))
    }

    static func reason(_ failure: FailureReport?, _ exitCode: UInt8, _ directory: String) -> String {
        guard let failure else { return "" }
        return VICResults.reason(failure.operation, failure.object, failure.cause, exitCode: exitCode, directory: directory)
    }
}
