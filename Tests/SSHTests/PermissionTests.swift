import SSH
import Testing

/// What a restricted key may do on a connection.
@Suite struct PermissionTests {
    private func pair(_ permissions: (inout Permissions) -> Void) -> ConnectionPair {
        var pair = ConnectionPair()
        permissions(&pair.server.permissions)
        return pair
    }

    @Test func noTerminal() throws {
        var pair = pair { $0.allowsTerminal = false }
        let (id, peer) = try pair.channel()
        let terminal = SessionRequest.terminal(name: "xterm", WindowSize(columns: 80, rows: 24), TerminalModes())
        pair.client.request(id, terminal, wantsReply: true)
        pair.client.request(id, name: "exec-process@tether", data: wired("{\"terminal\":true}"), wantsReply: true)
        pair.client.request(id, .shell, wantsReply: true)
        try pair.run()
        let (client, server) = pair.taken()
        #expect(client == [.requestReply(id, success: false), .requestReply(id, success: false)])
        #expect(server == [.request(peer, name: "shell", data: [], wantsReply: true)])
    }

    @Test func aForcedCommandRunsWhateverIsAskedFor() throws {
        let forced = SessionRequest.execute(command: Array("backup --now".utf8))
        func event(_ peer: ChannelID, _ request: SessionRequest, _ wantsReply: Bool) -> ConnectionEvent {
            .request(peer, name: request.name, data: request.data, wantsReply: wantsReply)
        }
        let cases: [(asked: SessionRequest, original: String?)] = [
            (.shell, nil), (.execute(command: Array("rm -rf /".utf8)), "rm -rf /"), (.subsystem(name: "sftp"), "sftp"),
        ]
        for one in cases {
            var pair = pair { $0.forcedCommand = Array("backup --now".utf8) }
            let (id, peer) = try pair.channel()
            pair.client.request(id, .environment(name: "LANG", value: "C"))
            pair.client.request(id, .environment(name: Permissions.originalCommand, value: "something else"), wantsReply: true)
            pair.client.request(id, one.asked, wantsReply: true)
            try pair.run()
            let (client, server) = pair.taken()
            let original = one.original.map { [event(peer, .environment(name: Permissions.originalCommand, value: $0), false)] } ?? []
            #expect(server == [event(peer, .environment(name: "LANG", value: "C"), false)] + original + [event(peer, forced, true)])
            #expect(client == [.requestReply(id, success: false)])
        }
    }

    /// A command that decides by what was asked for is not told something else.
    @Test func whatCannotBeToldIsRefused() throws {
        var pair = pair { $0.forcedCommand = Array("backup".utf8) }
        let (id, _) = try pair.channel()
        let asked: [SessionRequest] = [.execute(command: [0x61, 0, 0x62]), .execute(command: [0x61, 0xff]), .subsystem(name: "a\0b")]
        for request in asked {
            pair.client.request(id, request, wantsReply: true)
            try pair.run()
            #expect(pair.taken() == ([.requestReply(id, success: false)], []), "\(request)")
        }
    }

    @Test func aForcedCommandIsAllThatThereIs() throws {
        var pair = pair { $0.forcedCommand = Array("backup".utf8) }
        let (id, _) = try pair.channel()
        for name in ["exec-process@tether", "attach@tether", "unblock", "x11-req", "auth-agent-req@openssh.com"] {
            pair.client.request(id, name: name, wantsReply: true)
            try pair.run()
            #expect(pair.taken() == ([.requestReply(id, success: false)], []), "\(name)")
        }
        for name in ["stop@tether", "sessions@tether", "tcpip-forward"] {
            pair.client.globalRequest(name: name, wantsReply: true)
            try pair.run()
            #expect(pair.taken() == ([.globalReply(success: false, data: [])], []), "\(name)")
        }
        let other = try pair.request(type: "attach", window: 5)
        try pair.run()
        let text = "the key that the user has logged in with does not permit it"
        #expect(pair.taken() == ([.openFailed(other, reason: 1, text: text)], []))
        pair.client.request(id, .windowChange(WindowSize(columns: 1, rows: 1)))
        pair.client.request(id, .signal(name: "INT"))
        try pair.run()
        #expect(pair.taken().server.count == 2)
    }
}
