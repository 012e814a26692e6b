import CLinux
import Linux

/// A program of the initramfs that works for PID 1 and speaks to it through a socket, its descriptor 3. It is started again when
/// it ends. What it writes to its standard error stands in the diagnostics.
final class Helper: EventHandler {
    private let name: String
    private let path: String
    private let argument: String
    /// Makes what the program reads from its descriptor 4, once for each start; nil where it reads nothing.
    private let settings: (() throws(SyscallError) -> [UInt8])?
    /// Starts the program where it is not started as the others are: with its socket, which keeps messages whole, and its standard
    /// error. Returns its process id, −1 with errno.
    private let launch: ((_ socket: Int32, _ errors: Int32) -> Int32)?
    private let loop: EventLoop
    private let diagnostics: Diagnostics
    private var process: Int32?
    private var errors: HelperErrors?
    private var errorsWatch: EventLoop.Watch?
    private var startAt: Int64 = 0
    private var startedAt: Int64 = 0
    private var delay: Int64 = firstDelay
    /// It is started when it does not run.
    var isWanted = true
    /// What it writes to its standard error is for whoever looks for the cause of something only.
    var isQuiet = false

    /// The wait before it is started again, doubled while it ends at once.
    private static let firstDelay: Int64 = 100_000_000
    private static let lastDelay: Int64 = 5_000_000_000
    private static let worked: Int64 = 1_000_000_000

    init(
        _ name: String, _ path: String, _ argument: String, _ loop: EventLoop, _ diagnostics: Diagnostics,
        settings: (() throws(SyscallError) -> [UInt8])? = nil, launch: ((_ socket: Int32, _ errors: Int32) -> Int32)? = nil
    ) {
        self.name = name
        self.path = path
        self.argument = argument
        self.settings = settings
        self.launch = launch
        self.loop = loop
        self.diagnostics = diagnostics
    }

    var isRunning: Bool { process != nil }

    var nextDeadline: Int64? { process == nil && isWanted ? startAt : nil }

    /// Starts it if it is time to.
    /// - Returns: PID 1's end of the new socket, which the caller owns.
    func startIfDue(_ now: Int64) -> Int32? {
        guard isWanted, process == nil, startAt <= now else { return nil }
        startedAt = now
        do throws(SyscallError) { return try start() } catch {
            diagnostics.warning(error.description)
            rest(now)
            return nil
        }
    }

    private func start() throws(SyscallError) -> Int32 {
        var ends: (Int32, Int32) = (-1, -1)
        let type = launch == nil ? clinux_stream_socket : clinux_packet_socket
        try attempt("socketpair", name) {
            withUnsafeMutableBytes(of: &ends) {
                socketpair(AF_UNIX, type, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self))
            }
        }
        let ours = FileDescriptor(owning: ends.0)
        let theirs = FileDescriptor(owning: ends.1)
        var pipe: (Int32, Int32) = (-1, -1)
        try attempt("pipe2", name) {
            withUnsafeMutableBytes(of: &pipe) { pipe2($0.baseAddress?.assumingMemoryBound(to: Int32.self), O_CLOEXEC | O_NONBLOCK) }
        }
        let reading = FileDescriptor(owning: pipe.0)
        let writing = FileDescriptor(owning: pipe.1)
        var pid: Int32 = 0
        if let launch {
            pid = try attempt("start", path) { launch(theirs.rawValue, writing.rawValue) }
        } else if let settings {
            let file = try FileDescriptor.inMemory(try settings(), name: "settings of \(name)", isSealed: true)
            pid = try attempt("start", path) { clinux_start_helper(path, argument, theirs.rawValue, file.rawValue, writing.rawValue) }
        } else {
            pid = try attempt("start", path) { clinux_start_helper(path, argument, theirs.rawValue, -1, writing.rawValue) }
        }
        process = pid
        stopListening()
        errorsWatch = loop.watch(reading.rawValue, .readable, self, role: 0)
        errors = HelperErrors(name, reading, diagnostics)
        diagnostics.debug("\(name): pid \(pid)")
        return ours.take()
    }

    /// Ends it, and does not start it again.
    func terminate() {
        isWanted = false
        if let process { _ = kill(process, SIGTERM) }
    }

    /// Has another one take the place of this process, which may be past hearing.
    func replace() { if let process { _ = kill(process, SIGKILL) } }

    func ready(role: Int32, _ event: Epoll.Event) {
        if errors?.take(isQuiet: isQuiet) == .ended { stopListening() }
    }

    private func stopListening() {
        if let errorsWatch { loop.unwatch(errorsWatch) }
        errorsWatch = nil
        errors = nil
    }

    func reaped(_ child: Children.Ended) -> Bool {
        guard let process, process == child.pid else { return false }
        self.process = nil
        // Its last words before how it ended.
        errors?.takeRest(isQuiet: isQuiet)
        stopListening()
        let now = Clock.monotonic()
        if child.end.exitStatus == 0 {
            diagnostics.debug("\(name) ended")
        } else {
            let how = child.end.signal.map { Signal(rawValue: $0)?.name ?? "signal \($0)" } ?? "status \(child.end.exitCode)"
            let why = child.end.signal == SIGSYS ? ": it made a system call that it may not make" : ""
            diagnostics.warning("\(name) ended with \(how)\(why)")
        }
        if now - startedAt >= Helper.worked { delay = Helper.firstDelay }
        rest(now)
        return true
    }

    private func rest(_ now: Int64) {
        startAt = now &+ delay
        delay = min(delay &* 2, Helper.lastDelay)
    }
}
