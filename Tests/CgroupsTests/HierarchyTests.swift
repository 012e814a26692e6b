import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Cgroups

/// The groups of a container VM, below a scratch group instead of the root.
@Suite(.serialized) struct HierarchyTests {
    private static let ceilings = ContainerCeilings(memoryBytes: 256 << 20, tasks: 500, reserveBytes: 8 << 20)

    private func file(_ name: String, _ group: Cgroup) throws -> String {
        String(decoding: try group.read(name), as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    private func has(_ controller: String) -> Bool { Scratch.controllers.contains(controller) }

    @Test func groupsAndControllers() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        #expect(Set(hierarchy.controllers) == Set(Scratch.controllers).intersection(["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]))
        #expect(try file("cgroup.subtree_control", hierarchy.container).split(separator: " ").count == hierarchy.controllers.count)
        #expect(try file("cgroup.max.descendants", hierarchy.container) == "2048")
        // What is missing is said, and what is there was done.
        for controller in ["memory", "cpu", "pids"] {
            #expect(hierarchy.notes.contains { $0.hasPrefix("the kernel has no \(controller) controller") } == !has(controller))
        }
        if has("memory") { #expect(try file("memory.min", hierarchy.tether) == "\(8 << 20)") }
        if has("cpu") { #expect(try file("cpu.weight", hierarchy.tether) == "10000") }
        #expect((hierarchy.ceilings.memoryBytes == nil) == !has("memory"))
        #expect((hierarchy.ceilings.tasks == nil) == !has("pids"))

        // Made once more, as after a crash: the same groups, nothing fails.
        let again = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        #expect(again.notes == hierarchy.notes)
    }

    @Test func everySessionStartsAnew() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        try hierarchy.apply(ResourcePlan(ContainerResources(), ceilings: hierarchy.ceilings))
        let first = try hierarchy.makeSession("main", isContainerRoot: true)
        let shell = try Shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000", in: first)
        while try (first.stats().cpu?.usage ?? 0) < 1000 { usleep(1000) }
        let busy = #expect(throws: CgroupError.self) { try hierarchy.makeSession("main") }
        #expect(busy?.errno?.rawValue == EBUSY)
        let other = try hierarchy.makeSession("exec-1")
        #expect(other.path == hierarchy.container.path + "/exec-1")

        // One session's end is not the other's.
        let survivor = try Shell("exec sleep 1000", in: other)
        try first.kill()
        #expect(shell.end().status == 128 + SIGKILL)
        #expect(try other.processes() == [survivor.pid])
        for _ in 0..<1000 where try first.events().populated { usleep(10_000) }
        let second = try hierarchy.makeSession("main", isContainerRoot: true)
        #expect(try (second.stats().cpu?.usage ?? 0) < 1000)
        try hierarchy.container.kill()
        #expect(survivor.end().status == 128 + SIGKILL)
    }

    @Test func aControllerThatTheKernelHasNotIsNamed() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.unified = [KeyValue(key: "rdma.max", value: "none hca_object=1")]
        let error = #expect(throws: CgroupError.self) { try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings)) }
        #expect(error?.description == "limit linux.resources.unified.rdma.max: the kernel has no rdma controller")
    }

    @Test(.enabled(if: Scratch.controllers.contains("hugetlb"), "needs the hugetlb controller"))
    func hugePagesAreLimitedOnTheContainer() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.hugepageLimits = [HugepageLimit(pageSize: "2MB", limit: 4 << 20)]
        try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings))
        #expect(try file("hugetlb.2MB.rsvd.max", hierarchy.container) == "\(4 << 20)")
        resources.hugepageLimits = [HugepageLimit(pageSize: "3MB", limit: 1)]
        let error = #expect(throws: CgroupError.self) { try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings)) }
        #expect(error?.description.contains("hugetlb.3MB.max: No such file or directory (linux.resources.hugepageLimits)") == true)
    }

    @Test(.enabled(if: Scratch.controllers.contains("cpu"), "needs the cpu controller"))
    func processorLimits() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.cpu.shares = 2048
        resources.cpu.quota = 5000
        resources.cpu.period = 50_000
        resources.cpu.burst = 1000
        try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings))
        let main = try hierarchy.makeSession("main", isContainerRoot: true)
        #expect(try file("cpu.weight", hierarchy.container) == "174")
        #expect(try file("cpu.weight", main) == "100")
        for group in [hierarchy.container, main] {
            #expect(try file("cpu.max", group) == "5000 50000")
            #expect(try file("cpu.max.burst", group) == "1000")
        }
        let shell = try Shell("while :; do :; done", in: main)
        for _ in 0..<1000 where try (main.stats().cpu?.throttledPeriods ?? 0) < 3 { usleep(10_000) }
        let cpu = try #require(try main.stats().cpu)
        #expect((cpu.throttledPeriods ?? 0) >= 3 && (cpu.throttled ?? 0) > 0)
        try main.kill()
        _ = shell.end()
    }

    @Test(.enabled(if: Scratch.controllers.contains("cpu"), "needs the cpu controller"))
    func anIdleContainer() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.cpu.idle = 1
        resources.cpu.shares = 512
        try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings))
        #expect(try file("cpu.idle", hierarchy.container) == "1")
    }

    @Test(.enabled(if: Scratch.controllers.contains("memory"), "needs the memory controller"))
    func outOfMemoryIsToldOfTheSessionThatItHit() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.memory.limit = 32 << 20
        resources.memory.swap = 32 << 20
        resources.memory.reservation = 1 << 20
        try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings))
        let main = try hierarchy.makeSession("main", isContainerRoot: true)
        let other = try hierarchy.makeSession("exec-1")
        #expect(try file("memory.max", main) == "\(32 << 20)")
        #expect(try file("memory.max", hierarchy.container) == "\(32 << 20)")
        #expect(try file("memory.max", other) == "max")
        #expect(try file("memory.low", hierarchy.container) == "\(1 << 20)")

        let watch = try other.watchMemoryEvents()
        #expect(try MemoryEvents(parsing: watch.read()).oomKill == 0)
        // The limit that it hits is the container's, the kill is the session's.
        let shell = try Shell("exec dd if=/dev/zero of=/dev/null bs=128M count=1", in: other)
        #expect(shell.end().status == 128 + SIGKILL)
        #expect(watch.awaitChange())
        #expect(try MemoryEvents(parsing: watch.read()).oomKill == 1)
        #expect(try main.memoryEvents()?.oomKill == 0)
        #expect(try hierarchy.container.memoryEvents()?.oomKill == 1)
        #expect(try (hierarchy.container.memoryEvents()?.oom ?? 0) > 0)
        // Without any limit of its own, it could have been killed by nothing else.
        #expect(try hierarchy.tether.memoryEvents()?.oomKill == 0)
        let memory = try #require(try hierarchy.container.stats().memory)
        #expect(memory.limit == 32 << 20 && memory.events.oomKill == 1)
    }

    @Test(.enabled(if: Scratch.controllers.contains("memory"), "needs the memory controller"))
    func theCeilingHoldsWithoutAConfiguredLimit() throws {
        let scratch = try Scratch()
        let ceilings = ContainerCeilings(memoryBytes: 32 << 20, tasks: nil, reserveBytes: 0)
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: ceilings)
        try hierarchy.apply(ResourcePlan(ContainerResources(), ceilings: hierarchy.ceilings))
        let main = try hierarchy.makeSession("main", isContainerRoot: true)
        let shell = try Shell("exec dd if=/dev/zero of=/dev/null bs=128M count=1", in: main)
        #expect(shell.end().status == 128 + SIGKILL)
        #expect(try main.memoryEvents()?.oomKill == 1)
    }

    @Test(.enabled(if: Scratch.controllers.contains("pids"), "needs the pids controller"))
    func aForkBombStaysWithinItsTasks() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.pidsLimit = 20
        try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings))
        let main = try hierarchy.makeSession("main", isContainerRoot: true)
        #expect(try file("pids.max", main) == "20")
        let shell = try Shell("bomb() { bomb | bomb & }; bomb; sleep 1000", in: main)
        for _ in 0..<1000 where try (main.stats().tasks?.refused ?? 0) == 0 { usleep(10_000) }
        let tasks = try #require(try main.stats().tasks)
        #expect(tasks.refused > 0 && tasks.current <= 20 && tasks.limit == 20)
        try main.kill()
        _ = shell.end()
        for _ in 0..<1000 where try main.events().populated { usleep(10_000) }
        #expect(try !main.events().populated)
    }

    @Test(.enabled(if: Scratch.controllers.contains("io"), "needs the io controller"))
    func aDeviceThatIsNotThere() throws {
        let scratch = try Scratch()
        let hierarchy = try CgroupHierarchy(root: scratch.group, ceilings: Self.ceilings)
        var resources = ContainerResources()
        resources.blockIO.throttleReadBytes = [DeviceRate(major: 250, minor: 99, rate: 1)]
        let error = #expect(throws: CgroupError.self) { try hierarchy.apply(ResourcePlan(resources, ceilings: hierarchy.ceilings)) }
        let expected = "io.max: No such device (linux.resources.blockIO.throttleReadBpsDevice)"
        #expect(error?.description == "write 250:99 rbps=1 to \(hierarchy.container.path)/" + expected)
    }
}
