import CLinux

/// How a process ended (wait(2)).
public struct ProcessEnd: Equatable, Sendable {
    /// The status it exited with, 0–255; nil when a signal ended it.
    public let exitStatus: Int32?
    /// The signal that ended it.
    public let signal: Int32?
    /// The kernel wrote a core dump.
    public let coreDumped: Bool

    /// Decodes a wait status.
    public init(waitStatus: Int32) {
        if clinux_wifsignaled(waitStatus) != 0 {
            exitStatus = nil
            signal = clinux_wtermsig(waitStatus)
            coreDumped = clinux_wcoredump(waitStatus) != 0
        } else {
            exitStatus = clinux_wexitstatus(waitStatus)
            signal = nil
            coreDumped = false
        }
    }

    /// The number a shell or Docker would report: the status itself, or 128 + signal.
    public var exitCode: Int32 { exitStatus ?? 128 &+ (signal ?? 0) }
}

/// What a process and the children it waited for have used (getrusage(2)).
public struct ResourceUsage: Equatable, Sendable {
    /// Processor time in user mode and in the kernel, in microseconds.
    public var userMicroseconds: Int64
    public var systemMicroseconds: Int64
    /// The largest resident set, in KiB.
    public var maximumResidentKiB: Int64

    public init(userMicroseconds: Int64 = 0, systemMicroseconds: Int64 = 0, maximumResidentKiB: Int64 = 0) {
        self.userMicroseconds = userMicroseconds
        self.systemMicroseconds = systemMicroseconds
        self.maximumResidentKiB = maximumResidentKiB
    }

    init(_ usage: rusage) {
        userMicroseconds = Int64(usage.ru_utime.tv_sec) &* 1_000_000 &+ Int64(usage.ru_utime.tv_usec)
        systemMicroseconds = Int64(usage.ru_stime.tv_sec) &* 1_000_000 &+ Int64(usage.ru_stime.tv_usec)
        maximumResidentKiB = Int64(usage.ru_maxrss)
    }
}

/// Children that have ended (wait4(2)).
public enum Children {
    /// One ended child.
    public struct Ended: Sendable {
        public let pid: Int32
        public let end: ProcessEnd
        public let usage: ResourceUsage
    }

    /// Takes one ended child of any kind off the kernel's list; nil when none has ended.
    public static func reapOne() -> Ended? {
        while true {
            var status: Int32 = 0
            var usage = rusage()
            let pid = wait4(-1, &status, WNOHANG, &usage)
            if pid > 0 { return Ended(pid: pid, end: ProcessEnd(waitStatus: status), usage: ResourceUsage(usage)) }
            if pid == 0 || clinux_errno() != EINTR { return nil }
        }
    }
}

/// A reference to a process that never comes to mean another one (pidfd_open(2)).
public struct ProcessDescriptor: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// The process's number when it was made; for messages.
    public let pid: Int32
    /// Readable once the process has ended.
    public var rawValue: Int32 { descriptor.rawValue }

    /// Takes ownership of a pidfd.
    public init(owning number: Int32, pid: Int32) {
        descriptor = FileDescriptor(owning: number)
        self.pid = pid
    }

    /// Sends a signal (pidfd_send_signal(2)).
    /// - Throws: ESRCH when it has ended.
    public func send(_ signal: Int32) throws(SyscallError) {
        try attempt("pidfd_send_signal", "pid \(pid)") {
            clinux_pidfd_send_signal(descriptor.rawValue, signal)
        }
    }
}
