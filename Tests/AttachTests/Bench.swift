import Attach
import Control
import SSH
import SessionLog
import TestSupport
import Testing

/// Random bytes that come again with the same seed.
final class SeededRandom {
    private var generator: SeededGenerator
    init(_ seed: UInt64) { generator = SeededGenerator(seed: seed) }

    func next() -> UInt64 { generator.next() }

    var source: RandomSource { RandomSource { count in (0..<count).map { _ in UInt8(truncatingIfNeeded: self.next() >> 24) } } }
}

/// PID 1 as the attach server sees it: answers what it is asked, and says what the test has it say.
final class ModelPID1 {
    var sessions: [SessionSummary] = [SessionSummary(id: "main", kind: .primary, state: .running, stdinIsOpen: true, args: ["app", "-v"])]
    /// What `attach` and `exec` are answered with; nil leaves the answer to the test.
    var attached: ((ClientMessage) -> ServerMessage?)?
    private(set) var messages: [ClientMessage] = []
    private var decoder = FrameDecoder()
    private var said: [ServerMessage] = []
    var stdinCredit: UInt32 = 1000
    /// Whether requests that are not about one session are answered; else the test does that.
    var answers = true

    func take(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        let count = decoder.append(bytes)
        while let frame = try decoder.next(ClientMessage.self) {
            guard case .message(let message) = frame else { throw Problem(text: "an unknown message") }
            messages.append(message)
            answer(message)
        }
        return count
    }

    private func answer(_ message: ClientMessage) {
        switch message {
        case .hello:
            let limits = ServerLimits(
                maximumData: 16_384, maximumSessions: 8, maximumClients: 8, stdinCredit: stdinCredit, ringBytes: 65_536)
            say(.hello(version: 1, name: "model", limits))
        case .list(let tag):
            for session in sessions { say(.session(tag: tag, session)) }
            say(.done(tag: tag))
        case .attach(let tag, let request):
            if let attached { if let answer = attached(message) { say(answer) } } else { attach(tag, request) }
        case .exec(let tag, let request):
            if let attached {
                if let answer = attached(message) { say(answer) }
            } else {
                let name = request.session.isEmpty ? "exec-1" : request.session
                say(.attached(tag: tag, Attached(session: name, stdinCredit: request.wantsStdin ? stdinCredit : 0)))
            }
        case .detach(let tag): say(.detached(tag: tag, Detachment(.requested)))
        case _ where !answers && !isOfSession(message): break
        case .subscribe(let tag), .announce(let tag, _), .release(let tag, _, _), .stop(let tag, _, _), .reload(let tag), .pause(let tag),
            .resume(let tag), .signal(let tag, _, _):
            say(.done(tag: tag))
        case .resize(let tag, let session, _, _):
            let hasTerminal = sessions.first { session.isEmpty || $0.id == session }?.hasTerminal ?? false
            say(hasTerminal ? .done(tag: tag) : .failed(tag: tag, refusal(.noTerminal, "resize", session, "it has no terminal")))
        case .stats(let tag): say(.stats(tag: tag, Array(#"{"tether":{"rssKiB":1}}"#.utf8)))
        case .window, .stdin, .closeStdin, .wait, .forget, .ping: break
        }
    }

    private func isOfSession(_ message: ClientMessage) -> Bool {
        switch message {
        case .pause, .resume, .reload, .stats, .stop: false
        default: true
        }
    }

    private func attach(_ tag: UInt32, _ request: AttachRequest) {
        guard let session = sessions.first(where: { request.session.isEmpty || $0.id == request.session }) else {
            return say(.failed(tag: tag, refusal(.unknownSession, "attach to", request.session, "there is no session of this name")))
        }
        if request.wantsStdin && !session.stdinIsOpen {
            return say(.failed(tag: tag, refusal(.noStdin, "attach to", session.id, "its standard input is not open")))
        }
        var attached = Attached(
            session: session.id, hasTerminal: session.hasTerminal, stdinCredit: request.wantsStdin ? stdinCredit : 0,
            stdinTaken: request.inputKey == 0 ? nil : 1234)
        if case .offset(let offset) = request.stdout {
            attached.stdoutOffset = max(offset, session.stdout.first)
            attached.stdoutMissed = attached.stdoutOffset - offset
        }
        say(.attached(tag: tag, attached))
    }

    private func refusal(_ code: RequestFailure.Code, _ operation: String, _ object: String, _ cause: String) -> RequestFailure {
        RequestFailure(code, operation: operation, object: object, cause: cause)
    }

    func say(_ message: ServerMessage) { said.append(message) }

    func takeAnswers() -> [ServerMessage] {
        defer { said = [] }
        return said
    }

    /// The requests for sessions, in their order.
    var attachments: [(tag: UInt32, AttachRequest)] {
        messages.compactMap { if case .attach(let tag, let request) = $0 { (tag, request) } else { nil } }
    }
    var execs: [(tag: UInt32, ExecRequest)] {
        messages.compactMap { if case .exec(let tag, let request) = $0 { (tag, request) } else { nil } }
    }
    func input(_ tag: UInt32) -> [UInt8] { messages.flatMap { if case .stdin(tag, let bytes) = $0 { bytes } else { [UInt8]() } } }
    /// What was granted of stdout, the first window included.
    func granted(_ tag: UInt32) -> Int {
        messages.reduce(0) {
            switch $1 {
            case .window(tag, .stdout, let count): $0 + Int(count)
            case .attach(tag, let request): $0 + Int(request.stdoutWindow)
            default: $0
            }
        }
    }
    var releases: Int { messages.count { if case .release = $0 { true } else { false } } }
}

struct Problem: Error { var text: String }

/// An attach server on a line in memory, PID 1's model behind it and an SSH client before it.
final class Bench {
    let pid1 = ModelPID1()
    let bridge = AttachBridge()
    let server: LineServer
    var client: SSHClient
    private(set) var events: [ClientEvent] = []
    var now: Int64 = 1_000_000_000
    /// What the line has carried to the client since this was last taken.
    var line: [UInt8] = []
    /// The line takes nothing.
    var isBlocked = false
    private let random = SeededRandom(7)
    let userKey: PrivateKey
    private let logs = Log()

    private final class Log { var lines: [String] = [] }
    var lines: [String] { logs.lines }

    /// - Parameter keyOptions: what restricts the user's key, as in a line of authorized_keys.
    init(allowsNone: Bool = true, vic: Bool = true, user: String = "container", keyOptions: String = "") throws {
        let hostKey = try PrivateKey(ed25519Seed: [UInt8](repeating: 1, count: 32))
        userKey = try PrivateKey(ed25519Seed: [UInt8](repeating: 2, count: 32))
        var rules = AuthenticationRules()
        rules.allowsNone = allowsNone
        rules.openUser = vic ? "daemon" : nil
        rules.authorizedKeys = [
            keyOptions.isEmpty ? AuthorizedKey(userKey.publicKey) : try AuthorizedKey(line: "\(keyOptions) \(userKey.publicKey.line)")
        ]
        var configuration = LineServer.Configuration(hostKeys: [hostKey], rules: rules)
        let logs = logs
        configuration.log = { logs.lines.append($0) }
        bridge.log = configuration.log
        server = LineServer(configuration, bridge: bridge, random: random.source, now: now)
        client = SSHClient(ClientConfiguration(user: user, keys: [userKey], hostKeyCheck: { _ in true }), random: random.source, now: now)
    }

    func newClient(user: String = "container") {
        client = SSHClient(ClientConfiguration(user: user, keys: [userKey], hostKeyCheck: { _ in true }), random: random.source, now: now)
        events = []
    }

    /// Sends bytes as they are to the server.
    func send(_ bytes: [UInt8]) { bytes.withUnsafeBytes { server.receive($0, now: now) } }

    /// Carries what there is between all three, until nothing moves.
    /// - Parameter connected: whether the client gets what the line carries.
    func run(connected: Bool = true) throws {
        var moved = true
        var turns = 0
        while moved {
            moved = false
            turns += 1
            if turns > 100_000 { throw Problem(text: "it never rests") }
            server.pump()
            if bridge.pendingControl > 0 {
                var failure: (any Error)?
                bridge.withControl { bytes in
                    do { return try pid1.take(bytes) } catch {
                        failure = error
                        return bytes.count
                    }
                }
                if let failure { throw failure }
                moved = true
            }
            for message in pid1.takeAnswers() {
                bridge.take(message)
                moved = true
            }
            server.pump()
            while server.pendingOutput > 0, !isBlocked {
                server.withOutput { bytes in
                    line += bytes
                    return bytes.count
                }
                moved = true
            }
            if connected {
                if !line.isEmpty {
                    let bytes = line
                    line = []
                    bytes.withUnsafeBytes { client.receive($0, now: now) }
                    moved = true
                }
                while let event = client.nextEvent() { events.append(event) }
                client.flush()
                while client.pendingOutput > 0 {
                    client.withOutput { bytes in
                        server.receive(bytes, now: now)
                        return bytes.count
                    }
                    moved = true
                }
            }
        }
    }

    /// What the client was told since this was last asked.
    func taken() -> [ConnectionEvent] {
        defer { events = [] }
        return events.compactMap { if case .connection(let event) = $0 { event } else { nil } }
    }

    var isAuthenticated: Bool { events.contains { if case .authenticated = $0 { true } else { false } } }
    var isEnded: Bool { events.contains { if case .ended = $0 { true } else { false } } }

    /// A channel that the client asks for.
    func open(_ type: String, _ extra: [UInt8] = []) throws -> ChannelID {
        guard let id = client.connection.openChannel(type: type, extra: extra, window: 1000) else { throw Problem(text: "no channel") }
        return id
    }

    /// An open channel of the client's.
    func channel(_ type: String = "session", extra: [UInt8] = [], window: UInt32 = 1 << 20) throws -> ChannelID {
        guard let id = client.connection.openChannel(type: type, extra: extra, window: window) else { throw Problem(text: "no channel") }
        try run()
        let events = taken()
        guard events.contains(.opened(id, extra: [])) else { throw Problem(text: "not opened: \(events)") }
        return id
    }

    /// A channel with a shell.
    func shell(_ environment: [(String, String)] = [], terminal: WindowSize? = nil, window: UInt32 = 1 << 20) throws -> ChannelID {
        let id = try channel(window: window)
        for (name, value) in environment { client.connection.request(id, .environment(name: name, value: value)) }
        if let terminal { client.connection.request(id, .terminal(name: "xterm", terminal, TerminalModes()), wantsReply: true) }
        client.connection.request(id, .shell, wantsReply: true)
        try run()
        return id
    }
}

extension [ConnectionEvent] {
    func data(_ id: ChannelID) -> String {
        String(decoding: flatMap { if case .data(id, let bytes) = $0 { bytes } else { [UInt8]() } }, as: UTF8.self)
    }
    func errors(_ id: ChannelID) -> String {
        String(decoding: flatMap { if case .extendedData(id, 1, let bytes) = $0 { bytes } else { [UInt8]() } }, as: UTF8.self)
    }
    func requests(_ id: ChannelID) -> [(name: String, data: [UInt8])] {
        compactMap { if case .request(id, let name, let data, _) = $0 { (name, data) } else { nil } }
    }
    func replies(_ id: ChannelID) -> [Bool] { compactMap { if case .requestReply(id, let success) = $0 { success } else { nil } } }
}

func result(_ id: String = "main", exitCode: UInt8 = 0, signal: UInt8 = 0, oomKilled: Bool = false) -> SessionResult {
    SessionResult(
        id: id, exitCode: exitCode, signal: signal, oomKilled: oomKilled, stdout: StreamTotal(bytes: 3, sha256: "ab"),
        finishedAt: Timestamp(nanoseconds: 5))
}
