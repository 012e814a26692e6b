import SSH
import Testing

/// RFC 4254 between two connections that keep to it.
@Suite struct ConnectionTests {
    @Test func aChannelIsOpenedUsedAndClosed() throws {
        var pair = ConnectionPair()
        let id = try pair.request(type: "attach", extra: [1, 2], window: 100, maximumPacket: 50)
        try pair.run()
        guard case .opening(let peer, "attach", [1, 2])? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.accept(peer, window: 10, extra: [9])
        try pair.run()
        #expect(pair.taken().client == [.opened(id, extra: [9])])
        #expect(pair.client.send(data: Array("hello".utf8)[...], on: id) == 5)
        #expect(pair.server.sendExtended(data: [7, 8], type: 1, on: peer) == 2)
        pair.client.sendEOF(id)
        try pair.run()
        #expect(pair.taken() == ([.extendedData(id, type: 1, [7, 8])], [.data(peer, Array("hello".utf8)), .eof(peer)]))
        // The other direction is open still.
        #expect(pair.server.send(data: [1], on: peer) == 1)
        #expect(pair.client.send(data: [1], on: id) == 0)
        pair.server.request(peer, .exitStatus(3))
        pair.server.sendEOF(peer)
        pair.server.close(peer)
        try pair.run()
        let status = ConnectionEvent.request(id, name: "exit-status", data: [0, 0, 0, 3], wantsReply: false)
        #expect(pair.taken() == ([.data(id, [1]), status, .eof(id), .closed(id)], [.closed(peer)]))
        #expect(pair.client.channelCount == 0 && pair.server.channelCount == 0)
    }

    @Test func aChannelIsRejected() throws {
        var pair = ConnectionPair()
        let id = try pair.request(type: "x11", window: 100)
        try pair.run()
        guard case .opening(let peer, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.reject(peer, .unknownChannelType, "no \u{1b}[31mx11")
        #expect(pair.server.channelCount == 0)
        try pair.run()
        #expect(pair.taken().client == [.openFailed(id, reason: 3, text: "no  [31mx11")])
        #expect(pair.client.channelCount == 0)
        // Late answers have nothing to answer.
        pair.server.accept(peer, window: 5)
        pair.server.reject(peer, .connectFailed, "")
        #expect(!pair.server.hasPayload)
    }

    /// A window that grows at once is told after the channel is: until then the peer has none.
    @Test func theConfirmationComesBeforeAllElse() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel()
        let ids = try (0..<2).map { _ in try pair.request(type: "attach", window: 100) }
        try pair.run()
        let offered = pair.taken().server.compactMap { if case .opening(let id, _, _) = $0 { id } else { nil } }
        try #require(offered.count == 2)
        for id in offered {
            pair.server.accept(id, window: 0)
            pair.server.grant(id, bytes: 7)
        }
        // That of another channel waits for neither.
        pair.server.grant(peer, bytes: 5)
        let payloads = drain(&pair.server)
        #expect(payloads.map { $0[0] } == [93, 91, 93, 91, 93] && !pair.server.hasPayload)
        for payload in payloads { try pair.client.receive(payload) }
        #expect(ids.map { pair.client.room($0) } == [7, 7] && pair.client.room(id) == 1005)
    }

    /// A message has an end, and whoever has more to say is told so: the connection goes on.
    @Test func whatNoMessageHasRoomFor() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel()
        let most = Transport.maximumPayload
        for excess in [-1, 0, 1] {
            let fits = excess <= 0
            pair.client.globalRequest(name: "list", wantsReply: true)
            try pair.run()
            let answer = [UInt8](repeating: 1, count: Connection.maximumReplyData + excess)
            let isAnswered = pair.server.replyToGlobalRequest(success: true, data: answer)
            #expect(isAnswered)
            try pair.run()
            #expect(pair.taken().client == [.globalReply(success: fits, data: fits ? answer : [])])
            // Number, channel or string length, name, boolean.
            let data = [UInt8](repeating: 1, count: most - 14 + excess)
            #expect(pair.client.request(id, name: "name", data: data, wantsReply: true) == fits)
            #expect(pair.client.globalRequest(name: "name", data: data + [1, 2, 3, 4], wantsReply: false) == fits)
            try pair.run()
            #expect(pair.taken().server.count == (fits ? 2 : 0))
            pair.server.replyToRequest(peer, success: true)
            try pair.run()
            #expect(pair.taken().client == (fits ? [.requestReply(id, success: true)] : []))
        }
        let long = [UInt8](repeating: 0, count: most)
        #expect(pair.client.openChannel(type: "session", extra: long, window: 1) == nil && pair.client.channelCount == 1)
        let other = try pair.request(type: "session", window: 1)
        try pair.run()
        guard case .opening(let offered, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.accept(offered, window: 1, extra: long)
        try pair.run()
        #expect(pair.taken().client == [.openFailed(other, reason: 4, text: "what belongs to the answer is longer than a message")])
        let third = try pair.request(type: "session", window: 1)
        try pair.run()
        guard case .opening(let refused, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.reject(refused, .connectFailed, String(repeating: "x", count: 100_000))
        try pair.run()
        #expect(pair.taken().client == [.openFailed(third, reason: 2, text: String(repeating: "x", count: 1024))])
    }

    @Test func dataFillsTheWindowAndNoMore() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel(serverWindow: 10, serverPacket: 4)
        #expect(pair.client.room(id) == 10)
        let data = Array(UInt8(0)..<25)
        #expect(pair.client.send(data: data[...], on: id) == 10)
        #expect(pair.client.room(id) == 0)
        #expect(pair.client.send(data: data[10...], on: id) == 0)
        try pair.run()
        // In messages of what the peer takes at most.
        #expect(pair.taken().server == [.data(peer, [0, 1, 2, 3]), .data(peer, [4, 5, 6, 7]), .data(peer, [8, 9])])
        // Several grants go as one message.
        pair.server.grant(peer, bytes: 3)
        pair.server.grant(peer, bytes: 4)
        try pair.run()
        #expect(pair.taken().client == [.windowAdjusted(id, bytes: 7)])
        #expect(pair.client.send(data: data[10...], on: id) == 7)
        // stderr has no window of its own.
        #expect(pair.client.sendExtended(data: [1], on: id) == 0)
        try pair.run()
        #expect(pair.taken().server == [.data(peer, [10, 11, 12, 13]), .data(peer, [14, 15, 16])])
    }

    @Test func aWindowEndsAtFourGibibytes() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel(serverWindow: .max - 5)
        pair.server.grant(peer, bytes: .max)
        pair.server.grant(peer, bytes: 1)
        pair.server.grant(peer, bytes: -1)
        try pair.run()
        #expect(pair.taken().client == [.windowAdjusted(id, bytes: 5)])
        #expect(pair.client.room(id) == ConnectionLimits().maximumQueuedData)
        // What is used up can be granted again.
        #expect(pair.client.send(data: [1, 2, 3], on: id) == 3)
        try pair.run()
        pair.server.grant(peer, bytes: 1000)
        let adjusts = drain(&pair.server)
        #expect(adjusts == [payload(93, [id.number, 3])])
    }

    @Test func anAdjustmentOvertakesDataThatWaits() throws {
        var pair = ConnectionPair()
        let (_, peer) = try pair.channel(clientWindow: 100_000)
        #expect(pair.server.send(data: [UInt8](repeating: 1, count: 100_000)[...], on: peer) == 100_000)
        pair.server.grant(peer, bytes: 5)
        #expect(pair.server.nextPayload()?.first == 93)
        #expect(pair.server.nextPayload()?.first == 94)
    }

    @Test func theQueueOfDataIsBounded() throws {
        var pair = ConnectionPair()
        let (id, _) = try pair.channel(serverWindow: .max, serverPacket: 1)
        let data = [UInt8](repeating: 1, count: 1 << 20)
        // One byte a message, and each message costs what it takes of memory, not what it carries.
        let taken = pair.client.send(data: data[...], on: id)
        #expect(taken > 0 && taken < 2000)
        #expect(pair.client.queuedBytes < ConnectionLimits().maximumQueuedData + 100)
        #expect(pair.client.room(id) == 0)
        try pair.run()
        #expect(pair.taken().server.count == taken)
        #expect(pair.client.queuedBytes == 0)
    }

    @Test func repliesComeInTheOrderOfTheRequests() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel()
        for request in [SessionRequest.shell, .signal(name: "TERM")] { pair.client.request(id, request, wantsReply: true) }
        // The long name is refused before anyone is asked, and still in its place.
        pair.client.request(id, name: String(repeating: "n", count: 65), wantsReply: true)
        pair.client.request(id, .lineBreak(milliseconds: 5), wantsReply: true)
        pair.client.request(id, .endOfWrite)
        try pair.run()
        let names = pair.taken().server.map { event in
            if case .request(peer, let name, _, let wantsReply) = event { "\(name) \(wantsReply)" } else { "" }
        }
        #expect(names == ["shell true", "signal true", "break true", "eow@openssh.com false"])
        for success in [true, false, true] { #expect(pair.server.replyToRequest(peer, success: success) == true) }
        #expect(pair.server.replyToRequest(peer, success: true) == false)
        try pair.run()
        #expect(pair.taken().client == [true, false, false, true].map { .requestReply(id, success: $0) })
        // With nothing before it a refusal goes out at once.
        pair.client.request(id, name: String(repeating: "n", count: 65), wantsReply: true)
        try pair.run()
        #expect(pair.taken() == ([.requestReply(id, success: false)], []))
    }

    @Test func globalRequestsAreAnsweredInOrder() throws {
        var pair = ConnectionPair()
        pair.client.globalRequest(name: "version", wantsReply: true)
        pair.client.globalRequest(name: String(repeating: "g", count: 65), wantsReply: true)
        pair.client.globalRequest(name: "keepalive@openssh.com", data: [1], wantsReply: true)
        pair.client.globalRequest(name: "hint")
        try pair.run()
        #expect(
            pair.taken().server == [
                .globalRequest(name: "version", data: [], wantsReply: true),
                .globalRequest(name: "keepalive@openssh.com", data: [1], wantsReply: true),
                .globalRequest(name: "hint", data: [], wantsReply: false),
            ])
        pair.server.replyToGlobalRequest(success: true, data: [0, 0, 0, 10])
        pair.server.replyToGlobalRequest(success: false, data: [1])
        #expect(pair.server.replyToGlobalRequest(success: true) == false)
        try pair.run()
        #expect(
            pair.taken().client == [
                .globalReply(success: true, data: [0, 0, 0, 10]), .globalReply(success: false, data: []),
                .globalReply(success: false, data: []),
            ])
    }

    @Test func nothingFollowsAClose() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel()
        pair.client.request(id, .shell, wantsReply: true)
        try pair.run()
        pair.server.close(peer)
        pair.server.close(peer)
        pair.server.grant(peer, bytes: 5)
        pair.server.sendEOF(peer)
        #expect(pair.server.replyToRequest(peer, success: true) == false)
        #expect(pair.server.request(peer, .exitStatus(0)) == false)
        #expect(pair.server.send(data: [1], on: peer) == 0)
        #expect(pair.server.room(peer) == 0)
        // What the client sent before it knew is dropped, within the window that it had.
        pair.client.send(data: [1, 2, 3], on: id)
        pair.client.request(id, .signal(name: "INT"), wantsReply: true)
        pair.client.sendEOF(id)
        _ = pair.taken()
        #expect(drain(&pair.server) == [payload(97, [id.number])])
        try pair.server.receive(payload(94, [peer.number, 3], [1, 2, 3]))
        try pair.server.receive(payload(98, [peer.number], wired("signal") + [1] + wired("INT")))
        try pair.server.receive(payload(96, [peer.number]))
        #expect(pair.server.nextEvent() == nil && !pair.server.hasPayload)
        try pair.server.receive(payload(97, [peer.number]))
        #expect(pair.server.nextEvent() == .closed(peer))
        #expect(!pair.server.hasPayload)
    }

    @Test func bothSidesCloseAtOnce() throws {
        var pair = ConnectionPair()
        let (id, peer) = try pair.channel()
        pair.client.close(id)
        pair.server.close(peer)
        try pair.run()
        #expect(pair.taken() == ([.closed(id)], [.closed(peer)]))
        #expect(pair.client.channelCount == 0 && pair.server.channelCount == 0)
    }

    @Test func aChannelIsGivenUpBeforeItIsOpen() throws {
        var pair = ConnectionPair()
        let id = try pair.request(type: "session", window: 5)
        pair.client.close(id)
        try pair.run()
        guard case .opening(let peer, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.accept(peer, window: 5)
        try pair.run()
        #expect(pair.taken() == ([.closed(id)], [.closed(peer)]))
        // And one that the peer offered.
        _ = try pair.request(type: "session", window: 5)
        try pair.run()
        guard case .opening(let other, _, _)? = pair.taken().server.first else { throw ConnectionPair.Refused() }
        pair.server.close(other)
        try pair.run()
        guard case .openFailed(_, 2, _)? = pair.taken().client.first else { throw ConnectionPair.Refused() }
        #expect(pair.client.channelCount == 0 && pair.server.channelCount == 0)
    }

    @Test func numbersAreNotUsedAgainSoon() throws {
        var pair = ConnectionPair()
        let first = try pair.channel()
        pair.client.close(first.client)
        try pair.run()
        let second = try pair.channel()
        #expect(first.client != second.client && first.server != second.server)
    }
}
