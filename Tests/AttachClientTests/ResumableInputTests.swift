import Testing

@testable import AttachClient

@Suite("Attach client: input that goes on after the line has dropped") struct ResumableInputTests {
    @Test("what was not taken is sent again, before what was not sent yet")
    func again() {
        var input = ResumableInput()
        input.append([1, 2, 3, 4, 5])
        input.advance(3)
        #expect(input.pending == [4, 5] && input.offset == 3)
        #expect(input.resume(1) == .whole)
        #expect(input.pending == [2, 3, 4, 5] && input.offset == 1)
        input.advance(4)
        #expect(input.isEmpty && input.resume(5) == .whole && input.isEmpty && input.offset == 5)
        #expect(input.resume(2) == .whole)
        #expect(input.pending == [3, 4, 5])
    }

    @Test("a window's worth is kept, whatever was sent; what is missing beyond it is told with its size")
    func bound() {
        var input = ResumableInput()
        let window = ResumableInput.window
        for piece in 0..<100 {
            input.append([UInt8](repeating: UInt8(piece), count: 10_000))
            input.advance(10_000)
        }
        var other = input
        #expect(input.resume(UInt64(1_000_000 - window)) == .whole)
        #expect(input.pending.count == window && input.pending.suffix(10_000) == [UInt8](repeating: 99, count: 10_000)[...])
        guard case .lost(let lost) = other.resume(5000) else {
            Issue.record("nothing is said to be lost")
            return
        }
        #expect(Int(lost) + other.pending.count == 995_000 && other.pending.count >= window && other.pending.count <= 2 * window)
        // The guest's count and ours mean the same again.
        let count = other.pending.count
        other.advance(count)
        #expect(other.offset == 5000 + UInt64(count))
        #expect(other.resume(other.offset) == .whole && other.isEmpty)
    }

    @Test("a guest that does not know counts from here; one that has taken more than there was is not believed")
    func strangeCounts() {
        var input = ResumableInput()
        #expect(input.resume(nil) == .whole)
        #expect(input.resume(1) == .impossible)
        input.append([1, 2, 3])
        input.advance(2)
        #expect(input.resume(nil) == .unknown(upTo: 2))
        #expect(input.pending == [3] && input.offset == 0)
        input.advance(1)
        #expect(input.resume(0) == .whole && input.pending == [3])
    }
}
