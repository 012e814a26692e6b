/// A disk or a partition, and what libblkid found on it.
public struct BlockDevice: Equatable, Sendable {
    /// The kernel's name: "sda", "nvme0n1p2".
    public let name: String
    /// The node: "/dev/sda".
    public let path: String
    public var isPartition = false
    /// Bytes.
    public var size: UInt64 = 0
    public var isReadOnly = false
    public var isRemovable = false
    public var vendor: String?
    public var model: String?
    public var serial: String?
    /// Device numbers, and the kernel's count of disks (diskseq), which tells a new disk of an old name apart.
    public var major: UInt32 = 0
    public var minor: UInt32 = 0
    public var sequence: UInt64?
    public var content = DiskContent.notProbed

    public init(name: String, path: String) {
        self.name = name
        self.path = path
    }
}

/// What a probe found on a block device.
public enum DiskContent: Equatable, Sendable {
    case notProbed
    case filesystem(Filesystem, partition: PartitionEntry?)
    /// A whole disk with partitions: "gpt", "dos".
    case partitionTable(String)
    /// Nothing that libblkid knows.
    case unknown(partition: PartitionEntry?)
    /// The signatures of several filesystems: which one holds, no one can say.
    case ambivalent(partition: PartitionEntry?)
    /// It could not be read.
    case unreadable(String)
}

/// A superblock.
public struct Filesystem: Equatable, Sendable {
    /// "ext4", "xfs", "crypto_LUKS", …
    public var type: String
    public var label: String?
    public var uuid: String?
    /// libblkid's USAGE: "filesystem", "raid", "crypto", "other".
    public var usage: String
    /// The checksum of the superblock is wrong.
    public var hasBadChecksum = false
}

/// The entry of a partition in its table.
public struct PartitionEntry: Equatable, Sendable {
    public var name: String?
    public var uuid: String?
}
