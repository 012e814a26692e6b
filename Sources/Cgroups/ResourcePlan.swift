import CCgroups
public import ContainerSpec

/// One write(2) to a file of a cgroup.
public struct CgroupWrite: Equatable, Sendable {
    /// "memory.max"
    public var file: String
    public var value: String
    /// The property of the configuration that asks for it: "linux.resources.memory.limit". Empty for tether's own default.
    public var property: String
    /// What to write where the kernel has no such file.
    public var alternative = Alternative.none

    public enum Alternative: Equatable, Sendable {
        /// Nothing does the same: that the file is missing is an error.
        case none
        /// What was asked for is so without it.
        case needless
        case file(String, value: String)
    }

    public init(_ file: String, _ value: String, _ property: String, _ alternative: Alternative = .none) {
        self.file = file
        self.value = value
        self.property = property
        self.alternative = alternative
    }

    /// "memory" of "memory.max": the controller that has to be enabled for the file.
    public var controller: String { String(Substring(file.utf8.prefix { $0 != UInt8(ascii: ".") })) }
}

/// What `linux.resources` means in the files of cgroup v2: the conversion, without the kernel.
public struct ResourcePlan: Equatable, Sendable {
    /// In the order in which they are to be done.
    public private(set) var writes: [CgroupWrite] = []
    /// Limits that were lowered to what the VM can give, for the diagnostics.
    public private(set) var notes: [String] = []

    /// The files of ``writes`` that the group of the container's first process gets as well. It is the root of the container's
    /// cgroup namespace, and there programs look for what they may use: a JVM, a Go runtime, `nproc`.
    public static let visibleFiles = ["memory.max", "memory.swap.max", "cpu.max", "cpu.max.burst", "pids.max"]

    /// A plan that limits nothing.
    static let none = ResourcePlan()
    private init() {}

    /// - Parameter ceilings: what the VM can give at most; they hold also where nothing is configured.
    /// - Throws: ``CgroupError``, which names the property that cannot be honoured.
    public init(_ resources: ContainerResources, ceilings: ContainerCeilings) throws(CgroupError) {
        addCPU(resources.cpu)
        try addMemory(resources.memory)
        if let limit = resources.pidsLimit {
            // As in Docker, 0 is no limit: a container of no processes would be of no use.
            add("pids.max", limit > 0 ? "\(limit)" : "max", "linux.resources.pids.limit")
        }
        addBlockIO(resources.blockIO)
        for page in resources.hugepageLimits {
            // Limits on reservations come first in the runtime-spec: they fail an mmap(2) and not a page fault.
            add(
                "hugetlb.\(page.pageSize).rsvd.max", "\(page.limit)", "linux.resources.hugepageLimits",
                .file("hugetlb.\(page.pageSize).max", value: "\(page.limit)"))
        }
        // Last, as in other runtimes: what is written raw is meant exactly so.
        for entry in resources.unified { try addUnified(entry) }
        try lower("memory.max", to: ceilings.memoryBytes, unit: " bytes")
        try lower("pids.max", to: ceilings.tasks, unit: "")
    }

    private mutating func add(
        _ file: String, _ value: String, _ property: String, _ alternative: CgroupWrite.Alternative = .none
    ) {
        writes.append(CgroupWrite(file, value, property, alternative))
    }

    // MARK: CPU

    private mutating func addCPU(_ cpu: CPUResources) {
        if let cpus = cpu.cpus, !cpus.isEmpty { add("cpuset.cpus", cpus, "linux.resources.cpu.cpus") }
        if let mems = cpu.mems, !mems.isEmpty { add("cpuset.mems", mems, "linux.resources.cpu.mems") }
        // An idle group has the least weight of all, and the kernel takes no other from it.
        if let shares = cpu.shares, shares > 0, cpu.idle != 1 {
            add("cpu.weight", "\(ResourcePlan.weight(shares: shares))", "linux.resources.cpu.shares")
        }
        if let idle = cpu.idle { add("cpu.idle", "\(idle)", "linux.resources.cpu.idle") }
        let quota = cpu.quota ?? 0
        if quota != 0 || (cpu.period ?? 0) > 0 {
            let period = cpu.period.flatMap { $0 > 0 ? $0 : nil } ?? ResourcePlan.usualPeriod
            let property = quota == 0 ? "linux.resources.cpu.period" : "linux.resources.cpu.quota"
            add("cpu.max", (quota > 0 ? "\(quota)" : "max") + " \(period)", property)
        }
        // After the quota, above which the kernel takes no burst.
        if let burst = cpu.burst { add("cpu.max.burst", "\(burst)", "linux.resources.cpu.burst") }
    }

    private static let usualPeriod: UInt64 = 100_000

    /// `cpu.weight` (1…10000, of which 100 is usual) for cgroup v1's shares (2…262144, of which 1024 is usual).
    ///
    /// The curve that runc and crun have used since they were found to give 39 for the usual 1024: it meets the least, the usual
    /// and the greatest value of both.
    static func weight(shares: UInt64) -> UInt64 {
        if shares <= 2 { return 1 }
        if shares >= 262_144 { return 10_000 }
        let logarithm = binaryLogarithm(shares)
        let exponent = (logarithm * logarithm + 125 * logarithm) / 612 - 7.0 / 34
        // The last digits are rounding, which must not lift 100.0000001 to 101.
        let weight = powerOfTwo(exponent * 3.321928094887362) - 1e-6
        return min(10_000, weight > 0 ? UInt64(weight) &+ 1 : 1)
    }

    // Not log2(3) and pow(3): for this one number they would keep libm in PID 1's memory.

    private static func binaryLogarithm(_ value: UInt64) -> Double {
        let whole = 63 - max(1, value).leadingZeroBitCount
        var mantissa = Double(max(1, value)) / Double(UInt64(1) << UInt64(whole))
        var result = Double(whole)
        var bit = 0.5
        for _ in 0..<40 {
            mantissa *= mantissa
            if mantissa >= 2 {
                mantissa /= 2
                result += bit
            }
            bit /= 2
        }
        return result
    }

    /// Newton's method; five rounds are exact between 1 and 2.
    private static func squareRoot(_ value: Double) -> Double {
        var root = (1 + value) / 2
        for _ in 0..<5 { root = (root + value / root) / 2 }
        return root
    }

    /// - Parameter exponent: 0 to 62.
    private static func powerOfTwo(_ exponent: Double) -> Double {
        let whole = UInt64(max(0, min(62, exponent)))
        var rest = max(0, exponent - Double(whole))
        var result = Double(UInt64(1) << whole)
        var factor = 2.0
        var bit = 0.5
        for _ in 0..<40 {
            factor = squareRoot(factor)
            if rest >= bit {
                result *= factor
                rest -= bit
            }
            bit /= 2
        }
        return result
    }

    // MARK: Memory

    private mutating func addMemory(_ memory: MemoryResources) throws(CgroupError) {
        let limit = memory.limit ?? 0
        if limit != 0 { add("memory.max", limit > 0 ? "\(limit)" : "max", "linux.resources.memory.limit") }
        try addSwap(memory.swap ?? 0, limit: limit)
        // v1's soft limit and v2's memory.low both name the memory that is reclaimed only when there is no other.
        if let reservation = memory.reservation, reservation != 0 {
            add("memory.low", reservation > 0 ? "\(reservation)" : "max", "linux.resources.memory.reservation")
        }
    }

    /// The runtime-spec, as cgroup v1, counts memory and swap together; v2 counts swap alone.
    private mutating func addSwap(_ both: Int64, limit: Int64) throws(CgroupError) {
        let property = "linux.resources.memory.swap"
        if both == 0 { return }
        // Where the kernel has no swap, "no limit" and "none" are so anyway.
        if both < 0 { return add("memory.swap.max", "max", property, .needless) }
        if limit < 0 { return add("memory.swap.max", "\(both)", property) }
        if limit == 0 {
            throw CgroupError("convert", property, "it counts memory and swap together, so it needs linux.resources.memory.limit")
        }
        if both < limit { throw CgroupError("convert", property, "it is below linux.resources.memory.limit, which it includes") }
        let swap = both &- limit
        add("memory.swap.max", "\(swap)", property, swap == 0 ? .needless : .none)
    }

    // MARK: Block devices

    private mutating func addBlockIO(_ io: BlockIOResources) {
        let property = "linux.resources.blockIO."
        if let weight = io.weight, weight > 0 { addWeight("", weight, property + "weight") }
        for device in io.weightDevices {
            addWeight("\(device.major):\(device.minor) ", device.weight, property + "weightDevice")
        }
        addRates(io.throttleReadBytes, "rbps", property + "throttleReadBpsDevice")
        addRates(io.throttleWriteBytes, "wbps", property + "throttleWriteBpsDevice")
        addRates(io.throttleReadOperations, "riops", property + "throttleReadIOPSDevice")
        addRates(io.throttleWriteOperations, "wiops", property + "throttleWriteIOPSDevice")
    }

    /// BFQ has a file of its own, with v1's range; where that scheduler is not loaded, io.weight is what there is.
    private mutating func addWeight(_ device: String, _ weight: UInt16, _ property: String) {
        add(
            "io.bfq.weight", device + "\(weight)", property,
            .file("io.weight", value: device + "\(ResourcePlan.ioWeight(blkio: weight))"))
    }

    /// `io.weight` (1…10000) for v1's weight (10…1000): a straight line between the ends, as in other runtimes.
    static func ioWeight(blkio weight: UInt16) -> UInt64 { 1 + (UInt64(min(max(weight, 10), 1000)) - 10) * 9999 / 990 }

    private mutating func addRates(_ rates: [DeviceRate], _ key: String, _ property: String) {
        // v1 takes 0 for no limit; v2 refuses it.
        for rate in rates { add("io.max", "\(rate.major):\(rate.minor) \(key)=" + (rate.rate > 0 ? "\(rate.rate)" : "max"), property) }
    }

    // MARK: Raw files

    private static let controllers = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"]

    private mutating func addUnified(_ entry: KeyValue) throws(CgroupError) {
        let property = "linux.resources.unified." + entry.key
        let name = Array(entry.key.utf8)
        guard let dot = name.firstIndex(of: UInt8(ascii: ".")), dot < name.count - 1, name.count <= 128,
            name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") })
        else {
            throw CgroupError("convert", property, "expected the name of a cgroup v2 file, such as memory.high")
        }
        let controller = String(Substring(entry.key.utf8.prefix(dot)))
        if controller == "cgroup" { throw CgroupError("convert", property, "the cgroup.* files are tether's own") }
        guard ResourcePlan.controllers.contains(controller) else {
            throw CgroupError("convert", property, "\(controller) is no controller of cgroup v2")
        }
        // The kernel takes one line a write.
        let lines = entry.value.utf8.split(separator: UInt8(ascii: "\n")).map { String(Substring($0)) }
        if lines.isEmpty { throw CgroupError("convert", property, "it has no value") }
        if lines.contains(where: { $0.utf8.count > 4095 || $0.utf8.contains(0) }) {
            throw CgroupError("convert", property, "a line has more than 4095 bytes, or a NUL character")
        }
        for line in lines { add(entry.key, line, property) }
    }

    // MARK: What the VM can give

    /// Holds every write to `file` to `ceiling`, and writes it where nothing else does.
    private mutating func lower(_ file: String, to ceiling: UInt64?, unit: String) throws(CgroupError) {
        guard let ceiling else { return }
        var isWritten = false
        for index in writes.indices where writes[index].file == file {
            isWritten = true
            guard let limit = ResourcePlan.limit(writes[index].value) else {
                throw CgroupError("convert", writes[index].property, "expected a number or max, found \(writes[index].value)")
            }
            guard limit > ceiling else { continue }
            if writes[index].value != "max" {
                let change = "lowered from \(writes[index].value) to \(ceiling)\(unit)"
                notes.append("\(writes[index].property) \(change): the VM has no more to give")
            }
            writes[index].value = "\(ceiling)"
        }
        if !isWritten { add(file, "\(ceiling)", "") }
    }

    /// A number, with the binary suffix that the kernel takes in `memory.max`, or "max".
    static func limit(_ text: String) -> UInt64? {
        if text == "max" { return .max }
        var digits = Array(text.utf8)[...]
        while digits.last == 0x20 { digits.removeLast() }
        var shift: UInt64 = 0
        switch digits.last.map({ $0 | 0x20 }) {
        case UInt8(ascii: "k"): shift = 10
        case UInt8(ascii: "m"): shift = 20
        case UInt8(ascii: "g"): shift = 30
        case UInt8(ascii: "t"): shift = 40
        default: break
        }
        if shift > 0 { digits.removeLast() }
        guard let number = CgroupFile.number(digits) else { return nil }
        let (product, tooLarge) = number.multipliedReportingOverflow(by: 1 << shift)
        return tooLarge ? .max : product
    }
}
