import Control
import SSH
import SessionLog
import Testing

@testable import Attach

@Suite("Attach: VIC's dialect") struct VICTests {
    private func wired(_ text: String) -> [UInt8] {
        var writer = WireWriter()
        writer.text(text)
        return writer.bytes
    }

    private func size(_ columns: UInt32, _ rows: UInt32) -> [UInt8] {
        var writer = WireWriter()
        for number in [columns, rows, 0, 0] { writer.uint32(number) }
        return writer.bytes
    }

    private func bench() throws -> Bench {
        let bench = try Bench(allowsNone: false, user: "daemon")
        var configuration = ClientConfiguration(user: "daemon", keys: [], hostKeyCheck: { _ in true })
        configuration.connection.maximumChannels = 300
        bench.client = SSHClient(configuration, random: SeededRandom(3).source, now: bench.now)
        try bench.run()
        #expect(bench.isAuthenticated)
        return bench
    }

    @Test("ids and version, and ids again when sessions come and go")
    func requests() throws {
        let bench = try bench()
        bench.client.connection.globalRequest(name: "container-ids", wantsReply: true)
        bench.client.connection.globalRequest(name: "version", wantsReply: true)
        bench.client.connection.globalRequest(name: "else", wantsReply: true)
        try bench.run()
        #expect(
            bench.taken() == [
                .globalReply(success: true, data: wired("main")), .globalReply(success: true, data: [0, 0, 0, 10]),
                .globalReply(success: false, data: []),
            ])
        bench.pid1.sessions += [
            SessionSummary(id: "exec-1", kind: .exec, state: .running), SessionSummary(id: "exec-2", kind: .exec, state: .ended),
        ]
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        #expect(bench.taken() == [.globalRequest(name: "container-ids", data: wired("main,exec-1"), wantsReply: true)])
        bench.client.connection.replyToGlobalRequest(success: true)
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        #expect(bench.taken().isEmpty, "nothing has changed for it")
    }

    @Test("three reasons not to join a session, in VIC's words")
    func rejections() throws {
        let bench = try bench()
        bench.pid1.sessions += [
            SessionSummary(id: "done", kind: .exec, state: .ended), SessionSummary(id: "never", kind: .exec, state: .ended),
        ]
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        _ = bench.taken()
        let cases = [
            ("", "attach channel requires ID in ExtraData"), ("c0ffee", "session c0ffee is invalid"),
            ("done", "process finished with exit code: 3"), ("never", "launch failed with: x: no such executable in PATH"),
        ]
        for (id, text) in cases {
            let channel = try bench.open("attach", Array(id.utf8))
            try bench.run()
            for message in bench.pid1.messages {
                if case .wait(let tag, "done") = message { bench.pid1.say(.exited(tag: tag, result("done", exitCode: 3))) }
                if case .wait(let tag, "never") = message {
                    let failure = RequestFailure(.launchFailed, exitCode: 127, operation: "exec", object: "x", cause: "not found in PATH")
                    bench.pid1.say(.failed(tag: tag, failure))
                }
            }
            try bench.run()
            #expect(bench.taken() == [.openFailed(channel, reason: 1, text: text)])
        }
        let other = try bench.open("direct-tcpip")
        try bench.run()
        #expect(bench.taken() == [.openFailed(other, reason: 3, text: "there are no channels of type direct-tcpip")])
    }

    @Test("a session that could not be started is over for whoever asks next, whether or not PID 1 has told the list anew")
    func failedBeforeTheList() throws {
        let bench = try bench()
        bench.pid1.sessions.append(SessionSummary(id: "never", kind: .exec, state: .waiting))
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        _ = bench.taken()
        let first = try bench.channel("attach", extra: Array("never".utf8))
        let failure = RequestFailure(.launchFailed, exitCode: 127, operation: "exec", object: "x", cause: "not found in PATH")
        bench.pid1.say(.failed(tag: try #require(bench.pid1.attachments.last).0, failure))
        try bench.run()
        #expect(bench.taken().last == .closed(first))
        let again = try bench.open("attach", Array("never".utf8))
        try bench.run()
        let wait = try #require(bench.pid1.messages.compactMap { if case .wait(let tag, "never") = $0 { tag } else { nil } }.last)
        bench.pid1.say(.failed(tag: wait, failure))
        try bench.run()
        #expect(bench.taken() == [.openFailed(again, reason: 1, text: "launch failed with: x: no such executable in PATH")])
    }

    @Test("a session that waits: joined, unblocked after the answer, resized, written to, its input closed, signalled")
    func session() throws {
        let bench = try bench()
        bench.pid1.sessions[0].state = .waiting
        bench.pid1.sessions[0].hasTerminal = true
        let id = try bench.channel("attach", extra: Array("main".utf8))
        let (tag, request) = try #require(bench.pid1.attachments.first)
        #expect(request.session == "main" && request.stdout == .oldest && bench.pid1.releases == 0)
        for (name, data) in [("ping", "Ping"), ("ping", "Pong"), ("unblock", "Unblock"), ("else", "")] {
            bench.client.connection.request(id, name: name, data: Array(data.utf8), wantsReply: true)
        }
        bench.client.connection.request(id, name: "window-change", data: size(120, 40), wantsReply: true)
        bench.client.connection.request(id, name: "window-change", data: size(120, 40).dropLast(), wantsReply: true)
        bench.client.connection.request(id, name: "signal", data: wired("SIGHUP"), wantsReply: true)
        #expect(bench.client.connection.send(data: Array("one".utf8)[...], on: id) == 3)
        bench.client.connection.request(id, name: "close-stdin", wantsReply: true)
        bench.client.connection.sendEOF(id)
        try bench.run()
        #expect(bench.taken().replies(id) == [true, false, true, false, true, false, true, true])
        #expect(bench.pid1.releases == 1 && bench.pid1.input(tag) == Array("one".utf8))
        #expect(bench.pid1.messages.count { $0 == .closeStdin(tag: tag) } == 1, "the end of the channel is not a second one")
        #expect(bench.pid1.messages.contains { if case .resize(_, "main", 40, 120) = $0 { true } else { false } })
        #expect(bench.pid1.messages.contains { if case .signal(_, "main", 1) = $0 { true } else { false } })
        #expect(bench.pid1.messages.contains { if case .release(_, "main", []) = $0 { true } else { false } })
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("x".utf8)))
        bench.pid1.say(.exited(tag: tag, result()))
        try bench.run()
        #expect(bench.taken() == [.data(id, Array("x".utf8)), .eof(id), .closed(id)], "VIC's VCH is told no status")
    }

    @Test("A18, A20: unblock is for the session that was joined, an exec that waits too")
    func unblocksExec() throws {
        let bench = try bench()
        bench.pid1.sessions.append(SessionSummary(id: "e1", kind: .exec, state: .waiting, stdinIsOpen: true))
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        let ids = ConnectionEvent.globalRequest(name: "container-ids", data: wired("main,e1"), wantsReply: true)
        #expect(bench.taken() == [ids], "one that waits can be joined")
        bench.client.connection.replyToGlobalRequest(success: true)
        let id = try bench.channel("attach", extra: Array("e1".utf8))
        bench.client.connection.request(id, name: "unblock", data: Array("Unblock".utf8), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [true])
        #expect(bench.pid1.messages.contains { if case .release(_, "e1", []) = $0 { true } else { false } })
    }

    @Test("a size for a session without a terminal is refused")
    func noTerminal() throws {
        let bench = try bench()
        let id = try bench.channel("attach", extra: Array("main".utf8))
        bench.client.connection.request(id, name: "window-change", data: size(1, 1), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [false])
    }

    /// Another VCH synchronises in the middle of the connection, and logs in.
    private func restart(_ bench: Bench) throws {
        bench.send([0x16, 0x40])
        bench.now += 200_000_000
        bench.server.tick(now: bench.now)
        bench.newClient(user: "daemon")
        try bench.run(connected: false)
        bench.send([0x06, (bench.line.last ?? 0) &+ 1])
        bench.line = []
        try bench.run(connected: false)
        bench.line.removeFirst()
        try bench.run()
        #expect(bench.isAuthenticated)
        _ = bench.taken()
    }

    @Test("a VCH that was cut off goes on where its reader had come to, and not where what was sent ended")
    func resumes() throws {
        let bench = try bench()
        let id = try bench.channel("attach", extra: Array("main".utf8))
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("0123456789".utf8)))
        bench.pid1.say(.output(tag: tag, .stderr, offset: 0, Array("abcde".utf8)))
        bench.pid1.say(.output(tag: tag, .stdout, offset: 10, Array("0123".utf8)))
        try bench.run()
        // As Go's SSH does for each piece that was read.
        for count in [7, 3, 4] {
            bench.client.connection.grant(id, bytes: count)
            try bench.run()
        }
        try restart(bench)
        let again = try bench.channel("attach", extra: Array("main".utf8))
        let request = try #require(bench.pid1.attachments.last)
        #expect(request.1.stdout == .offset(10) && request.1.stderr == .offset(4))
        // Once more, by a client that ends the connection itself and has read nothing of what is new.
        bench.pid1.say(.output(tag: request.tag, .stdout, offset: 10, Array("0123".utf8)))
        try bench.run()
        #expect(bench.taken().data(again) == "0123")
        bench.client.disconnect(SSHError(.byApplication, "test", "", "restarted"))
        try bench.run()
        bench.newClient(user: "daemon")
        try bench.run()
        _ = bench.taken()
        _ = try bench.channel("attach", extra: Array("main".utf8))
        #expect(bench.pid1.attachments.last?.1.stdout == .offset(10))
    }

    @Test("what a VCH had not read of a session that ended when it was cut off, the next one gets, once")
    func endedUnread() throws {
        let bench = try bench()
        bench.pid1.sessions.append(SessionSummary(id: "e1", kind: .exec, state: .running))
        bench.pid1.say(.event(tag: 1, .sessionsChanged))
        try bench.run()
        let id = try bench.channel("attach", extra: Array("e1".utf8))
        let tag = try #require(bench.pid1.attachments.last?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("abc".utf8)))
        try bench.run()
        bench.client.connection.grant(id, bytes: 1)
        try bench.run()
        bench.pid1.say(.exited(tag: tag, result("e1")))
        // The line is cut before the end of the channel comes.
        try bench.run(connected: false)
        bench.line = []
        try restart(bench)
        let again = try bench.channel("attach", extra: Array("e1".utf8))
        let request = try #require(bench.pid1.attachments.last)
        #expect(request.1.stdout == .offset(1))
        bench.pid1.say(.output(tag: request.tag, .stdout, offset: 1, Array("bc".utf8)))
        bench.pid1.say(.exited(tag: request.tag, result("e1")))
        try bench.run()
        let events = bench.taken()
        #expect(events.data(again) == "bc" && events.last == .closed(again))
        _ = try bench.open("attach", Array("e1".utf8))
        try bench.run()
        #expect(bench.pid1.messages.contains { if case .wait(_, "e1") = $0 { true } else { false } }, "now it has ended for it, too")
    }

    @Test("what is no longer kept of what a VCH had not read, the diagnostics tell")
    func missed() throws {
        let bench = try bench()
        _ = try bench.channel("attach", extra: Array("main".utf8))
        let tag = try #require(bench.pid1.attachments.last?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("abc".utf8)))
        try bench.run()
        try restart(bench)
        bench.pid1.sessions[0].stdout = SessionSummary.Kept(first: 100, end: 200)
        _ = try bench.channel("attach", extra: Array("main".utf8))
        #expect(bench.lines.contains("main: 100 bytes of stdout are no longer kept"))
    }

    @Test("a channel that nobody has ever read holds nothing up; one that was read does")
    func neverRead() throws {
        let bench = try bench()
        let id = try bench.channel("attach", extra: Array("main".utf8), window: 1000)
        let tag = try #require(bench.pid1.attachments.last?.tag)
        func write(_ count: Int) throws {
            bench.pid1.say(.output(tag: tag, .stdout, offset: 0, [UInt8](repeating: 120, count: count)))
            try bench.run()
        }
        func pass(_ seconds: Int64) throws {
            bench.now += seconds * 1_000_000_000
            bench.server.tick(now: bench.now)
            try bench.run()
        }
        let first = bench.pid1.granted(tag)
        try write(first)
        try pass(0)
        let full = bench.pid1.granted(tag)
        #expect(full < first + 1000 + 4096)
        try pass(1)
        #expect(bench.pid1.granted(tag) == full)
        try pass(1)
        #expect(bench.pid1.granted(tag) == 2 * first, "all that was written has made room again")
        try write(first)
        #expect(bench.pid1.granted(tag) == 3 * first)
        #expect(bench.taken().data(id).count == 1000)
        #expect(bench.lines.contains("main: nobody reads its channel; what has no room on it is left out"))
        // Somebody attaches, and reads what is there; then pauses.
        bench.client.connection.grant(id, bytes: 1000)
        try bench.run()
        #expect(bench.lines.contains("main: its channel is read again; \(2 * first - 1000) bytes of output were left out"))
        try write(first)
        #expect(bench.taken().data(id).count == 1000)
        try pass(1)
        let read = bench.pid1.granted(tag)
        for _ in 0..<10 { try pass(1) }
        #expect(bench.pid1.granted(tag) == read && read < 4 * first)
        #expect(bench.server.nextDeadline ?? .max > bench.now)
    }

    @Test("as many clients as may be: one more is refused for that, and not as if its process had not been started")
    func tooMany() throws {
        let bench = try bench()
        bench.pid1.attached = {
            let cause = "64 clients are attached, which is the most"
            guard case .attach(let tag, _) = $0 else { return nil }
            return .failed(tag: tag, RequestFailure(.tooMany, operation: "attach to", object: "main", cause: cause))
        }
        let channel = try bench.open("attach", Array("main".utf8))
        try bench.run()
        #expect(bench.taken() == [.openFailed(channel, reason: 4, text: "64 clients are attached, which is the most")])
    }

    @Test("as many channels as PID 1 lets clients attach")
    func manyChannels() throws {
        let bench = try bench()
        for _ in 0..<256 { _ = try bench.channel("attach", extra: Array("main".utf8)) }
        let channel = try bench.open("attach", Array("main".utf8))
        try bench.run()
        #expect(bench.taken() == [.openFailed(channel, reason: 4, text: "there are 256 channels already")])
    }

    @Test("a VCH that was let go of because it was slow goes on there, too, without words of ours among the output")
    func resumesAfterSlow() throws {
        let bench = try bench()
        let id = try bench.channel("attach", extra: Array("main".utf8))
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("0123456789".utf8)))
        bench.pid1.say(.detached(tag: tag, Detachment(.slow, stdoutOffset: 10, stderrOffset: 0)))
        try bench.run()
        let events = bench.taken()
        #expect(events.data(id) == "0123456789" && events.errors(id).isEmpty && events.last == .closed(id))
        #expect(bench.lines.contains { $0.hasPrefix("main: detached:") })
        try restart(bench)
        _ = try bench.channel("attach", extra: Array("main".utf8))
        #expect(bench.pid1.attachments.last?.1.stdout == .offset(10))
    }

    @Test("what an exec wrote that has ended already is shown to the VCH that comes for it, once")
    func endedBefore() throws {
        let bench = try bench()
        var exec = SessionSummary(id: "exec-1", kind: .exec, state: .ended, stdinIsOpen: false, args: ["echo"])
        exec.stdout = SessionSummary.Kept(first: 0, end: 2)
        bench.pid1.sessions.append(exec)
        bench.pid1.say(.event(tag: 2, .sessionsChanged))
        try bench.run()
        _ = bench.taken()
        let id = try bench.channel("attach", extra: Array("exec-1".utf8))
        let (tag, request) = try #require(bench.pid1.attachments.last)
        #expect(request.stdout == .oldest)
        bench.pid1.say(.output(tag: tag, .stdout, offset: 0, Array("x\n".utf8)))
        bench.pid1.say(.exited(tag: tag, result("exec-1")))
        try bench.run()
        let events = bench.taken()
        #expect(events.data(id) == "x\n" && events.last == .closed(id))
        let again = try bench.open("attach", Array("exec-1".utf8))
        try bench.run()
        let wait = try #require(bench.pid1.messages.compactMap { if case .wait(let tag, "exec-1") = $0 { tag } else { nil } }.last)
        bench.pid1.say(.exited(tag: wait, result("exec-1")))
        try bench.run()
        #expect(bench.taken() == [.openFailed(again, reason: 1, text: "process finished with exit code: 0")])
    }

    @Test("daemon is a VCH only where the configuration says so")
    func onlyWhereAllowed() throws {
        let bench = try Bench(allowsNone: true, vic: false)
        bench.newClient(user: "daemon")
        try bench.run()
        bench.client.connection.globalRequest(name: "version", wantsReply: true)
        try bench.run()
        #expect(bench.isAuthenticated && bench.taken() == [.globalReply(success: false, data: [])])
    }

    @Test("other users know nothing of it, and daemon gets in only where that is allowed")
    func others() throws {
        let bench = try Bench()
        try bench.run()
        bench.client.connection.globalRequest(name: "container-ids", wantsReply: true)
        let channel = try bench.open("attach", Array("main".utf8))
        try bench.run()
        #expect(
            bench.taken() == [
                .globalReply(success: false, data: []), .openFailed(channel, reason: 3, text: "there are no channels of type attach"),
            ])
        let closed = try Bench(allowsNone: false, vic: false)
        closed.client = SSHClient(
            ClientConfiguration(user: "daemon", keys: [], hostKeyCheck: { _ in true }), random: SeededRandom(3).source, now: closed.now)
        try closed.run()
        #expect(!closed.isAuthenticated && closed.isEnded)
    }
}
