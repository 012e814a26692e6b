// Feeds the readers of SSH whatever libFuzzer makes up, and holds them to what they promise. A promise broken is a trap, which
// libFuzzer reports with the input that caused it.
@testable import SSH

/// The first byte chooses who reads the rest, the second how it is cut into chunks.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: start + 2, count: count - 2))
    let chunk = Int(start[1]) + 1
    switch start[0] % 8 {
    case 0: checkStream(.server, input, chunk)
    case 1: checkStream(.client, input, chunk)
    case 2, 3: checkMessages(start[0] % 2 == 0 ? .server : .client, input, chunk)
    case 4: checkPackets(input, chunk)
    case 5: checkInit(input)
    case 6: checkKey(input)
    default: checkKeyText(String(decoding: input, as: UTF8.self))
    }
    return 0
}

private var random: RandomSource { RandomSource { [UInt8](repeating: 0x5a, count: $0) } }

private func configuration(_ role: TransportConfiguration.Role) -> TransportConfiguration {
    var configuration = TransportConfiguration(role: role)
    if let key = try? PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32)) { configuration.hostKeys = [key] }
    configuration.compressionEnabled = true
    return configuration
}

private struct Heard: Equatable {
    var events: [TransportEvent] = []
    var error: SSHError?
    var answer: [UInt8] = []
}

private func hear(_ transport: Transport, _ stream: [UInt8], _ chunk: Int) -> Heard {
    var heard = Heard()
    var position = 0
    while position < stream.count, heard.error == nil {
        let end = position + min(chunk, stream.count - position)
        stream[position..<end].withUnsafeBytes { bytes in
            do throws(SSHError) { try transport.receive(bytes, now: 0) } catch { heard.error = error }
        }
        while let event = transport.nextEvent() {
            switch event {
            // Whether an error is thrown or told depends on what was received before the host key was accepted.
            case .failed(let error):
                precondition(heard.error == nil, "there are two errors")
                heard.error = error
                continue
            case .hostKey: transport.acceptHostKey()
            default: break
            }
            heard.events.append(event)
        }
        transport.withOutput {
            heard.answer += $0
            return $0.count
        }
        position = end
    }
    precondition(transport.pendingOutput < 4 << 20, "the answer is too long")
    return heard
}

/// Everything as it comes from the line: identification and packets that are not encrypted. The chunks do not matter, and nobody who
/// has exchanged no keys is heard.
private func checkStream(_ role: TransportConfiguration.Role, _ stream: [UInt8], _ chunk: Int) {
    let whole = hear(Transport(configuration(role), random: random, now: 0), stream, .max)
    precondition(whole == hear(Transport(configuration(role), random: random, now: 0), stream, chunk), "the result depends on the chunks")
    for event in whole.events {
        switch event {
        case .message, .extensions: preconditionFailure("a message is believed that was not protected")
        default: break
        }
    }
}

/// Messages that a peer with the right keys sends: of any number, after the key exchange. The first byte of each says how long it is.
private func checkMessages(_ role: TransportConfiguration.Role, _ input: [UInt8], _ chunk: Int) {
    let (peer, transport) = connected(role)
    var position = 0
    while position < input.count {
        let end = min(input.count, position + 1 + Int(input[position]))
        if position + 1 < end { peer.send(Array(input[(position + 1)..<end])) }
        position = end
    }
    var stream: [UInt8] = []
    peer.withOutput {
        stream = Array($0)
        return $0.count
    }
    _ = hear(transport, stream, chunk)
}

private func connected(_ role: TransportConfiguration.Role) -> (peer: Transport, transport: Transport) {
    let transport = Transport(configuration(role), random: random, now: 0)
    let peer = Transport(configuration(role == .server ? .client : .server), random: random, now: 0)
    for _ in 0..<6 {
        for (sender, receiver) in [(peer, transport), (transport, peer)] {
            var bytes: [UInt8] = []
            sender.withOutput {
                bytes = Array($0)
                return $0.count
            }
            for event in receive(bytes, receiver) { if case .hostKey = event { receiver.acceptHostKey() } }
        }
    }
    precondition(peer.isReady && transport.isReady, "the peers do not come together")
    return (peer, transport)
}

private func receive(_ bytes: [UInt8], _ transport: Transport) -> [TransportEvent] {
    bytes.withUnsafeBytes { bytes in
        do throws(SSHError) { try transport.receive(bytes, now: 0) } catch { preconditionFailure("the peers do not come together") }
    }
    var events: [TransportEvent] = []
    while let event = transport.nextEvent() { events.append(event) }
    return events
}

/// Packets with known keys: whatever is put where an encrypted packet is expected, nothing is opened, and it does not trap.
private func checkPackets(_ input: [UInt8], _ chunk: Int) {
    guard let first = input.first else { return }
    let suites: [CipherSuite] = [
        .chacha20Poly1305, .gcm(keySize: 16), .gcm(keySize: 32), .counter(keySize: 16, macOfCiphertext: true),
        .counter(keySize: 32, macOfCiphertext: false),
    ]
    let suite = suites[Int(first) % suites.count]
    let cipher = suite.makeCipher(
        key: [UInt8](repeating: 1, count: suite.keySize), initialVector: [UInt8](repeating: 2, count: suite.initialVectorSize),
        macKey: [UInt8](repeating: 3, count: suite.macKeySize))
    let transport = Transport(configuration(.server), random: random, now: 0)
    let hello = Array("SSH-2.0-fuzzer\r\n".utf8)
    precondition(hear(transport, hello, .max).error == nil)
    transport.receiving.replaceKeys(cipher, compression: "none", isStrict: true)
    let heard = hear(transport, Array(input.dropFirst()), chunk)
    precondition(heard.events.isEmpty, "a packet without a right tag is believed")
}

/// A message that was understood means the same when it is written again.
private func checkInit(_ input: [UInt8]) {
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

private func checkKey(_ input: [UInt8]) {
    if let key = try? PublicKey(blob: input) {
        precondition(key.blob == input)
        guard let again = try? PublicKey(line: key.line) else { preconditionFailure("a key's own line is not understood") }
        precondition(again == key)
    }
    // A signature that somebody made up: the first byte chooses the key.
    guard let first = input.first, !verifiers.isEmpty else { return }
    let key = verifiers[Int(first) % verifiers.count]
    for algorithm in key.signatureAlgorithms {
        var signature = WireWriter()
        signature.text(algorithm)
        signature.string(Array(input.dropFirst()))
        precondition(
            !key.verify(signature: signature.bytes, algorithm: algorithm, data: [1], allowsWeak: true), "a signature out of nothing")
    }
}

private let verifiers: [PublicKey] = {
    let keys = [try? PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32)), try? PrivateKey(ecdsaP256Scalar: [7])]
    return keys.compactMap { $0?.publicKey }
}()

/// A key that was understood can be written, and is the same when read again; and it signs.
private func checkKeyText(_ text: String) {
    _ = try? PublicKey(line: text)
    guard let key = try? PrivateKey(text: text) else { return }
    guard let again = try? PrivateKey(text: key.openSSHText(comment: "")) else { preconditionFailure("a key's own text is not understood") }
    precondition(again.publicKey == key.publicKey)
    for algorithm in key.signatureAlgorithms {
        guard let signature = try? key.sign([1, 2, 3], algorithm: algorithm, random: random) else {
            preconditionFailure("a key does not sign")
        }
        precondition(key.publicKey.verify(signature: signature, algorithm: algorithm, data: [1, 2, 3], allowsWeak: true))
    }
}
