import CLinux
import Linux

/// The control groups of a container VM:
///
///     /tether               PID 1, its helpers, and tether-init of the container
///     /container            limits on all of the container
///     /container/<session>  one session's processes
///
/// Only the leaves have processes, as cgroup v2 demands of groups whose children have controllers.
public final class CgroupHierarchy {
    public let tether: Cgroup
    /// The whole container: to kill, freeze and measure it.
    public let container: Cgroup
    /// What is enabled in ``container`` and in the sessions.
    public let controllers: [String]
    public let ceilings: ContainerCeilings
    /// What does not protect PID 1 as it should, for the diagnostics.
    public private(set) var notes: [String] = []
    var applied: ResourcePlan?
    /// The group that the container's first process is in, whose limits programs in the container look at.
    var containerRoot: Cgroup?
    /// Forks that were refused in sessions whose groups are gone, where only those had counted them.
    private var refusedBefore: UInt64 = 0

    /// Where PID 1 mounts the filesystem, in its own mount namespace.
    public static let mountPoint = "/sys/fs/cgroup"
    /// The controllers that the hierarchy uses, where the kernel has them. Others stay with the root.
    private static let wanted = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]
    /// Groups that the container may make below its own, and how deep, with the right to: each costs the kernel memory.
    private static let descendants = 2048
    private static let depth = 32

    /// Mounts the cgroup filesystem, version 2. It stays where it is mounted already.
    public static func mount(on target: String = mountPoint) throws(CgroupError) {
        try CgroupError.mapping { () throws(SyscallError) in
            try Files.makeDirectories(target)
            do throws(SyscallError) {
                // nsdelegate: in its own cgroup namespace the container cannot change the limits of the namespace's root, nor move
                // processes out of it. memory_recursiveprot: memory.low of the container holds for its sessions.
                try attempt("mount cgroup2", target) {
                    CLinux.mount(
                        "cgroup2", target, "cgroup2", UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC), "nsdelegate,memory_recursiveprot")
                }
            } catch {
                if error.errno.rawValue != EBUSY { throw error }
            }
        }
    }

    /// Makes the groups below `root`, which must be the root of the hierarchy or a group without processes.
    ///
    /// PID 1 moves itself by ``Cgroup/addSelf()`` of ``tether``. What is there already stays, with the limits that it has.
    public init(root: Cgroup, ceilings: ContainerCeilings = .read()) throws(CgroupError) {
        let present = CgroupHierarchy.words(try root.read("cgroup.controllers"))
        controllers = CgroupHierarchy.wanted.filter { present.contains($0) }
        self.ceilings = ContainerCeilings(
            memoryBytes: controllers.contains("memory") ? ceilings.memoryBytes : nil,
            tasks: controllers.contains("pids") ? ceilings.tasks : nil, reserveBytes: ceilings.reserveBytes)
        // One by one, so that an error names the one that cannot be enabled.
        for controller in controllers { try root.write("+" + controller, to: "cgroup.subtree_control") }
        tether = try root.makeChild("tether")
        container = try root.makeChild("container")
        for controller in controllers { try container.write("+" + controller, to: "cgroup.subtree_control") }
        try container.write("\(CgroupHierarchy.descendants)", to: "cgroup.max.descendants")
        try container.write("\(CgroupHierarchy.depth)", to: "cgroup.max.depth")
        protect()
    }

    /// Gives PID 1 precedence. The container could run without it, so a failure is a note.
    private func protect() {
        func give(_ value: String, _ file: String, _ controller: String, _ risk: String) {
            guard controllers.contains(controller) else {
                notes.append("the kernel has no \(controller) controller: \(risk)")
                return
            }
            do throws(CgroupError) { try tether.write(value, to: file) } catch { notes.append(error.description) }
        }
        give("\(ceilings.reserveBytes)", "memory.min", "memory", "the container can take all memory")
        give("10000", "cpu.weight", "cpu", "the container can slow PID 1 down")
        if !controllers.contains("pids") { notes.append("the kernel has no pids controller: the container can use up all process ids") }
    }

    /// Limits the container. To be called before the first session is made: a limit below what is in use would make the kernel
    /// reclaim and kill inside write(2).
    /// - Throws: ``CgroupError``, naming file, value and property; a controller that the kernel has not is named.
    public func apply(_ plan: ResourcePlan) throws(CgroupError) {
        for write in plan.writes { try apply(write, to: container) }
        applied = plan
    }

    /// Makes the group of a new session, empty and with counters at zero. One that the session before left is removed first.
    /// - Parameter isContainerRoot: the session's first process will be in the container's root cgroup, so the container's limits are
    ///   repeated where it looks for them.
    /// - Throws: ``CgroupError``; EBUSY where processes of the session before are still dying.
    public func makeSession(_ name: String, isContainerRoot: Bool = false) throws(CgroupError) -> Cgroup {
        // Opened or made, removed, made: the counters of a group never go back.
        let old = try container.makeChild(name)
        guard try remove(old) else {
            let busy = Errno(rawValue: EBUSY)
            throw CgroupError("make cgroup", old.path, "processes of the session before are still in it", errno: busy)
        }
        let session = try container.makeChild(name)
        if isContainerRoot { containerRoot = session }
        if isContainerRoot, let applied {
            for write in applied.writes where ResourcePlan.visibleFiles.contains(write.file) { try apply(write, to: session) }
        }
        return session
    }

    /// Removes the group of a session that has ended; what it counted still counts in ``stats()``.
    /// - Returns: as ``Cgroup/remove()``.
    public func remove(_ session: Cgroup) throws(CgroupError) -> Bool {
        let refused = session.countsForksBelow ? 0 : (try? session.refusedForks()) ?? 0
        let isGone = try session.remove()
        if isGone { refusedBefore &+= refused }
        return isGone
    }

    /// What the container has used since the VM's start.
    public func stats() throws(CgroupError) -> CgroupStats {
        var stats = try container.stats()
        stats.tasks?.refused &+= refusedBefore
        return stats
    }

    func apply(_ write: CgroupWrite, to group: Cgroup) throws(CgroupError) {
        guard controllers.contains(write.controller) else {
            if write.alternative == .needless { return }
            let object = write.property.isEmpty ? write.file : write.property
            throw CgroupError("limit", object, "the kernel has no \(write.controller) controller")
        }
        do throws(CgroupError) { try group.write(write.value, to: write.file) } catch {
            guard error.errno == .noSuchFile else { throw CgroupHierarchy.explain(error, write) }
            switch write.alternative {
            case .needless: return
            case .none: throw CgroupHierarchy.explain(error, write)
            case .file(let file, let value):
                do throws(CgroupError) { try group.write(value, to: file) } catch { throw CgroupHierarchy.explain(error, write) }
            }
        }
    }

    private static func explain(_ error: CgroupError, _ write: CgroupWrite) -> CgroupError {
        let property = write.property.isEmpty ? "" : " (\(write.property))"
        return CgroupError(error.operation, error.object, error.cause + property, errno: error.errno)
    }

    private static func words(_ content: [UInt8]) -> [String] {
        content.split { $0 == 0x20 || $0 == 0x0A }.map { String(decoding: $0, as: UTF8.self) }
    }
}
