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
            let file = try Helper.file(of: try settings())
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

    /// A file without a name that holds `bytes`, to be read from its beginning and never changed.
    private static func file(of bytes: [UInt8]) throws(SyscallError) -> FileDescriptor {
        let object = "the settings of a helper"
        let file = FileDescriptor(owning: try attempt("memfd_create", object) { memfd_create("settings", clinux_memfd_sealable) })
        // The kernel takes all of a write to memory, or fails.
        let written = try attempt("write", object) { bytes.withUnsafeBytes { write(file.rawValue, $0.baseAddress, $0.count) } }
        guard written == bytes.count else { throw SyscallError("write", object, Errno(rawValue: ENOSPC)) }
        try attempt("seal", object) { clinux_fcntl_int(file.rawValue, clinux_add_seals, clinux_all_seals) }
        try attempt("lseek", object) { lseek(file.rawValue, 0, SEEK_SET) }
        return file
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
        _ = errors?.take(isQuiet: isQuiet)
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

/// What a helper writes to its standard error, line by line. It may be in the hands of whoever is at the other end of its line: so
/// many lines, and so long ones, and no more.
private final class HelperErrors {
    enum Progress { case more, ended }

    private let name: String
    private let descriptor: FileDescriptor
    private let diagnostics: Diagnostics
    private var line: [UInt8] = []
    private var window: Int64 = 0
    private var lines = 0
    private var isQuiet = false

    private static let longest = 512
    private static let linesPerSecond = 10

    init(_ name: String, _ descriptor: consuming FileDescriptor, _ diagnostics: Diagnostics) {
        self.name = name
        self.descriptor = descriptor
        self.diagnostics = diagnostics
    }

    /// Takes what is there, at most a few reads of it.
    func take(isQuiet: Bool) -> Progress {
        self.isQuiet = isQuiet
        for _ in 0..<4 {
            var read: [UInt8]?
            do throws(SyscallError) { read = try descriptor.read(atMost: 1024, object: name) } catch { return .ended }
            guard let bytes = read else { return .more }
            if bytes.isEmpty {
                finishLine()
                return .ended
            }
            for byte in bytes {
                if byte == UInt8(ascii: "\n") { finishLine() } else if line.count < HelperErrors.longest { line.append(byte) }
            }
        }
        return .more
    }

    private func finishLine() {
        if line.isEmpty { return }
        let text = String(decoding: line.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 }, as: UTF8.self)
        line = []
        let second = Clock.monotonic() / 1_000_000_000
        if second != window {
            if lines > HelperErrors.linesPerSecond {
                diagnostics.warning("\(name): \(lines - HelperErrors.linesPerSecond) lines left out")
            }
            (window, lines) = (second, 0)
        }
        lines += 1
        if lines > HelperErrors.linesPerSecond { return }
        if isQuiet { diagnostics.debug("\(name): \(text)") } else { diagnostics.info("\(name): \(text)") }
    }
}
