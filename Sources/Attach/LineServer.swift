import Control
import LineHandshake
public import SSH

/// The attach server on its line: waits for a client to begin, serves it, and notices when another one begins in its place.
///
/// Takes the line's bytes and gives bytes for the line; who reads, writes and waits is someone else. Times are nanoseconds on the
/// monotonic clock.
public final class LineServer {
    public struct Configuration {
        public var server: ServerConfiguration
        /// Told what happens, a line each.
        public var log: (String) -> Void = { _ in }

        /// - Parameters:
        ///   - rules: who may log in; `openUser` is who speaks VIC's dialect.
        public init(hostKeys: [PrivateKey], rules: AuthenticationRules, compresses: Bool = false) {
            server = ServerConfiguration(hostKeys: hostKeys)
            server.authentication = rules
            server.transport.compressionEnabled = compresses
            // What waits for a slow line before a keystroke's echo on another channel.
            server.pendingOutput = 8 * 1024
            server.connection.maximumQueuedData = 4 * 1024
            // A VCH has one for each session, and gives up at the first that is refused.
            server.connection.maximumChannels = 256
        }
    }

    private enum State {
        case waiting(HandshakeResponder)
        case connected(SSHServer)
    }

    public let bridge: AttachBridge
    private let configuration: Configuration
    private let random: RandomSource
    private var state: State
    private var detector: RestartDetector
    /// Answers of the handshake, which go before what an SSH server says.
    private var answers: [UInt8] = []
    /// A server whose connection is over, until its last words are out.
    private var departing: SSHServer?
    private var lastArrival: Int64
    /// When the present connection began.
    private var began: Int64 = 0
    private var isTold = false
    /// Since when nothing is left for the client, when the server departs.
    private var settled: Int64?
    /// Bytes that the line has taken, and how many it were when that was last looked at.
    private var taken: UInt64 = 0
    private var takenBefore: UInt64?
    /// The line has taken something since PID 1 was last told who goes on, and when it is told next.
    private var hasMoved = false
    private var progressDue: Int64 = 0
    /// When something last moved on the line, when the server departs.
    private var lastMovement: Int64 = 0

    /// Connections that began, by handshake or banner, and how many of them were cut off by the next.
    public private(set) var connections: UInt64 = 0
    public private(set) var restarts: UInt64 = 0

    /// How long nothing may move towards a client that keeps the VM from going off.
    static let patience: Int64 = 5_000_000_000
    /// How long a client may take to end the connection when its last session has ended.
    static let courtesy: Int64 = 1_000_000_000
    /// How often PID 1 is told who goes on: often enough for the shortest `slowClientSeconds`.
    static let progressInterval: Int64 = 250_000_000
    /// How long after the handshake a client's banner may begin.
    static let bannerTime: Int64 = 3_000_000_000

    public init(_ configuration: Configuration, bridge: AttachBridge, random: RandomSource, now: Int64) {
        self.configuration = configuration
        self.bridge = bridge
        self.random = random
        state = .waiting(HandshakeResponder(seed: LineServer.seed(random)))
        detector = RestartDetector(now: now)
        lastArrival = now
    }

    private static func seed(_ random: RandomSource) -> UInt64 { random.bytes(8).reduce(0) { $0 << 8 | UInt64($1) } }

    // MARK: From the line

    /// Takes what came from the line.
    public func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) {
        if bytes.isEmpty { return }
        let silence = now &- lastArrival
        lastArrival = now
        switch state {
        case .waiting(var responder):
            let decision = responder.receive(bytes, now: now)
            state = .waiting(responder)
            take(decision, now)
        case .connected(let server):
            // Whoever synchronised says its banner at once. One that comes much later is another client's, which has not seen ours.
            if server.peerSoftware.isEmpty, now &- began >= LineServer.bannerTime, silence >= LineServer.bannerTime {
                detector.bannerIsOverdue()
            }
            if let restart = detector.receive(bytes, now: now) { return restarted(restart, now) }
            server.receive(bytes, now: now)
            takeEvents(server)
            detector.connection(isBetweenPackets: !server.isInsidePacket)
        }
    }

    /// The beginning of a packet has come, and not its end.
    public var isInsidePacket: Bool {
        if case .connected(let server) = state { return server.isInsidePacket }
        return false
    }

    private func take(_ decision: HandshakeResponder.Decision, _ now: Int64) {
        switch decision {
        case .nothing: break
        case .reply(let reply):
            // Last words to a client that is gone would be noise to this one.
            departing = nil
            // A client that asks again has no use for the answer to what it asked before.
            answers = reply
        case .synchronised(let reply, let rest):
            departing = nil
            answers = reply
            begin(rest, now)
        case .banner(let bytes):
            departing = nil
            begin(bytes, now)
        }
    }

    /// An SSH connection begins, with the client's first bytes.
    private func begin(_ bytes: [UInt8], _ now: Int64) {
        connections &+= 1
        let server = SSHServer(configuration.server, random: random, now: now)
        isTold = false
        began = now
        detector = RestartDetector(now: now)
        state = .connected(server)
        if !bytes.isEmpty { bytes.withUnsafeBytes { receive($0, now: now) } }
    }

    private func restarted(_ restart: RestartDetector.Restart, _ now: Int64) {
        restarts &+= 1
        configuration.log("another client began; the connection before it is dropped")
        bridge.end()
        answers = []
        departing = nil
        switch restart {
        case .banner(let bytes): begin(bytes, now)
        case .synchronisation(let bytes):
            state = .waiting(HandshakeResponder(seed: LineServer.seed(random)))
            bytes.withUnsafeBytes { receive($0, now: now) }
        }
    }

    // MARK: Events

    private func takeEvents(_ server: SSHServer) {
        while let event = server.nextEvent() {
            switch event {
            case .authenticated(let login):
                let isVIC = login.user == VICDialect.user && login.key == nil && configuration.server.authentication.openUser == login.user
                let key = login.key.map { ", key " + $0.key.fingerprint } ?? ""
                configuration.log("\(login.user) logged in by \(login.method)\(key) from \(server.peerSoftware)")
                bridge.begin(server, isVIC: isVIC, software: server.peerSoftware)
            case .connection(let event): bridge.take(event)
            case .ended(let error):
                configuration.log("connection ended: \(error?.description ?? "by the client")")
                bridge.end()
                departing = server
                state = .waiting(HandshakeResponder(seed: LineServer.seed(random), recent: detector.recent))
            }
        }
    }

    // MARK: To the line

    /// Moves the sessions' output on. Call it after everything that was taken, and after each writing.
    public func pump() {
        bridge.pump()
        if case .connected(let server) = state {
            server.flush()
            takeEvents(server)
        }
    }

    private var speaking: SSHServer? {
        if case .connected(let server) = state { return server }
        return departing
    }

    /// How many bytes wait for the line.
    public var pendingOutput: Int { answers.count + (speaking?.pendingOutput ?? 0) }

    /// Gives the next bytes for the line; `body` says how many of them it has taken.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        if !answers.isEmpty {
            let count = answers.withUnsafeBytes { body($0) }
            answers.removeFirst(max(0, min(count, answers.count)))
            return
        }
        speaking?.withOutput { bytes in
            let count = body(bytes)
            taken &+= UInt64(max(0, count))
            if count > 0 { hasMoved = true }
            return count
        }
        if departing?.pendingOutput == 0 { departing = nil }
    }

    // MARK: Time and the end

    public var nextDeadline: Int64? {
        var next: Int64 = .max
        if case .connected(let server) = state {
            next = min(server.nextDeadline ?? .max, detector.nextDeadline ?? .max)
            if bridge.hasProgress(lineMoves: hasMoved) { next = min(next, progressDue) }
            next = min(next, bridge.nextUnread ?? .max)
        }
        return next == .max ? nil : next
    }

    public func tick(now: Int64) {
        guard case .connected(let server) = state else { return }
        // While nobody reads the line, its silence says nothing.
        if bridge.isCongested { detector.lineWasNotRead(now: now) }
        if let restart = detector.tick(now: now) { return restarted(restart, now) }
        server.tick(now: now)
        takeEvents(server)
        bridge.leaveOutUnread(now: now)
        tellProgress(now)
    }

    private func tellProgress(_ now: Int64) {
        guard now >= progressDue, bridge.hasProgress(lineMoves: hasMoved) else { return }
        bridge.tellProgress(lineMoves: hasMoved)
        hasMoved = false
        progressDue = now &+ LineServer.progressInterval
    }

    /// PID 1 has closed the control interface: says good-bye once all that was for the client is with it, and it has had the time to
    /// end the connection itself. OpenSSH's client forgets how its session ended when it is cut off right behind that.
    /// - Returns: whether nothing is left to be said.
    public func depart(now: Int64) -> Bool {
        if case .connected(let server) = state, !isTold {
            if bridge.isServing || server.hasUnsent {
                settled = nil
                if taken != takenBefore { lastMovement = now }
                takenBefore = taken
                if now &- max(lastMovement, lastArrival) < LineServer.patience { return false }
                // It takes nothing any more: what is left is nobody's.
                isTold = true
                server.disconnect(SSHError(.byApplication, "wait", "for the client", "the VM goes off, and it takes nothing"))
                takeEvents(server)
                return true
            }
            let since = settled ?? now
            settled = since
            if bridge.hasFinished && now &- since < LineServer.courtesy { return false }
            isTold = true
            server.disconnect(SSHError(.byApplication, "serve", "", bridge.closingCause ?? "the VM goes off"))
            takeEvents(server)
        }
        return pendingOutput == 0
    }
}
