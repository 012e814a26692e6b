import ContainerSpec
import Foundation
import GuestInfoHost
import Testing
import VIC

@testable import tetherctl

@Suite("tetherctl vic")
struct ToolTests {
    private let description = """
        {"ociVersion": "1.2.0", "hostname": "web-1",
         "process": {"args": ["/bin/sh", "-c", "echo $TOKEN"], "cwd": "/srv", "env": ["PATH=/bin", "TOKEN=s3cret", "PWD=/x"],
                     "user": {"uid": 1000, "gid": 1001}, "terminal": true},
         "tether": {"id": "c0ffee", "stdin": "open", "restart": "always", "stop": {"signal": "SIGUSR1"}, "debug": true}}
        """

    private static let publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

    private func spec() throws -> ContainerSpec { try ContainerSpec.decode(Array(description.utf8)) }

    @Test("what an OCI configuration says in VIC's keys is the same container")
    func description2keys() throws {
        var omitted: [String] = []
        let config = VICExecutorConfig(try spec(), omitted: &omitted)
        #expect(omitted.isEmpty)
        let plan = try #require(try KeyStore(try config.keyValues()).read()).config.plan()
        let original = try spec()
        #expect(plan.spec.process.args == original.process.args && plan.spec.process.env == original.process.env)
        #expect(plan.spec.process.cwd == "/srv" && plan.spec.process.terminal && plan.spec.process.user.username == "1000:1001")
        #expect(plan.spec.tether.id == "c0ffee" && plan.spec.hostname == "web-1" && plan.spec.tether.debug)
        #expect(plan.spec.tether.stop.signal == original.tether.stop.signal && plan.spec.tether.restart == .always)
        #expect(plan.spec.tether.stdin == .open)
    }

    @Test("networks of the command line are in the keys, and on the page")
    func networks() throws {
        let text =
            "name=web,slot=1184,interface=eth0,address=10.2.0.5/16,gateway=10.2.0.1,dns=10.2.0.2,destination=172.16.9.9/12,trust=1,port=80/tcp,default"
        var config = VICExecutorConfig()
        config.id = "c1"
        var session = VICSession()
        (session.key, session.path) = ("c1", "/bin/true")
        config.sessions = [session]
        config.networks = try [text, "name=dhcp,slot=192,internal"].map { try #require(VICNetworkOption(argument: $0)).endpoint }
        var reading = try #require(try KeyStore(try config.keyValues()).read(.all))
        var page = VICPage.text(reading, revealing: false, ignored: [])
        for line in [
            "Network web\n  adapter        PCI slot 1184 eth0\n", "address        10.2.0.5/16\n", "gateway        10.2.0.1/16 (default)\n",
            "reaches        172.16.0.0/12\n", "name servers   10.2.0.2\n", "ports          80/tcp\n", "trust          published\n",
            "Network dhcp\n  adapter        PCI slot 192 \n  type           external\n  address        by DHCP\n",
        ] {
            #expect(page.contains(line), "\(line) in \(page)")
        }
        let plan = try reading.config.plan()
        #expect(plan.spec.tether.network?.interfaces.map { $0.id } == ["dhcp", "web"])
        // What the guest writes then.
        let endpoint = try #require(plan.endpoints.first { $0.network == "web" })
        let store = KeyStore(try config.keyValues() + endpoint.keyValues(endpoint.assignment([])))
        reading = try #require(try store.read(.all))
        page = VICPage.text(reading, revealing: false, ignored: [])
        #expect(page.contains("  assigned       10.2.0.5/16, by 10.2.0.1, name servers 10.2.0.2\n"), "\(page)")
        for bad in [
            "", "name=x", "slot=1", "name=x,slot=y", "name=x,slot=1,address=1", "name=x,slot=1,default=no", "name=x,slot=1,",
            "name=x,slot=1,mtu=1",
        ] {
            #expect(VICNetworkOption(argument: bad) == nil, "\(bad)")
        }
    }

    @Test("what has no place in the keys is named")
    func omissions() throws {
        var omitted: [String] = []
        var spec = try spec()
        spec.root.readonly = true
        spec.mounts = [ContainerMount(destination: "/x", type: "tmpfs", source: nil, options: [])]
        spec.process.noNewPrivileges = true
        spec.tether.restart = .onFailure(maximum: 3)
        _ = VICExecutorConfig(spec, omitted: &omitted)
        #expect(omitted == ["root.readonly", "mounts", "process.noNewPrivileges", "tether.restart"])
    }

    @Test(
        "so is each property, and what it says beside what the keys can",
        arguments: [
            (#""process": {"args": ["a"], "user": {"umask": 63}}"#, "process.user.umask"),
            (#""process": {"args": ["a"], "apparmorProfile": "x"}"#, "process.apparmorProfile"),
            (#""process": {"args": ["a"], "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]}"#, "process.rlimits"),
            (#""process": {"args": ["a"], "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}"#, "process.ioPriority"),
            (#""process": {"args": ["a"]}, "linux": {"maskedPaths": []}"#, "linux.maskedPaths"),
            (#""process": {"args": ["a"]}, "linux": {"readonlyPaths": []}"#, "linux.readonlyPaths"),
            (#""process": {"args": ["a"]}, "linux": {"rootfsPropagation": "shared"}"#, "linux.rootfsPropagation"),
            (#""process": {"args": ["a"]}, "tether": {"stdin": "once"}"#, "tether.stdin"),
            (#""process": {"args": ["a"]}, "tether": {"stop": {"signal": "HUP", "timeoutSeconds": 60}}"#, "tether.stop"),
            (#""process": {"args": ["a"]}, "tether": {"drain": {"graceMilliseconds": 5}}"#, "tether.drain"),
            (#""process": {"args": ["a"]}, "tether": {"init": false}"#, "tether.init"),
            (#""process": {"args": ["a"]}, "tether": {"log": {"partialFlushMilliseconds": 5}}"#, "tether.log"),
            (#""process": {"args": ["a"]}, "tether": {"sessions": {"maxSessions": 5}}"#, "tether.sessions"),
            (#""process": {"args": ["a"]}, "tether": {"memoryReserveKiB": 9000}"#, "tether.memoryReserveKiB"),
            (
                #""process": {"args": ["a"]}, "tether": {"attach": {"wait": true, "authorizedKeys": ["\#(publicKey)"]}}"#,
                "tether.attach"
            ),
        ])
    func omission(properties: String, name: String) throws {
        var omitted: [String] = []
        _ = VICExecutorConfig(try ContainerSpec.decode(Array(#"{"ociVersion": "1.2.0", \#(properties)}"#.utf8)), omitted: &omitted)
        #expect(omitted == [name])
    }

    @Test("what waits to be attached to, without a key, has a place")
    func waits() throws {
        var omitted: [String] = []
        let text = #"{"ociVersion": "1.2.0", "process": {"args": ["a"]}, "tether": {"attach": {"authentication": "none", "wait": true}}}"#
        let config = VICExecutorConfig(try ContainerSpec.decode(Array(text.utf8)), omitted: &omitted)
        #expect(omitted == [] && config.sessions[0].runBlock)
    }

    @Test("dumps of every form hold the same keys")
    func dumps() throws {
        var omitted: [String] = []
        var config = VICExecutorConfig(try spec(), omitted: &omitted)
        config.hostKey = Array("-----BEGIN RSA PRIVATE KEY-----\n".utf8)
        config.sessions[0].args.append("two\nlines \"quoted\" # and |".replacingOccurrences(of: "|", with: "¦"))
        let keys = try config.keyValues()
        let vmx = keys.map { VMXLine.text($0.key, Array($0.value.utf8)) }.joined(separator: "\n")
        let list = keys.map { ["Key": $0.key, "Value": $0.value] }
        let nested = keys.map { ["key": $0.key, "value": ["_typeName": "string", "_value": $0.value]] as [String: Any] }
        let old = try JSONSerialization.data(withJSONObject: ["VirtualMachines": [["Config": ["ExtraConfig": list]]]])
        let new = try JSONSerialization.data(withJSONObject: ["virtualMachines": [["config": ["extraConfig": nested]]]])
        for dump in [Array(vmx.utf8), Array(old), Array(new)] {
            #expect(try read(dump).config == config)
        }
        // One value a line is what the plain form can hold.
        config.sessions[0].args.removeLast()
        let plain = "  ExtraConfig:\n" + (try config.keyValues()).map { "    \($0.key):  \($0.value)" }.joined(separator: "\n")
        #expect(try read(Array(plain.utf8)).config == config)
        let lines = (try config.keyValues()).map { "\($0.key)=\($0.value)" }.joined(separator: "\n")
        #expect(try read(Array(lines.utf8)).config == config)
        #expect(throws: VICDumpError.self) { try VICDump(Array("{\"a\":".utf8)) }
    }

    @Test("what ends a line elsewhere, and what begins a value of another form, can stand in a value")
    func oddValues() throws {
        let value = "sh|-c|A = \"x\"\u{2028}b\u{85}c\u{0B}d=\"e\""
        let key = "guestinfo.vice./sessions|c1/cmd/Args~"
        for line in ["\(key) = \"\(value)\"", "    \(key):  \(value)", "\(key)=\(value)", "\(key)=\(value)\r"] {
            #expect(try VICDump(Array("a=1\n\(line)\nb=2\n".utf8)).value(key) == value, "\(line)")
        }
        #expect(try VICDump(Array("\(key) = \"a|0Ab|7Cc\"".utf8)).value(key) == "a\nb|c")
        // With what stands before it, it would be one character.
        let accent = "\u{301}b\u{301}"
        for line in ["\(key) = \"\(accent)\"", "    \(key):  \(accent)", "\(key):\(accent)", "\(key)=\(accent)"] {
            #expect(try VICDump(Array("\(line)\n".utf8)).value(key).map { Array($0.utf8) } == Array(accent.utf8), "\(line)")
        }
        let two = "guestinfo.vice./common/id=a\nGUESTINFO.vice./common/id=b\n"
        #expect(throws: VICDumpError.self, "of two VMs") { try VICDump(Array(two.utf8)) }
    }

    private func read(_ bytes: [UInt8]) throws -> VICReading {
        let dump = try VICDump(bytes)
        return try #require(
            try VICExecutorConfig.read(.all) { (key) throws(VICSourceError) in dump.value(key).map { Array($0.utf8) } })
    }

    @Test("the page tells all but secrets")
    func page() throws {
        var reading = try #require(try KeyStore(portlayerKeys).read(.all))
        reading.config.sessions[0].env = ["PATH=/bin", "DB_PASSWORD=hunter2", "API_TOKEN=", "PWD=/x"]
        reading.config.sessions[0].args = ["sh", "\u{1B}[2J"]
        let text = VICPage.text(reading, revealing: false, ignored: ["guestinfo.vice./init/p@Secret", "guestinfo.vice./unknown"])
        for part in [
            "Container \(containerID)\n", "  host name      busybox1\n", "  host key       (15 bytes, hidden)\n",
            "  user           1000:1000\n",
            "  environment    DB_PASSWORD=(hidden)\n", "  environment    API_TOKEN=(hidden)\n", "  environment    PWD=/x\n",
            "  flags          terminal, stdin open, attach, waits to be attached to\n", "Volume vol1\n",
            "  from           label://5c7f9e2a41b0d3c8\n",
            "Network dhcpnet\n", "  adapter        PCI slot 1184", "  address        by DHCP\n", "  trust          published\n",
            "Exec e1e2e3e4\n", "not one of a container's keys: guestinfo.vice./unknown\n",
            "  encrypted, and not read: guestinfo.vice./init/p@Secret\n", "\"\\u{1b}[2J\"",
        ] {
            #expect(text.contains(part), "'\(part)' is missing in \(text)")
        }
        #expect(!text.contains("hunter2") && !text.contains("BEGIN"))
        #expect(VICPage.text(reading, revealing: true, ignored: []).contains("DB_PASSWORD=hunter2"))
    }
}
