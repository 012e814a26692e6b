import Testing

@testable import Sessions

@Suite("The ring of recent output") struct OutputRingTests {
    private func content(_ ring: OutputRing, from offset: UInt64) -> [UInt8] {
        var result: [UInt8] = []
        while true {
            let piece = ring.withBytes(from: offset &+ UInt64(result.count), atMost: 1000) { Array($0) }
            if piece.isEmpty { return result }
            result += piece
        }
    }

    @Test("keeps the last bytes, whatever the sizes of the pieces", arguments: [1, 2, 7, 64, 100])
    func keepsTheEnd(_ capacity: Int) {
        var ring = OutputRing(capacity: capacity)
        var all: [UInt8] = []
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let piece = (0..<Int.random(in: 0...capacity * 2, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            all += piece
            piece.withUnsafeBytes { ring.append($0) }
            #expect(ring.end == UInt64(all.count))
            #expect(ring.start == UInt64(max(0, all.count - capacity)))
            #expect(content(ring, from: ring.start) == Array(all.suffix(capacity)))
        }
    }

    @Test("gives nothing for an offset that it does not have")
    func outside() {
        var ring = OutputRing(capacity: 4)
        Array("abcdef".utf8).withUnsafeBytes { ring.append($0) }
        #expect(content(ring, from: 1) == [])
        #expect(content(ring, from: 2) == Array("cdef".utf8))
        #expect(content(ring, from: 6) == [])
        #expect(content(ring, from: .max) == [])
    }
}

@Suite("Input that waits for the process") struct InputQueueTests {
    @Test("goes out in order, and says whose it was")
    func order() {
        var queue = InputQueue()
        queue.append(Array("abc".utf8), owner: 1)
        queue.append([], owner: 9)
        queue.append(Array("de\n".utf8), owner: 2)
        queue.append([4], owner: nil)
        #expect(queue.endsLine == false)
        var out: [UInt8] = []
        var owners: [UInt64?] = []
        while let taken = queue.writeFirst({
            out += Array($0.prefix(2)); return min(2, $0.count)
        }) { owners.append(taken.owner) }
        #expect(out == Array("abcde\n".utf8) + [4])
        #expect(owners == [1, 1, 2, 2, nil])
        #expect(queue.isEmpty)
    }

    @Test("bytes that come one by one cost no more than those that come together")
    func single() {
        var queue = InputQueue()
        var expected: [UInt8] = []
        for number in 0..<InputQueue.credit {
            expected.append(UInt8(truncatingIfNeeded: number))
            queue.append([UInt8(truncatingIfNeeded: number)], owner: 1)
            if number == 5000 { queue.append([7], owner: nil) }
        }
        expected.insert(7, at: 5001)
        #expect(queue.chunkCount < 16)
        var out: [UInt8] = []
        var counts: [UInt64?: Int] = [:]
        while let taken = queue.writeFirst({ bytes in
            out += Array(bytes.prefix(1000))
            return min(1000, bytes.count)
        }) { counts[taken.owner, default: 0] += taken.count }
        #expect(out == expected && counts == [1: InputQueue.credit, nil: 1])
    }

    @Test("a process that takes nothing leaves it as it is; what is dropped is named")
    func dropped() {
        var queue = InputQueue()
        queue.append(Array("abc".utf8), owner: 1)
        #expect(queue.writeFirst { _ in 0 } == nil)
        _ = queue.writeFirst { _ in 1 }
        var dropped: [String] = []
        queue.removeAll { owner, count in dropped.append("\(owner ?? 0):\(count)") }
        #expect(dropped == ["1:2"])
        #expect(queue.isEmpty)
    }
}
