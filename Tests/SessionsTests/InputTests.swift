import Control
import Foundation
import Glibc
import Linux
import SessionLog
import Testing

@testable import Sessions

@Suite("Sessions and the input of clients that come again", .serialized) struct InputTests {
    /// Sends what the credit allows.
    private func feed(_ client: TestClient, _ tag: UInt32, _ rest: inout ArraySlice<UInt8>) {
        let count = min(rest.count, client.credit[tag] ?? 0)
        if count == 0 { return }
        client.send(.stdin(tag: tag, Array(rest.prefix(count))))
        client.credit[tag, default: 0] -= count
        rest = rest.dropFirst(count)
    }

    private func attached(_ client: TestClient, _ tag: UInt32) -> Attached? {
        for case .attached(tag, let attached) in client.messages { return attached }
        return nil
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) } }

    @Test("a client that comes again learns what was taken from it, and goes on; the input does not end meanwhile")
    func resume() throws {
        let server = try TestServer()
        let all = bytes(400_000)
        var taken = 0
        for round in UInt32(1)...20 {
            let client = try TestClient(server)
            if round == 1 {
                let request = ExecRequest(
                    session: "e", process: Array("cat".utf8), wantsStdin: true, endsInputWithClient: false, inputKey: 77)
                client.send(.exec(tag: round, request))
            } else {
                client.send(.attach(tag: round, AttachRequest(session: "e", stdout: .oldest, wantsStdin: true, inputKey: 77)))
            }
            #expect(try client.wait { attached(client, round) != nil })
            let known = try #require(attached(client, round)?.stdinTaken)
            #expect(Int(known) >= taken && Int(known) <= min(all.count, taken + 20_000))
            taken = Int(known)
            // The rest of what is sent may arrive, or not: the connection is closed at once.
            var rest = all[taken...].prefix(20_000)
            _ = try client.wait(seconds: 5) {
                feed(client, round, &rest)
                return rest.isEmpty
            }
            if round.isMultiple(of: 2) { try server.turn() }
        }
        let last = try TestClient(server)
        last.send(.attach(tag: 1, AttachRequest(session: "e", stdout: .none, wantsStdin: true, inputKey: 77)))
        #expect(try last.wait { attached(last, 1) != nil })
        var rest = all[Int(try #require(attached(last, 1)?.stdinTaken))...]
        #expect(
            try last.wait {
                feed(last, 1, &rest)
                return rest.isEmpty
            })
        last.send(.closeStdin(tag: 1))
        #expect(try last.wait { last.result(1) != nil })
        var digest = StreamDigest()
        digest.update(all)
        #expect(last.result(1)?.stdout == digest.total)
    }

    @Test("the input of an exec whose client does not come again ends with it")
    func endsWithClient() throws {
        let server = try TestServer()
        var client: TestClient? = try TestClient(server)
        client?.send(.exec(tag: 1, ExecRequest(process: Array("cat".utf8), wantsStdin: true)))
        #expect(try client?.wait { client?.credit[1] != nil } == true)
        let session = try #require(server.sessions.first)
        client = nil
        for _ in 0..<500 where session.state != .ended { try server.turn() }
        #expect(session.state == .ended && session.result?.exitCode == 0)
    }

    @Test("what waits for the process stays when its client goes, and however often it comes again no more waits than was granted")
    func bounded() throws {
        let server = try TestServer()
        let session = try server.start(
            ["sh", "-c", "trap : USR1; sleep 100 & wait; kill $!; cat"], stdin: true, endsInputWithClient: false)
        let all = bytes(500_000)
        var taken = 0
        for round in UInt32(1)...10 {
            let client = try TestClient(server)
            client.send(.attach(tag: round, AttachRequest(wantsStdin: true, inputKey: round < 6 ? 5 : UInt64(round))))
            #expect(try client.wait { attached(client, round) != nil })
            let known = Int(try #require(attached(client, round)?.stdinTaken))
            #expect(known == (round < 6 ? taken : 0))
            var rest = all[taken...]
            _ = try client.wait(seconds: 0.3) {
                feed(client, round, &rest)
                return rest.isEmpty
            }
            if round < 6 { taken = rest.startIndex } else { #expect(rest.startIndex == taken, "others have no credit either") }
        }
        // The pipe holds some of it, the queue a client's credit.
        #expect(taken <= 65_536 + InputQueue.credit && session.input.count { _ in true } <= InputQueue.credit)
        let last = try TestClient(server)
        last.send(.attach(tag: 1, AttachRequest(stdout: .oldest, wantsStdin: true, inputKey: 5)))
        #expect(try last.wait { attached(last, 1)?.stdinTaken == UInt64(taken) })
        kill(try #require(session.process?.processID), SIGUSR1)
        var rest = all[taken...]
        #expect(
            try last.wait {
                feed(last, 1, &rest)
                return rest.isEmpty
            })
        last.send(.closeStdin(tag: 1))
        #expect(try last.wait { last.result(1) != nil })
        var digest = StreamDigest()
        digest.update(all)
        #expect(last.result(1)?.stdout == digest.total)
    }

    @Test("a client that comes again takes the place of its older connection, whose input is not taken any more")
    func replaced() throws {
        let server = try TestServer()
        let session = try server.start(["cat"], stdin: true)
        let (old, new) = (try TestClient(server), try TestClient(server))
        old.send(.attach(tag: 1, AttachRequest(wantsStdin: true, inputKey: 9)))
        #expect(try old.wait { attached(old, 1) != nil })
        old.send(.stdin(tag: 1, Array("one\n".utf8)))
        #expect(try old.wait { old.text(1) == "one\n" })
        new.send(.attach(tag: 2, AttachRequest(wantsStdin: true, inputKey: 9)))
        let detached = ServerMessage.detached(tag: 1, Detachment(.requested, stdoutOffset: 4))
        #expect(try new.wait([old]) { attached(new, 2)?.stdinTaken == 4 && old.has(detached) })
        old.send(.stdin(tag: 1, Array("lost\n".utf8)))
        #expect(try old.wait([new]) { old.failure(1)?.code == .unknownAttachment })
        new.send(.stdin(tag: 2, Array("two\n".utf8)))
        #expect(try new.wait { new.text(2) == "two\n" })
        // Taking one's own place is no going, after which the input would end.
        #expect(session.takesInput)
    }

    @Test("of many clients the first are forgotten, and are told that it is not known what was taken")
    func forgotten() throws {
        let server = try TestServer()
        _ = try server.start(["cat"], stdin: true, endsInputWithClient: false)
        let client = try TestClient(server)
        for key in UInt64(1)...UInt64(InputSources.remembered) + 1 {
            let tag = UInt32(key)
            client.send(.attach(tag: tag, AttachRequest(wantsStdin: true, inputKey: key)))
            client.send(.stdin(tag: tag, [1, 2]))
            client.send(.detach(tag: tag))
            #expect(try client.wait { client.messages.contains { if case .detached(tag, _) = $0 { true } else { false } } })
            #expect(attached(client, tag)?.stdinTaken == (key <= UInt64(InputSources.remembered) ? 0 : nil))
        }
        for (tag, key, taken) in [(UInt32(100), UInt64(3), UInt64(2)), (101, 1, nil), (102, 0, nil)] as [(UInt32, UInt64, UInt64?)] {
            client.send(.attach(tag: tag, AttachRequest(wantsStdin: true, inputKey: key)))
            #expect(try client.wait { attached(client, tag) != nil })
            #expect(attached(client, tag)?.stdinTaken == taken)
        }
        // From here on it is counted again.
        client.send(.stdin(tag: 101, [1, 2, 3]))
        client.send(.attach(tag: 103, AttachRequest(wantsStdin: true, inputKey: 1)))
        #expect(try client.wait { attached(client, 103)?.stdinTaken == 3 })
    }

    @Test("input, and its end, that come between two processes are the next one's")
    func betweenProcesses() throws {
        let server = try TestServer()
        server.startsAgain = true
        let session = try server.start(["sh", "-c", "read a; echo $a; exec <&-; echo closed"], stdin: true)
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(wantsStdin: true, inputKey: 4)))
        #expect(try client.wait { attached(client, 1) != nil })
        client.send(.stdin(tag: 1, Array("first\n".utf8)))
        #expect(try client.wait { session.state == .waiting && client.text(1) == "first\nclosed\n" })
        client.send(.stdin(tag: 1, Array("second\n".utf8)))
        client.send(.closeStdin(tag: 1))
        _ = try client.wait(seconds: 0.1) { false }
        server.startsAgain = false
        session.begin(try TestProcess(["cat"], stdin: true, terminal: false))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1) == "first\nclosed\nsecond\n" && client.result(1)?.exitCode == 0)
    }
}
