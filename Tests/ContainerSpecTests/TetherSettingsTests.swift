import ContainerSpec
import Testing

@Suite struct TetherSettingsTests {
    private func read(_ members: String) throws -> TetherSettings { try decode(document("\"tether\": {\(members)}")).tether }

    @Test func defaults() throws {
        let tether = try read("")
        #expect(tether == TetherSettings() && tether.stdin == .none && tether.restart == .no && tether.healthCheck == nil)
        #expect(tether.control == nil && tether.attach == nil)
        #expect(tether.sessions.ringKiB == 64 && tether.sessions.slowClient == .detach && tether.sessions.maxSessions == 64)
        #expect(tether.sessions.slowClientSeconds == 2)
        #expect(tether.sessions.maxClients == 16 && tether.memoryReserveKiB == nil)
    }

    @Test func sessions() throws {
        let tether = try read(
            #"""
            "stdin": "once", "memoryReserveKiB": 4096,
            "sessions": {"ringKiB": 16384, "slowClient": "block", "slowClientSeconds": 3600, "maxSessions": 256,
                "maxClients": 64}
            """#)
        #expect(tether.stdin == .once && tether.sessions.ringKiB == 16_384 && tether.sessions.slowClient == .block)
        #expect(tether.sessions.slowClientSeconds == 3600)
        #expect(tether.sessions.maxSessions == 256 && tether.sessions.maxClients == 64 && tether.memoryReserveKiB == 4096)
        let least =
            try read(
                #"""
                "stdin": "open", "memoryReserveKiB": 16777216,
                "sessions": {"ringKiB": 4, "slowClient": "detach", "slowClientSeconds": 1, "maxSessions": 1,
                "maxClients": 1}
                """#)
        #expect(least.sessions.slowClientSeconds == 1)
        #expect(least.stdin == .open && least.sessions.ringKiB == 4 && least.sessions.maxSessions == 1 && least.sessions.maxClients == 1)
        #expect(try read(#""stdin": "none""#).stdin == .none)
        #expect(try read(#""control": {"device": "/dev/ttyS0"}"#).control?.device == "/dev/ttyS0")
    }

    @Test func attach() throws {
        let least = try #require(try read(#""attach": {"vic": true}"#).attach)
        var expected = AttachSettings()
        expected.allowsVIC = true
        #expect(least == expected && least.device == "/dev/ttyS0" && least.authentication == .publicKey && !least.waits)
        let all = try #require(
            try read(
                #"""
                "control": {"device": "/dev/ttyS0"}, "attach": {"device": "/dev/ttyS3", "authentication": "none",
                "authorizedKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me at home", "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHA="],
                "hostKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"], "wait": true, "waitTimeoutSeconds": 86400, "compression": true}
                """#
            ).attach)
        #expect(all.device == "/dev/ttyS3" && all.authentication == .none && !all.allowsVIC && all.compresses)
        #expect(all.authorizedKeys.count == 2 && all.authorizedKeys[0].hasSuffix(" me at home") && all.hostKeys.count == 1)
        #expect(all.waits && all.waitTimeoutSeconds == 86_400)
    }

    @Test func attachKeysAreCounted() {
        let key = #""ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA""#
        let keys = Array(repeating: key, count: 65).joined(separator: ", ")
        #expect(paths(document("\"tether\": {\"attach\": {\"authorizedKeys\": [\(keys)]}}")) == ["tether.attach.authorizedKeys"])
    }

    @Test(arguments: [
        ("no", RestartPolicy.no), ("always", .always), ("unless-stopped", .unlessStopped), ("on-failure", .onFailure(maximum: nil)),
        ("on-failure:5", .onFailure(maximum: 5)), ("on-failure:0", .onFailure(maximum: nil)),
        ("on-failure:2147483647", .onFailure(maximum: 2_147_483_647)),
    ])
    func restart(_ text: String, _ policy: RestartPolicy) throws {
        #expect(RestartPolicy(text) == policy)
        #expect(try read("\"restart\": \"\(text)\"").restart == policy)
    }

    @Test(arguments: [
        "yes", "No", "on-failure:", "on-failure:-1", "on-failure:x", "on-failure:2147483648", "on-failure:99999999999999999999",
        "always:3", " no", "on-failure: 5",
    ])
    func noRestart(_ text: String) {
        #expect(RestartPolicy(text) == nil)
        #expect(paths(document("\"tether\": {\"restart\": \"\(text)\"}")) == ["tether.restart"])
    }

    @Test func healthCheck() throws {
        let shell = try #require(try read(#""healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"]}"#).healthCheck)
        #expect(shell.test == .shell("curl -f http://localhost/ || exit 1"))
        #expect(shell.test.arguments == ["/bin/sh", "-c", "curl -f http://localhost/ || exit 1"])
        #expect(shell.interval == 30_000_000_000 && shell.timeout == 30_000_000_000 && shell.startPeriod == 0)
        #expect(shell.startInterval == 5_000_000_000 && shell.retries == 3)
        let command = try #require(
            try read(
                #"""
                "healthcheck": {"Test": ["CMD", "/check", "", "x"], "Interval": 1000000, "Timeout": 2000000, "StartPeriod": 3000000,
                "StartInterval": 4000000,
                  "Retries": 2147483647}
                """#
            ).healthCheck)
        #expect(command.test.arguments == ["/check", "", "x"] && command.interval == 1_000_000 && command.timeout == 2_000_000)
        #expect(command.startPeriod == 3_000_000 && command.startInterval == 4_000_000 && command.retries == 2_147_483_647)
        let zeros =
            #""healthcheck": {"Test": ["CMD-SHELL", "a"], "Interval": 0, "Timeout": 0, "StartPeriod": 0, "StartInterval": 0, "Retries": 0}"#
        #expect(try read(zeros).healthCheck == HealthCheck(test: .shell("a")))
        #expect(try read(#""healthcheck": {"Test": ["NONE"], "Interval": 5000000}"#).healthCheck == nil)
    }

    @Test(arguments: [
        (#""Test": []"#, "Test"), (#""Test": ["CMD"]"#, "Test"), (#""Test": ["CMD", ""]"#, "Test"), (#""Test": ["CMD-SHELL"]"#, "Test"),
        (#""Test": ["CMD-SHELL", ""]"#, "Test"), (#""Test": ["CMD-SHELL", "a", "b"]"#, "Test"), (#""Test": ["NONE", "x"]"#, "Test"),
        (#""Test": ["/check"]"#, "Test"),
        (#""Test": "CMD""#, "Test"), (#""Test": ["CMD", 1]"#, "Test[1]"), (#""Interval": 5000000"#, "Test"),
        (#""Test": ["CMD", "a"], "Interval": 999999"#, "Interval"),
        (#""Test": ["CMD", "a"], "Timeout": -1"#, "Timeout"), (#""Test": ["CMD", "a"], "StartPeriod": 1"#, "StartPeriod"),
        (#""Test": ["CMD", "a"], "StartInterval": "5s""#, "StartInterval"),
        (#""Test": ["CMD", "a"], "Interval": 31536000000000001"#, "Interval"),
        (#""Test": ["CMD", "a"], "Retries": 2147483648"#, "Retries"), (#""test": ["CMD", "a"]"#, "test"),
    ])
    func badHealthChecks(_ members: String, _ member: String) {
        let json = document("\"tether\": {\"healthcheck\": {\(members)}}")
        #expect(paths(json).contains("tether.healthcheck.\(member)"), "\(refusal(json))")
        #expect(issues(json).count == 1 || member == "test")
    }

    @Test(arguments: [
        (#""stdin": "yes""#, "stdin"), (#""stdin": true"#, "stdin"), (#""sessions": {"ringKiB": 3}"#, "sessions.ringKiB"),
        (#""sessions": {"ringKiB": 16385}"#, "sessions.ringKiB"),
        (#""sessions": {"slowClient": "drop"}"#, "sessions.slowClient"), (#""sessions": {"maxSessions": 0}"#, "sessions.maxSessions"),
        (#""sessions": {"slowClientSeconds": 0}"#, "sessions.slowClientSeconds"),
        (#""sessions": {"slowClientSeconds": 3601}"#, "sessions.slowClientSeconds"),
        (#""sessions": {"slowClientSeconds": "2"}"#, "sessions.slowClientSeconds"),
        (#""sessions": {"maxSessions": 257}"#, "sessions.maxSessions"), (#""sessions": {"maxClients": 0}"#, "sessions.maxClients"),
        (#""sessions": {"maxClients": 65}"#, "sessions.maxClients"), (#""sessions": {"x": 1}"#, "sessions.x"),
        (#""restart": 1"#, "restart"),
        (#""control": "/dev/ttyS0""#, "control"), (#""control": {"device": "ttyS0"}"#, "control.device"),
        (#""control": {"device": "/dev/../etc/x"}"#, "control.device"),
        (#""control": {"device": "/dev/"}"#, "control.device"), (#""control": {"device": "/dev"}"#, "control.device"),
        (#""control": {"device": "/etc/x"}"#, "control.device"),
        (#""control": {"speed": 1}"#, "control.speed"), (#""memoryReserveKiB": 4095"#, "memoryReserveKiB"),
        (#""memoryReserveKiB": 16777217"#, "memoryReserveKiB"),
        (#""healthCheck": {}"#, "healthCheck"),
    ])
    func refused(_ members: String, _ path: String) {
        let json = document("\"tether\": {\(members)}")
        #expect(paths(json) == ["tether." + path], "\(refusal(json))")
    }

    @Test func choicesAreListed() {
        #expect(refusal(document(#""tether": {"stdin": "x"}"#)) == #"tether.stdin: expected "none", "open" or "once", found "x""#)
        #expect(
            refusal(document(#""tether": {"sessions": {"slowClient": 5}}"#))
                == #"tether.sessions.slowClient: expected "detach" or "block", found 5"#)
    }
}
