import CNettle
import Foundation

/// How the disk is written.
public enum DiskFormat: String, Sendable, CaseIterable {
    /// A VMDK that grows (monolithicSparse): for QEMU and VMware's desktop products, and writable.
    case vmdk
    /// A compressed VMDK (streamOptimized): what `govc import.vmdk` uploads to ESXi.
    case stream
    /// The bytes of the disk.
    case raw
}

/// An image disk to be made from a directory or a tar file, without mounting anything.
///
/// As root, owners and device nodes are kept. Anyone else works under fakeroot(1): what belongs to the caller belongs to
/// root on the disk, and the owners in a tar file are kept.
///
/// With the same source, options and timestamp, ext4, squashfs and erofs disks are the same byte for byte, as far as the
/// kernel lists the directories of the source in the same order; mkfs.xfs and mkfs.btrfs write times and identifiers of
/// their own.
public struct DiskImage: Sendable {
    /// A directory, or a tar file, compressed or not.
    public var source: String
    /// The file to make; one that exists is replaced.
    public var output: String
    public var filesystem: Filesystem = .ext4
    /// The file system's label, or with ``partitioned`` also the partition's; may be empty.
    public var label = "containerfs"
    /// The file system's UUID; nil derives one from content, label and kind.
    public var uuid: UUID?
    /// Bytes of the file system; nil chooses by content.
    public var size: Int64?
    public var format: DiskFormat = .vmdk
    /// Whether the file system lies in the one partition of a GPT disk, named like the file system.
    public var partitioned = false
    /// Seconds since 1970 written wherever the time of the run would be (`SOURCE_DATE_EPOCH`).
    public var timestamp: Int64

    public init(source: String, output: String, timestamp: Int64) {
        self.source = source
        self.output = output
        self.timestamp = timestamp
    }

    /// What was made.
    public struct Summary: Equatable, Sendable {
        /// The file system's UUID. squashfs has none.
        public let uuid: UUID
        public let partitionUUID: UUID?
        /// Bytes of the disk as the VM sees it.
        public let diskSize: Int64
        /// Files, directories and links on it.
        public let entries: Int
    }

    /// Makes the disk. ``output`` appears, whole, only when everything has succeeded.
    /// - Throws: ``DiskImageError`` naming the program that failed, what it worked on and what it said.
    public func make() throws(DiskImageError) -> Summary {
        try checkLabel()
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: source, isDirectory: &isDirectory) else {
            throw DiskImageError("open", source, "there is no such directory or tar file")
        }
        // Beside the output: there is the room, and the finished file can be renamed to its place.
        let work = try Self.temporaryDirectory(beside: output)
        defer { Self.remove(work) }

        var tool = Tool()
        if geteuid() != 0 {
            let state = work + "/fakeroot"
            try writeFile(state, [])
            tool.prefix = ["fakeroot", "-i", state, "-s", state, "--"]
        }

        var directory = source
        if !isDirectory.boolValue {
            directory = work + "/tree"
            try Self.makeDirectory(directory)
            try SourceTree.unpack(source, into: directory, timestamp: timestamp, tool: tool)
        }
        let tree = try SourceTree(directory: directory, tool: tool)
        let seed = try tree.digest(tool: tool)
        let id = uuid ?? Self.derivedUUID(seed, "\(filesystem.rawValue) \(label)")

        let plan = FilesystemPlan(
            filesystem: filesystem, tree: tree, file: work + "/filesystem", label: filesystem.labelLimit > 0 ? label : "", uuid: id,
            size: size ?? FilesystemPlan.automaticSize(filesystem, tree), timestamp: timestamp)
        try plan.make(tool: tool)

        var disk = plan.file
        var partitionID: UUID?
        // From here on nothing depends on owners.
        tool.prefix = []
        if partitioned {
            let partition = Self.derivedUUID(seed, "partition \(id.uuidString)")
            partitionID = partition
            disk = work + "/disk"
            try PartitionTable(name: label, diskID: Self.derivedUUID(seed, "disk \(id.uuidString)"), partitionID: partition)
                .wrap(plan.file, into: disk, tool: tool)
        }
        let diskSize = try Self.roundUp(disk, atLeast: partitioned ? 0 : size ?? 0)
        try convert(disk, in: work, tool: tool)
        return Summary(uuid: id, partitionUUID: partitionID, diskSize: diskSize, entries: tree.entries.count)
    }

    // MARK: -

    private func checkLabel() throws(DiskImageError) {
        let bytes = label.utf8.count
        if label.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
            throw DiskImageError("label", label, "it may hold no control character, quote or backslash")
        }
        if filesystem.labelLimit == 0 && !label.isEmpty && !partitioned {
            throw DiskImageError(
                "label", label,
                "\(filesystem.rawValue) cannot hold a label: put it into a partition (--partition gpt, PARTLABEL=\(label)) or give none")
        }
        if filesystem.labelLimit > 0 && bytes > filesystem.labelLimit {
            throw DiskImageError("label", label, "it has \(bytes) bytes, and \(filesystem.rawValue) holds \(filesystem.labelLimit)")
        }
        if partitioned && label.utf16.count > 36 {
            throw DiskImageError("label", label, "the name of a partition has at most 36 characters")
        }
    }

    private func convert(_ disk: String, in work: String, tool: Tool) throws(DiskImageError) {
        var finished = disk
        if format != .raw {
            finished = work + "/vmdk"
            let kind = format == .vmdk ? "monolithicSparse" : "streamOptimized"
            try tool.run(
                ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=\(kind),adapter_type=lsilogic", disk, finished],
                object: output)
        }
        if rename(finished, output) != 0 { throw DiskImageError("rename", output, String(cString: strerror(errno))) }
    }

    /// A version 8 UUID (RFC 9562: the maker's own scheme) from SHA-256 of `seed` and `purpose`.
    static func derivedUUID(_ seed: [UInt8], _ purpose: String) -> UUID {
        var context = sha256_ctx()
        nettle_sha256_init(&context)
        let input = seed + Array(purpose.utf8)
        nettle_sha256_update(&context, input.count, input)
        var b = [UInt8](repeating: 0, count: 16)
        nettle_sha256_digest(&context, b.count, &b)
        b[6] = b[6] & 0x0F | 0x80
        b[8] = b[8] & 0x3F | 0x80
        return UUID(uuid: (b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]))
    }

    /// Lengthens the disk to whole mebibytes, which every format and controller can say.
    private static func roundUp(_ disk: String, atLeast minimum: Int64) throws(DiskImageError) -> Int64 {
        var status = stat()
        if stat(disk, &status) != 0 { throw DiskImageError("stat", disk, String(cString: strerror(errno))) }
        let (sum, overflow) = max(Int64(status.st_size), minimum).addingReportingOverflow(0xFFFFF)
        let size = sum / 0x100000 * 0x100000
        if overflow || truncate(disk, Int(size)) != 0 { throw DiskImageError("truncate", disk, String(cString: strerror(errno))) }
        return size
    }

    private static func temporaryDirectory(beside output: String) throws(DiskImageError) -> String {
        let parent = (output as NSString).deletingLastPathComponent
        var template = Array("\(parent.isEmpty ? "." : parent)/.image-XXXXXX".utf8CString)
        if mkdtemp(&template) == nil { throw DiskImageError("mkdtemp", parent, String(cString: strerror(errno))) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func makeDirectory(_ path: String) throws(DiskImageError) {
        if mkdir(path, 0o755) != 0 { throw DiskImageError("mkdir", path, String(cString: strerror(errno))) }
    }

    /// Removes the work directory, in which an unpacked tree may have directories that only root can change.
    private static func remove(_ directory: String) {
        do throws(DiskImageError) {
            let tool = Tool()
            try tool.run(["chmod", "-R", "u+rwX", directory], object: directory)
            try tool.run(["rm", "-rf", directory], object: directory)
        } catch {
            FileHandle.standardError.write(Data("tetherctl: \(error)\n".utf8))
        }
    }
}
