/// What an ``SSHClient`` is told at its start.
public struct ClientConfiguration {
    public var transport: TransportConfiguration
    public var user: String
    /// Tried one after the other.
    public var keys: [ClientKey]
    /// Whether the server's key is the one that is expected. False ends the connection.
    public var hostKeyCheck: (PublicKey) -> Bool
    public var connection = ConnectionLimits()
    /// As ``ServerConfiguration/pendingOutput``.
    public var pendingOutput = 64 * 1024

    public init(user: String, keys: [PrivateKey], software: String = "tether", hostKeyCheck: @escaping (PublicKey) -> Bool) {
        transport = TransportConfiguration(role: .client, software: software)
        self.user = user
        self.keys = keys.map { .held($0) }
        self.hostKeyCheck = hostKeyCheck
    }
}

/// What happened on a client's connection.
public enum ClientEvent: Equatable, Sendable {
    /// The server has let the user in, and wants `banner` to be shown, which is empty where it wants nothing.
    case authenticated(banner: String)
    case connection(ConnectionEvent)
    /// A key whose private half is elsewhere would do: ``SSHClient/provide(signature:)`` or ``SSHClient/giveUpSignature(_:)`` answers.
    case signatureWanted(SignatureRequest)
    /// The connection is over, and nothing follows. nil: the server ended it as it should.
    case ended(SSHError?)
}

/// An SSH client for one connection: as ``SSHServer``, from the other side.
public final class SSHClient {
    private enum Phase { case handshake, authentication, connected, ended }

    private let configuration: ClientConfiguration
    private let random: RandomSource
    private let transport: Transport
    private var phase = Phase.handshake
    /// Why nothing more is received. What came before is still handed on.
    private var failure: SSHError?
    private var authentication: ClientAuthentication?
    private var pending: [ClientEvent] = []
    /// The connection layer. Channels may be opened before the log-in; the messages wait for it.
    public var connection: Connection

    /// - Parameter now: nanoseconds on the monotonic clock, here and wherever `now` is asked for.
    public init(_ configuration: ClientConfiguration, random: RandomSource, now: Int64) {
        self.configuration = configuration
        self.random = random
        transport = Transport(configuration.transport, random: random, now: now)
        connection = Connection(configuration.connection)
    }

    /// Algorithms and the server's software, for logs.
    public var negotiated: NegotiatedAlgorithms { transport.negotiated }
    public var peerSoftware: String { transport.peerSoftware }

    /// Takes bytes of the server's. What comes of it, errors too, are events.
    public func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) {
        guard phase != .ended else { return }
        do throws(SSHError) {
            try transport.receive(bytes, now: now)
        } catch {
            failure = error
        }
    }

    public func nextEvent() -> ClientEvent? {
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
        case .hostKey(let key):
            guard configuration.hostKeyCheck(key) else {
                throw SSHError(.hostKeyNotVerifiable, "verify", "host key \(key.fingerprint)", "it is not the one that is expected")
            }
            transport.acceptHostKey()
        case .ready(let sessionID):
            phase = .authentication
            authentication = ClientAuthentication(
                user: configuration.user, clientKeys: configuration.keys, sessionID: sessionID, random: random)
        case .message(let payload): try take(payload)
        case .disconnected(let reason, let text): end(DisconnectReason.error(reason, text))
        case .failed(let error): fail(error)
        case .extensions, .unimplemented, .debug: break
        }
    }

    private func take(_ payload: [UInt8]) throws(SSHError) {
        switch phase {
        case .authentication:
            try authentication?.receive(payload, signatureAlgorithms: transport.peerSignatureAlgorithms)
            if let request = authentication?.takeSignatureRequest() { pending.append(.signatureWanted(request)) }
            guard let authentication, authentication.isComplete else { return }
            phase = .connected
            pending.append(.authenticated(banner: authentication.banner))
        case .connected where payload.first ?? 0 < 80: throw UserAuthentication.unexpected(payload)
        case .connected: if try !connection.receive(payload) { transport.answerUnimplemented() }
        case .handshake, .ended: break
        }
    }

    /// Takes the signature that was wanted, as it is sent (RFC 4253, 6.6).
    public func provide(signature: [UInt8]) {
        guard phase == .authentication else { return }
        do throws(SSHError) { try authentication?.provide(signature: signature) } catch { fail(error) }
    }

    /// There will be no signature: the next key is tried.
    /// - Parameter cause: why, for the error where no other key does.
    public func giveUpSignature(_ cause: String) {
        guard phase == .authentication else { return }
        do throws(SSHError) { try authentication?.giveUpSignature(cause) } catch { fail(error) }
    }

    /// Hands messages to the transport, as far as there is room.
    public func flush() {
        guard phase == .authentication || phase == .connected else { return }
        while transport.pendingOutput + transport.queuedPayloadBytes < configuration.pendingOutput {
            guard let payload = authentication?.nextPayload() ?? (phase == .connected ? connection.nextPayload() : nil) else { return }
            transport.send(payload)
        }
    }

    /// Bytes for the server that can be written now.
    public var pendingOutput: Int { transport.pendingOutput }

    /// Gives the next bytes for the server, after ``flush()``; `body` says how many it has taken.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        flush()
        transport.withOutput(body)
        // There is room again; with something left to send, `pendingOutput` says so.
        flush()
    }

    /// When ``tick(now:)`` is to be called at the latest.
    public var nextDeadline: Int64? { phase == .ended ? nil : transport.nextDeadline }

    public func tick(now: Int64) {
        if phase != .ended { transport.tick(now: now) }
    }

    /// Ends the connection; the server is told why, and so is whoever takes the events.
    public func disconnect(_ error: SSHError) {
        if phase != .ended { fail(error) }
    }

    private func fail(_ error: SSHError) {
        flush()
        transport.disconnect(error)
        end(error)
    }

    private func end(_ error: SSHError?) {
        phase = .ended
        pending.append(.ended(error))
    }
}
