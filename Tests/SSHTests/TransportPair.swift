import SSH

extension RandomSource {
    /// Bytes that a run can be repeated with. They are no secret to anybody.
    static func repeatable(_ seed: UInt64) -> RandomSource {
        var state = seed
        return RandomSource { count in
            (0..<count).map { _ in
                // SplitMix64
                state &+= 0x9e37_79b9_7f4a_7c15
                var value = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
                value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
                return UInt8(truncatingIfNeeded: value ^ (value >> 31))
            }
        }
    }
}

/// Two transports, whose bytes go through what a test makes of them.
final class TransportPair {
    let client: Transport
    let server: Transport
    var clientEvents: [TransportEvent] = []
    var serverEvents: [TransportEvent] = []
    var clientError: SSHError?
    var serverError: SSHError?
    var acceptsHostKey = true
    var now: Int64 = 0
    /// How many bytes are handed over at once.
    var chunk: () -> Int = { .max }
    /// Changes what was sent by the client, or by the server.
    var fromClient: ([UInt8]) -> [UInt8] = { $0 }
    var fromServer: ([UInt8]) -> [UInt8] = { $0 }

    static let seed = [UInt8](repeating: 7, count: 32)

    init(
        hostKeys: [PrivateKey]? = nil, server change: (inout TransportConfiguration) -> Void = { _ in },
        client changeClient: (inout TransportConfiguration) -> Void = { _ in }
    ) throws {
        var configuration = TransportConfiguration(role: .server, software: "server")
        configuration.hostKeys = try hostKeys ?? [PrivateKey(ed25519Seed: Self.seed)]
        change(&configuration)
        server = Transport(configuration, random: .repeatable(1), now: 0)
        configuration = TransportConfiguration(role: .client, software: "client")
        changeClient(&configuration)
        client = Transport(configuration, random: .repeatable(2), now: 0)
    }

    static func taken(_ transport: Transport) -> [UInt8] {
        var bytes: [UInt8] = []
        transport.withOutput {
            bytes = Array($0)
            return $0.count
        }
        return bytes
    }

    func give(_ bytes: [UInt8], to transport: Transport) -> SSHError? {
        var position = 0
        while position < bytes.count {
            let end = position + min(chunk(), bytes.count - position)
            let error = bytes[position..<end].withUnsafeBytes { chunk -> SSHError? in
                do throws(SSHError) { try transport.receive(chunk, now: now) } catch { return error }
                return nil
            }
            takeEvents()
            if let error { return error }
            position = end
        }
        return nil
    }

    func takeEvents() {
        while let event = client.nextEvent() {
            clientEvents.append(event)
            if case .hostKey = event, acceptsHostKey { client.acceptHostKey() }
        }
        while let event = server.nextEvent() { serverEvents.append(event) }
    }

    /// Hands over what is pending until nothing is.
    func run() {
        while client.pendingOutput + server.pendingOutput > 0 {
            let (up, down) = (fromClient(Self.taken(client)), fromServer(Self.taken(server)))
            if serverError == nil { serverError = give(up, to: server) }
            if clientError == nil { clientError = give(down, to: client) }
            takeEvents()
        }
    }

    var serverMessages: [[UInt8]] { Self.messages(serverEvents) }
    var clientMessages: [[UInt8]] { Self.messages(clientEvents) }

    private static func messages(_ events: [TransportEvent]) -> [[UInt8]] {
        events.compactMap { if case .message(let payload) = $0 { payload } else { nil } }
    }

    var isReady: Bool { client.isReady && server.isReady }
}
