import ContainerSpec

/// Decides whether and when an ended container process is started again: Docker's restart policies, with Docker's times.
///
/// Pure: it is told how long the process ran on the monotonic clock, and answers how long to wait.
public struct RestartTracker: Sendable {
    /// The first wait, doubled at each restart up to the last one.
    static let firstDelay: Int64 = 100_000_000
    static let lastDelay: Int64 = 60_000_000_000
    /// A process that ran this long is taken to have worked: the waits begin anew.
    static let resetAfter: Int64 = 10_000_000_000

    public var policy: RestartPolicy
    /// How often the process was started again.
    public private(set) var count: Int64 = 0
    private var delay: Int64 = 0

    public init(policy: RestartPolicy) { self.policy = policy }

    /// The process has ended.
    ///
    /// - Parameters:
    ///   - exitCode: 0–255.
    ///   - ran: how long it ran, in nanoseconds of the monotonic clock.
    ///   - stopped: someone asked for its end; then no policy starts it again (that a VM which was stopped and is powered on
    ///     again runs its container again is not this function's matter).
    /// - Returns: nanoseconds to wait before it is started again; nil when it is not.
    public mutating func ended(exitCode: Int32, ran: Int64, stopped: Bool) -> Int64? {
        if ran >= RestartTracker.resetAfter { delay = 0 }
        delay = delay == 0 ? RestartTracker.firstDelay : min(delay &* 2, RestartTracker.lastDelay)
        if stopped || !wantsRestart(exitCode) { return nil }
        count &+= 1
        return delay
    }

    private func wantsRestart(_ exitCode: Int32) -> Bool {
        switch policy {
        case .no: false
        case .always, .unlessStopped: true
        case .onFailure(let most): exitCode != 0 && (most.map { count < $0 } ?? true)
        }
    }
}
