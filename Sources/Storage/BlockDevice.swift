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

    /// One line for people: "/dev/sda (64 MiB, VMware Virtual disk): ext4, label containerfs, UUID …".
    public var summary: String {
        var about = BlockDevice.sizeText(size)
        let product = [vendor, model].compactMap { $0 }
        if !product.isEmpty { about += ", " + product.joined(separator: " ") }
        if isReadOnly { about += ", read-only" }
        return "\(path) (\(about)): \(content.summary)"
    }

    /// A size in the largest binary unit of which there is at least one, rounded down: "16 MiB".
    static func sizeText(_ bytes: UInt64) -> String {
        var value = bytes
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if value < 1024 { return "\(value) \(unit)" }
            value /= 1024
        }
        return "\(value) TiB"
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

    public var filesystem: Filesystem? {
        if case .filesystem(let filesystem, _) = self { return filesystem }
        return nil
    }

    var isUnreadable: Bool {
        if case .unreadable = self { return true }
        return false
    }

    public var partition: PartitionEntry? {
        switch self {
        case .filesystem(_, let partition), .unknown(let partition), .ambivalent(let partition): partition
        case .notProbed, .partitionTable, .unreadable: nil
        }
    }

    /// "ext4, label containerfs, UUID …", "no known filesystem", …
    public var summary: String {
        let found: String
        switch self {
        case .notProbed: found = "not probed"
        case .filesystem(let filesystem, _): found = filesystem.summary
        case .partitionTable(let type): found = "partition table \(type)"
        case .unknown: found = "no known filesystem"
        case .ambivalent: found = "signatures of more than one filesystem"
        case .unreadable(let cause): found = cause
        }
        guard let partition, !partition.summary.isEmpty else { return found }
        return found + ", " + partition.summary
    }
}

/// A superblock.
public struct Filesystem: Equatable, Sendable {
    /// "ext4", "xfs", "crypto_LUKS", …
    public var type: String
    public var label: String?
    public var uuid: String?
    /// libblkid's USAGE: "filesystem", "raid", "crypto", "other".
    public var usage: String

    var summary: String {
        var text = type
        if let label { text += ", label " + label } else { text += ", no label" }
        if let uuid { text += ", UUID " + uuid }
        return text
    }
}

/// The entry of a partition in its table.
public struct PartitionEntry: Equatable, Sendable {
    public var name: String?
    public var uuid: String?

    var summary: String {
        var parts: [String] = []
        if let name { parts.append("partition label " + name) }
        if let uuid { parts.append("partition UUID " + uuid) }
        return parts.joined(separator: ", ")
    }
}
