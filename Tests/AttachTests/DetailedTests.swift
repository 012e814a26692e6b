import Control
import Foundation
import SSH
import SessionLog
import Testing

@testable import Attach

@Suite("Attach: tether's own requests") struct DetailedTests {
    private func attach(_ session: String, _ stdout: String, _ stderr: String, stdin: Bool, key: UInt64 = 0) -> [UInt8] {
        var writer = WireWriter()
        for text in [session, stdout, stderr] { writer.text(text) }
        writer.boolean(stdin)
        writer.uint64(key)
        return writer.bytes
    }

    private func object(_ bytes: [UInt8]) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    @Test("attach@tether: offsets before the first byte, the record behind the last")
    func attach() throws {
        let bench = try Bench()
        bench.pid1.sessions[0].stdout = SessionSummary.Kept(first: 1000, end: 2000)
        let id = try bench.channel()
        let wanted = attach("main", "700", "live", stdin: true, key: 7)
        bench.client.connection.request(id, name: "attach@tether", data: wanted, wantsReply: true)
        try bench.run()
        let (tag, request) = try #require(bench.pid1.attachments.first)
        #expect(request.stdout == .offset(700) && request.stderr == .live && request.session == "main" && bench.pid1.releases == 1)
        #expect(request.inputKey == 7)
        var events = bench.taken()
        var reader = WireReader(try #require(events.requests(id).first { $0.name == "attached@tether" }).data)
        #expect(reader.text() == "main" && reader.boolean() == false)
        #expect([reader.uint64(), reader.uint64(), reader.uint64(), reader.uint64()] == [1000, 0, 300, 0])
        #expect(reader.boolean() && reader.uint64() == 1234 && reader.isComplete, "the input that was taken")
        #expect(events.replies(id) == [true])

        bench.pid1.say(.exited(tag: tag, result(exitCode: 9)))
        try bench.run()
        events = bench.taken()
        #expect(events.requests(id).map(\.name) == ["exit-status", "exited@tether"])
        var exited = WireReader(events.requests(id)[1].data)
        let record = try object(exited.string())
        #expect(record["id"] as? String == "main" && record["exitCode"] as? Int == 9)
        #expect((record["stdout"] as? [String: Any])?["sha256"] as? String == "ab")
    }

    @Test("without a start the first client gets what is kept, and others what comes, of each stream for itself")
    func emptyStarts() throws {
        let bench = try Bench()
        for starts in [("", ""), ("", ""), ("", "none"), ("12", "")] {
            let id = try bench.channel()
            bench.client.connection.request(
                id, name: "attach@tether", data: attach("", starts.0, starts.1, stdin: false), wantsReply: true)
            try bench.run()
            #expect(bench.taken().replies(id) == [true])
        }
        let asked = bench.pid1.attachments.map { [$0.1.stdout, $0.1.stderr] }
        #expect(asked == [[.oldest, .oldest], [.live, .live], [.live, .none], [.offset(12), .live]])
    }

    @Test("stdin@tether says when input is not taken and when it is again; close-stdin@tether ends it without an end of the channel")
    func input() throws {
        let bench = try Bench()
        let id = try bench.channel()
        bench.client.connection.request(id, name: "close-stdin@tether", wantsReply: true)
        bench.client.connection.request(id, name: "attach@tether", data: attach("main", "live", "live", stdin: true), wantsReply: true)
        try bench.run()
        let tag = try #require(bench.pid1.attachments.first?.tag)
        bench.client.connection.request(id, name: "close-stdin@tether", wantsReply: true)
        try bench.run()
        #expect(bench.pid1.messages.contains(.closeStdin(tag: tag)))
        #expect(bench.taken().replies(id) == [false, true, true])
        for message in [ServerMessage.stdinClosed(tag: tag, .requested), .stdinOpened(tag: tag), .stdinClosed(tag: tag, .processClosed)] {
            bench.pid1.say(message)
            try bench.run()
        }
        let told = bench.taken().requests(id).filter { $0.name == "stdin@tether" }
        func news(_ isTaken: Bool, _ why: String) -> [UInt8] {
            var writer = WireWriter()
            writer.boolean(isTaken)
            writer.text(why)
            return writer.bytes
        }
        #expect(told.map { $0.data } == [news(false, "requested"), news(true, ""), news(false, "process")])
        // Who asked for no input is not told of it.
        let other = try bench.channel()
        bench.client.connection.request(other, name: "attach@tether", data: attach("main", "live", "live", stdin: false), wantsReply: true)
        try bench.run()
        #expect(!bench.taken().requests(other).contains { $0.name == "stdin@tether" })
    }

    @Test("a session that is not there is said to be missing, and the channel can ask for another")
    func unknown() throws {
        let bench = try Bench()
        let id = try bench.channel()
        bench.client.connection.request(id, name: "attach@tether", data: attach("none", "live", "live", stdin: false), wantsReply: true)
        bench.client.connection.request(id, name: "attach@tether", data: [1, 2, 3], wantsReply: true)
        try bench.run()
        let events = bench.taken()
        #expect(events.replies(id) == [false, false])
        var reader = WireReader(try #require(events.requests(id).first { $0.name == "failed@tether" }).data)
        let error = try #require(try object(reader.string())["error"] as? [String: Any])
        #expect(error["code"] as? String == "unknownSession" && error["object"] as? String == "none")
        for bad in ["-1", "99999999999999999999", " ", "latest"] {
            let bad = attach("main", bad, "live", stdin: false)
            bench.client.connection.request(id, name: "attach@tether", data: bad, wantsReply: true)
        }
        bench.client.connection.request(id, name: "attach@tether", data: attach("", "oldest", "none", stdin: false), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(id) == [false, false, false, false, true])
        #expect(bench.pid1.attachments.last?.1.stderr == StreamStart.none)
    }

    @Test("exec-process@tether takes an OCI process as it is")
    func execProcess() throws {
        let bench = try Bench()
        let id = try bench.channel()
        var writer = WireWriter()
        writer.text(#"{"args":["ls"]}"#)
        writer.boolean(true)
        writer.text("mine")
        writer.uint64(8)
        bench.client.connection.request(id, name: "exec-process@tether", data: writer.bytes, wantsReply: true)
        try bench.run()
        let request = try #require(bench.pid1.execs.first).1
        #expect(request.wantsStdin && request.inputKey == 8 && !request.endsInputWithClient, "its input does not end with the client")
        #expect(request.session == "mine" && request.process == Array(#"{"args":["ls"]}"#.utf8))
        #expect(bench.taken().replies(id) == [true])
        let other = try bench.channel()
        var large = WireWriter()
        large.string([UInt8](repeating: 32, count: 65_537 - 32_768))
        large.boolean(false)
        large.text("")
        large.uint64(0)
        bench.client.connection.request(other, name: "exec-process@tether", data: Array(large.bytes.dropLast(3)), wantsReply: true)
        try bench.run()
        #expect(bench.taken().replies(other) == [false])
    }

    @Test("boot@tether tells the number of the boot, where there is one")
    func boot() throws {
        let bench = try Bench()
        for number in [0, 0x0102_0304_0506_0708] as [UInt64] {
            bench.bridge.boot = number
            bench.client.connection.globalRequest(name: "boot@tether", wantsReply: true)
            try bench.run()
            let told = number == 0 ? [] : Array(1...8) as [UInt8]
            #expect(bench.taken() == [.globalReply(success: number != 0, data: told)])
        }
    }

    @Test("global requests are answered with documents, in their order")
    func globals() throws {
        let bench = try Bench()
        bench.pid1.sessions[0].startedAt = Timestamp(nanoseconds: 0)
        try bench.run()
        _ = bench.taken()
        var stop = WireWriter()
        stop.text("SIGHUP")
        stop.boolean(true)
        stop.uint32(1500)
        var signal = WireWriter()
        signal.text("main")
        signal.text("NOPE")
        for (name, data) in [
            ("sessions@tether", []), ("keepalive@openssh.com", []), ("stop@tether", stop.bytes), ("stop@tether", [1]),
            ("signal@tether", signal.bytes),
            ("stats@tether", []), ("pause@tether", []), ("resume@tether", []), ("reload@tether", []), ("no-more-sessions@openssh.com", []),
        ] as [(String, [UInt8])] {
            bench.client.connection.globalRequest(name: name, data: data, wantsReply: true)
        }
        try bench.run()
        let replies = bench.taken().compactMap { event -> (Bool, String)? in
            if case .globalReply(let success, let data) = event { (success, String(decoding: data, as: UTF8.self)) } else { nil }
        }
        #expect(replies.map(\.0) == [true, false, true, true, true, true, true, true, true, true])
        let list = try object(Array(replies[0].1.utf8))["sessions"] as? [[String: Any]]
        #expect(list?.count == 1 && list?[0]["id"] as? String == "main" && list?[0]["state"] as? String == "running")
        #expect(list?[0]["args"] as? [String] == ["app", "-v"] && list?[0]["startedAt"] as? String == "1970-01-01T00:00:00.000000000Z")
        #expect(replies[2].1 == "{}" && replies[3].1.contains("invalid") && replies[4].1.contains("there is no signal NOPE"))
        let stats = try object(Array(replies[5].1.utf8))
        #expect(stats["line"] != nil && stats["tether"] != nil)
        #expect(bench.pid1.messages.contains { if case .stop(_, 1, 1500) = $0 { true } else { false } })
    }
}
