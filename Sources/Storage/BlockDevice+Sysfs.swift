import CLinux
import Linux

extension BlockDevice {
    /// The disks and partitions that /sys/class/block lists, without those that can hold no root filesystem: RAM disks,
    /// optical and floppy drives, and whatever has no size, like a loop device without a file.
    ///
    /// - Throws: ``SyscallError`` when /sys/class/block cannot be read.
    static func present(sysfs: String = "/sys", dev: String = "/dev") throws(SyscallError) -> [BlockDevice] {
        var devices: [BlockDevice] = []
        let names: [String]
        do throws(SyscallError) { names = try Files.list(sysfs + "/class/block") } catch {
            // A kernel without any disk driver yet has no such class.
            if error.errno == .noSuchFile { return [] }
            throw error
        }
        for name in names where !isIgnored(name) {
            if let device = BlockDevice(name: name, folder: sysfs + "/class/block/" + name, dev: dev) { devices.append(device) }
        }
        return devices
    }

    private static func isIgnored(_ name: String) -> Bool {
        for prefix in ["ram", "zram", "sr", "fd", "mtdblock"] {
            let rest = name.utf8.dropFirst(prefix.utf8.count)
            let isNumbered = rest.first.map { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } ?? false
            if isNumbered && name.utf8.starts(with: prefix.utf8) { return true }
        }
        return false
    }

    /// - Returns: nil for a device without size or number (it may be on its way out), or hidden behind a multipath device.
    private init?(name: String, folder: String, dev: String) {
        func attribute(_ path: String) -> String? {
            guard let text = try? Files.readText(folder + "/" + path, limit: 4096), !text.isEmpty else { return nil }
            return text
        }
        guard let sectors = UInt64(attribute("size") ?? ""), sectors > 0, attribute("hidden") != "1" else { return nil }
        let numbers = (attribute("dev") ?? "").utf8.split(separator: UInt8(ascii: ":"))
        guard numbers.count == 2, let major = UInt32(Substring(numbers[0])), let minor = UInt32(Substring(numbers[1])) else { return nil }
        // The kernel writes "!" for a "/" in a name (cciss!c0d0).
        let node = String(decoding: name.utf8.map { $0 == UInt8(ascii: "!") ? UInt8(ascii: "/") : $0 }, as: UTF8.self)
        self.init(name: name, path: dev + "/" + node)
        // /sys always counts in units of 512 bytes.
        let (bytes, tooLarge) = sectors.multipliedReportingOverflow(by: 512)
        size = tooLarge ? .max : bytes
        self.major = major
        self.minor = minor
        isPartition = attribute("partition") != nil
        // The folder is a symbolic link into the tree of devices, where a partition lies below its disk.
        let disk = isPartition ? "../" : ""
        isReadOnly = attribute("ro") == "1" || attribute(disk + "ro") == "1"
        isRemovable = attribute(disk + "removable") == "1"
        sequence = UInt64(attribute(disk + "diskseq") ?? "")
        vendor = attribute(disk + "device/vendor")
        model = attribute(disk + "device/model")
        serial = attribute(disk + "device/serial") ?? attribute(disk + "serial")
    }

    /// Whether the two are the same device, so that a probe of the one holds for the other.
    func isSameDevice(as other: BlockDevice) -> Bool {
        name == other.name && major == other.major && minor == other.minor && sequence == other.sequence && size == other.size
    }
}
