/// What a group and all below it have used. Whatever the kernel does not measure is nil: a controller that it lacks, a file that
/// came with a later version.
public struct CgroupStats: Equatable, Sendable {
    /// `cpu.stat`.
    public struct CPU: Equatable, Sendable {
        /// Microseconds of processor time.
        public var usage: UInt64
        public var user: UInt64
        public var system: UInt64
        /// Periods of `cpu.max` that passed with something to run, and in how many of them the quota ended it.
        public var periods: UInt64?
        public var throttledPeriods: UInt64?
        /// Microseconds for which something was kept from running.
        public var throttled: UInt64?
    }

    /// The files `memory.*`, in bytes.
    public struct Memory: Equatable, Sendable {
        public var current: UInt64
        /// The most that ``current`` has been.
        public var peak: UInt64?
        /// `memory.max`; nil where there is no limit.
        public var limit: UInt64?
        public var swap: UInt64?
        /// Of ``current``: memory of processes, cached content of files, and what the kernel holds for the group.
        public var anonymous: UInt64?
        public var file: UInt64?
        public var kernel: UInt64?
        /// Content of files that was not used lately; Docker counts it as free.
        public var inactiveFile: UInt64?
        public var events: MemoryEvents
    }

    /// A line of `io.stat`.
    public struct Device: Equatable, Sendable {
        /// "8:0", major and minor number.
        public var device: String
        public var readBytes: UInt64
        public var writtenBytes: UInt64
        public var reads: UInt64
        public var writes: UInt64
        public var discardedBytes: UInt64
        public var discards: UInt64
    }

    /// The files `pids.*`: processes and threads.
    public struct Tasks: Equatable, Sendable {
        public var current: UInt64
        /// `pids.max`; nil where there is no limit.
        public var limit: UInt64?
        /// How often a fork(2) failed because of a limit, here or below (``Cgroup/refusedForks()``).
        public var refused: UInt64
    }

    /// One line of a `*.pressure` file ("Pressure Stall Information" in the kernel's documentation).
    public struct Stall: Equatable, Sendable {
        /// The share of the last 10 s in which processes waited, in hundredths of a percent.
        public var average10: UInt64
        /// All the time in which they did, in microseconds.
        public var total: UInt64
    }

    public struct Pressure: Equatable, Sendable {
        /// At least one process waited.
        public var some: Stall
        /// All that had something to do waited; nil where the kernel does not say.
        public var full: Stall?
    }

    public var cpu: CPU?
    public var memory: Memory?
    public var tasks: Tasks?
    /// At most 64 devices.
    public var devices: [Device]?
    public var cpuPressure: Pressure?
    public var memoryPressure: Pressure?
    public var ioPressure: Pressure?

    static let deviceLimit = 64
}

extension Cgroup {
    /// Reads all that the kernel has counted. Some ten small files of the kernel's memory: nothing waits.
    /// - Throws: ``CgroupError`` for a file that is there and cannot be read; a file that is missing leaves its value nil.
    public func stats() throws(CgroupError) -> CgroupStats {
        var stats = CgroupStats()
        stats.cpu = CgroupStats.cpu(try readIfPresent("cpu.stat"))
        stats.memory = CgroupStats.memory(
            current: try readIfPresent("memory.current"), peak: try readIfPresent("memory.peak"), max: try readIfPresent("memory.max"),
            swap: try readIfPresent("memory.swap.current"), stat: try readIfPresent("memory.stat"),
            events: try readIfPresent("memory.events"))
        stats.tasks = CgroupStats.tasks(
            current: try readIfPresent("pids.current"), max: try readIfPresent("pids.max"), refused: try refusedForks())
        stats.devices = CgroupStats.devices(try readIfPresent("io.stat"))
        stats.cpuPressure = CgroupStats.pressure(try readIfPresent("cpu.pressure"))
        stats.memoryPressure = CgroupStats.pressure(try readIfPresent("memory.pressure"))
        stats.ioPressure = CgroupStats.pressure(try readIfPresent("io.pressure"))
        return stats
    }
}

// MARK: Parsing

extension CgroupStats {
    static func cpu(_ stat: [UInt8]?) -> CPU? {
        guard let stat else { return nil }
        let fields = CgroupFile.Flat(stat)
        guard let usage = fields["usage_usec"] else { return nil }
        return CPU(
            usage: usage, user: fields["user_usec"] ?? 0, system: fields["system_usec"] ?? 0, periods: fields["nr_periods"],
            throttledPeriods: fields["nr_throttled"], throttled: fields["throttled_usec"])
    }

    static func memory(
        current: [UInt8]?, peak: [UInt8]?, max: [UInt8]?, swap: [UInt8]?, stat: [UInt8]?, events: [UInt8]?
    ) -> Memory? {
        guard let current, let bytes = CgroupFile.single(current) else { return nil }
        let fields = CgroupFile.Flat(stat ?? [])
        return Memory(
            current: bytes, peak: peak.flatMap { CgroupFile.single($0) }, limit: max.flatMap { CgroupFile.single($0) },
            swap: swap.flatMap { CgroupFile.single($0) }, anonymous: fields["anon"], file: fields["file"], kernel: fields["kernel"],
            inactiveFile: fields["inactive_file"], events: MemoryEvents(parsing: events ?? []))
    }

    static func tasks(current: [UInt8]?, max: [UInt8]?, refused: UInt64) -> Tasks? {
        guard let current, let count = CgroupFile.single(current) else { return nil }
        return Tasks(current: count, limit: max.flatMap { CgroupFile.single($0) }, refused: refused)
    }

    static func devices(_ stat: [UInt8]?) -> [Device]? {
        guard let stat else { return nil }
        var devices: [Device] = []
        for line in CgroupFile.lines(stat) {
            if devices.count == deviceLimit { break }
            guard let fields = CgroupFile.Nested(line), let name = deviceName(fields.key) else { continue }
            // A device that was only looked at stands there without numbers.
            guard let readBytes = fields.number("rbytes") else { continue }
            devices.append(
                Device(
                    device: name, readBytes: readBytes, writtenBytes: fields.number("wbytes") ?? 0, reads: fields.number("rios") ?? 0,
                    writes: fields.number("wios") ?? 0, discardedBytes: fields.number("dbytes") ?? 0,
                    discards: fields.number("dios") ?? 0))
        }
        return devices
    }

    /// "8:0", and nothing else: the text goes into JSON and to people.
    private static func deviceName(_ text: ArraySlice<UInt8>) -> String? {
        let numbers = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard numbers.count == 2, let major = CgroupFile.number(numbers[0]), let minor = CgroupFile.number(numbers[1]) else { return nil }
        return "\(major):\(minor)"
    }

    static func pressure(_ content: [UInt8]?) -> Pressure? {
        guard let content else { return nil }
        var some: Stall?
        var full: Stall?
        for line in CgroupFile.lines(content) {
            guard let fields = CgroupFile.Nested(line), let total = fields.number("total"),
                let average = fields.text("avg10").flatMap({ CgroupFile.hundredths($0) })
            else { continue }
            if CgroupFile.matches(fields.key, "some") { some = Stall(average10: average, total: total) }
            if CgroupFile.matches(fields.key, "full") { full = Stall(average10: average, total: total) }
        }
        return some.map { Pressure(some: $0, full: full) }
    }
}
