import Foundation
import SessionLog
import Testing

/// Disks in booted VMs: file systems, partitions, read-only roots, clean unmounts, firmware.
@Suite("Boot: disks", .serialized) struct DiskBootTests {
    @Test("file systems", arguments: ["xfs", "btrfs", "squashfs", "erofs"])
    func filesystem(_ type: String) throws {
        let scratch = try Scratch()
        let image = scratch.file("image.vmdk")
        // squashfs and erofs (as Debian 12 makes them) hold no label, so the disk is named by its path.
        let hasLabel = type == "xfs" || type == "btrfs"
        let label = ["--label", hasLabel ? "containerfs" : ""]
        try tetherctl(["image", "--from", try Build.path("busybox-root"), "--filesystem", type, "--output", image] + label)
        let config = configuration(["sh", "-c", "grep ' / ' /proc/mounts; touch /tmp/x || echo read-only"]) { config, _ in
            if !hasLabel { config["tether"] = ["rootfs": ["device": "/dev/sda"]] }
        }
        let vm = try VM.boot(image: image, config: config)
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out.contains("/dev/sda / \(type) "))
        #expect(vm.out.contains("read-only") == !hasLabel)
    }

    @Test("a partition by its label, UUID and path")
    func partition() throws {
        let scratch = try Scratch()
        let image = scratch.file("image.vmdk")
        try tetherctl(["image", "--from", try Build.path("busybox-root"), "--label", "inner", "--partition", "gpt", "--output", image])
        let config = configuration(["sh", "-c", "grep ' / ' /proc/mounts"]) { config, _ in
            config["tether"] = ["rootfs": ["device": "PARTLABEL=inner"]]
        }
        let vm = try VM.boot(image: image, config: config)
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out.contains("/dev/sda1 / ext4 "))
    }

    @Test("an NVMe disk")
    func nvme() throws {
        let vm = try VM.boot(options: ["--disk-controller", "nvme"], command: ["sh", "-c", "grep ' / ' /proc/mounts"])
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out.contains("/dev/nvme0n1 / ext4 "))
    }

    @Test("a read-only root is made with its mounts, and cannot be written")
    func readOnlyRoot() throws {
        let config = configuration(["sh", "-c", "touch /x; echo $?; touch /new/volume/x && echo volume; touch /dev/shm/x && echo shm"]) {
            config, _ in
            config["root"] = ["path": "rootfs", "readonly": true]
            config["mounts"] = [["destination": "/new/volume", "type": "tmpfs", "source": "tmpfs"]]
        }
        let vm = try VM.boot(config: config)
        #expect(vm.out == "1\nvolume\nshm\n")
        #expect(vm.err.contains("Read-only file system"))
    }

    @Test(
        "a device node in the image leads nowhere unless the configuration allows it twice: the node and the device",
        arguments: [(false, false), (true, false), (false, true), (true, true)])
    func deviceNodes(_ nodes: Bool, _ device: Bool) throws {
        let allowed = nodes && device
        let script = "mknod /disk b 8 0 && head -c 1 /disk >/dev/null && echo open; head -c 1 /bound/disk >/dev/null && echo bound"
        let config = configuration(["sh", "-c", script]) { config, process in
            let capabilities = ["CAP_MKNOD"]
            process["capabilities"] = ["bounding": capabilities, "effective": capabilities, "permitted": capabilities]
            // Neither does a further mount of the same file system lift it.
            config["mounts"] = [["destination": "/bound", "source": "/run/rootfs", "options": ["bind", "nosuid"]]]
            if nodes { config["tether"] = ["rootfs": ["options": ["dev"]]] }
            if device {
                config["linux"] = ["resources": ["devices": [["allow": true, "type": "b", "major": 8, "minor": 0, "access": "rm"]]]]
            }
        }
        let vm = try VM.boot(config: config)
        #expect(vm.exit?.exitCode == (allowed ? 0 : 1), "\(vm.finished.errorText)")
        #expect(vm.out == (allowed ? "open\nbound\n" : ""), "\(vm.err)")
        // The mount says EACCES, the control group's program EPERM.
        #expect(vm.err.contains(nodes ? "Operation not permitted" : "Permission denied") == !allowed, "\(vm.err)")
    }

    @Test("the file system is unmounted cleanly")
    func cleanUnmount() throws {
        let scratch = try Scratch()
        let image = scratch.file("image.raw")
        try require(run(["mke2fs", "-q", "-t", "ext4", "-L", "containerfs", "-d", try Build.path("busybox-root"), image, "32M"]))
        let vm = try VM.boot(image: image, options: ["--persistent"], command: ["sh", "-c", "echo kept > /kept; (sleep 600 &)"])
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        let superblock = try require(run(["dumpe2fs", "-h", image])).text
        #expect(superblock.contains("Filesystem state:         clean"))
        #expect(!superblock.contains("needs_recovery"))
        #expect(try run(["e2fsck", "-f", "-n", image]).status == 0)
        #expect(try run(["debugfs", "-R", "cat /kept", image]).text == "kept\n")
    }

    @Test("vmware-rpctool in the container reads and writes the same store")
    func rpctool() throws {
        let scratch = try Scratch()
        let root = scratch.file("root")
        try require(run(["cp", "-a", try Build.path("busybox-root"), root]))
        let tool = "/usr/bin/vmware-rpctool"
        for library in try Images.libraries(of: tool) + [tool] {
            try require(run(["install", "-D", library, root + library]))
        }
        let image = scratch.file("image.vmdk")
        try tetherctl(["image", "--from", root, "--label", "containerfs", "--output", image])
        let script = """
            vmware-rpctool 'info-get guestinfo.tether.status'; vmware-rpctool 'info-get guestinfo.greeting'
            vmware-rpctool 'info-set guestinfo.answer from the container'; vmware-rpctool 'info-get guestinfo.answer'
            vmware-rpctool 'info-get guestinfo.missing' || echo rc=$?
            """
        let vm = try VM.boot(image: image, options: ["--guestinfo", "guestinfo.greeting=hello"], command: ["sh", "-c", script])
        let lines = vm.out.split(separator: "\n").map(String.init)
        #expect(lines.first?.contains("\"phase\":\"running\"") == true, "\(vm.out)\(vm.err)")
        #expect(lines.dropFirst().first == "hello")
        #expect(lines.contains("from the container"))
        #expect(lines.last == "rc=1")
        #expect(vm.err.contains("No value found"))
    }

    @Test("the ISO boots under UEFI")
    func uefi() throws {
        let config = configuration(["sh", "-c", "[ -d /sys/firmware/efi ] && echo uefi"]) { config, _ in
            config["linux"] = ["maskedPaths": [String]()]
        }
        let vm = try VM.boot(config: config, options: ["--firmware", "uefi"])
        #expect(vm.out == "uefi\n", "\(vm.err)")
        #expect(vm.code == 0)
    }

    private func tetherctl(_ arguments: [String]) throws { try require(run([try Build.path("tetherctl")] + arguments)) }

    @discardableResult
    private func require(_ finished: Finished) throws -> Finished {
        try #require(finished.status == 0, "\(finished.errorText)")
        return finished
    }
}
