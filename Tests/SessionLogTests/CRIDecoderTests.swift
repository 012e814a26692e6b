import SessionLog
import TestSupport
import Testing

@Suite struct CRIDecoderTests {
    static let record = "2026-01-02T03:04:05.678901234Z stdout F hello\n"
    static let decoded = CRIRecord(
        timestamp: Timestamp(nanoseconds: sampleTime), stream: .stdout, endsLine: true, bytes: Array(utf8: "hello"))

    @Test func roundTripsRandomBytes() {
        for seed in 0..<40 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            let streams: [LogStream: [UInt8]] = [
                .stdout: generator.bytes(Int.random(in: 0...80_000, using: &generator), newlineEvery: seed % 3 == 0 ? 0 : 200),
                .stderr: generator.bytes(Int.random(in: 0...20_000, using: &generator), newlineEvery: 2),
            ]
            var queues = streams.mapValues { $0.pieces(&generator, maximum: 9000)[...] }
            var encoder = CRIEncoder()
            var log: [UInt8] = []
            while let stream = queues.filter({ !$0.value.isEmpty }).keys.sorted(by: { $0.rawValue < $1.rawValue })
                .randomElement(using: &generator)
            {
                let piece = queues[stream]?.popFirst() ?? []
                encoder.encode(stream, piece, at: sampleTime, into: &log)
                if Int.random(in: 0..<4, using: &generator) == 0 { encoder.flushPartial(stream, into: &log) }
            }
            encoder.flushPartial(.stdout, into: &log)
            encoder.flushPartial(.stderr, into: &log)

            let items = decodeAll(log.pieces(&generator, maximum: 5000))
            #expect(items.content(.stdout) == streams[.stdout], "seed \(seed)")
            #expect(items.content(.stderr) == streams[.stderr], "seed \(seed)")
            #expect(items.count == items.records.count, "nothing is garbage, seed \(seed)")
        }
    }

    @Test func everyNewlinePosition() {
        for length in 0...6 {
            for mask in 0..<(1 << length) {
                let content = (0..<length).map { mask >> $0 & 1 == 1 ? UInt8(10) : UInt8(ascii: "a") + UInt8($0) }
                #expect(decodeAll(encode([(.stdout, content)])).content(.stdout) == content)
                // A flush after every byte gives the same stream.
                var encoder = CRIEncoder()
                var log: [UInt8] = []
                for byte in content {
                    encoder.encode(.stdout, [byte], at: sampleTime, into: &log)
                    encoder.flushPartial(.stdout, into: &log)
                }
                #expect(decodeAll(log).content(.stdout) == content)
            }
        }
    }

    @Test func everyCut() {
        let log = Array(utf8: "junk\n\(Self.record)garbage\(Self.record)\(Self.record.dropLast(3))")
        let expected = decodeAll(log)
        #expect(expected.count == 5)
        for cut in 0...log.count {
            #expect(decodeAll([[UInt8](log[..<cut]), [UInt8](log[cut...])]) == expected, "cut at \(cut)")
        }
        #expect(decodeAll(log.map { [$0] }) == expected)
    }

    @Test(arguments: [
        ("", "", 0), ("boot noise\n", "", 11), ("a\nb\n\n", "", 5), ("", "tail\n", 5), ("", "no newline", 10), ("glued", "", 5),
        ("2026-01-02T03:04:05Z stdxxx F no\n", "", 33), ("2026-13-02T03:04:05Z stdout F no\n", "", 33),
        ("2026-01-02T03:04:05Z stdout X no\n", "", 33), ("2026-01-02T03:04:05Z stdout F\n", "", 30),
        ("2026-01-02T03:04:05Z stdout ", "", 28), ("\0\u{1}\n", "", 3),
    ])
    func skipsGarbage(before: String, after: String, count: UInt64) {
        let items = decodeAll(Array(utf8: before + Self.record + after))
        #expect(items.records == [Self.decoded])
        #expect(items.skipped.map(\.count) == (count == 0 ? [] : [count]))
        if !after.isEmpty { #expect(items.skipped.first?.offset == UInt64(Self.record.utf8.count)) }
        if !before.isEmpty { #expect(items.skipped.first?.offset == 0) }
    }

    @Test func readsOtherWritersLines() {
        let items = decodeAll(Array(utf8: "2026-01-02T04:04:05.678901234+01:00 stdout F:x:y hello\n2026-01-02T03:04:05Z stderr P \n"))
        #expect(
            items == [
                .record(Self.decoded),
                .record(
                    CRIRecord(timestamp: Timestamp(nanoseconds: 1_767_323_045_000_000_000), stream: .stderr, endsLine: false, bytes: [])),
            ])
    }

    @Test func reportsATruncatedRecord() {
        var cut = Self.decoded
        cut.endsLine = false
        #expect(decodeAll(Array(utf8: Self.record.dropLast(1))) == [.truncated(cut)])
        cut.bytes = Array(utf8: "hel")
        #expect(decodeAll(Array(utf8: Self.record.dropLast(3))) == [.truncated(cut)])
        #expect(decodeAll(Array(utf8: Self.record.prefix(20))) == [.skipped(offset: 0, count: 20)])
    }

    /// Whatever is injected between two records, both come out, and every byte is accounted for.
    @Test func survivesInjectedGarbage() {
        for seed in 0..<60 as Range<UInt64> {
            var generator = SeededGenerator(seed: 1000 + seed)
            var log: [UInt8] = []
            var expected: [CRIRecord] = []
            var garbage: UInt64 = 0
            for index in 0..<Int.random(in: 1...10, using: &generator) {
                var encoder = CRIEncoder()
                let content = generator.bytes(Int.random(in: 0...500, using: &generator)).map { $0 == 10 ? 0 : $0 }
                encoder.encode(.stderr, content + [10], at: sampleTime + Int64(index), into: &log)
                expected.append(
                    CRIRecord(
                        timestamp: Timestamp(nanoseconds: sampleTime + Int64(index)), stream: .stderr, endsLine: true, bytes: content))
                // Now and then more than the decoder keeps, without a newline or with many.
                let length = Int.random(in: 0..<8, using: &generator) == 0 ? 200_000 : Int.random(in: 0...300, using: &generator)
                let noise = generator.bytes(length, newlineEvery: seed % 2 == 0 ? 0 : 50)
                log += seed % 3 == 0 ? noise.map { $0 == 10 ? 0 : $0 } : noise
                garbage += UInt64(length)
            }
            let whole = decodeAll(log)
            #expect(whole.records == expected, "seed \(seed)")
            #expect(whole.skipped.map(\.count).reduce(0, +) == garbage, "seed \(seed)")
            #expect(decodeAll(log.pieces(&generator, maximum: 70_000)) == whole, "seed \(seed)")
            #expect(decodeAll(log.pieces(&generator, maximum: 100)) == whole, "seed \(seed)")
        }
    }

    /// A line longer than any record is garbage, but a record at its very end is found.
    @Test func overlongLines() {
        let filler = [UInt8](repeating: UInt8(ascii: "x"), count: 65_537)
        let long = Array(utf8: "2026-01-02T03:04:05Z stdout F ") + filler + [10]
        #expect(decodeAll(long + Array(utf8: Self.record)) == [.skipped(offset: 0, count: UInt64(long.count)), .record(Self.decoded)])
        let glued = decodeAll(filler + Array(utf8: Self.record))
        #expect(glued == [.skipped(offset: 0, count: 65_537), .record(Self.decoded)])
        let most = Array(utf8: "2026-01-02T03:04:05Z stdout F ") + filler.dropLast(31) + [10]
        #expect(decodeAll(most).records.first?.bytes.count == 65_506)
        var generator = SeededGenerator(seed: 5)
        for log in [long, filler + Array(utf8: Self.record), most, filler + filler] {
            #expect(decodeAll(log.pieces(&generator, maximum: 40_000)) == decodeAll(log))
        }
    }

    @Test func neverTrapsOnRandomOrMutatedInput() {
        for seed in 0..<300 as Range<UInt64> {
            var generator = SeededGenerator(seed: 5000 + seed)
            var log = seed % 2 == 0 ? generator.bytes(2000, newlineEvery: 40) : Array(utf8: String(repeating: Self.record, count: 20))
            for _ in 0..<Int.random(in: 1...60, using: &generator) {
                log[Int.random(in: 0..<log.count, using: &generator)] = UInt8(truncatingIfNeeded: generator.next())
            }
            #expect(decodeAll(log.pieces(&generator, maximum: 64)) == decodeAll(log), "seed \(seed)")
        }
    }

    /// A volume that a debug build masters; the measured gigabyte is a matter of a release build.
    @Test func eightMegabytesKeepTheirDigest() {
        var generator = SeededGenerator(seed: 11)
        let block = generator.bytes(1 << 20)
        var (encoder, decoder) = (CRIEncoder(), CRIDecoder())
        var (sent, received) = (StreamDigest(), StreamDigest())
        func take(_ item: CRIDecoder.Item) {
            guard case .record(let record) = item else {
                Issue.record("not a record: \(item)")
                return
            }
            received.update(record.bytes)
            if record.endsLine { received.update([10]) }
        }
        for _ in 0..<8 {
            for piece in block.pieces(&generator, maximum: 65_536) {
                var log: [UInt8] = []
                encoder.encode(.stdout, piece, at: sampleTime, into: &log)
                sent.update(piece)
                decoder.decode(log, take)
            }
        }
        var log: [UInt8] = []
        encoder.flushPartial(.stdout, into: &log)
        decoder.decode(log, take)
        decoder.finish(take)
        #expect(received.total == sent.total)
        #expect(sent.bytes == 8 << 20)
    }
}
