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
public final class SSHClient: SSHEndpoint {
    private let configuration: ClientConfiguration
    private let random: RandomSource
    private var authentication: ClientAuthentication?

    /// - Parameter now: nanoseconds on the monotonic clock, here and wherever `now` is asked for.
    public init(_ configuration: ClientConfiguration, random: RandomSource, now: Int64) {
        self.configuration = configuration
        self.random = random
        super.init(
            configuration.transport, configuration.connection, outputLimit: configuration.pendingOutput, loginMilliseconds: nil,
            random: random, now: now)
    }

    /// What happened next, or nil until more is received.
    public func nextEvent() -> ClientEvent? {
        switch nextOutcome() {
        case .authenticated: return .authenticated(banner: authentication?.banner ?? "")
        case .connection(let event): return .connection(event)
        case .ended(let error):
            authentication = nil
            return .ended(error)
        case nil: return authentication?.takeSignatureRequest().map { .signatureWanted($0) }
        }
    }

    override func check(_ hostKey: PublicKey) throws(SSHError) {
        guard configuration.hostKeyCheck(hostKey) else {
            throw SSHError(.hostKeyNotVerifiable, "verify", "host key \(hostKey.fingerprint)", "it is not the one that is expected")
        }
    }

    override func begin(sessionID: [UInt8]) {
        authentication = ClientAuthentication(
            user: configuration.user, clientKeys: configuration.keys, sessionID: sessionID, random: random)
    }

    override func authenticate(_ payload: [UInt8]) throws(SSHError) -> Bool {
        try authentication?.receive(payload, signatureAlgorithms: transport.peerSignatureAlgorithms)
        return authentication?.isComplete == true
    }

    /// Takes the signature that was wanted, as it is sent (RFC 4253, 6.6).
    public func provide(signature: [UInt8]) {
        do throws(SSHError) { try authentication?.provide(signature: signature) } catch { disconnect(error) }
    }

    /// There will be no signature: the next key is tried.
    /// - Parameter cause: why, for the error where no other key does.
    public func giveUpSignature(_ cause: String) {
        do throws(SSHError) { try authentication?.giveUpSignature(cause) } catch { disconnect(error) }
    }

    override func nextAuthenticationPayload() -> [UInt8]? { authentication?.nextPayload() }
}
