import CLinux
import Linux

/// What `cgroup.events` tells.
public struct CgroupEvents: Equatable, Sendable {
    /// A process lives in the group or below it. One that has ended and is not yet waited for does not count.
    public var populated: Bool
    /// All processes of the group have stopped after ``Cgroup/freeze()``.
    public var frozen: Bool

    /// Parses the file. A populated group is what to assume where it does not say.
    public init(parsing content: [UInt8]) {
        let fields = CgroupFile.Flat(content)
        populated = fields["populated"] != 0
        frozen = fields["frozen"] == 1
    }
}

/// What `memory.events` has counted since the group was made, in it and below it.
public struct MemoryEvents: Equatable, Sendable {
    /// Memory was reclaimed although the group was below its `memory.low`.
    public var low: UInt64
    /// The group was throttled for being above `memory.high`.
    public var high: UInt64
    /// The group's memory was about to go above `memory.max`.
    public var max: UInt64
    /// An allocation was about to fail because of the limit of this group or of one below it.
    public var oom: UInt64
    /// Processes of the group that an out-of-memory killer killed, whichever limit was the reason: its own, that of a group
    /// above it, or the VM's whole memory.
    public var oomKill: UInt64
    /// How often the whole group was killed at once (`memory.oom.group`).
    public var oomGroupKill: UInt64

    /// Parses the file. What is not in it was not counted.
    public init(parsing content: [UInt8]) {
        let fields = CgroupFile.Flat(content)
        low = fields["low"] ?? 0
        high = fields["high"] ?? 0
        max = fields["max"] ?? 0
        oom = fields["oom"] ?? 0
        oomKill = fields["oom_kill"] ?? 0
        oomGroupKill = fields["oom_group_kill"] ?? 0
    }
}

/// A file whose change is to be noticed: `cgroup.events`, `memory.events`.
///
/// ``descriptor`` goes into an epoll set with EPOLLPRI. After a change it is ready (with EPOLLERR too, which means nothing here)
/// until it is read; and for ever once the group is removed, so it must leave the set before.
public final class CgroupWatch {
    private let file: FileDescriptor
    private let object: String

    fileprivate init(_ file: consuming FileDescriptor, _ object: String) {
        self.file = file
        self.object = object
    }

    public var descriptor: Int32 { file.rawValue }

    /// The content now; arms the watch for the next change.
    public func read() throws(CgroupError) -> [UInt8] { try Cgroup.content(file, object) }
}

extension Cgroup {
    /// Whether processes are in the group, and whether they are frozen.
    public func events() throws(CgroupError) -> CgroupEvents { CgroupEvents(parsing: try read("cgroup.events")) }

    /// What became of its memory; nil where the kernel has no memory controller.
    public func memoryEvents() throws(CgroupError) -> MemoryEvents? { try readIfPresent("memory.events").map { MemoryEvents(parsing: $0) } }

    /// Watches ``CgroupEvents``; what is so at first is to be read first.
    public func watchEvents() throws(CgroupError) -> CgroupWatch { try watch("cgroup.events") }

    /// Watches ``MemoryEvents``. The counts of a group that is gone are gone too: read them before ``remove()``.
    public func watchMemoryEvents() throws(CgroupError) -> CgroupWatch { try watch("memory.events") }

    private func watch(_ file: String) throws(CgroupError) -> CgroupWatch { CgroupWatch(try open(file, O_RDONLY), path + "/" + file) }
}
