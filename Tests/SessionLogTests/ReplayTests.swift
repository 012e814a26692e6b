import CLinux
import Foundation
import Linux
import SessionLog
import SessionReplay
import TestSupport
import Testing

/// One VM's session log, as PID 1 writes it.
struct SampleSession {
    var chunks: [(stream: LogStream, bytes: [UInt8])] = []
    var exitCode: UInt8 = 0
    /// Nanoseconds between two chunks.
    var interval: Int64 = 1_000_000
    var start = sampleTime

    var log: [UInt8] {
        var encoder = CRIEncoder()
        var log: [UInt8] = []
        var digests: [LogStream: StreamDigest] = [.stdout: StreamDigest(), .stderr: StreamDigest()]
        var now = start
        encoder.encode(.boot(version: "1.0", kernel: "6.1"), at: now, into: &log)
        encoder.encode(
            .start(id: "sample", pid: 42, args: ["sh", "-c", "a\nb"], startedAt: Timestamp(nanoseconds: now)), at: now, into: &log)
        for chunk in chunks {
            now += interval
            encoder.encode(chunk.stream, chunk.bytes, at: now, into: &log)
            encoder.flushPartial(chunk.stream, into: &log)
            digests[chunk.stream]?.update(chunk.bytes)
        }
        let exit = ExitRecord(
            id: "sample", exitCode: exitCode, startedAt: Timestamp(nanoseconds: start), finishedAt: Timestamp(nanoseconds: now),
            stdout: digests[.stdout]?.total ?? .empty, stderr: digests[.stderr]?.total ?? .empty)
        encoder.encode(.exit(exit), at: now, into: &log)
        return log
    }

    func content(_ stream: LogStream) -> [UInt8] { chunks.filter { $0.stream == stream }.flatMap(\.bytes) }
}

/// What a replay wrote, and how it ended.
struct ReplayOutcome {
    var stdout: [UInt8]
    var stderr: [UInt8]
    var result: ReplayResult
    var stdoutText: String { String(decoding: stdout, as: UTF8.self) }
    var stderrText: String { String(decoding: stderr, as: UTF8.self) }
}

/// Replays `path` into two files.
func replay(path: String, _ options: ReplayOptions) throws -> ReplayOutcome {
    let directory = try TemporaryDirectory()
    let result: ReplayResult
    let (out, err) = (directory.path + "/out", directory.path + "/err")
    do {
        let stdout = try FileDescriptor.open(out, O_WRONLY | O_CREAT, mode: 0o600)
        let stderr = try FileDescriptor.open(err, O_WRONLY | O_CREAT, mode: 0o600)
        var source = try CaptureSource(path: path)
        var replay = Replay(options, stdout: stdout.rawValue, stderr: stderr.rawValue)
        result = try replay.run(&source)
    }
    return ReplayOutcome(stdout: try Files.read(out, limit: 1 << 26), stderr: try Files.read(err, limit: 1 << 26), result: result)
}

func replay(_ capture: [UInt8], _ change: (inout ReplayOptions) -> Void = { _ in }) throws -> ReplayOutcome {
    var options = ReplayOptions()
    change(&options)
    let directory = try TemporaryDirectory()
    let path = directory.path + "/capture"
    try Data(capture).write(to: URL(fileURLWithPath: path))
    return try replay(path: path, options)
}

/// A directory that goes with its owner.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("session-log-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite struct ReplayTests {
    static func randomSession(seed: UInt64) -> SampleSession {
        var generator = SeededGenerator(seed: seed)
        var session = SampleSession(exitCode: UInt8(truncatingIfNeeded: seed))
        for _ in 0..<Int.random(in: 0...40, using: &generator) {
            let stream: LogStream = Bool.random(using: &generator) ? .stdout : .stderr
            session.chunks.append((stream, generator.bytes(Int.random(in: 1...40_000, using: &generator), newlineEvery: 100)))
        }
        return session
    }

    @Test(arguments: 0..<12 as Range<UInt64>) func givesEveryByteBack(seed: UInt64) throws {
        let session = Self.randomSession(seed: seed)
        let outcome = try replay(session.log)
        #expect(outcome.stdout == session.content(.stdout))
        #expect(outcome.stderr == session.content(.stderr))
        #expect(outcome.result.boots.first?.exit?.exitCode == session.exitCode)
        #expect(outcome.result.isVerified)
        let verdict = try replay(session.log) { $0.mode = .verify }
        #expect(verdict.stdoutText.hasPrefix("verified: stdout \(session.content(.stdout).count) bytes"))
    }

    @Test func saysWhatItSkips() throws {
        let session = SampleSession(chunks: [(.stdout, Array(utf8: "one\n")), (.stderr, Array(utf8: "two\n"))])
        var log = Array(utf8: "BIOS\r\n") + session.log
        let position = log.count
        log += Array(utf8: "after")
        let outcome = try replay(log)
        #expect(outcome.stdoutText == "one\n")
        #expect(
            outcome.stderrText
                == "tetherctl: skipped 6 bytes at offset 0: no part of a record\ntwo\n"
                + "tetherctl: skipped 5 bytes at offset \(position): no part of a record\n")
        #expect(outcome.result.isVerified)
    }

    /// A capture cut anywhere gives back a beginning of the stream, and never counts as verified.
    @Test func statesEveryTruncation() throws {
        let session = SampleSession(chunks: [(.stdout, Array(utf8: "hello\nworld")), (.stdout, Array(utf8: "!\n"))])
        let log = session.log
        for length in stride(from: 0, to: log.count, by: 3) {
            let outcome = try replay([UInt8](log[..<length])) { $0.kind = .sessionLog }
            #expect(session.content(.stdout).starts(with: outcome.stdout), "cut at \(length)")
            #expect(!outcome.result.isVerified, "cut at \(length)")
            #expect(!outcome.stderr.isEmpty, "cut at \(length)")
        }
    }

    @Test func verifySeesOneChangedByte() throws {
        let session = SampleSession(chunks: [(.stdout, Array(utf8: "hello\n")), (.stderr, Array(utf8: "x\n"))])
        let text = String(decoding: session.log, as: UTF8.self)
        let changed = try replay(Array(utf8: text.replacingOccurrences(of: "hello", with: "hellO"))) { $0.mode = .verify }
        #expect(changed.stdoutText.hasPrefix("FAILED: stdout has the SHA-256 "))
        #expect(!changed.result.isVerified)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let missing = lines.filter { !$0.hasSuffix("stderr F x") }.joined(separator: "\n")
        let lost = try replay(Array(utf8: missing)) { $0.mode = .verify }
        #expect(lost.stdoutText == "FAILED: stderr has 0 bytes, the exit record says 2\n")
        let noExit = lines.filter { !$0.contains("\"exit\"") }.joined(separator: "\n")
        let cut = try replay(Array(utf8: noExit)) { $0.mode = .verify }
        #expect(cut.stdoutText == "FAILED: the exit record is missing: the capture is incomplete\n")
    }

    @Test func tellsBootsApart() throws {
        let first = SampleSession(chunks: [(.stdout, Array(utf8: "a\n"))], exitCode: 3)
        let second = SampleSession(chunks: [(.stdout, Array(utf8: "b"))], exitCode: 4, start: sampleTime + 3_600_000_000_000)
        // The first VM was cut off inside its exit record.
        let both = Array(first.log.dropLast(10)) + [10] + second.log
        let outcome = try replay(both) { $0.mode = .verify }
        #expect(
            outcome.stdoutText
                == "boot 1: FAILED: the exit record is missing: the capture is incomplete\n"
                + "boot 2: verified: stdout 1 bytes, stderr 0 bytes\n")
        let chosen = try replay(first.log + second.log) { $0.boot = 2 }
        #expect(chosen.stdoutText == "b")
        #expect(chosen.result.boots.map { $0.exit?.exitCode } == [4])
        let all = try replay(first.log + second.log)
        #expect(all.stdoutText == "a\nb" && all.stderr.isEmpty && all.result.isVerified)
        #expect(try replay(first.log) { $0.boot = 2 }.stderrText == "tetherctl: the capture holds no such boot\n")
    }

    @Test func filtersAndStamps() throws {
        let session = SampleSession(
            chunks: [(.stdout, Array(utf8: "a\nb")), (.stderr, Array(utf8: "e\n")), (.stdout, Array(utf8: "c\n\n"))],
            interval: 1_000_000_000)
        #expect(try replay(session.log) { $0.stream = .stderr }.stdout.isEmpty)
        #expect(try replay(session.log) { $0.since = Timestamp(nanoseconds: sampleTime + 2_500_000_000) }.stdoutText == "c\n\n")
        let stamped = try replay(session.log) { $0.timestamps = true }
        #expect(
            stamped.stdoutText == """
                2026-01-02T03:04:06.678901234Z a
                2026-01-02T03:04:06.678901234Z bc
                2026-01-02T03:04:08.678901234Z 

                """)
        #expect(stamped.stderrText == "2026-01-02T03:04:07.678901234Z e\n")
    }

    @Test func keepsTheOriginalSpeed() throws {
        let session = SampleSession(
            chunks: [(.stdout, Array(utf8: "a\n")), (.stdout, Array(utf8: "b\n"))], interval: 200_000_000)
        func took(_ speed: Double?) throws -> Int64 {
            let begin = Clock.monotonic()
            #expect(try replay(session.log) { $0.speed = speed }.stdoutText == "a\nb\n")
            return (Clock.monotonic() - begin) / 1_000_000
        }
        let original = try took(1)
        #expect(original >= 400)
        let faster = try took(4)
        #expect(faster >= 100 && faster < original)
        #expect(try took(nil) < original)
        // A pause that lies before the wanted time is not waited for.
        let begin = Clock.monotonic()
        let late = try replay(session.log) {
            $0.speed = 0.01
            $0.since = Timestamp(nanoseconds: sampleTime + 400_000_000)
        }
        #expect(late.stdoutText == "b\n")
        #expect(Clock.monotonic() - begin < 5_000_000_000)
    }

    /// The writer grows the file in pieces that respect nothing; the reader ends by itself.
    @Test func followsAGrowingFile() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/session.log"
        let session = Self.randomSession(seed: 5)
        let log = session.log
        try Data().write(to: URL(fileURLWithPath: path))
        let writer = Thread {
            guard let handle = FileHandle(forWritingAtPath: path) else { return }
            var generator = SeededGenerator(seed: 9)
            for piece in log.pieces(&generator, maximum: max(1, log.count / 5)) {
                handle.write(Data(piece))
                Thread.sleep(forTimeInterval: 0.03)
            }
        }
        writer.start()
        var options = ReplayOptions()
        options.follow = true
        let outcome = try replay(path: path, options)
        #expect(outcome.stdout == session.content(.stdout))
        #expect(outcome.result.isVerified)
    }

    @Test func followStopsWhenTheFileIsCut() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/session.log"
        let log = SampleSession(chunks: [(.stdout, Array(utf8: "a\n"))]).log
        try Data(log.dropLast(5)).write(to: URL(fileURLWithPath: path))
        let cutter = Thread {
            Thread.sleep(forTimeInterval: 0.2)
            truncate(path, 3)
        }
        cutter.start()
        var options = ReplayOptions()
        options.follow = true
        #expect(throws: ReplayError.self) { try replay(path: path, options) }
    }

    /// Both ends are pipes; the writer's end stays open after the exit record.
    @Test func followsAPipe() throws {
        let session = SampleSession(chunks: [(.stdout, Array(utf8: "hello\n"))])
        let (input, out) = (try Linux.Pipe().take(), try Linux.Pipe().take())
        let sender = FileDescriptor(owning: input.write)
        let receiver = FileDescriptor(owning: out.read)
        let sink = FileDescriptor(owning: out.write)
        #expect(try session.log.withUnsafeBytes { try sender.write($0) } == session.log.count)
        var source = CaptureSource(owning: FileDescriptor(owning: input.read), name: "pipe")
        var options = ReplayOptions()
        options.follow = true
        var replay = Replay(options, stdout: sink.rawValue, stderr: sink.rawValue)
        #expect(try replay.run(&source).isVerified)
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = try buffer.withUnsafeMutableBytes { try receiver.read(into: $0) }
        #expect(String(decoding: buffer.prefix(count ?? 0), as: UTF8.self) == "hello\n")
    }

    @Test func endsQuietlyWhenTheReaderGoes() throws {
        let session = SampleSession(chunks: [(.stdout, [UInt8](repeating: 10, count: 200_000))])
        let directory = try TemporaryDirectory()
        try Data(session.log).write(to: URL(fileURLWithPath: directory.path + "/log"))
        let ends = try Linux.Pipe().take()
        _ = CLinux.close(ends.read)
        let sink = FileDescriptor(owning: ends.write)
        var source = try CaptureSource(path: directory.path + "/log")
        var replay = Replay(ReplayOptions(), stdout: sink.rawValue, stderr: sink.rawValue)
        #expect(try replay.run(&source).readerGone)
    }

    @Test func namesAMissingFile() {
        #expect {
            try replay(path: "/nonexistent/session.log", ReplayOptions())
        } throws: {
            "\($0)" == "cannot open /nonexistent/session.log: No such file or directory"
        }
    }

    @Test func printsTheExitRecord() throws {
        let outcome = try replay(SampleSession(chunks: [], exitCode: 143).log) { $0.mode = .exitRecord }
        #expect(outcome.stdoutText.contains("exit code  143\n"))
        #expect(outcome.stdoutText.contains("stdout     0 bytes, SHA-256 e3b0c442"))
    }
}
