@testable import SSH
import Testing

/// Peers that do not keep to the protocol, and somebody between two that do.
@Suite struct TransportAttackTests {
    static let ciphers = AlgorithmPreferences.supportedCiphers

    /// A packet without encryption.
    private func packet(_ payload: [UInt8], padding: Int? = nil, length: UInt32? = nil) -> [UInt8] {
        let filling = padding ?? (16 - (5 + payload.count) % 8)
        var writer = WireWriter()
        writer.uint32(length ?? UInt32(payload.count + filling + 1))
        writer.byte(UInt8(truncatingIfNeeded: filling))
        writer.raw(payload)
        writer.raw([UInt8](repeating: 0, count: filling))
        return writer.bytes
    }

    private func server(_ change: (inout TransportConfiguration) -> Void = { _ in }) throws -> Transport {
        var configuration = TransportConfiguration(role: .server)
        configuration.hostKeys = [try PrivateKey(ed25519Seed: TransportPair.seed)]
        change(&configuration)
        return Transport(configuration, random: .repeatable(4), now: 0)
    }

    private func failure(_ transport: Transport, _ bytes: [UInt8]) -> SSHError? {
        bytes.withUnsafeBytes { bytes in
            do throws(SSHError) { try transport.receive(bytes, now: 0) } catch { return error }
            return nil
        }
    }

    private let hello = Array("SSH-2.0-peer\r\n".utf8)

    /// SSH_MSG_KEXINIT of a client.
    private func initialisation(
        keyExchange: String = "curve25519-sha256", hostKey: String = "ssh-ed25519", cipher: String = "aes128-ctr", guess: Bool = false
    ) -> [UInt8] {
        var writer = WireWriter(message: 20)
        writer.raw([UInt8](repeating: 5, count: 16))
        for list in [keyExchange, hostKey, cipher, cipher, "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""] { writer.text(list) }
        writer.boolean(guess)
        writer.uint32(0)
        return writer.bytes
    }

    private func clientKey(_ bytes: [UInt8]) -> [UInt8] {
        var writer = WireWriter(message: 30)
        writer.string(bytes)
        return writer.bytes
    }

    @Test func identificationsThatAreNone() throws {
        for bad in [
            "GET / HTTP/1.1\r\n", "\r\n", "SSH-1.5-old\r\n", "SSH-1.99-old\r\n", "SSH-2.0\r\n", "SSH-2.0-a\u{7}\r\n", "SSH-2.0-ä\n",
            "SSH-2.0-" + String(repeating: "a", count: 250) + "\r\n", String(repeating: "a", count: 256),
        ] {
            #expect(failure(try server(), Array(bad.utf8)) != nil, "\(bad)")
        }
        let longest = "SSH-2.0-" + String(repeating: "a", count: 245) + "\r\n"
        #expect(failure(try server(), Array(longest.utf8)) == nil)
        #expect(failure(try server(), Array("SSH-2.0-\n".utf8)) == nil)
        func client() -> Transport { Transport(TransportConfiguration(role: .client), random: .repeatable(4), now: 0) }
        #expect(failure(client(), Array("hello\r\nSSH-1.99-peer\r\n".utf8)) == nil)
        #expect(failure(client(), [UInt8](repeating: 0x61, count: 9000)) != nil)
        #expect(failure(client(), [UInt8](repeating: 0x0a, count: 9000)) != nil)
    }

    @Test func lengthsAndPaddingThatCannotBe() throws {
        #expect(failure(try server(), hello + packet(initialisation())) == nil)
        let ignore: [UInt8] = [2, 0, 0, 0, 0]
        #expect(failure(try server(), hello + packet(ignore)) == nil)
        for length in [UInt32(0), 1, 5, 11, 13, 35_001, 35_004, 1 << 31, .max, .max - 3] {
            #expect(failure(try server(), hello + packet(ignore, length: length))?.operation == "read packet", "\(length)")
        }
        // 12 + 4 bytes with a padding of 3, of all, and of more than all.
        for padding in [UInt8(0), 3, 11, 12, 255] {
            var bad = packet([2, 0, 0, 0, 0, 0, 0], padding: 4)
            #expect(bad.count == 16)
            bad[4] = padding
            #expect(failure(try server(), hello + bad) != nil, "\(padding)")
        }
    }

    /// Each of them at each place: the transport ends, or goes on, and never traps.
    @Test func messagesOutOfPlace() throws {
        let secret = RandomSource.repeatable(8).bytes(32)
        let good = [initialisation(), clientKey(secret), [21]]
        for stage in 0...2 {
            for number in UInt8(0)...255 {
                for body in [[], [0, 0, 0, 1], [UInt8](repeating: 0xff, count: 40)] as [[UInt8]] {
                    let transport = try server()
                    var bytes = hello
                    for message in good[..<stage] { bytes += packet(message) }
                    bytes += packet([number] + body)
                    let error = failure(transport, bytes)
                    let completes = number == 21 && stage == 2 && body.isEmpty
                    #expect((error == nil) == (isHarmless(number) || completes), "\(number) at \(stage)")
                    #expect(transport.isReady == completes && (transport.isClosed == (error != nil || number == 1)))
                }
            }
        }
    }

    /// Left out, or answered by SSH_MSG_UNIMPLEMENTED; 1 ends the connection without an error.
    private func isHarmless(_ number: UInt8) -> Bool { number <= 2 || (8...19).contains(number) || (22...29).contains(number) }

    /// A server that says what it must not say before it has proved who it is.
    @Test func messagesOutOfPlaceForAClient() throws {
        for stage in 0...1 {
            for number in UInt8(0)...255 {
                for body in [[], [0, 0, 0, 1], [UInt8](repeating: 0xff, count: 40)] as [[UInt8]] {
                    let client = Transport(TransportConfiguration(role: .client), random: .repeatable(4), now: 0)
                    let bytes = hello + (stage == 1 ? packet(initialisation()) : []) + packet([number] + body)
                    let error = failure(client, bytes)
                    #expect((error == nil) == isHarmless(number), "\(number) at \(stage)")
                    #expect(!client.isReady)
                    while let event = client.nextEvent() {
                        guard case .disconnected = event else { Issue.record("\(event)"); continue }
                    }
                }
            }
        }
    }

    /// From its SSH_MSG_KEXINIT to its SSH_MSG_NEWKEYS a peer has nothing else to say (RFC 4253, 7.1), in a later exchange either.
    @Test func messagesWhileKeysAreReplaced() throws {
        for number in [UInt8(5), 50, 80, 94, 255] {
            let pair = try TransportPair()
            pair.run()
            pair.server.send([52])
            pair.run()
            pair.client.rekey()
            try pair.client.seal([number, 0, 0, 0, 0], number)
            pair.run()
            #expect(pair.serverError?.description == "receive message \(number): keys are being exchanged")
            #expect(pair.serverMessages.isEmpty)
        }
    }

    @Test func everyCutOfTheFirstMessages() throws {
        let message = initialisation()
        for end in 1..<message.count { #expect(failure(try server(), hello + packet(Array(message[..<end]))) != nil, "\(end)") }
        #expect(failure(try server(), hello + packet(message + [0])) != nil)
        let key = clientKey([UInt8](repeating: 9, count: 32))
        for end in 1..<key.count {
            #expect(failure(try server(), hello + packet(message) + packet(Array(key[..<end]))) != nil, "\(end)")
        }
        #expect(failure(try server(), hello + packet(message) + packet(key)) == nil)
    }

    /// Points for which everybody knows what comes out (RFC 7748, 6.1), and points that are on no curve.
    @Test func keysThatMakeTheSecretKnown() throws {
        let low = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ]
        for point in low {
            let error = failure(try server(), hello + packet(initialisation()) + packet(clientKey(bytes(hexadecimal: point))))
            #expect(error?.cause == "the peer's key is of low order", "\(point)")
        }
        for bad in [[], [UInt8](repeating: 9, count: 31), [UInt8](repeating: 9, count: 33)] {
            #expect(failure(try server(), hello + packet(initialisation()) + packet(clientKey(bad)))?.operation == "exchange keys")
        }
        let nist = initialisation(keyExchange: "ecdh-sha2-nistp256")
        let point = try PrivateKey(ecdsaP256Scalar: [3]).publicKey.blob.suffix(65)
        #expect(failure(try server(), hello + packet(nist) + packet(clientKey(Array(point)))) == nil)
        var off = Array(point)
        off[64] ^= 1
        for bad in [off, [0], [4], [4] + [UInt8](repeating: 0, count: 64), Array(point.dropLast())] {
            let error = failure(try server(), hello + packet(nist) + packet(clientKey(bad)))
            #expect(error?.cause == "the peer's key is no point of the curve")
        }
    }

    /// A client may send the method's first message on a guess; a wrong one is left out (RFC 4253, 7.1).
    @Test func aGuess() throws {
        let key = clientKey(RandomSource.repeatable(8).bytes(32))
        func pending(_ bytes: [UInt8]) throws -> Int {
            let transport = try server()
            #expect(failure(transport, bytes) == nil)
            return transport.pendingOutput
        }
        let right = try pending(hello + packet(initialisation(guess: true)) + packet(key))
        let wrong = initialisation(keyExchange: "curve25519-sha256@libssh.org,curve25519-sha256", guess: true)
        let ignored = try pending(hello + packet(wrong) + packet(clientKey([1, 2, 3])))
        #expect(right > ignored + 100)
        #expect(try pending(hello + packet(wrong) + packet(clientKey([1, 2, 3])) + packet(key)) > ignored + 100)
    }

    /// Any bit of any packet, with every cipher: the connection ends, and what was changed is not delivered.
    @Test(arguments: ciphers) func aChangedBit(_ cipher: String) throws {
        var bit = 0
        var size = 1
        while bit < size * 8 {
            let pair = try TransportPair(client: { $0.algorithms.ciphers = [cipher] })
            pair.run()
            pair.client.send([90, 1, 2, 3, 4, 5, 6, 7, 8, 9])
            pair.fromClient = { bytes in
                size = bytes.count
                var bytes = bytes
                bytes[bit / 8] ^= 1 << (bit % 8)
                return bytes
            }
            var sent = TransportPair.taken(pair.client)
            sent = pair.fromClient(sent)
            var error = pair.give(sent, to: pair.server)
            // A length that grew makes the server wait for more, and what comes then is not what it was.
            for _ in 0..<40 where error == nil { error = pair.give([UInt8](repeating: 0, count: 1000), to: pair.server) }
            #expect(error != nil, "bit \(bit)")
            #expect(pair.serverMessages.isEmpty)
            bit += 5
        }
    }

    /// Packets that come twice, not at all, or in another order.
    @Test(arguments: ciphers) func packetsMovedAbout(_ cipher: String) throws {
        func deliver(_ order: [Int]) throws -> (error: SSHError?, messages: Int) {
            let pair = try TransportPair(client: { $0.algorithms.ciphers = [cipher] })
            pair.run()
            let packets = (UInt8(0)..<3).map { number -> [UInt8] in
                pair.client.send([90, number])
                return TransportPair.taken(pair.client)
            }
            let error = pair.give(order.flatMap { packets[$0] }, to: pair.server)
            return (error, pair.serverMessages.count)
        }
        #expect(try deliver([0, 1, 2]) == (nil, 3))
        for order in [[0, 0], [1], [0, 2], [0, 1, 1], [2, 1, 0]] {
            let (error, messages) = try deliver(order)
            #expect(error != nil, "\(order)")
            #expect(messages <= 2)
        }
    }

    /// What one connection sent means nothing in another.
    @Test func aReplayedHandshake() throws {
        var recorded: [[UInt8]] = []
        let first = try TransportPair()
        first.fromClient = { bytes in
            recorded.append(bytes)
            return bytes
        }
        first.run()
        first.client.send([90, 1])
        first.run()
        #expect(first.serverMessages.count == 1)
        var configuration = TransportConfiguration(role: .server)
        configuration.hostKeys = [try PrivateKey(ed25519Seed: TransportPair.seed)]
        let second = Transport(configuration, random: .repeatable(77), now: 0)
        let error = failure(second, recorded.flatMap { $0 })
        #expect(error?.operation == "read packet")
        var messages = 0
        while let event = second.nextEvent() { if case .message = event { messages += 1 } }
        #expect(messages == 0)
    }

    /// Terrapin (CVE-2023-48795): SSH_MSG_IGNORE is put in before the keys are used, and as many packets are cut off after it.
    @Test(arguments: ciphers) func aPacketPutIntoTheFirstExchange(_ cipher: String) throws {
        for (isFirst, towardsClient) in [(true, true), (false, true), (true, false), (false, false)] {
            let pair = try TransportPair(client: { $0.algorithms.ciphers = [cipher] })
            var count = 0
            let insert: ([UInt8]) -> [UInt8] = { [self] bytes in
                guard !bytes.isEmpty else { return bytes }
                count += 1
                if isFirst ? count == 1 : count == 2 {
                    // After the identification, or after SSH_MSG_KEXINIT.
                    let end = isFirst ? (bytes.firstIndex(of: 0x0a) ?? 0) + 1 : firstPacketEnd(bytes)
                    return bytes[..<end] + packet([2, 0, 0, 0, 0]) + bytes[end...]
                }
                return bytes
            }
            if towardsClient { pair.fromServer = insert } else { pair.fromClient = insert }
            pair.run()
            #expect((towardsClient ? pair.clientError : pair.serverError)?.reason == .keyExchangeFailed)
            #expect(!pair.isReady)
        }
    }

    private func firstPacketEnd(_ bytes: [UInt8]) -> Int {
        let start = bytes.starts(with: Array("SSH-".utf8)) ? (bytes.firstIndex(of: 0x0a) ?? 0) + 1 : 0
        return start + 4 + Int(bytes[start + 2]) << 8 + Int(bytes[start + 3])
    }

    /// The other half of that attack: the first packet with the new keys, the server's extensions, is cut off.
    @Test(arguments: ciphers) func theFirstPacketCutOff(_ cipher: String) throws {
        func receive(cut: Bool) throws -> SSHError? {
            let pair = try TransportPair(client: { $0.algorithms.ciphers = [cipher] })
            var extensions = 0
            pair.acceptsHostKey = false
            pair.fromServer = { bytes in
                // SSH_MSG_NEWKEYS is the last that is not encrypted; behind it are the extensions.
                guard let end = newKeysEnd(bytes) else { return bytes }
                extensions = bytes.count - end
                return cut ? Array(bytes[..<end]) : bytes
            }
            pair.run()
            #expect(extensions > 0)
            pair.client.acceptHostKey()
            pair.run()
            pair.fromServer = { $0 }
            // More than was cut off, so that nothing waits for the rest of it.
            for _ in 0..<20 { pair.server.send([91] + [UInt8](repeating: 1, count: 100)) }
            pair.run()
            return pair.clientError
        }
        #expect(try receive(cut: false) == nil)
        #expect(try receive(cut: true) != nil)
    }

    private func newKeysEnd(_ bytes: [UInt8]) -> Int? {
        let start: [UInt8] = [0, 0, 0, 12, 10, 21]
        return bytes.indices.first { bytes[$0...].starts(with: start) }.map { $0 + 16 }
    }

    @Test func signaturesOfSomebodyElse() throws {
        // The server's key is replaced on its way: the signature is not of it.
        let other = try PrivateKey(ed25519Seed: [UInt8](repeating: 9, count: 32)).publicKey.blob
        let own = try PrivateKey(ed25519Seed: TransportPair.seed).publicKey.blob
        let pair = try TransportPair()
        pair.fromServer = { bytes in
            guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: own) }) else { return bytes }
            return bytes[..<start] + other + bytes[(start + own.count)...]
        }
        pair.run()
        #expect(pair.clientError?.reason == .hostKeyNotVerifiable)
        #expect(pair.clientEvents.isEmpty)
    }

    @Test func aWeakHostKeyIsRefusedUnlessAllowed() throws {
        for allows in [false, true] {
            let pair = try TransportPair(
                hostKeys: [PrivateKey(text: shortRSAKey)], client: { $0.allowsWeakHostKeys = allows })
            pair.run()
            #expect(pair.isReady == allows)
            if !allows { #expect(pair.clientError?.cause.contains("512 bits") == true) }
        }
    }

    /// Nobody's memory is filled by messages that nobody takes, however small they are on the line.
    @Test func compressedBombs() throws {
        func pair() throws -> TransportPair {
            let pair = try TransportPair(
                server: { $0.compressionEnabled = true },
                client: {
                    $0.compressionEnabled = true
                })
            pair.run()
            pair.server.send([52])
            pair.run()
            return pair
        }
        let many = try pair()
        for _ in 0..<500 { many.client.send([94] + [UInt8](repeating: 0, count: 32_000)) }
        let sent = TransportPair.taken(many.client)
        #expect(sent.count < 50_000)
        #expect(failure(many.server, sent) == nil)
        // Some are opened, the others wait.
        #expect(many.server.isInsidePacket)
        var count = 0
        while let event = many.server.nextEvent() { if case .message = event { count += 1 } }
        #expect(count == 500)
        #expect(!many.server.isInsidePacket)
    }

    @Test func nobodyFillsTheMemory() throws {
        let pair = try TransportPair()
        pair.acceptsHostKey = false
        pair.run()
        var error: SSHError?
        var given = 0
        while error == nil, given < 8 << 20 {
            error = failure(pair.client, [UInt8](repeating: 0, count: 32 << 10))
            given += 32 << 10
        }
        #expect(error?.cause.contains("wait to be processed") == true)
        // A peer that makes the server answer, and takes no answer.
        let asking = try TransportPair()
        asking.run()
        error = nil
        var packets = 0
        while error == nil, packets < 300_000 {
            for _ in 0..<1000 { asking.client.send([19]) }
            packets += 1000
            error = failure(asking.server, TransportPair.taken(asking.client))
            while asking.server.nextEvent() != nil {}
        }
        #expect(error?.operation == "answer")
        #expect(asking.server.pendingOutput < 5 << 20)
    }

    @Test func anErrorStays() throws {
        let transport = try server()
        let error = failure(transport, Array("nonsense\n".utf8))
        #expect(error != nil)
        #expect(failure(transport, hello) == error)
        #expect(transport.isClosed)
        let pending = transport.pendingOutput
        transport.send([90])
        transport.rekey()
        transport.tick(now: 1 << 60)
        transport.acceptHostKey()
        transport.disconnect(SSHError(.byApplication, "", "", ""))
        #expect(transport.pendingOutput == pending)
        #expect(transport.nextEvent() == nil)
    }
}
