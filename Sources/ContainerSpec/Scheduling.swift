/// `process.consoleSize`, in characters.
public struct ConsoleSize: Equatable, Sendable {
    /// `height`.
    public var rows: UInt16
    /// `width`.
    public var columns: UInt16

    public init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}

/// `process.ioPriority` (ioprio_set(2)).
public struct IOPriority: Equatable, Sendable {
    /// `class`; the raw value is the kernel's number.
    public enum Class: UInt16, Equatable, Sendable {
        /// `"IOPRIO_CLASS_RT"`.
        case realTime = 1
        /// `"IOPRIO_CLASS_BE"`.
        case bestEffort = 2
        /// `"IOPRIO_CLASS_IDLE"`.
        case idle = 3
    }

    public var ioClass: Class
    /// `priority`, 0 (first) …7; 0 for the idle class, which has none.
    public var priority: UInt16

    public init(ioClass: Class, priority: UInt16) {
        self.ioClass = ioClass
        self.priority = priority
    }
}

/// `process.scheduler`, all of it in a form that sched_setattr(2) accepts.
public struct SchedulerSettings: Equatable, Sendable {
    /// `policy`; the raw value is the kernel's number.
    public enum Policy: UInt32, Equatable, Sendable {
        /// `"SCHED_OTHER"`.
        case other = 0
        /// `"SCHED_FIFO"`.
        case fifo = 1
        /// `"SCHED_RR"`.
        case roundRobin = 2
        /// `"SCHED_BATCH"`.
        case batch = 3
        /// `"SCHED_IDLE"`.
        case idle = 5
        /// `"SCHED_DEADLINE"`.
        case deadline = 6
    }

    public var policy: Policy
    /// `nice`, −20…19; 0 but for SCHED_OTHER and SCHED_BATCH.
    public var nice: Int32 = 0
    /// `priority`: 1…99 for SCHED_FIFO and SCHED_RR, 0 for all others.
    public var priority: UInt32 = 0
    /// `flags`: the kernel's SCHED_FLAG_ bits.
    public var flags: UInt64 = 0
    /// `runtime`, in nanoseconds; this and the next two are 0 but for SCHED_DEADLINE.
    public var runtime: UInt64 = 0
    /// `deadline`, in nanoseconds.
    public var deadline: UInt64 = 0
    /// `period`, in nanoseconds; 0 is the same as ``deadline``.
    public var period: UInt64 = 0

    public init(policy: Policy) { self.policy = policy }
}

/// `process.execCPUAffinity`: the CPUs on which a process runs that is started beside the container process. To the container process
/// itself the runtime-spec does not apply it.
public struct ExecCPUAffinity: Equatable, Sendable {
    /// `initial`: before it enters the container's cgroup.
    public var initial: CPUList?
    /// `final`: after.
    public var final: CPUList?

    public init() {}
}

/// A set of CPUs, written as in cpuset(7), "List format": "0-3,7".
public struct CPUList: Equatable, Sendable, CustomStringConvertible {
    /// One more than the highest CPU number that a list may have: the most that a Linux kernel is built for on x86.
    public static let limit = 8192

    /// CPU n is bit n % 64 of word n / 64, as sched_setaffinity(2) takes it in memory; never empty, and the last word is not 0.
    public let words: [UInt64]

    /// - Returns: nil for text that is no such list, has no CPU or one from ``limit`` on, or is longer than the 4096 bytes that the
    ///   kernel's own files take.
    public init?(_ text: String) {
        guard text.utf8.count <= 4096 else { return nil }
        var words: [UInt64] = []
        for part in text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            let ends = part.split(separator: UInt8(ascii: "-"), maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = ends.first.flatMap({ CPUList.number($0) }), let last = ends.last.flatMap({ CPUList.number($0) }),
                first <= last
            else { return nil }
            while words.count <= last / 64 { words.append(0) }
            for cpu in first...last { words[cpu / 64] |= 1 << UInt64(cpu % 64) }
        }
        self.words = words
    }

    /// Whether `cpu` is in the set.
    public func contains(_ cpu: Int) -> Bool {
        cpu >= 0 && cpu / 64 < words.count && words[cpu / 64] & 1 << UInt64(cpu % 64) != 0
    }

    /// The set in the shortest form: "0-3,7".
    public var description: String {
        var text = ""
        var cpu = 0
        while cpu < words.count * 64 {
            defer { cpu += 1 }
            if !contains(cpu) { continue }
            let first = cpu
            while contains(cpu + 1) { cpu += 1 }
            text += (text.isEmpty ? "" : ",") + (first == cpu ? "\(first)" : "\(first)-\(cpu)")
        }
        return text
    }

    /// A decimal number below ``limit``, in digits alone.
    private static func number(_ digits: Substring.UTF8View.SubSequence) -> Int? {
        var number = 0
        guard !digits.isEmpty else { return nil }
        for digit in digits {
            guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
            number = number * 10 + Int(digit - UInt8(ascii: "0"))
            if number >= limit { return nil }
        }
        return number
    }
}
