public import CLinux

/// Whole-file reading and writing for the small files of /proc, /sys and /etc.
public enum Files {
    /// Reads a whole file of at most `limit` bytes.
    /// - Throws: ``SyscallError``; EFBIG when the file is longer than `limit`.
    public static func read(_ path: String, limit: Int = 1 << 20) throws(SyscallError) -> [UInt8] {
        let file = try FileDescriptor.open(path, O_RDONLY)
        var content: [UInt8] = []
        while true {
            guard let chunk = try file.read(atMost: 4096, object: path), !chunk.isEmpty else { return content }
            if content.count + chunk.count > limit { throw SyscallError("read", path, Errno(rawValue: EFBIG)) }
            content += chunk
        }
    }

    /// Reads a whole file as text, without trailing white space. Bytes that are not UTF-8 become U+FFFD.
    public static func readText(_ path: String, limit: Int = 1 << 20) throws(SyscallError) -> String {
        var bytes = try read(path, limit: limit)
        while let last = bytes.last, last == 0x0A || last == 0x20 || last == 0x09 || last == 0x0D { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes `text` to an existing file in one write(2), as the control files of /proc and /sys want it.
    public static func write(_ text: String, to path: String) throws(SyscallError) {
        let file = try FileDescriptor.open(path, O_WRONLY)
        let bytes = Array(text.utf8)
        let written = try attempt("write", path) { bytes.withUnsafeBytes { CLinux.write(file.rawValue, $0.baseAddress, $0.count) } }
        if written != bytes.count { throw SyscallError("write", path, .ioError) }
    }

    /// Writes `content` to a new file and puts that in the place of `path`, so that a reader never sees half of it.
    public static func replace(_ path: String, with content: [UInt8], mode: mode_t = 0o600) throws(SyscallError) {
        let temporary = path + ".new"
        let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        let written = try attempt("write", temporary) {
            content.withUnsafeBytes { CLinux.write(file.rawValue, $0.baseAddress, $0.count) }
        }
        if written != content.count { throw SyscallError("write", temporary, .ioError) }
        try attempt("rename", path) { rename(temporary, path) }
    }

    /// Makes `path` and the directories above it, as `mkdir -p` does.
    public static func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(SyscallError) {
        var prefix = ""
        for part in path.utf8.split(separator: UInt8(ascii: "/")) {
            prefix += "/" + (String(Substring(part)))
            do throws(SyscallError) { try attempt("mkdir", prefix) { mkdir(prefix, mode) } } catch {
                if error.errno != .exists { throw error }
            }
        }
    }

    /// The names in a directory, without "." and "..", sorted by bytes.
    public static func list(_ path: String) throws(SyscallError) -> [String] {
        guard let directory = opendir(path) else {
            throw SyscallError("opendir", path, Errno(rawValue: clinux_errno()))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        names.sort()
        return names
    }

    /// What the symbolic link `path` leads to, as it is written in it; nil where it is none.
    public static func linkTarget(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), bytes.count) } ?? 0
        }
        return count <= 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }

    /// Whether `path` exists (access(2)).
    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
