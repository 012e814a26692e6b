public import CLinux

/// A small text file that a container has, too, by a mount of just this file: it is changed in place, and what somebody else has
/// written into it stays.
///
/// It is opened once, before the container is there. Whoever may read it could otherwise take a lease on it (fcntl(2)), and have each
/// open(2) wait for 45 s; there is none to be had on a file that is open for writing.
public struct SharedFile: ~Copyable {
    /// What is longer is not changed any more: it is somebody else's by then, and would have to be looked through.
    public static let limit = 65_536

    private let path: String
    private let file: FileDescriptor
    /// What was to be in it when it was written last.
    private var written: [UInt8]

    /// Opens the file, or makes it.
    /// - Parameter content: what is in it already.
    public init(_ path: String, content: String = "", mode: mode_t = 0o644) throws(SyscallError) {
        self.path = path
        file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_NONBLOCK, mode: mode)
        written = Array(content.utf8)
    }

    /// Makes `text` of what it wrote before; a reader never finds the file empty.
    /// - Throws: ``SyscallError``; EFBIG where somebody has written more than ``limit`` bytes. The next call tries again.
    public mutating func update(to text: String) throws(SyscallError) {
        let wanted = Array(text.utf8)
        if wanted == written { return }
        let present = try read()
        let content = LineMerge.merge(from: written, to: wanted, in: present)
        let count = try attempt("write", path) { content.withUnsafeBytes { pwrite(file.rawValue, $0.baseAddress, $0.count, 0) } }
        if count != content.count { throw SyscallError("write", path, .ioError) }
        if content.count < present.count { try attempt("ftruncate", path) { ftruncate(file.rawValue, off_t(content.count)) } }
        written = wanted
    }

    private func read() throws(SyscallError) -> [UInt8] {
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try attempt("read", path) {
                buffer.withUnsafeMutableBytes { pread(file.rawValue, $0.baseAddress, $0.count, off_t(content.count)) }
            }
            if count == 0 { return content }
            content += buffer.prefix(count)
            if content.count > SharedFile.limit { throw SyscallError("change", path, Errno(rawValue: EFBIG)) }
        }
    }
}

/// Takes the changes of one text over into another one that has others, by lines.
public enum LineMerge {
    /// - Returns: `present` without the lines that only `old` has, and with those that only `new` has: behind the line that they follow in
    ///   `new`. So it is `new` where `present` is `old`.
    public static func merge(from old: [UInt8], to new: [UInt8], in present: [UInt8]) -> [UInt8] {
        if present == old { return new }
        var lines = split(present)
        let (before, after) = (split(old), split(new))
        // Where what goes is, there is the place for what comes.
        var place: Int?
        for line in before where !after.contains(line) {
            guard let index = lines.firstIndex(of: line) else { continue }
            lines.remove(at: index)
            place = min(place ?? index, index)
        }
        var position: Int?
        for line in after {
            if let index = lines.firstIndex(of: line) {
                position = index + 1
            } else if !before.contains(line) {
                let index = min(position ?? place ?? lines.count, lines.count)
                lines.insert(line, at: index)
                position = index + 1
            }
        }
        var result: [UInt8] = []
        for line in lines {
            result += line
            result.append(UInt8(ascii: "\n"))
        }
        return result
    }

    private static func split(_ text: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return lines
    }
}
