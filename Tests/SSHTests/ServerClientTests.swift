@testable import SSH
import Testing

/// Transport, authentication and connection together.
@Suite struct ServerClientTests {
    /// A server that accepts sessions and sends back what it gets, as data and as extended data.
    private func echo(_ server: SSHServer, _ event: ServerEvent) {
        guard case .connection(let event) = event else { return }
        switch event {
        case .opening(let id, _, _): server.connection.accept(id, window: 1 << 20)
        case .request(let id, _, _, let wantsReply): if wantsReply { server.connection.replyToRequest(id, success: true) }
        case .data(let id, let data):
            server.connection.send(data: data[...], on: id)
            server.connection.sendExtended(data: data.prefix(3), on: id)
            server.connection.grant(id, bytes: data.count)
        case .eof(let id):
            server.connection.request(id, .exitStatus(7))
            server.connection.sendEOF(id)
            server.connection.close(id)
        case .globalRequest(let name, let data, let wantsReply):
            if wantsReply { server.connection.replyToGlobalRequest(success: name == "echo", data: data) }
        default: break
        }
    }

    @Test(arguments: [1, 7, 1000, Int.max]) func aSession(chunk: Int) throws {
        let configurations = try ServerClientPair.configurations()
        let pair = ServerClientPair(configurations.server, configurations.client, chunk: chunk)
        pair.serve = echo
        // Before the log-in: it waits.
        let id = try pair.openSession()
        pair.client.connection.globalRequest(name: "echo", data: [1, 2], wantsReply: true)
        pair.client.connection.globalRequest(name: "keepalive@openssh.com", wantsReply: true)
        pair.run()
        let login = Login(user: "someone", method: "publickey", key: AuthorizedKey(try ServerClientPair.userKey().publicKey))
        #expect(pair.serverEvents.first == .authenticated(login))
        #expect(
            pair.clientEvents == [
                .authenticated(banner: ""), .connection(.opened(id, extra: [])), .connection(.globalReply(success: true, data: [1, 2])),
                .connection(.globalReply(success: false, data: [])),
            ])
        pair.clientEvents = []
        pair.client.connection.request(id, .shell, wantsReply: true)
        pair.client.connection.send(data: Array("hello".utf8)[...], on: id)
        pair.client.connection.sendEOF(id)
        pair.run()
        let events: [ConnectionEvent] = [
            .requestReply(id, success: true), .data(id, Array("hello".utf8)), .extendedData(id, type: 1, Array("hel".utf8)),
            .request(id, name: "exit-status", data: [0, 0, 0, 7], wantsReply: false), .eof(id), .closed(id),
        ]
        // A growing window is told somewhere between.
        let told = pair.clientEvents.filter { if case .connection(.windowAdjusted(id, _)) = $0 { false } else { true } }
        #expect(told == events.map { .connection($0) })
        #expect(pair.server.negotiated.clientToServer.cipher == pair.client.negotiated.clientToServer.cipher)
        pair.client.disconnect(SSHError(.byApplication, "run", "", "that was all"))
        pair.run()
        #expect(pair.serverEnd == .some(nil))
    }

    @Test func keysAreReplacedWhileDataFlows() throws {
        var configurations = try ServerClientPair.configurations()
        configurations.server.transport.rekeyBytes = 1 << 20
        configurations.client.transport.compressionEnabled = true
        configurations.server.transport.compressionEnabled = true
        let pair = ServerClientPair(configurations.server, configurations.client, chunk: 100_000)
        var received = 0
        pair.serve = { server, event in
            switch event {
            case .connection(.opening(let id, _, _)): server.connection.accept(id, window: 1 << 20)
            case .connection(.data(let id, let data)):
                for (offset, byte) in data.enumerated() where byte != UInt8(truncatingIfNeeded: (received + offset) / 251) {
                    Issue.record("byte \(received + offset) is \(byte)")
                    server.disconnect(SSHError(.byApplication, "test", "", "failed"))
                    return
                }
                received += data.count
                server.connection.grant(id, bytes: data.count)
            default: break
            }
        }
        let id = try pair.openSession()
        pair.run()
        let data = (0..<8 << 20).map { UInt8(truncatingIfNeeded: $0 / 251) }
        var sent = 0
        while sent < data.count, pair.serverEnd == nil {
            sent += pair.client.connection.send(data: data[sent...], on: id)
            pair.run()
        }
        #expect(received == data.count)
        #expect(pair.serverEnd == nil && pair.clientEnd == nil)
    }

    @Test func aServerKeyThatIsNotExpected() throws {
        var configurations = try ServerClientPair.configurations()
        configurations.server.transport.hostKeys = [try ServerClientPair.userKey()]
        let pair = ServerClientPair(configurations.server, configurations.client)
        pair.run()
        let fingerprint = try ServerClientPair.userKey().publicKey.fingerprint
        #expect(pair.clientEnd??.description == "verify host key \(fingerprint): it is not the one that is expected")
        #expect(pair.serverEnd??.reason == .hostKeyNotVerifiable)
    }

    @Test func aUserKeyThatIsNotKnown() throws {
        var configurations = try ServerClientPair.configurations()
        configurations.client.keys = [.held(try ServerClientPair.hostKey())]
        let pair = ServerClientPair(configurations.server, configurations.client)
        pair.run()
        #expect(pair.clientEnd??.reason == .noMoreAuthenticationMethods)
        #expect(pair.serverEvents.count == 1 && pair.serverEnd??.reason == .noMoreAuthenticationMethods)
    }

    @Test func whoDoesNotLogInInTimeIsSentAway() throws {
        var configurations = try ServerClientPair.configurations()
        configurations.server.authentication.milliseconds = 5000
        configurations.server.authentication.banner = "wait"
        // A client that exchanges keys and then says nothing.
        let pair = ServerClientPair(configurations.server, configurations.client)
        let transport = Transport(configurations.client.transport, random: .repeatable(3), now: 0)
        var isReady = false
        while !isReady {
            var moved = false
            transport.withOutput { bytes in
                pair.server.receive(bytes, now: pair.now)
                moved = true
                return bytes.count
            }
            #expect(pair.server.nextEvent() == nil)
            pair.server.withOutput { bytes in
                try? transport.receive(bytes, now: 0)
                moved = true
                return bytes.count
            }
            while let event = transport.nextEvent() {
                if case .hostKey = event { transport.acceptHostKey() }
                if case .ready = event { isReady = true }
            }
            try #require(moved)
        }
        transport.withOutput { bytes in
            pair.server.receive(bytes, now: pair.now)
            return bytes.count
        }
        #expect(pair.server.nextEvent() == nil)
        #expect(pair.server.nextDeadline == pair.now + 5_000_000_000)
        pair.server.tick(now: pair.now + 4_999_999_999)
        #expect(pair.server.nextEvent() == nil)
        pair.server.tick(now: pair.now + 5_000_000_000)
        #expect(pair.server.nextEvent() == .ended(SSHError(.byApplication, "authenticate", "", "nobody has logged in within 5 s")))
        #expect(pair.server.nextDeadline == nil)
        #expect(pair.server.pendingOutput > 0)
    }

    @Test func aPeerThatDoesNotSpeakSSH() throws {
        let configurations = try ServerClientPair.configurations()
        let pair = ServerClientPair(configurations.server, configurations.client)
        pair.give(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        #expect(pair.serverEnd??.reason != nil)
        pair.give([1, 2, 3])
        #expect(pair.serverEvents.count == 1)
    }

    /// Through the whole stack, too: all but a few are refused, and nothing is left lying.
    @Test func tenThousandOpens() throws {
        let configurations = try ServerClientPair.configurations()
        var limits = ConnectionLimits()
        limits.maximumChannels = 20_000
        var client = configurations.client
        client.connection = limits
        let pair = ServerClientPair(configurations.server, client)
        pair.run()
        for _ in 0..<10_000 { _ = pair.client.connection.openChannel(type: "session", window: 0) }
        pair.run()
        let refusals = pair.clientEvents.count { if case .connection(.openFailed(_, reason: 4, _)) = $0 { true } else { false } }
        #expect(refusals == 10_000 - 64)
        #expect(pair.server.connection.channelCount == 64)
        #expect(pair.serverEnd == nil)
    }

    /// A number that nobody knows is no breach of the protocol, before the log-in or after it; who used it learns that it was in vain.
    @Test func messagesThatNobodyKnows() throws {
        for number in [UInt8(54), 59, 61, 79, 83, 101, 192] {
            for isLoggedIn in number < 80 ? [false, true] : [true] {
                let configurations = try ServerClientPair.configurations()
                let pair = ServerClientPair(configurations.server, configurations.client)
                if isLoggedIn { pair.run() }
                pair.client.transport.send([number])
                pair.run()
                let error = try #require(pair.clientEnd ?? nil, "\(number)")
                #expect(error.operation == "send" && error.cause == "the peer does not know the message", "\(number): \(error)")
                #expect(pair.serverEnd??.description.contains("the peer does not know the message") == true, "\(number)")
            }
        }
        let configurations = try ServerClientPair.configurations()
        let early = ServerClientPair(configurations.server, configurations.client)
        early.client.transport.send([80])
        early.run()
        #expect(early.serverEnd??.cause == "message 80 has no place here")
    }

    /// Messages that wait for the end of a key exchange are still to be sent, though no byte can be written.
    @Test func whatWaitsIsNotSent() throws {
        let configurations = try ServerClientPair.configurations()
        let pair = ServerClientPair(configurations.server, configurations.client)
        pair.run()
        #expect(!pair.server.hasUnsent)
        pair.server.transport.rekey()
        pair.server.connection.globalRequest(name: "last words")
        pair.server.flush()
        var bytes: [UInt8] = []
        pair.server.withOutput {
            bytes = Array($0)
            return $0.count
        }
        #expect(pair.server.pendingOutput == 0 && !pair.server.connection.hasPayload && pair.server.hasUnsent)
        bytes.withUnsafeBytes { pair.client.receive($0, now: pair.now) }
        pair.run()
        #expect(!pair.server.hasUnsent)
        #expect(pair.clientEvents.last == .connection(.globalRequest(name: "last words", data: [], wantsReply: false)))
    }

    /// What came before the damage counts.
    @Test func whatWasReceivedBeforeAnErrorIsHandedOn() throws {
        let configurations = try ServerClientPair.configurations()
        let pair = ServerClientPair(configurations.server, configurations.client)
        pair.run()
        pair.serverEvents = []
        pair.client.connection.globalRequest(name: "last words")
        pair.client.flush()
        pair.client.withOutput { bytes in
            pair.give(Array(bytes) + [UInt8](repeating: 0xff, count: 100))
            return bytes.count
        }
        #expect(pair.serverEvents.first == .connection(.globalRequest(name: "last words", data: [], wantsReply: false)))
        #expect(pair.serverEvents.count == 2 && pair.serverEnd??.reason != nil)
    }
}
