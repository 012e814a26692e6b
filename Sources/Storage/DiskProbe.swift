import CBlkid
import CLinux
import Linux

/// Reads what is on a block device, through libblkid. It reads the disk, so it runs in a ``Worker``.
enum DiskProbe {
    /// Probes the device or image file at `path`.
    ///
    /// - Parameter number: the device number that /sys gave; a node of another number is not probed. Nil for image files.
    static func content(of path: String, number: (major: UInt32, minor: UInt32)?) -> DiskContent {
        do throws(SyscallError) {
            let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
            if let number {
                var status = stat()
                try attempt("fstat", path) { fstat(file.rawValue, &status) }
                guard clinux_is_block_device(status.st_mode) != 0, status.st_rdev == gnu_dev_makedev(number.major, number.minor) else {
                    return .unreadable("the node is not the device \(number.major):\(number.minor)")
                }
            }
            // libblkid takes a block that cannot be read for one without a signature: ask the disk ourselves first.
            var first: UInt64 = 0
            try attempt("read", path) { pread(file.rawValue, &first, MemoryLayout<UInt64>.size, 0) }
            return probe(file.rawValue)
        } catch {
            return .unreadable("\(error.operation): \(error.errno)")
        }
    }

    private static func probe(_ descriptor: Int32) -> DiskContent {
        switch superblock(descriptor) {
        case .found(let content): content
        case .failed: .unreadable("read: \(Errno.ioError)")
        case .ambivalent: .ambivalent(partition: partitionEntry(descriptor))
        case .nothing: .unknown(partition: partitionEntry(descriptor))
        }
    }

    private enum Outcome {
        case found(DiskContent)
        case nothing, ambivalent, failed
    }

    private static func superblock(_ descriptor: Int32) -> Outcome {
        guard let probe = blkid_new_probe() else { return .failed }
        defer { blkid_free_probe(probe) }
        guard blkid_probe_set_device(probe, descriptor, 0, 0) == 0 else { return .failed }
        let flags = BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE
        blkid_probe_enable_superblocks(probe, 1)
        blkid_probe_set_superblocks_flags(probe, flags)
        blkid_probe_enable_partitions(probe, 1)
        blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS)
        switch blkid_do_safeprobe(probe) {
        case 0: break
        case 1: return .nothing
        case -2: return .ambivalent
        default: return .failed
        }
        if let type = value(probe, "TYPE") {
            let filesystem = Filesystem(
                type: type, label: value(probe, "LABEL"), uuid: value(probe, "UUID"), usage: value(probe, "USAGE") ?? "other")
            return .found(.filesystem(filesystem, partition: entry(probe)))
        }
        if let table = value(probe, "PTTYPE") { return .found(.partitionTable(table)) }
        // Only the entry of the partition itself was found.
        return .nothing
    }

    /// The partition's own entry, for a partition on which the search for superblocks ended without a result.
    private static func partitionEntry(_ descriptor: Int32) -> PartitionEntry? {
        guard let probe = blkid_new_probe() else { return nil }
        defer { blkid_free_probe(probe) }
        guard blkid_probe_set_device(probe, descriptor, 0, 0) == 0 else { return nil }
        blkid_probe_enable_superblocks(probe, 0)
        blkid_probe_enable_partitions(probe, 1)
        blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS)
        guard blkid_do_safeprobe(probe) == 0 else { return nil }
        return entry(probe)
    }

    private static func entry(_ probe: blkid_probe) -> PartitionEntry? {
        let entry = PartitionEntry(name: value(probe, "PART_ENTRY_NAME"), uuid: value(probe, "PART_ENTRY_UUID"))
        return entry.name == nil && entry.uuid == nil ? nil : entry
    }

    private static func value(_ probe: blkid_probe, _ name: String) -> String? {
        var text: UnsafePointer<CChar>?
        guard blkid_probe_lookup_value(probe, name, &text, nil) == 0, let text else { return nil }
        let found = String(cString: text)
        return found.isEmpty ? nil : found
    }
}

extension DiskContent {
    /// For the way from the worker to its parent.
    var encoded: [UInt8] {
        var encoder = FieldEncoder()
        switch self {
        case .notProbed: encoder.append(Int64(0))
        case .filesystem(let filesystem, let partition):
            encoder.append(Int64(1))
            encoder.append(filesystem.type)
            encoder.append(filesystem.label)
            encoder.append(filesystem.uuid)
            encoder.append(filesystem.usage)
            DiskContent.append(partition, to: &encoder)
        case .partitionTable(let type):
            encoder.append(Int64(2))
            encoder.append(type)
        case .unknown(let partition):
            encoder.append(Int64(3))
            DiskContent.append(partition, to: &encoder)
        case .ambivalent(let partition):
            encoder.append(Int64(4))
            DiskContent.append(partition, to: &encoder)
        case .unreadable(let cause):
            encoder.append(Int64(5))
            encoder.append(cause)
        }
        return encoder.bytes
    }

    /// - Returns: nil for bytes that ``encoded`` did not make.
    init?(encoded: [UInt8]) {
        var decoder = FieldDecoder(encoded)
        let content: DiskContent
        switch decoder.number() {
        case 0: content = .notProbed
        case 1:
            guard let type = decoder.text(), let label = decoder.optionalText(), let uuid = decoder.optionalText(),
                let usage = decoder.text(), let partition = DiskContent.partition(from: &decoder)
            else { return nil }
            let filesystem = Filesystem(type: type, label: label, uuid: uuid, usage: usage)
            content = .filesystem(filesystem, partition: partition)
        case 2:
            guard let type = decoder.text() else { return nil }
            content = .partitionTable(type)
        case 3:
            guard let partition = DiskContent.partition(from: &decoder) else { return nil }
            content = .unknown(partition: partition)
        case 4:
            guard let partition = DiskContent.partition(from: &decoder) else { return nil }
            content = .ambivalent(partition: partition)
        case 5:
            guard let cause = decoder.text() else { return nil }
            content = .unreadable(cause)
        default: return nil
        }
        guard decoder.isAtEnd else { return nil }
        self = content
    }

    private static func append(_ partition: PartitionEntry?, to encoder: inout FieldEncoder) {
        encoder.append(partition != nil)
        encoder.append(partition?.name)
        encoder.append(partition?.uuid)
    }

    private static func partition(from decoder: inout FieldDecoder) -> PartitionEntry?? {
        guard let present = decoder.flag(), let name = decoder.optionalText(), let uuid = decoder.optionalText() else { return nil }
        return .some(present ? PartitionEntry(name: name, uuid: uuid) : nil)
    }
}
