import ContainerSpec

/// The health of a container, from the results of its check command: Docker's rules (Dockerfile reference, HEALTHCHECK).
///
/// Pure: it is told the time on the monotonic clock, says when the next check is due, and takes its result.
public struct HealthMonitor: Sendable {
    public enum State: String, Sendable, Equatable { case starting, healthy, unhealthy }

    /// The last check.
    public struct Result: Sendable, Equatable {
        /// The command's exit code; 0 is healthy. −1 where it did not end in time or could not be started.
        public var exitCode: Int32
        /// What it wrote, cut to ``HealthMonitor/outputLimit``.
        public var output: String

        public init(exitCode: Int32, output: String) {
            self.exitCode = exitCode
            self.output = output
        }
    }

    /// The most bytes of a check's output that are kept.
    public static let outputLimit = 4096

    public let check: HealthCheck
    public private(set) var state = State.starting
    /// Failures in a row.
    public private(set) var failingStreak: Int64 = 0
    public private(set) var last: Result?
    private let startedAt: Int64
    /// When the next check is due, in nanoseconds on the monotonic clock; nil while one runs.
    public private(set) var nextCheck: Int64?
    private var checkStarted: Int64 = 0

    /// - Parameter now: when the container process was started.
    public init(_ check: HealthCheck, startedAt now: Int64) {
        self.check = check
        startedAt = now
        nextCheck = now &+ interval(now)
    }

    /// While the container may still be starting up it is looked at more often.
    private func interval(_ now: Int64) -> Int64 {
        state == .starting && now &- startedAt < check.startPeriod ? check.startInterval : check.interval
    }

    /// A check begins.
    public mutating func begin(_ now: Int64) {
        nextCheck = nil
        checkStarted = now
    }

    /// A check has ended.
    /// - Returns: whether the state changed.
    public mutating func end(_ result: Result, _ now: Int64) -> Bool {
        let before = state
        last = result
        if result.exitCode == 0 {
            failingStreak = 0
            state = .healthy
        } else if state != .starting || checkStarted &- startedAt >= check.startPeriod {
            failingStreak &+= 1
            if failingStreak >= check.retries { state = .unhealthy }
        }
        nextCheck = now &+ interval(now)
        return state != before
    }
}
