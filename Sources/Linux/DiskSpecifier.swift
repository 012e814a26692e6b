/// Which disk is meant, in the notation of fstab(5): `LABEL=`, `UUID=`, `PARTLABEL=`, `PARTUUID=`, or a path.
public enum DiskSpecifier: Equatable, Sendable, CustomStringConvertible {
    /// The label of the filesystem.
    case label(String)
    /// The UUID of the filesystem, as blkid(8) prints it; compared without regard to case.
    case uuid(String)
    /// The name of the partition in a GPT.
    case partLabel(String)
    /// The UUID of the partition; compared without regard to case.
    case partUUID(String)
    /// An absolute path: "/dev/sda".
    case path(String)

    /// - Returns: nil for text that is none of the five, or has nothing behind "=".
    public init?(_ text: String) {
        let bytes = text.utf8
        if bytes.first == UInt8(ascii: "/") {
            if bytes.contains(0) { return nil }
            self = .path(text)
            return
        }
        guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let value = String(decoding: bytes[bytes.index(after: equals)...], as: UTF8.self)
        if value.isEmpty || value.utf8.contains(0) { return nil }
        switch String(decoding: bytes[..<equals], as: UTF8.self) {
        case "LABEL": self = .label(value)
        case "UUID": self = .uuid(value)
        case "PARTLABEL": self = .partLabel(value)
        case "PARTUUID": self = .partUUID(value)
        default: return nil
        }
    }

    public var description: String {
        switch self {
        case .label(let value): "LABEL=" + value
        case .uuid(let value): "UUID=" + value
        case .partLabel(let value): "PARTLABEL=" + value
        case .partUUID(let value): "PARTUUID=" + value
        case .path(let path): path
        }
    }
}
