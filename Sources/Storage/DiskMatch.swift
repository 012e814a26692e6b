import Linux

/// What a look at all the disks says about the one that is meant.
enum DiskMatch: Equatable {
    case none
    case one(BlockDevice)
    case several([BlockDevice])

    /// - Parameter pathNumber: for ``DiskSpecifier/path(_:)``, the device number behind the path, if there is a device.
    init(_ specifier: DiskSpecifier, in devices: [BlockDevice], pathNumber: (major: UInt32, minor: UInt32)? = nil) {
        let matches = devices.filter { device in
            let filesystem = device.content.filesystem
            let partition = device.content.partition
            switch specifier {
            case .label(let label): return filesystem?.label == label
            case .uuid(let uuid): return DiskMatch.isEqual(filesystem?.uuid, uuid)
            case .partLabel(let name): return partition?.name == name
            case .partUUID(let uuid): return DiskMatch.isEqual(partition?.uuid, uuid)
            case .path:
                guard let pathNumber else { return false }
                return device.major == pathNumber.major && device.minor == pathNumber.minor
            }
        }
        if let first = matches.first { self = matches.count == 1 ? .one(first) : .several(matches) } else { self = .none }
    }

    private static func isEqual(_ found: String?, _ wanted: String) -> Bool {
        guard let found else { return false }
        return lowercased(found) == lowercased(wanted)
    }

    private static func lowercased(_ text: String) -> [UInt8] {
        text.utf8.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 + 32 : $0 }
    }

    /// The sentence for a disk that was not found: each disk that was seen, and what is on it instead.
    static func absence(of specifier: DiskSpecifier, in devices: [BlockDevice], afterMilliseconds: Int64) -> String {
        let (seconds, rest) = afterMilliseconds.quotientAndRemainder(dividingBy: 1000)
        let time = rest == 0 ? "\(seconds) s" : "\(afterMilliseconds) ms"
        if devices.isEmpty { return "no such disk within \(time), and no other disk either" }
        return "no such disk within \(time); seen: " + list(devices)
    }

    /// The most disks that an error names.
    private static let listed = 16

    static func list(_ devices: [BlockDevice]) -> String {
        let text = devices.prefix(listed).map { $0.summary }.joined(separator: "; ")
        return devices.count > listed ? text + "; and \(devices.count - listed) more" : text
    }
}
