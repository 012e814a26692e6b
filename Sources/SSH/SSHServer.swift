/// What an ``SSHServer`` is told at its start.
public struct ServerConfiguration: Sendable {
    public var transport: TransportConfiguration
    public var authentication = AuthenticationRules()
    public var connection = ConnectionLimits()
    /// As long as the transport holds so many bytes, messages stay with the connection layer, where a window's growth overtakes data
    /// and whoever sends data sees that there is no room. Less on a slow line means shorter waits for what is urgent.
    public var pendingOutput = 64 * 1024

    public init(hostKeys: [PrivateKey], software: String = "tether") {
        transport = TransportConfiguration(role: .server, software: software)
        transport.hostKeys = hostKeys
    }
}

/// What happened on a server's connection.
public enum ServerEvent: Equatable, Sendable {
    /// Someone has logged in; events of the connection layer follow.
    case authenticated(Login)
    case connection(ConnectionEvent)
    /// The connection is over: what is pending as output may still be sent, and nothing follows. nil: the client ended it as it
    /// should.
    case ended(SSHError?)
}

/// An SSH server for one connection: transport, authentication and connection layer. Takes the client's bytes and gives bytes for
/// it; who reads, writes and waits is someone else.
///
/// After each ``receive(_:now:)`` take all events, answer them through ``connection``, and call ``flush()``; write what
/// ``withOutput(_:)`` gives. Whoever does so holds no more memory than the configuration's limits say.
public final class SSHServer {
    private enum Phase { case handshake, authentication, connected, ended }

    private let configuration: ServerConfiguration
    private let transport: Transport
    private var phase = Phase.handshake
    /// Why nothing more is received. What came before is still handed on.
    private var failure: SSHError?
    private var authentication: ServerAuthentication
    private var authenticationDeadline: Int64 = .max
    private var pending: [ServerEvent] = []
    /// The time that was last told, nanoseconds on the monotonic clock.
    private var now: Int64
    /// The connection layer. Nothing comes from it before the log-in, and what is sent before that waits.
    public var connection: Connection

    /// - Parameter now: nanoseconds on the monotonic clock, here and wherever `now` is asked for.
    public init(_ configuration: ServerConfiguration, random: RandomSource, now: Int64) {
        self.configuration = configuration
        self.now = now
        transport = Transport(configuration.transport, random: random, now: now)
        authentication = ServerAuthentication(configuration.authentication, sessionID: [])
        connection = Connection(configuration.connection)
    }

    /// Algorithms and the client's software, for logs.
    public var negotiated: NegotiatedAlgorithms { transport.negotiated }
    public var peerSoftware: String { transport.peerSoftware }

    /// Bytes of a packet have been received, but not all of it (``Transport/isInsidePacket``).
    public var isInsidePacket: Bool { transport.isInsidePacket }

    /// Takes bytes of the client's. What comes of it, errors too, are events.
    public func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) {
        self.now = now
        guard phase != .ended else { return }
        do throws(SSHError) {
            try transport.receive(bytes, now: now)
        } catch {
            failure = error
        }
    }

    public func nextEvent() -> ServerEvent? {
        while true {
            if !pending.isEmpty { return pending.removeFirst() }
            if phase == .ended { return nil }
            if phase == .connected, let event = connection.nextEvent() { return .connection(event) }
            guard let event = transport.nextEvent() else {
                guard let failure else { return nil }
                fail(failure)
                continue
            }
            do throws(SSHError) {
                try take(event)
            } catch {
                fail(error)
            }
        }
    }

    private func take(_ event: TransportEvent) throws(SSHError) {
        switch event {
        case .ready(let sessionID):
            phase = .authentication
            authentication = ServerAuthentication(configuration.authentication, sessionID: sessionID)
            authenticationDeadline = Transport.later(now, milliseconds: configuration.authentication.milliseconds)
        case .message(let payload): try take(payload)
        case .disconnected(let reason, let text): end(DisconnectReason.error(reason, text))
        case .failed(let error): fail(error)
        case .hostKey, .extensions, .unimplemented, .debug: break
        }
    }

    private func take(_ payload: [UInt8]) throws(SSHError) {
        switch phase {
        case .authentication:
            try authentication.receive(payload)
            guard let login = authentication.login else { return }
            phase = .connected
            authenticationDeadline = .max
            connection.permissions = login.key?.permissions ?? Permissions()
            pending.append(.authenticated(login))
        case .connected where payload.first ?? 0 < 80: try authentication.receive(payload)
        case .connected: if try !connection.receive(payload) { transport.answerUnimplemented() }
        case .handshake, .ended: break
        }
    }

    /// Hands messages to the transport, as far as there is room.
    public func flush() {
        guard phase == .authentication || phase == .connected else { return }
        while transport.pendingOutput + transport.queuedPayloadBytes < configuration.pendingOutput {
            guard let payload = authentication.nextPayload() ?? (phase == .connected ? connection.nextPayload() : nil) else { return }
            transport.send(payload)
        }
    }

    /// Bytes for the client that can be written now.
    public var pendingOutput: Int { transport.pendingOutput }

    /// Gives the next bytes for the client, after ``flush()``; `body` says how many it has taken.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        flush()
        transport.withOutput(body)
        // There is room again; with something left to send, `pendingOutput` says so.
        flush()
    }

    /// When ``tick(now:)`` is to be called at the latest.
    public var nextDeadline: Int64? {
        guard phase != .ended else { return nil }
        let deadline = min(transport.nextDeadline ?? .max, authenticationDeadline)
        return deadline == .max ? nil : deadline
    }

    public func tick(now: Int64) {
        self.now = now
        guard phase != .ended else { return }
        if now >= authenticationDeadline {
            let seconds = configuration.authentication.milliseconds / 1000
            fail(SSHError(.byApplication, "authenticate", "", "nobody has logged in within \(seconds) s"))
        } else {
            transport.tick(now: now)
        }
    }

    /// Ends the connection; the client is told why, and so is whoever takes the events.
    public func disconnect(_ error: SSHError) {
        if phase != .ended { fail(error) }
    }

    private func fail(_ error: SSHError) {
        // Answers that were given before the error go out before it.
        flush()
        transport.disconnect(error)
        end(error)
    }

    private func end(_ error: SSHError?) {
        phase = .ended
        pending.append(.ended(error))
    }
}
