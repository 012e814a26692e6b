import ContainerSpec
import Testing

@testable import Cgroups

@Suite struct ResourcePlanTests {
    private func plan(
        memory: UInt64? = nil, tasks: UInt64? = nil, _ change: (inout ContainerResources) -> Void
    ) throws -> ResourcePlan {
        var resources = ContainerResources()
        change(&resources)
        return try ResourcePlan(resources, ceilings: ContainerCeilings(memoryBytes: memory, tasks: tasks, reserveBytes: 0))
    }

    private func writes(_ change: (inout ContainerResources) -> Void) throws -> [String] {
        try plan(change).writes.map { "\($0.file)=\($0.value)" }
    }

    private func cause(_ change: (inout ContainerResources) -> Void) -> String? {
        do {
            _ = try plan(change)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func nothingAsksForNothing() throws { #expect(try writes { _ in } == []) }

    @Test(
        arguments: [
            (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262_143, 10_000), (262_144, 10_000), (.max, 10_000),
        ] as [(UInt64, UInt64)])
    func sharesBecomeAWeight(_ shares: UInt64, _ weight: UInt64) { #expect(ResourcePlan.weight(shares: shares) == weight) }

    @Test func theWeightNeverFallsWithMoreShares() {
        var last: UInt64 = 0
        for shares in UInt64(0)...262_200 {
            let weight = ResourcePlan.weight(shares: shares)
            #expect(weight >= last && (1...10_000).contains(weight))
            if weight < last { return }
            last = weight
        }
    }

    @Test func processorTime() throws {
        #expect(try writes { $0.cpu.quota = 50_000 } == ["cpu.max=50000 100000"])
        #expect(try writes { $0.cpu.period = 20_000 } == ["cpu.max=max 20000"])
        #expect(try writes { $0.cpu.quota = -1 } == ["cpu.max=max 100000"])
        #expect(
            try writes {
                $0.cpu.burst = 1000
                $0.cpu.quota = 5000
                $0.cpu.period = 10_000
                $0.cpu.shares = 1024
                $0.cpu.cpus = "0-1"
                $0.cpu.mems = "0"
            } == ["cpuset.cpus=0-1", "cpuset.mems=0", "cpu.weight=100", "cpu.max=5000 10000", "cpu.max.burst=1000"])
        // The kernel refuses a weight to an idle group.
        #expect(
            try writes {
                $0.cpu.shares = 512
                $0.cpu.idle = 1
            } == ["cpu.idle=1"])
        #expect(
            try writes {
                $0.cpu.shares = 512
                $0.cpu.idle = 0
            } == ["cpu.weight=59", "cpu.idle=0"])
    }

    @Test(
        arguments: [
            (1000, nil, ["memory.max=1000"]), (-1, nil, ["memory.max=max"]), (nil, -1, ["memory.swap.max=max"]),
            (1000, 3000, ["memory.max=1000", "memory.swap.max=2000"]), (1000, 1000, ["memory.max=1000", "memory.swap.max=0"]),
            (1000, -1, ["memory.max=1000", "memory.swap.max=max"]), (-1, 500, ["memory.max=max", "memory.swap.max=500"]), (0, 0, []),
            (1, .max, ["memory.max=1", "memory.swap.max=9223372036854775806"]),
        ] as [(Int64?, Int64?, [String])])
    func memoryAndSwap(_ limit: Int64?, _ swap: Int64?, _ expected: [String]) throws {
        let found = try writes {
            $0.memory.limit = limit
            $0.memory.swap = swap
        }
        #expect(found == expected)
    }

    @Test func swapThatSaysNothing() {
        #expect(cause { $0.memory.swap = 1000 }?.contains("needs linux.resources.memory.limit") == true)
        #expect(
            cause {
                $0.memory.limit = 1001
                $0.memory.swap = 1000
            }?.hasPrefix("convert linux.resources.memory.swap: it is below") == true)
    }

    @Test func reservation() throws {
        #expect(try writes { $0.memory.reservation = 4096 } == ["memory.low=4096"])
        #expect(try writes { $0.memory.reservation = -1 } == ["memory.low=max"])
    }

    @Test(arguments: [(5, "5"), (0, "max"), (-1, "max"), (.min, "max")] as [(Int64, String)])
    func tasks(_ limit: Int64, _ value: String) throws { #expect(try writes { $0.pidsLimit = limit } == ["pids.max=" + value]) }

    @Test(arguments: [(10, 1), (100, 910), (500, 4950), (1000, 10_000), (0, 1), (65_535, 10_000)] as [(UInt16, UInt64)])
    func ioWeights(_ weight: UInt16, _ expected: UInt64) { #expect(ResourcePlan.ioWeight(blkio: weight) == expected) }

    @Test func blockDevices() throws {
        let plan = try plan {
            $0.blockIO.weight = 500
            $0.blockIO.weightDevices = [DeviceWeight(major: 8, minor: 16, weight: 10)]
            $0.blockIO.throttleReadBytes = [DeviceRate(major: 8, minor: 0, rate: 1 << 20), DeviceRate(major: 8, minor: 16, rate: 0)]
            $0.blockIO.throttleWriteBytes = [DeviceRate(major: 8, minor: 0, rate: 2)]
            $0.blockIO.throttleReadOperations = [DeviceRate(major: 8, minor: 0, rate: 3)]
            $0.blockIO.throttleWriteOperations = [DeviceRate(major: 8, minor: 0, rate: .max)]
        }
        #expect(
            plan.writes.map { "\($0.file)=\($0.value)" } == [
                "io.bfq.weight=500", "io.bfq.weight=8:16 10", "io.max=8:0 rbps=1048576", "io.max=8:16 rbps=max", "io.max=8:0 wbps=2",
                "io.max=8:0 riops=3", "io.max=8:0 wiops=18446744073709551615",
            ])
        #expect(plan.writes[0].alternative == .file("io.weight", value: "4950"))
        #expect(plan.writes[1].alternative == .file("io.weight", value: "8:16 1"))
    }

    @Test func hugePages() throws {
        let plan = try plan { $0.hugepageLimits = [HugepageLimit(pageSize: "2MB", limit: 4 << 20)] }
        #expect(
            plan.writes == [
                CgroupWrite(
                    "hugetlb.2MB.rsvd.max", "4194304", "linux.resources.hugepageLimits", .file("hugetlb.2MB.max", value: "4194304"))
            ])
        #expect(plan.writes[0].controller == "hugetlb")
    }

    @Test func rawFiles() throws {
        #expect(
            try writes {
                $0.memory.limit = 1000
                $0.unified = [KeyValue(key: "memory.high", value: "5"), KeyValue(key: "io.max", value: "8:0 rbps=1\n8:16 wiops=2\n")]
            } == ["memory.max=1000", "memory.high=5", "io.max=8:0 rbps=1", "io.max=8:16 wiops=2"])
    }

    @Test(arguments: [
        ("../memory.max", "1"), ("memory/max", "1"), ("memory", "1"), ("memory.", "1"), (".max", "1"), ("", "1"), ("cgroup.procs", "1"),
        ("cgroup.freeze", "1"), ("freezer.state", "x"), ("memory.max\u{0}", "1"), ("memory.h igh", "1"), ("memory.high", ""),
        ("memory.high", "\n\n"), ("memory.high", "1\u{0}"), ("memory.\(String(repeating: "a", count: 200))", "1"),
        ("memory.high", String(repeating: "9", count: 4096)), ("pids.max", "many"), ("memory.max", "1x"),
    ])
    func rawFilesThatAreRefused(_ key: String, _ value: String) {
        let error = cause { _ in }
        #expect(error == nil)
        let found = try? plan(memory: 1 << 20, tasks: 10) { $0.unified = [KeyValue(key: key, value: value)] }
        #expect(found == nil)
    }

    @Test func theRefusalNamesTheFile() {
        #expect(
            cause { $0.unified = [KeyValue(key: "cgroup.procs", value: "1")] }
                == "convert linux.resources.unified.cgroup.procs: the cgroup.* files are tether's own")
    }

    // MARK: Ceilings

    @Test func ceilingsHoldWhereNothingIsConfigured() throws {
        let plan = try plan(memory: 4096, tasks: 100) { _ in }
        #expect(plan.writes == [CgroupWrite("memory.max", "4096", ""), CgroupWrite("pids.max", "100", "")])
        #expect(plan.notes == [])
    }

    @Test(arguments: [
        ("4095", "4095", 0), ("4096", "4096", 0), ("4097", "4096", 1), ("max", "4096", 0), ("1G", "4096", 1), ("3k", "3k", 0),
        ("99999999999T", "4096", 1), ("18446744073709551615", "4096", 1),
    ])
    func ceilingsLowerWhatIsConfigured(_ value: String, _ expected: String, _ notes: Int) throws {
        let plan = try plan(memory: 4096) { $0.unified = [KeyValue(key: "memory.max", value: value)] }
        #expect(plan.writes.map(\.value) == [expected])
        #expect(plan.notes.count == notes)
    }

    @Test func theLastWriteIsHeldToo() throws {
        let plan = try plan(memory: 4096, tasks: 50) {
            $0.memory.limit = 100
            $0.pidsLimit = 60
            $0.unified = [KeyValue(key: "memory.max", value: "max")]
        }
        #expect(plan.writes.map { "\($0.file)=\($0.value)" } == ["memory.max=100", "pids.max=50", "memory.max=4096"])
        #expect(plan.notes == ["linux.resources.pids.limit lowered from 60 to 50: the VM has no more to give"])
    }

    private func changes(
        _ before: @escaping (inout ContainerResources) -> Void, _ after: @escaping (inout ContainerResources) -> Void
    ) throws -> [String] {
        var plans: [ResourcePlan] = []
        for change in [before, after] {
            var resources = ContainerResources()
            change(&resources)
            plans.append(try ResourcePlan(resources, ceilings: ContainerCeilings(memoryBytes: 1000, tasks: 50, reserveBytes: 0)))
        }
        return try ResourcePlan.changes(from: plans[0], to: plans[1]).map { $0.file + "=" + $0.value }
    }

    @Test func aChangeIsWhatDiffers() throws {
        #expect(try changes({ $0.pidsLimit = 10 }, { $0.pidsLimit = 10 }) == [])
        #expect(try changes({ $0.pidsLimit = 10 }, { $0.pidsLimit = 20 }) == ["pids.max=20"])
        // What is not limited any more is limited by what the VM can give.
        #expect(try changes({ $0.pidsLimit = 10 }, { _ in }) == ["pids.max=50"])
        #expect(try changes({ $0.memory.reservation = 5 }, { $0.memory.limit = 100 }) == ["memory.low=0", "memory.max=100"])
        // Of two writes to one file the last counts.
        #expect(
            try changes(
                {
                    $0.memory.limit = 100
                    $0.unified = [KeyValue(key: "memory.max", value: "200"), KeyValue(key: "memory.high", value: "150")]
                }, { $0.memory.limit = 200 }) == ["memory.high=max"])
    }

    @Test func quotaAndBurstChangeInAnOrderThatTheKernelTakes() throws {
        let before: (inout ContainerResources) -> Void = {
            $0.cpu.quota = 50_000
            $0.cpu.burst = 40_000
        }
        let after: (inout ContainerResources) -> Void = {
            $0.cpu.quota = 10_000
            $0.cpu.burst = 5000
        }
        #expect(try changes(before, after) == ["cpu.max.burst=0", "cpu.max=10000 100000", "cpu.max.burst=5000"])
        #expect(try changes(before, { _ in }) == ["cpu.max.burst=0", "cpu.max=max 100000"])
        #expect(try changes(before, before) == [])
        #expect(try changes({ $0.cpu.idle = 1 }, { $0.cpu.shares = 2 }) == ["cpu.idle=0", "cpu.weight=1"])
        #expect(try changes({ $0.cpu.cpus = "0" }, { _ in }) == ["cpuset.cpus=\n"])
    }

    @Test func limitsOfDevicesAreToldApart() throws {
        func rate(_ minor: UInt32, _ rate: UInt64) -> DeviceRate { DeviceRate(major: 8, minor: minor, rate: rate) }
        let before: (inout ContainerResources) -> Void = {
            $0.blockIO.throttleReadBytes = [rate(0, 100), rate(16, 200)]
            $0.blockIO.throttleWriteBytes = [rate(0, 300)]
            $0.blockIO.weight = 500
        }
        #expect(
            try changes(before, { $0.blockIO.throttleReadBytes = [rate(0, 100), rate(16, 250)] })
                == ["io.max=8:0 wbps=max", "io.bfq.weight=default 100", "io.max=8:16 rbps=250"])
    }

    @Test func aRawFileWhoseUsualValueIsNotKnownStays() throws {
        let raw: (inout ContainerResources) -> Void = {
            $0.unified = [KeyValue(key: "memory.swap.high", value: "7"), KeyValue(key: "misc.max", value: "x 1")]
        }
        #expect(throws: CgroupError.self) { try changes(raw, { _ in }) }
        #expect(try changes(raw, { $0.unified = [KeyValue(key: "misc.max", value: "x 1")] }) == ["memory.swap.high=max"])
    }
}
