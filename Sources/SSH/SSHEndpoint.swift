/// One end of an SSH connection, as far as a server and a client are the same: it carries messages between the transport and the two
/// layers above it, and ends the connection.
///
/// After each ``receive(_:now:)`` take all events, answer them through ``connection``, and call ``flush()``; write what
/// ``withOutput(_:)`` gives. Whoever does so holds no more memory than the configuration's limits say.
public class SSHEndpoint {
    private enum Phase { case handshake, authentication, connected, ended }

    /// What the two roles tell in words of their own.
    enum Outcome {
        case authenticated
        case connection(ConnectionEvent)
        case ended(SSHError?)
    }

    let transport: Transport
    /// The connection layer. Channels may be opened and messages sent before the log-in: they wait for it. Nothing comes before it.
    public final var connection: Connection
    private var phase = Phase.handshake
    /// Why nothing more is received. What came before is still handed on.
    private var failure: SSHError?
    /// What is to be told next: that the user is logged in, and the end.
    private var isAnnounced = true
    private var ending: SSHError??
    private let outputLimit: Int
    /// The time until someone has logged in, in milliseconds; nil where nobody watches.
    private let loginMilliseconds: Int64?
    private var loginDeadline: Int64 = .max
    /// The time that was last told, nanoseconds on the monotonic clock.
    private var now: Int64

    /// - Parameter outputLimit: as long as the transport holds so many bytes, messages stay with the layers above.
    init(
        _ transport: TransportConfiguration, _ limits: ConnectionLimits, outputLimit: Int, loginMilliseconds: Int64?, random: RandomSource,
        now: Int64
    ) {
        self.transport = Transport(transport, random: random, now: now)
        connection = Connection(limits)
        self.outputLimit = outputLimit
        self.loginMilliseconds = loginMilliseconds
        self.now = now
    }

    // MARK: What the roles do

    /// The peer's key has signed the key exchange.
    func check(_ hostKey: PublicKey) throws(SSHError) {}

    /// The authentication begins.
    func begin(sessionID: [UInt8]) {}

    /// Takes a message of the authentication, or one that comes after it and is none of the connection layer's.
    /// - Returns: whether the user is logged in.
    func authenticate(_ payload: [UInt8]) throws(SSHError) -> Bool { false }

    /// The authentication's next message.
    func nextAuthenticationPayload() -> [UInt8]? { nil }

    /// The user is logged in.
    func didAuthenticate() {}

    // MARK: What arrives

    /// Algorithms and the peer's software, for logs.
    public final var negotiated: NegotiatedAlgorithms { transport.negotiated }
    public final var peerSoftware: String { transport.peerSoftware }

    /// Bytes of a packet have been received, but not all of it (``Transport/isInsidePacket``).
    public final var isInsidePacket: Bool { transport.isInsidePacket }

    /// Takes bytes of the peer's. What comes of it, errors too, are events.
    public final func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) {
        self.now = now
        guard phase != .ended else { return }
        do throws(SSHError) {
            try transport.receive(bytes, now: now)
        } catch {
            failure = error
        }
    }

    final func nextOutcome() -> Outcome? {
        while true {
            if !isAnnounced {
                isAnnounced = true
                return .authenticated
            }
            if let ending {
                self.ending = nil
                return .ended(ending)
            }
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
            try check(key)
            transport.acceptHostKey()
        case .ready(let sessionID):
            phase = .authentication
            loginDeadline = loginMilliseconds.map { Transport.later(now, milliseconds: $0) } ?? .max
            begin(sessionID: sessionID)
        case .message(let payload): try take(payload)
        case .disconnected(let reason, let text): end(DisconnectReason.error(reason, text))
        case .failed(let error): fail(error)
        case .unimplemented(let sequence):
            // Nothing is sent that a peer need not know, and whoever waits for an answer to it would wait for ever.
            throw SSHError(.protocolError, "send", "packet \(sequence)", "the peer does not know the message")
        case .extensions, .debug: break
        }
    }

    private func take(_ payload: [UInt8]) throws(SSHError) {
        guard phase == .authentication || phase == .connected else { return }
        if UserAuthentication.isUnknown(payload) {
            transport.answerUnimplemented()
        } else if phase == .authentication || payload.first ?? 0 < 80 {
            guard try authenticate(payload), phase == .authentication else { return }
            phase = .connected
            loginDeadline = .max
            didAuthenticate()
            isAnnounced = false
        } else if try !connection.receive(payload) {
            transport.answerUnimplemented()
        }
    }

    // MARK: What is sent

    /// Hands messages to the transport, as far as there is room.
    public final func flush() {
        guard phase == .authentication || phase == .connected else { return }
        while transport.pendingOutput + transport.queuedPayloadBytes < outputLimit {
            guard let payload = nextAuthenticationPayload() ?? (phase == .connected ? connection.nextPayload() : nil) else { return }
            transport.send(payload)
        }
    }

    /// Bytes for the peer that can be written now.
    public final var pendingOutput: Int { transport.pendingOutput }

    /// Something was said that the peer has not been sent: bytes that can be written, and messages that wait for room or for the end
    /// of a key exchange.
    public final var hasUnsent: Bool { transport.pendingOutput + transport.queuedPayloadBytes > 0 || connection.hasPayload }

    /// Gives the next bytes for the peer, after ``flush()``; `body` says how many it has taken.
    public final func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        flush()
        transport.withOutput(body)
        // There is room again; with something left to send, `pendingOutput` says so.
        flush()
    }

    // MARK: Time and the end

    /// When ``tick(now:)`` is to be called at the latest.
    public final var nextDeadline: Int64? {
        guard phase != .ended else { return nil }
        let deadline = min(transport.nextDeadline ?? .max, loginDeadline)
        return deadline == .max ? nil : deadline
    }

    public final func tick(now: Int64) {
        self.now = now
        guard phase != .ended else { return }
        if now >= loginDeadline {
            fail(SSHError(.byApplication, "authenticate", "", "nobody has logged in within \((loginMilliseconds ?? 0) / 1000) s"))
        } else {
            transport.tick(now: now)
        }
    }

    /// Ends the connection; the peer is told why, and so is whoever takes the events.
    public final func disconnect(_ error: SSHError) {
        if phase != .ended { fail(error) }
    }

    private func fail(_ error: SSHError) {
        // Answers that were given before the error go out before it, as far as there is room. An error of the transport's own has
        // been told to the peer already, and nothing follows it.
        flush()
        transport.disconnect(error)
        end(error)
    }

    private func end(_ error: SSHError?) {
        phase = .ended
        ending = .some(error)
    }
}
