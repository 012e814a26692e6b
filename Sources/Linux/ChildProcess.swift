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

/// Children that have ended (wait4(2)).
public enum Children {
    /// One ended child.
    public struct Ended: Sendable {
        public let pid: Int32
        public let end: ProcessEnd
    }

    /// Takes one ended child of any kind off the kernel's list; nil when none has ended.
    public static func reapOne() -> Ended? {
        while true {
            var status: Int32 = 0
            let pid = waitpid(-1, &status, WNOHANG)
            if pid > 0 { return Ended(pid: pid, end: ProcessEnd(waitStatus: status)) }
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
