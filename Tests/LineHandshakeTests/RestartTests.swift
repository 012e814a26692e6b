import Testing

@testable import LineHandshake

/// A new client in the middle of a connection.
@Suite("Line handshake: restarted client") struct RestartTests {
    /// A connection in which `now` passes and which knows where its packets end.
    private struct Line {
        var detector: RestartDetector
        var now: Int64

        init(isBannerDue: Bool = false, now: Int64 = 5 * second) {
            detector = RestartDetector(isBannerDue: isBannerDue, now: now)
            self.now = now
        }

        mutating func receive(_ bytes: [UInt8], after silence: Int64 = 0, ends: Bool = false) -> RestartDetector.Restart? {
            // Time passes in steps, so that a decision that falls due in a silence is not missed.
            let arrival = now + silence
            while now < arrival {
                now = min(arrival, now + 10 * millisecond)
                if let restart = detector.tick(now: now) { return restart }
            }
            let restart = bytes.withUnsafeBytes { detector.receive($0, now: now) }
            detector.connection(isBetweenPackets: ends)
            return restart
        }
    }

    private static let packet = (0..<60).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 22) }
    private static let syn: [UInt8] = [0x16, 0x77]

    @Test("a SYN between two packets is noticed after 200 ms, without a silence before")
    func betweenPackets() throws {
        for silence in [0, millisecond, 300 * millisecond, 30 * second] {
            var line = Line()
            #expect(line.receive(Self.packet, ends: true) == nil)
            #expect(line.receive(Self.syn, after: silence) == nil)
            #expect(try #require(line.detector.nextDeadline) - line.now == 200 * millisecond)
            #expect(line.receive([], after: 190 * millisecond) == nil)
            #expect(line.receive([], after: 20 * millisecond) == .synchronisation(Self.syn))
            #expect(line.detector.nextDeadline == nil)
        }
    }

    @Test("so is one in two pieces, and one before the connection's first byte")
    func pieces() {
        var line = Line(isBannerDue: true)
        #expect(line.receive([0x16]) == nil)
        #expect(line.receive([0x01], after: 30 * millisecond) == nil)
        #expect(line.receive([], after: 210 * millisecond) == .synchronisation([0x16, 0x01]))
    }

    @Test("a SYN within a packet is noticed when there was silence before it, or else with the next one")
    func withinPacket() {
        var line = Line()
        #expect(line.receive(Array(Self.packet.prefix(20))) == nil)
        #expect(line.receive(Self.syn, after: 260 * millisecond) == nil)
        #expect(line.receive([], after: 210 * millisecond) == .synchronisation(Self.syn))

        var busy = Line()
        #expect(busy.receive(Array(Self.packet.prefix(20))) == nil)
        #expect(busy.receive(Self.syn, after: 5 * millisecond) == nil)
        #expect(busy.receive([0x16, 0x78], after: 500 * millisecond) == nil)
        #expect(busy.receive([], after: 210 * millisecond) == .synchronisation([0x16, 0x78]))
    }

    @Test("bytes that complete a packet are no SYN, and neither are more or fewer than two")
    func innocent() {
        var line = Line()
        #expect(line.receive(Array(Self.packet.prefix(20))) == nil)
        #expect(line.receive(Self.syn, after: second, ends: true) == nil)
        #expect(line.receive([], after: second) == nil)
        for (first, next) in [([0x16], []), ([0x16, 1, 2], []), ([0x16, 1], [2]), ([0x17, 0x16], []), (Array("hello".utf8), [0x16, 1])] {
            var line = Line()
            #expect(line.receive(first.map { UInt8($0) }) == nil)
            #expect(line.receive(next.map { UInt8($0) }, after: 150 * millisecond) == nil)
            #expect(line.receive([], after: second) == nil, "\(first) \(next)")
        }
    }

    @Test("a packet that begins like a SYN and goes on within 200 ms is a packet")
    func slow() {
        var line = Line()
        for _ in 0..<100 {
            #expect(line.receive(Self.packet.prefix(2).map { $0 }, after: second) == nil)
            #expect(line.receive(Array(Self.packet.dropFirst(2)), after: 190 * millisecond, ends: true) == nil)
        }
    }

    @Test("a banner is one wherever it comes, but for the connection's own", arguments: 1...8)
    func banner(_ cut: Int) {
        let banner = Array("SSH-2.0-OpenSSH_9.2\r\n".utf8)
        var line = Line(isBannerDue: true)
        #expect(line.receive(Array(banner[..<cut])) == nil)
        #expect(line.receive(Array(banner[cut...]), ends: true) == nil)
        #expect(line.receive(Array(Self.packet.prefix(30))) == nil)
        let first = line.receive(Self.packet + banner.prefix(cut))
        let all = first ?? line.receive(Array(banner.dropFirst(cut)))
        if cut == 8 {
            #expect(first == .banner(Array("SSH-2.0-".utf8)))
        } else {
            #expect(all == .banner(banner))
        }
    }

    @Test("when a connection fails within a new client's beginning, the responder knows what came of it")
    func handOver() {
        let banner = Array("SSH-2.0-x\r\n".utf8)
        for cut in 1..<8 {
            var line = Line()
            #expect(line.receive(Self.packet + banner[..<cut]) == nil)
            var guest = HandshakeResponder(seed: 1, recent: line.detector.recent)
            #expect(guest.receive(Array(banner[cut...])) == .banner(banner))
        }
        var line = Line()
        #expect(line.receive([0x16]) == nil)
        var guest = HandshakeResponder(seed: 1, recent: line.detector.recent)
        guard case .reply(let ack) = guest.receive([5]) else {
            Issue.record("half a SYN is forgotten")
            return
        }
        #expect(ack.prefix(2) == [0x06, 6])
    }

    /// Packets as they come over a line that stalls: at any place, for any time, in pieces of any size.
    @Test("a working connection is taken for a new client's about as rarely as promised")
    func falseAlarms() {
        var random = HandshakeNumbers(seed: 4)
        func number(_ bound: Int) -> Int { (Int(random.next()) * 255 + Int(random.next())) % bound }
        var alarms = 0
        var stalls = 0
        for _ in 0..<20_000 {
            var line = Line()
            var left = 16 + number(300)
            let packet = (0..<left).map { _ in UInt8(truncatingIfNeeded: number(256)) }
            while left > 0 {
                let piece = 1 + number(left)
                stalls += 1
                let silence = Int64(number(600)) * millisecond
                if line.receive(Array(packet[(packet.count - left)..<(packet.count - left + piece)]), after: silence, ends: piece == left)
                    != nil
                {
                    alarms += 1
                    break
                }
                left -= piece
            }
        }
        // Of the stalls some few are behind two bytes; one in 256 of these may be taken for a SYN.
        #expect(stalls > 50_000 && alarms < 20, "\(alarms) of \(stalls)")
    }
}
