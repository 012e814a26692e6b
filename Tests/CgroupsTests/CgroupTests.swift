import CLinux
import ContainerSpec
import Foundation
import Linux
import Testing

@testable import Cgroups

/// Real groups with real processes, as root.
@Suite(.serialized) struct CgroupTests {
    @Test func aProcessIsPutInSeenAndKilled() throws {
        let scratch = try Scratch()
        let watch = try scratch.group.watchEvents()
        #expect(try !CgroupEvents(parsing: watch.read()).populated)
        let shell = try Shell("exec sleep 1000", in: scratch.group)
        #expect(watch.awaitChange())
        #expect(try CgroupEvents(parsing: watch.read()).populated)
        #expect(try scratch.group.processes() == [shell.pid])
        #expect(try !scratch.group.remove())

        try scratch.group.kill()
        #expect(shell.end().status == 128 + SIGKILL)
        #expect(watch.awaitChange())
        #expect(try !CgroupEvents(parsing: watch.read()).populated)
        #expect(try scratch.group.remove())
        // Gone is gone, whoever removed it.
        #expect(try scratch.group.remove())
    }

    @Test func withoutCgroupKill() throws {
        let scratch = try Scratch()
        let shells = try (0..<3).map { _ in try Shell("while :; do sleep 1000 & wait; done", in: scratch.group) }
        try scratch.group.killOneByOne()
        for shell in shells { #expect(shell.end().status == 128 + SIGKILL) }
        for _ in 0..<1000 where try scratch.group.events().populated { usleep(10_000) }
        #expect(try !scratch.group.events().populated)
    }

    @Test func frozenProcessesStopGoOnAndDie() throws {
        let scratch = try Scratch()
        let file = NSTemporaryDirectory() + "/tether-frozen-\(UUID().uuidString)"
        defer { unlink(file) }
        func size() -> Int { (try? Files.read(file).count) ?? 0 }
        func grows() -> Bool {
            let before = size()
            for _ in 0..<1000 {
                if size() > before { return true }
                usleep(10_000)
            }
            return false
        }
        let shell = try Shell("while :; do echo -n x >> \(file); sleep 0.01; done", in: scratch.group)
        #expect(grows())
        let watch = try scratch.group.watchEvents()
        _ = try watch.read()
        try scratch.group.freeze()
        while try !CgroupEvents(parsing: watch.read()).frozen { try #require(watch.awaitChange()) }
        let frozen = size()
        usleep(300_000)
        #expect(size() == frozen)
        try scratch.group.thaw()
        #expect(grows())
        #expect(try !scratch.group.events().frozen)
        try scratch.group.freeze()
        try scratch.group.kill()
        #expect(shell.end().status == 128 + SIGKILL)
    }

    @Test func groupsBelowAreRemovedInBoundedSteps() throws {
        let scratch = try Scratch()
        let parent = try scratch.group.makeChild("many")
        for index in 0..<300 { _ = try parent.makeChild("child-\(index)") }
        _ = try parent.makeChild("child-0").makeChild("a").makeChild("b").makeChild("c")
        #expect(try !parent.remove())
        #expect(try parent.remove())
        #expect(throws: CgroupError.self) { try parent.events() }
    }

    @Test(arguments: ["", ".", "..", "a/b", "/a", "memory.max", "a b", "a\u{0}", "ä", String(repeating: "x", count: 65)])
    func namesThatAreNone(_ name: String) throws {
        let scratch = try Scratch()
        #expect(throws: CgroupError.self) { try scratch.group.makeChild(name) }
    }

    @Test func errorsNameFileValueAndCause() throws {
        let scratch = try Scratch()
        let error = #expect(throws: CgroupError.self) { try scratch.group.write("nonsense", to: "cgroup.freeze") }
        #expect(error?.description == "write nonsense to \(scratch.group.path)/cgroup.freeze: Invalid argument")
        let missing = #expect(throws: CgroupError.self) { try scratch.group.write("1", to: "cgroup.nothing") }
        #expect(missing?.description == "open \(scratch.group.path)/cgroup.nothing: No such file or directory")
        // Process 0x7FFFFFFF does not exist.
        let gone = #expect(throws: CgroupError.self) { try scratch.group.add(.max) }
        #expect(gone?.errno == .noSuchProcess)
    }

    @Test func aGroupThatIsGoneHasNoStats() throws {
        let scratch = try Scratch()
        let child = try scratch.group.makeChild("child")
        #expect(try child.stats().cpu != nil)
        #expect(try child.remove())
        #expect(try child.stats() == CgroupStats())
    }

    @Test func statsOfABusyProcess() throws {
        let scratch = try Scratch()
        let shell = try Shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", in: scratch.group)
        #expect(shell.end().status == 0)
        let stats = try scratch.group.stats()
        let cpu = try #require(stats.cpu)
        #expect(cpu.usage > 1000)
        #expect(cpu.user + cpu.system <= cpu.usage + 1)
        #expect((stats.memory != nil) == Scratch.controllers.contains("memory"))
        #expect((stats.tasks != nil) == Scratch.controllers.contains("pids"))
        #expect(String(decoding: stats.json, as: UTF8.self).hasPrefix("{\"cpu\":{\"usageMicroseconds\":\(cpu.usage),"))
    }

    @Test func theFilesystemIsMountedOnce() throws {
        let worker = try Worker.start("mount cgroup2") { output in
            output.send(Array(CgroupTests.mountInOwnNamespace().utf8))
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        rmdir("/tmp/tether-cgroup2")
        let messages = result.messages.map { String(decoding: $0, as: UTF8.self) }
        #expect(messages == ["mounted; mkdir /proc/nowhere: No such file or directory"])
    }

    private static func mountInOwnNamespace() -> String {
        guard unshare(CLONE_NEWNS) == 0, mount(nil, "/", nil, UInt(MS_REC | MS_PRIVATE), nil) == 0 else { return "no namespace" }
        let path = "/tmp/tether-cgroup2"
        var found = "not mounted"
        do throws(CgroupError) {
            try CgroupHierarchy.mount(on: path)
            try CgroupHierarchy.mount(on: path)
            found = try Cgroup(root: path).exists("cgroup.controllers") ? "mounted" : "empty"
            try CgroupHierarchy.mount(on: "/proc/nowhere")
            return found
        } catch {
            return found + "; " + error.description
        }
    }
}

/// The program in the kernel, asked by real opens.
@Suite(.serialized) struct DeviceAccessTests {
    /// A node for the kernel's log, which every kernel has and no container needs.
    private func withNode(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "/tether-node-\(UUID().uuidString)"
        try #require(mknod(path, 0o020600, clinux_makedev(1, 11)) == 0)
        defer { unlink(path) }
        try body(path)
    }

    private func attempts(_ node: String, _ group: Cgroup) throws -> String {
        try Shell("(: < \(node)) && echo read; (: >> \(node)) && echo write; (: < /dev/null) && echo null", in: group).end().output
    }

    @Test func onlyWhatTheRulesAllow() throws {
        try withNode { node in
            let scratch = try Scratch()
            #expect(try attempts(node, scratch.group.makeChild("free")) == "read\nwrite\nnull\n")
            let standard = try scratch.group.makeChild("standard")
            try DeviceProgram([]).attach(to: standard)
            #expect(try attempts(node, standard) == "null\n")
            // A group below cannot give itself more.
            let below = try standard.makeChild("below")
            try DeviceProgram([DeviceRule(allow: true)]).attach(to: below)
            #expect(try attempts(node, below) == "null\n")

            var readOnly = DeviceRule(allow: true)
            readOnly.kind = .character
            readOnly.major = 1
            readOnly.minor = 11
            readOnly.write = false
            let reader = try scratch.group.makeChild("reader")
            try DeviceProgram([DeviceRule(allow: false), readOnly]).attach(to: reader)
            #expect(try attempts(node, reader) == "read\nnull\n")
            let privileged = try scratch.group.makeChild("privileged")
            try DeviceProgram([DeviceRule(allow: true)]).attach(to: privileged)
            #expect(try attempts(node, privileged) == "read\nwrite\nnull\n")
        }
    }

    @Test func theVerifierTakesTheLongestProgram() throws {
        let scratch = try Scratch()
        var rules: [DeviceRule] = []
        for index in 0..<UInt32(ContainerResources.deviceRuleLimit) {
            var rule = DeviceRule(allow: index % 2 == 0)
            rule.kind = index % 3 == 0 ? .block : .character
            rule.major = index
            rule.minor = .max - index
            rule.write = false
            rules.append(rule)
        }
        try DeviceProgram(rules).attach(to: scratch.group)
    }

    @Test func aGroupThatIsNone() throws {
        let group = try Cgroup(root: "/")
        let error = #expect(throws: CgroupError.self) { try DeviceProgram([]).attach(to: group) }
        #expect(error?.operation == "bpf BPF_PROG_ATTACH")
    }
}
