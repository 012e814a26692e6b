import Linux

/// What the container gets at most, so that PID 1 and the kernel keep something to work with.
public struct ContainerCeilings: Equatable, Sendable {
    /// Bytes; nil where the kernel has no memory controller or does not say what it has.
    public var memoryBytes: UInt64?
    /// Processes and threads; nil where the kernel has no pids controller or does not say.
    public var tasks: UInt64?
    /// Bytes that are kept for PID 1.
    public var reserveBytes: UInt64

    public init(memoryBytes: UInt64?, tasks: UInt64?, reserveBytes: UInt64) {
        self.memoryBytes = memoryBytes
        self.tasks = tasks
        self.reserveBytes = reserveBytes
    }

    /// What is kept without a configured reserve: PID 1, its helpers, the session log's buffers, and the memory of the kernel that
    /// it charges to nobody.
    static let usualReserve: UInt64 = 24 << 20
    /// The same without the recent output of sessions.
    static let reserveBesideRings: UInt64 = 16 << 20
    private static let page: UInt64 = 4096

    /// Reads the VM's size from /proc. To be called before the container starts: what is in use then is not the container's.
    /// - Parameters:
    ///   - reserveKiB: `tether.memoryReserveKiB`; nil is 24 MiB, or more where the rings may take more, but at most a fifth of the memory.
    ///   - ringsKiB: what the recent output of all sessions may take together.
    public static func read(reserveKiB: Int64? = nil, ringsKiB: Int64 = 0) -> ContainerCeilings {
        func content(_ path: String) -> [UInt8] { (try? Files.read(path, limit: 64 << 10)) ?? [] }
        return ContainerCeilings(
            meminfo: content("/proc/meminfo"), threadsMax: content("/proc/sys/kernel/threads-max"),
            pidMax: content("/proc/sys/kernel/pid_max"), loadavg: content("/proc/loadavg"), reserveKiB: reserveKiB,
            ringsKiB: ringsKiB)
    }

    /// Takes the contents of the files of /proc with these names.
    init(meminfo: [UInt8], threadsMax: [UInt8], pidMax: [UInt8], loadavg: [UInt8], reserveKiB: Int64?, ringsKiB: Int64 = 0) {
        let total = ContainerCeilings.meminfo("MemTotal:", meminfo) ?? 0
        // A reserve that is configured is meant so, but a container of no memory at all cannot be meant.
        let reserve: UInt64
        if let reserveKiB {
            let (bytes, tooLarge) = UInt64(clamping: reserveKiB).multipliedReportingOverflow(by: 1024)
            reserve = tooLarge ? total / 2 : min(bytes, total / 2)
        } else {
            let needed = ContainerCeilings.reserveBesideRings + ContainerCeilings.bytes(ringsKiB: ringsKiB)
            reserve = min(max(ContainerCeilings.usualReserve, needed), total / 5)
        }
        reserveBytes = reserve
        // Not MemTotal: the unpacked initramfs, the kernel's tables and PID 1 have taken theirs of it already, and nothing of that
        // is charged to the container. A limit above what is there would never be reached: the VM would run out first.
        let available = min(ContainerCeilings.meminfo("MemAvailable:", meminfo) ?? total, total)
        if total > 0 {
            let rest = max(available > reserve ? available - reserve : 0, total / 4)
            memoryBytes = rest / ContainerCeilings.page * ContainerCeilings.page
        } else {
            memoryBytes = nil
        }

        guard let threads = CgroupFile.single(threadsMax), let pids = CgroupFile.single(pidMax) else {
            tasks = nil
            return
        }
        let limit = min(threads, pids)
        let used = ContainerCeilings.tasks(loadavg: loadavg) ?? 128
        let free = limit > used ? limit - used : 0
        // Drivers that load later start kernel threads, and PID 1 starts workers.
        let headroom = min(max(64, limit / 16), free / 2)
        tasks = max(free - headroom, 16)
    }

    private static func bytes(ringsKiB: Int64) -> UInt64 { min(UInt64(clamping: ringsKiB), 1 << 40) << 10 }

    /// Whether the reserve has room for so much recent output, and a third of it is left for the rest.
    public func hasRoom(ringsKiB: Int64) -> Bool { ContainerCeilings.bytes(ringsKiB: ringsKiB) <= reserveBytes / 3 * 2 }

    /// The bytes of one line of /proc/meminfo, which are written in KiB.
    private static func meminfo(_ name: StaticString, _ content: [UInt8]) -> UInt64? {
        for line in CgroupFile.lines(content) {
            let words = line.split(separator: 0x20)
            guard words.count >= 2, CgroupFile.matches(words[0], name) else { continue }
            return CgroupFile.number(words[1]).flatMap { $0 < 1 << 50 ? $0 << 10 : nil }
        }
        return nil
    }

    /// All processes and threads, the kernel's included: "0.00 0.01 0.05 1/123 4567".
    private static func tasks(loadavg: [UInt8]) -> UInt64? {
        let words = loadavg.split(separator: 0x20)
        guard words.count >= 4, let slash = words[3].firstIndex(of: UInt8(ascii: "/")) else { return nil }
        return CgroupFile.number(words[3][(slash + 1)...])
    }
}
