import SSH
import Testing

@Suite struct TransportTests {
    @Test func everythingIsAgreedOnAndTold() throws {
        let pair = try TransportPair()
        pair.run()
        #expect(pair.isReady)
        #expect(pair.client.sessionID == pair.server.sessionID)
        #expect(pair.client.sessionID.count == 32)
        #expect(pair.client.peerSoftware == "server")
        #expect(pair.server.peerSoftware == "client")
        #expect(pair.client.negotiated == pair.server.negotiated)
        #expect(pair.client.negotiated.keyExchange == "curve25519-sha256")
        #expect(pair.client.negotiated.hostKey == "ssh-ed25519")
        #expect(pair.client.negotiated.clientToServer.cipher == "chacha20-poly1305@openssh.com")
        #expect(pair.client.negotiated.clientToServer.mac == "")
        let key = try PrivateKey(ed25519Seed: TransportPair.seed).publicKey
        #expect(pair.clientEvents == [.hostKey(key), .ready(sessionID: pair.client.sessionID), .extensions])
        #expect(pair.serverEvents == [.ready(sessionID: pair.server.sessionID)])
        #expect(pair.client.peerSignatureAlgorithms == ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"])
        #expect(pair.server.peerSignatureAlgorithms == nil)
    }

    /// Every method with every cipher, MAC and compression, and each host key, cut at random: messages of many sizes both ways, a
    /// key exchange in between, and the delayed compression's beginning.
    @Test(arguments: AlgorithmPreferences.supportedKeyExchange, AlgorithmPreferences.supportedCiphers)
    func allCombinations(_ keyExchange: String, _ cipher: String) throws {
        let hostKeys = try [PrivateKey(ed25519Seed: TransportPair.seed), PrivateKey(ecdsaP256Scalar: [9]), PrivateKey(text: shortRSAKey)]
        for hostKey in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "ssh-rsa"] {
            for mac in AlgorithmPreferences.supportedMACs.prefix(cipher.hasSuffix("ctr") ? 2 : 1) {
                for compression in AlgorithmPreferences.supportedCompression {
                    let pair = try TransportPair(
                        hostKeys: hostKeys, server: { $0.compressionEnabled = true },
                        client: {
                            $0.allowsWeakHostKeys = true
                            $0.compressionEnabled = true
                            $0.algorithms.keyExchange = [keyExchange]
                            $0.algorithms.hostKey = [hostKey]
                            $0.algorithms.ciphers = [cipher]
                            $0.algorithms.macs = [mac]
                            $0.algorithms.compression = [compression]
                        })
                    try converse(pair)
                    let agreed = pair.client.negotiated
                    #expect(agreed.keyExchange == keyExchange)
                    #expect(agreed.hostKey == hostKey)
                    for direction in [agreed.clientToServer, agreed.serverToClient] {
                        #expect(direction.cipher == cipher)
                        #expect(direction.mac == (cipher.hasSuffix("ctr") ? mac : ""))
                        #expect(direction.compression == compression)
                    }
                }
            }
        }
    }

    private static let squares = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }

    private func converse(_ pair: TransportPair) throws {
        var random = Int64(11)
        pair.chunk = {
            random = (random &* 1_103_515_245 &+ 12_345) & 0x7fff_ffff
            return Int(random >> 8) % 700 + 1
        }
        pair.run()
        try #require(pair.isReady, "\(String(describing: pair.clientError)) \(String(describing: pair.serverError))")
        var (sent, received) = ([[UInt8]](), [[UInt8]]())
        func talk() {
            for size in [1, 2, 8, 15, 16, 17, 255, 256, 4000, 32_768 + 13] {
                let up = [90] + Self.squares.prefix(size)
                let down = [91] + [UInt8](repeating: UInt8(size & 0xff), count: size - 1)
                pair.client.send(up)
                pair.server.send(down)
                sent.append(up)
                received.append(down)
            }
        }
        talk()
        pair.run()
        // The user is authenticated.
        pair.server.send([52])
        received.append([52])
        pair.run()
        talk()
        pair.client.rekey()
        talk()
        pair.run()
        talk()
        pair.run()
        #expect(pair.serverMessages == sent)
        #expect(pair.clientMessages == received)
        #expect(pair.clientError == nil && pair.serverError == nil)
    }

    @Test func compressionMakesItLess() throws {
        func size(_ compression: String, after authentication: Bool) throws -> Int {
            let pair = try TransportPair(
                server: { $0.compressionEnabled = true },
                client: {
                    $0.compressionEnabled = true
                    $0.algorithms.compression = [compression]
                })
            pair.run()
            if authentication { pair.server.send([52]) }
            pair.run()
            pair.client.send([94] + [UInt8](repeating: 1, count: 30_000))
            return pair.client.pendingOutput
        }
        #expect(try size("none", after: true) > 30_000)
        #expect(try size("zlib@openssh.com", after: false) > 30_000)
        #expect(try size("zlib@openssh.com", after: true) < 300)
    }

    @Test func peersWithoutACommonAlgorithmSaySo() throws {
        let changes: [(String, (inout TransportConfiguration) -> Void)] = [
            ("key exchange", { $0.algorithms.keyExchange = ["ecdh-sha2-nistp256"] }),
            ("host key", { $0.algorithms.hostKey = ["ecdsa-sha2-nistp256"] }),
            ("cipher", { $0.algorithms.ciphers = ["aes128-ctr"] }),
            ("MAC", { $0.algorithms.macs = ["hmac-sha2-256"] }),
            ("compression", { ($0.compressionEnabled, $0.algorithms.compression) = (true, ["lzma"]) }),
        ]
        for (kind, change) in changes {
            let pair = try TransportPair(
                server: {
                    $0.algorithms.keyExchange = ["curve25519-sha256"]
                    $0.algorithms.ciphers = kind == "MAC" ? ["aes256-ctr"] : ["aes256-gcm@openssh.com"]
                    $0.algorithms.macs = ["hmac-sha2-256-etm@openssh.com"]
                }, client: change)
            pair.run()
            let errors = [pair.clientError, pair.serverError].compactMap { $0 }
            #expect(errors.contains { $0.operation == "agree on" && $0.object == kind && $0.reason == .keyExchangeFailed }, "\(kind)")
            #expect(!pair.client.isReady && !pair.server.isReady)
        }
    }

    @Test func theHostKeyIsAskedForOnceAndWaitedFor() throws {
        let pair = try TransportPair()
        pair.acceptsHostKey = false
        pair.run()
        #expect(pair.clientEvents.count == 1)
        #expect(!pair.client.isReady && !pair.server.isReady)
        pair.client.acceptHostKey()
        pair.run()
        #expect(pair.isReady)
        pair.server.send([52])
        pair.run()
        pair.client.rekey()
        pair.run()
        pair.server.rekey()
        pair.run()
        pair.client.send([90])
        pair.run()
        #expect(pair.serverMessages == [[90]])
        #expect(pair.clientEvents.count { if case .hostKey = $0 { true } else { false } } == 1)
        #expect(pair.clientEvents.count { if case .ready = $0 { true } else { false } } == 1)
    }

    @Test func bothSidesBeginToReplaceKeysAtOnce() throws {
        let pair = try TransportPair()
        pair.run()
        let session = pair.client.sessionID
        pair.client.rekey()
        pair.server.rekey()
        pair.client.send([90, 1])
        pair.server.send([91, 2])
        #expect(pair.client.queuedPayloadBytes == 2)
        pair.run()
        #expect(pair.client.queuedPayloadBytes == 0)
        #expect(pair.serverMessages == [[90, 1]] && pair.clientMessages == [[91, 2]])
        #expect(pair.client.sessionID == session && pair.server.sessionID == session)
    }

    @Test func dataOnItsWayIsStillDelivered() throws {
        let pair = try TransportPair()
        pair.run()
        pair.server.send([52])
        pair.run()
        pair.clientEvents = []
        for number in UInt8(0)..<20 { pair.server.send([91, number]) }
        let onItsWay = TransportPair.taken(pair.server)
        pair.client.rekey()
        let initialisation = TransportPair.taken(pair.client)
        #expect(pair.give(onItsWay, to: pair.client) == nil)
        #expect(pair.clientMessages.count == 20)
        #expect(pair.give(initialisation, to: pair.server) == nil)
        pair.run()
        pair.server.send([91, 20])
        pair.run()
        #expect(pair.clientMessages == (UInt8(0)...20).map { [91, $0] })
    }

    /// 64 MiB each way, with new keys after each MiB.
    @Test(arguments: ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"]) func muchDataWithManyKeys(_ cipher: String) throws {
        let pair = try TransportPair(server: { $0.rekeyBytes = 1 << 20 }, client: { $0.algorithms.ciphers = [cipher] })
        pair.run()
        pair.server.send([52])
        let count = 2048
        var (up, down) = (0, 0)
        for number in 0..<count {
            var payload = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 32 << 10)
            payload[0] = 94
            pair.client.send(payload)
            pair.server.send(payload)
            pair.run()
            for message in pair.serverMessages where message == payload { up += 1 }
            for message in pair.clientMessages where message == payload { down += 1 }
            pair.serverEvents = []
            pair.clientEvents = []
        }
        #expect(up == count && down == count)
        #expect(pair.clientError == nil && pair.serverError == nil)
    }

    @Test func keysAreReplacedInTime() throws {
        let pair = try TransportPair(client: { $0.rekeyMilliseconds = 1000 })
        pair.run()
        // OpenSSH does not replace keys while it authenticates.
        #expect(pair.client.nextDeadline == nil)
        pair.client.tick(now: 999_999_999)
        pair.server.send([52])
        pair.run()
        let deadline = try #require(pair.client.nextDeadline)
        #expect(deadline == 1_000_000_000)
        pair.client.tick(now: deadline - 1)
        #expect(pair.client.pendingOutput == 0)
        pair.client.tick(now: deadline)
        #expect(pair.client.pendingOutput > 0)
        #expect(pair.client.nextDeadline == deadline + 120_000_000_000)
        pair.now = deadline
        pair.run()
        pair.client.send([90])
        pair.run()
        #expect(pair.serverMessages == [[90]])
        #expect(pair.client.nextDeadline == deadline + 1_000_000_000)
    }

    /// While keys are replaced nothing else is sent: a peer that loses a message of it must not make that last for ever.
    @Test func everyKeyExchangeHasADeadline() throws {
        for isServer in [false, true] {
            let pair = try TransportPair(
                server: { $0.handshakeMilliseconds = 5 }, client: { $0.handshakeMilliseconds = 5 })
            pair.run()
            pair.server.send([52])
            pair.run()
            let transport = isServer ? pair.server : pair.client
            transport.tick(now: 70_000_000)
            #expect(!transport.isClosed)
            transport.rekey()
            transport.send([94])
            #expect(transport.queuedPayloadBytes == 1 && transport.nextDeadline == 75_000_000)
            transport.tick(now: 74_999_999)
            #expect(!transport.isClosed)
            transport.tick(now: 75_000_000)
            #expect(transport.isClosed && transport.nextDeadline == nil)
            #expect(transport.nextEvent() == .failed(SSHError(.connectionLost, "exchange keys", "", "it is not complete after 5 ms")))
        }
    }

    /// Keys, and the work that they are, are for those who have logged in.
    @Test func keysAreNotReplacedBeforeTheLogIn() throws {
        let pair = try TransportPair()
        pair.run()
        pair.client.rekey()
        pair.run()
        #expect(pair.serverError?.description == "exchange keys: SSH_MSG_KEXINIT comes before the log-in")
    }

    @Test func aHandshakeThatTakesTooLongEnds() throws {
        let pair = try TransportPair(server: { $0.handshakeMilliseconds = 5 })
        #expect(pair.server.nextDeadline == 5_000_000)
        pair.server.tick(now: 4_999_999)
        #expect(!pair.server.isClosed)
        pair.server.tick(now: 5_000_000)
        #expect(pair.server.isClosed && pair.server.nextDeadline == nil)
        pair.takeEvents()
        #expect(pair.serverEvents == [.failed(SSHError(.connectionLost, "exchange keys", "", "it is not complete after 5 ms"))])
        pair.run()
        #expect(pair.clientEvents.count == 1)
        guard case .disconnected(reason: 10, text: _)? = pair.clientEvents.first else {
            Issue.record("the client is not told why")
            return
        }
    }

    @Test func whatTheTransportSaysItself() throws {
        let pair = try TransportPair()
        pair.run()
        pair.serverEvents = []
        var debug = WireWriter(message: 4)
        debug.boolean(true)
        debug.text("a word")
        debug.text("")
        pair.client.send(debug.bytes)
        pair.client.send([2, 0, 0, 0, 1, 7])
        pair.client.send([19])
        pair.run()
        #expect(pair.serverEvents == [.debug(alwaysDisplay: true, text: "a word")])
        // In strict key exchange, numbers begin anew with the keys.
        #expect(pair.clientEvents.last == .unimplemented(2))
        pair.client.send([200, 1])
        pair.client.send([201, 1])
        pair.run()
        pair.server.answerUnimplemented()
        pair.run()
        #expect(pair.clientEvents.last == .unimplemented(4))
        pair.client.disconnect(SSHError(.byApplication, "leave", "", "enough"))
        pair.run()
        #expect(pair.serverEvents.last == .disconnected(reason: 11, text: "leave: enough"))
        pair.server.send([90])
        #expect(pair.server.pendingOutput == 0)
    }

    @Test func aMessageThatIsTooLongEndsTheConnection() throws {
        let pair = try TransportPair()
        pair.run()
        pair.client.send([90] + [UInt8](repeating: 0, count: Transport.maximumPayload))
        #expect(pair.client.isClosed)
        pair.run()
        guard case .failed? = pair.clientEvents.last, case .disconnected? = pair.serverEvents.last else {
            Issue.record("the end is not told")
            return
        }
    }

    /// A server may say something before its identification, and says so in lines.
    @Test func aGreetingIsSkipped() throws {
        let pair = try TransportPair()
        pair.chunk = { 3 }
        pair.fromServer = { Array("Welcome\r\n\nto SSH-1.0\n".utf8) + $0 }
        let greeting = pair.fromServer
        pair.fromServer = { bytes in
            pair.fromServer = { $0 }
            return greeting(bytes)
        }
        pair.run()
        #expect(pair.isReady)
    }
}
