import CLinux
import Control
import Foundation
import LineEndpoint
import LineHandshake
import Linux
import SSH
import Testing

@testable import Attach
@testable import AttachClient

/// The guest's end of an attach line behind a unix socket, as a model: one session, whose output is known beforehand.
///
/// It runs in a thread of its own; what it is told and tells is behind a lock.
final class ModelGuest: @unchecked Sendable {
    /// The session that the guest has.
    struct Session {
        var id = "c1"
        /// The number of the guest's boot; nil for a guest of a time when they had none.
        var boot: UInt64? = 1
        /// A client was attached.
        var isSeen = false
        var stdout: [UInt8] = []
        var stderr: [UInt8] = []
        /// Where the kept output begins.
        var kept = 0
        var exitCode: UInt32? = 0
        var exitSignal: String?
        var hasTerminal = false
        /// Input becomes output, and its end the end.
        var echoes = false
        var input: [UInt8] = []
        /// How much of it was taken from each client, by its key.
        var inputTaken: [UInt64: Int] = [:]
        /// Clients are forgotten when their line drops.
        var forgetsInput = false
        /// Input that waits for the process.
        var waiting: [UInt8] = []
        var inputHasEnded = false
        var isStarted = true
        var process: [UInt8] = []
        var requests: [(name: String, data: [UInt8])] = []
        /// Documents for global requests, by name.
        var answers: [String: String] = [:]
        /// What attach and exec are refused with.
        var failure: String?
        var noStdin = false
        /// What the guest says next of whether input is taken: why it is not, or nil.
        var inputNews: [String?] = []
    }

    /// What the line does to what passes it.
    struct Weather {
        /// After so many bytes on average, of both directions, the line is cut; 0: never.
        var cutEvery = 0
        /// Of so many bytes on average one is damaged; 0: none.
        var damageEvery = 0
    }

    static let hostKey = try? PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32))
    static let clientKey = try? PrivateKey(ed25519Seed: [UInt8](repeating: 9, count: 32))

    let path: String
    private let directory: String
    private let lock = NSLock()
    private var state: Session
    private var conditions: Weather
    private var numbers: UInt64 = 1
    private var connectionCount = 0
    /// The next so many requests to start something are not answered: the line is cut instead.
    private var swallowed = 0
    /// The present connection is to end.
    private var isCut = false

    /// - Parameter startsSwallowed: of the requests to start something that are not answered, the process is started all the same.
    init(
        _ session: Session, _ weather: Weather = Weather(), hostKey: PrivateKey? = ModelGuest.hostKey, swallows: Int = 0,
        startsSwallowed: Bool = false,
        authorized: PublicKey? = ModelGuest.clientKey?.publicKey, otherHostKeys: [PrivateKey] = []
    ) throws {
        self.otherHostKeys = otherHostKeys
        self.authorized = authorized
        var template = Array("/tmp/tether-attach-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        path = directory + "/attach.sock"
        state = session
        conditions = weather
        swallowed = swallows
        self.startsSwallowed = startsSwallowed
        self.hostKey = try #require(hostKey)
        let listener = try Sockets.listen(path: path).take()
        let thread = Thread { [weak self] in
            let listener = FileDescriptor(owning: listener)
            var connection: Connection?
            // Held for one turn at a time: it ends with its test.
            while let guest = self { guest.turn(listener, &connection) }
        }
        thread.stackSize = 8 << 20
        thread.start()
    }

    private let startsSwallowed: Bool
    private let hostKey: PrivateKey
    private let authorized: PublicKey?
    private let otherHostKeys: [PrivateKey]

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func with<Result>(_ body: (inout Session) -> Result) -> Result { lock.withLock { body(&state) } }
    var connections: Int { lock.withLock { connectionCount } }
    /// The VM is reset: the line is cut, and another session is there.
    func reset(_ session: Session) {
        lock.withLock {
            state = session
            isCut = true
        }
    }
    func calm() { lock.withLock { conditions = Weather() } }

    /// How the tests reach it.
    func target() throws -> AttachTarget {
        var target = AttachTarget(endpoint: .socket(path: path), hostKeys: .pinned(keys: [hostKey.publicKey], fingerprints: []))
        target.identities = Identities(keys: [.held(try #require(ModelGuest.clientKey))])
        target.synchronisationMilliseconds = 20_000
        return target
    }

    // MARK: The thread

    private func random(_ bound: Int) -> Int {
        numbers = numbers &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(numbers >> 33) % max(1, bound)
    }

    private func turn(_ listener: borrowing FileDescriptor, _ connection: inout Connection?) {
        if let accepted = (try? Sockets.accept(listener)) ?? nil {
            lock.withLock { connectionCount += 1 }
            connection = try? Connection(LineConnection(FileDescriptor(owning: accepted.descriptor), name: "guest"))
        }
        guard let current = connection else {
            usleep(500)
            return
        }
        let isCut = lock.withLock {
            defer { self.isCut = false }
            return self.isCut
        }
        if isCut || !step(current) { connection = nil }
    }

    private final class Connection {
        let line: LineConnection
        var responder = HandshakeResponder(seed: 5)
        var server: SSHServer?
        var channel: ChannelID?
        var isAttached = false
        var stdout = 0
        var stderr = 0
        var isFinished = false
        var untilCut = Int.max
        var inputKey: UInt64 = 0
        /// Bytes of input that may be sent and have not been granted yet.
        var toGrant = 0
        init(_ line: LineConnection) { self.line = line }
    }

    /// - Returns: false when the connection is over.
    private func step(_ connection: Connection) -> Bool {
        var watched = pollfd(
            fd: connection.line.rawValue, events: Int16(POLLIN | (connection.line.pendingOutput > 0 ? POLLOUT : 0)), revents: 0)
        poll(&watched, 1, connection.isAttached ? 1 : 10)
        let now = Clock.monotonic()
        switch (try? connection.line.read()) ?? .closed {
        case .closed: return false
        case .nothing: break
        case .bytes(var bytes):
            bytes = Array(bytes.prefix(connection.untilCut))
            connection.untilCut -= bytes.count
            damage(&bytes)
            if let server = connection.server {
                bytes.withUnsafeBytes { server.receive($0, now: now) }
            } else {
                begin(connection, bytes, now)
            }
        }
        guard let server = connection.server else { return (try? connection.line.flush()) != nil }
        while let event = server.nextEvent() {
            switch event {
            case .authenticated: break
            case .connection(let event): if !take(event, connection, server) { return false }
            case .ended:
                send(connection, server)
                return false
            }
        }
        lock.withLock { pump(connection, server) }
        return send(connection, server) && connection.untilCut > 0
    }

    private func begin(_ connection: Connection, _ bytes: [UInt8], _ now: Int64) {
        switch bytes.withUnsafeBytes({ connection.responder.receive($0, now: now) }) {
        case .nothing, .banner: break
        case .reply(let reply): connection.line.send(reply[...])
        case .synchronised(let reply, let rest):
            connection.line.send(reply[...])
            var configuration = ServerConfiguration(hostKeys: [hostKey] + otherHostKeys)
            if let authorized { configuration.authentication.authorizedKeys = [AuthorizedKey(authorized)] }
            let server = SSHServer(configuration, random: .thisMachine, now: now)
            connection.server = server
            let every = lock.withLock { conditions.cutEvery }
            if every > 0 { connection.untilCut = random(2 * every) }
            rest.withUnsafeBytes { server.receive($0, now: now) }
        }
    }

    private func damage(_ bytes: inout [UInt8]) {
        let every = lock.withLock { conditions.damageEvery }
        guard every > 0, random(every) < bytes.count, !bytes.isEmpty else { return }
        bytes[random(bytes.count)] ^= UInt8(1 + random(255))
    }

    @discardableResult
    private func send(_ connection: Connection, _ server: SSHServer) -> Bool {
        server.flush()
        while server.pendingOutput > 0, connection.line.pendingOutput < 64 * 1024 {
            var isCut = false
            server.withOutput { bytes in
                var piece = Array(bytes.prefix(connection.untilCut))
                let count = piece.count
                connection.untilCut -= count
                isCut = connection.untilCut <= 0
                damage(&piece)
                connection.line.send(piece[...])
                return count
            }
            if isCut {
                // What was sent before arrives, or not.
                if random(2) == 0 { try? connection.line.flush() }
                return false
            }
        }
        return (try? connection.line.flush()) != nil
    }

    private func take(_ event: ConnectionEvent, _ connection: Connection, _ server: SSHServer) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        // The session that is there now is not this connection's.
        if isCut { return false }
        switch event {
        case .opening(let id, _, _):
            connection.channel = id
            server.connection.accept(id, window: 0)
        case .globalRequest("boot@tether", _, _):
            var writer = WireWriter()
            writer.uint64(state.boot ?? 0)
            server.connection.replyToGlobalRequest(success: state.boot != nil, data: writer.bytes)
        case .globalRequest(let name, let data, let wantsReply):
            state.requests.append((name, data))
            if wantsReply {
                let answer = state.answers[name]
                server.connection.replyToGlobalRequest(success: answer != nil, data: Array((answer ?? "").utf8))
            }
        case .data(_, let data):
            state.input += data
            state.inputTaken[connection.inputKey, default: 0] += data.count
            state.waiting += data
        case .eof: if connection.isAttached { state.inputHasEnded = true }
        case .request(let id, let name, let data, let wantsReply):
            state.requests.append((name, data))
            if name == "attach@tether" || name == "exec-process@tether" { return start(id, name, data, connection, server) }
            if wantsReply { server.connection.replyToRequest(id, success: true) }
        default: break
        }
        return true
    }

    private func start(_ id: ChannelID, _ name: String, _ data: [UInt8], _ connection: Connection, _ server: SSHServer) -> Bool {
        // As the server itself reads them.
        var starts: [StreamStart?] = [.oldest, .oldest]
        var wantsInput = false
        var failure = state.failure
        if name == "attach@tether" {
            guard let wanted = AttachParameters(data) else { return server.connection.replyToRequest(id, success: false) }
            starts = [wanted.stdoutFrom, wanted.stderrFrom]
            (wantsInput, connection.inputKey) = (wanted.wantsStdin, wanted.inputKey)
            if !state.isStarted || !(wanted.session.isEmpty || wanted.session == state.id) { failure = Self.failure("unknownSession") }
        } else {
            guard let wanted = ExecParameters(data) else { return server.connection.replyToRequest(id, success: false) }
            (state.process, state.id) = (wanted.process, wanted.session)
            (wantsInput, connection.inputKey) = (wanted.wantsStdin, wanted.inputKey)
            if swallowed == 0 || startsSwallowed, failure == nil { state.isStarted = true }
        }
        if swallowed > 0 {
            swallowed -= 1
            return false
        }
        if state.noStdin, wantsInput { failure = Self.failure("noStdin") }
        if let failure {
            var writer = WireWriter()
            writer.text(failure)
            server.connection.request(id, name: "failed@tether", data: writer.bytes)
            server.connection.replyToRequest(id, success: false)
            return true
        }
        server.connection.replyToRequest(id, success: true)
        var missed: [Int] = []
        let places = zip(starts, [(state.kept, state.stdout.count), (0, state.stderr.count)]).map { start, ring -> Int in
            let wanted =
                switch start ?? (state.isSeen ? .live : .oldest) {
                case .oldest: min(ring.0, ring.1)
                case .live, .none: ring.1
                case .offset(let offset): Int(clamping: offset)
                }
            let place = min(max(wanted, min(ring.0, ring.1)), ring.1)
            missed.append(max(0, place - wanted))
            return place
        }
        state.isSeen = true
        (connection.stdout, connection.stderr) = (places[0], places[1])
        var writer = WireWriter()
        writer.text(state.id)
        writer.boolean(state.hasTerminal)
        for number in places + missed {
            writer.uint64(UInt64(number))
        }
        let isForgotten = state.forgetsInput && state.inputTaken.removeValue(forKey: connection.inputKey) != nil
        writer.boolean(wantsInput && !isForgotten)
        writer.uint64(UInt64(state.inputTaken[connection.inputKey, default: 0]))
        server.connection.request(id, name: "attached@tether", data: writer.bytes)
        // What waits for the process is less for the next client.
        if wantsInput { connection.toGrant = ResumableInput.window - state.waiting.count }
        connection.isAttached = true
        connection.isFinished = false
        return true
    }

    static func failure(_ code: String, exitCode: Int = 0) -> String {
        "{\"error\":{\"operation\":\"attach\",\"object\":\"c9\",\"cause\":\"there is none\",\"code\":\"\(code)\",\"exitCode\":\(exitCode)}}"
    }

    /// Sends what there is room for, and in the end how it ended.
    private func pump(_ connection: Connection, _ server: SSHServer) {
        guard !isCut, connection.isAttached, !connection.isFinished, let id = connection.channel else { return }
        let read = state.waiting.prefix(1 + random(8192))
        if state.echoes { state.stdout += read }
        connection.toGrant += read.count
        state.waiting.removeFirst(read.count)
        if connection.toGrant >= ResumableInput.window / 4 || state.waiting.isEmpty {
            server.connection.grant(id, bytes: connection.toGrant)
            connection.toGrant = 0
        }
        for end in state.inputNews {
            var writer = WireWriter()
            writer.boolean(end == nil)
            writer.text(end ?? "")
            server.connection.request(id, name: "stdin@tether", data: writer.bytes)
        }
        state.inputNews = []
        connection.stdout += server.connection.send(data: state.stdout[connection.stdout...].prefix(8192), on: id)
        connection.stderr += server.connection.sendExtended(data: state.stderr[connection.stderr...].prefix(8192), on: id)
        let isAll = connection.stdout == state.stdout.count && connection.stderr == state.stderr.count
        guard isAll, !state.echoes || state.inputHasEnded && state.waiting.isEmpty else { return }
        if let signal = state.exitSignal {
            server.connection.request(id, .exitSignal(name: signal, coreDumped: false, message: ""))
        } else if let code = state.exitCode {
            server.connection.request(id, .exitStatus(code))
            var writer = WireWriter()
            let totals = [("stdout", state.stdout.count), ("stderr", state.stderr.count)]
                .map { "\"\($0)\":{\"bytes\":\($1),\"sha256\":\"\"}" }
            writer.text("{\"id\":\"\(state.id)\",\"exitCode\":\(code),\(totals.joined(separator: ","))}")
            server.connection.request(id, name: "exited@tether", data: writer.bytes)
        } else {
            return
        }
        connection.isFinished = true
        server.connection.sendEOF(id)
        server.connection.close(id)
    }
}
