import CLinux
import CSpawn
import ContainerSpec
import Linux

/// Both sides of a process's standard streams until it runs.
final class StreamEnds {
    private var streams: Placement.Streams
    private let isFirst: Bool
    // The process's.
    private var input: FileDescriptor?
    private var output: FileDescriptor?
    private var errors: FileDescriptor?
    // PID 1's.
    private var stdin: FileDescriptor?
    private var stdout: FileDescriptor?
    private var stderr: FileDescriptor?
    private var master: FileDescriptor?

    /// - Parameter isFirst: the container's first process, whose terminal is /dev/console, too.
    init(_ streams: Placement.Streams, isFirst: Bool) throws(SyscallError) {
        self.streams = streams
        self.isFirst = isFirst
        guard case .pipes(let hasInput) = streams else { return }
        if hasInput {
            let (read, write) = try Pipe().take()
            input = FileDescriptor(owning: read)
            stdin = try StreamEnds.nonBlocking(write)
        } else {
            input = try FileDescriptor.open("/dev/null", O_RDWR)
        }
        let (stdoutRead, stdoutWrite) = try Pipe().take()
        output = FileDescriptor(owning: stdoutWrite)
        stdout = try StreamEnds.nonBlocking(stdoutRead)
        let (stderrRead, stderrWrite) = try Pipe().take()
        errors = FileDescriptor(owning: stderrWrite)
        stderr = try StreamEnds.nonBlocking(stderrRead)
    }

    private static func nonBlocking(_ number: Int32) throws(SyscallError) -> FileDescriptor {
        let descriptor = FileDescriptor(owning: number)
        try descriptor.setNonBlocking()
        return descriptor
    }

    func fill(_ plan: inout cspawn_plan) {
        plan.streams.standard = (input?.rawValue ?? -1, output?.rawValue ?? -1, errors?.rawValue ?? -1)
        guard case .terminal(let size, let modes) = streams else { return }
        plan.streams.terminal = 1
        plan.streams.modes = modes.changes
        plan.streams.console = isFirst ? 1 : 0
        if let size {
            plan.streams.has_size = 1
            plan.streams.rows = size.rows
            plan.streams.columns = size.columns
        }
    }

    /// The descriptors that the child needs.
    var descriptors: [Int32] { [input?.rawValue ?? -1, output?.rawValue ?? -1, errors?.rawValue ?? -1] }

    /// The child has its own copies: its ends must close when it closes them.
    func closeChildEnds() {
        input = nil
        output = nil
        errors = nil
    }

    /// The size and the modes that the terminal shall have, if there is one.
    /// - Parameter size: nil leaves it as it was to be.
    func setTerminal(_ size: ConsoleSize?, _ modes: TerminalSettings) {
        guard case .terminal(let before, _) = streams else { return }
        streams = .terminal(size ?? before, modes)
    }

    /// Takes the master that the child sent.
    func takeMaster(_ number: Int32) throws(SyscallError) {
        let descriptor = FileDescriptor(owning: number)
        try descriptor.setNonBlocking()
        master = consume descriptor
    }

    var lacksTerminal: Bool {
        guard case .terminal = streams else { return false }
        return (master?.rawValue ?? -1) < 0
    }

    /// Hands PID 1's ends to the session.
    func session(_ child: Child) -> SessionProcess {
        SessionProcess(child, stdin: stdin.take(), stdout: stdout.take(), stderr: stderr.take(), terminal: master.take())
    }
}
