/// How much of what somebody else says is listened to: so many messages at once, and then one each so many nanoseconds.
public struct Allowance: Sendable {
    private let interval: Int64
    private let burst: Int64
    /// When all that was taken would have come, had it come at its pace.
    private var paceEnds: Int64 = 0

    /// - Parameters:
    ///   - burst: how many at once; at least one.
    ///   - interval: nanoseconds between further ones.
    public init(burst: Int64, interval: Int64) {
        self.burst = max(1, burst)
        self.interval = max(1, interval)
    }

    /// When the next may be taken; a point in time that has passed is now.
    public var nextAt: Int64 { paceEnds &- (burst &- 1) &* interval }

    /// Takes one.
    /// - Returns: false where it has to wait, until ``nextAt``.
    public mutating func take(_ now: Int64) -> Bool {
        if nextAt > now { return false }
        paceEnds = max(paceEnds, now) &+ interval
        return true
    }
}
