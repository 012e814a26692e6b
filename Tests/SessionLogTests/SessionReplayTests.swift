import Foundation
import SessionLog
import SessionReplay
import TestSupport
import Testing

@Suite struct EventDecodingTests {
    @Test func everyEventRoundTrips() {
        let full = ExitRecord(
            id: "c\"\n", exitCode: 139, signal: "SIGSEGV", coreDumped: true, oomKilled: true, startedAt: Timestamp(nanoseconds: 1),
            finishedAt: Timestamp(nanoseconds: sampleTime), stdout: StreamTotal(bytes: .max, sha256: "aa"), drain: .grace,
            error: FailureReport(phase: .launching, operation: "execve", object: "", cause: "ü\u{0}"))
        let events: [SessionEvent] = [
            .boot(version: "1", kernel: "6.1"), .boot(version: "1", kernel: "6.1", interrupted: .running), .exit(full),
            .exit(ExitRecord(id: "", exitCode: 0)),
            .start(id: "x", pid: .max, args: ["", "a|b", "\n", "ü", "\""], startedAt: Timestamp(nanoseconds: 0)),
        ]
        for event in events { #expect(SessionEvent(json: event.json) == event) }
    }

    @Test(arguments: [
        "", "{}", "[]", "null", #"{"event":"boot"}"#, #"{"event":"other"}"#, #"{"event":"exit","id":"x","exitCode":256}"#,
        #"{"event":"boot","version":1,"kernel":"x"}"#, #"{"event":"boot","version":"1","kernel":"x""#,
    ])
    func refuses(text: String) { #expect(SessionEvent(json: Array(text.utf8)) == nil) }

    @Test func aStatusRoundTrips() throws {
        let running = Status(phase: .running, id: "c", pid: 7, timings: [.init(phase: .boot, microseconds: 1500)], totalMicroseconds: 9)
        let read = try #require(StatusReport(json: running.json))
        #expect(read.phase == .running && read.exit == nil && !read.isFinal)
        let failure = FailureReport(phase: .rootfs, operation: "mount", object: "/dev/sda", cause: "bad superblock")
        let exit = ExitRecord(id: "c", exitCode: 125, stdout: nil, stderr: nil, drain: .crash, error: failure)
        let failed = try #require(StatusReport(json: Status(phase: .failed, exit: exit).json))
        #expect(failed.exit == exit && failed.isFinal)
        #expect(failed.exit?.error?.sentence == "mount /dev/sda: bad superblock")
    }

    @Test(arguments: [
        "", "nonsense", "{}", #"{"phase":"elsewhere"}"#, #"{"phase":"exited","exitCode":256}"#, #"{"phase":"exited","exitCode":1}"#,
    ])
    func refusesAStatus(text: String) { #expect(StatusReport(json: Array(text.utf8)) == nil) }

    /// The arguments of a container can fill a megabyte: the event comes in pieces.
    @Test func joinsALongEvent() {
        let event = SessionEvent.start(
            id: "x", pid: 1, args: [String(repeating: "a", count: 1 << 20)], startedAt: Timestamp(nanoseconds: 0))
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        encoder.encode(event, at: 0, into: &log)
        var tracker = SessionTracker()
        let steps = decodeAll(log).compactMap { tracker.take($0) }
        #expect(steps == [.event(event, at: Timestamp(nanoseconds: 0))])
    }

    /// An event of a later version is no damage; one that cannot be read is.
    @Test func tellsUnknownFromDamaged() throws {
        func said(_ json: String) throws -> String {
            var log: [UInt8] = []
            var encoder = CRIEncoder()
            encoder.encode(.event, Array((json + "\n").utf8), at: sampleTime, into: &log)
            return try replay(Array(SampleSession().log.split(separator: 10).dropLast().joined(separator: [10])) + [10] + log).stderrText
        }
        let missing = "tetherctl: the exit record is missing: the capture is incomplete\n"
        #expect(try said(#"{"event":"oom","more":1}"#) == missing)
        #expect(
            try said(#"{"event":"exit","id":"x"#)
                == "tetherctl: the event of 2026-01-02T03:04:05.678901234Z cannot be read\n" + missing)
        #expect(try said(#"{"event":"exit","id":"x"}"#).contains("cannot be read"))
    }

    /// A VM cut off inside a long event does not hide the next boot.
    @Test func aCutEventDoesNotHideTheNext() {
        var log: [UInt8] = []
        var encoder = CRIEncoder()
        encoder.encode(.event, Array("{\"event\":".utf8), at: 0, into: &log)
        encoder.flushPartial(.event, into: &log)
        log += SampleSession().log
        var tracker = SessionTracker()
        for item in decodeAll(log) { _ = tracker.take(item) }
        #expect(tracker.boots.count == 1)
        #expect(tracker.boots.first?.hasBootRecord == true)
        #expect(tracker.boots.first?.defects == [])
    }
}

@Suite struct PacingTests {
    @Test func aClockSetBackStandsStill() {
        var line = TimeLine()
        let times: [Int64] = [100, 150, 50, 140, 160, 200]
        #expect(times.map { line.advance(to: Timestamp(nanoseconds: $0)) } == [0, 50, 50, 50, 60, 100])
        line.startBoot()
        #expect(line.advance(to: Timestamp(nanoseconds: .max)) == 100)
    }

    @Test func scales() {
        #expect(Pacing(speed: 2, start: 10).due(100) == 60)
        #expect(Pacing(speed: nil, start: 10).due(100) == 10)
        #expect(Pacing(speed: 1e-300, start: 10).due(.max) == .max)
        #expect(Pacing(speed: 1, start: .max).due(5) == .max)
    }

    @Test func readsTimesAndDurations() {
        #expect(Since("1h30m") == .ago(5_400_000_000_000))
        #expect(Since("1.5s") == .ago(1_500_000_000))
        #expect(Since("2d") == .ago(172_800_000_000_000))
        #expect(Since("2026-01-02T03:04:05Z") == .time(Timestamp(nanoseconds: 1_767_323_045_000_000_000)))
        for text in ["", "5", "m", "1x", "-5m", "1m5", "1..2s", "1e999999s", "99999999999999999999d", "２s"] {
            #expect(Since(text) == nil, "\(text)")
        }
        #expect(Since.ago(100).time(now: 150).nanoseconds == 50)
        #expect(Since.ago(100).time(now: 50).nanoseconds == 0)
    }
}

@Suite struct AsciicastTests {
    /// The decoded lines of a recording.
    private func lines(_ bytes: [UInt8]) throws -> [Any] {
        try bytes.split(separator: 10).map { try JSONSerialization.jsonObject(with: Data($0)) }
    }

    private func record(_ stream: LogStream, _ bytes: [UInt8], endsLine: Bool = false, at time: Int64 = 0) -> CRIRecord {
        CRIRecord(timestamp: Timestamp(nanoseconds: sampleTime + time), stream: stream, endsLine: endsLine, bytes: bytes)
    }

    @Test func writesHeaderAndEvents() throws {
        var writer = AsciicastWriter(columns: 100, rows: 30)
        var bytes = writer.encode(record(.stdout, Array("hi".utf8), endsLine: true))
        bytes += writer.encode(record(.stderr, Array("e\u{1b}[0m\r".utf8), endsLine: true, at: 1_500_000_000))
        bytes += writer.finish()
        #expect(
            String(decoding: bytes, as: UTF8.self) == """
                {"version":2,"width":100,"height":30,"timestamp":1767323045}
                [0.000000, "o", "hi\\r\\n"]
                [1.500000, "o", "e\\u001b[0m\\r\\n"]

                """)
    }

    /// Every cut of a text with sequences of all lengths gives the text back.
    @Test func joinsCutSequences() throws {
        let text = "aé€🧪\u{10FFFF}z"
        let bytes = Array(text.utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                var writer = AsciicastWriter()
                var cast: [UInt8] = []
                for piece in [bytes[..<first], bytes[first..<second], bytes[second...]] {
                    cast += writer.encode(record(.stdout, Array(piece)))
                    // The other stream comes between and disturbs nothing.
                    cast += writer.encode(record(.stderr, []))
                }
                cast += writer.finish()
                let texts = try lines(cast).dropFirst().map { try #require(($0 as? [Any])?[2] as? String) }
                #expect(texts.joined() == text, "\(first) \(second)")
            }
        }
    }

    @Test func replacesInvalidBytes() throws {
        var writer = AsciicastWriter()
        var cast = writer.encode(record(.stdout, [0x61, 0xFF, 0x80, 0xC0]))
        cast += writer.encode(record(.stdout, [0xE2, 0x82]))
        cast += writer.encode(record(.stdout, [0x41, 0xF0, 0x9F]))
        cast += writer.finish()
        let texts = try lines(cast).dropFirst().map { try #require(($0 as? [Any])?[2] as? String) }
        #expect(texts == ["a\u{FFFD}\u{FFFD}\u{FFFD}", "\u{FFFD}A", "\u{FFFD}"])
    }

    @Test func exportKeepsTimeAndBothStreams() throws {
        let session = SampleSession(
            chunks: [(.stdout, Array("a\n".utf8)), (.stderr, Array("b\n".utf8))], interval: 2_000_000_000)
        let outcome = try replay(session.log) { $0.mode = .asciicast(columns: 80, rows: 24) }
        let events = try lines(outcome.stdout).dropFirst().map { try #require($0 as? [Any]) }
        #expect(events.map { $0[0] as? Double } == [0, 2])
        #expect(events.map { $0[2] as? String } == ["a\r\n", "b\r\n"])
    }
}

@Suite struct ConsoleTests {
    static let capture = """
        SeaBIOS\r
        [    0.000000] Linux version 6.1\r
        [    0.500000] tether[boot] info: version 1
        [    0.600000] tether[rootfs] info: mounted
        [    0.700000] EXT4-fs (sda): mounted\u{1b}[0m
        [    0.800000] tether[rootfs] info: done
        [    1.900000] tether[running] info: pid 42
        [    0.000000] Linux version 6.1
        [    0.500000] tether[nonsense] info: x
        [    0.600000] tether[boot] error: no newline
        """

    @Test func marksPhasesAndBoots() throws {
        let outcome = try replay(Array(Self.capture.utf8))
        #expect(
            outcome.stdoutText == """
                SeaBIOS
                [    0.000000] Linux version 6.1
                ──── boot (0.500 s) ────
                [    0.500000] tether[boot] info: version 1
                ──── rootfs (0.600 s) ────
                [    0.600000] tether[rootfs] info: mounted
                [    0.700000] EXT4-fs (sda): mounted\\x1b[0m
                [    0.800000] tether[rootfs] info: done
                ──── running (1.900 s) ────
                [    1.900000] tether[running] info: pid 42
                ──── boot 2 ────
                [    0.000000] Linux version 6.1
                [    0.500000] tether[nonsense] info: x
                ──── boot (0.600 s) ────
                [    0.600000] tether[boot] error: no newline

                """)
        #expect(outcome.stderr.isEmpty)
    }

    @Test func tellsTheKindOfACapture() {
        let log = SampleSession().log
        #expect(CaptureKind.detect(log, isAll: false) == .sessionLog)
        #expect(CaptureKind.detect(Array("[    0.000000] noise\n".utf8) + log, isAll: false) == .sessionLog)
        #expect(CaptureKind.detect(Array("BIOS\n".utf8), isAll: false) == nil)
        #expect(CaptureKind.detect(Array("[    0.000000] x\n".utf8), isAll: false) == nil)
        #expect(CaptureKind.detect(Array("[    0.000000] x\n".utf8), isAll: true) == .console)
        #expect(CaptureKind.detect([], isAll: true) == .sessionLog)
    }

    @Test func aConsoleCaptureCannotBeVerified() {
        #expect(throws: ReplayError.self) { try replay(Array(Self.capture.utf8)) { $0.mode = .verify } }
    }

    @Test func anyBytesAreShown() {
        var generator = SeededGenerator(seed: 2)
        var printer = ConsolePrinter()
        var text: [UInt8] = []
        for _ in 0..<20 { text += printer.decode(generator.bytes(5000, newlineEvery: 60)) }
        text += printer.decode([UInt8](repeating: UInt8(ascii: "["), count: 70_000))
        text += printer.finish()
        #expect(!text.contains { ($0 < 0x20 && $0 != 10 && $0 != 9) || $0 == 0x7F })
        #expect(text.split(separator: 10).allSatisfy { $0.count <= 4 * 65_536 })
    }
}
