import SessionLog
import SessionReplay
import Testing

/// VIC's log: docs/formats.md, "VIC's log".
@Suite("VIC's log")
struct VICLogTests {
    private typealias Item = CRIDecoder.Item

    private func decode(_ log: [UInt8], chunk: Int = .max) -> [Item] {
        var decoder = VICLogDecoder()
        var items: [Item] = []
        for start in stride(from: 0, to: log.count, by: min(chunk, max(1, log.count))) {
            decoder.decode(Array(log[start..<min(log.count, start + min(chunk, log.count))])) { items.append($0) }
        }
        decoder.finish { items.append($0) }
        return items
    }

    private func record(_ stream: LogStream, _ text: String, endsLine: Bool = true, at seconds: Int64 = 1_500_000_000) -> CRIRecord {
        CRIRecord(timestamp: Timestamp(nanoseconds: seconds * 1_000_000_000), stream: stream, endsLine: endsLine, bytes: Array(text.utf8))
    }

    private func bytes(_ items: [Item], _ stream: LogStream) -> [UInt8] {
        items.reduce(into: []) { bytes, item in
            guard case .record(let record) = item, record.stream == stream else { return }
            bytes += record.endsLine ? record.bytes + [10] : record.bytes
        }
    }

    @Test("a record is written as VIC's readers know it")
    func literal() {
        var encoder = VICLogEncoder()
        var log: [UInt8] = []
        encoder.encode(.stdout, Array("hello\n".utf8), at: 1_500_000_000_000_000_000, into: &log)
        #expect(String(decoding: log, as: UTF8.self) == "AAAWew0S0RRgAA==hello\n")
        encoder.encode(.stderr, Array("hello\n".utf8), at: 1_500_000_000_000_000_000, into: &log)
        // Bit 3 of the last two bytes: 0x68 instead of 0x60.
        #expect(String(decoding: log, as: UTF8.self).hasSuffix("AAAWew0S0RRoAA==hello\n"))
        #expect(decode(log) == [.record(record(.stdout, "hello")), .record(record(.stderr, "hello"))])
    }

    /// Lengths and times that VIC's own tests have.
    @Test("32 KiB without a newline are nine records, and what stands before them is passed over")
    func large() {
        var encoder = VICLogEncoder()
        var log: [UInt8] = [0x0D, 0xFF]
        let content = [UInt8](repeating: 0, count: 32_768)
        encoder.encode(.stdout, content, at: 191_193_300_000_000_000, into: &log)
        encoder.flushPartial(.stdout, into: &log)
        #expect(log.count == 2 + 32_768 + 9 * 16)
        let items = decode(log, chunk: 1000)
        #expect(items.first == .skipped(offset: 0, count: 2) && bytes(items, .stdout) == content)
        let records = items.compactMap { if case .record(let record) = $0 { record } else { nil } }
        #expect(records.map { $0.bytes.count } == [Int](repeating: 4095, count: 8) + [8])
        #expect(records.allSatisfy { $0.timestamp.text == "1976-01-22T21:15:00.000000000Z" && $0.stream == .stdout })
    }

    @Test("A24: unfinished lines of the two streams are not glued together")
    func partials() {
        var encoder = VICLogEncoder()
        var log: [UInt8] = []
        let time: Int64 = 1_500_000_000_000_000_000
        encoder.encode(.stdout, Array("out".utf8), at: time, into: &log)
        encoder.encode(.stderr, Array("err".utf8), at: time, into: &log)
        encoder.encode(.stdout, Array(" more\nlast".utf8), at: time + 1_000_000_000, into: &log)
        #expect(encoder.hasPartial(.stdout) && encoder.heldCount(.stderr) == 3)
        encoder.flushPartial(.stderr, into: &log)
        encoder.flushPartial(.stderr, into: &log)
        encoder.flushPartial(.stdout, into: &log)
        let expected = [
            record(.stdout, "out more"), record(.stderr, "err", endsLine: false),
            record(.stdout, "last", endsLine: false, at: 1_500_000_001),
        ]
        #expect(decode(log) == expected.map { .record($0) })
    }

    @Test("A25: a record has at most 4095 bytes, and its size is right", arguments: [4094, 4095, 4096, 8190, 8191, 8192, 20_000])
    func longLines(length: Int) {
        let line = (0..<length).map { UInt8(ascii: "a") + UInt8($0 % 26) } + [10]
        for piece in [1, 100, 4095, 5000, line.count] {
            var encoder = VICLogEncoder()
            var log: [UInt8] = []
            for start in stride(from: 0, to: line.count, by: piece) {
                encoder.encode(.stdout, Array(line[start..<min(line.count, start + piece)]), at: 7, into: &log)
                #expect(encoder.heldCount(.stdout) < 4095)
            }
            #expect(!encoder.hasPartial(.stdout))
            let items = decode(log)
            #expect(bytes(items, .stdout) == line && items.count == (line.count + 4094) / 4095)
            #expect(log.count == line.count + 16 * items.count)
        }
    }

    @Test("A22: any bytes survive, whatever the pieces and the chunks")
    func binary() {
        var generator = SystemRandomNumberGenerator()
        let content = (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var encoder = VICLogEncoder()
        var log: [UInt8] = []
        var position = 0
        while position < content.count {
            let end = min(content.count, position + Int.random(in: 1...9000, using: &generator))
            encoder.encode(.stderr, Array(content[position..<end]), at: Int64(position), into: &log)
            if Bool.random(using: &generator) { encoder.flushPartial(.stderr, into: &log) }
            position = end
        }
        encoder.flushPartial(.stderr, into: &log)
        for chunk in [1, 17, 4096, .max] { #expect(bytes(decode(log, chunk: chunk), .stderr) == content) }
    }

    @Test("the way is found again behind garbage, and a cut is seen")
    func damage() {
        let one = Array("AAAWew0S0RRgAA==hello\n".utf8)
        for garbage in ["x", "no header at all, and longer than one", "AAAWew0S0RRgAA=", "AAAWew0S0RRgAB==", "AAAWew0S0RRhAA=="] {
            let log = one + Array(garbage.utf8) + one
            let skipped = Item.skipped(offset: 22, count: UInt64(garbage.utf8.count))
            #expect(decode(log) == [.record(record(.stdout, "hello")), skipped, .record(record(.stdout, "hello"))], "\(garbage)")
            #expect(decode(log, chunk: 1) == decode(log))
        }
        #expect(decode(Array(one.dropLast(3))) == [.truncated(record(.stdout, "hel", endsLine: false))])
        #expect(decode(Array(one.prefix(9))) == [.skipped(offset: 0, count: 9)])
        #expect(decode([]).isEmpty)
    }

    @Test("the format of a log is told by its first record")
    func detection() {
        let vic = Array("AAAWew0S0RRgAA==hello\n".utf8)
        let cri = Array("2026-01-02T03:04:05.000000000Z stdout F hello\n".utf8)
        func format(_ log: [UInt8], chunk: Int = .max) -> LogFormat? {
            var decoder = LogDecoder()
            for start in stride(from: 0, to: log.count, by: min(chunk, log.count)) {
                _ = decoder.decode(log[start..<min(log.count, start + min(chunk, log.count))])
            }
            _ = decoder.finish()
            return decoder.format
        }
        // The container's own output may look like a record of the other format.
        var encoder = VICLogEncoder()
        var vicOfCRI: [UInt8] = []
        encoder.encode(.stdout, cri, at: 1_500_000_000_000_000_000, into: &vicOfCRI)
        let criOfVIC = cri.dropLast() + vic
        for chunk in [1, 7, .max] {
            #expect(format(vic, chunk: chunk) == .vic && format(cri, chunk: chunk) == .cri)
            #expect(format(Array("BIOS\n".utf8) + vic, chunk: chunk) == .vic)
            #expect(format(Array(criOfVIC), chunk: chunk) == .cri && format(vicOfCRI, chunk: chunk) == .vic)
        }
        #expect(format([1, 2, 3]) == .cri)
        #expect(CaptureKind.detect(vic, isAll: false) == .sessionLog)
    }

    @Test("a replay gives the output back, and takes the end of the container from the status")
    func replaying() throws {
        var encoder = VICLogEncoder()
        var log: [UInt8] = []
        encoder.encode(.stdout, Array("one\ntwo\n".utf8), at: sampleTime, into: &log)
        encoder.encode(.stderr, Array("half".utf8), at: sampleTime, into: &log)
        encoder.flushPartial(.stderr, into: &log)
        let plain = try replay(log)
        #expect(plain.stdoutText == "one\ntwo\n" && plain.stderrText == "half")
        #expect(plain.result.boots.first?.exit == nil)
        let without = "a log in VIC's format has no exit record: only the status in guestinfo says how the container ended"
        let unverified = try replay(log) { $0.mode = .verify }
        #expect(unverified.stdoutText == "FAILED: \(without)\n" && !unverified.result.isVerified)
        #expect(try replay(log) { $0.mode = .exitRecord }.stderrText == "tetherctl: \(without)\n")
        var (stdout, stderr) = (StreamDigest(), StreamDigest())
        stdout.update(Array("one\ntwo\n".utf8))
        stderr.update(Array("half".utf8))
        let exit = ExitRecord(id: "c", exitCode: 3, stdout: stdout.total, stderr: stderr.total)
        let verified = try replay(log) {
            $0.mode = .verify
            $0.exit = exit
        }
        #expect(verified.stdoutText == "verified: stdout 8 bytes, stderr 4 bytes\n" && verified.result.isVerified)
        #expect(throws: ReplayError.self, "it would never end") {
            try replay(log) {
                $0.follow = true
                $0.needsExit = true
            }
        }
        let cut = try replay(Array(log.dropLast(2))) { $0.exit = exit }
        #expect(cut.stderrText.contains("stderr has 2 bytes, the exit record says 4") && cut.result.boots.first?.exit == exit)
    }
}
