import SSH
import Testing

/// A peer that does not keep to RFC 4254, or asks for more than it gets.
@Suite struct ConnectionViolationTests {
    /// The error that a payload leads to.
    private func failure(_ connection: inout Connection, _ payload: [UInt8]) -> String? {
        do throws(SSHError) {
            try connection.receive(payload)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func violationsOnAnOpenChannel() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel(serverWindow: 10, serverPacket: 8)
        let id = peer.number
        let cases: [(payload: [UInt8], error: String)] = [
            (payload(94, [id, 9], [UInt8](repeating: 0, count: 9)), "receive data on channel 0: 9 bytes in a message are more than 8"),
            (payload(99, [id]), "take reply on channel 0: there is no request without a reply"),
            (payload(100, [id]), "take reply on channel 0: there is no request without a reply"),
            (payload(91, [id, 0, 1, 1]), "open channel 0: it is not in that state"),
            (payload(92, [id, 1], wired("") + wired("")), "open channel 0: it is not in that state"),
            (payload(93, [id, .max]), "adjust window of channel 0: it grows beyond 2^32 - 1 bytes"),
            (payload(93, [77, 1]), "adjust window of channel 77: there is no such channel"),
            (payload(94, [77, 0]), "receive data on channel 77: there is no such channel"),
            (payload(96, [77]), "receive EOF on channel 77: there is no such channel"),
            (payload(97, [77]), "close channel 77: there is no such channel"),
            (payload(98, [77], wired("shell") + [1]), "take request on channel 77: there is no such channel"),
            (payload(99, [77]), "take reply on channel 77: there is no such channel"),
            (payload(91, [77, 0, 1, 1]), "open channel 77: there is no such channel"),
            (payload(81), "take reply to a global request: there is none without a reply"),
            (payload(82), "take reply to a global request: there is none without a reply"),
        ]
        for one in cases {
            var server = pair.server
            #expect(failure(&server, one.payload) == one.error)
        }
    }

    @Test func dataBeyondTheWindow() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel(serverWindow: 10)
        try pair.server.receive(payload(94, [peer.number, 10], [UInt8](repeating: 0, count: 10)))
        // No bytes are never too many.
        try pair.server.receive(payload(94, [peer.number, 0]))
        // A grant that the peer has not been told yet is none.
        pair.server.grant(peer, bytes: 5)
        let error = failure(&pair.server, payload(95, [peer.number, 1, 1], [0]))
        #expect(error == "receive data on channel 0: 1 bytes are more than the window of 0")
    }

    @Test func dataAfterEOFAndSecondEOF() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel()
        try pair.server.receive(payload(96, [peer.number]))
        var other = pair.server
        #expect(failure(&pair.server, payload(94, [peer.number, 1], [0])) == "receive data on channel 0: it comes after EOF")
        #expect(failure(&other, payload(96, [peer.number])) == "receive EOF on channel 0: it came before")
    }

    @Test func aChannelIsClosedOnce() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel()
        try pair.server.receive(payload(97, [peer.number]))
        #expect(failure(&pair.server, payload(97, [peer.number])) == "close channel 0: there is no such channel")
    }

    /// The peer cannot know the number of a channel that was not confirmed.
    @Test func aChannelIsNotUsedBeforeItIsOpen() throws {
        var pair = ConnectionPair()
        let id = try pair.request(type: "session", window: 5)
        try pair.run()
        guard case .opening(let offered, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        for number: UInt8 in [93, 94, 96, 97, 98, 99] {
            let rest: [UInt8] = number == 98 ? wired("shell") + [1] : number == 93 || number == 94 ? [0, 0, 0, 0] : []
            var (client, server) = (pair.client, pair.server)
            #expect(failure(&client, payload(number, [id.number], rest))?.hasSuffix("channel 0: it is not in that state") == true)
            #expect(failure(&server, payload(number, [offered.number], rest))?.hasSuffix("channel 0: it is not in that state") == true)
        }
        #expect(pair.client.send(data: [1], on: id) == 0)
        #expect(pair.client.request(id, .shell) == false)
        var client = pair.client
        #expect(failure(&client, payload(91, [id.number, 5, 100, 0])) == "open channel 0: its maximum packet size is 0")
    }

    @Test func malformedMessages() throws {
        let whole: [[UInt8]] = [
            payload(80, [], wired("name") + [1]), payload(90, [], wired("session") + [UInt8](repeating: 0, count: 12)),
            payload(91, [0, 0, 0, 0]), payload(92, [0, 0], wired("why") + wired("en")), payload(93, [0, 0]),
            payload(94, [0, 3], [1, 2, 3]), payload(95, [0, 1, 3], [1, 2, 3]), payload(96, [0]), payload(97, [0]),
            payload(98, [0], wired("shell") + [0]), payload(99, [0]), payload(100, [0]),
        ]
        for message in whole {
            for length in 1..<message.count {
                var connection = Connection()
                #expect(failure(&connection, Array(message.prefix(length)))?.hasSuffix("its fields are not those of its number") == true)
            }
        }
        for message in whole where ![80, 90, 91, 98].contains(message[0]) {
            var connection = Connection()
            #expect(failure(&connection, message + [0])?.hasSuffix("its fields are not those of its number") == true)
        }
        var connection = Connection()
        #expect(failure(&connection, [82, 0]) == "read message SSH_MSG_REQUEST_FAILURE: its fields are not those of its number")
        // A length that cannot be.
        #expect(failure(&connection, payload(94, [0, .max], [1]))?.hasSuffix("its fields are not those of its number") == true)
    }

    @Test func unknownMessagesAreNotThisLayers() throws {
        var connection = Connection()
        for number in UInt8.min...UInt8.max where !(80...82).contains(number) && !(90...100).contains(number) {
            #expect(try connection.receive([number]) == false)
        }
        #expect(try connection.receive([]) == false)
    }

    @Test func tenThousandOpens() throws {
        var server = Connection()
        var failures = 0
        for number in UInt32(0)..<10_000 {
            try server.receive(payload(90, [], wired("session") + Array(payload(0, [number, 1000, 1000]).dropFirst())))
            while let event = server.nextEvent() {
                guard case .opening = event else { throw ConnectionPair.Refused() }
            }
            failures += drain(&server).count { $0.first == 92 && Array($0[1..<5]) == Array(payload(0, [number]).dropFirst()) && $0[8] == 4 }
        }
        #expect(server.channelCount == 64)
        #expect(failures == 10_000 - 64)
        #expect(server.queuedBytes == 0)
    }

    /// Nobody takes the refusals: they are not kept without end.
    @Test func opensWithoutTakingTheAnswers() throws {
        var server = Connection()
        var error: String?
        for number in UInt32(0)..<100_000 where error == nil {
            error = failure(&server, payload(90, [], wired("session") + Array(payload(0, [number, 1000, 1000]).dropFirst())))
            while server.nextEvent() != nil {}
        }
        #expect(error == "answer to the opening of a channel: the peer does not take the answers to earlier requests")
        #expect(server.queuedBytes < 1_100_000)
    }

    @Test func requestsWithoutTakingTheAnswers() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel()
        var error: String?
        for _ in 0..<100_000 where error == nil {
            error = failure(&pair.server, payload(98, [peer.number], wired("break") + [1, 0, 0, 0, 1]))
            while pair.server.nextEvent() != nil { pair.server.replyToRequest(peer, success: true) }
        }
        #expect(error == "answer request on channel 0: the peer does not take the answers to earlier requests")
    }

    @Test func requestsThatNobodyHasAnswered() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel()
        var one = pair.server
        for _ in 0..<64 { try one.receive(payload(98, [peer.number], wired("break") + [1])) }
        let error = failure(&one, payload(98, [peer.number], wired("break") + [1]))
        #expect(error == "answer request on channel 0: 64 requests before it wait for their answers")
        // Those that want none may be as many as they like.
        for _ in 0..<1000 { try pair.server.receive(payload(98, [peer.number], wired("break") + [0])) }
        for _ in 0..<64 { try pair.server.receive(payload(80, [], wired("version") + [1])) }
        let globalError = failure(&pair.server, payload(80, [], wired("version") + [1]))
        #expect(globalError == "answer global request: 64 requests before it wait for their answers")
    }

    @Test func whatCannotBeServedIsRefused() throws {
        var server = Connection()
        let huge = String(repeating: "t", count: 30_000)
        try server.receive(payload(90, [], wired(huge) + Array(payload(0, [1, 1000, 1000]).dropFirst())))
        try server.receive(payload(90, [], wired("session") + Array(payload(0, [2, 1000, 0]).dropFirst())))
        try server.receive(payload(80, [], wired(huge) + [0]))
        #expect(server.nextEvent() == nil)
        let answers = drain(&server)
        #expect(answers.map { Array($0[..<9]) } == [payload(92, [1, 3]), payload(92, [2, 2])])
        #expect(server.channelCount == 0)
    }

    @Test func channelsOfThisSideAreLimitedToo() throws {
        var limits = ConnectionLimits()
        limits.maximumChannels = 2
        var client = Connection(limits)
        #expect(client.openChannel(type: "session", window: 0) != nil)
        #expect(client.openChannel(type: "session", window: 0) != nil)
        #expect(client.openChannel(type: "session", window: 0) == nil)
    }
}
