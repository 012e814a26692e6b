import CHostProcess
import CLinux
import CSpawn
import Glibc
import Linux
import SSH

/// A command that runs as a child, with pipes or a terminal of its own.
final class BedProcess {
    let pid: pid_t
    /// Readable once the process has ended.
    let ended: FileDescriptor
    /// The terminal, or -1: then there are pipes.
    let terminal: Int32
    private(set) var input: Int32
    private(set) var output: Int32
    private(set) var errors: Int32
    private var wasWaitedFor = false

    /// - Throws: ``SyscallError`` of the call that failed.
    init(command: String, environment: [String], terminal request: (WindowSize, TerminalModes)?) throws(SyscallError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let (size, modes) = request {
            let master = FileDescriptor(owning: try attempt("posix_openpt") { posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) })
            let number = master.rawValue
            try attempt("grantpt") { grantpt(number) }
            try attempt("unlockpt") { unlockpt(number) }
            // ptsname(3) has one buffer for the process.
            var name = [CChar](repeating: 0, count: 128)
            let failure = ptsname_r(number, &name, name.count)
            if failure != 0 { throw SyscallError("ptsname_r", "", Errno(rawValue: failure)) }
            // The child leads a session, so the terminal that it opens becomes its own.
            posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0)
            posix_spawn_file_actions_adddup2(&actions, 0, 1)
            posix_spawn_file_actions_adddup2(&actions, 0, 2)
            Self.prepare(number, size, modes)
            try master.setNonBlocking()
            pid = try Self.spawn(command, environment, &actions)
            terminal = master.take()
            (input, output, errors) = (terminal, terminal, -1)
        } else {
            let (stdin, stdout, stderr) = (try Pipe().take(), try Pipe().take(), try Pipe().take())
            posix_spawn_file_actions_adddup2(&actions, stdin.read, 0)
            posix_spawn_file_actions_adddup2(&actions, stdout.write, 1)
            posix_spawn_file_actions_adddup2(&actions, stderr.write, 2)
            defer { for end in [stdin.read, stdout.write, stderr.write] { _ = close(end) } }
            pid = try Self.spawn(command, environment, &actions)
            terminal = -1
            (input, output, errors) = (stdin.write, stdout.read, stderr.read)
            for end in [input, output, errors] {
                try attempt("fcntl F_SETFL") { clinux_fcntl_int(end, F_SETFL, O_NONBLOCK) }
            }
        }
        let child = pid
        ended = FileDescriptor(owning: try attempt("pidfd_open") { hostprocess_pidfd(child) })
    }

    deinit {
        // What still runs when its connection ends gets what a closed terminal would give. The number of one that was waited for may be
        // another's by now.
        if !wasWaitedFor { _ = kill(-pid, SIGHUP) }
        closeInput()
        closeOutput(isErrors: false)
        closeOutput(isErrors: true)
        if terminal >= 0 { _ = close(terminal) }
    }

    private static func spawn(
        _ command: String, _ environment: [String], _ actions: inout posix_spawn_file_actions_t
    ) throws(SyscallError) -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        // Threads of Dispatch, on which tests run, have signals blocked.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSID))
        let arguments: [UnsafeMutablePointer<CChar>?] = ["sh", "-c", command].map { (word: String) in strdup(word) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = environment.map { (variable: String) in strdup(variable) } + [nil]
        defer { for text in arguments + variables { free(text) } }
        var pid: pid_t = 0
        let status = posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments, variables)
        if status != 0 { throw SyscallError("posix_spawn", "/bin/sh", Errno(rawValue: status)) }
        return pid
    }

    /// Gives the terminal the size and those modes that tests look at.
    private static func prepare(_ terminal: Int32, _ size: WindowSize, _ modes: TerminalModes) {
        resize(terminal, size)
        var settings = termios()
        guard tcgetattr(terminal, &settings) == 0 else { return }
        if let echo = modes[.echo] { settings.c_lflag = echo == 0 ? settings.c_lflag & ~tcflag_t(ECHO) : settings.c_lflag | tcflag_t(ECHO) }
        if let interrupt = modes.character(.vintr) { settings.c_cc.0 = interrupt }
        tcsetattr(terminal, TCSANOW, &settings)
    }

    private static func resize(_ terminal: Int32, _ size: WindowSize) {
        _ = cspawn_set_window_size(terminal, UInt16(clamping: size.rows), UInt16(clamping: size.columns))
    }

    func resize(_ size: WindowSize) {
        if terminal >= 0 { Self.resize(terminal, size) }
    }

    /// Signals the process and all of its group.
    func signal(_ number: Int32) { if !wasWaitedFor { _ = kill(-pid, number) } }

    /// Closes a pipe; a terminal ends when its process does.
    func closeInput() {
        if input >= 0, terminal < 0 { _ = close(input) }
        input = -1
    }

    func closeOutput(isErrors: Bool) {
        let number = isErrors ? errors : output
        if number >= 0, terminal < 0 { _ = close(number) }
        if isErrors { errors = -1 } else { output = -1 }
    }

    /// How the process ended, once ``ended`` is readable.
    func end() -> ProcessEnd? {
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        wasWaitedFor = true
        return ProcessEnd(waitStatus: status)
    }
}
