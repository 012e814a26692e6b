public import ContainerSpec

/// Where a process is put, and what its standard streams are.
public struct Placement: Sendable {
    /// What becomes of descriptors 0 to 2.
    public enum Streams: Equatable, Sendable {
        /// stdout and stderr are pipes; stdin is one, or /dev/null.
        case pipes(stdin: Bool)
        /// All three are a terminal of the container's own; nil leaves its size at 0 × 0, and no modes are the kernel's.
        case terminal(ConsoleSize?, TerminalSettings = TerminalSettings())
    }

    /// The directory of the cgroup that the process is made in (CLONE_INTO_CGROUP), or -1. It need not be open for reading
    /// (O_PATH), and has to stay open until the launch is over. The first process's is the root of the container's cgroup
    /// namespace.
    public var cgroup: Int32
    /// The directory of the cgroup that tether-init is moved to once the namespaces are made, or -1: so that it is neither
    /// counted nor killed with the processes of the container.
    public var holderCgroup: Int32
    public var streams: Streams
    /// The process's system call filter.
    public var filter: SyscallFilter?

    public init(
        cgroup: Int32 = -1, holderCgroup: Int32 = -1, streams: Streams = .pipes(stdin: false), filter: SyscallFilter? = nil
    ) {
        self.cgroup = cgroup
        self.holderCgroup = holderCgroup
        self.streams = streams
        self.filter = filter
    }
}

/// A compiled seccomp filter (seccomp(2)).
public struct SyscallFilter: Equatable, Sendable {
    /// An array of `struct sock_filter`, eight bytes each.
    public var instructions: [UInt8]
    /// SECCOMP_FILTER_FLAG_*.
    public var flags: UInt32

    public init(instructions: [UInt8], flags: UInt32 = 0) {
        self.instructions = instructions
        self.flags = flags
    }
}
