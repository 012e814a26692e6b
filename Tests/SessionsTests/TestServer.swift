import CLinux
import Control
import Foundation
import Glibc
import Linux
import SessionLog
import TestSupport

@testable import Sessions

/// A process with pipes or a terminal, started without a container.
final class TestProcess: StreamedProcess {
    private(set) var processID: Int32 = -1
    private(set) var stdin: Int32 = -1
    private(set) var stdout: Int32 = -1
    private(set) var stderr: Int32 = -1
    private(set) var terminal: Int32 = -1

    init(_ args: [String], stdin wantsStdin: Bool, terminal wantsTerminal: Bool) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var theirs: [Int32] = []
        defer { for number in theirs { close(number) } }
        func pipe(_ child: Int32, childReads: Bool) -> Int32 {
            var ends: [Int32] = [-1, -1]
            pipe2(&ends, O_CLOEXEC)
            let (ours, other) = childReads ? (ends[1], ends[0]) : (ends[0], ends[1])
            posix_spawn_file_actions_adddup2(&actions, other, child)
            theirs.append(other)
            _ = fcntl(ours, F_SETFL, O_NONBLOCK)
            return ours
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        if wantsTerminal {
            let made = try openTerminal(flags: O_NONBLOCK)
            terminal = made.master
            flags |= POSIX_SPAWN_SETSID
            // Opened by the new session's leader, it becomes its controlling terminal.
            posix_spawn_file_actions_addopen(&actions, 0, made.path, O_RDWR, 0)
            posix_spawn_file_actions_adddup2(&actions, 0, 1)
            posix_spawn_file_actions_adddup2(&actions, 0, 2)
        } else {
            if wantsStdin {
                stdin = pipe(0, childReads: true)
            } else {
                posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
            }
            stdout = pipe(1, childReads: false)
            stderr = pipe(2, childReads: false)
        }
        // Foundation's pipes are not closed by exec: whoever else has their ends keeps their readers waiting for an end.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        // A group of its own, with which its children end, too.
        if !wantsTerminal { flags |= POSIX_SPAWN_SETPGROUP }
        posix_spawnattr_setflags(&attributes, Int16(flags))
        var argv = args.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        let result = posix_spawnp(&processID, args[0], &actions, &attributes, &argv, Glibc.environ)
        if result != 0 { throw SyscallError("posix_spawn", args[0], Errno(rawValue: result)) }
    }

    func closeStdin() {
        if stdin >= 0 { close(stdin) }
        stdin = -1
    }

    deinit { for number in [stdin, stdout, stderr, terminal] where number >= 0 { close(number) } }
}

/// A log that takes everything, or nothing.
final class TestLog: OutputLog {
    var isFull = false
    var lastProgress = Clock.monotonic()
    var hasFailed = false
    private(set) var bytes = 0
    func output(_ stream: LogStream, _ bytes: UnsafeRawBufferPointer) { self.bytes += bytes.count }
}

/// The control interface without a container: an exec starts a plain process of this machine.
final class TestServer: ControlService, SessionOwner {
    let loop: EventLoop
    var limits = ServerLimits(maximumData: 65_536, maximumSessions: 8, maximumClients: 8, stdinCredit: 32_768, ringBytes: 65_536)
    var sessions: [Session] = []
    var connections: [ControlConnection] = []
    var sessionLimits = SessionLimits()
    /// A process runs only some turns after it was asked for, as one does whose launch takes its time.
    var startsLater = false
    /// A session whose process has ended gets another one, from the test.
    var startsAgain = false
    private(set) var releases: [String] = []
    private(set) var announced: [HostKey] = []
    private var late: [() throws -> Void] = []
    let log = TestLog()
    private let buffer = ReadBuffer()
    private var made = 0

    init(limits: SessionLimits = SessionLimits()) throws {
        loop = try EventLoop()
        sessionLimits = limits
    }

    /// A client's end of a new connection.
    /// - Parameter buffer: how much the connection holds, in bytes; 0: as usual, which is some 200 KiB.
    func connect(buffer: Int32 = 0) throws -> FileDescriptor {
        var ends: [Int32] = [-1, -1]
        try attempt("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) }
        if buffer > 0 {
            var size = buffer
            try attempt("setsockopt") { setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size)) }
        }
        connections.append(try ControlConnection(FileDescriptor(owning: ends[0]), loop: loop, service: self))
        return FileDescriptor(owning: ends[1])
    }

    func start(
        _ args: [String], id: String = "main", stdin: Bool = false, terminal: Bool = false, endsInputWithClient: Bool = true,
        isLogged: Bool = false
    ) throws -> Session {
        let session = Session(
            id: id, kind: sessions.isEmpty ? .primary : .exec, args: args, limits: sessionLimits, mayTakeInput: stdin || terminal,
            wantsTerminal: terminal, endsInputWithClient: endsInputWithClient, loop: loop, log: isLogged ? log : nil, buffer: buffer)
        session.owner = self
        sessions.append(session)
        let begin = { session.begin(try TestProcess(args, stdin: stdin, terminal: terminal)) }
        if startsLater { late.append(begin) } else { try begin() }
        return session
    }

    /// One turn of the loop, and what PID 1 does behind each.
    func turn(milliseconds: Int64 = 20) throws {
        let isBehind = connections.contains { $0.nextDeadline != nil }
        try loop.turn(until: isBehind ? 0 : Deadline.after(milliseconds: milliseconds).nanoseconds)
        for session in sessions where session.state == .running {
            guard let process = session.process else { continue }
            var status: Int32 = 0
            if waitpid(process.processID, &status, WNOHANG) == process.processID {
                session.processEnded(ProcessEnd(waitStatus: status), ResourceUsage(), oomKilled: false)
            }
        }
        let now = Clock.monotonic()
        for session in sessions { session.checkDeadlines(now) }
        for connection in connections { connection.turnEnded() }
        let begun = late
        late = []
        for begin in begun { try begin() }
    }

    /// What the session's next process runs, where it is started anew.
    var restarts: [[String]] = []

    func sessionEnded(_ session: Session) {
        if startsAgain { return }
        guard !restarts.isEmpty, let process = try? TestProcess(restarts.removeFirst(), stdin: true, terminal: false) else {
            return session.finish()
        }
        session.begin(process)
    }
    func summary(of session: Session) -> SessionSummary { session.summary }
    func session(_ name: String) -> Session? { name.isEmpty ? sessions.first : sessions.first { $0.id == name } }

    func startExec(_ request: ExecRequest) -> Outcome<Session> {
        let args = String(decoding: request.process, as: UTF8.self).split(separator: " ").map(String.init)
        made += 1
        do {
            let id = request.session.isEmpty ? "exec-\(made)" : request.session
            return .success(
                try start(args, id: id, stdin: request.wantsStdin, endsInputWithClient: request.endsInputWithClient))
        } catch {
            return .failure(RequestFailure(.launchFailed, exitCode: 127, operation: "exec", object: args[0], cause: "\(error)"))
        }
    }

    func signal(_ session: Session, _ signal: Signal) -> RequestFailure? {
        if let process = session.process { kill(process.processID, signal.rawValue) }
        return nil
    }
    func resize(_ session: Session, rows: UInt16, columns: UInt16) -> RequestFailure? { nil }
    func forget(_ session: Session) -> RequestFailure? { nil }
    func stop(signal: Signal?, timeoutMilliseconds: UInt32?) -> RequestFailure? { nil }
    func reload() -> RequestFailure? { nil }
    func release(_ session: Session, modes: [UInt8]) -> RequestFailure? {
        releases.append(modes.isEmpty ? session.id : session.id + " " + String(decoding: modes, as: UTF8.self))
        return nil
    }
    func announce(_ keys: [HostKey], from client: ControlConnection) -> RequestFailure? {
        announced = keys
        return connections.first === client ? nil : RequestFailure(.invalid, operation: "announce", object: "", cause: "not the first")
    }
    func setPaused(_ paused: Bool, for client: ControlConnection, tag: UInt32) { client.send(.done(tag: tag)) }
    var statisticsDocument = Array("{}".utf8)
    func statistics() -> [UInt8] { statisticsDocument }
    func connectionClosed(_ connection: ControlConnection, _ cause: String) { connections.removeAll { $0 === connection } }

    deinit {
        for session in sessions {
            // What was not waited for, and whoever is left of its group.
            if let process = session.process { kill(-process.processID, SIGKILL) }
        }
    }
}

/// A client of the control interface in a thread-free test: it is asked for what has come after each turn.
final class TestClient {
    private let descriptor: FileDescriptor
    private var decoder = FrameDecoder()
    private var unsent: [UInt8] = []
    private(set) var messages: [ServerMessage] = []
    /// Bytes of output, whose messages are not kept.
    var output: [UInt32: [LogStream: [UInt8]]] = [:]
    var keepsOutput = true
    var digest = StreamDigest()
    /// Grants again what has come.
    var grants = true
    /// Does not read at all.
    var isAsleep = false
    /// Bytes a second that it reads; 0: as many as there are.
    var rate = 0
    private var lastReading = Date()
    var credit: [UInt32: Int] = [:]
    private(set) var isClosed = false
    private let server: TestServer

    init(_ server: TestServer, greets: Bool = true, buffer: Int32 = 0) throws {
        self.server = server
        descriptor = try server.connect(buffer: buffer)
        try descriptor.setNonBlocking()
        if greets { send(.hello(version: 1, name: "test")) }
    }

    func send(_ message: ClientMessage) {
        message.encode(into: &unsent)
        flush()
    }

    func send(raw bytes: [UInt8]) {
        unsent += bytes
        flush()
    }

    var pending: Int { unsent.count }

    func flush() {
        while !unsent.isEmpty {
            let count = unsent.withUnsafeBytes { write(descriptor.rawValue, $0.baseAddress, $0.count) }
            if count <= 0 { return }
            unsent.removeFirst(count)
        }
    }

    func receive() throws {
        flush()
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var allowed = rate == 0 ? Int.max : Int(Date().timeIntervalSince(lastReading) * Double(rate))
        while !isAsleep, allowed > 0 {
            let count = read(descriptor.rawValue, &buffer, min(buffer.count, decoder.room, allowed))
            if count == 0 { isClosed = true }
            if count <= 0 { return }
            allowed -= count
            lastReading = Date()
            decoder.append(Array(buffer[..<count]))
            while let frame = try decoder.next(ServerMessage.self) {
                guard case .message(let message) = frame else { continue }
                switch message {
                case .output(let tag, let stream, _, let bytes):
                    if keepsOutput { output[tag, default: [:]][stream, default: []] += bytes } else { digest.update(bytes) }
                    if grants { send(.window(tag: tag, stream, bytes: UInt32(bytes.count))) }
                case .stdinCredit(let tag, let count): credit[tag, default: 0] += Int(count)
                case .attached(let tag, let attached):
                    credit[tag] = Int(attached.stdinCredit)
                    messages.append(message)
                default: messages.append(message)
                }
            }
        }
    }

    /// Lets the server and all `clients` work until `condition` holds.
    func wait(_ others: [TestClient] = [], seconds: Double = 20, _ condition: () throws -> Bool) throws -> Bool {
        let end = Date(timeIntervalSinceNow: seconds)
        while Date() < end {
            if try condition() { return true }
            try server.turn(milliseconds: 5)
            for client in [self] + others { try client.receive() }
        }
        return try condition()
    }

    func result(_ tag: UInt32) -> SessionResult? {
        for case .exited(tag, let result) in messages { return result }
        return nil
    }
    func failure(_ tag: UInt32) -> RequestFailure? {
        for case .failed(tag, let failure) in messages { return failure }
        return nil
    }
    func has(_ message: ServerMessage) -> Bool { messages.contains(message) }
    func text(_ tag: UInt32, _ stream: LogStream = .stdout) -> String { String(decoding: output[tag]?[stream] ?? [], as: UTF8.self) }
}
