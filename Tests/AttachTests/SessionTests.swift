import Control
import SSH
import SessionLog
import Testing

@testable import Attach

@Suite("Attach: session channels") struct SessionTests {
    @Test("a shell is the primary session: output, input, its end and how it ended")
    func shell() throws {
        let bench = try Bench()
        let id = try bench.shell()
        #expect(bench.taken().replies(id) == [true])
        let (tag, request) = try #require(bench.pid1.attachments.first)
        #expect(request == AttachRequest(stdout: .oldest, stderr: .oldest, stdoutWindow: 16_384, stderrWindow: 8192, wantsStdin: true))
        #expect(bench.pid1.releases == 1)

        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("out\n".utf8)))
        bench.pid1.say(.output(tag: tag, .stderr, offset: 0, Array("err\n".utf8)))
        #expect(bench.client.connection.send(data: Array("in".utf8)[...], on: id) == 2)
        bench.client.connection.sendEOF(id)
        try bench.run()
        var events = bench.taken()
        #expect(events.data(id) == "out\n" && events.errors(id) == "err\n")
        #expect(bench.pid1.input(tag) == Array("in".utf8) && bench.pid1.messages.contains(.closeStdin(tag: tag)))

        bench.pid1.say(.output(tag: tag, .stdout, offset: 4, Array("last".utf8)))
        bench.pid1.say(.exited(tag: tag, result(exitCode: 7)))
        try bench.run()
        events = bench.taken()
        #expect(events.data(id) == "last")
        #expect(events.requests(id).map { SessionRequest(name: $0.name, data: $0.data) } == [.exitStatus(7)])
        #expect(events.suffix(2) == [.eof(id), .closed(id)])
    }

    @Test("signals, the out-of-memory killer among them, are told by name")
    func signals() throws {
        for (number, name, oom) in [(UInt8(15), "TERM", false), (9, "KILL", true), (34, "RTMIN@tether", false), (10, "USR1", false)] {
            let bench = try Bench()
            let id = try bench.shell()
            let tag = try #require(bench.pid1.attachments.first?.tag)
            bench.pid1.say(.exited(tag: tag, result(exitCode: 128 &+ number, signal: number, oomKilled: oom)))
            try bench.run()
            let request = try #require(bench.taken().requests(id).first)
            let expected = SessionRequest.exitSignal(name: name, coreDumped: false, message: oom ? "out of memory" : "")
            #expect(SessionRequest(name: request.name, data: request.data) == expected)
        }
    }

    @Test("later clients get what comes from now on; offsets come from the environment")
    func offsets() throws {
        let bench = try Bench()
        _ = try bench.shell()
        _ = try bench.shell()
        _ = try bench.shell([("TETHER_STDOUT_FROM", "12345"), ("TETHER_STDERR_FROM", "oldest"), ("TETHER_STDIN", "none")])
        let requests = bench.pid1.attachments.map(\.1)
        #expect(requests[1].stdout == .live && requests[1].stderr == .live && requests[1].wantsStdin)
        #expect(requests[2].stdout == .offset(12_345) && requests[2].stderr == .oldest && !requests[2].wantsStdin)
        #expect(bench.pid1.releases == 3)
    }

    @Test("what is no longer kept is said")
    func missed() throws {
        let bench = try Bench()
        bench.pid1.sessions[0].stdout = SessionSummary.Kept(first: 100, end: 200)
        let id = try bench.shell([("TETHER_STDOUT_FROM", "40")])
        #expect(bench.taken().errors(id) == "tether: 60 bytes of stdout are no longer kept\n")
    }

    @Test("a session without input is joined without, and what the client writes does not block it")
    func withoutInput() throws {
        let bench = try Bench()
        bench.pid1.sessions[0].stdinIsOpen = false
        let id = try bench.shell()
        #expect(bench.taken().replies(id) == [true])
        #expect(bench.pid1.attachments.map(\.1.wantsStdin) == [true, false])
        let data = [UInt8](repeating: 1, count: 500_000)
        var rest = data[...]
        for _ in 0..<1000 where !rest.isEmpty {
            rest = rest.dropFirst(bench.client.connection.send(data: rest, on: id))
            try bench.run()
        }
        #expect(rest.isEmpty)
        #expect(!bench.pid1.messages.contains { if case .stdin = $0 { true } else { false } })
    }

    @Test("input is granted as PID 1 grants it, and not a byte more")
    func input() throws {
        let bench = try Bench()
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        #expect(bench.client.connection.send(data: [UInt8](repeating: 65, count: 5000)[...], on: id) == 1000)
        try bench.run()
        #expect(bench.pid1.input(tag).count == 1000 && bench.client.connection.room(id) == 0)
        bench.pid1.say(.stdinCredit(tag: tag, bytes: 300))
        try bench.run()
        #expect(bench.client.connection.room(id) == 300)
        // The process has closed its end: PID 1 drops the rest, and counts it.
        bench.pid1.say(.stdinClosed(tag: tag, .processClosed))
        bench.pid1.say(.stdinCredit(tag: tag, bytes: 700))
        try bench.run()
        #expect(bench.client.connection.send(data: [UInt8](repeating: 65, count: 5000)[...], on: id) == 1000)
        try bench.run()
        #expect(bench.pid1.input(tag).count == 2000)
    }

    @Test("input is not taken behind a detachment: the client sends it again elsewhere, and must not have dropped it")
    func inputBehindDetachment() throws {
        let bench = try Bench()
        // No room for output, so that the channel stays open for what is left of it.
        let id = try bench.shell(window: 0)
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [1, 2, 3]))
        bench.pid1.say(.detached(tag: tag, Detachment(.slow)))
        try bench.run()
        var sent = 0
        for _ in 0..<10 {
            sent += bench.client.connection.send(data: [UInt8](repeating: 65, count: 5000)[...], on: id)
            try bench.run()
        }
        #expect(sent == 1000 && bench.pid1.input(tag).isEmpty)
    }

    @Test("a session may be joined while others' input fills its queue: it takes input all the same, later")
    func noCreditYet() throws {
        let bench = try Bench()
        bench.pid1.stdinCredit = 0
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        #expect(bench.client.connection.room(id) == 0)
        bench.pid1.say(.stdinCredit(tag: tag, bytes: 500))
        try bench.run()
        #expect(bench.client.connection.send(data: [1, 2][...], on: id) == 2)
        try bench.run()
        #expect(bench.pid1.input(tag) == [1, 2])
    }

    @Test("a keystroke is one packet, and so is its echo")
    func keystroke() throws {
        let bench = try Bench()
        bench.pid1.stdinCredit = 32_768
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        _ = bench.taken()
        for offset in 0..<10 {
            _ = bench.client.connection.send(data: [120], on: id)
            try bench.run()
            bench.pid1.say(.stdinCredit(tag: tag, bytes: 1))
            bench.pid1.say(.output(tag: tag, .stdout, offset: UInt64(offset), [120]))
            try bench.run()
            #expect(bench.taken() == [.data(id, [120])])
        }
        // Bulk input is told of what it may send long before it has to wait.
        var sent = 0
        while sent < 200_000 {
            let count = bench.client.connection.send(data: [UInt8](repeating: 65, count: 4096)[...], on: id)
            #expect(count > 0)
            sent += count
            try bench.run()
            bench.pid1.say(.stdinCredit(tag: tag, bytes: UInt32(count)))
            try bench.run()
            if count == 0 { break }
        }
    }

    @Test("exec runs the container's shell, with what the client may set of the environment and its terminal")
    func exec() throws {
        let bench = try Bench()
        let id = try bench.channel()
        for (name, value) in [("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("LD_PRELOAD", "/x"), ("PATH", "/y"), ("LC_\u{1}", "z")] {
            bench.client.connection.request(id, .environment(name: name, value: value), wantsReply: true)
        }
        let terminal = SessionRequest.terminal(name: "vt100", WindowSize(columns: 70_000, rows: 24), TerminalModes())
        bench.client.connection.request(id, terminal, wantsReply: true)
        bench.client.connection.request(id, .execute(command: Array("echo \"a b\"".utf8)), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [true, true, false, false, false, true, true])
        let process = try #require(bench.pid1.execs.first).1
        #expect(
            String(decoding: process.process, as: UTF8.self)
                == #"{"args":["/bin/sh","-c","echo \"a b\""],"addEnv":["LANG=C.UTF-8","LC_ALL=C","TERM=vt100"],"#
                + #""terminal":true,"consoleSize":{"height":24,"width":65535}}"#)
        #expect(process.wantsStdin && process.endsInputWithClient && bench.pid1.releases == 0)
        // One channel, one session.
        bench.client.connection.request(id, .shell, wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [false])
    }

    @Test("a command that cannot be started is told as a shell would tell it")
    func execFails() throws {
        let bench = try Bench()
        bench.pid1.attached = { message in
            guard case .exec(let tag, _) = message else { return nil }
            let failure = RequestFailure(.launchFailed, exitCode: 127, operation: "execute", object: "/bin/sh", cause: "not found")
            return .failed(tag: tag, failure)
        }
        let id = try bench.channel()
        bench.client.connection.request(id, .execute(command: Array("true".utf8)), wantsReply: true)
        try bench.run()
        let events = bench.taken()
        #expect(events.replies(id) == [true] && events.errors(id) == "tether: execute /bin/sh: not found\n")
        #expect(events.requests(id).map { SessionRequest(name: $0.name, data: $0.data) } == [.exitStatus(127)])
        #expect(events.last == .closed(id))
    }

    @Test("a terminal's size goes to the session's terminal; one without gets lines as a terminal has them")
    func terminals() throws {
        let bench = try Bench()
        bench.pid1.sessions[0].hasTerminal = true
        let id = try bench.shell(terminal: WindowSize(columns: 80, rows: 24))
        bench.client.connection.request(id, .windowChange(WindowSize(columns: 120, rows: 40)))
        bench.client.connection.request(id, .signal(name: "USR1"), wantsReply: true)
        bench.client.connection.request(id, .signal(name: "NOPE"), wantsReply: true)
        bench.client.connection.request(id, .lineBreak(milliseconds: 0), wantsReply: true)
        try bench.run()
        let sizes = bench.pid1.messages.compactMap { message -> String? in
            if case .resize(_, let session, let rows, let columns) = message { "\(session) \(rows)x\(columns)" } else { nil }
        }
        #expect(sizes == ["main 24x80", "main 40x120"])
        #expect(bench.taken().replies(id).suffix(3) == [true, false, true])
        let signals = bench.pid1.messages.compactMap { if case .signal(_, "main", let number) = $0 { number } else { nil } }
        #expect(signals == [10, 2])

        let plain = try Bench()
        let raw = try plain.shell(terminal: WindowSize(columns: 80, rows: 24))
        let tag = try #require(plain.pid1.attachments.first?.tag)
        plain.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("a\nb\n".utf8)))
        _ = plain.client.connection.send(data: Array("x\r".utf8)[...], on: raw)
        try plain.run()
        #expect(plain.taken().data(raw) == "a\r\nb\r\n" && plain.pid1.input(tag) == Array("x\n".utf8))
        #expect(plain.pid1.granted(tag) == 16_384 + 4)
    }

    @Test("a client that goes away lets go of its sessions; answers that come late are nobody's")
    func goes() throws {
        let bench = try Bench()
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.client.connection.close(id)
        try bench.run()
        #expect(bench.pid1.messages.last == .detach(tag: tag))
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [1, 2, 3]))
        bench.pid1.say(.exited(tag: tag, result()))
        _ = try bench.shell()
        let second = try #require(bench.pid1.attachments.last?.tag)
        #expect(second != tag)
        bench.client.disconnect(SSHError(.byApplication, "test", "", "over"))
        try bench.run()
        #expect(bench.pid1.messages.last == .detach(tag: second) && bench.bridge.channels.isEmpty)
        bench.pid1.say(.output(tag: second, .stdout, offset: 0, [1, 2, 3]))
        try bench.run()
    }

    @Test("a client that is cut off is told where it can go on")
    func slow() throws {
        let bench = try Bench()
        let id = try bench.shell()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.pid1.say(.detached(tag: tag, Detachment(.slow, stdoutOffset: 77, stderrOffset: 5)))
        try bench.run()
        let events = bench.taken()
        #expect(events.errors(id).contains("stdout goes on at 77, stderr at 5") && events.last == .closed(id))
    }

    @Test("a size is taken for a terminal that was asked for, and makes none")
    func sizeWithoutTerminal() throws {
        let bench = try Bench(allowsNone: false, keyOptions: #"restrict,command="id""#)
        let id = try bench.channel()
        bench.client.connection.request(id, .windowChange(WindowSize(columns: 80, rows: 24)), wantsReply: true)
        bench.client.connection.request(id, .terminal(name: "xterm", WindowSize(columns: 80, rows: 24), TerminalModes()), wantsReply: true)
        bench.client.connection.request(id, .windowChange(WindowSize(columns: 80, rows: 24)), wantsReply: true)
        bench.client.connection.request(id, .shell, wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [false, false, false, true])
        let process = try #require(bench.pid1.execs.first).1.process
        #expect(String(decoding: process, as: UTF8.self) == #"{"args":["/bin/sh","-c","id"]}"#)
        bench.client.connection.request(id, .windowChange(WindowSize(columns: 80, rows: 24)), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [false])
    }

    @Test("what a forced command is told is what was asked for, whole, or nothing runs; nobody else sets its variable")
    func originalCommand() throws {
        func run(_ options: String, _ command: [UInt8]) throws -> String? {
            let bench = try Bench(allowsNone: false, keyOptions: options)
            let id = try bench.channel()
            for number in 0..<40 { bench.client.connection.request(id, .environment(name: "LC_\(number)", value: "x")) }
            for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
                for other in "AB" { bench.client.connection.request(id, .environment(name: "LC_\(letter)\(other)", value: "x")) }
            }
            bench.client.connection.request(id, .environment(name: "SSH_ORIGINAL_COMMAND", value: "mine"))
            bench.client.connection.request(id, .execute(command: command), wantsReply: true)
            try bench.run()
            // The last answer is that to the request for the command.
            let process = bench.pid1.execs.first.map { String(decoding: $0.1.process, as: UTF8.self) }
            #expect(bench.taken().replies(id).last == false || process != nil)
            return process
        }
        let long = String(repeating: "long ", count: 2000)
        let forced = try run(#"command="wrapper""#, Array(long.utf8))
        #expect(forced?.contains("\"SSH_ORIGINAL_COMMAND=\(long)\"") == true && forced?.contains("mine") == false)
        let withNUL = try run(#"command="wrapper""#, Array("a\0b".utf8))
        #expect(withNUL == nil)
        let free = try run("restrict", Array("true".utf8))
        #expect(free?.contains("\"true\"") == true && free?.contains("SSH_ORIGINAL_COMMAND") == false)
    }

    @Test("a command that is not UTF-8 is refused, and no other one runs in its place")
    func bytesInCommand() throws {
        let bench = try Bench()
        let id = try bench.channel()
        bench.client.connection.request(id, .execute(command: Array("rm caf".utf8) + [0xe9]), wantsReply: true)
        try bench.run()
        let events = bench.taken()
        #expect(bench.pid1.execs.isEmpty && events.errors(id) == "tether: exec the command: it is not UTF-8\n")
        #expect(events.requests(id).map { SessionRequest(name: $0.name, data: $0.data) } == [.exitStatus(125)])
    }
}
