@testable import SSH

var random: RandomSource { RandomSource { [UInt8](repeating: 0x5a, count: $0) } }

/// Without a method on which both sides could agree: what would follow is not cheap.
private func configuration(_ role: TransportConfiguration.Role) -> TransportConfiguration {
    var configuration = TransportConfiguration(role: role)
    configuration.algorithms.keyExchange = []
    configuration.compressionEnabled = true
    return configuration
}

private struct Heard: Equatable {
    var events: [TransportEvent] = []
    var error: SSHError?
    var answer: [UInt8] = []

    var messages: [[UInt8]] { events.compactMap { if case .message(let payload) = $0 { payload } else { nil } } }
}

private func output(_ transport: Transport) -> [UInt8] {
    var bytes: [UInt8] = []
    transport.withOutput {
        bytes = Array($0)
        return $0.count
    }
    return bytes
}

private func hear(_ transport: Transport, _ stream: [UInt8], _ chunk: Int) -> Heard {
    var heard = Heard()
    var position = 0
    while position < stream.count, heard.error == nil {
        let end = position + min(chunk, stream.count - position)
        stream[position..<end].withUnsafeBytes { bytes in
            do throws(SSHError) { try transport.receive(bytes, now: 0) } catch { heard.error = error }
        }
        while let event = transport.nextEvent() { heard.events.append(event) }
        heard.answer += output(transport)
        position = end
    }
    precondition(heard.error.map { !$0.operation.isEmpty && !$0.cause.isEmpty } ?? true, "an error that says nothing")
    precondition(heard.answer.count <= 4096 + 64 * stream.count, "the answer is too long")
    return heard
}

/// Everything as it comes from the line: identification and packets that are not encrypted. The chunks do not matter, and nobody who
/// has exchanged no keys is heard.
func checkStream(_ role: TransportConfiguration.Role, _ stream: [UInt8], chunk: Int) {
    let whole = hear(Transport(configuration(role), random: random, now: 0), stream, .max)
    precondition(whole == hear(Transport(configuration(role), random: random, now: 0), stream, chunk), "the result depends on the chunks")
    for event in whole.events {
        switch event {
        case .disconnected, .debug: break
        default: preconditionFailure("something is believed that was not protected")
        }
    }
}

private let suites: [CipherSuite] = [
    .chacha20Poly1305, .gcm(keySize: 16), .gcm(keySize: 32), .counter(keySize: 16, macOfCiphertext: true),
    .counter(keySize: 32, macOfCiphertext: false),
]

private func cipher(_ suite: CipherSuite) -> PacketCipher {
    suite.makeCipher(
        key: [UInt8](repeating: 1, count: suite.keySize), initialVector: [UInt8](repeating: 2, count: suite.initialVectorSize),
        macKey: [UInt8](repeating: 3, count: suite.macKeySize))
}

/// A transport as it is after its first key exchange, and where compression is in use, after the log-in.
private func connected(_ role: TransportConfiguration.Role, _ suite: CipherSuite, isCompressed: Bool = false) -> Transport {
    let transport = Transport(configuration(role), random: random, now: 0)
    precondition(hear(transport, Array("SSH-2.0-fuzzer\r\n".utf8), .max).error == nil, "an identification is refused")
    transport.exchange = nil
    transport.isReady = true
    transport.isAuthenticated = isCompressed
    let compression = isCompressed ? "zlib@openssh.com" : "none"
    transport.sending.replaceKeys(cipher(suite), compression: compression, isStrict: true)
    transport.receiving.replaceKeys(cipher(suite), compression: compression, isStrict: true)
    do throws(SSHError) {
        try transport.beginCompression()
        try transport.beginDecompression()
    } catch {
        preconditionFailure("zlib does not begin")
    }
    return transport
}

/// Messages of any number that a peer with the right keys sends; the first byte of each says how long it is. They arrive as they
/// were sent, up to the first that ends the connection, and no further than the first bit that was changed on the way.
///
/// - Parameter option: chooses cipher, compression, how the stream is cut, and whether a bit is changed.
func checkMessages(_ role: TransportConfiguration.Role, _ option: UInt8, _ input: [UInt8]) {
    let suite = suites[Int(option) % suites.count]
    let isCompressed = Int(option) / suites.count % 2 == 1
    let transport = connected(role, suite, isCompressed: isCompressed)
    let peer = connected(role == .server ? .client : .server, suite, isCompressed: isCompressed)
    let isChanged = option >= 128 && input.count >= 2
    var sent: [[UInt8]] = []
    var position = isChanged ? 2 : 0
    while position < input.count {
        let end = min(input.count, position + 1 + Int(input[position]))
        if position + 1 < end {
            sent.append(Array(input[(position + 1)..<end]))
            peer.send(Array(input[(position + 1)..<end]))
        }
        position = end
    }
    var stream = output(peer)
    precondition(!peer.isClosed, "a message is not sent")
    if isChanged, !stream.isEmpty { stream[(Int(input[0]) << 8 | Int(input[1])) % stream.count] ^= 1 << (option & 7) }
    let heard = hear(transport, stream, option & 32 == 0 ? .max : 1 + Int(option & 31))
    let expected = expected(sent)
    if isChanged {
        precondition(expected.messages.starts(with: heard.messages), "a message is believed that was changed")
    } else {
        precondition(heard.messages == expected.messages, "messages are lost or come out of nothing")
        precondition((heard.error != nil) == expected.fails, "what should end the connection does not, or the other way round")
        precondition(heard.error != nil || transport.isClosed || !transport.isInsidePacket, "something is left")
    }
}

/// A second opinion on what a transport makes of messages when no key exchange can succeed.
private func expected(_ sent: [[UInt8]]) -> (messages: [[UInt8]], fails: Bool) {
    var messages: [[UInt8]] = []
    for payload in sent {
        var reader = WireReader(payload, from: 1)
        switch payload[0] {
        case 1: return (messages, false)
        case 3: _ = reader.uint32()
        case 4: _ = (reader.boolean(), reader.string())
        case 7:
            let count = reader.uint32()
            if count > 128 { return (messages, true) }
            for _ in 0..<count { _ = (reader.string(), reader.string()) }
            if !reader.isComplete { return (messages, true) }
        case 20, 21, 30...49: return (messages, true)
        case 5, 6, 50...: messages.append(payload)
        default: break
        }
        if reader.hasFailed { return (messages, true) }
    }
    return (messages, false)
}

/// Whatever is put where an encrypted packet is expected, nothing is opened.
func checkPackets(_ option: UInt8, _ input: [UInt8]) {
    let transport = connected(.server, suites[Int(option) % suites.count])
    let heard = hear(transport, input, option < 128 ? .max : 1 + Int(option & 31))
    precondition(heard.events.isEmpty && transport.receiving.packets == 0, "a packet without a right tag is believed")
}

/// A message that was understood means the same when it is written again.
func checkInit(_ input: [UInt8]) {
    guard let lists = try? KeyExchangeInit([20] + input) else { return }
    guard let again = try? KeyExchangeInit(lists.payload(cookie: [UInt8](repeating: 0, count: 16))) else {
        // Names that are no UTF-8 grow when they are written.
        precondition(input.contains { $0 >= 0x80 }, "what was written is not understood")
        return
    }
    precondition(again == lists, "a message changes when written again")
    if let agreed = try? KeyExchangeInit.negotiate(client: lists, server: again) {
        precondition(lists.keyExchange.contains(agreed.keyExchange) && lists.hostKey.contains(agreed.hostKey))
    }
}
