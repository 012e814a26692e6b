import CBackdoor
import CLinux
import Linux

/// Tries the port in a child process: anywhere but under VMware the access is a fault, and one in PID 1 is the kernel's end.
public enum Probe {
    public enum Outcome: Equatable, Sendable, CustomStringConvertible {
        /// GETVERSION was answered as VMware answers it.
        case answered
        /// The access went through, and nothing that is VMware answered.
        case noAnswer
        /// The access killed the child with this signal.
        case faulted(signal: Int32)
        /// The child did not end in time, and was killed.
        case timedOut
        /// The child could not be made or waited for.
        case failed(SyscallError)

        public var description: String {
            switch self {
            case .answered: "the backdoor answers"
            case .noAnswer: "the port is open, but nothing answers as VMware does"
            case .faulted(let signal): "access to the port is a fault (signal \(signal)): not VMware, or the backdoor is restricted"
            case .timedOut: "the probe of the port did not end in time"
            case .failed(let error): "the port could not be probed: \(error.description)"
            }
        }
    }

    /// - Parameter milliseconds: how long the child may take.
    public static func run(milliseconds: Int64 = 2000) -> Outcome {
        do throws(SyscallError) { return try probe(Deadline.after(milliseconds: milliseconds)) } catch { return .failed(error) }
    }

    private static func probe(_ deadline: Deadline) throws(SyscallError) -> Outcome {
        var descriptor: Int32 = -1
        let child = try attemptOnce("fork", "probe") { cbackdoor_probe_start(&descriptor) }
        let ended = FileDescriptor(owning: descriptor)
        if try wait(ended.rawValue, until: deadline) { return outcome(of: try reap(child)) }
        kill(child, SIGKILL)
        // Killed, it ends at once unless the kernel itself holds it; then it is left to whoever reaps orphans.
        if try wait(ended.rawValue, until: Deadline.after(milliseconds: 1000)) { _ = try reap(child) }
        return .timedOut
    }

    /// - Returns: false when the deadline passes first.
    private static func wait(_ descriptor: Int32, until deadline: Deadline) throws(SyscallError) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return try attempt("poll", "probe") { poll(&entry, 1, deadline.pollTimeout) } > 0
    }

    private static func reap(_ child: pid_t) throws(SyscallError) -> Int32 {
        var status: Int32 = 0
        try attempt("waitpid", "probe") { waitpid(child, &status, 0) }
        return status
    }

    private static func outcome(of status: Int32) -> Outcome {
        if clinux_wifsignaled(status) != 0 { return .faulted(signal: clinux_wtermsig(status)) }
        return clinux_wifexited(status) != 0 && clinux_wexitstatus(status) == Int32(CBACKDOOR_PROBE_ANSWERED)
            ? .answered : .noAnswer
    }
}
