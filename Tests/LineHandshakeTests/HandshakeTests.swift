import Testing

@testable import LineHandshake

let second: Int64 = 1_000_000_000
let millisecond: Int64 = 1_000_000

extension HandshakeResponder {
    mutating func receive(_ bytes: [UInt8], now: Int64 = 0) -> Decision { bytes.withUnsafeBytes { receive($0, now: now) } }
}

extension HandshakeInitiator {
    mutating func receive(_ bytes: [UInt8], now: Int64 = 0) -> Int { bytes.withUnsafeBytes { receive($0, now: now) } }
}

/// The handshake's two ends, by the bytes that VIC's VCH and tether exchange.
@Suite("Line handshake") struct HandshakeTests {
    @Test("the guest's end answers as VIC's does")
    func respond() throws {
        var guest = HandshakeResponder(seed: 1)
        guard case .reply(let ack) = guest.receive([0x16, 0x2A]) else {
            Issue.record("no answer to a SYN")
            return
        }
        #expect(ack.count == 3 && ack[0] == 0x06 && ack[1] == 0x2B)
        #expect(guest.receive([0x06, ack[2] &+ 1]) == .synchronised(reply: [0x06], rest: []))
    }

    @Test("a SYN whose number is 255 is acknowledged with 0")
    func wrap() {
        var guest = HandshakeResponder(seed: 1)
        guard case .reply(let ack) = guest.receive([0x16, 0xFF]) else {
            Issue.record("no answer to a SYN")
            return
        }
        #expect(ack[1] == 0)
    }

    @Test("a wrong ACK, a repeated one and one that comes out of nothing get a NAK; the next SYN is answered")
    func refuse() {
        var guest = HandshakeResponder(seed: 7)
        #expect(guest.receive([0x06, 0x11]) == .reply([0x15]))
        guard case .reply(let ack) = guest.receive([0x16, 0x00]) else {
            Issue.record("no answer to a SYN")
            return
        }
        #expect(guest.receive([0x06, ack[2] &+ 2]) == .reply([0x15]))
        // What was offered is off: the right number comes too late.
        #expect(guest.receive([0x06, ack[2] &+ 1]) == .reply([0x15]))
        guard case .reply(let again) = guest.receive([0x16, 0x00]) else {
            Issue.record("no answer to a second SYN")
            return
        }
        #expect(guest.receive([0x06, again[2] &+ 1], now: 6 * second) == .reply([0x15]), "an offer is good for five seconds")
    }

    @Test("the last bytes count: of noise and many SYNs in one piece, only the last SYN is answered")
    func noise() {
        for noise in [
            [], Array("SeaBIOS\r\nBooting\r\n".utf8), [0x16], [0x16, 1, 0x16, 2], [0x06, 3], [0x15], Array("SSH-2.0".utf8), [0],
        ] {
            var guest = HandshakeResponder(seed: 3)
            guard case .reply(let ack) = guest.receive(noise + [0x16, 0x40]) else {
                Issue.record("no answer behind \(noise)")
                continue
            }
            #expect(ack.prefix(2) == [0x06, 0x41])
            #expect(guest.receive(noise + [0x06, ack[2] &+ 1]) == .synchronised(reply: [0x06], rest: []), "\(noise)")
        }
    }

    @Test("noise by itself is answered with silence")
    func silence() {
        var guest = HandshakeResponder(seed: 3)
        for piece in [Array("tether login: \r\n".utf8), [0x15], [0], [0xFF, 0x16], Array("SSH-1.5-x\r\n".utf8)] {
            #expect(guest.receive(piece) == .nothing, "\(piece)")
        }
    }

    @Test("what comes byte by byte means the same")
    func pieces() {
        for number in UInt8.min...UInt8.max {
            var guest = HandshakeResponder(seed: UInt64(number))
            #expect(guest.receive([0x16]) == .nothing)
            guard case .reply(let ack) = guest.receive([number]) else {
                Issue.record("no answer to \(number)")
                continue
            }
            #expect(guest.receive([0x06]) == .nothing, "\(number)")
            #expect(guest.receive([ack[2] &+ 1]) == .synchronised(reply: [0x06], rest: []), "\(number)")
        }
    }

    @Test("a banner begins a connection without a handshake, wherever it is and however it is cut")
    func banner() {
        let banner = Array("SSH-2.0-OpenSSH_9.2\r\n".utf8)
        for noise in [[], Array("SSSH-2.SSH-".utf8), [0x16, 5], [0x16], Array("SSSSSS".utf8)] {
            let stream = noise + banner
            for cut in 0...stream.count {
                var guest = HandshakeResponder(seed: 9)
                var seen: [UInt8] = []
                for piece in [Array(stream[..<cut]), Array(stream[cut...])] {
                    if !seen.isEmpty { seen += piece } else if case .banner(let bytes) = guest.receive(piece) { seen = bytes }
                }
                #expect(seen == banner, "\(noise) cut at \(cut)")
            }
        }
    }

    @Test("what is behind the client's ACK is not lost")
    func rest() {
        var guest = HandshakeResponder(seed: 9)
        guard case .reply(let ack) = guest.receive([0x16, 5]) else {
            Issue.record("no answer to a SYN")
            return
        }
        let banner = Array("SSH-2.0-VIC\r\n".utf8)
        #expect(guest.receive([0x06, ack[2] &+ 1] + banner) == .synchronised(reply: [0x06], rest: banner))
    }

    @Test("the host's end asks as VIC's does")
    func initiate() throws {
        var host = HandshakeInitiator(seed: 1, now: 0)
        let syn = host.takeOutput()
        try #require(syn.count == 2 && syn[0] == 0x16 && syn[1] < 255)
        #expect(host.takeOutput().isEmpty)
        #expect(host.receive([0x06, syn[1] + 1, 0xFF]) == 3)
        host.tick(now: 20 * millisecond)
        #expect(host.takeOutput() == [0x06, 0x00])
        #expect(!host.isSynchronised)
        let banner = Array("SSH-2.0-Go\r\n".utf8)
        #expect(host.receive([0x06] + banner) == 1)
        #expect(host.isSynchronised && host.nextDeadline == nil)
        #expect(host.receive(banner) == 0)
    }

    @Test("the host's end asks again after half a second, then every second, with other numbers, and after a NAK at once")
    func again() throws {
        var host = HandshakeInitiator(seed: 2, now: 0)
        var seen: Set<UInt8> = [host.takeOutput()[1]]
        var now: Int64 = 0
        for step in 0..<10 {
            let due = try #require(host.nextDeadline)
            #expect(due - now == (step == 0 ? second / 2 : second))
            host.tick(now: due - 1)
            #expect(host.takeOutput().isEmpty)
            now = due
            host.tick(now: now)
            let syn = host.takeOutput()
            try #require(syn.count == 2)
            seen.insert(syn[1])
        }
        #expect(seen.count > 5)
        host.tick(now: now + second)
        let syn = host.takeOutput()
        _ = host.receive([0x06, syn[1] &+ 1, 9], now: now)
        host.tick(now: try #require(host.nextDeadline))
        #expect(host.takeOutput() == [0x06, 10])
        #expect(host.receive([0x15], now: now) == 1)
        #expect(host.takeOutput().first == 0x16)
    }

    @Test("an answer to an earlier SYN, and the ciphertext of an earlier connection, are no answer")
    func stale() {
        var host = HandshakeInitiator(seed: 2, now: 0)
        let first = host.takeOutput()
        host.tick(now: second)
        let other = host.takeOutput()
        #expect(first != other)
        _ = host.receive([0x06, first[1] &+ 1, 9])
        #expect(host.takeOutput().isEmpty)
        _ = host.receive(Array("SSH-2.0-old\r\n".utf8) + [0x15, 0x16, 0x06, 0x06])
        #expect(host.takeOutput().isEmpty)
        _ = host.receive([0x06, other[1] &+ 1])
        _ = host.receive([9])
        host.tick(now: 20 * millisecond)
        #expect(host.takeOutput() == [0x06, 10])
    }

    @Test("what looks like an answer and goes on is output of an earlier connection", arguments: [1, 100])
    func flood(_ chunk: Int) throws {
        var random = HandshakeNumbers(seed: 9)
        var host = HandshakeInitiator(seed: 2, now: 0)
        let number = host.takeOutput()[1]
        // One byte each tenth of a millisecond, as a UART has them; every hundredth time it is as an answer is.
        var bytes: [UInt8] = []
        for _ in 0..<20 { bytes += [0x06, number &+ 1] + (0..<98).map { _ in random.next() } + [0x06, 0x06] }
        var now: Int64 = 0
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            let piece = Array(bytes[start..<min(bytes.count, start + chunk)])
            now += Int64(piece.count) * millisecond / 10
            _ = host.receive(piece, now: now)
            host.tick(now: now)
            #expect(host.takeOutput().isEmpty && !host.isSynchronised)
        }
        // It stops where an answer could be; then it goes on all the same.
        _ = host.receive([0x06, number &+ 1, 9], now: now)
        #expect(host.nextDeadline == now + 20 * millisecond)
        now += 20 * millisecond
        host.tick(now: now)
        #expect(host.takeOutput() == [0x06, 10])
        #expect(host.receive([7, 0x06], now: now) == 2 && !host.isSynchronised)
        // A guest that hears nothing for a while notices the next SYN.
        #expect(host.nextDeadline == now + 500 * millisecond)
        host.tick(now: now + 500 * millisecond)
        let syn = host.takeOutput()
        #expect(syn.first == 0x16)
        _ = host.receive([0x06, syn[1] &+ 1, 1], now: now + 700 * millisecond)
        host.tick(now: now + 720 * millisecond)
        #expect(host.takeOutput() == [0x06, 2])
        #expect(host.receive([0x06], now: now + 721 * millisecond) == 1 && host.isSynchronised)
    }

    /// Both ends on a line that loses, damages and adds bytes, in pieces of any size.
    @Test("both ends come together on a line with noise", arguments: 0..<200)
    func together(_ seed: Int) throws {
        var random = HandshakeNumbers(seed: UInt64(seed) &+ 77)
        var guest = HandshakeResponder(seed: UInt64(seed) &* 3)
        var host = HandshakeInitiator(seed: UInt64(seed) &* 5 &+ 1, now: 0)
        var toHost = Array("boot text 06 \u{6}\u{16}\u{15}".utf8)
        var isGuestSynchronised = false
        func damaged(_ bytes: [UInt8], _ random: inout HandshakeNumbers, _ chance: UInt8) -> [UInt8] {
            var result: [UInt8] = []
            for byte in bytes {
                if random.next() < chance { result.append(random.next()) }
                if random.next() >= chance { result.append(byte) }
            }
            return result
        }
        for turn in 0..<400 {
            let now = Int64(turn) * 100 * millisecond
            // The noise ends at some time, as it does.
            let chance: UInt8 = turn < 300 ? 25 : 0
            host.tick(now: now)
            var toGuest = damaged(host.takeOutput(), &random, chance)
            while !toGuest.isEmpty {
                let piece = Array(toGuest.prefix(1 + Int(random.next() % 3)))
                toGuest.removeFirst(piece.count)
                if isGuestSynchronised {
                    // A guest that believes too early that all is well begins anew with the host's next SYN (RestartDetector).
                    isGuestSynchronised = false
                    guest = HandshakeResponder(seed: UInt64(turn))
                }
                switch guest.receive(piece, now: now) {
                case .reply(let bytes): toHost += damaged(bytes, &random, chance)
                case .synchronised(let reply, _):
                    isGuestSynchronised = true
                    toHost += damaged(reply, &random, chance)
                case .nothing, .banner: break
                }
            }
            _ = host.receive(toHost, now: now)
            toHost = []
            if host.isSynchronised { break }
        }
        #expect(host.isSynchronised)
    }
}
