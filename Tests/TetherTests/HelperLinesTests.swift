import Testing

@testable import Tether

/// What of a helper's standard error stands in the diagnostics.
@Suite("A helper's standard error") struct HelperLinesTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test("what is too many is counted and said, also where nothing follows")
    func omitted() {
        var lines = HelperLines()
        let told = lines.take(bytes((1...20).map { "line \($0)\n" }.joined()), second: 7) + lines.finish()
        #expect(told == (1...10).map { "line \($0)" } + ["10 lines left out"])
        #expect(lines.finish() == [])
    }

    @Test("the next second has room again, and says first what the one before left out")
    func seconds() {
        var lines = HelperLines()
        _ = lines.take(bytes(String(repeating: "a\n", count: 11)), second: 7)
        #expect(lines.take(bytes("b\nhalf"), second: 8) == ["1 lines left out", "b"])
        #expect(lines.take(bytes(" and half\nthe last"), second: 9) == ["half and half"])
        #expect(lines.finish() == ["the last"])
    }

    @Test("a long line is cut where one sees it, and control characters are none")
    func long() {
        var lines = HelperLines()
        let whole = String(repeating: "x", count: HelperLines.longest)
        #expect(lines.take(bytes(whole + "\n" + whole + "y\n\u{1B}[1m\n\n"), second: 1) == [whole, whole + "…", " [1m"])
    }
}
