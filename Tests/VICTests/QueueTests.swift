import Testing

@testable import VIC

@Suite("Results for a host that may refuse them")
struct QueueTests {
    private let ms: Int64 = 1_000_000
    private let results = VICResults(id: "c1", isExec: false)
    private let other = VICResults(id: "e1", isExec: true)

    /// Writes until `end` to a host that refuses the keys for which `refuses` says so.
    /// - Returns: what it was asked to take, `!` before what it refused; and what was said of it.
    private func write(
        _ queue: inout VICQueue, from start: Int64 = 0, until end: Int64, _ refuses: (VICKeyValue, Int64) -> Bool
    ) -> (asked: [String], said: [VICQueue.Refusal]) {
        var (now, asked, said): (Int64, [String], [VICQueue.Refusal]) = (start, [], [])
        while let due = queue.due, max(now, due) < end {
            now = max(now, due)
            guard let pair = queue.next(now) else { break }
            let name = "\(pair.key.split(separator: ".").last ?? "")=\(pair.value)"
            if refuses(pair, now) {
                asked.append("!" + name)
                said.append(queue.refused(now))
            } else {
                asked.append(name)
                queue.taken()
            }
        }
        return (asked, said)
    }

    private func end(_ status: Int64, of results: VICResults) -> [VICKeyValue] { results.ended(status: status, at: 9, startedAt: 7) }

    @Test("a host that is busy for a moment gets everything in its order, and each key once")
    func order() {
        var queue = VICQueue()
        #expect(queue.due == nil && queue.next(0) == nil)
        #expect(queue.append(end(3, of: results), of: "c1") == 0 && queue.append(end(4, of: other), of: "e1") == 0)
        let (asked, said) = write(&queue, until: .max) { _, now in now < 111 * ms }
        let refused = [String](repeating: "!status=3", count: 3)
        #expect(asked == refused + ["status=3", "stoptime=9", "status@non-persistent=4", "stoptime@non-persistent=9"])
        #expect(said == [.again, .again, .again] && queue.waiting.isEmpty && queue.due == nil)
    }

    @Test("no stoptime is told before its status, however long the host refuses it, and no end before its start; the rest goes on")
    func vouched() {
        var queue = VICQueue()
        _ = queue.append(end(3, of: results), of: "c1")
        _ = queue.append(end(4, of: other), of: "e1")
        let refuses = { (pair: VICKeyValue, now: Int64) in pair.value == "3" && now < 25_000 * ms }
        var (asked, said) = write(&queue, until: 9_000 * ms, refuses)
        #expect(asked == [String](repeating: "!status=3", count: 4) + ["status@non-persistent=4", "stoptime@non-persistent=9"])
        #expect(said == [.again, .again, .again, .putOff] && queue.due == 11_110 * ms)
        // What comes of others meanwhile does not wait; what comes of the same one stays behind.
        _ = queue.append([VICKeyValue(VICKey().field("late", .readWrite), "1")], of: "c1")
        _ = queue.append([VICKeyValue(VICKey().field("new", .readWrite), "2")], of: "n")
        (asked, said) = write(&queue, from: 9_000 * ms, until: .max, refuses)
        #expect(asked == ["new=2", "!status=3", "!status=3", "status=3", "stoptime=9", "late=1"] && said == [.again, .again])
    }

    @Test("at the VM's end everything is tried once more, what was put off last; what is refused then is given up, and keeps nothing back")
    func final() {
        var queue = VICQueue()
        _ = queue.append(end(4, of: other), of: "e1")
        let refuses = { (pair: VICKeyValue, now: Int64) in pair.value == "4" }
        _ = write(&queue, until: 2_000 * ms, refuses)
        _ = queue.append(end(3, of: results), of: "c1")
        queue.finish()
        let (asked, said) = write(&queue, from: 2_000 * ms, until: 4_000 * ms, refuses)
        let refused = [String](repeating: "!status@non-persistent=4", count: 4)
        #expect(asked == ["status=3", "stoptime=9"] + refused + ["stoptime@non-persistent=9"])
        #expect(said == [.again, .again, .again, .givenUp] && queue.waiting.isEmpty)
    }

    @Test("a host that takes nothing costs the oldest groups, and no part of one")
    func bounded() {
        var queue = VICQueue()
        let lost = (0..<2050).map { queue.append(end($0, of: results), of: "\($0)") }
        #expect(lost.filter { $0 > 0 } == [2, 2] && queue.waiting.count == 4096)
        #expect(queue.waiting.prefix(2).map { $0.value } == ["2", "9"])
    }
}
