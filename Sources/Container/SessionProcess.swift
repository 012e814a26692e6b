import CLinux
import CSpawn
public import Linux

/// A started process, and the caller's ends of its streams. They are non-blocking and close-on-exec.
public final class SessionProcess {
    let child: Child
    private var stdinEnd: FileDescriptor?
    private var stdoutEnd: FileDescriptor?
    private var stderrEnd: FileDescriptor?
    private var master: FileDescriptor?

    init(
        _ child: Child, stdin: consuming FileDescriptor?, stdout: consuming FileDescriptor?, stderr: consuming FileDescriptor?,
        terminal: consuming FileDescriptor?
    ) {
        self.child = child
        stdinEnd = stdin
        stdoutEnd = stdout
        stderrEnd = stderr
        master = terminal
    }

    /// The process, as PID 1 sees it. Whoever reaps it tells by this number how it ended.
    public var processID: Int32 { child.pid }
    /// Readable once the process has ended.
    public var pidfd: Int32 { child.pidfd }
    /// The write end of its standard input; -1 if that is /dev/null or a terminal, or was closed.
    public var stdin: Int32 { stdinEnd?.rawValue ?? -1 }
    /// The read ends of its output; -1 with a terminal.
    public var stdout: Int32 { stdoutEnd?.rawValue ?? -1 }
    public var stderr: Int32 { stderrEnd?.rawValue ?? -1 }
    /// The master of its terminal; -1 if it has none. When the last process has closed the terminal a read fails with EIO.
    public var terminal: Int32 { master?.rawValue ?? -1 }

    /// The process reads end-of-file when it has read what was written.
    public func closeStdin() { stdinEnd = nil }
    /// The processes on the terminal get SIGHUP.
    public func closeTerminal() { master = nil }

    /// Sends the process a signal. One that has ended needs none.
    public func signal(_ signal: Signal) { try? child.process.send(signal.rawValue) }

    /// Sets the size of the terminal (TIOCSWINSZ); the kernel sends SIGWINCH if it is another.
    /// - Throws: EBADF if the process has no terminal.
    public func resize(rows: UInt16, columns: UInt16) throws(SyscallError) {
        try attempt("set size", "terminal of pid \(processID)") { cspawn_set_window_size(terminal, rows, columns) }
    }
}
