import CLinux
import ContainerSpec
import Foundation
import Linux
import SessionLog
import SessionReplay
import TestSupport
import Testing

@testable import Tether

/// The session log as PID 1 writes it, on a terminal in the place of the serial line, read by what reads captures.
@Suite("The session log's writer") struct SessionLogWriterTests {
    /// A pseudo-terminal: what is written to `path` comes out of `master`.
    private struct Line: ~Copyable {
        let master: FileDescriptor
        let path: String

        init() throws {
            let terminal = try openTerminal()
            master = FileDescriptor(owning: terminal.master)
            path = terminal.path
        }
    }

    /// A capture that is checked while it is written.
    private final class Reader: @unchecked Sendable {
        private let done = DispatchSemaphore(value: 0)
        /// Set by the thread before ``done``, read after it.
        private var outcome: Result<ReplayResult, ReplayError>?

        /// - Parameter master: open until ``finish()`` has returned.
        init(_ master: Int32) throws {
            let (read, write) = try Linux.Pipe().take()
            // A terminal whose other side is closed fails with EIO; a pipe ends.
            Thread.detachNewThread {
                var chunk = [UInt8](repeating: 0, count: 65_536)
                while true {
                    let count = Glibc.read(master, &chunk, chunk.count)
                    if count <= 0 || Glibc.write(write, chunk, count) != count { break }
                }
                close(write)
            }
            Thread.detachNewThread {
                var options = ReplayOptions()
                options.mode = .verify
                let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
                var source = CaptureSource(owning: FileDescriptor(owning: read), name: "the line")
                var replay = Replay(options, stdout: null, stderr: null)
                do throws(ReplayError) { self.outcome = .success(try replay.run(&source)) } catch { self.outcome = .failure(error) }
                close(null)
                self.done.signal()
            }
        }

        func finish() throws -> ReplayResult {
            try #require(done.wait(timeout: .now() + 300) == .success, "the reader has not come to the end")
            return try #require(outcome).get()
        }
    }

    /// Lines of all lengths, and bytes of all values: a block that is written again and again, from another place each time.
    private static let block: [UInt8] = {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        return (0..<(1 << 20)).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // One newline in 64 bytes beside those that chance brings.
            let byte = UInt8(truncatingIfNeeded: state >> 33)
            return state >> 58 == 0 ? UInt8(ascii: "\n") : byte
        }
    }()

    /// `TETHER_LOG_MIB` asks for more than the usual quarter of a gigabyte.
    private static let mebibytes = ProcessInfo.processInfo.environment["TETHER_LOG_MIB"].flatMap { Int($0) } ?? 256

    @Test("a quarter of a gigabyte arrives as it was written, whatever the line takes at a time")
    func volume() throws {
        let line = try Line()
        let reader = try Reader(line.master.rawValue)
        let (stdout, stderr) = try write(to: line.path)
        let result = try reader.finish()
        #expect(result.isVerified)
        let boot = try #require(result.boots.first)
        #expect(result.boots.count == 1 && boot.stdout == stdout && boot.stderr == stderr)
    }

    /// - Returns: what was written, as counted here.
    private func write(to path: String) throws -> (stdout: StreamTotal, stderr: StreamTotal) {
        let writer = try SessionLogWriter(path: path)
        writer.event(.boot(version: "test", kernel: "none", interrupted: nil))
        #expect(!writer.wantsToWrite, "the format is not known yet")
        writer.decide(.cri)
        writer.decide(.vic)
        var stdout = StreamDigest()
        var stderr = StreamDigest()
        let total = UInt64(Self.mebibytes) << 20
        var longest = 0
        var turn = 0
        while stdout.bytes + stderr.bytes < total {
            if writer.isFull {
                var watched = pollfd(fd: writer.descriptor, events: Int16(POLLOUT), revents: 0)
                try #require(poll(&watched, 1, 30_000) == 1, "the line takes nothing")
                writer.flush()
                continue
            }
            turn += 1
            // As PID 1 reads: up to 32 KiB, more often from stdout.
            let size = turn.isMultiple(of: 7) ? 1 + turn % 97 : 32_768
            let start = turn &* 7919 % (Self.block.count - size)
            let stream = turn.isMultiple(of: 3) ? LogStream.stderr : .stdout
            Self.block.withUnsafeBytes { bytes in
                let chunk = UnsafeRawBufferPointer(rebasing: bytes[start..<start + size])
                writer.output(stream, chunk)
                if stream == .stdout { stdout.update(chunk) } else { stderr.update(chunk) }
            }
            longest = max(longest, writer.pendingBytes)
            writer.flushDue()
        }
        writer.flushPartials()
        #expect(writer.total(.stdout) == stdout.total && writer.total(.stderr) == stderr.total)
        writer.event(.exit(ExitRecord(id: "test", exitCode: 0, stdout: writer.total(.stdout), stderr: writer.total(.stderr))))
        #expect(writer.drain(quietMilliseconds: 30_000) == 0 && writer.failure == nil)
        // The mark, and what one chunk adds at most, each newline of which makes a record of its own.
        #expect(longest < 64 * 1024 + 32_768 * 60, "\(longest) bytes were queued")

        return (stdout.total, stderr.total)
    }

    @Test("a line that takes nothing holds back what is written, and its queue keeps its bounds")
    func stall() throws {
        let line = try Line()
        let writer = try SessionLogWriter(path: line.path)
        writer.decide(.cri)
        var taken = 0
        while !writer.isFull {
            Self.block.withUnsafeBytes { writer.output(.stdout, UnsafeRawBufferPointer(rebasing: $0[..<4096])) }
            taken += 4096
        }
        #expect(taken < 1 << 20)
        let pending = writer.pendingBytes
        writer.flush()
        writer.flushDue()
        #expect(writer.pendingBytes == pending && writer.nextDue == nil)
        let start = Clock.monotonic()
        // The kernel may still have moved on what its own buffer held, and so have had room for as much again.
        let left = writer.drain(quietMilliseconds: 200)
        #expect(left > pending / 2 && left <= pending)
        #expect(Clock.monotonic() - start < 5_000_000_000)
    }

    @Test("in VIC's format the line carries output alone")
    func vic() throws {
        let line = try Line()
        let writer = try SessionLogWriter(path: line.path)
        writer.event(.boot(version: "test", kernel: "none", interrupted: nil))
        writer.decide(.vic)
        writer.event(.pause(id: "test"))
        Array("one\ntw".utf8).withUnsafeBytes { writer.output(.stdout, $0) }
        Array("err".utf8).withUnsafeBytes { writer.output(.stderr, $0) }
        #expect(writer.nextDue != nil)
        Array("o\n".utf8).withUnsafeBytes { writer.output(.stdout, $0) }
        writer.flushPartials()
        writer.endInterruptedRecord()
        writer.event(.exit(ExitRecord(id: "test", exitCode: 0)))
        #expect(writer.pendingBytes == 0 && writer.nextDue == nil)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(line.master.rawValue, &bytes, bytes.count)
        #expect(count == 3 * VICLogRecord.headerLength + "one\ntwo\nerr".utf8.count)
        var decoder = LogDecoder()
        let items = decoder.decode(bytes.prefix(max(0, count))) + decoder.finish()
        let records = items.compactMap { if case .record(let record) = $0 { record } else { nil } }
        #expect(decoder.format == .vic && records.count == items.count)
        #expect(records.map { String(decoding: $0.bytes, as: UTF8.self) } == ["one", "two", "err"])
        #expect(records.map { $0.stream } == [.stdout, .stdout, .stderr] && records.map { $0.endsLine } == [true, true, false])
    }
}
