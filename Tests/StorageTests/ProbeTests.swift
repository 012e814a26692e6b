import Foundation
import Testing

@testable import Storage

/// Probes of real images, each made by the filesystem's own program.
@Suite("Probe") struct ProbeTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test(arguments: ["ext4", "xfs", "btrfs"])
    func aFilesystemIsToldByTypeLabelAndUUID(_ type: String) throws {
        let file = try scratch.image(type, label: "tetherlbl")
        let filesystem = try #require(DiskProbe.content(of: file, number: nil).filesystem)
        #expect(filesystem.type == type)
        #expect(filesystem.label == "tetherlbl")
        #expect(filesystem.usage == "filesystem")
        // The oracle is the program that Debian ships.
        #expect(filesystem.uuid == (try run("blkid", "-p", "-o", "value", "-s", "UUID", file)))
    }

    @Test(arguments: ["squashfs", "erofs"])
    func aReadOnlyFilesystemIsToldByType(_ type: String) throws {
        let file = try scratch.image(type, label: "tether")
        #expect(DiskProbe.content(of: file, number: nil).filesystem?.type == type)
    }

    @Test func aFilesystemWithoutALabelHasNone() throws {
        let file = try scratch.file("none", megabytes: 16)
        try run("mkfs.ext4", "-q", "-F", file)
        let filesystem = try #require(DiskProbe.content(of: file, number: nil).filesystem)
        #expect(filesystem.label == nil)
        #expect(filesystem.uuid != nil)
    }

    @Test func aPartitionTableIsNoFilesystem() throws {
        let file = try scratch.file("gpt", megabytes: 16)
        try partition(file, "size=7MiB, name=root")
        #expect(DiskProbe.content(of: file, number: nil) == .partitionTable("gpt"))
    }

    @Test func zerosAreUnknown() throws {
        #expect(DiskProbe.content(of: try scratch.file("zeros", megabytes: 4), number: nil) == .unknown(partition: nil))
    }

    @Test func twoSignaturesAreAmbivalent() throws {
        let file = try scratch.image("btrfs", label: "two")
        // The magic of swap space where version 1 has it, with a header that libblkid accepts.
        let swap = try scratch.file("swap", megabytes: 8)
        try run("mkswap", "-q", swap)
        let data = try Data(contentsOf: URL(fileURLWithPath: swap))
        try scratch.overwrite(file, at: 1024, with: Array(data[1024..<4096]))
        #expect(DiskProbe.content(of: file, number: nil) == .ambivalent(partition: nil))
    }

    @Test func whatCannotBeOpenedSaysWhy() {
        #expect(DiskProbe.content(of: "/dev/there-is-none", number: nil) == .unreadable("open: No such file or directory"))
        #expect(DiskProbe.content(of: "/dev/null", number: (8, 0)) == .unreadable("the node is not the device 8:0"))
    }
}
