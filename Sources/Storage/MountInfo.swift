import Linux

/// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct MountInfo: Equatable {
    let id: Int
    let parent: Int
    /// The mount point as the kernel has it: any bytes but NUL.
    let point: [UInt8]
    let type: String
    /// The device, for filesystems on one.
    let source: String
    /// The mount's own options: "rw,relatime".
    let options: String

    var pointText: String { String(decoding: point, as: UTF8.self) }

    /// Parses the whole table; lines of another shape are skipped.
    static func parse(_ table: [UInt8]) -> [MountInfo] {
        table.split(separator: 0x0A).compactMap { MountInfo(line: $0) }
    }

    /// "36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw,errors=continue".
    init?(line: ArraySlice<UInt8>) {
        let fields = line.split(separator: 0x20)
        // The optional fields before "-" may be any number, none included.
        guard fields.count >= 9, let dash = fields.dropFirst(6).firstIndex(where: { $0.elementsEqual([UInt8(ascii: "-")]) }),
            fields.count > dash + 2, let id = Int(String(decoding: fields[0], as: UTF8.self)),
            let parent = Int(String(decoding: fields[1], as: UTF8.self))
        else { return nil }
        self.id = id
        self.parent = parent
        point = MountInfo.unescape(fields[4])
        options = String(decoding: fields[5], as: UTF8.self)
        type = String(decoding: fields[dash + 1], as: UTF8.self)
        source = String(decoding: MountInfo.unescape(fields[dash + 2]), as: UTF8.self)
    }

    /// The kernel writes space, tab, newline and backslash as "\040", "\011", "\012", "\134".
    static func unescape(_ field: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "7") }) {
                var value = 0
                for digit in digits { value = value * 8 + Int(digit - UInt8(ascii: "0")) }
                result.append(UInt8(truncatingIfNeeded: value))
                rest = rest.dropFirst(3)
            } else {
                result.append(byte)
            }
        }
        return result
    }

    /// The mounts at and below `point`, in the order in which they can be unmounted: what stands on a mount comes before it.
    static func unmountOrder(_ table: [MountInfo], below point: [UInt8]) -> [MountInfo] {
        var parents: [Int: Int] = [:]
        for mount in table { parents[mount.id] = mount.parent }
        func depth(_ mount: MountInfo) -> Int {
            var depth = 0
            var id = mount.parent
            // Bounded, since a table that was read in pieces while it changed may hold a circle.
            while let parent = parents[id], depth <= table.count {
                depth += 1
                id = parent
            }
            return depth
        }
        let inside = table.enumerated().filter { isAtOrBelow($0.element.point, point) }
        // A mount over another one at the same point is its child, so it is deeper, too.
        return inside.map { (depth: depth($0.element), index: $0.offset, mount: $0.element) }
            .sorted { $0.depth != $1.depth ? $0.depth > $1.depth : $0.index > $1.index }
            .map { $0.mount }
    }

    static func isAtOrBelow(_ path: [UInt8], _ point: [UInt8]) -> Bool {
        if point == [UInt8(ascii: "/")] { return true }
        return path.starts(with: point) && (path.count == point.count || path[point.count] == UInt8(ascii: "/"))
    }
}
