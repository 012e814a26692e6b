import ContainerSpec
import Linux
import Testing

@Suite struct DecodingTests {
    @Test func defaults() throws {
        let spec = try decode(#"{"ociVersion": "1.0.2-dev", "process": {"args": ["sh"]}}"#)
        var expected = ContainerSpec(args: ["sh"])
        expected.ociVersion = "1.0.2-dev"
        #expect(spec == expected)
        #expect(spec.process.cwd == "/" && spec.process.env == [] && spec.process.user.umask == 0o022)
        #expect(spec.namespaces.pid && spec.namespaces.ipc && spec.namespaces.uts)
        #expect(spec.tether.id == "tether" && spec.tether.rootfs.device == .label("containerfs") && spec.tether.rootfs.type == nil)
        #expect(spec.tether.usesInit && !spec.tether.debug && spec.tether.stop.signal.name == "SIGTERM")
    }

    @Test func everythingHonoured() throws {
        let spec = try decode(
            #"""
            {"ociVersion": "1.2.0",
             "process": {"args": ["/bin/app", "-v"], "cwd": "/srv", "env": ["PATH=/bin", "EMPTY=", "A=b=c"],
               "user": {"uid": 1000, "gid": 4294967294, "umask": 63, "additionalGids": [5, 6]},
               "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                 "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
               "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615}],
               "noNewPrivileges": true, "oomScoreAdj": -1000, "terminal": false, "consoleSize": {"height": 1, "width": 2}},
             "root": {"path": "rootfs", "readonly": true},
             "hostname": "web-1.example", "domainname": "example.org",
             "mounts": [{"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k"]},
                        {"destination": "/etc/x", "source": "/run/x", "options": ["rbind", "ro"]}],
             "annotations": {"org.example.a": "1", "b": ""},
             "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]},
             "tether": {"id": "c_1", "rootfs": {"device": "PARTUUID=ab-1", "type": "xfs", "options": ["noatime"], "timeoutSeconds": 3600},
               "log": {"format": "cri", "partialFlushMilliseconds": 0}, "stop": {"signal": "SIGRTMIN+3", "timeoutSeconds": 0},
               "drain": {"graceMilliseconds": 5, "deadlineSeconds": 6}, "init": false, "debug": true, "attach": {"authorizedKeys": [], "wait": false}}}
            """#)
        #expect(spec.process.args == ["/bin/app", "-v"])
        #expect(spec.process.cwd == "/srv")
        #expect(spec.process.env == ["PATH=/bin", "EMPTY=", "A=b=c"])
        #expect(spec.process.user.uid == 1000 && spec.process.user.gid == 4_294_967_294 && spec.process.user.umask == 63)
        #expect(spec.process.user.additionalGids == [5, 6])
        #expect(spec.process.capabilities.bounding == 0x21 && spec.process.capabilities.permitted == 0x21)
        #expect(spec.process.capabilities.effective == 1 && spec.process.capabilities.inheritable == 0x20)
        #expect(spec.process.capabilities.ambient == 0x20)
        #expect(
            spec.process.resourceLimits == [
                ResourceLimit(type: "RLIMIT_NOFILE", resource: 7, soft: 1024, hard: 4096),
                ResourceLimit(type: "RLIMIT_CORE", resource: 4, soft: 0, hard: .max),
            ])
        #expect(spec.process.noNewPrivileges && spec.process.oomScoreAdjustment == -1000)
        #expect(spec.root.readonly && spec.hostname == "web-1.example" && spec.domainname == "example.org")
        #expect(
            spec.mounts == [
                ContainerMount(destination: "/data", type: "tmpfs", source: "tmpfs", options: ["nosuid", "size=64k"]),
                ContainerMount(destination: "/etc/x", type: nil, source: "/run/x", options: ["rbind", "ro"]),
            ])
        #expect(!spec.mounts[0].isBind && spec.mounts[1].isBind)
        #expect(spec.annotations == [KeyValue(key: "org.example.a", value: "1"), KeyValue(key: "b", value: "")])
        #expect(spec.namespaces.pid && !spec.namespaces.ipc && !spec.namespaces.uts)
        #expect(spec.maskedPaths == ["/proc/kcore"] && spec.readonlyPaths == ["/proc/sys"])
        let tether = spec.tether
        #expect(tether.id == "c_1" && tether.rootfs.device == .partUUID("ab-1") && tether.rootfs.type == "xfs")
        #expect(tether.rootfs.options == ["noatime"] && tether.rootfs.timeoutSeconds == 3600)
        #expect(tether.log.partialFlushMilliseconds == 0 && tether.stop.signal.rawValue == 37 && tether.stop.timeoutSeconds == 0)
        #expect(tether.drain.graceMilliseconds == 5 && tether.drain.deadlineSeconds == 6 && !tether.usesInit && tether.debug)
    }

    @Test func argumentsSurvive() throws {
        let spec = try decode(
            #"{"ociVersion":"1.0.0","process":{"args":["/bin/echo","it's \"quoted\"","two\nlines\t\r","a|b","grüße 🚢 日本","","\\","\u00e9e\u0301"," "],"cwd":"/"}}"#
        )
        let expected = ["/bin/echo", "it's \"quoted\"", "two\nlines\t\r", "a|b", "grüße 🚢 日本", "", "\\", "\u{e9}e\u{301}", " "]
        // Compared as bytes: Swift's own equality takes composed and decomposed letters for the same.
        #expect(spec.process.args.map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }

    @Test func capabilitiesDefaultToTheExampleOfTheSpecification() throws {
        let sets = try decode(document()).process.capabilities
        let three: UInt64 = 1 << 29 | 1 << 5 | 1 << 10
        #expect(sets.bounding == three && sets.permitted == three && sets.inheritable == three)
        #expect(sets.effective == 1 << 29 | 1 << 5 && sets.ambient == 1 << 10)
        #expect(try decode(document(process: #""capabilities": {}"#)).process.capabilities == CapabilitySets())
        #expect(try decode(document(process: #""capabilities": null"#)).process.capabilities == .standard)
    }

    @Test func idDefaultsToTheHostname() throws {
        #expect(try decode(document(#""hostname": "db""#)).tether.id == "db")
        #expect(try decode(document(#""hostname": "db", "tether": {"id": "x"}"#)).tether.id == "x")
        #expect(try decode(document(#""hostname": """#)).hostname == nil)
    }

    @Test(arguments: [
        ("LABEL=a b", DiskSpecifier.label("a b")), ("UUID=1-2", .uuid("1-2")), ("PARTLABEL=root=x", .partLabel("root=x")),
        ("PARTUUID=ff", .partUUID("ff")), ("/dev/sda1", .path("/dev/sda1")),
    ])
    func devices(_ text: String, _ device: DiskSpecifier) throws {
        #expect(
            try decode(document("\"tether\": {\"rootfs\": {\"device\": \"\(text)\", \"type\": \"auto\"}}")).tether.rootfs.device == device)
        #expect(device.description == text)
    }

    @Test func stopSignalByNumber() throws {
        #expect(try decode(document(#""tether": {"stop": {"signal": 9}}"#)).tether.stop.signal.name == "SIGKILL")
    }

    @Test func unlimited() throws {
        func hard(_ text: String) throws -> UInt64? {
            try decode(document(process: #""rlimits": [{"type": "RLIMIT_AS", "soft": 0, "hard": \#(text)}]"#)).process.resourceLimits.first?
                .hard
        }
        #expect(try hard("18446744073709551615") == .max)
        #expect(try hard("9223372036854775807") == 1 << 63 - 1)
        #expect(try hard("9223372036854775808") == 1 << 63)
        #expect(throws: SpecError.self) { try hard("18446744073709555712") }
        #expect(throws: SpecError.self) { try hard("-1") }
        #expect(throws: SpecError.self) { try hard("1.5") }
    }

    @Test func everyResourceHasTheKernelsNumber() throws {
        let names = [
            "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE",
            "RTPRIO", "RTTIME",
        ]
        let list = names.map { #"{"type": "RLIMIT_\#($0)", "soft": 1, "hard": 1}"# }.joined(separator: ",")
        let limits = try decode(document(process: "\"rlimits\": [\(list)]")).process.resourceLimits
        #expect(limits.map(\.resource) == (0...15).map { Int32($0) })
    }

    @Test func unknownPropertiesAreIgnoredWithAWarning() throws {
        var warnings: [SpecIssue] = []
        _ = try ContainerSpec.decode(
            Array(document(#""x": 1, "linux": {"y.z": {}}"#, process: #""arg": [], "user": {"name": ""}"#).utf8), warnings: &warnings)
        #expect(warnings.map(\.path) == ["process.user.name", "process.arg", #"linux["y.z"]"#, "x"])
        #expect(warnings.allSatisfy { $0.kind == .unknown })
    }

    @Test func largeConfigurationIsQuick() throws {
        let argument = String(repeating: "x", count: 100)
        let count = (1 << 20) / 103 + 1
        let json =
            #"{"ociVersion":"1.0.0","process":{"args":["\#(Array(repeating: argument, count: count).joined(separator: "\",\""))"],"cwd":"/"}}"#
        #expect(json.utf8.count > 1 << 20)
        let clock = ContinuousClock()
        var spec: ContainerSpec?
        let time = try clock.measure { spec = try decode(json) }
        #expect(spec?.process.args.count == count)
        #expect(time < .seconds(2), "\(time)")
    }

    /// Shapes that would make a careless decoder quadratic.
    @Test(arguments: [
        (#""k#": {}"#, "", ""), (#""k#": """#, #""annotations": {"#, "}"), (#""k#": 1"#, #""linux": {"resources": {"#, "}}"),
        (#""net.k#": "1""#, #""linux": {"sysctl": {"#, "}}"), (#"{"path": "/dev/k#", "type": "p"}"#, #""linux": {"devices": ["#, "]}"),
        (#"{"containerID": #, "hostID": #, "size": 1}"#, #""linux": {"uidMappings": ["#, "]}"),
        (#"{"type": "pid"}"#, #""linux": {"namespaces": ["#, "]}"), ("{}", #""mounts": ["#, "]"),
    ])
    func manyMembersAreQuick(_ member: String, _ prefix: String, _ suffix: String) {
        var members = ""
        for number in 0..<60_000 {
            if number > 0 { members += "," }
            for character in member.utf8 { members += character == UInt8(ascii: "#") ? "\(number)" : String(UnicodeScalar(character)) }
        }
        let json = document(prefix + members + suffix)
        let clock = ContinuousClock()
        let time = clock.measure { _ = issues(json) }
        #expect(time < .seconds(5), "\(time)")
    }
}
