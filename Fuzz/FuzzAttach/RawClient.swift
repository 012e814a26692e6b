@testable import SSH

/// An SSH client up to the log-in; then whoever has it says what it sends, and what comes is only counted.
struct RawClient {
    private let transport: Transport
    private var authentication: ClientAuthentication?
    private let user: String
    private(set) var isOver = false
    /// How often a message of each number came.
    private(set) var received: [UInt8: Int] = [:]
    /// The number that the server has given to the channel that it confirmed last.
    private(set) var channel: UInt32 = 0

    init(user: String, compresses: Bool, now: Int64) {
        var configuration = TransportConfiguration(role: .client, software: "OpenSSH_9.0")
        configuration.compressionEnabled = compresses
        transport = Transport(configuration, random: random, now: now)
        self.user = user
    }

    var isLoggedIn: Bool { authentication?.isComplete == true && !isOver }

    mutating func receive(_ bytes: [UInt8], now: Int64) {
        if isOver { return }
        bytes.withUnsafeBytes { bytes in
            do throws(SSHError) { try transport.receive(bytes, now: now) } catch { isOver = true }
        }
        while let event = transport.nextEvent() {
            switch event {
            case .hostKey: transport.acceptHostKey()
            case .ready(let session): authentication = ClientAuthentication(user: user, keys: [], sessionID: session, random: random)
            case .message(let payload): take(payload)
            case .disconnected, .failed: isOver = true
            case .unimplemented, .extensions, .debug: break
            }
        }
        while let payload = authentication?.nextPayload() { transport.send(payload) }
    }

    private mutating func take(_ payload: [UInt8]) {
        guard let number = payload.first else { return }
        received[number, default: 0] += 1
        if number >= 80 {
            if number == 91 {
                var reader = WireReader(payload, from: 5)
                channel = reader.uint32()
            }
            return
        }
        do throws(SSHError) { try authentication?.receive(payload, signatureAlgorithms: nil) } catch { isOver = true }
    }

    func send(_ payload: [UInt8]) { if isLoggedIn { transport.send(payload) } }

    func rekey() { if isLoggedIn { transport.rekey() } }

    /// The next bytes for the line, at most `limit`.
    func takeOutput(_ limit: Int) -> [UInt8] {
        var output: [UInt8] = []
        while output.count < limit, transport.pendingOutput > 0 {
            transport.withOutput { bytes in
                let part = bytes.prefix(limit - output.count)
                output += part
                return part.count
            }
        }
        return output
    }
}
