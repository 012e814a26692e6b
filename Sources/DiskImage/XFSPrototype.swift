import Foundation

/// The prototype file from which mkfs.xfs(8) fills a file system.
///
/// Its format has limits: white space in names cannot be said, a file with several names becomes several files, times
/// are the time of the run, extended attributes are lost, and there is no sticky bit, which ``setStickyBits(in:tool:)``
/// adds afterwards.
struct XFSPrototype {
    /// What goes into the prototype file.
    let text: [UInt8]
    private let sticky: [(path: String, mode: UInt32)]

    /// - Throws: ``DiskImageError`` for what the format cannot say.
    init(_ tree: SourceTree) throws(DiskImageError) {
        // A boot block file, and two numbers that no longer mean anything.
        var text = Array("/dev/null\n0 0\n".utf8)
        var sticky: [(String, UInt32)] = []
        var depth = 0
        for entry in tree.entries {
            let parts = entry.path.split(separator: UInt8(ascii: "/"))
            let shown = String(decoding: entry.path, as: UTF8.self)
            func cannot(_ what: String) -> DiskImageError {
                DiskImageError("mkfs.xfs", shown, "a prototype file cannot hold \(what); use ext4 or btrfs for this tree")
            }
            if entry.path.contains(where: { $0 <= 0x20 }) { throw cannot("white space or control characters in a name") }
            // "." has one part and opens the root; every directory left since the last entry is closed with a "$".
            while depth > parts.count - 1 {
                text += Array("$\n".utf8)
                depth -= 1
            }
            if let name = parts.last, parts.count > 1 { text += name + [0x20] }

            let letter: String
            var trailer: [UInt8] = []
            switch entry.type {
            case UInt32(S_IFDIR):
                letter = "d"
                depth += 1
            case UInt32(S_IFREG):
                letter = "-"
                trailer = entry.path
            case UInt32(S_IFLNK):
                letter = "l"
                trailer = try Self.target(of: entry, in: tree.directory)
                if trailer.contains(where: { $0 <= 0x20 }) { throw cannot("white space in the target of a link") }
            case UInt32(S_IFCHR), UInt32(S_IFBLK):
                letter = entry.type == UInt32(S_IFCHR) ? "c" : "b"
                trailer = Array("\(entry.major) \(entry.minor)".utf8)
            case UInt32(S_IFIFO):
                letter = "p"
            default:
                throw cannot("a socket")
            }
            if entry.mode & UInt32(S_ISVTX) != 0 && parts.count >= 1 {
                sticky.append(("/" + parts.dropFirst().map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/"), entry.mode))
            }
            let permissions = String(entry.mode & 0o777, radix: 8)
            let mode =
                letter + (entry.mode & UInt32(S_ISUID) != 0 ? "u" : "-") + (entry.mode & UInt32(S_ISGID) != 0 ? "g" : "-")
                + String(repeating: "0", count: 3 - permissions.count) + permissions
            text += Array("\(mode) \(entry.owner) \(entry.group) ".utf8) + trailer + [0x0A]
        }
        while depth > 0 {
            text += Array("$\n".utf8)
            depth -= 1
        }
        self.text = text
        self.sticky = sticky
    }

    /// Writes the sticky bits, such as that of /tmp, into the file system in `file`.
    func setStickyBits(in file: String, tool: Tool) throws(DiskImageError) {
        guard !sticky.isEmpty else { return }
        var command = ["xfs_db", "-x"]
        for (path, mode) in sticky { command += ["-c", "path \(path)", "-c", "write core.mode 0\(String(mode, radix: 8))"] }
        try tool.run(command + [file], object: file)
    }

    private static func target(of entry: SourceTree.Entry, in directory: String) throws(DiskImageError) -> [UInt8] {
        let path = (Array(directory.utf8) + [UInt8(ascii: "/")] + entry.path + [0]).map { CChar(bitPattern: $0) }
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &buffer, buffer.count)
        if count < 0 { throw DiskImageError("readlink", String(decoding: entry.path, as: UTF8.self), String(cString: strerror(errno))) }
        return buffer[..<count].map { UInt8(bitPattern: $0) }
    }
}
