import SSH

/// Two connections whose payloads reach each other, and what each was told.
struct ConnectionPair {
    var client: Connection
    var server: Connection
    var clientEvents: [ConnectionEvent] = []
    var serverEvents: [ConnectionEvent] = []

    init(client: ConnectionLimits = ConnectionLimits(), server: ConnectionLimits = ConnectionLimits()) {
        self.client = Connection(client)
        self.server = Connection(server)
    }

    /// Carries payloads until neither side has any more.
    mutating func run() throws(SSHError) {
        while true {
            if let payload = client.nextPayload() {
                try server.receive(payload)
                while let event = server.nextEvent() { serverEvents.append(event) }
            } else if let payload = server.nextPayload() {
                try client.receive(payload)
                while let event = client.nextEvent() { clientEvents.append(event) }
            } else {
                return
            }
        }
    }

    /// What the sides were told since this was last asked.
    mutating func taken() -> (client: [ConnectionEvent], server: [ConnectionEvent]) {
        defer { (clientEvents, serverEvents) = ([], []) }
        return (clientEvents, serverEvents)
    }

    /// The client asks for a channel.
    mutating func request(type: String, extra: [UInt8] = [], window: UInt32, maximumPacket: UInt32 = 32768) throws -> ChannelID {
        guard let id = client.openChannel(type: type, extra: extra, window: window, maximumPacket: maximumPacket) else { throw Refused() }
        return id
    }

    /// A channel that the client opened and the server accepted: the client's number, and the server's.
    mutating func channel(
        clientWindow: UInt32 = 1000, serverWindow: UInt32 = 1000, clientPacket: UInt32 = 32768, serverPacket: UInt32 = 32768
    ) throws -> (client: ChannelID, server: ChannelID) {
        let id = try request(type: "session", window: clientWindow, maximumPacket: clientPacket)
        try run()
        guard case .opening(let peer, type: "session", extra: [])? = serverEvents.last else { throw Refused() }
        server.accept(peer, window: serverWindow, maximumPacket: serverPacket)
        try run()
        guard case .opened(id, extra: [])? = clientEvents.last else { throw Refused() }
        _ = taken()
        return (id, peer)
    }

    struct Refused: Error {}
}

/// Everything that a connection has to send.
func drain(_ connection: inout Connection) -> [[UInt8]] {
    var payloads: [[UInt8]] = []
    while let payload = connection.nextPayload() { payloads.append(payload) }
    return payloads
}

/// A payload: its number, 32-bit fields, and bytes after them.
func payload(_ number: UInt8, _ fields: [UInt32] = [], _ rest: [UInt8] = []) -> [UInt8] {
    var writer = WireWriter(message: number)
    for field in fields { writer.uint32(field) }
    writer.raw(rest)
    return writer.bytes
}

/// A *string* of the wire.
func wired(_ text: String) -> [UInt8] {
    var writer = WireWriter()
    writer.text(text)
    return writer.bytes
}
