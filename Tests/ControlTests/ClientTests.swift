import Control
import ControlClient
import Linux
import SessionLog
import TestSupport
import Testing

/// The client against the model of PID 1's end, over a socket.
@Suite("Control protocol: client") struct ClientTests {
    private func connect() throws -> ControlClient {
        let (ours, theirs) = try socketPair()
        ModelServer.start(owning: theirs)
        return try ControlClient(FileDescriptor(owning: ours), patience: 20)
    }

    private func exec(_ text: String, window: UInt32 = 65_536, stdin: Bool = false) -> ExecRequest {
        ExecRequest(process: Array(text.utf8), stdoutWindow: window, stderrWindow: window, wantsStdin: stdin)
    }

    @Test("requests and their answers")
    func requests() throws {
        let client = try connect()
        #expect(client.serverName == "model" && client.version == 1)
        #expect(client.limits.maximumSessions == 64)
        try client.ping()
        #expect(try client.list().map(\.id) == ["main"])
        #expect(try client.stats() == Array("{}".utf8))
        try client.pause()
        try client.resume()
        try client.stop(timeoutMilliseconds: 5)
        try client.subscribe()
        #expect(try client.nextEvent() == .paused)
        #expect(try client.nextEvent { if case .health = $0 { true } else { false } } == .health(.healthy))
        #expect(
            throws: ControlClientError.refused(
                RequestFailure(.unknownSession, operation: "wait for", object: "nobody", cause: "there is no such session"))
        ) { try client.wait("nobody") }
    }

    @Test("input comes back through an echo, whatever the size and the window", arguments: [1, 100, 65_536])
    func echo(_ window: UInt32) throws {
        let client = try connect()
        let session = try client.exec(exec("cat", window: window, stdin: true))
        var maker = MessageMaker(seed: UInt64(window))
        let data = (0..<(window == 1 ? 300 : 500_000)).map { _ in UInt8(truncatingIfNeeded: maker.random.next()) }
        let result = try session.run(data)
        #expect(session.stdout == data)
        #expect(result.exitCode == 0 && session.stdoutEnded && session.stderrEnded)
        #expect(session.stdinEnd == .requested)
    }

    @Test("a session whose output is not taken stops at its window, while others go on")
    func unread() throws {
        let client = try connect()
        let unread = try client.exec(exec("flood 300000", window: 1000), grants: false)
        let read = try client.exec(exec("flood 300000"))
        #expect(try read.finish().stdout.bytes == 300_000)
        try client.ping()
        #expect(unread.stdout.count == 1000 && unread.stderr.count == 1000)
        try unread.grant(.stdout, 500)
        try unread.wait("500 bytes more") { unread.stdout.count == 1500 }
        unread.grantsWindow = true
        try unread.grant(.stdout, 1000)
        try unread.grant(.stderr, 1000)
        #expect(try unread.finish().stderr.bytes == 150_000)
    }

    @Test("many sessions at once keep apart")
    func many() throws {
        let client = try connect()
        let sessions = try (0..<50).map { try client.beginExec(exec("flood \($0 * 100)")) }
        for (index, session) in sessions.enumerated() {
            try client.started(session)
            #expect(try session.finish().stdout.bytes == UInt64(index * 100))
        }
        #expect(try client.list().count == 1)
    }

    @Test("a detachment tells where the session could be taken up again")
    func detach() throws {
        let client = try connect()
        let session = try client.exec(exec("flood 5000", window: 70), grants: false)
        try session.wait("the window's worth") { session.stdout.count == 70 && session.stderr.count == 70 }
        try session.detach()
        #expect(session.detachment == Detachment(.requested, stdoutOffset: 70, stderrOffset: 70))
        #expect(throws: ControlClientError.self) { try session.finish() }
    }

    @Test("input beyond the credit ends the input")
    func overrun() throws {
        let client = try connect()
        let session = try client.exec(exec("cat", window: 0, stdin: true))
        #expect(session.stdinCredit == UInt64(ModelServer.stdinCredit))
        try session.writeBeyondCredit([UInt8](repeating: 1, count: ModelServer.stdinCredit + 1))
        try session.wait("the end of the input") { session.stdinEnd != nil }
        #expect(session.stdinEnd == .overrun)
        #expect(try session.write([1, 2, 3]) == 0)
    }

    @Test("a process that cannot be started, one that fails, and one that writes nothing")
    func failures() throws {
        let client = try connect()
        #expect(
            throws: ControlClientError.refused(
                RequestFailure(.launchFailed, exitCode: 127, operation: "exec", object: "nowhere", cause: "not found in PATH"))
        ) { try client.exec(exec("refuse")) }
        #expect(try client.exec(exec("exit 42")).finish().exitCode == 42)
        #expect(throws: ControlClientError.self) {
            try client.exec(ExecRequest(process: [UInt8](repeating: 0x20, count: ControlProtocol.maximumDocument + 1)))
        }
        try client.ping()
    }

    @Test("a server that breaks the protocol is caught", arguments: ["gap", "lie", "excess"])
    func violations(_ kind: String) throws {
        let client = try connect()
        let error = #expect(throws: ControlClientError.self) {
            _ = try client.exec(exec(kind, window: 1000), grants: false).finish()
        }
        guard case .violation? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("the reason for which the server closes the connection is told, of garbage too")
    func closing() throws {
        let client = try connect()
        #expect(throws: ControlClientError.disconnected("it was asked to")) { try client.exec(exec("quit")).finish() }
        #expect(throws: ControlClientError.disconnected("it was asked to")) { try client.ping() }

        let other = try connect()
        other.sendRaw([0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
        let error = #expect(throws: ControlClientError.self) { try other.ping() }
        #expect(error?.description.contains("read a frame of 4294967295 bytes") == true)
    }

    @Test("an unknown message is answered, and the conversation goes on")
    func unknown() throws {
        let client = try connect()
        client.sendRaw([5, 0, 0, 0, 77, 9, 0, 0, 0])
        #expect(
            throws: ControlClientError.refused(
                RequestFailure(.unsupported, operation: "read message", object: "of type 77", cause: "it is not known"))
        ) { try client.rawAnswer(9) }
        try client.ping()
    }

    @Test("a server that does not answer costs no more than the time given")
    func silence() throws {
        let (ours, theirs) = try socketPair()
        let held = FileDescriptor(owning: theirs)
        let start = Clock.monotonic()
        #expect(throws: ControlClientError.timedOut("the server's hello")) {
            try ControlClient(FileDescriptor(owning: ours), patience: 0.2)
        }
        #expect(Clock.monotonic() - start < 5_000_000_000)
        _ = consume held
    }
}
