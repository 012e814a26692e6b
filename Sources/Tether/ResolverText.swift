import CLinux
import Linux

/// What stands in /etc/resolv.conf while there is no name server.
enum ResolverText {
    static let none = "# No name server is known yet.\n"
    private static let longest = 16_384

    /// What the image has at `path`: a file, for the place where a link leads to is not there yet.
    /// - Returns: nil where it has none that could be one, or nothing in it.
    static func read(_ path: String) -> String? {
        do throws(SyscallError) {
            // A pipe in its place has nothing to say, and waits for nobody.
            let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            guard let bytes = try file.read(atMost: longest + 1, object: path), (1...longest).contains(bytes.count) else { return nil }
            return String(decoding: bytes, as: UTF8.self)
        } catch { return nil }
    }
}
