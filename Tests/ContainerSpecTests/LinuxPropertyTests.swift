import ContainerSpec
import Testing

@Suite struct LinuxPropertyTests {
    private static let all = ["mount", "pid", "ipc", "uts", "cgroup", "user", "time"]
    private static let mapping = #"[{"containerID": 0, "hostID": 100000, "size": 65536}]"#
    private static let mappings = "\"uidMappings\": \(mapping), \"gidMappings\": \(mapping)"

    @Test func namespaces() throws {
        let spec = try decode(linux(Self.mappings, namespaces: Self.all))
        var expected = ContainerNamespaces()
        expected.user = true
        expected.time = true
        #expect(spec.namespaces == expected)
        #expect(spec.uidMappings == [IDMapping(containerID: 0, hostID: 100_000, size: 65_536)] && spec.gidMappings == spec.uidMappings)
        #expect(try decode(linux(#""sysctl": {}"#, namespaces: ["mount"])).namespaces.cgroup == false)
        #expect(ContainerNamespaces().cgroup && !ContainerNamespaces().user && !ContainerNamespaces().time)
    }

    @Test func mappingsToTheirBorders() throws {
        let spec = try decode(
            linux(
                #"""
                "uidMappings": [{"containerID": 10, "hostID": 0, "size": 1}, {"containerID": 0, "hostID": 1, "size": 10},
                                {"containerID": 4294967294, "hostID": 4294967294, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 0, "size": 4294967295}]
                """#, namespaces: ["mount", "user"]))
        #expect(spec.uidMappings.count == 3 && spec.gidMappings.first?.size == .max)
    }

    @Test(arguments: [
        (mappings, ["mount"], ["linux.uidMappings", "linux.gidMappings"]),
        (#""x": 0"#, ["mount", "user"], ["linux.uidMappings", "linux.gidMappings"]),
        ("\"uidMappings\": \(mapping)", ["mount", "user"], ["linux.gidMappings"]),
        (
            "\"uidMappings\": \(mapping), \"gidMappings\": [{\"containerID\": 1, \"hostID\": 0, \"size\": 5}]",
            ["mount", "user"], ["linux.gidMappings", "process.user.gid"]
        ),
        (
            "\"uidMappings\": \(mapping), \"gidMappings\": [{\"containerID\": 0, \"hostID\": 0, \"size\": 0}]",
            ["mount", "user"], ["linux.gidMappings[0].size"]
        ),
        (
            "\"uidMappings\": \(mapping), \"gidMappings\": [{}]",
            ["mount", "user"], ["linux.gidMappings[0].containerID", "linux.gidMappings[0].hostID", "linux.gidMappings[0].size"]
        ),
        (
            "\"uidMappings\": \(mapping), \"gidMappings\": [{\"containerID\": 0, \"hostID\": 4294967290, \"size\": 6}]",
            ["mount", "user"], ["linux.gidMappings[0].size"]
        ),
        (
            "\"uidMappings\": \(mapping), \"gidMappings\": [{\"containerID\": 0, \"hostID\": 4294967295, \"size\": 1}]",
            ["mount", "user"], ["linux.gidMappings[0].hostID"]
        ),
        (#""timeOffsets": {"boottime": {"secs": 1}}"#, ["mount"], ["linux.timeOffsets"]),
    ])
    func whatNamespacesNeed(_ members: String, _ namespaces: [String], _ expected: [String]) {
        #expect(paths(linux(members, namespaces: namespaces)) == expected, "\(refusal(linux(members, namespaces: namespaces)))")
    }

    @Test(arguments: [(0, 5, "containerID"), (4, 100, "containerID"), (5, 9, "hostID"), (5, 6, "hostID"), (5, 14, "hostID")])
    func overlappingMappings(_ container: Int, _ host: Int, _ member: String) {
        // The first maps 0…4 to 10…14.
        let list = #"[{"containerID": 0, "hostID": 10, "size": 5}, {"containerID": \#(container), "hostID": \#(host), "size": 5}]"#
        let json = linux("\"uidMappings\": \(list), \"gidMappings\": \(Self.mapping)", namespaces: ["mount", "user"])
        #expect(paths(json) == ["linux.uidMappings[1].\(member)"], "\(refusal(json))")
    }

    @Test func mappingsMayAdjoin() {
        let list =
            #"[{"containerID": 0, "hostID": 10, "size": 5}, {"containerID": 5, "hostID": 5, "size": 5}, "#
            + #"{"containerID": 10, "hostID": 15, "size": 1}]"#
        #expect(paths(linux("\"uidMappings\": \(list), \"gidMappings\": \(list)", namespaces: ["mount", "user"])) == [])
    }

    @Test func mappingsAreBounded() {
        func list(_ count: Int) -> String {
            let entries = (0..<count).map { #"{"containerID": \#($0), "hostID": \#($0), "size": 1}"# }.joined(separator: ",")
            return linux("\"uidMappings\": [\(entries)], \"gidMappings\": \(Self.mapping)", namespaces: ["mount", "user"])
        }
        #expect(paths(list(340)) == [] && paths(list(341)) == ["linux.uidMappings"])
    }

    @Test func theUserHasToBeMapped() {
        let json = document(
            "\"linux\": {\"namespaces\": [{\"type\": \"mount\"}, {\"type\": \"user\"}], \(Self.mappings)}",
            process: #""user": {"uid": 65536, "gid": 65535, "additionalGids": [0, 70000]}"#)
        #expect(paths(json) == ["process.user.uid", "process.user.additionalGids"])
        #expect(refusal(json).contains("70000 is not mapped by linux.gidMappings"))
    }

    @Test func mountMappings() throws {
        func mount(_ members: String) -> String {
            document(#""mounts": [{"destination": "/x", "source": "/y", "options": ["bind"], \#(members)}]"#)
        }
        let spec = try decode(mount(Self.mappings))
        #expect(spec.mounts[0].uidMappings.count == 1 && spec.mounts[0].gidMappings.first?.hostID == 100_000)
        #expect(paths(mount("\"uidMappings\": \(Self.mapping)")) == ["mounts[0].gidMappings"])
        #expect(paths(mount("\"gidMappings\": \(Self.mapping)")) == ["mounts[0].uidMappings"])
        #expect(
            paths(mount(#""gidMappings": [{"size": 1}]"#)).prefix(2)
                == ["mounts[0].gidMappings[0].containerID", "mounts[0].gidMappings[0].hostID"])
        let idmap = #"{"destination": "/x", "source": "/y", "options": ["rbind", "ridmap"]}"#
        #expect(paths(document("\"mounts\": [\(idmap)]")) == ["mounts[0].options"])
        let own =
            document("\"mounts\": [\(idmap)], \"linux\": {\"namespaces\": [{\"type\": \"mount\"}, {\"type\": \"user\"}], \(Self.mappings)}")
        #expect(try decode(own).mounts[0].isIDMapped)
    }

    @Test func timeOffsets() throws {
        let spec = try decode(
            linux(
                #""timeOffsets": {"monotonic": {"secs": -4611686018, "nanosecs": 999999999}, "boottime": {"secs": 4611686018}}"#,
                namespaces: ["mount", "time"]))
        #expect(spec.timeOffsets.monotonic == TimeOffset(seconds: -4_611_686_018, nanoseconds: 999_999_999))
        #expect(spec.timeOffsets.boottime == TimeOffset(seconds: 4_611_686_018, nanoseconds: 0))
    }

    @Test func propagationAndPersonality() throws {
        let kinds: [(String, MountPropagation.Kind)] = [
            ("private", .private), ("slave", .slave), ("shared", .shared),
            ("unbindable", .unbindable),
        ]
        for (word, kind) in kinds {
            #expect(
                try decode(linux("\"rootfsPropagation\": \"\(word)\"")).rootfsPropagation
                    == MountPropagation(kind: kind, isRecursive: false))
            #expect(
                try decode(linux("\"rootfsPropagation\": \"r\(word)\"")).rootfsPropagation
                    == MountPropagation(kind: kind, isRecursive: true))
        }
        #expect(try decode(linux(#""personality": {"domain": "LINUX32", "flags": []}"#)).personality == .linux32)
        #expect(try decode(linux(#""personality": {"domain": "LINUX"}"#)).personality == .linux)
    }

    @Test func devices() throws {
        let spec = try decode(
            linux(
                #"""
                "devices": [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 4294967294},
                  {"type": "b", "path": "/dev/x/sda", "major": 4095, "minor": 1048575, "fileMode": 24576}, {"type": "p", "path": "/fifo"},
                  {"type": "u", "path": "/dev/u", "major": 0, "minor": 0, "fileMode": 8630}]
                """#))
        var fuse = ContainerDevice(path: "/dev/fuse", kind: .character, major: 10, minor: 229)
        fuse.mode = 0o666
        fuse.uid = 1
        fuse.gid = 4_294_967_294
        #expect(spec.devices.count == 4 && spec.devices[0] == fuse)
        #expect(spec.devices[1].kind == .block && spec.devices[1].minor == 1_048_575 && spec.devices[1].mode == 0)
        #expect(spec.devices[2].kind == .fifo && spec.devices[2].mode == nil && spec.devices[2].major == 0)
        // With the bits of a character device, as some programs write it.
        #expect(spec.devices[3].kind == .character && spec.devices[3].mode == 0o666)
    }

    @Test(arguments: [
        (#"{}"#, ["path", "type"]), (#"{"type": "c", "path": "/dev/x"}"#, ["major", "minor"]),
        (#"{"type": "x", "path": "/dev/x"}"#, ["type"]),
        (#"{"type": "", "path": "/dev/x"}"#, ["type"]), (#"{"type": "c", "path": "dev/x", "major": 1, "minor": 1}"#, ["path"]),
        (#"{"type": "c", "path": "/dev/../x", "major": 1, "minor": 1}"#, ["path"]),
        (#"{"type": "c", "path": "/dev/.", "major": 1, "minor": 1}"#, ["path"]),
        (#"{"type": "c", "path": "/", "major": 1, "minor": 1}"#, ["path"]),
        (#"{"type": "c", "path": "/dev/", "major": 1, "minor": 1}"#, ["path"]),
        (#"{"type": "c", "path": "/dev/x", "major": 4096, "minor": 1048576}"#, ["major", "minor"]),
        (#"{"type": "c", "path": "/dev/x", "major": -1, "minor": 1}"#, ["major"]),
        (#"{"type": "p", "path": "/dev/x", "major": 1}"#, ["major"]),
        (#"{"type": "c", "path": "/dev/x", "major": 1, "minor": 1, "fileMode": 24576}"#, ["fileMode"]),
        (#"{"type": "p", "path": "/dev/x", "fileMode": 65536}"#, ["fileMode"]),
        (#"{"type": "p", "path": "/dev/x", "uid": 4294967295, "gid": -1}"#, ["uid", "gid"]),
    ])
    func badDevices(_ device: String, _ expected: [String]) {
        let json = linux("\"devices\": [\(device)]")
        #expect(paths(json) == expected.map { "linux.devices[0]." + $0 }, "\(refusal(json))")
    }

    @Test(arguments: [
        (#""devices": [{"type": "p", "path": "/a"}, {"type": "p", "path": "/a"}]"#, "linux.devices[1].path"),
        (#""devices": {}"#, "linux.devices"),
        (#""rootfsPropagation": "recursive""#, "linux.rootfsPropagation"), (#""rootfsPropagation": true"#, "linux.rootfsPropagation"),
        (#""personality": {"domain": "BSD"}"#, "linux.personality.domain"),
        (#""personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}"#, "linux.personality.flags"),
        (#""timeOffsets": {"realtime": {"secs": 1}}"#, "linux.timeOffsets.realtime"),
        (#""timeOffsets": {"monotonic": {"secs": 4611686019}}"#, "linux.timeOffsets.monotonic.secs"),
        (#""timeOffsets": {"boottime": {"nanosecs": 1000000000}}"#, "linux.timeOffsets.boottime.nanosecs"),
        (#""timeOffsets": {"boottime": {"nanosecs": -1}}"#, "linux.timeOffsets.boottime.nanosecs"),
        (#""timeOffsets": {"boottime": 1}"#, "linux.timeOffsets.boottime"),
    ])
    func refused(_ members: String, _ path: String) {
        let json = linux(members, namespaces: ["mount", "time"])
        #expect(paths(json) == [path], "\(refusal(json))")
    }
}

@Suite struct SysctlTests {
    @Test(arguments: [
        "net.ipv4.ip_forward", "net/core/somaxconn", "net.ipv4.conf.eth0/100.forwarding", "kernel.shmmax", "kernel.msg_next_id",
        "fs.mqueue.msg_max",
        "kernel.domainname", "kernel/hostname",
    ])
    func honoured(_ name: String) throws {
        #expect(try decode(linux("\"sysctl\": {\"\(name)\": \"1 2\\t3\"}")).sysctl == [KeyValue(key: name, value: "1 2\t3")])
    }

    @Test(arguments: [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"), ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"), ("kernel", "kernel"), ("", ""),
    ])
    func names(_ name: String, _ path: String) { #expect(ContainerSpec.sysctlPath(name) == path) }

    /// The namespaces that the container has of its own, the parameter, and whether it may be set.
    @Test(arguments: [
        (["mount", "ipc"], "kernel.sem", true), (["mount", "uts"], "kernel.sem", false), (["mount", "ipc"], "fs.mqueue.queues_max", true),
        (["mount"], "fs.mqueue.queues_max", false), (["mount", "uts"], "kernel.domainname", true),
        (["mount", "ipc"], "kernel.domainname", false),
        (["mount"], "net.core.somaxconn", true), (["mount"], "user.max_user_namespaces", false),
    ])
    func needTheirNamespace(_ namespaces: [String], _ name: String, _ isHonoured: Bool) {
        let json = linux("\"sysctl\": {\"\(name)\": \"1\"}", namespaces: namespaces)
        #expect(paths(json) == (isHonoured ? [] : ["linux.sysctl[\"\(name)\"]"]), "\(refusal(json))")
    }

    @Test func userParametersWithAUserNamespace() throws {
        let map = #"[{"containerID": 0, "hostID": 0, "size": 1}]"#
        let json = linux(
            "\"uidMappings\": \(map), \"gidMappings\": \(map), \"sysctl\": {\"user.max_pid_namespaces\": \"0\"}",
            namespaces: ["mount", "user"])
        #expect(try decode(json).sysctl.count == 1)
    }

    @Test(arguments: [
        "kernel.core_pattern", "vm.max_map_count", "kernel.shmmaxx", "fs.file-max", "kernel.sysrq", "fs.mqueue", "kernel.sem.x",
        "dev.cdrom.info",
    ])
    func ofTheWholeVM(_ name: String) {
        #expect(issues(linux("\"sysctl\": {\"\(name)\": \"1\"}")).map(\.kind) == [.unsupported])
    }

    @Test(arguments: [
        "net", "", ".", "net.", ".net.x", "net..x", "net/../kernel/sysrq", "net/./x", "net.//.x", "net/ipv4/", "/net/ipv4", "net.a b",
        "net.ä",
        "net.\\n", "net/" + String(repeating: "a", count: 252),
    ])
    func noName(_ name: String) {
        let found = issues(linux("\"sysctl\": {\"\(name)\": \"1\"}"))
        #expect(found.map(\.kind) == [.invalid] && found[0].problem.hasPrefix("expected the name of a kernel parameter"))
    }

    @Test(arguments: [
        #""net.a.b": """#, #""net.a.b": 1"#, #""net.a.b": "1\n2""#, #""net.a.b": "\u0000""#, #""net.a.b": "1", "net/a/b": "1""#,
        #""net.a.b": "\#(String(repeating: "1", count: 4096))""#,
    ])
    func badValues(_ members: String) { #expect(issues(linux("\"sysctl\": {\(members)}")).count == 1) }

    @Test func hostNamesAreSaidOnce() throws {
        let both = #""hostname": "a", "domainname": "b", "linux": {"sysctl": {"kernel.hostname": "c", "kernel/domainname": "d"}}"#
        #expect(paths(document(both)) == [#"linux.sysctl["kernel.hostname"]"#, #"linux.sysctl["kernel/domainname"]"#])
    }

    @Test func bounded() {
        func many(_ count: Int) -> String { linux("\"sysctl\": {\((0..<count).map { "\"net.a\($0).b\": \"1\"" }.joined(separator: ","))}") }
        #expect(paths(many(512)) == [] && paths(many(513)) == ["linux.sysctl"])
    }
}
