import CLinux
import SSH

/// An `SSHServer` and an `SSHClient` whose bytes reach each other, cut into pieces of `chunk` bytes.
final class ServerClientPair {
    let server: SSHServer
    let client: SSHClient
    var serverEvents: [ServerEvent] = []
    var clientEvents: [ClientEvent] = []
    /// Told of each event of the server's, to answer it.
    var serve: (SSHServer, ServerEvent) -> Void = { _, _ in }
    /// Bytes that went from the server to the client.
    private(set) var serverBytes = 0
    var now: Int64 = 1_000_000_000
    private let chunk: Int

    init(_ server: ServerConfiguration, _ client: ClientConfiguration, chunk: Int = .max) {
        self.server = SSHServer(server, random: .repeatable(1), now: now)
        self.client = SSHClient(client, random: .repeatable(2), now: now)
        self.chunk = chunk
    }

    static func hostKey() throws -> PrivateKey { try PrivateKey(ed25519Seed: [UInt8](repeating: 11, count: 32)) }
    static func userKey() throws -> PrivateKey { try PrivateKey(ed25519Seed: [UInt8](repeating: 12, count: 32)) }

    /// The two with keys that fit.
    static func configurations() throws -> (server: ServerConfiguration, client: ClientConfiguration) {
        var server = ServerConfiguration(hostKeys: [try hostKey()])
        server.authentication.authorizedKeys = [AuthorizedKey(try userKey().publicKey)]
        let expected = try hostKey().publicKey
        return (server, ClientConfiguration(user: "someone", keys: [try userKey()]) { $0 == expected })
    }

    /// The client asks for a session.
    func openSession(window: UInt32 = 1 << 20) throws -> ChannelID {
        guard let id = client.connection.openChannel(type: "session", window: window) else { throw ConnectionPair.Refused() }
        return id
    }

    /// Carries bytes until neither side has any more.
    func run() {
        while true {
            takeEvents()
            server.flush()
            client.flush()
            if client.pendingOutput > 0 {
                client.withOutput { bytes in
                    let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(chunk))
                    server.receive(piece, now: now)
                    return piece.count
                }
            } else if server.pendingOutput > 0 {
                server.withOutput { bytes in
                    let piece = UnsafeRawBufferPointer(rebasing: bytes.prefix(chunk))
                    client.receive(piece, now: now)
                    serverBytes += piece.count
                    return piece.count
                }
            } else {
                return
            }
        }
    }

    private func takeEvents() {
        while let event = server.nextEvent() {
            serverEvents.append(event)
            serve(server, event)
        }
        while let event = client.nextEvent() { clientEvents.append(event) }
    }

    /// Gives the server bytes that no client of ours would send.
    func give(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { server.receive($0, now: now) }
        takeEvents()
    }

    /// What the server ended with, if it has.
    var serverEnd: SSHError?? { serverEvents.compactMap { if case .ended(let error) = $0 { .some(error) } else { nil } }.first }
    var clientEnd: SSHError?? { clientEvents.compactMap { if case .ended(let error) = $0 { .some(error) } else { nil } }.first }
}
