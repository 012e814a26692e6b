import CLinux
import Control
import Glibc
import Linux
import SessionLog
import Testing

@testable import Sessions

@Suite("Sessions before they have a process", .serialized) struct WaitingTests {
    @Test("a client that attaches before there is a process gets its first byte, and its input waits for the process")
    func early() throws {
        let server = try TestServer()
        server.startsLater = true
        let client = try TestClient(server)
        _ = try server.start(["sh", "-c", "echo ready; cat; exit 5"], stdin: true)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stderr: .oldest, wantsStdin: true)))
        client.send(.stdin(tag: 1, Array("early ".utf8)))
        client.send(.stdin(tag: 1, Array("bird\n".utf8)))
        client.send(.closeStdin(tag: 1))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1) == "ready\nearly bird\n" && client.result(1)?.exitCode == 5)
    }

    @Test("the same with a terminal, which it is told of before there is one")
    func terminal() throws {
        let server = try TestServer()
        server.startsLater = true
        let client = try TestClient(server)
        _ = try server.start(["sh", "-c", "read line; echo got $line; read more || echo end"], terminal: true)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, wantsStdin: true)))
        client.send(.stdin(tag: 1, Array("word\n".utf8)))
        client.send(.closeStdin(tag: 1))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1).contains("got word\r\nend\r\n"), "\(client.text(1))")
        let attached = client.messages.compactMap { if case .attached(1, let attached) = $0 { attached } else { nil } }
        #expect(attached.first?.hasTerminal == true)
    }

    @Test("no more input waits than was granted")
    func bounded() throws {
        let server = try TestServer()
        server.startsLater = true
        let client = try TestClient(server)
        _ = try server.start(["cat"], stdin: true)
        client.send(.attach(tag: 1, AttachRequest(wantsStdin: true)))
        client.send(.stdin(tag: 1, [UInt8](repeating: 65, count: InputQueue.credit + 1)))
        #expect(try client.wait { client.isClosed })
        #expect(client.has(.stdinClosed(tag: 1, .overrun)))
    }

    @Test("a client whose input closed is told when another process takes it, and when that one's closes")
    func startedAnew() throws {
        let server = try TestServer()
        server.restarts = [["sh", "-c", "read line; echo second $line; exec <&-; sleep 1"], ["sh", "-c", "read line; echo third $line"]]
        let client = try TestClient(server)
        _ = try server.start(["sh", "-c", "cat; echo first"], stdin: true)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stderr: .oldest, wantsStdin: true)))
        client.send(.attach(tag: 2, AttachRequest(stdout: .oldest, stderr: .oldest)))
        client.send(.stdin(tag: 1, Array("a ".utf8)))
        client.send(.closeStdin(tag: 1))
        func told() -> [ServerMessage] {
            client.messages.filter { if case .stdinOpened = $0 { true } else if case .stdinClosed = $0 { true } else { false } }
        }
        let first: [ServerMessage] = [.stdinClosed(tag: 1, .requested), .stdinOpened(tag: 1)]
        #expect(try client.wait { told() == first })
        client.send(.stdin(tag: 1, Array("b\n".utf8)))
        #expect(try client.wait { client.text(1) == "a first\nsecond b\n" })
        // The process has closed its end, which a write finds out.
        var count = 0
        #expect(
            try client.wait {
                if told().count == 2 { client.send(.stdin(tag: 1, [120])) }
                count += 1
                return told().count == 4
            })
        #expect(told() == first + [.stdinClosed(tag: 1, .processClosed), .stdinOpened(tag: 1)])
        client.send(.stdin(tag: 1, Array("c\n".utf8)))
        #expect(try client.wait { client.result(1) != nil })
        #expect(client.text(1) == "a first\nsecond b\nthird c\n" && client.text(2) == client.text(1))
    }

    @Test("release and announce reach PID 1 and are answered")
    func requests() throws {
        let server = try TestServer()
        let client = try TestClient(server)
        let other = try TestClient(server)
        let key = HostKey(line: "ssh-ed25519 AAAA", fingerprint: "SHA256:x")
        let session = try server.start(["cat"], stdin: true)
        client.send(.release(tag: 3))
        client.send(.release(tag: 6, session: session.id, modes: Array("[[1,2]]".utf8)))
        client.send(.release(tag: 7, session: "none"))
        client.send(.announce(tag: 4, [key]))
        #expect(try client.wait { client.has(.done(tag: 3)) && client.has(.done(tag: 4)) && client.has(.done(tag: 6)) })
        #expect(client.failure(7)?.code == .unknownSession)
        #expect(server.releases == ["main", "main [[1,2]]"] && server.announced == [key])
        other.send(.announce(tag: 5, []))
        #expect(try other.wait { other.failure(5)?.code == .invalid })
    }

    @Test("a session whose process was not started says why to those who are attached")
    func failed() throws {
        let server = try TestServer()
        let session = Session(
            id: "main", kind: .primary, args: ["x"], limits: SessionLimits(), mayTakeInput: false, endsInputWithClient: false,
            loop: server.loop, log: nil, buffer: ReadBuffer())
        server.sessions = [session]
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest()))
        client.send(.wait(tag: 2, session: ""))
        #expect(try client.wait { client.has(.attached(tag: 1, Attached(session: "main"))) })
        let failure = RequestFailure(.launchFailed, exitCode: 127, operation: "execute", object: "x", cause: "not found")
        session.fail(failure)
        #expect(try client.wait { client.failure(1) == failure && client.failure(2) == failure })
    }
}
