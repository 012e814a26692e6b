import Control
import LineHandshake
import SSH
import SessionLog
import Testing

@testable import Attach

@Suite("Attach: the line, and what waits for it") struct LineTests {
    @Test("a client begins by handshake, behind noise, and its banner may follow at once")
    func handshake() throws {
        let bench = try Bench()
        bench.send(Array("[    0.0] booting\r\n\u{16}\u{06}garbage".utf8))
        try bench.run(connected: false)
        bench.line = []
        bench.send([0x16, 0x2a])
        try bench.run(connected: false)
        #expect(bench.line.count == 3 && bench.line.starts(with: [0x06, 0x2b]))
        let number = try #require(bench.line.last)
        bench.line = []
        bench.send([0x06, number &+ 1])
        try bench.run(connected: false)
        #expect(bench.line.first == 0x06 && String(decoding: bench.line.dropFirst(), as: UTF8.self).hasPrefix("SSH-2.0-"))
        bench.line.removeFirst()
        try bench.run()
        #expect(bench.isAuthenticated && bench.server.connections == 1)
    }

    @Test("a client that synchronised and said no more gives way to one that comes with its banner, and sees the server's")
    func abandoned() throws {
        let bench = try Bench()
        bench.send([0x16, 0x2a])
        try bench.run(connected: false)
        bench.send([0x06, (bench.line.last ?? 0) &+ 1])
        try bench.run(connected: false)
        bench.line = []
        bench.now += 10_000_000_000
        bench.newClient()
        try bench.run()
        #expect(bench.isAuthenticated && bench.server.connections == 2)
    }

    @Test("another client's SYN in the middle of a session: the old one is let go of, and the new one served")
    func restart() throws {
        let bench = try Bench()
        _ = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.now += 1_000_000_000
        bench.send([0x16, 0x40])
        #expect(bench.server.nextDeadline == bench.now + 200_000_000)
        bench.now += 200_000_000
        bench.server.tick(now: bench.now)
        bench.newClient()
        try bench.run(connected: false)
        #expect(bench.line.starts(with: [0x06, 0x41]) && bench.pid1.messages.last == .detach(tag: tag))
        let number = bench.line[2]
        bench.line = []
        bench.send([0x06, number &+ 1])
        try bench.run(connected: false)
        #expect(bench.line.first == 0x06)
        bench.line.removeFirst()
        try bench.run()
        #expect(bench.isAuthenticated && bench.server.restarts == 1)
        let id = try bench.shell()
        #expect(bench.taken().replies(id) == [true])
    }

    @Test("another client's banner does the same, even in the middle of a packet")
    func banner() throws {
        let bench = try Bench()
        _ = try bench.shell()
        // Not enough for a packet's length, which would be none.
        bench.send([1, 2, 3])
        bench.newClient()
        try bench.run()
        #expect(bench.isAuthenticated)
        #expect(bench.server.restarts == 1 && bench.server.connections == 2)
    }

    @Test("a connection that noise has broken ends, and the next one works", arguments: UInt64(1)..<40)
    func noise(_ seed: UInt64) throws {
        let random = SeededRandom(seed)
        let bench = try Bench()
        _ = try bench.shell()
        for _ in 0..<(random.next() % 5 + 1) {
            bench.send((0..<(random.next() % 400 + 1)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            try bench.run(connected: false)
            bench.now += Int64(random.next() % 500_000_000)
            bench.server.tick(now: bench.now)
        }
        bench.line = []
        bench.now += 1_000_000_000
        bench.server.tick(now: bench.now)
        var host = HandshakeInitiator(seed: seed, now: bench.now)
        for _ in 0..<6 where !host.isSynchronised {
            bench.send(host.takeOutput())
            bench.now += 250_000_000
            bench.server.tick(now: bench.now)
            try bench.run(connected: false)
            let line = bench.line
            let used = line.withUnsafeBytes { host.receive($0, now: bench.now) }
            bench.line = Array(line[used...])
            bench.now += 20_000_000
            host.tick(now: bench.now)
            let rest = host.takeOutput()
            if !rest.isEmpty { bench.send(rest) }
            try bench.run(connected: false)
            let more = bench.line
            if !host.isSynchronised { bench.line = Array(more[more.withUnsafeBytes { host.receive($0, now: bench.now) }...]) }
            if !host.isSynchronised { host.tick(now: bench.now + 1_000_000_000) }
        }
        #expect(host.isSynchronised)
        bench.newClient()
        try bench.run()
        #expect(bench.isAuthenticated)
    }

    @Test("what PID 1 may send ahead is bounded, whatever the line and the client take")
    func bounds() throws {
        let bench = try Bench()
        let id = try bench.shell(window: 100_000)
        let tag = try #require(bench.pid1.attachments.first?.tag)
        // The line stands still: PID 1 gets no more windows than fit into what waits.
        bench.isBlocked = true
        var offset: UInt64 = 0
        for _ in 0..<100 {
            let room = bench.pid1.granted(tag) - Int(offset)
            guard room > 0 else { break }
            bench.pid1.say(.output(tag: tag, .stdout, offset: offset, [UInt8](repeating: 120, count: room)))
            offset += UInt64(room)
            try bench.run(connected: false)
        }
        #expect(offset < 40_000, "\(offset)")
        // It moves again: all arrives, and the client's window is the next bound.
        bench.isBlocked = false
        for _ in 0..<100 {
            try bench.run()
            let room = bench.pid1.granted(tag) - Int(offset)
            guard room > 0 else { break }
            bench.pid1.say(.output(tag: tag, .stdout, offset: offset, [UInt8](repeating: 120, count: room)))
            offset += UInt64(room)
        }
        try bench.run()
        #expect(bench.taken().data(id).utf8.count == 100_000 && offset < 100_000 + 16_385, "\(offset)")
        bench.client.connection.grant(id, bytes: 50_000)
        try bench.run()
        #expect(bench.taken().data(id).utf8.count == Int(offset) - 100_000)
    }

    @Test("channels take turns: a little of one passes the flood of another")
    func fairness() throws {
        let bench = try Bench()
        let flood = try bench.shell()
        let other = try bench.shell()
        let tags = bench.pid1.attachments.map(\.tag)
        bench.isBlocked = true
        bench.pid1.say(.output(tag: tags[0], .stdout, offset: 0, [UInt8](repeating: 120, count: 16_384)))
        try bench.run(connected: false)
        bench.pid1.say(.output(tag: tags[1], .stdout, offset: 0, Array("echo".utf8)))
        try bench.run(connected: false)
        bench.isBlocked = false
        _ = bench.taken()
        try bench.run()
        var before = 0
        for event in bench.taken() {
            if case .data(flood, let bytes) = event { before += bytes.count }
            if case .data(other, _) = event { break }
        }
        #expect(before <= 12 * 1024 + 2048, "\(before) bytes went before it")
    }

    @Test("the end of the container: all is told, then the connection is closed")
    func departs() throws {
        let bench = try Bench()
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("bye".utf8)))
        bench.pid1.say(.exited(tag: tag, result(exitCode: 4)))
        bench.pid1.say(.closing(cause: "the VM powers off"))
        bench.isBlocked = true
        try bench.run()
        #expect(bench.bridge.closingCause == "the VM powers off" && !bench.server.depart(now: bench.now))
        bench.isBlocked = false
        try bench.run()
        // Now it is the client's turn, for a moment.
        #expect(!bench.server.depart(now: bench.now))
        bench.now += LineServer.courtesy - 1
        #expect(!bench.server.depart(now: bench.now) && !bench.isEnded)
        bench.now += 1
        _ = bench.server.depart(now: bench.now)
        try bench.run()
        #expect(bench.server.depart(now: bench.now) && bench.isEnded)
        let events = bench.taken()
        #expect(events.data(id) == "bye" && events.contains(.closed(id)))
    }

    @Test("a client that has long been silent gets all that the container says at its end, however long the line takes for it")
    func silent() throws {
        let bench = try Bench()
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.now += 60_000_000_000
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [UInt8](repeating: 120, count: 16_384)))
        bench.pid1.sessions[0].state = .ended
        bench.pid1.say(.event(tag: 2, .sessionsChanged))
        bench.isBlocked = true
        try bench.run()
        // What the line takes of it, it takes slowly.
        for _ in 0..<40 {
            bench.now += 1_000_000_000
            bench.server.tick(now: bench.now)
            bench.server.withOutput { bytes in
                bench.line += bytes.prefix(200)
                return min(200, bytes.count)
            }
            try bench.run()
        }
        #expect(!bench.pid1.messages.contains(.detach(tag: tag)))
        bench.isBlocked = false
        bench.pid1.say(.exited(tag: tag, result(exitCode: 7)))
        bench.pid1.say(.closing(cause: "the VM powers off"))
        try bench.run()
        let events = bench.taken()
        #expect(events.data(id).utf8.count == 16_384)
        #expect(events.requests(id).map { SessionRequest(name: $0.name, data: $0.data) } == [.exitStatus(7)])
    }

    @Test("a client that takes nothing does not keep the VM from going off for long")
    func stuck() throws {
        let bench = try Bench()
        _ = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.isBlocked = true
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [UInt8](repeating: 120, count: 16_384)))
        bench.pid1.say(.exited(tag: tag, result()))
        bench.pid1.say(.closing(cause: "the VM powers off"))
        try bench.run()
        // As long as something moves it is waited for.
        for _ in 0..<8 {
            #expect(!bench.server.depart(now: bench.now))
            bench.server.withOutput { _ in 1 }
            bench.now += LineServer.patience - 1
        }
        #expect(!bench.server.depart(now: bench.now))
        bench.now += LineServer.patience - 1
        #expect(!bench.server.depart(now: bench.now))
        bench.now += 1
        #expect(bench.server.depart(now: bench.now))
    }

    @Test("a client that synchronised and said no more gives way to one that synchronises, and noise is no client")
    func abandonedBySYN() throws {
        let bench = try Bench()
        func synchronise(_ number: UInt8) throws {
            bench.line = []
            bench.send([0x16, number])
            bench.now += 200_000_000
            bench.server.tick(now: bench.now)
            try bench.run(connected: false)
            try #require(bench.line.starts(with: [0x06, number &+ 1]), "\(bench.line)")
            bench.send([0x06, (bench.line.last ?? 0) &+ 1])
            bench.line = []
            try bench.run(connected: false)
        }
        try synchronise(0x2a)
        bench.now += 10_000_000_000
        bench.send([1])
        try bench.run(connected: false)
        #expect(bench.server.connections == 1)
        bench.now += 10_000_000_000
        try synchronise(0x40)
        #expect(bench.line.first == 0x06 && bench.server.connections == 2)
        bench.line.removeFirst()
        // A banner may come in two pieces, the second of them late.
        bench.newClient()
        bench.client.flush()
        var banner: [UInt8] = []
        bench.client.withOutput { bytes in
            banner += bytes
            return bytes.count
        }
        bench.now += LineServer.bannerTime - 1_000_000
        bench.send(Array(banner.prefix(5)))
        bench.now += 2_000_000
        bench.send(Array(banner.dropFirst(5)))
        try bench.run()
        #expect(bench.isAuthenticated && bench.server.connections == 2)
    }

    @Test("answers to a client that asks again and again do not pile up before a line that takes nothing")
    func answers() throws {
        let bench = try Bench()
        bench.isBlocked = true
        for number in UInt8(0)..<100 {
            bench.send([0x16, number])
            try bench.run(connected: false)
        }
        #expect(bench.server.pendingOutput == 3)
        bench.isBlocked = false
        try bench.run(connected: false)
        #expect(bench.line.starts(with: [0x06, 100]))
    }
}
