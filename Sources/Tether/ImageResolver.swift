import CLinux
import Linux

/// What an image has as its /etc/resolv.conf.
struct ImageResolver {
    /// What stands in the container's file while there is no name server and the image has no text of its own.
    static let none = "# No name server is known yet.\n"
    private static let longest = 16_384

    let text: String?
    /// Whether there is something to mount another file over, or it can be made: a disk that cannot be written to has to have the file, or
    /// a link in its place.
    let hasPlace: Bool

    /// Looks at the image in `root`. A disk that has died never answers: this is for a worker, and ``encoded`` for what it sends.
    init(in root: String) {
        let path = root + "/etc/resolv.conf"
        text = ImageResolver.read(path)
        hasPlace = Files.exists(path) || Files.linkTarget(path) != nil || access(root + "/etc", W_OK) == 0
    }

    /// A file, for the place where a link leads to is not there yet.
    /// - Returns: nil where the image has none that could be one, or nothing in it.
    private static func read(_ path: String) -> String? {
        do throws(SyscallError) {
            // A pipe in its place has nothing to say, and waits for nobody.
            let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            guard let bytes = try file.read(atMost: longest + 1, object: path), (1...longest).contains(bytes.count) else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        } catch { return nil }
    }

    var encoded: [UInt8] {
        var fields = FieldEncoder()
        fields.append(text)
        fields.append(hasPlace)
        return fields.bytes
    }

    init?(_ encoded: [UInt8]) {
        var fields = FieldDecoder(encoded)
        guard let text = fields.optionalText(), let hasPlace = fields.flag() else { return nil }
        self.text = text
        self.hasPlace = hasPlace
    }
}
