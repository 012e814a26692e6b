import CLinux
import Control
import Foundation
import Linux
import SessionLog
import Testing

@testable import Sessions

@Suite("Sessions and their clients", .serialized) struct ControlConnectionTests {
    @Test("output, ends and the exit arrive, in this order")
    func attach() throws {
        let server = try TestServer()
        let client = try TestClient(server)
        client.send(.exec(tag: 1, ExecRequest(process: Array("sh -c echo${IFS}out;echo${IFS}err>&2;exit${IFS}3".utf8))))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1) == "out\n")
        #expect(client.text(1, .stderr) == "err\n")
        #expect(client.result(1)?.exitCode == 3)
        #expect(
            client.result(1)?.stdout
                == {
                    var digest = StreamDigest(); digest.update(Array("out\n".utf8)); return digest.total
                }())
        #expect(client.result(1)?.drain == .eof)
        #expect(client.messages.last == client.result(1).map { .exited(tag: 1, $0) })
        #expect(client.has(.eof(tag: 1, .stdout)) && client.has(.eof(tag: 1, .stderr)))
    }

    @Test("an exec is answered when its process runs, although it writes nothing")
    func silent() throws {
        let server = try TestServer()
        server.startsLater = true
        let client = try TestClient(server)
        client.send(.exec(tag: 1, ExecRequest(process: Array("sleep 600".utf8))))
        #expect(try client.wait { client.has(.attached(tag: 1, Attached(session: "exec-1"))) })
    }

    @Test("input reaches the process, is bounded by credit, and ends")
    func input() throws {
        let server = try TestServer()
        let client = try TestClient(server)
        client.send(.exec(tag: 7, ExecRequest(process: Array("cat".utf8), wantsStdin: true)))
        #expect(try client.wait { client.credit[7] == 32_768 })
        let sent = Array((0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        var rest = sent[...]
        #expect(
            try client.wait {
                let count = min(rest.count, client.credit[7] ?? 0)
                if count > 0 {
                    client.send(.stdin(tag: 7, Array(rest.prefix(count))))
                    client.credit[7, default: 0] -= count
                    rest = rest.dropFirst(count)
                }
                return rest.isEmpty
            })
        client.send(.closeStdin(tag: 7))
        #expect(try client.wait { client.result(7) != nil })
        #expect(client.output[7]?[.stdout] == sent)
        #expect(client.has(.stdinClosed(tag: 7, .requested)))
    }

    @Test("more input than was granted ends the connection, and the process lives on")
    func overrun() throws {
        let server = try TestServer()
        let session = try server.start(["sleep", "100"], stdin: true)
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(wantsStdin: true)))
        #expect(try client.wait { client.credit[1] != nil })
        client.send(.stdin(tag: 1, [UInt8](repeating: 0, count: 32_768)))
        client.send(.stdin(tag: 1, [0]))
        #expect(try client.wait { client.isClosed })
        #expect(client.has(.stdinClosed(tag: 1, .overrun)))
        #expect(session.state == .running)
        #expect(session.attachments.isEmpty)
    }

    @Test("a client that stops to read is detached and told where; another one and the log lose nothing")
    func stalledClient() throws {
        var limits = SessionLimits()
        limits.stallMilliseconds = 300
        let server = try TestServer(limits: limits)
        let session = try server.start(["sh", "-c", "sleep 0.3; seq 1 200000"], isLogged: true)
        let reader = try TestClient(server)
        let sleeper = try TestClient(server)
        reader.send(.attach(tag: 1, AttachRequest(stdout: .oldest)))
        sleeper.send(.attach(tag: 2, AttachRequest(stdout: .oldest, stdoutWindow: 1000)))
        sleeper.grants = false
        #expect(try reader.wait([sleeper]) { reader.result(1) != nil })
        let expected = (1...200_000).map { "\($0)\n" }.joined()
        #expect(reader.text(1) == expected)
        #expect(server.log.bytes == expected.utf8.count)
        #expect(sleeper.text(2) == String(expected.prefix(1000)))
        #expect(sleeper.has(.detached(tag: 2, Detachment(.slow, stdoutOffset: 1000, stderrOffset: 0))))
        #expect(session.state == .ended)
    }

    @Test("with the policy block the process waits for the client, and nothing is lost")
    func blockingClient() throws {
        var limits = SessionLimits()
        limits.slowClient = .block
        limits.stallMilliseconds = 50
        let server = try TestServer(limits: limits)
        _ = try server.start(["sh", "-c", "sleep 0.3; seq 1 50000; sleep 100"])
        let client = try TestClient(server)
        client.grants = false
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stdoutWindow: 10)))
        #expect(try !client.wait(seconds: 1) { client.text(1).utf8.count > 10 })
        client.grants = true
        client.send(.window(tag: 1, .stdout, bytes: 65_536))
        let expected = (1...50_000).map { "\($0)\n" }.joined()
        #expect(try client.wait { client.text(1).utf8.count == expected.utf8.count })
        #expect(client.text(1) == expected)
    }

    @Test("a client may begin at an offset, and learns what it missed")
    func offsets() throws {
        var limits = SessionLimits()
        limits.ringCapacity = 100
        let server = try TestServer(limits: limits)
        let session = try server.start(["sh", "-c", "seq 1 100; sleep 100"])
        let client = try TestClient(server)
        #expect(try client.wait { session.end(of: .stdout) == 292 })
        let expected = (1...100).map { "\($0)\n" }.joined()
        client.send(.attach(tag: 1, AttachRequest(stdout: .offset(250), stderr: .none)))
        client.send(.attach(tag: 2, AttachRequest(stdout: .offset(10), stderr: .none)))
        client.send(.attach(tag: 3, AttachRequest(stdout: .live, stderr: .none)))
        client.send(.attach(tag: 4, AttachRequest(stdout: .oldest, stderr: .none)))
        #expect(try client.wait { client.text(1).utf8.count == 42 && client.text(2).utf8.count == 100 && client.text(4).utf8.count == 100 })
        #expect(client.text(1) == String(expected.suffix(42)))
        #expect(client.text(2) == String(expected.suffix(100)))
        #expect(client.text(3).isEmpty)
        #expect(client.has(.attached(tag: 2, Attached(session: "main", stdoutOffset: 192, stdoutMissed: 182))))
        #expect(client.has(.attached(tag: 3, Attached(session: "main", stdoutOffset: 292))))
    }

    @Test("requests are answered while output floods and nobody reads it")
    func answersDuringFlood() throws {
        let server = try TestServer()
        _ = try server.start(["yes"])
        let client = try TestClient(server)
        client.keepsOutput = false
        client.send(.attach(tag: 1, AttachRequest()))
        for tag in UInt32(10)..<60 {
            client.send(.ping(tag: tag))
            #expect(try client.wait(seconds: 60) { client.has(.pong(tag: tag)) })
        }
    }

    @Test("output that someone else took from the pipe is not waited for")
    func stolenOutput() throws {
        var limits = SessionLimits()
        limits.drainGrace = 300
        let server = try TestServer(limits: limits)
        server.log.isFull = true
        // Its child outlives it with the pipe, and reads from it what nobody has read yet.
        let loot = NSTemporaryDirectory() + "/tether-loot-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: loot) }
        let thief = "(sleep 0.6; head -c 4 < /proc/self/fd/1 > \(loot); exec sleep 20) 2> /dev/null &"
        let session = try server.start(["sh", "-c", thief + " printf lost"], isLogged: true)
        let deadline = Deadline.after(milliseconds: 60_000)
        while session.state != .ended, !deadline.hasPassed {
            try server.turn()
            if server.log.isFull, (try? String(contentsOfFile: loot, encoding: .utf8)) == "lost" { server.log.isFull = false }
        }
        #expect(session.state == .ended && session.result?.drain == .grace && session.result?.stdout.bytes == 0)
    }

    @Test("a client that never stops to talk keeps nobody waiting, and one that does not greet is shown the door")
    func talkers() throws {
        let server = try TestServer()
        _ = try server.start(["sleep", "100"])
        let talker = try server.connect()
        var greeting: [UInt8] = []
        ClientMessage.hello(version: 1, name: "talker").encode(into: &greeting)
        #expect(try greeting.withUnsafeBytes { bytes in try talker.write(bytes) } == greeting.count)
        // Messages that nobody answers.
        var words: [UInt8] = []
        for _ in 0..<8000 { ClientMessage.window(tag: 9, .stdout, bytes: 1).encode(into: &words) }
        let number = talker.rawValue
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [words] in
            while words.withUnsafeBytes({ Glibc.send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == words.count {}
            done.signal()
        }
        let client = try TestClient(server)
        for tag in UInt32(1)..<20 {
            client.send(.ping(tag: tag))
            #expect(try client.wait(seconds: 60) { client.has(.pong(tag: tag)) })
        }
        shutdown(number, Int32(SHUT_RDWR))
        #expect(done.wait(timeout: .now() + 10) == .success)

        let stranger = try server.connect()
        let unknown: [UInt8] = [5, 0, 0, 0, 99, 1, 0, 0, 0]
        #expect(try unknown.withUnsafeBytes { bytes in try stranger.write(bytes) } == 9)
        try server.turn()
        try server.turn()
        var answer: [UInt8] = []
        while let bytes = try stranger.read(atMost: 4096), !bytes.isEmpty { answer += bytes }
        #expect(String(decoding: answer, as: UTF8.self).hasSuffix("the first message was not hello"))
    }

    @Test("a terminal: input is edited, its end is an end of file")
    func terminal() throws {
        let server = try TestServer()
        let session = try server.start(["cat"], terminal: true)
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, wantsStdin: true)))
        #expect(try client.wait { client.credit[1] != nil })
        client.send(.stdin(tag: 1, Array("abc\u{7f}d\nno newline".utf8)))
        #expect(try client.wait { client.text(1).contains("abd\r\n") })
        client.send(.closeStdin(tag: 1))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1).hasSuffix("no newline"))
        #expect(client.result(1)?.exitCode == 0)
        #expect(session.state == .ended)
    }

    @Test("all that was written to a terminal before the end arrives")
    func terminalDrain() throws {
        let server = try TestServer()
        _ = try server.start(["sh", "-c", "sleep 0.2; seq 1 20000"], terminal: true)
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest)))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1) == (1...20_000).map { "\($0)\r\n" }.joined())
    }

    @Test("bad requests are refused by name; bad frames end the connection")
    func refusals() throws {
        let server = try TestServer()
        _ = try server.start(["sleep", "100"])
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(session: "nobody")))
        client.send(.attach(tag: 2, AttachRequest(wantsStdin: true)))
        client.send(.stdin(tag: 3, [1]))
        client.send(.signal(tag: 4, session: "", number: 65))
        client.send(.exec(tag: 5, ExecRequest(process: Array("/nonexistent/x".utf8))))
        client.send(.attach(tag: 6, AttachRequest()))
        client.send(.attach(tag: 6, AttachRequest()))
        #expect(try client.wait { client.failure(6) != nil })
        #expect(client.failure(1)?.code == .unknownSession)
        #expect(client.failure(2)?.code == .noStdin)
        #expect(client.failure(3)?.code == .unknownAttachment)
        #expect(client.failure(4)?.code == .invalid)
        #expect(client.failure(5)?.code == .launchFailed)
        #expect(client.failure(6)?.code == .invalid)
        client.send(raw: [0xFF, 0xFF, 0xFF, 0xFF, 1])
        #expect(try client.wait { client.isClosed })
        #expect(client.messages.contains { if case .closing = $0 { true } else { false } })
        let rude = try TestClient(server, greets: false)
        rude.send(.ping(tag: 1))
        #expect(try rude.wait { rude.isClosed })
    }

    @Test("a client that sends requests and reads no answers is held at a bound")
    func unreadAnswers() throws {
        let server = try TestServer()
        _ = try server.start(["sleep", "100"])
        let client = try TestClient(server)
        client.isAsleep = true
        for tag in UInt32(1)...60_000 { client.send(.list(tag: tag)) }
        _ = try client.wait(seconds: 1) { false }
        #expect(client.pending > 0)
        client.isAsleep = false
        #expect(try client.wait { client.messages.last == .done(tag: 60_000) })
    }

    @Test("statistics that are too long for a message are refused, with their size")
    func longStatistics() throws {
        let server = try TestServer()
        let client = try TestClient(server)
        server.statisticsDocument = [UInt8](repeating: 32, count: ControlProtocol.maximumDocument + 1)
        client.send(.stats(tag: 1))
        #expect(try client.wait { client.failure(1) != nil })
        #expect(client.failure(1)?.cause == "they have 65537 bytes, and 65536 are the most")
    }

    @Test("a gigabyte through standard input and output of one process at once")
    func gigabyte() throws {
        let server = try TestServer()
        let client = try TestClient(server)
        client.keepsOutput = false
        client.send(.exec(tag: 1, ExecRequest(process: Array("cat".utf8), wantsStdin: true)))
        #expect(try client.wait { client.credit[1] != nil })
        var piece = (0..<16_384).map { _ in UInt8.random(in: 0...255) }
        var sent = StreamDigest()
        let total: UInt64 = 1 << 30
        #expect(
            try client.wait(seconds: 600) {
                while sent.bytes < total, client.pending == 0, client.credit[1, default: 0] >= piece.count {
                    // Each piece another one, so that none can stand for the next.
                    withUnsafeBytes(of: sent.bytes) { piece.replaceSubrange(0..<8, with: $0) }
                    client.send(.stdin(tag: 1, piece))
                    client.credit[1, default: 0] -= piece.count
                    sent.update(piece)
                }
                return sent.bytes == total
            })
        client.send(.closeStdin(tag: 1))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.digest.total == sent.total)
        #expect(client.result(1)?.stdout == sent.total)
    }
}
