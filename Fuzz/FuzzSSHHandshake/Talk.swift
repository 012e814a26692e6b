@testable import SSH

/// A conversation of a transport with a ``Peer``, as the input has it: each byte says what comes next.
struct Talk {
    /// What a run came to.
    struct Outcome: Equatable {
        var events: [TransportEvent] = []
        var error: SSHError?
        var written: [UInt8] = []
    }

    private let transport: Transport
    private let peer: Peer
    private var steps: ArraySlice<UInt8>
    private let chunk: Int
    private var now: Int64 = 0
    private var outcome = Outcome()
    private var messages: [[UInt8]] = []
    private var sent: [[UInt8]] = []
    private var acceptsHostKey = true
    private var waitsForHostKey = false
    /// Whoever breaks the protocol may be shown the door, and nobody else.
    private var mayFail = false
    private var lastPacket: [UInt8] = []

    init(_ role: TransportConfiguration.Role, _ input: [UInt8], chunk: Int) {
        var configuration = TransportConfiguration(role: role)
        configuration.hostKeys = hostKeys
        configuration.compressionEnabled = true
        configuration.rekeyBytes = 4000
        transport = Transport(configuration, random: random, now: 0)
        peer = Peer(isServer: role == .client, input[0], input[1])
        steps = input[3...]
        self.chunk = chunk
    }

    mutating func run() -> Outcome {
        exchange()
        while let step = steps.popFirst(), outcome.error == nil, !transport.isClosed {
            take(step)
            exchange()
            precondition(transport.pendingOutput == 0 && messages.count <= peer.sent.count, "messages out of nothing")
        }
        precondition(mayFail || (outcome.error == nil && !transport.isClosed), "a peer is shown the door that has done nothing wrong")
        if peer.isConsistent, !peer.isIncomplete || peer.isStrict {
            precondition(peer.sent.starts(with: messages), "messages are lost, or come out of nothing")
            if !mayFail, !waitsForHostKey { precondition(messages == peer.sent, "messages are lost") }
            if !mayFail, transport.isReady, transport.exchange == nil {
                precondition(peer.received == sent, "messages are not sent, or come out of nothing")
            }
        } else {
            var rest = peer.sent[...]
            for message in messages {
                guard let index = rest.firstIndex(of: message) else { preconditionFailure("a message is believed that nobody sent") }
                rest = rest[(index + 1)...]
            }
        }
        return outcome
    }

    private mutating func take(_ step: UInt8) {
        let argument = Int(step >> 4)
        switch step & 15 {
        // As it should be, and so with the most codes: what comes next, with more messages in between.
        case 0...2:
            for _ in 0...argument { if let bytes = peer.nextStep() { deliver(bytes) } }
        case 3:
            mayFail = mayFail || !peer.isReady || peer.ownInit != nil
            deliver(peer.seal([UInt8](repeating: UInt8(argument), count: argument + 1).enumerated().map { $0 == 0 ? 94 : $1 }))
        case 4:
            let payload: [UInt8] = argument == 15 && transport.isServer && transport.isReady ? [52] : [98, UInt8(argument)]
            transport.send(payload)
            sent.append(payload)
        case 5: transport.rekey()
        case 6:
            mayFail = mayFail || !transport.isReady || transport.exchange != nil
            now += Int64(argument) * 400_000_000_000
            transport.tick(now: now)
        case 7:
            acceptsHostKey.toggle()
            if acceptsHostKey, waitsForHostKey {
                waitsForHostKey = false
                transport.acceptHostKey()
            }
        default:
            mayFail = true
            stray(step & 7, argument)
        }
    }

    /// What no peer should do.
    private mutating func stray(_ step: UInt8, _ argument: Int) {
        switch step {
        case 0:
            if peer.isReady { peer.isIncomplete = true } else { peer.isConsistent = false }
            deliver(changed(peer.identify(), argument))
        case 1: deliver(peer.seal(changed(peer.initPayload(), argument)))
        case 2: if let message = peer.methodMessage() { deliver(peer.seal(changed(message, argument))) }
        case 3: deliver(peer.newKeys())
        case 4:
            let payload = bytes()
            if !payload.isEmpty { deliver(peer.seal(payload)) }
        case 5:
            peer.isConsistent = false
            deliver(bytes())
        case 6:
            // A packet that is changed on its way, comes twice, or does not come.
            if argument == 0 {
                peer.isConsistent = false
                return deliver(lastPacket)
            }
            let packet = peer.seal([argument < 8 ? 2 : 94] + bytes())
            if argument & 1 == 0 {
                peer.isIncomplete = true
            } else {
                peer.isConsistent = false
                deliver(changed(packet, argument))
            }
        default: transport.disconnect(SSHError(.byApplication, "end", "", "it is enough"))
        }
    }

    /// Bytes of the input, as many as the first one says.
    private mutating func bytes() -> [UInt8] {
        let taken = steps.dropFirst().prefix(Int(steps.first ?? 0))
        steps = steps.dropFirst(1 + taken.count)
        return Array(taken)
    }

    /// Changes some bytes: how many is the argument; where and how, the input says.
    private mutating func changed(_ bytes: [UInt8], _ count: Int) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<count {
            guard let high = steps.popFirst(), let low = steps.popFirst(), let difference = steps.popFirst(), !bytes.isEmpty else { break }
            bytes[(Int(high) << 8 | Int(low)) % bytes.count] ^= difference
        }
        return bytes
    }

    private mutating func deliver(_ bytes: [UInt8]) {
        lastPacket = bytes
        var position = 0
        while position < bytes.count, outcome.error == nil {
            let end = position + min(chunk, bytes.count - position)
            bytes[position..<end].withUnsafeBytes { piece in
                do throws(SSHError) { try transport.receive(piece, now: now) } catch { outcome.error = error }
            }
            position = end
            takeEvents()
        }
        exchange()
    }

    private mutating func exchange() {
        takeEvents()
        var written: [UInt8] = []
        transport.withOutput {
            written = Array($0)
            return $0.count
        }
        outcome.written += written
        if !written.isEmpty { peer.receive(written) }
    }

    private mutating func takeEvents() {
        while let event = transport.nextEvent() {
            switch event {
            case .failed(let error):
                // Whether an error is thrown or told depends on what was received before the host key was accepted.
                precondition(outcome.error == nil, "there are two errors")
                outcome.error = error
                continue
            case .hostKey(let key):
                precondition(!peer.isConsistent || hostKeys.contains { $0.publicKey == key }, "a host key that nobody has")
                if acceptsHostKey { transport.acceptHostKey() } else { waitsForHostKey = true }
            case .ready(let sessionID):
                precondition(!peer.isConsistent || sessionID == peer.sessionID, "the two sides come to different sessions")
            case .message(let payload):
                precondition(transport.isReady, "a message is believed before there are keys")
                messages.append(payload)
            default: break
            }
            outcome.events.append(event)
        }
    }
}
