import CLinux
import Foundation
import KernelModules
import Linux
import Testing

@testable import Storage

/// Disks that are found and mounted for real, through loop devices. These tests need root.
@Suite("Disks and mounts", .serialized) struct MountTests {
    private let scratch: Scratch
    private let modules: ModuleLoader

    init() throws {
        guard getuid() == 0 else { throw PreparationError(description: "these tests mount disks: run them as root") }
        scratch = try Scratch()
        // The kernel of the machine that runs the tests has what it needs, or loads it itself.
        modules = try ModuleLoader(directory: scratch.path + "/modules", kernelArguments: "")
    }

    /// A label that no other disk of the machine has; ext4 allows 16 bytes, xfs 12.
    private func uniqueLabel() -> String { "t" + String(UInt64.random(in: 0...0xFFFF_FFFF_FF), radix: 16) }

    private func request(_ device: DiskSpecifier, _ change: (inout RootfsRequest) -> Void = { _ in }) -> RootfsRequest {
        var request = RootfsRequest(device: device, target: scratch.path + "/mnt")
        request.deviceTimeout = 10_000
        change(&request)
        return request
    }

    private func mount(_ request: RootfsRequest, interrupt: Interrupt? = nil, _ report: (StorageNote) -> Void = { _ in }) throws
        -> MountedRootfs
    {
        let uevents = try UeventSocket()
        return try Storage.mountRootfs(request, modules: modules, uevents: uevents, interrupt: interrupt, report: report)
    }

    /// Other tests beside these make mount namespaces, with copies of all mounts that are there at that moment: a disk is free when
    /// they, too, are gone.
    private func unmount() -> [UnmountFailure] { Storage.unmountAll(below: scratch.path + "/mnt", milliseconds: 120_000) }

    private func mounts() throws -> [MountInfo] {
        MountInfo.parse(try Files.read("/proc/self/mountinfo", limit: 4 << 20)).filter { $0.pointText.hasPrefix(scratch.path) }
    }

    @Test(arguments: ["ext4", "xfs", "btrfs", "squashfs", "erofs"])
    func everyTypeIsMounted(_ type: String) throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image(type, label: label))
        // Neither squashfs nor the erofs of Debian 12's mkfs has labels.
        let hasLabel = type != "squashfs" && type != "erofs"
        let mounted = try mount(request(hasLabel ? .label(label) : .path(disk.path)))
        #expect(mounted.device == disk.path)
        #expect(mounted.type == type)
        #expect(mounted.label == (hasLabel ? label : nil))
        #expect(try mounts().map(\.type) == [type])
        if !hasLabel { #expect(try Files.readText(scratch.path + "/mnt/hello") == "hello") }
        #expect(unmount() == [])
        #expect(try mounts() == [])
    }

    @Test func aDiskIsFoundByItsUUIDAndTheOptionsHold() throws {
        let file = try scratch.image("ext4", label: uniqueLabel())
        let disk = try LoopDevice(file)
        let uuid = try run("blkid", "-p", "-o", "value", "-s", "UUID", file)
        let mounted = try mount(
            request(.uuid(uuid.uppercased())) {
                $0.options = ["noatime", "nosuid,data=writeback"]; $0.readOnly = true
            })
        #expect(mounted.readOnly)
        #expect(mounted.device == disk.path)
        let info = try #require(try mounts().first)
        #expect(info.options == "ro,nosuid,nodev,noatime")
        #expect(unmount() == [])
    }

    @Test func theOptionDevAllowsDeviceNodes() throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image("ext4", label: label))
        let mounted = try mount(request(.label(label)) { $0.options = ["dev"] })
        #expect(mounted.device == disk.path)
        #expect(try mounts().first?.options.contains("nodev") == false)
        #expect(unmount() == [])
    }

    @Test func aDeviceThatAllowsReadingOnlyIsMountedSo() throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image("ext4", label: label), readOnly: true)
        var notes: [StorageNote] = []
        let mounted = try mount(request(.label(label))) { notes.append($0) }
        #expect(mounted.readOnly)
        #expect(mounted.device == disk.path)
        #expect(notes.contains { $0.severity == .warning && $0.text.contains("read-only") })
        #expect(unmount() == [])
    }

    @Test func aPartitionIsFoundByItsEntryAndItsLabel() throws {
        let file = try scratch.file("gpt", megabytes: 32)
        let name = uniqueLabel()
        try partition(file, "size=11MiB, name=\(name)", "size=18MiB, name=other")
        let disk = try LoopDevice(file, partitions: true)
        // A kernel that does not read partition tables itself is told of the partitions; another one has them already.
        try run("partx", "--update", disk.path)
        let label = uniqueLabel()
        try run("mkfs.ext4", "-q", "-F", "-L", label, disk.path + "p1")
        for specifier in [DiskSpecifier.partLabel(name), .label(label)] {
            let mounted = try mount(request(specifier))
            #expect(mounted.device == disk.path + "p1")
            #expect(unmount() == [])
        }
        let content = DiskProbe.content(of: disk.path + "p1", number: nil)
        let uuid = try #require(content.partition?.uuid)
        #expect(try mount(request(.partUUID(uuid))).device == disk.path + "p1")
        #expect(unmount() == [])
        // The whole disk is a table, not a filesystem.
        let error = #expect(throws: StorageError.self) { try mount(request(.path(disk.path))) }
        #expect(error?.kind == .mountFailed)
        #expect(error?.cause.contains("partition table gpt") == true)
    }

    @Test func aDiskThatComesLateIsWaitedFor() async throws {
        let label = uniqueLabel()
        let file = try scratch.image("ext4", label: label)
        let holder = LateDisk()
        let thread = Thread { [holder] in
            usleep(700_000)
            holder.attach(file)
        }
        let start = Clock.monotonic()
        thread.start()
        let mounted = try mount(request(.label(label)))
        let milliseconds = (Clock.monotonic() - start) / 1_000_000
        #expect(mounted.label == label)
        // It is the uevent that ends the wait, not the deadline of 10 s.
        #expect(milliseconds >= 700 && milliseconds < 8_000)
        #expect(unmount() == [])
        holder.detach()
    }

    @Test func anAbsentDiskGivesTheListOfThoseSeen() throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image("ext4", label: label))
        let empty = try LoopDevice(try scratch.file("zeros", megabytes: 4))
        let start = Clock.monotonic()
        let error = #expect(throws: StorageError.self) { try mount(request(.label("no-such-label")) { $0.deviceTimeout = 300 }) }
        #expect(Clock.monotonic() - start < 8_000_000_000)
        #expect(error?.kind == .notFound)
        #expect(error?.object == "LABEL=no-such-label")
        #expect(error?.cause.hasPrefix("no such disk within 300 ms; seen: ") == true)
        #expect(error?.cause.contains("\(disk.path) (16 MiB): ext4, label \(label), UUID ") == true)
        #expect(error?.cause.contains("\(empty.path) (4 MiB): no known filesystem") == true)
    }

    @Test func equalLabelsAreRefusedNamingBoth() throws {
        let label = uniqueLabel()
        let first = try LoopDevice(try scratch.image("ext4", label: label))
        let copy = scratch.path + "/copy.img"
        try FileManager.default.copyItem(atPath: scratch.path + "/" + label + ".img", toPath: copy)
        let second = try LoopDevice(copy)
        let error = #expect(throws: StorageError.self) { try mount(request(.label(label))) }
        #expect(error?.kind == .ambiguous)
        #expect(error?.cause.hasPrefix("2 disks match: ") == true)
        #expect(error?.cause.contains(first.path) == true && error?.cause.contains(second.path) == true)
        #expect(try mounts() == [])
    }

    @Test func aDamagedDiskGivesTheKernelsOwnWords() throws {
        let label = uniqueLabel()
        let file = try scratch.image("ext4", label: label)
        // The group descriptors (at 2048 or 4096, by block size): the superblock is whole, so the disk is found; the kernel then refuses it.
        try scratch.overwrite(file, at: 1024 * 2, with: [UInt8](repeating: 0xFF, count: 4096))
        try scratch.overwrite(file, at: 4096, with: [UInt8](repeating: 0xFF, count: 4096))
        let disk = try LoopDevice(file)
        let error = #expect(throws: StorageError.self) { try mount(request(.label(label))) }
        #expect(error?.kind == .mountFailed)
        #expect(error?.operation == "mount")
        #expect(error?.object == "\(disk.path) (ext4, label \(label)) on \(scratch.path)/mnt")
        #expect(error?.cause.hasPrefix("Structure needs cleaning (kernel: ") == true, "\(error?.cause ?? "")")
        #expect(error?.cause.contains("EXT4-fs (\(disk.name))") == true)
        #expect(try mounts() == [])
    }

    @Test func aSuperblockWithABadChecksumGivesTheKernelsOwnWords() throws {
        let label = uniqueLabel()
        let file = try scratch.image("ext4", label: label)
        // s_uuid lies at 0x68; the checksum covers it.
        try scratch.overwrite(file, at: 1024 + 0x68, with: [0xAA, 0xBB])
        let disk = try LoopDevice(file)
        let error = #expect(throws: StorageError.self) { try mount(request(.label(label))) }
        #expect(error?.kind == .mountFailed)
        #expect(error?.object == "\(disk.path) (ext4, label \(label)) on \(scratch.path)/mnt")
        #expect(error?.cause.contains("(kernel: EXT4-fs (\(disk.name)): ") == true, "\(error?.cause ?? "")")
    }

    @Test func aDiskThatWasCutShortGivesTheKernelsOwnWords() throws {
        let label = uniqueLabel()
        let file = try scratch.image("ext4", label: label, megabytes: 64)
        try attempt("truncate", file) { truncate(file, 8 << 20) }
        let disk = try LoopDevice(file)
        let error = #expect(throws: StorageError.self) { try mount(request(.label(label))) }
        #expect(error?.kind == .mountFailed)
        #expect(error?.cause.contains("(kernel: EXT4-fs (\(disk.name))") == true, "\(error?.cause ?? "")")
    }

    @Test func anUnformattedDiskSaysSo() throws {
        let disk = try LoopDevice(try scratch.file("zeros", megabytes: 4))
        let error = #expect(throws: StorageError.self) { try mount(request(.path(disk.path))) }
        #expect(error?.description == "mount \(disk.path): it holds no filesystem that can be told: no known filesystem")
        let asked = #expect(throws: StorageError.self) { try mount(request(.path(disk.path)) { $0.type = "ext4" }) }
        #expect(asked?.cause.hasPrefix("Invalid argument (kernel: EXT4-fs (\(disk.name)): ") == true, "\(asked?.cause ?? "")")
        let unknown = #expect(throws: StorageError.self) { try mount(request(.path(disk.path)) { $0.type = "tetherfs" }) }
        #expect(unknown?.cause == "No such device")
    }

    @Test func anInterruptEndsTheWaitForADisk() throws {
        let (read, write) = try Linux.Pipe().take()
        defer {
            close(read)
            close(write)
        }
        #expect(CLinux.write(write, "x", 1) == 1)
        let start = Clock.monotonic()
        let error = #expect(throws: StorageError.self) {
            try mount(request(.label("no-such-label")) { $0.deviceTimeout = 60_000 }, interrupt: Interrupt(descriptor: read))
        }
        #expect(error?.kind == .interrupted)
        #expect(Clock.monotonic() - start < 50_000_000_000)
    }

    @Test func everythingBelowAPointIsUnmountedInnermostFirst() throws {
        let label = uniqueLabel()
        let file = try scratch.image("ext4", label: label)
        let disk = try LoopDevice(file)
        let root = try mount(request(.label(label))).target
        for folder in ["/a b", "/lower", "/upper", "/work"] { try Files.makeDirectories(root + folder) }
        try run("mount", "-t", "tmpfs", "tmpfs", root + "/a b")
        try Files.makeDirectories(root + "/a b/inner")
        try run("mount", "-t", "tmpfs", "tmpfs", root + "/a b/inner")
        try run("mount", "-t", "tmpfs", "tmpfs", root + "/a b")
        try run("mount", "--bind", root + "/lower", root + "/upper")
        #expect(try mounts().count == 5)
        #expect(unmount() == [])
        #expect(try mounts() == [])
        // A clean superblock: nothing of the journal is left to replay.
        let features = try run("dumpe2fs", "-h", disk.path)
        #expect(features.contains("Filesystem state:         clean"))
        #expect(!features.contains("needs_recovery"))
    }

    @Test func aBusyMountIsDetachedAndTheUserNamed() throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image("ext4", label: label))
        let root = try mount(request(.label(label))).target
        #expect(disk.path.hasPrefix("/dev/loop"))
        let user = Process()
        user.executableURL = URL(fileURLWithPath: "/bin/sleep")
        user.arguments = ["100"]
        user.currentDirectoryURL = URL(fileURLWithPath: root)
        try user.run()
        defer {
            kill(user.processIdentifier, SIGKILL)
            user.waitUntilExit()
        }
        let failures = unmount()
        #expect(failures.count == 1)
        let cause = try #require(failures.first?.cause)
        #expect(cause.hasPrefix("Device or resource busy; used by "))
        #expect(cause.contains("\(user.processIdentifier) ("))
        #expect(cause.hasSuffix("; made read-only and detached"))
        #expect(try mounts() == [])
    }

    @Test func aDiskThatAnotherNamespaceHoldsIsReported() throws {
        let label = uniqueLabel()
        let disk = try LoopDevice(try scratch.image("ext4", label: label))
        let root = try mount(request(.label(label))).target
        let other = Process()
        other.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // A pipe says when the copy of the mounts exists.
        let ready = Foundation.Pipe()
        other.standardOutput = ready
        other.arguments = ["unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 100 >/dev/null"]
        try other.run()
        #expect(ready.fileHandleForReading.availableData.count > 0)
        #expect(try mounts().map(\.pointText) == [root])
        let failures = Storage.unmountAll(below: root, milliseconds: 1000)
        #expect(failures.map(\.point) == [disk.path])
        #expect(failures.first?.cause.contains("another mount namespace") == true)
        kill(other.processIdentifier, SIGKILL)
        other.waitUntilExit()
    }
}

/// A disk that another thread attaches; it is detached after the test has seen it mounted.
private final class LateDisk: @unchecked Sendable {
    // Written by the thread, read after the mount that waits for it.
    private let lock = NSLock()
    private var device: LoopDevice?

    func attach(_ file: String) { lock.withLock { device = try? LoopDevice(file) } }
    func detach() { lock.withLock { device = nil } }
}
