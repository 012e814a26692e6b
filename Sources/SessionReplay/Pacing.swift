import SessionLog

/// The time line of a replay: the time stamps of a capture as nanoseconds that never go back.
///
/// A guest clock set back stands still until it has caught up, and the pause between two boots of a VM is left out.
public struct TimeLine: Sendable {
    private var last: Timestamp?
    public private(set) var elapsed: Int64 = 0

    public init() {}

    /// The next record comes from another boot.
    public mutating func startBoot() { last = nil }

    /// Nanoseconds from the first record to this one, without the pauses between boots.
    public mutating func advance(to time: Timestamp) -> Int64 {
        if let last, time > last {
            elapsed = elapsed.addingReportingOverflow(time.nanoseconds - last.nanoseconds).partialValue
            if elapsed < 0 { elapsed = .max }
        }
        last = max(last ?? time, time)
        return elapsed
    }
}

/// When to write what stands at a point of the time line.
public struct Pacing: Sendable {
    /// 1 is the original speed; nil is at once.
    public let speed: Double?
    /// The monotonic clock's nanoseconds at the beginning.
    public let start: Int64

    public init(speed: Double?, start: Int64) {
        self.speed = speed
        self.start = start
    }

    /// The point of the monotonic clock at which a record `elapsed` nanoseconds into the session is due.
    public func due(_ elapsed: Int64) -> Int64 {
        guard let speed, speed > 0 else { return start }
        let scaled = Double(elapsed) / speed
        guard scaled < 9e18 else { return .max }
        let (sum, isTooLate) = start.addingReportingOverflow(Int64(scaled))
        return isTooLate ? .max : sum
    }
}

/// From when on output is wanted.
public enum Since: Sendable, Equatable {
    case time(Timestamp)
    /// Nanoseconds before now.
    case ago(Int64)

    /// Parses an RFC 3339 time, or a duration before now such as `90s`, `10m`, `1h30m`, `2d`, `1.5h`.
    public init?(_ text: String) {
        if let time = Timestamp(text) {
            self = .time(time)
            return
        }
        var total = 0.0
        var number = ""
        for character in text {
            if character.isASCII, character.isNumber || character == "." {
                number.append(character)
                continue
            }
            let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
            guard let unit = units[character], let value = Double(number) else { return nil }
            total += value * unit
            number = ""
        }
        guard number.isEmpty, !text.isEmpty, total * 1e9 < 9e18 else { return nil }
        self = .ago(Int64(total * 1e9))
    }

    /// The time meant, when it is `now`.
    public func time(now: Int64) -> Timestamp {
        switch self {
        case .time(let time): time
        case .ago(let nanoseconds): Timestamp(nanoseconds: now - nanoseconds)
        }
    }
}
