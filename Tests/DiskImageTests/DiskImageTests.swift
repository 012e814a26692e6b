import DiskImage
import Foundation
import Testing

/// Disks made from one small tree, looked at with the tools that know their formats best.
@Suite struct DiskImageTests {
    static let timestamp: Int64 = 1_735_689_600

    private func image(
        _ scratch: Scratch, from source: String? = nil, _ change: (inout DiskImage) -> Void = { _ in }
    ) throws -> (path: String, summary: DiskImage.Summary) {
        let output = scratch.path + "/\(UUID().uuidString).img"
        var image = DiskImage(source: try source ?? scratch.makeTree(), output: output, timestamp: Self.timestamp)
        image.format = .raw
        change(&image)
        return (output, try image.make())
    }

    @Test(arguments: [Filesystem.ext4, .xfs, .btrfs]) func labelAndUUIDAreWhatBlkidSees(_ filesystem: Filesystem) throws {
        let scratch = try Scratch()
        let (path, summary) = try image(scratch) { $0.filesystem = filesystem }
        #expect(try tag("LABEL", of: path) == "containerfs")
        #expect(try tag("TYPE", of: path) == filesystem.rawValue)
        #expect(try tag("UUID", of: path) == summary.uuid.uuidString.lowercased())
    }

    @Test func contentOwnersAndModesAreOnExt4() throws {
        let scratch = try Scratch()
        let (path, summary) = try image(scratch)
        #expect(try run(["debugfs", "-R", "cat /etc/motd", path]) == "hello\n")
        let script = try run(["debugfs", "-R", "stat /bin/setuid", path])
        #expect(script.contains("Mode:  04755"))
        if getuid() == 0 { #expect(script.contains("User:  1234   Group:  5678")) }
        #expect(try run(["debugfs", "-R", "stat /link", path]).contains("Fast link dest: \"etc/motd\""))
        #expect(try run(["debugfs", "-R", "stat /tmp", path]).contains("Mode:  01777"))
        let root = try run(["debugfs", "-R", "stat /", path])
        #expect(root.contains("Mode:  0750"))
        // One inode under two names.
        let names = try ["/etc/motd", "/etc/same"].map { try run(["debugfs", "-R", "stat \($0)", path]).prefix { $0 != "T" } }
        #expect(names[0] == names[1])
        // 4 directories, 1 root, 6 others.
        #expect(summary.entries == 11)
        _ = try run(["e2fsck", "-fn", path])
    }

    @Test func xfsHasContentModesAndStickyBits() throws {
        let scratch = try Scratch()
        let (path, _) = try image(scratch, from: scratch.makeTree(plainNames: true)) { $0.filesystem = .xfs }
        _ = try run(["xfs_repair", "-n", "-f", path])
        let tmp = try run(["xfs_db", "-c", "path /tmp", "-c", "print core.mode", path])
        #expect(tmp.contains("041777"))
        #expect(try run(["xfs_db", "-c", "path /bin/setuid", "-c", "print core.mode", path]).contains("0104755"))
        #expect(try run(["xfs_db", "-c", "path /etc/motd", "-c", "print core.size", path]).contains("= 6"))
        #expect(try run(["xfs_db", "-c", "path /link", "-c", "print u3.symlink", path]).contains("etc/motd"))
    }

    @Test func xfsRefusesNamesItsPrototypeCannotHold() throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree(plainNames: false)
        let error = #expect(throws: DiskImageError.self) { try image(scratch, from: tree) { $0.filesystem = .xfs } }
        #expect(error?.operation == "mkfs.xfs")
        #expect(error?.object == "./etc/two words")
    }

    @Test(arguments: [Filesystem.ext4, .squashfs, .erofs]) func sameSourceGivesSameBytes(_ filesystem: Filesystem) throws {
        let scratch = try Scratch()
        let tar = scratch.path + "/tree.tar"
        _ = try run(["tar", "-C", try scratch.makeTree(), "-cf", tar, "."])
        let (first, a) = try image(scratch, from: tar) {
            $0.filesystem = filesystem
            $0.label = filesystem.labelLimit > 0 ? "x" : ""
        }
        // Times of day in the file system would differ from the next second on.
        Thread.sleep(forTimeInterval: 1.1)
        let (second, b) = try image(scratch, from: tar) {
            $0.filesystem = filesystem
            $0.label = filesystem.labelLimit > 0 ? "x" : ""
        }
        #expect(a == b)
        #expect(FileManager.default.contentsEqual(atPath: first, andPath: second))
    }

    @Test func contentChangesTheUUID() throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree()
        let before = try image(scratch, from: tree).summary.uuid
        try Data("hullo\n".utf8).write(to: URL(fileURLWithPath: tree + "/etc/motd"))
        #expect(try image(scratch, from: tree).summary.uuid != before)
    }

    @Test(arguments: [("gz", "gzip"), ("xz", "xz"), ("zst", "zstd")])
    func compressedTarFilesAreTaken(_ suffix: String, _ program: String) throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree()
        let plain = scratch.path + "/tree.tar"
        let packed = plain + "." + suffix
        _ = try run(["tar", "-C", tree, "-cf", plain, "."])
        _ = try run(["tar", "-C", tree, "--use-compress-program", program, "-cf", packed, "."])
        #expect(try image(scratch, from: packed).summary == image(scratch, from: plain).summary)
    }

    @Test func partitionCarriesTheLabel() throws {
        let scratch = try Scratch()
        let (path, summary) = try image(scratch) {
            $0.filesystem = .squashfs
            $0.partitioned = true
        }
        let table = try run(["sfdisk", "--dump", path])
        #expect(table.contains("label: gpt"))
        #expect(table.contains("name=\"containerfs\""))
        #expect(table.contains("uuid=\(try #require(summary.partitionUUID).uuidString)"))
        // The partition starts at one mebibyte.
        #expect(try run(["blkid", "-p", "-O", "1048576", "-o", "value", "-s", "TYPE", path]) == "squashfs\n")
    }

    @Test(arguments: [(DiskFormat.vmdk, "monolithicSparse"), (.stream, "streamOptimized")])
    func vmdkHoldsTheSameDisk(_ format: DiskFormat, _ name: String) throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree()
        let (raw, _) = try image(scratch, from: tree)
        let (vmdk, _) = try image(scratch, from: tree) { $0.format = format }
        #expect(try run(["qemu-img", "info", vmdk]).contains("create type: \(name)"))
        #expect(try run(["qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, vmdk]).contains("identical"))
    }

    @Test func sizeIsAsAsked() throws {
        let scratch = try Scratch()
        let (path, summary) = try image(scratch) { $0.size = 100 << 20 }
        #expect(summary.diskSize == 100 << 20)
        #expect(try run(["dumpe2fs", "-h", path]).contains("Block count:              25600"))
    }

    /// mke2fs by itself makes one inode for 16 KiB: 1024 here.
    @Test func thereAreInodesForManySmallFiles() throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree()
        for index in 0..<1500 { #expect(FileManager.default.createFile(atPath: "\(tree)/var/\(index)", contents: Data([1]))) }
        let (path, _) = try image(scratch, from: tree) { $0.size = 16 << 20 }
        #expect(try run(["debugfs", "-R", "cat /var/1499", path]) == "\u{1}")
    }

    @Test func tooSmallADiskIsAnErrorThatQuotesTheTool() throws {
        let scratch = try Scratch()
        let tree = try scratch.makeTree()
        let content = Data((0..<(4 << 20)).map { UInt8(truncatingIfNeeded: ($0 &* 7) >> 3) })
        #expect(FileManager.default.createFile(atPath: tree + "/big", contents: content))
        let error = #expect(throws: DiskImageError.self) { try image(scratch, from: tree) { $0.size = 3 << 20 } }
        #expect(error?.operation == "mke2fs")
        #expect(error?.cause.contains("populating file system") == true)
        // Neither a half-made disk nor the work directory stays.
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).allSatisfy { $0.hasPrefix("tree") })
    }

    @Test func missingSourceAndDamagedTarAreErrors() throws {
        let scratch = try Scratch()
        #expect(throws: DiskImageError("open", "/nonexistent", "there is no such directory or tar file")) {
            try image(scratch, from: "/nonexistent")
        }
        let junk = scratch.path + "/tree.tar"
        try Data("this is no tar file".utf8).write(to: URL(fileURLWithPath: junk))
        let error = #expect(throws: DiskImageError.self) { try image(scratch, from: junk) }
        #expect(error?.operation == "tar")
        #expect(error?.object == junk)
    }

    @Test(arguments: [
        (Filesystem.ext4, "seventeen-letters"), (.xfs, "thirteen-long"), (.squashfs, "x"), (.erofs, "x"), (.ext4, "a\"b"), (.ext4, "a\nb"),
    ])
    func labelsThatDoNotFitAreRefused(_ filesystem: Filesystem, _ label: String) throws {
        let scratch = try Scratch()
        let error = #expect(throws: DiskImageError.self) {
            try image(scratch) {
                $0.filesystem = filesystem
                $0.label = label
            }
        }
        #expect(error?.operation == "label")
        #expect(error?.object == label)
    }

    private func tag(_ name: String, of path: String) throws -> String {
        try run(["blkid", "-p", "-o", "value", "-s", name, path]).trimmingCharacters(in: .newlines)
    }
}
