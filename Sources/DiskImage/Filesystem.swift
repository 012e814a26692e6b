import Foundation

/// The file systems an image disk can have.
public enum Filesystem: String, Sendable, CaseIterable {
    case ext4, xfs, btrfs, squashfs, erofs

    /// The longest label it holds, in bytes; 0 where it holds none (squashfs has no field for it, and Debian 12's
    /// mkfs.erofs no option).
    public var labelLimit: Int {
        switch self {
        case .ext4: 16
        case .xfs: 12
        case .btrfs: 255
        case .squashfs, .erofs: 0
        }
    }

    /// Whether it is packed once and never written to: then it is as large as its content, and has no free space.
    public var isReadOnly: Bool { self == .squashfs || self == .erofs }

    /// The smallest that its mkfs makes or that is of use, in bytes.
    var minimumSize: Int64 {
        switch self {
        case .ext4: 16 << 20
        case .xfs: 300 << 20
        case .btrfs: 256 << 20
        case .squashfs, .erofs: 0
        }
    }
}

/// One file system to be made.
struct FilesystemPlan {
    let filesystem: Filesystem
    let tree: SourceTree
    /// The file that gets the file system.
    let file: String
    let label: String
    let uuid: UUID
    /// Bytes; 0 for read-only file systems, which are as large as they get.
    let size: Int64
    /// Seconds since 1970 that are written wherever "now" would be.
    let timestamp: Int64

    /// The size of `filesystem` for `tree` with room to write: a quarter more than the content and 64 MiB. Free space
    /// costs nothing in a VMDK.
    static func automaticSize(_ filesystem: Filesystem, _ tree: SourceTree) -> Int64 {
        if filesystem.isReadOnly { return 0 }
        let needed = tree.contentSize + tree.contentSize / 4 + Int64(tree.entries.count) * 1024 + (64 << 20)
        return (max(needed, filesystem.minimumSize) + 0xFFFFF) / 0x100000 * 0x100000
    }

    /// Makes the file system in ``file``.
    func make(tool: Tool) throws(DiskImageError) {
        var tool = tool
        let id = uuid.uuidString.lowercased()
        if !filesystem.isReadOnly { try createSparse(file, size: size) }
        switch filesystem {
        case .ext4:
            tool.environment["E2FSPROGS_FAKE_TIME"] = "\(timestamp)"
            let inodes = max(Int64(tree.entries.count) * 5 / 4 + 1024, size / 16384)
            // Everything is written now: the guest's kernel shall not spend its first minutes initialising inode tables.
            try tool.run(
                [
                    "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-N", "\(inodes)", "-L", label, "-U", id,
                    "-E", "hash_seed=\(id),root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", "-d", tree.directory, file,
                ], object: tree.directory)
            try Ext4Times.set(in: file, to: timestamp, root: tree.entries.first, tool: tool)
        case .xfs:
            let prototype = try XFSPrototype(tree)
            let path = file + ".proto"
            try writeFile(path, prototype.text)
            defer { unlink(path) }
            // In the tree, for the prototype names files relative to it.
            try tool.run(
                ["mkfs.xfs", "-q", "-m", "uuid=\(id)", "-L", label, "-p", absolute(path), absolute(file)],
                object: tree.directory, directory: tree.directory)
            try prototype.setStickyBits(in: file, tool: tool)
        case .btrfs:
            try tool.run(["mkfs.btrfs", "-q", "-f", "-L", label, "-U", id, "--rootdir", tree.directory, file], object: tree.directory)
        case .squashfs:
            // SOURCE_DATE_EPOCH stands for "now" only: -all-time would overwrite the files' own times too.
            tool.environment["SOURCE_DATE_EPOCH"] = "\(timestamp)"
            try tool.run(
                ["mksquashfs", tree.directory, file, "-noappend", "-no-progress", "-quiet", "-no-exports"], object: tree.directory)
        case .erofs:
            try tool.run(
                ["mkfs.erofs", "--quiet", "-zlz4hc", "-U", id, "-T", "\(timestamp)", "--preserve-mtime", file, tree.directory],
                object: tree.directory)
        }
    }
}

/// The absolute form of `path`, for a program that starts in another directory.
func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
}

/// Makes or empties `path` and gives it `size` bytes of hole.
func createSparse(_ path: String, size: Int64) throws(DiskImageError) {
    let file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    if file < 0 { throw DiskImageError("create", path, String(cString: strerror(errno))) }
    defer { close(file) }
    if ftruncate(file, Int(size)) != 0 { throw DiskImageError("truncate", path, "to \(size) bytes: \(String(cString: strerror(errno)))") }
}

func writeFile(_ path: String, _ bytes: [UInt8]) throws(DiskImageError) {
    do { try Data(bytes).write(to: URL(fileURLWithPath: path)) } catch {
        throw DiskImageError("write", path, error.localizedDescription)
    }
}
