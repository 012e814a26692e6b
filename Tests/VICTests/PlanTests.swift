import ContainerSpec
import Foundation
import Linux
import Testing
import VIC

@Suite("What VIC's configuration means")
struct PlanTests {
    private func plan(_ store: KeyStore) throws -> VICPlan { try #require(try store.read()).config.plan() }

    private func session(_ changes: [(String, String)]) throws -> VICPlan {
        try plan(minimalKeys(more: changes.map { ("guestinfo.vice./sessions|c1/" + $0.0, $0.1) }))
    }

    @Test("the container's own session becomes the container process")
    func primary() throws {
        let plan = try plan(KeyStore(portlayerKeys))
        let process = plan.spec.process
        #expect(process.args == ["/bin/sh"] && process.executable == nil && process.terminal && process.cwd == "/")
        #expect(process.user.username == "1000:1000" && process.env == ["PATH=/usr/bin:/bin", "TERM=xterm"])
        #expect(plan.spec.tether.id == containerID && plan.spec.hostname == "busybox1")
        #expect(plan.spec.tether.log.format == .vic && plan.spec.tether.stdin == .open && plan.spec.tether.debug)
        #expect(plan.spec.tether.rootfs.device == .label("containerfs") && plan.spec.tether.restart == .no)
        #expect(plan.primary.key == containerID && plan.others.map { $0.id } == ["e1e2e3e4"])
        #expect(plan.others.first?.process?.args == ["/bin/ls"] && plan.others.first?.isExec == true)
    }

    @Test("A64: VIC's limits, and the rights that its containers had")
    func limits() throws {
        let process = try plan(minimalKeys()).spec.process
        let limits = Dictionary(uniqueKeysWithValues: process.resourceLimits.map { ($0.type, ($0.soft, $0.hard)) })
        #expect(limits.count == 5 && limits["RLIMIT_NOFILE"]! == (1_048_576, 1_048_576) && limits["RLIMIT_STACK"]! == (8 << 20, .max))
        #expect(process.capabilities == .all && process.capabilities.effective.nonzeroBitCount > 30 && process.capabilities.ambient == 0)
    }

    @Test(
        "A11–A15: whom it runs as",
        arguments: [
            ("", "", nil), ("newuser", "", "newuser"), ("2000", "", "2000"), ("2000", "2000", "2000:2000"),
            ("root", "nogroup", "root:nogroup"),
            ("", "staff", ":staff"), ("2000:2000", "", "2000:2000"),
        ] as [(String, String, String?)])
    func user(user: String, group: String, expected: String?) throws {
        let plan = try session([("User", user), ("Group", group)])
        #expect(plan.spec.process.user.username == expected)
    }

    @Test("as many clients as there may be, and one that does not read is waited for, as VIC's own guest did")
    func clients() throws {
        let sessions = try plan(minimalKeys()).spec.tether.sessions
        #expect(sessions.maxSessions == 256 && sessions.maxClients == 256 && sessions.slowClient == .block)
    }

    @Test("what is executed, where, and how it is stopped")
    func command() throws {
        var plan = try session([("cmd/Path", "/bin/date"), ("cmd/Args~", "date"), ("cmd/Dir", "srv/data"), ("stopSignal", "rtmin+3")])
        #expect(plan.spec.process.args == ["date"] && plan.spec.process.executable == "/bin/date" && plan.spec.process.cwd == "/srv/data")
        #expect(plan.spec.tether.stop.signal == Signal(name: "SIGRTMIN+3"))
        plan = try session([("cmd/Path", ""), ("cmd/Args~", "date"), ("restart", "true")])
        #expect(plan.spec.process.args == ["date"] && plan.spec.process.executable == nil)
        #expect(plan.spec.tether.stop.signal == .terminate && plan.spec.tether.restart == .always && plan.spec.tether.stdin == .none)
    }

    @Test(
        "what makes no container is refused by its key",
        arguments: [
            (
                [("guestinfo.vice./sessions|c1/cmd/Path", ""), ("guestinfo.vice./sessions|c1/cmd/Args~", "")],
                "guestinfo.vice./sessions|c1/cmd/Path"
            ),
            ([("guestinfo.vice./sessions", "")], "guestinfo.vice./sessions"),
            ([("guestinfo.vice./sessions", "a|b")], "guestinfo.vice./sessions"),
            ([("guestinfo.vice./common/id", "a b")], "guestinfo.vice./common/id"),
            ([("guestinfo.vice./sessions|c1/cmd/Dir", "/" + String(repeating: "d", count: 4096))], "guestinfo.vice./sessions|c1/cmd/Dir"),
        ] as [([(String, String)], String)])
    func refused(changes: [(String, String)], path: String) throws {
        let error = #expect(throws: SpecError.self) { try minimalKeys(more: changes).read()?.config.plan() }
        #expect(error?.issues.first?.path == path)
    }

    @Test("the attach server is the VCH's: its key, its user, its wait")
    func attach() throws {
        let attach = try #require(try plan(KeyStore(portlayerKeys)).spec.tether.attach)
        #expect(attach.allowsVIC && attach.waits && attach.authorizedKeys.isEmpty && attach.device == "/dev/ttyS0")
        let plain = try plan(minimalKeys())
        #expect(plain.spec.tether.attach?.allowsVIC == true && plain.spec.tether.attach?.waits == false)
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
        let keyed = try plan(minimalKeys(more: [("guestinfo.vice./key", Data(pem.utf8).base64EncodedString())]))
        #expect(keyed.spec.tether.attach?.hostKeys == [pem] && keyed.warnings.isEmpty)
        let odd = try plan(minimalKeys(more: [("guestinfo.vice./key", Data("no key".utf8).base64EncodedString())]))
        #expect(odd.spec.tether.attach?.hostKeys == [] && odd.warnings.first?.path == "guestinfo.vice./key")
    }

    @Test("what is not done is kept, and said with its key")
    func notHonoured() throws {
        let store = KeyStore(
            portlayerKeys + [
                ("guestinfo.vice./diagnostics/syslog/Network", "udp"), ("guestinfo.vice./diagnostics/syslog/RAddr", "10.0.0.9:514"),
                ("guestinfo.vice./asymrouting", "true"),
            ])
        let plan = try plan(store)
        #expect(plan.notHonoured == ["mounts", "firewall", "syslog", "asymrouting"])
        let warnings = plan.warnings.filter { $0.description.contains("not honoured: ") }
        #expect(warnings.count == plan.notHonoured.count)
        #expect(
            warnings.first?.description
                == "guestinfo.vice./mounts|vol1: not honoured: no volume is mounted; label://5c7f9e2a41b0d3c8 on /data")
        #expect(plan.warnings.contains { $0.description.hasSuffix("output is not sent to udp 10.0.0.9:514") })
        #expect(try self.plan(minimalKeys()).notHonoured.isEmpty)
    }

    @Test("what is not done is said of every session that asks for it")
    func notHonouredOfOthers() throws {
        let store = KeyStore(portlayerKeys.filter { !$0.0.contains("/networks") && !$0.0.contains("/mounts") })
        let exec = "guestinfo.vice./execs|e1e2e3e4/"
        store[exec + "diagnostics/syslog/RAddr@non-persistent"] = "10.0.0.9:514"
        store[exec + "diagnostics/syslog/Network@non-persistent"] = "tcp"
        store[exec + "restart@non-persistent"] = "true"
        store["guestinfo.vice./sessions|\(containerID)/diagnostics/syslog/RAddr"] = "10.0.0.8:514"
        store["guestinfo.vice./sessions|\(containerID)/diagnostics/syslog/Network"] = "udp"
        store["guestinfo.vice./sessions|\(containerID)/restart"] = "true"
        let plan = try plan(store)
        #expect(plan.notHonoured == ["syslog", "restart"])
        #expect(
            plan.warnings.filter { $0.kind == .unsupported }.map { $0.description } == [
                "guestinfo.vice./sessions|\(containerID)/diagnostics/syslog: not honoured: output is not sent to udp 10.0.0.8:514",
                exec + "diagnostics/syslog@non-persistent: not honoured: output is not sent to tcp 10.0.0.9:514",
                exec + "restart@non-persistent: not honoured: only the container's own session is started again",
            ])
    }

    @Test("the host name, and the files of /etc, are the same for the same configuration")
    func files() throws {
        let network = "guestinfo.vice./networks|web"
        let plan = try plan(
            minimalKeys(
                containerID,
                more: [
                    ("guestinfo.vice./hostname", "web-1"), ("guestinfo.vice./domainname", "example.org"),
                    ("guestinfo.vice./networks", "web"), (network + "/Common/id", "192"),
                    (network + "/ip/IP", "rBAABQ=="), (network + "/ip/Mask", "//8AAA=="), (network + "/network/dns", "1"),
                    (network + "/network/dns|0", "rBAAAg=="), (network + "/network/dns|1", "AAAAAAAAAAAAAP//rBAAAw=="),
                ]))
        #expect(plan.spec.hostname == "web-1.example.org" && plan.files.hostname == "web-1.example.org\n")
        #expect(plan.files.hosts.contains("127.0.0.1\tlocalhost\n") && plan.files.hosts.contains("127.0.1.1\tweb-1.example.org web-1\n"))
        #expect(plan.files.hosts.hasSuffix("172.16.0.5\tweb.localhost\n"))
        let resolver = "search example.org\nnameserver 172.16.0.2\nnameserver 172.16.0.3\noptions timeout:15 attempts:5\n"
        #expect(plan.files.resolver == resolver)
        #expect(try self.plan(minimalKeys(containerID)).spec.hostname == "9f0e57cbd8a2")
        let odd = try self.plan(minimalKeys(containerID, more: [("guestinfo.vice./hostname", "no name")]))
        #expect(odd.spec.hostname == "9f0e57cbd8a2" && odd.warnings.map { $0.path } == ["guestinfo.vice./hostname"])
    }

    @Test("a session beside the container's own, and an exec that makes no process")
    func others() throws {
        let store = KeyStore(portlayerKeys)
        store["guestinfo.vice./sessions"] = "\(containerID)|side"
        store["guestinfo.vice./sessions|side/cmd/Path"] = "/bin/side"
        store["guestinfo.vice./execs|e1e2e3e4/cmd/Path@non-persistent"] = ""
        store["guestinfo.vice./execs|e1e2e3e4/cmd/Args~@non-persistent"] = "<nil>"
        store["guestinfo.vice..execs|e1e2e3e4.runblock@non-persistent"] = "true"
        let others = try plan(store).others
        #expect(others.map { $0.waits } == [false, true])
        #expect(others.map { $0.id } == ["side", "e1e2e3e4"] && others.map { $0.isExec } == [false, true])
        #expect(others[0].process?.args == ["/bin/side"] && others[1].process == nil)
        #expect(others[1].problem == "guestinfo.vice./execs|e1e2e3e4/cmd/Path@non-persistent: required: the command to run")
    }

    @Test(
        "A31–A33: signals have names with or without SIG, or numbers; one that there is not is a warning, and TERM",
        arguments: [
            ("SIGQUIT", 3, true), ("QUIT", 3, true), ("quit", 3, true), ("3", 3, true), ("USR1", 10, true), ("WINCH", 28, true),
            ("28", 28, true),
            ("", 15, true), ("SIGNOPE", 15, false), ("nope", 15, false), ("0", 15, false), ("-1", 15, false),
        ] as [(String, Int32, Bool)])
    func signals(name: String, number: Int32, exists: Bool) throws {
        let plan = try session([("stopSignal", name)])
        #expect(plan.spec.tether.stop.signal.rawValue == number)
        #expect(plan.warnings.map { $0.path } == (exists ? [] : ["guestinfo.vice./sessions|c1/stopSignal"]))
    }
}
