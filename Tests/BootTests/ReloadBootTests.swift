import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// A configuration that is changed on the host while the VM runs.
@Suite("Boot: the configuration is read anew", .serialized) struct ReloadBootTests {
    private func resources(_ memory: Int, _ more: [String: Any] = [:]) -> [String: Any] {
        ["resources": more.merging(["memory": ["limit": memory]]) { own, _ in own }]
    }

    private let limits = "cat /sys/fs/cgroup/memory.max; [ $(cat /sys/fs/cgroup/pids.max) = 100 ] && echo few"

    @Test("limits hold at once, the process's own when it is started again; what is wrong is refused and changes nothing")
    func reload() throws {
        let args = ["sh", "-c", "echo generation $G; mkdir /tmp/$G && echo made; while :; do sleep 0.2; done"]
        let vm = try LiveVM(args, tether: ["restart": "always"], isChangeable: true) { config, process in
            config["linux"] = resources(64 << 20, ["pids": ["limit": 100]])
            process["env"] = ["PATH=/bin", "G=1"]
        }
        let session = try vm.client.attach(AttachRequest(stdout: .oldest))
        try session.wait(for: "generation 1\nmade\n")
        #expect(try vm.shell(limits).out == "67108864\nfew\n")

        try vm.reconfigure { config in
            var process = config["process"] as? [String: Any] ?? [:]
            process["env"] = ["PATH=/bin", "G=2"]
            config["process"] = process
            var linux = resources(96 << 20)
            linux["seccomp"] = [
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [["names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"]],
            ]
            config["linux"] = linux
        }
        #expect(try vm.shell(limits).out == "67108864\nfew\n", "nothing is read before it is asked for")
        try vm.client.reload()
        let changed = try vm.shell(limits + "; echo G=$G; mkdir /tmp/exec && echo made")
        #expect(changed.out == "100663296\nG=1\nmade\n", "raised, lifted, and the process as it was started: \(changed.err)")

        try refusals(vm)
        #expect(try vm.shell(limits).out == "100663296\n", "what was refused has changed nothing")
        #expect(session.output == "generation 1\nmade\n")

        // Started again, the container is the new one.
        try session.signal(9)
        try session.wait(for: "generation 2\n", timeout: 60)
        let second = try vm.shell(limits + "; echo G=$G; mkdir /tmp/again || echo refused")
        #expect(second.out == "100663296\nG=2\nrefused\n", "\(second.err)")

        // How it is stopped holds at once.
        try vm.reconfigure { config in
            var tether = config["tether"] as? [String: Any] ?? [:]
            tether["stop"] = ["signal": "SIGUSR1"]
            config["tether"] = tether
        }
        try vm.client.reload()
        let ended = try vm.stop()
        #expect(ended.exit?.signal == "SIGUSR1", "\(ended.finished.errorText)")
        #expect(ended.out == "generation 1\nmade\ngeneration 2\n")
        #expect(ended.console.contains("configuration not read anew: decode guestinfo.tether.config"))
    }

    private func refusals(_ vm: LiveVM) throws {
        func refuse(_ parts: [String], _ change: (inout [String: Any]) -> Void) throws {
            var kept: [String: Any] = [:]
            try vm.reconfigure {
                kept = $0
                change(&$0)
            }
            for part in parts { expectRefusal(.failed, says: part) { try vm.client.reload() } }
            try vm.reconfigure { $0 = kept }
        }
        try vm.reconfigure(Data("{ \"ociVersion\": ".utf8))
        expectRefusal(.failed, says: "decode guestinfo.tether.config") { try vm.client.reload() }
        try vm.removeConfiguration()
        expectRefusal(.failed, says: "the host has no configuration") { try vm.client.reload() }
        try refuse(["process.args"]) { $0["process"] = ["cwd": "/", "user": ["uid": 0, "gid": 0]] }
        try refuse(["the id of a container cannot change"]) { config in
            var tether = config["tether"] as? [String: Any] ?? [:]
            tether["id"] = "another"
            config["tether"] = tether
        }
        try refuse(["lower linux.resources.memory.limit", "are in use, and 65536 would be the limit"]) { $0["linux"] = resources(65_536) }
        // The kernel refuses the last of three: the others are taken back.
        let devices = ["throttleReadBpsDevice": [["major": 250, "minor": 99, "rate": 1000]]]
        try refuse(["io.max: No such device (linux.resources.blockIO.throttleReadBpsDevice)"]) {
            $0["linux"] = resources(80 << 20, ["pids": ["limit": 100], "blockIO": devices])
        }
        try vm.client.ping()
    }

    @Test("a container that waits for a client is created anew with what was read; one in which a process runs stays as it is")
    func held() throws {
        // The line of the attach server is a fourth one, on which nobody is.
        let options = ["--qemu-arg", "-serial", "--qemu-arg", "null"]
        let attach: [String: Any] = ["device": "/dev/ttyS3", "wait": true, "authentication": "none"]
        let vm = try LiveVM(
            ["sh", "-c", "echo never"], tether: ["id": "held", "attach": attach], options: options, isChangeable: true, isHeld: true
        ) {
            config, _ in config["hostname"] = "first"
        }
        func hostname(until expected: String) throws {
            var name = ""
            for _ in 0..<100 where name != expected + "\n" {
                do { name = try vm.shell("hostname").out } catch ControlClientError.refused(let failure) where failure.code == .notRunning {
                    Thread.sleep(forTimeInterval: 0.1)
                }
            }
            #expect(name == expected + "\n")
        }
        func reload(_ name: String) throws {
            try vm.reconfigure {
                $0["hostname"] = name
                var process = $0["process"] as? [String: Any] ?? [:]
                process["args"] = ["sh", "-c", "echo from $(hostname), wanted by \(name); exit 3"]
                $0["process"] = process
            }
            try vm.client.reload()
        }
        try hostname(until: "first")
        try reload("second")
        try hostname(until: "second")
        // What holds at once makes no other container, nor does anything while a process runs in it: be it that a client has left it.
        let left = try vm.shell("touch /dev/shm/here; sleep 900 </dev/null >/dev/null 2>&1 &")
        #expect(left.result.exitCode == 0)
        try vm.reconfigure { config in
            var tether = config["tether"] as? [String: Any] ?? [:]
            tether["stop"] = ["timeoutSeconds": 3]
            config["tether"] = tether
        }
        try vm.client.reload()
        try reload("third")
        try hostname(until: "second")
        #expect(try vm.shell("ls /dev/shm").out == "here\n" && vm.client.list().first?.state == .waiting)
        try vm.client.release()
        let ended = try vm.finish()
        #expect(ended.code == 3 && ended.out == "from second, wanted by second\n", "\(ended.finished.errorText)")
        #expect(ended.console.contains("the container is left as it was created, for processes run in it"))
    }

    @Test("while a container is created anew: it can be released, and stopped; one that has no init of ours is not created before")
    func renewed() throws {
        let options = ["--qemu-arg", "-serial", "--qemu-arg", "null"]
        let attach: [String: Any] = ["device": "/dev/ttyS3", "wait": true, "authentication": "none"]
        /// A VM whose container takes seconds to be created from the second time on.
        func boot() throws -> LiveVM {
            let vm = try LiveVM(
                ["sh", "-c", "echo first"], tether: ["id": "slow", "attach": attach], options: options, isChangeable: true, isHeld: true)
            for _ in 0..<600 where (try? vm.shell("true").result.exitCode) != 0 { Thread.sleep(forTimeInterval: 0.1) }
            try #require(vm.shell("true").result.exitCode == 0)
            try vm.reconfigure {
                $0["hooks"] = ["createRuntime": [["path": "/run/rootfs/bin/busybox", "args": ["sleep", "4"]]]]
                var process = $0["process"] as? [String: Any] ?? [:]
                process["args"] = ["sh", "-c", "echo second; sleep 5; exit 6"]
                $0["process"] = process
            }
            try vm.client.reload()
            return vm
        }
        let released = try boot()
        // A client that comes meanwhile need not know.
        let during = try released.exec(
            ["sh", "-c", "stty -a; echo during; exit 5"], ["terminal": true, "terminalModes": [[3, 8]]])
        try released.client.release()
        let exit = try during.finish()
        // With the terminal that it asked for.
        #expect(exit.exitCode == 5 && during.output.hasSuffix("during\r\n") && during.output.contains("erase = ^H"), "\(during.output)")
        let first = try released.finish()
        #expect(first.code == 6 && first.out == "second\n", "\(first.finished.errorText)")

        let stopped = try boot()
        try stopped.client.stop()
        let second = try stopped.finish()
        #expect(second.code == 125 && second.out.isEmpty && second.finished.errorText.contains("stopped"), "\(second.finished.errorText)")

        let alone = try LiveVM(["sh", "-c", "echo $$"], tether: ["init": false, "attach": attach], options: options, isHeld: true)
        // It is refused, be it that it came before it was known that the container would wait.
        let refused = #expect(throws: ControlClientError.self) { _ = try alone.shell("true") }
        #expect("\(refused.map { "\($0)" } ?? "")".contains("the container does not run"))
        try alone.client.release()
        let third = try alone.finish()
        #expect(third.code == 0 && third.out == "1\n", "\(third.finished.errorText)")
    }

    @Test("while a container that is to wait is being made: what is read anew holds, also where a client attaches before it is there")
    func launching() throws {
        let attach: [String: Any] = ["device": "/dev/ttyS3", "wait": true, "authentication": "none"]
        let vm = try LiveVM(
            ["sh", "-c", "echo first"], tether: ["id": "young", "attach": attach],
            options: ["--qemu-arg", "-serial", "--qemu-arg", "null"], isChangeable: true, isHeld: true
        ) { config, _ in
            config["hooks"] = ["createRuntime": [["path": "/run/rootfs/bin/busybox", "args": ["sleep", "20"]]]]
        }
        try vm.reconfigure {
            $0["hooks"] = nil
            var process = $0["process"] as? [String: Any] ?? [:]
            process["args"] = ["sh", "-c", "echo second; exit 7"]
            $0["process"] = process
        }
        try vm.client.reload()
        try vm.client.release()
        let ended = try vm.finish()
        #expect(ended.code == 7 && ended.out == "second\n", "\(ended.finished.errorText)")
        #expect(!ended.console.contains("waiting for a client to attach"), "it was released before it could wait")
    }

    @Test("SIGHUP to PID 1 reads it anew")
    func hangup() throws {
        let vm = try LiveVM(["sleep", "900"], isChangeable: true) { config, process in
            // Without a PID namespace of its own the container sees PID 1.
            config["linux"] = resources(64 << 20).merging(["namespaces": [["type": "mount"], ["type": "cgroup"]]]) { own, _ in own }
            process["capabilities"] = ["bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]]
        }
        try vm.reconfigure { config in
            var linux = config["linux"] as? [String: Any] ?? [:]
            linux["resources"] = ["memory": ["limit": 48 << 20]]
            config["linux"] = linux
        }
        let script = """
            kill -HUP 1; i=0
            while [ $(cat /sys/fs/cgroup/memory.max) != 50331648 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
            cat /sys/fs/cgroup/memory.max
            """
        let result = try vm.shell(script)
        #expect(result.out == "50331648\n", "\(result.err)")
        let ended = try vm.stop()
        #expect(ended.code == 143 && ended.console.contains("configuration read anew"), "\(ended.finished.errorText)")
    }
}
