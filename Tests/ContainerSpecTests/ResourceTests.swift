import ContainerSpec
import Testing

@Suite struct ResourceTests {
    private func read(_ members: String) throws -> ContainerResources { try decode(resources(members)).resources }

    @Test func everything() throws {
        let limits = try read(
            #"""
            "memory": {"limit": 536870912, "reservation": -1, "swap": 536870912, "kernel": -1, "kernelTCP": 0, "disableOOMKiller": false,
              "useHierarchy": true, "checkBeforeUpdate": true},
            "cpu": {"shares": 262144, "quota": 1000, "period": 1000000, "burst": 1000, "idle": 1, "cpus": "0-3,7", "mems": "0",
              "realtimeRuntime": 0, "realtimePeriod": 0},
            "pids": {"limit": 100},
            "blockIO": {"weight": 10, "leafWeight": 0, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000, "leafWeight": 0}],
              "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 600}], "throttleWriteBpsDevice": [{"major": 8, "minor": 16,
              "rate": 0}],
              "throttleReadIOPSDevice": [{"major": 4095, "minor": 1048575, "rate": 9223372036854775807}],
              "throttleWriteIOPSDevice": [{"major": 0, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}, {"pageSize": "1GB", "limit": 0}, {"pageSize": "64KB", "limit": 1}],
            "unified": {"memory.high": "1G", "io.bfq.weight": "default 5", "cgroup.max.descendants": "10"},
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rm"},
              {"allow": true, "type": "b", "major": 4095, "minor": 1048575}]
            """#)
        #expect(limits.memory.limit == 536_870_912 && limits.memory.reservation == -1 && limits.memory.swap == 536_870_912)
        #expect(limits.cpu.shares == 262_144 && limits.cpu.quota == 1000 && limits.cpu.period == 1_000_000 && limits.cpu.burst == 1000)
        #expect(limits.cpu.idle == 1 && limits.cpu.cpus == "0-3,7" && limits.cpu.mems == "0" && limits.pidsLimit == 100)
        #expect(limits.blockIO.weight == 10 && limits.blockIO.weightDevices == [DeviceWeight(major: 8, minor: 0, weight: 1000)])
        #expect(limits.blockIO.throttleReadBytes == [DeviceRate(major: 8, minor: 16, rate: 600)])
        #expect(limits.blockIO.throttleWriteBytes == [DeviceRate(major: 8, minor: 16, rate: 0)])
        #expect(limits.blockIO.throttleReadOperations == [DeviceRate(major: 4095, minor: 1_048_575, rate: UInt64(Int64.max))])
        #expect(limits.blockIO.throttleWriteOperations == [DeviceRate(major: 0, minor: 0, rate: 1)])
        #expect(
            limits.hugepageLimits == [
                HugepageLimit(pageSize: "2MB", limit: 209_715_200), HugepageLimit(pageSize: "1GB", limit: 0),
                HugepageLimit(pageSize: "64KB", limit: 1),
            ])
        #expect(limits.unified.map(\.key) == ["memory.high", "io.bfq.weight", "cgroup.max.descendants"])
        #expect(limits.unified[1].value == "default 5")
        var second = DeviceRule(allow: true)
        second.kind = .character
        second.major = 10
        second.write = false
        var third = DeviceRule(allow: true)
        third.kind = .block
        third.major = 4095
        third.minor = 1_048_575
        #expect(limits.devices == [DeviceRule(allow: false), second, third])
    }

    @Test func zeroIsUnset() throws {
        let limits = try read(
            #"""
            "memory": {"limit": 0, "reservation": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0, "burst": 0},
            "blockIO": {"weight": 0}, "pids": {}
            """#)
        #expect(limits == ContainerResources())
        #expect(try read(#""pids": {"limit": 0}"#).pidsLimit == 0 && read(#""pids": {"limit": -1}"#).pidsLimit == -1)
        #expect(try read(#""cpu": {"idle": 0}"#).cpu.idle == 0)
    }

    @Test func unlimitedValuesPastInt64() throws {
        // cgroup v1's own "no limit", beside a number that makes all of the document's integers doubles.
        let limits = try read(
            #"""
            "hugepageLimits": [{"pageSize": "2MB", "limit": 18446744073709551615}], "cpu": {"quota": -1},
            "memory": {"limit": 9223372036854771712, "reservation": 1048576}
            """#)
        #expect(limits.hugepageLimits.first?.limit == .max && limits.cpu.quota == -1)
        #expect(limits.memory.limit == 9_223_372_036_854_771_712 && limits.memory.reservation == 1 << 20)
        #expect(paths(resources(#""memory": {"limit": 18446744073709551615}"#)) == ["linux.resources.memory.limit"])
    }

    @Test(arguments: [
        (#""memory": {"limit": -2}"#, ["memory.limit"]), (#""memory": {"limit": "1G"}"#, ["memory.limit"]),
        (#""memory": {"swap": 5}"#, ["memory.swap"]),
        (#""memory": {"limit": 0, "swap": 5}"#, ["memory.swap"]), (#""memory": {"limit": 6, "swap": 5}"#, ["memory.swap"]),
        (#""memory": {"limit": -1, "swap": 5}"#, ["memory.swap"]), (#""memory": {"limit": "x", "swap": 5}"#, ["memory.limit"]),
        (#""memory": {"kernel": 5, "kernelTCP": 6}"#, ["memory.kernel", "memory.kernelTCP"]),
        (#""memory": {"swappiness": 0}"#, ["memory.swappiness"]),
        (#""memory": {"disableOOMKiller": true}"#, ["memory.disableOOMKiller"]),
        (#""memory": {"useHierarchy": false}"#, ["memory.useHierarchy"]),
        (#""memory": {"checkBeforeUpdate": 1}"#, ["memory.checkBeforeUpdate"]), (#""cpu": {"shares": 1}"#, ["cpu.shares"]),
        (#""cpu": {"shares": 262145}"#, ["cpu.shares"]), (#""cpu": {"quota": 999}"#, ["cpu.quota"]),
        (#""cpu": {"quota": -2}"#, ["cpu.quota"]),
        (#""cpu": {"period": 999}"#, ["cpu.period"]), (#""cpu": {"period": 1000001}"#, ["cpu.period"]),
        (#""cpu": {"burst": 5}"#, ["cpu.burst"]),
        (#""cpu": {"quota": -1, "burst": 5}"#, ["cpu.burst"]), (#""cpu": {"quota": 2000, "burst": 2001}"#, ["cpu.burst"]),
        (#""cpu": {"quota": 0, "burst": 1}"#, ["cpu.burst"]), (#""cpu": {"idle": 2}"#, ["cpu.idle"]),
        (#""cpu": {"cpus": "0-"}"#, ["cpu.cpus"]),
        (#""cpu": {"mems": "a"}"#, ["cpu.mems"]), (#""cpu": {"cpus": 0}"#, ["cpu.cpus"]),
        (#""cpu": {"realtimeRuntime": 950000, "realtimePeriod": 1000000}"#, ["cpu.realtimeRuntime", "cpu.realtimePeriod"]),
        (#""pids": {"limit": -2}"#, ["pids.limit"]), (#""pids": {"max": 5}"#, ["pids.limit"]), (#""pids": 5"#, ["pids"]),
        (#""blockIO": {"weight": 9}"#, ["blockIO.weight"]), (#""blockIO": {"weight": 1001}"#, ["blockIO.weight"]),
        (#""blockIO": {"leafWeight": 10}"#, ["blockIO.leafWeight"]),
        (
            #""blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}"#,
            ["blockIO.weightDevice[0].leafWeight", "blockIO.weightDevice[0].weight"]
        ),
        (
            #""blockIO": {"weightDevice": [{"major": 8, "weight": 5}]}"#,
            ["blockIO.weightDevice[0].weight", "blockIO.weightDevice[0].minor"]
        ),
        (
            #""blockIO": {"throttleReadBpsDevice": [{"major": 4096, "minor": 0, "rate": -1}]}"#,
            ["blockIO.throttleReadBpsDevice[0].rate", "blockIO.throttleReadBpsDevice[0].major"]
        ),
        (#""blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0}]}"#, ["blockIO.throttleWriteIOPSDevice[0].rate"]),
        (#""hugepageLimits": [{}]"#, ["hugepageLimits[0].pageSize", "hugepageLimits[0].limit"]),
        (#""hugepageLimits": [{"pageSize": "2M", "limit": 1}]"#, ["hugepageLimits[0].pageSize"]),
        (#""hugepageLimits": [{"pageSize": "../MB", "limit": 1}]"#, ["hugepageLimits[0].pageSize"]),
        (#""hugepageLimits": [{"pageSize": "02MB", "limit": 1}]"#, ["hugepageLimits[0].pageSize"]),
        (#""hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 1}]"#, ["hugepageLimits[1].pageSize"]),
        (#""network": {"classID": 1}"#, ["network"]), (#""rdma": {"mlx5_1": {"hcaHandles": 3}}"#, ["rdma"]),
        (#""devices": [{}]"#, ["devices[0].allow"]), (#""devices": [{"allow": 1}]"#, ["devices[0].allow"]),
        (#""devices": [{"allow": true, "type": "p"}]"#, ["devices[0].type"]),
        (#""devices": [{"allow": true, "major": -2, "minor": 1048576}]"#, ["devices[0].major", "devices[0].minor"]),
        (#""devices": [{"allow": true, "access": "rx"}]"#, ["devices[0].access"]),
    ])
    func refused(_ members: String, _ expected: [String]) {
        #expect(paths(resources(members)) == expected.map { "linux.resources." + $0 }, "\(refusal(resources(members)))")
    }

    @Test(arguments: [
        "memory", "", ".", "memory.", ".high", "memory..high", "memory/high.x", "../x.y", "a b.c", "cgroup.procs", "cgroup.kill",
        "cgroup.freeze",
        "cgroup.subtree_control", "cgroup.type",
    ])
    func badUnifiedNames(_ name: String) { #expect(issues(resources("\"unified\": {\"\(name)\": \"1\"}")).count == 1) }

    @Test(arguments: [#""""#, "1", #""\#(String(repeating: "1", count: 4096))""#, #""\u0000""#])
    func badUnifiedValues(_ value: String) { #expect(issues(resources("\"unified\": {\"memory.high\": \(value)}")).count == 1) }

    @Test func listsAreBounded() {
        func rules(_ count: Int) -> String {
            resources("\"devices\": [\(Array(repeating: #"{"allow": false}"#, count: count).joined(separator: ","))]")
        }
        #expect(paths(rules(128)) == [] && paths(rules(129)) == ["linux.resources.devices"])
    }
}
