import SSH
import Testing

@Suite struct SessionRequestTests {
    private func modes(_ values: [(TerminalModes.Opcode, UInt32)]) -> TerminalModes {
        var modes = TerminalModes()
        for (opcode, value) in values { modes[opcode] = value }
        return modes
    }

    @Test func whatIsWrittenIsRead() {
        let size = WindowSize(columns: 80, rows: 24, widthPixels: 640, heightPixels: 480)
        let requests: [SessionRequest] = [
            .terminal(name: "xterm-256color", size, modes([(.vintr, 3), (.veof, 4), (.echo, 1), (.outputSpeed, 38400)])),
            .windowChange(size), .environment(name: "LANG", value: "C.UTF-8"), .shell, .execute(command: [0x66, 0xff, 0]),
            .subsystem(name: "sftp"), .signal(name: "TERM"), .lineBreak(milliseconds: 500), .exitStatus(.max),
            .exitSignal(name: "KILL", coreDumped: true, message: "out of memory"), .flowControl(clientCanDo: true), .endOfWrite,
        ]
        for request in requests {
            #expect(SessionRequest(name: request.name, data: request.data) == request)
            for length in 0..<request.data.count {
                #expect(SessionRequest(name: request.name, data: Array(request.data.prefix(length))) == nil)
            }
            #expect(SessionRequest(name: request.name, data: request.data + [0]) == nil)
        }
        #expect(SessionRequest(name: "x11-req", data: []) == nil)
    }

    /// As OpenSSH's client sends it for a terminal of 80 columns and 24 rows.
    @Test func aTerminalRequestFromTheWire() throws {
        var writer = WireWriter()
        writer.text("xterm")
        for number: UInt32 in [80, 24, 0, 0] { writer.uint32(number) }
        writer.string([3, 0, 0, 0, 127, 5, 0, 0, 0, 4, 9, 0, 0, 0, 19, 51, 0, 0, 0, 1, 0])
        let request = try #require(SessionRequest(name: "pty-req", data: writer.bytes))
        guard case .terminal("xterm", WindowSize(columns: 80, rows: 24), let modes) = request else {
            Issue.record("read as \(request)")
            return
        }
        #expect(modes[.verase] == 127)
        #expect(modes.character(.veof) == 4)
        #expect(modes[.icanon] == 1)
        #expect(modes[.echo] == nil)
        #expect(modes.character(.vintr) == nil)
    }

    @Test func modesOfAnyForm() {
        // No end, a mode cut short, an opcode that is not defined, bytes after the end.
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 3]) == modes([(.vintr, 3)]))
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 3, 5, 0, 0]) == modes([(.vintr, 3)]))
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 3, 160, 0, 0, 0, 1, 5, 0, 0, 0, 4]) == modes([(.vintr, 3)]))
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 3, 0, 5, 0, 0, 0, 4]) == modes([(.vintr, 3)]))
        #expect(TerminalModes(encoded: []).isEmpty)
        // The last value counts, and none means that there is no such character.
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 3, 1, 0, 0, 0, 255])[.vintr] == 255)
        #expect(TerminalModes(encoded: [1, 0, 0, 0, 255]).character(.vintr) == nil)
        // A flood of modes is a few modes.
        let flood = (0..<10_000).flatMap { number -> [UInt8] in [UInt8(1 + number % 159), 0, 0, 0, 1] }
        #expect(TerminalModes(encoded: flood).encoded.count == 159 * 5 + 1)
        var none = TerminalModes()
        none[200] = 1
        #expect(none.isEmpty)
        var removed = modes([(.vintr, 3)])
        removed[.vintr] = nil
        #expect(removed.isEmpty)
    }

    @Test func aTerminalNameIsBounded() {
        let request = SessionRequest.terminal(name: String(repeating: "x", count: 65), WindowSize(columns: 1, rows: 1), TerminalModes())
        #expect(SessionRequest(name: "pty-req", data: request.data) == nil)
    }

    /// A message for the user is shown on a terminal, which obeys control characters.
    @Test func messagesAreMadeFitToBeShown() {
        let request = SessionRequest.exitSignal(name: "KILL", coreDumped: false, message: "a\u{1b}]0;b\u{7}c\u{9b}d é")
        guard case .exitSignal(_, _, let message)? = SessionRequest(name: request.name, data: request.data) else {
            Issue.record("not read")
            return
        }
        #expect(message == "a ]0;b c d é")
    }
}
