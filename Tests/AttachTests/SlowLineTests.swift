import Control
import SSH
import SessionLog
import Testing

@testable import Attach

@Suite("Attach: slow lines and slow clients") struct SlowLineTests {
    /// A bench whose line takes only what it is told to, and channels with windows as given, each with a process.
    private func bench(windows: [UInt32]) throws -> (Bench, [(id: ChannelID, tag: UInt32)]) {
        let bench = try Bench()
        try bench.run()
        var channels: [ChannelID] = []
        for window in windows {
            let id = try bench.channel(window: window)
            bench.client.connection.request(id, .execute(command: Array("x".utf8)), wantsReply: true)
            try bench.run()
            channels.append(id)
        }
        bench.isBlocked = true
        _ = bench.taken()
        let tags = bench.pid1.execs.map { $0.tag }
        try #require(tags.count == windows.count)
        return (bench, zip(channels, tags).map { ($0, $1) })
    }

    private func output(_ bench: Bench, _ tag: UInt32, _ count: Int) {
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [UInt8](repeating: 65, count: count)))
    }

    /// The line takes at most `count` bytes, and the client gets them.
    private func carry(_ bench: Bench, _ count: Int) throws {
        bench.server.withOutput { bytes in
            bench.line += bytes.prefix(count)
            return min(count, bytes.count)
        }
        try bench.run()
    }

    /// Lets time pass, in steps in each of which the line takes `count` bytes.
    /// - Returns: for each channel at which times PID 1 was told that it goes on, in seconds from now.
    private func pass(_ bench: Bench, _ tags: [UInt32], steps: Int, of milliseconds: Int64, bytes: Int) throws -> [[Double]] {
        var told = tags.map { _ in [Double]() }
        for step in 1...steps {
            let before = bench.pid1.messages.count
            if bytes > 0 { try carry(bench, bytes) }
            bench.now += milliseconds * 1_000_000
            bench.server.tick(now: bench.now)
            try bench.run()
            for message in bench.pid1.messages[before...] {
                guard case .window(let tag, _, _) = message, let index = tags.firstIndex(of: tag) else { continue }
                told[index].append(Double(step) * Double(milliseconds) / 1000)
            }
        }
        return told
    }

    @Test("PID 1 hears of each channel that waits for its turn, at any speed of the line, and of none whose client does not read")
    func turns() throws {
        let (bench, channels) = try bench(windows: [1 << 20, 1 << 20, 1 << 20, 500])
        let tags = channels.map { $0.tag }
        for tag in tags { output(bench, tag, 16_384) }
        try bench.run()
        // 200 bytes a second: a channel's 4 KiB would take more than a minute.
        let told = try pass(bench, tags, steps: 100, of: 100, bytes: 20)
        for times in told.dropLast() {
            let gaps = zip([0] + times, times).map { $1 - $0 }
            #expect(times.count >= 25 && gaps.allSatisfy { $0 < 0.5 }, "\(times)")
        }
        // The last is told of as long as its window lasts: 500 bytes, all of them sent at the beginning.
        #expect(told[3].allSatisfy { $0 < 1 }, "\(told[3])")
        #expect(bench.pid1.granted(tags[3]) == 500)
    }

    @Test("a line that takes nothing is nobody's progress, and waits for no deadline")
    func deadLine() throws {
        let (bench, channels) = try bench(windows: [1 << 20, 1 << 20])
        let tags = channels.map { $0.tag }
        for tag in tags { output(bench, tag, 16_384) }
        try bench.run()
        _ = try pass(bench, tags, steps: 5, of: 100, bytes: 20)
        let told = try pass(bench, tags, steps: 50, of: 100, bytes: 0)
        #expect(told.allSatisfy { $0.allSatisfy { $0 < 0.5 } }, "\(told)")
        let next = bench.server.nextDeadline
        #expect(next == nil || next ?? 0 > bench.now, "the server must not turn for nothing")
    }

    @Test("a client that takes little at a time is heard of before it has taken much")
    func littleAtATime() throws {
        let (bench, channels) = try bench(windows: [100])
        let (id, tag) = channels[0]
        bench.isBlocked = false
        output(bench, tag, 16_384)
        try bench.run()
        bench.server.tick(now: bench.now)
        try bench.run()
        #expect(bench.pid1.granted(tag) == 100)
        for _ in 0..<10 {
            let before = bench.pid1.granted(tag)
            bench.client.connection.grant(id, bytes: 100)
            try bench.run()
            bench.now += 300_000_000
            bench.server.tick(now: bench.now)
            try bench.run()
            #expect(bench.pid1.granted(tag) == before + 100)
        }
    }

    @Test("channels that always have something to send get the same of a line on which there is room for one at a time")
    func fairness() throws {
        for count in 2...5 {
            let (bench, channels) = try bench(windows: [UInt32](repeating: 1 << 24, count: count))
            var given = channels.map { _ in 0 }
            for _ in 0..<2000 {
                for index in channels.indices {
                    let room = 16_384 + bench.pid1.granted(channels[index].tag) - given[index]
                    if room > 0 { output(bench, channels[index].tag, room) }
                    given[index] += room
                }
                try carry(bench, 150)
                bench.now += 10_000_000
                bench.server.tick(now: bench.now)
            }
            let events = bench.taken()
            let received = channels.map { events.data($0.id).utf8.count }
            #expect((received.min() ?? 0) * 2 > (received.max() ?? 0), "\(received)")
            #expect(received.reduce(0, +) > 200_000, "\(received)")
        }
    }
}
