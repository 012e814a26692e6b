import Control
import Foundation
import SSH
import SessionLog
import Testing

@testable import Attach

/// Answers of PID 1's that come when their client, or its channel, is gone; and those that are too long.
@Suite("Attach: late and long answers") struct LateAnswerTests {
    @Test("commands whose channels are closed before they have started leave nothing behind")
    func closedBeforeStart() throws {
        let bench = try Bench()
        // PID 1 answers such a request by letting go of it.
        bench.pid1.attached = { _ in nil }
        for _ in 0..<1200 {
            let id = try bench.channel()
            bench.client.connection.request(id, .execute(command: Array("true".utf8)), wantsReply: true)
            bench.client.connection.close(id)
            try bench.run()
        }
        #expect(bench.pid1.execs.count == 1200 && !bench.bridge.isCongested)
        bench.pid1.attached = nil
        let id = try bench.shell()
        #expect(bench.taken().replies(id) == [true])
    }

    @Test("an answer to a client that is gone is not given to the next one, whatever it asked")
    func nextClient() throws {
        let bench = try Bench()
        try bench.run()
        _ = try bench.channel()
        bench.pid1.answers = false
        bench.client.connection.globalRequest(name: "pause@tether", wantsReply: true)
        try bench.run()
        let pause = try #require(bench.pid1.messages.compactMap { if case .pause(let tag) = $0 { tag } else { nil } }.first)
        bench.send([0x16, 0x40])
        bench.now += 200_000_000
        bench.server.tick(now: bench.now)
        bench.newClient()
        try bench.run(connected: false)
        let number = try #require(bench.line.last)
        bench.line = []
        bench.send([0x06, number &+ 1])
        try bench.run(connected: false)
        bench.line.removeFirst()
        try bench.run()
        bench.client.connection.globalRequest(name: "stats@tether", wantsReply: true)
        try bench.run()
        let stats = try #require(bench.pid1.messages.compactMap { if case .stats(let tag) = $0 { tag } else { nil } }.first)
        _ = bench.taken()
        bench.pid1.say(.done(tag: pause))
        try bench.run()
        #expect(bench.taken() == [])
        bench.pid1.say(.stats(tag: stats, Array("{}".utf8)))
        try bench.run()
        #expect(bench.taken() == [.globalReply(success: true, data: Array("{}".utf8))])
    }

    @Test("a list of sessions fits into a message: arguments are cut, then the oldest are left out, and both are said")
    func longLists() throws {
        func list(_ count: Int, _ arguments: [String]) throws -> [String: Any] {
            let sessions = (0..<count).map {
                SessionSummary(
                    id: $0 == 0 ? "main" : "exec-\($0)", kind: $0 == 0 ? .primary : .exec, state: $0 % 2 == 0 ? .running : .ended,
                    stdinIsOpen: false, args: arguments)
            }
            let document = Documents.sessions(sessions)
            #expect(document.count <= Documents.maximumSize)
            return try #require(try JSONSerialization.jsonObject(with: Data(document)) as? [String: Any])
        }
        let plain = try list(20, ["sh", "-c", "true"])
        #expect((plain["sessions"] as? [[String: Any]])?.allSatisfy { $0["argsAreCut"] == nil } == true && plain["omitted"] == nil)
        let cut = try #require(try list(65, ["sh", String(repeating: "a", count: 500)])["sessions"] as? [[String: Any]])
        #expect(cut.count == 65 && cut.allSatisfy { $0["args"] as? [String] == ["sh"] && $0["argsAreCut"] as? Bool == true })
        let many = try list(256, ["sh"])
        let kept = try #require(many["sessions"] as? [[String: Any]])
        let omitted = try #require(many["omitted"] as? Int)
        #expect(kept.count + omitted == 256 && kept.count > 100 && kept.first?["id"] as? String == "main")
        // Those that run are the last to be left out.
        #expect(kept.filter { $0["state"] as? String == "running" }.count == 128)
    }

    @Test("a document that is too long is refused with its size, and the connection lives")
    func longDocument() throws {
        let bench = try Bench()
        try bench.run()
        bench.pid1.answers = false
        bench.client.connection.globalRequest(name: "stats@tether", wantsReply: true)
        try bench.run()
        let tag = try #require(bench.pid1.messages.compactMap { if case .stats(let tag) = $0 { tag } else { nil } }.first)
        _ = bench.taken()
        bench.pid1.say(.stats(tag: tag, Array("{\"a\":\"\(String(repeating: "b", count: 40_000))\"}".utf8)))
        try bench.run()
        guard case .globalReply(true, let data)? = bench.taken().first else {
            Issue.record("no answer")
            return
        }
        let error = try JSONSerialization.jsonObject(with: Data(data)) as? [String: [String: String]]
        #expect(error?["error"]?["cause"]?.hasSuffix("are the most") == true, "\(String(decoding: data, as: UTF8.self))")
    }

    @Test("a session of a name that was used before is a new one")
    func nameUsedAgain() throws {
        let bench = try Bench()
        bench.pid1.sessions.append(SessionSummary(id: "job", kind: .exec, state: .running, stdinIsOpen: false, args: ["a"]))
        bench.pid1.say(.event(tag: 2, .sessionsChanged))
        func attach() throws -> StreamStart {
            var writer = WireWriter()
            let id = try bench.channel("attach", extra: Array("job".utf8))
            bench.client.connection.close(id)
            try bench.run()
            writer.text("")
            return try #require(bench.pid1.attachments.last?.1.stdout)
        }
        bench.newClient(user: "daemon")
        bench.client = SSHClient(
            ClientConfiguration(user: "daemon", keys: [], hostKeyCheck: { _ in true }), random: SeededRandom(3).source, now: bench.now)
        try bench.run()
        #expect(try attach() == .oldest)
        #expect(try attach() == .offset(0))
        let job = bench.pid1.sessions.removeLast()
        bench.pid1.say(.event(tag: 2, .sessionsChanged))
        try bench.run()
        bench.pid1.sessions.append(job)
        bench.pid1.say(.event(tag: 2, .sessionsChanged))
        try bench.run()
        #expect(try attach() == .oldest)
    }
}
