import Foundation
import SessionLog
import TestSupport
import Testing

@Suite struct CRIEncoderTests {
    let time = "2026-01-02T03:04:05.678901234Z"

    @Test func writesCRILines() {
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        encoder.encode(.stdout, Array(utf8: "one\n\ntwo"), at: sampleTime, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "\(time) stdout F one\n\(time) stdout F \n")
        #expect(encoder.heldCount(.stdout) == 3)

        log = []
        encoder.encode(.stderr, Array(utf8: "err\n"), at: sampleTime + 1, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "2026-01-02T03:04:05.678901235Z stderr F err\n")

        log = []
        encoder.encode(.stdout, Array(utf8: " more\n"), at: sampleTime + 1_000_000_000, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "\(time) stdout F two more\n", "stamped when its first byte was read")
        #expect(!encoder.hasPartial(.stdout))
    }

    @Test func flushesAPartialLineOnce() {
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        encoder.flushPartial(.stdout, into: &log)
        #expect(log.isEmpty)
        encoder.encode(.stdout, Array(utf8: "prompt> "), at: sampleTime, into: &log)
        #expect(log.isEmpty)
        encoder.flushPartial(.stderr, into: &log)
        #expect(log.isEmpty)
        encoder.flushPartial(.stdout, into: &log)
        encoder.flushPartial(.stdout, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "\(time) stdout P prompt> \n")
        log = []
        encoder.encode(.stdout, Array(utf8: "\n"), at: sampleTime + 1, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "2026-01-02T03:04:05.678901235Z stdout F \n")
    }

    @Test func eventsAreTheirOwnStream() {
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        encoder.encode(.stdout, Array(utf8: "half"), at: sampleTime, into: &log)
        encoder.encode(.boot(version: "1", kernel: "6.1\n"), at: sampleTime, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "\(time) event F {\"event\":\"boot\",\"version\":\"1\",\"kernel\":\"6.1\\n\"}\n")
        #expect(encoder.heldCount(.stdout) == 4)
    }

    /// Lines around the bound, in one piece, byte by byte, and cut at the bound.
    @Test(arguments: [16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 50_000], [1, 7, 4096, 16_384, 65_536])
    func boundsRecords(length: Int, piece: Int) {
        var generator = SeededGenerator(seed: UInt64(length))
        let line = generator.bytes(length).map { $0 == 10 ? 11 : $0 }
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        var at = 0
        while at < length {
            let end = min(length, at + piece)
            encoder.encode(.stdout, [UInt8](line[at..<end]), at: sampleTime, into: &log)
            #expect(encoder.heldCount(.stdout) <= CRIRecord.maximumContent)
            at = end
        }
        encoder.encode(.stdout, [10], at: sampleTime, into: &log)
        let records = decodeAll(log).records
        #expect(records.flatMap(\.bytes) == line)
        #expect(records.map(\.endsLine) == [Bool](repeating: false, count: (length - 1) / CRIRecord.maximumContent) + [true])
        #expect(records.dropLast().allSatisfy { $0.bytes.count == CRIRecord.maximumContent })
    }

    /// The output does not depend on how the bytes were cut, as long as nothing is flushed between.
    @Test func cuttingDoesNotMatter() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<50 {
            let content = generator.bytes(Int.random(in: 1...60_000, using: &generator), newlineEvery: 300)
            var whole: [UInt8] = []
            var encoder = CRIEncoder()
            encoder.encode(.stdout, content, at: sampleTime, into: &whole)
            encoder.flushPartial(.stdout, into: &whole)
            var cut: [UInt8] = []
            var other = CRIEncoder()
            for piece in content.pieces(&generator, maximum: 3000) { other.encode(.stdout, piece, at: sampleTime, into: &cut) }
            other.flushPartial(.stdout, into: &cut)
            #expect(whole == cut)
        }
    }

    /// Fluent Bit's `cri` parser, as its documentation has it; it knows no stream `event`.
    @Test func fluentBitReadsIt() throws {
        let expression = try NSRegularExpression(
            pattern: #"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$"#)
        let text = "plain line\n\n  indented P F stdout\nüñïcödé ✓\nno newline"
        let log = String(decoding: encode([(.stdout, Array(utf8: text)), (.stderr, Array(utf8: text))]), as: UTF8.self)
        var messages: [String: [String]] = [:]
        for line in log.split(separator: "\n", omittingEmptySubsequences: true).map(String.init) {
            let match = try #require(expression.firstMatch(in: line, range: NSRange(line.startIndex..., in: line)))
            func group(_ name: String) throws -> String {
                String(line[try #require(Range(match.range(withName: name), in: line))])
            }
            #expect(Timestamp(try group("time")) != nil)
            let message = try group("message")
            #expect(try group("logtag") == (message == "no newline" ? "P" : "F"))
            messages[try group("stream"), default: []].append(message)
        }
        let lines = text.components(separatedBy: "\n")
        #expect(messages == ["stdout": lines, "stderr": lines])
    }

    @Test func digestsAgreeWithSha256sum() throws {
        var generator = SeededGenerator(seed: 3)
        for count in [0, 1, 55, 56, 63, 64, 65, 100_000] {
            let content = generator.bytes(count)
            var digest = StreamDigest()
            for piece in content.pieces(&generator, maximum: 1000) { digest.update(piece) }
            let expected = try output("/usr/bin/sha256sum", [], input: content).prefix(64)
            #expect(digest.total == StreamTotal(bytes: UInt64(count), sha256: String(expected)))
            #expect(digest.total == digest.total, "taking the total does not end the digest")
        }
    }
}
