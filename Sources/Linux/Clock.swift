import CLinux

/// The kernel's clocks (clock_gettime(2)).
public enum Clock {
    /// Nanoseconds since boot on the monotonic clock: for deadlines and durations.
    public static func monotonic() -> Int64 { now(CLOCK_MONOTONIC) }

    /// Nanoseconds since 1970-01-01T00:00:00Z: for time stamps that people read.
    public static func realtime() -> Int64 { now(CLOCK_REALTIME) }

    private static func now(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        _ = clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}

/// A point on the monotonic clock after which a wait is given up.
public struct Deadline: Sendable, Equatable {
    /// Nanoseconds on the monotonic clock.
    public let nanoseconds: Int64

    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The deadline `milliseconds` from now; negative counts as now, and one past the clock's end as its end.
    public static func after(milliseconds: Int64) -> Deadline {
        let (span, tooLong) = max(0, milliseconds).multipliedReportingOverflow(by: 1_000_000)
        let (sum, tooLate) = Clock.monotonic().addingReportingOverflow(span)
        return Deadline(nanoseconds: tooLong || tooLate ? .max : sum)
    }

    public var hasPassed: Bool { Clock.monotonic() >= nanoseconds }

    /// Milliseconds left, rounded up, at least 0; fits poll(2) and epoll_wait(2).
    public var pollTimeout: Int32 {
        let left = max(0, nanoseconds - Clock.monotonic())
        return Int32(clamping: (left / 1_000_000) + (left % 1_000_000 == 0 ? 0 : 1))
    }
}
