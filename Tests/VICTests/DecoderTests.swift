import ContainerSpec
import SessionLog
import Testing
import VIC

@Suite("VIC's keys")
struct DecoderTests {
    @Test("what the portlayer writes is understood, every field")
    func portlayer() throws {
        let reading = try #require(try KeyStore(portlayerKeys).read(.all))
        let config = reading.config
        #expect(reading.warnings.isEmpty)
        #expect(config.id == containerID && config.hostname == "busybox1" && config.diagnostics.debug == 1)
        #expect(config.hostKey == Array("-----BEGIN-----".utf8) && config.version?.pluginVersion == 10)
        let session = try #require(config.sessions.first)
        #expect(config.sessions.count == 1 && session.key == containerID && session.id == containerID)
        #expect(session.path == "/bin/sh" && session.args == ["/bin/sh"] && session.env == ["PATH=/usr/bin:/bin", "TERM=xterm"])
        #expect(session.directory == "/" && session.tty && session.openStdin && session.attach && session.active && !session.restart)
        // The portlayer spells these keys in another way than VIC's own guest.
        #expect(session.stopSignal == "TERM" && session.user == "1000" && session.group == "1000")
        #expect(session.runBlock && session.started == "" && session.createTime == 1_500_000_001)
        #expect(config.mounts.first?.source.text == "label://5c7f9e2a41b0d3c8" && config.mounts.first?.copyMode == 2)
        let network = try #require(config.networks.first)
        #expect(network.id == "1184" && !network.isStatic && network.ip == nil && network.ports == ["80/tcp", "8080:80/tcp"])
        #expect(network.network.trustLevel == 1 && network.network.isDefault && network.network.type == "external")
        #expect(network.network.nameservers.first?.text == "172.16.0.2" && network.network.gateway.text == "172.16.0.1/16")
        // The number of its arguments is not there, and is not needed.
        #expect(config.execs.first?.path == "/bin/ls" && config.execs.first?.args == ["/bin/ls"] && config.execs.first?.active == true)
    }

    @Test("a guest asks for no key that it does not need, and for none twice")
    func needed() throws {
        let store = KeyStore(portlayerKeys)
        let reading = try #require(try store.read())
        #expect(store.asked.count == reading.fetched && Set(store.asked).count == store.asked.count)
        for word in [
            "annotations", "layerid", "imageid", "version", "exitlogs", "ExecutionEnvironment", "started", "stoptime", "common/name",
            "/attach", "pools", "network.type",
        ] {
            #expect(!store.asked.contains { $0.contains(word) }, "\(word)")
        }
        let minimal = minimalKeys()
        _ = try minimal.read()
        #expect(minimal.asked.count <= 40, "\(minimal.asked.count) keys for the smallest container")
    }

    @Test("of a session that is known only what can change is asked for")
    func known() throws {
        let store = KeyStore(portlayerKeys)
        store["guestinfo.vice./execs|e1e2e3e4/active@non-persistent"] = "false"
        let reading = try #require(try store.read(known: { $0 == "e1e2e3e4" ? .running : .none }))
        #expect(store.asked.filter { $0.contains("e1e2e3e4") } == ["guestinfo.vice./execs|e1e2e3e4/active@non-persistent"])
        #expect(reading.config.execs.first?.active == false)
    }

    @Test("without the container's id there is no configuration, and one question tells")
    func absent() throws {
        let store = KeyStore([("guestinfo.vice./sessions", "c1")])
        #expect(try store.read() == nil)
        #expect(store.asked == ["guestinfo.vice./common/id"])
    }

    @Test("names in upper and lower case are the same key")
    func caseless() throws {
        let store = KeyStore(portlayerKeys.map { ($0.0.uppercased(), $0.1) })
        #expect(try store.read(.all)?.config == KeyStore(portlayerKeys).read(.all)?.config)
    }

    @Test("a volume's name with a dot has a slash in its keys")
    func dots() throws {
        let store = minimalKeys(more: [("guestinfo.vice./mounts", "my.vol"), ("guestinfo.vice./mounts|my/vol/dest", "/data")])
        let mount = try #require(try store.read()?.config.mounts.first)
        #expect(mount.key == "my.vol" && mount.destination == "/data")
    }

    @Test(
        "malformed values are refused by their key",
        arguments: [
            ("/sessions|c1/tty", "yes", "expected true or false, found \"yes\""),
            ("/diagnostics/debug", "1.5", "expected an integer of 64 bits, found \"1.5\""),
            ("/diagnostics/debug", "99999999999999999999", "expected an integer of 64 bits, found \"99999999999999999999\""),
            ("/sessions|c1/cmd/Args", "many", "expected the number of strings less one, found \"many\""),
            ("/key", "===", "expected base64, found \"===\""),
            ("/common/id", "<nil>", "required: the container's id, found an empty value"),
            ("/sessions", "c1|c1", "the element \"c1\" is there twice"), ("/sessions", "c1|", "an element has no name"),
        ])
    func malformed(key: String, value: String, problem: String) throws {
        let store = minimalKeys()
        store["guestinfo.vice." + key] = value
        let error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.issues.first?.path == "guestinfo.vice." + key && error?.issues.first?.problem == problem)
    }

    @Test("lists that say another number of strings than they have are refused, or put together")
    func lists() throws {
        let store = minimalKeys()
        store["guestinfo.vice./sessions|c1/cmd/Args"] = "1"
        let error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.issues.first?.path == "guestinfo.vice./sessions|c1/cmd/Args~")
        #expect(error?.issues.first?.problem == "expected 2 strings as guestinfo.vice./sessions|c1/cmd/Args says, found 1")
    }

    @Test("what is wrong with a network or a volume, and with what the guest can write, keeps no container from starting")
    func warnings() throws {
        let store = minimalKeys()
        let network = "guestinfo.vice./networks|n/network"
        store["guestinfo.vice./networks"] = "VM Network|n"
        store[network + "/dns"] = "4000000000"
        store[network + "/gateway/IP"] = "AAAA"
        store["guestinfo.vice./mounts"] = "v"
        store["guestinfo.vice./mounts|v/copymode"] = "new"
        let runBlock = "guestinfo.vice..sessions|c1.runblock"
        store[runBlock] = "maybe"
        store.set("guestinfo.vice..sessions|c1.detail.createtime", bytes: [0xFF])
        let reading = try #require(try store.read())
        let paths = [
            runBlock, "guestinfo.vice..sessions|c1.detail.createtime", "guestinfo.vice./mounts|v/copymode", "guestinfo.vice./networks",
            network + "/gateway/IP", network + "/dns",
        ]
        #expect(reading.warnings.map { $0.path } == paths)
        #expect(reading.config.networks.map { $0.key } == ["VM Network", "n"] && reading.config.sessions.first?.runBlock == false)
        #expect(!store.asked.contains { $0.contains(" ") }, "the host could not be asked for such a key")
    }

    @Test("of sessions that are over nothing is asked, and however many there are, they keep no new one out")
    func many() throws {
        let store = minimalKeys()
        let old = (0..<3000).map { "e\($0)" }
        store["guestinfo.vice./execs@non-persistent"] = (old + ["new"]).joined(separator: "|")
        store["guestinfo.vice./execs|new/cmd/Path@non-persistent"] = "date"
        let reading = try #require(try store.read(known: { $0 == "new" || $0 == "c1" ? .none : .over }))
        #expect(reading.config.execs.count == 3001 && reading.config.execs.first { $0.key == "new" }?.path == "date")
        #expect(!store.asked.contains { $0.contains("|e1/") })
        let error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.issues.first?.problem == "expected at most 1024 new elements, found more")
    }

    @Test("what is there is shown, also where something is wrong with it")
    func examined() throws {
        let store = minimalKeys()
        store["guestinfo.vice./sessions|c1/tty"] = "m\u{9B}31m\u{1B}"
        let (reading, error) = VICExecutorConfig.examine { (key) throws(VICSourceError) in store.values[key.lowercased()] }
        #expect(reading?.config.sessions.first?.path == "/bin/true")
        #expect(error?.issues.map { $0.problem } == ["expected true or false, found \"m?31m?\""])
    }

    @Test(
        "A10: a | in an argument is put back where it can be told",
        arguments: [
            ("2", "/bin/sh|-c|echo a|b", ["/bin/sh", "-c", "echo a|b"]), ("3", "sh|-ec|a|b || c|x", ["sh", "-ec", "a|b || c", "x"]),
            ("1", "grep|a|b", ["grep", "a|b"]), ("0", "a|b", ["a|b"]), ("2", "a||c", ["a", "", "c"]), ("0", "<nil>", [""]),
            ("1", "printf|é\n✓", ["printf", "é\n✓"]),
        ])
    func pipes(count: String, text: String, expected: [String]) throws {
        let store = minimalKeys()
        store["guestinfo.vice./sessions|c1/cmd/Args"] = count
        store["guestinfo.vice./sessions|c1/cmd/Args~"] = text
        let reading = try #require(try store.read())
        #expect(reading.config.sessions.first?.args == expected)
        let isGuess = expected.contains { $0.contains("|") }
        #expect(reading.warnings.map { $0.path } == (isGuess ? ["guestinfo.vice./sessions|c1/cmd/Args~"] : []))
    }

    @Test(
        "A10: a | in a variable of the environment, too",
        arguments: [
            ("1", "A=1|2|B=3", ["A=1|2", "B=3"]), ("0", "A=x|y=z", ["A=x|y=z"]), ("2", "A=1|B=|C=a|b|c", ["A=1", "B=", "C=a|b|c"]),
            ("0", "A=1|2 3=4", ["A=1|2 3=4"]),
        ])
    func environment(count: String, text: String, expected: [String]) throws {
        let store = minimalKeys()
        store["guestinfo.vice./sessions|c1/cmd/Env"] = count
        store["guestinfo.vice./sessions|c1/cmd/Env~"] = text
        #expect(try store.read()?.config.sessions.first?.env == expected)
    }

    @Test("what is wrong with an exec is the exec's own affair")
    func execProblem() throws {
        let store = KeyStore(portlayerKeys)
        store["guestinfo.vice./execs|e1e2e3e4/tty@non-persistent"] = "maybe"
        let exec = try #require(try store.read()?.config.execs.first)
        #expect(exec.problem == "guestinfo.vice./execs|e1e2e3e4/tty@non-persistent: expected true or false, found \"maybe\"")
    }

    @Test("bytes that are no text, and a host that does not answer, are named")
    func unreadable() throws {
        let store = minimalKeys()
        store.set("guestinfo.vice./hostname", bytes: [0xFF, 0xFE])
        var error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.description == "guestinfo.vice./hostname: expected text in UTF-8 without NUL characters")
        store["guestinfo.vice./hostname"] = "a\0b"
        error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.issues.first?.path == "guestinfo.vice./hostname")
        store.unreadable = "guestinfo.vice./sessions"
        error = #expect(throws: SpecError.self) { try store.read() }
        #expect(error?.description == "guestinfo.vice./sessions: the host is busy")
        #expect(store.asked.last == "guestinfo.vice./sessions", "it is not asked any more")
    }

    @Test("times are read as Go writes them, with their offset")
    func times() throws {
        let log = "guestinfo.vice..sessions|c1.diagnostics.exitlogs"
        for (text, expected) in [
            ("2017-07-14 02:40:01 +0000 UTC", "2017-07-14T02:40:01.000000000Z"),
            ("2017-07-14 04:40:01.25 +0200 CEST m=+0.0001", "2017-07-14T02:40:01.250000000Z"),
            ("0001-01-01 00:00:00 +0000 UTC", "1970-01-01T00:00:00.000000000Z"),
        ] {
            let store = minimalKeys(more: [(log, "0"), (log + "|0.Time", text)])
            let entry = try #require(try store.read(.all)?.config.sessions.first?.diagnostics.exitLogs.first)
            #expect(entry.time.text == expected)
        }
        let store = minimalKeys(more: [(log, "0"), (log + "|0.Time", "yesterday")])
        #expect(try store.read(.all)?.warnings.map { $0.path } == [log + "|0.Time"])
    }
}
