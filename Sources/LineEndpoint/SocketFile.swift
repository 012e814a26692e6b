import CLinux
import Glibc

/// The file of a socket that listens: removed with this object, unless another one has taken its place.
public final class SocketFile {
    private let path: String
    private let device: dev_t
    private let inode: ino_t
    private var isRemoved = false

    /// - Returns: nil where there is no socket at `path`.
    public init?(_ path: String) {
        guard let info = Self.status(path), info.st_mode & S_IFMT == S_IFSOCK else { return nil }
        self.path = path
        device = info.st_dev
        inode = info.st_ino
    }

    deinit { remove() }

    private static func status(_ path: String) -> stat? {
        var info = stat()
        return lstat(path, &info) == 0 ? info : nil
    }

    public func remove() {
        if isRemoved { return }
        isRemoved = true
        if let info = Self.status(path), info.st_dev == device, info.st_ino == inode { unlink(path) }
    }
}
