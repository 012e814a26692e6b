import Control
import SSH
import Testing

@testable import Attach

@Suite("Attach: the modes of the client's terminal") struct TerminalModeTests {
    private func request(_ bench: Bench, _ id: ChannelID) {
        var modes = TerminalModes()
        modes[.verase] = 8
        modes[.ixon] = 0
        // Of another system.
        modes[11] = 25
        bench.client.connection.request(id, .terminal(name: "xterm", WindowSize(columns: 80, rows: 24), modes), wantsReply: true)
    }

    @Test("a command gets them with its process")
    func command() throws {
        let bench = try Bench()
        try bench.run()
        let id = try bench.channel()
        request(bench, id)
        bench.client.connection.request(id, .execute(command: Array("x".utf8)), wantsReply: true)
        try bench.run()
        let document = String(decoding: try #require(bench.pid1.execs.first).1.process, as: UTF8.self)
        #expect(document.contains(#""consoleSize":{"height":24,"width":80},"terminalModes":[[3,8],[38,0]]}"#), "\(document)")
    }

    @Test("the container's own process gets them from whoever has it started, if it has a terminal")
    func primary() throws {
        for hasTerminal in [true, false] {
            let bench = try Bench()
            bench.pid1.sessions[0].state = .waiting
            bench.pid1.sessions[0].hasTerminal = hasTerminal
            try bench.run()
            let id = try bench.channel()
            request(bench, id)
            bench.client.connection.request(id, .shell, wantsReply: true)
            try bench.run()
            let modes = bench.pid1.messages.compactMap { if case .release(_, _, let modes) = $0 { modes } else { nil } }
            #expect(modes.map { String(decoding: $0, as: UTF8.self) } == [hasTerminal ? "[[3,8],[38,0]]" : ""])
        }
        let bench = try Bench()
        bench.pid1.sessions[0].hasTerminal = true
        try bench.run()
        _ = try bench.shell(terminal: WindowSize(columns: 80, rows: 24))
        #expect(bench.pid1.messages.contains { if case .release(_, _, []) = $0 { true } else { false } })
    }
}
