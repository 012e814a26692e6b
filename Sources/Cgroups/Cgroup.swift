import CLinux
import Linux

/// A control group (cgroups(7), version 2): an open directory of the cgroup filesystem.
///
/// Everything is done relative to the descriptor, so it is done to this group whatever the path means by then. All of its files
/// live in the kernel's memory; reading and writing them does not wait for a disk.
public final class Cgroup {
    /// Where it is, from the root of the hierarchy, for messages: "/container/main".
    public let path: String
    private let directory: FileDescriptor
    private let name: String
    private let parent: Cgroup?

    /// The most bytes of one file that are read. The longest that PID 1 reads are lists of process ids and of devices.
    static let fileLimit = 64 << 10
    /// How many groups below a group that is removed are removed in one call, and how deep that looks.
    static let removalsAtOnce = 256
    static let depthLimit = 64

    /// The root of the hierarchy that is mounted on `mountPoint`, or any group in it, which then counts as the root.
    public init(root mountPoint: String) throws(CgroupError) {
        path = ""
        name = ""
        parent = nil
        directory = try CgroupError.mapping { () throws(SyscallError) in
            try FileDescriptor.open(mountPoint, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        }
    }

    private init(existing name: String, of parent: Cgroup) throws(CgroupError) {
        let path = parent.path + "/" + name
        self.name = name
        self.path = path
        self.parent = parent
        directory = try parent.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }

    /// The open directory: what clone3(2) takes for CLONE_INTO_CGROUP. Borrowed; never close it.
    public var descriptor: Int32 { directory.rawValue }

    // MARK: Groups below

    /// Makes the group `name` below this one, or opens it where it is already.
    /// - Parameter name: letters, digits, `-` and `_`: names with a dot are the kernel's own files.
    public func makeChild(_ name: String) throws(CgroupError) -> Cgroup {
        let object = path + "/" + name
        guard Cgroup.isName(name) else {
            throw CgroupError("make cgroup", object, "a name has 1 to 64 letters, digits, - and _")
        }
        do throws(SyscallError) { try attempt("make cgroup", object) { mkdirat(descriptor, name, 0o755) } } catch {
            if error.errno != .exists { throw CgroupError(error) }
        }
        return try Cgroup(existing: name, of: self)
    }

    /// Removes the group with all groups below it, which has no processes any more (rmdir(2)).
    ///
    /// A ``CgroupWatch`` on it must be gone from its epoll set first: the descriptor of a removed group is always ready.
    /// - Returns: whether it is gone. False is "not yet": processes are still dying in it, or more than 256 groups lay below it;
    ///   to be called again.
    public func remove() throws(CgroupError) -> Bool {
        guard let parent else { throw CgroupError("remove cgroup", "/", "it is the root") }
        var left = Cgroup.removalsAtOnce
        return try Cgroup.remove(name, in: parent.descriptor, path: path, depth: 0, &left)
    }

    private static func remove(
        _ name: String, in parent: Int32, path: String, depth: Int, _ left: inout Int
    ) throws(CgroupError) -> Bool {
        if try removeOnly(name, in: parent, path: path) { return true }
        // EBUSY has two reasons: processes, or groups below.
        if depth == depthLimit { return false }
        let directory: FileDescriptor
        do throws(SyscallError) {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            directory = FileDescriptor(owning: try attempt("open", path) { clinux_openat(parent, name, flags, 0) })
        } catch {
            if error.errno == .noSuchFile { return true }
            throw CgroupError(error)
        }
        var removedAny = false
        for child in try subdirectories(directory.rawValue, path: path, atMost: left) {
            if left <= 0 { return false }
            left -= 1
            if try remove(child, in: directory.rawValue, path: path + "/" + child, depth: depth + 1, &left) { removedAny = true }
        }
        return removedAny ? try removeOnly(name, in: parent, path: path) : false
    }

    /// - Returns: false where it is in use.
    private static func removeOnly(_ name: String, in parent: Int32, path: String) throws(CgroupError) -> Bool {
        do throws(SyscallError) { try attempt("remove cgroup", path) { unlinkat(parent, name, AT_REMOVEDIR) } } catch {
            if error.errno == .noSuchFile { return true }
            if error.errno.rawValue == EBUSY { return false }
            throw CgroupError(error)
        }
        return true
    }

    static func subdirectories(_ directory: Int32, path: String, atMost limit: Int) throws(CgroupError) -> [String] {
        // A descriptor of its own: closedir(3) closes it, and its position is not shared.
        let own = try CgroupError.mapping { () throws(SyscallError) in
            try attempt("open", path) { clinux_openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
        }
        guard let stream = fdopendir(own) else {
            _ = close(own)
            throw CgroupError("list", path, "no memory")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < limit, let entry = readdir(stream) {
            if Int32(entry.pointee.d_type) != Int32(DT_DIR) { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
            }
    }

    // MARK: Files

    func open(_ file: String, _ flags: Int32) throws(CgroupError) -> FileDescriptor {
        try CgroupError.mapping { () throws(SyscallError) in
            FileDescriptor(owning: try attempt("open", path + "/" + file) { clinux_openat(descriptor, file, flags | O_CLOEXEC, 0) })
        }
    }

    /// Reads a file of the group; what is longer than 64 KiB is cut.
    func read(_ file: String) throws(CgroupError) -> [UInt8] {
        let open = try open(file, O_RDONLY)
        return try Cgroup.content(open, path + "/" + file)
    }

    static func content(_ file: borrowing FileDescriptor, _ object: String) throws(CgroupError) -> [UInt8] {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while content.count < fileLimit {
            // At a position of its own: one descriptor is read again and again, from the start.
            let count = try CgroupError.mapping { () throws(SyscallError) in
                try attempt("read", object) {
                    chunk.withUnsafeMutableBytes { pread(file.rawValue, $0.baseAddress, $0.count, off_t(content.count)) }
                }
            }
            if count == 0 { break }
            content += chunk[..<count]
        }
        return content
    }

    /// As ``read(_:)``; nil where the kernel has no such file, or has it switched off.
    func readIfPresent(_ file: String) throws(CgroupError) -> [UInt8]? {
        do throws(CgroupError) { return try read(file) } catch {
            guard let errno = error.errno else { throw error }
            // ENODEV: the group is being removed; EOPNOTSUPP: pressure without accounting (psi=0).
            if errno == .noSuchFile || errno == .notSupported || errno.rawValue == ENODEV { return nil }
            throw error
        }
    }

    /// Writes `value` to a file of the group in one write(2).
    func write(_ value: String, to file: String) throws(CgroupError) {
        let object = path + "/" + file
        let open = try open(file, O_WRONLY)
        let bytes = Array(value.utf8)
        let written = try CgroupError.mapping { () throws(SyscallError) in
            try attempt("write \(value) to", object) { bytes.withUnsafeBytes { CLinux.write(open.rawValue, $0.baseAddress, $0.count) } }
        }
        if written != bytes.count { throw CgroupError("write \(value) to", object, "only \(written) bytes were taken") }
    }

    func exists(_ file: String) -> Bool { faccessat(descriptor, file, F_OK, 0) == 0 }
}
