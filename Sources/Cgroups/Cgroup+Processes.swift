import CLinux
import Linux

extension Cgroup {
    /// Moves a process with all its threads into the group (`cgroup.procs`). Its memory stays charged to where it was.
    /// - Parameter pid: as PID 1 sees it.
    public func add(_ pid: Int32) throws(CgroupError) { try write("\(pid)", to: "cgroup.procs") }

    /// Moves the caller into the group.
    public func addSelf() throws(CgroupError) { try write("0", to: "cgroup.procs") }

    /// Stops every process of the group and below it from running. Does not wait: ``CgroupEvents/frozen`` in `cgroup.events` tells
    /// when all have stopped, which a process inside a system call of a filesystem that hangs never does.
    public func freeze() throws(CgroupError) { try write("1", to: "cgroup.freeze") }

    /// Lets the processes run on.
    public func thaw() throws(CgroupError) { try write("0", to: "cgroup.freeze") }

    /// Sends SIGKILL to every process of the group and below it, those that are being forked meanwhile included. Frozen ones die
    /// too. Does not wait: ``CgroupEvents/populated`` tells when all are gone.
    public func kill() throws(CgroupError) {
        do throws(CgroupError) { try write("1", to: "cgroup.kill") } catch {
            // Kernels before 5.14 have no such file.
            guard error.errno == .noSuchFile else { throw error }
            try killOneByOne()
        }
    }

    /// What `cgroup.kill` does, for kernels without it: freezing first keeps the group from forking faster than it is killed.
    /// Groups below this one are left out, which tether's own sessions do not have.
    func killOneByOne() throws(CgroupError) {
        try freeze()
        // Two rounds: freezing takes a moment, in which a process may fork.
        for _ in 0..<2 {
            for pid in CgroupFile.processIDs(try read("cgroup.procs")) where pid != getpid() { _ = CLinux.kill(pid, SIGKILL) }
        }
        try thaw()
    }

    /// The processes of the group itself, as PID 1 sees them; at most as many as fit 64 KiB of text.
    public func processes() throws(CgroupError) -> [Int32] { CgroupFile.processIDs(try read("cgroup.procs")) }

    // MARK: Forks

    /// Whether `pids.events` counts what happens below the group, too: kernels that have `pids.events.local` beside it do.
    var countsForksBelow: Bool { exists("pids.events.local") }

    /// How often a fork(2) failed because of a limit, here or below. Where the kernel counts that only in the group of the process,
    /// it is the sum over this group and at most 256 below it.
    func refusedForks() throws(CgroupError) -> UInt64 {
        let own = try readIfPresent("pids.events").map { Cgroup.refusedForks($0) } ?? 0
        if countsForksBelow { return own }
        var left = Cgroup.removalsAtOnce
        return try own &+ Cgroup.refusedForks(below: descriptor, path: path, depth: 0, &left)
    }

    private static func refusedForks(
        below directory: Int32, path: String, depth: Int, _ left: inout Int
    ) throws(CgroupError) -> UInt64 {
        if depth >= depthLimit { return 0 }
        var sum: UInt64 = 0
        for name in try subdirectories(directory, path: path, atMost: left) where left > 0 {
            left -= 1
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            // The container may make and remove groups as it likes: one that is gone meanwhile counts nothing.
            guard let opened = try? attempt("open", path, { clinux_openat(directory, name, flags, 0) }) else { continue }
            let group = FileDescriptor(owning: opened)
            if let opened = try? attempt("open", path, { clinux_openat(group.rawValue, "pids.events", O_RDONLY | O_CLOEXEC, 0) }) {
                let events = FileDescriptor(owning: opened)
                if let content = try? content(events, path) { sum &+= refusedForks(content) }
            }
            sum &+= (try? refusedForks(below: group.rawValue, path: path + "/" + name, depth: depth + 1, &left)) ?? 0
        }
        return sum
    }

    private static func refusedForks(_ events: [UInt8]) -> UInt64 { CgroupFile.Flat(events)["max"] ?? 0 }
}
