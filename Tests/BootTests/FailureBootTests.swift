import Foundation
import SessionLog
import SessionReplay
import Testing

/// Boots that fail: each says why in the session log, in guestinfo and on the console, and the VM goes off.
@Suite("Boot: failures", .serialized) struct FailureBootTests {
    @Test(
        "commands that cannot be executed",
        arguments: [
            (["nowhere"], 127, "not found in PATH"), (["/bin/nowhere"], 127, "No such file or directory"),
            (["/etc/plain"], 126, "Permission denied"), (["/etc"], 126, "Permission denied"),
            (["/etc/no-interpreter"], 127, "its interpreter or dynamic loader does not exist"),
            (["/etc/garbage"], 126, "Exec format error"),
        ] as [([String], Int32, String)])
    func command(_ args: [String], _ code: Int32, _ cause: String) throws {
        let vm = try VM.boot(image: try Images.odd(), config: configuration(args))
        vm.expectFailure(code, phase: "launching", says: ["exec", args[0], cause])
    }

    @Test("configurations that are refused")
    func configurations() throws {
        let unknown = configuration(["true"]) { _, process in process["capabilities"] = ["bounding": ["CAP_FLY"]] }
        try VM.boot(config: unknown).expectFailure(125, phase: "config", says: ["process.capabilities", "CAP_FLY"])

        try VM.boot(rawConfig: Data("{\"ociVersion\": \"1.2.0\",,}".utf8)).expectFailure(
            125, phase: "config", says: ["guestinfo.tether.config", "line 1"])

        let user = configuration(["true"]) { _, process in process["user"] = ["uid": -1, "gid": 0] }
        try VM.boot(config: user).expectFailure(125, phase: "config", says: ["process.user.uid"])

        try VM.boot(rawConfig: Data("---".utf8)).expectFailure(125, phase: "config", says: ["the host has no configuration"])
    }

    @Test("a mount that fails names its target")
    func mount() throws {
        let config = configuration(["true"]) { config, _ in
            config["mounts"] = [["destination": "/data", "type": "nosuchfs", "source": "none"]]
        }
        try VM.boot(config: config).expectFailure(125, phase: "launching", says: ["mount", "nosuchfs on /data", "No such device"])
    }

    @Test("a symbolic link in the image does not lead a mount out of it")
    func symlink() throws {
        let config = configuration(["sh", "-c", "grep escape /proc/mounts; [ -d /run/tether ] || echo inside"]) { config, _ in
            config["mounts"] = [["destination": "/out/escape", "type": "tmpfs", "source": "tmpfs"]]
        }
        // In the image /out leads to /run: without care that would be PID 1's own /run.
        let vm = try VM.boot(image: try Images.odd(), config: config)
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out.hasPrefix("tmpfs /run/escape tmpfs"))
        #expect(vm.out.hasSuffix("inside\n"))
    }

    @Test("disks that are absent, unlabelled, damaged or ambiguous")
    func disks() throws {
        let soon = configuration(["true"]) { config, _ in
            config["tether"] = ["rootfs": ["device": "LABEL=elsewhere", "timeoutSeconds": 2]]
        }
        try VM.boot(config: soon).expectFailure(125, phase: "devices", says: ["LABEL=elsewhere", "/dev/sda", "ext4", "containerfs"])

        let scratch = try Scratch()
        let twin = scratch.file("twin.raw")
        try make(["mke2fs", "-q", "-t", "ext4", "-L", "containerfs", twin, "8M"])
        try VM.boot(options: ["--extra-disk", twin], command: ["true"]).expectFailure(
            125, phase: "devices", says: ["LABEL=containerfs", "/dev/sda", "/dev/sdb"])

        let blank = scratch.file("blank.raw")
        try make(["truncate", "-s", "8M", blank])
        let unlabelled = configuration(["true"]) { config, _ in config["tether"] = ["rootfs": ["timeoutSeconds": 2]] }
        try VM.boot(image: blank, config: unlabelled).expectFailure(125, phase: "devices", says: ["LABEL=containerfs", "/dev/sda"])

        // The superblock is whole, so the disk is found; the group descriptors behind it are not.
        let damaged = scratch.file("damaged.raw")
        try make(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-L", "containerfs", damaged, "16M"])
        try make(["dd", "if=/dev/urandom", "of=\(damaged)", "bs=4096", "seek=1", "count=1", "conv=notrunc", "status=none"])
        try VM.boot(image: damaged, command: ["true"]).expectFailure(125, phase: "rootfs", says: ["mount", "/dev/sda", "ext4"])
    }

    @Test("a crash of PID 1 ends the container and the VM, and is told")
    func crash() throws {
        let scratch = try Scratch()
        let image = scratch.file("image.raw")
        try make(["mke2fs", "-q", "-t", "ext4", "-L", "containerfs", "-d", try Build.path("busybox-root"), image, "32M"])
        // Without a PID namespace of its own, root in the container sees the VM's PID 1 and may signal it. What the container
        // does of its stop signal shows on the disk alone: its output ended with the old program.
        let script = "trap 'sleep 2; echo told > /told; exit' USR1; echo alive; sleep 1; kill -SEGV 1; while :; do sleep 0.1; done"
        let config = configuration(["sh", "-c", script]) { config, process in
            config["linux"] = ["namespaces": [["type": "mount"]]]
            config["tether"] = ["stop": ["signal": "SIGUSR1", "timeoutSeconds": 60]]
        }
        let vm = try VM.boot(image: image, config: config, options: ["--persistent"])
        #expect(vm.out.hasPrefix("alive\n"))
        vm.expectFailure(125, phase: "running", says: ["SIGSEGV"])
        #expect(vm.exit?.drain == .crash)
        #expect(vm.exit?.stdout == nil)
        #expect(!vm.console.contains("Kernel panic"))
        #expect(vm.console.contains("SIGUSR1, SIGKILL after 60 s"))
        #expect(try run(["debugfs", "-R", "cat /told", image]).text == "told\n")
    }

    @Test(
        "a VM that was started again says which run was cut off, and believes no garbage",
        arguments: [
            (#"{"phase":"running","id":"c"}"#, "running"), (#"{"phase":"failed"}"#, nil), ("phase running", nil),
            (#"{"phase":["running"]}"#, nil), (#"{"phase":"running","x":""# + String(repeating: "x", count: 100_000) + #""}"#, nil),
        ] as [(String, String?)])
    func interruptedRun(_ status: String, _ phase: String?) throws {
        let vm = try VM.boot(options: ["--guestinfo", "guestinfo.tether.status=" + status], command: ["echo", "again"])
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out == "again\n")
        var decoder = CRIDecoder()
        var boots: [SessionEvent] = []
        decoder.decode(vm.sessionLog) { item in
            if case .record(let record) = item, let event = SessionEvent(json: record.bytes), case .boot = event { boots.append(event) }
        }
        guard case .boot(_, _, let interrupted)? = boots.first else { throw CocoaError(.coderValueNotFound) }
        #expect(interrupted?.rawValue == phase)
        #expect(vm.console.contains("started again while it was in phase") == (phase != nil))
        #expect(vm.status["phase"] as? String == "exited")
    }

    private func make(_ arguments: [String]) throws {
        let finished = try run(arguments)
        try #require(finished.status == 0, "\(arguments): \(finished.errorText)")
    }
}
