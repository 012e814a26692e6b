import CLinux
import CSpawn
import ContainerSpec
import Linux

/// A running container.
public final class LaunchedContainer {
    private let process: ProcessDescriptor
    private let holder: ProcessDescriptor?
    private let stdoutPipe: FileDescriptor
    private let stderrPipe: FileDescriptor

    init(
        process: consuming ProcessDescriptor, holder: consuming ProcessDescriptor?, stdout: consuming FileDescriptor,
        stderr: consuming FileDescriptor
    ) {
        processID = process.pid
        holderID = holder?.pid
        self.process = process
        self.holder = holder
        stdoutPipe = stdout
        stderrPipe = stderr
    }

    /// The container process, as PID 1 sees it.
    public let processID: Int32
    /// The init of its PID namespace; nil where the process is that itself, or has no PID namespace of its own.
    public let holderID: Int32?
    /// Non-blocking read ends of the process's output.
    public var stdout: Int32 { stdoutPipe.rawValue }
    public var stderr: Int32 { stderrPipe.rawValue }

    /// Sends the process a signal. One that has ended needs none.
    public func signal(_ signal: Signal) { try? process.send(signal.rawValue) }

    /// Ends every process of the container's PID namespace, if it has one with an init of ours.
    public func killNamespaces() { try? holder?.send(SIGKILL) }
}

/// Starts containers.
public enum Launcher {
    /// How long the children may take until they execute the command, in milliseconds. What they do before are local mounts
    /// and system calls; only a binary on a dead disk takes long.
    static let patience: Int64 = 30_000

    /// Makes the namespaces and the root, and starts the process in them.
    ///
    /// - Parameters:
    ///   - root: the mounted root file system, in the caller's view.
    ///   - interrupt: ends the wait for the children.
    /// - Throws: ``LaunchError``; then no process is left.
    public static func launch(_ spec: ContainerSpec, root: String, interrupt: Interrupt? = nil) throws(LaunchError) -> LaunchedContainer {
        let plan = try LaunchPlan(spec, root: root)
        let ownNamespace = try mapped { () throws(SyscallError) in try FileDescriptor.open("/proc/self/ns/pid", O_RDONLY) }
        let input = try mapped { () throws(SyscallError) in try FileDescriptor.open("/dev/null", O_RDWR) }
        let (stdoutRead, stdoutWrite) = try outputPipe()
        let stdout = FileDescriptor(owning: stdoutRead)
        let stdoutOfChild = FileDescriptor(owning: stdoutWrite)
        let (stderrRead, stderrWrite) = try outputPipe()
        let stderr = FileDescriptor(owning: stderrRead)
        let stderrOfChild = FileDescriptor(owning: stderrWrite)
        let deadline = Deadline.after(milliseconds: patience)

        var holder: ProcessDescriptor?
        if plan.usesHolder {
            let (reportRead, reportWrite) = try mapped { () throws(SyscallError) in try Pipe().take() }
            let report = FileDescriptor(owning: reportRead)
            let started = try spawn(plan.holder(report: reportWrite), ownNamespace, closing: reportWrite)
            switch awaitReport(report, deadline, interrupt) {
            case .report(let report) where report.step == Int32(CSPAWN_READY.rawValue): break
            case .report(let report):
                throw abandon(started, LaunchError(report, plan: plan))
            case .executed: throw abandon(started, LaunchError("start", "the namespaces' init", "it ended before it was ready"))
            case .none(let cause): throw abandon(started, LaunchError("start", "the namespaces' init", cause))
            }
            holder = consume started
        }

        let (reportRead, reportWrite) = try mapped { () throws(SyscallError) in try Pipe().take() }
        let report = FileDescriptor(owning: reportRead)
        let standard = (input.rawValue, stdoutOfChild.rawValue, stderrOfChild.rawValue)
        let process = try spawn(
            plan.process(joining: holder?.rawValue, standard: standard, report: reportWrite), ownNamespace, closing: reportWrite)
        let failure: LaunchError
        switch awaitReport(report, deadline, interrupt) {
        case .executed:
            return LaunchedContainer(process: process, holder: holder, stdout: stdout, stderr: stderr)
        case .report(let report): failure = LaunchError(report, plan: plan)
        case .none(let cause): failure = LaunchError("start", plan.spec.process.args.first ?? "", cause)
        }
        let error = abandon(process, failure)
        if let holder { throw abandon(holder, error) }
        throw error
    }

    private static func outputPipe() throws(LaunchError) -> (read: Int32, write: Int32) {
        try mapped { () throws(SyscallError) in
            let (read, write) = try Pipe().take()
            let reader = FileDescriptor(owning: read)
            let writer = FileDescriptor(owning: write)
            try reader.setNonBlocking()
            return (reader.take(), writer.take())
        }
    }

    /// Makes one child; `report` is its end of the report pipe, which must not stay open here: its closing is what tells
    /// that the child executed the command.
    private static func spawn(
        _ plan: cspawn_plan, _ ownNamespace: borrowing FileDescriptor, closing report: Int32
    ) throws(LaunchError) -> ProcessDescriptor {
        let report = FileDescriptor(owning: report)
        var plan = plan
        plan.report = report.rawValue
        var pidfd: Int32 = -1
        let pid = try mapped { () throws(SyscallError) in
            try attempt("clone3", "container") { cspawn(&plan, ownNamespace.rawValue, &pidfd) }
        }
        return ProcessDescriptor(owning: pidfd, pid: pid)
    }

    private enum Report {
        case report(cspawn_report)
        /// The pipe closed without a word: execve(2) closed it.
        case executed
        case none(String)
    }

    private static func awaitReport(_ pipe: borrowing FileDescriptor, _ deadline: Deadline, _ interrupt: Interrupt?) -> Report {
        while true {
            if deadline.hasPassed { return .none("not ready within \(patience / 1000) s") }
            var watched = (
                pollfd(fd: pipe.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
            )
            let ready = withUnsafeMutableBytes(of: &watched) {
                poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, deadline.pollTimeout)
            }
            if ready <= 0 { continue }
            if watched.0.revents != 0 {
                var report = cspawn_report()
                let count = withUnsafeMutableBytes(of: &report) { read(pipe.rawValue, $0.baseAddress, $0.count) }
                if count == MemoryLayout<cspawn_report>.size { return .report(report) }
                if count == 0 { return .executed }
                if clinux_errno() != EINTR { return .none("its report cannot be read") }
            } else if watched.1.revents != 0, let interrupt, interrupt.isRequested() {
                return .none("stopped before it started")
            }
        }
    }

    /// Ends a child that must not go on, and takes it off the kernel's list.
    private static func abandon(_ child: borrowing ProcessDescriptor, _ error: LaunchError) -> LaunchError {
        try? child.send(SIGKILL)
        var watched = pollfd(fd: child.rawValue, events: Int16(POLLIN), revents: 0)
        _ = poll(&watched, 1, 1000)
        _ = waitpid(child.pid, nil, WNOHANG)
        return error
    }

    private static func mapped<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(LaunchError) -> Result {
        do throws(SyscallError) { return try body() } catch { throw LaunchError(error) }
    }
}
