import Foundation

/// A GPT disk with one partition.
struct PartitionTable {
    /// The partition's name: `PARTLABEL=`.
    let name: String
    let diskID: UUID
    /// The partition's UUID: `PARTUUID=`.
    let partitionID: UUID

    /// Before the partition: the table, and the alignment that every tool uses. Behind it: the table's copy.
    private static let margin: Int64 = 1 << 20
    /// "Linux filesystem data".
    private static let linuxType = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

    /// Makes the disk `disk` whose one partition holds the bytes of the file `content`.
    func wrap(_ content: String, into disk: String, tool: Tool) throws(DiskImageError) {
        var status = stat()
        if stat(content, &status) != 0 { throw DiskImageError("stat", content, String(cString: strerror(errno))) }
        let size = (Int64(status.st_size) + Self.margin - 1) / Self.margin * Self.margin
        try createSparse(disk, size: size + 2 * Self.margin)
        // sfdisk reads "name" in double quotes; DiskImage lets no quote or backslash into a label.
        let script = """
            label: gpt
            label-id: \(diskID.uuidString)
            unit: sectors
            sector-size: 512

            start=\(Self.margin / 512), size=\(size / 512), type=\(Self.linuxType), uuid=\(partitionID.uuidString), name="\(name)"

            """
        let path = disk + ".sfdisk"
        try writeFile(path, Array(script.utf8))
        defer { unlink(path) }
        try tool.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk], object: disk, input: path)
        try tool.run(
            ["dd", "if=\(content)", "of=\(disk)", "bs=1M", "seek=\(Self.margin >> 20)", "conv=notrunc,sparse", "status=none"], object: disk)
    }
}
