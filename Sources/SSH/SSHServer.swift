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
public final class SSHServer: SSHEndpoint {
    private let rules: AuthenticationRules
    private var authentication: ServerAuthentication

    /// - Parameter now: nanoseconds on the monotonic clock, here and wherever `now` is asked for.
    public init(_ configuration: ServerConfiguration, random: RandomSource, now: Int64) {
        rules = configuration.authentication
        authentication = ServerAuthentication(rules, sessionID: [])
        super.init(
            configuration.transport, configuration.connection, outputLimit: configuration.pendingOutput,
            loginMilliseconds: rules.milliseconds, random: random, now: now)
    }

    /// What happened next, or nil until more is received.
    public func nextEvent() -> ServerEvent? {
        switch nextOutcome() {
        case .authenticated: authentication.login.map { .authenticated($0) }
        case .connection(let event): .connection(event)
        case .ended(let error): .ended(error)
        case nil: nil
        }
    }

    override func begin(sessionID: [UInt8]) { authentication = ServerAuthentication(rules, sessionID: sessionID) }

    override func authenticate(_ payload: [UInt8]) throws(SSHError) -> Bool {
        try authentication.receive(payload)
        return authentication.login != nil
    }

    override func nextAuthenticationPayload() -> [UInt8]? { authentication.nextPayload() }

    override func didAuthenticate() { connection.permissions = authentication.login?.key?.permissions ?? Permissions() }
}
