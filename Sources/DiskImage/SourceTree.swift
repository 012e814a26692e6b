import CNettle
import Foundation

/// A directory tree that becomes a file system, and what has to be known of it.
struct SourceTree {
    /// One file, directory, link or device in the tree.
    struct Entry {
        /// Type and permission bits, as in `st_mode`.
        let mode: UInt32
        let owner: String
        let group: String
        let size: Int64
        /// Device and inode: the same for the names of one file.
        let identity: String
        /// Of a device node.
        let major: UInt32
        let minor: UInt32
        /// Path below the root of the tree, starting with "."; any bytes but NUL.
        let path: [UInt8]

        var type: UInt32 { mode & UInt32(S_IFMT) }
    }

    /// Where the tree lies.
    let directory: String
    /// Depth first: a directory stands before what is in it.
    let entries: [Entry]

    /// Reads the tree. The programs see owners and device nodes as fakeroot(1) shows them, so they are asked, not lstat(2).
    init(directory: String, tool: Tool) throws(DiskImageError) {
        self.directory = directory
        // %n is last for it may hold anything; NUL ends the record.
        let listing = try tool.capture(
            ["find", ".", "-exec", "stat", "--printf=%f %u %g %s %d:%i %t %T %n\\0", "{}", "+"], object: directory, directory: directory)
        var entries: [Entry] = []
        for record in listing.split(separator: 0) {
            let fields = record.split(separator: 0x20, maxSplits: 7, omittingEmptySubsequences: false)
            func text(_ index: Int) -> String { String(decoding: fields[index], as: UTF8.self) }
            guard fields.count == 8, let mode = UInt32(text(0), radix: 16), let size = Int64(text(3)),
                let major = UInt32(text(5), radix: 16), let minor = UInt32(text(6), radix: 16)
            else { throw DiskImageError("stat", directory, "cannot read its output: \(String(decoding: record, as: UTF8.self))") }
            entries.append(
                Entry(
                    mode: mode, owner: text(1), group: text(2), size: size, identity: text(4), major: major, minor: minor,
                    path: Array(fields[7])))
        }
        self.entries = entries
    }

    /// The bytes that files and directories take in blocks of 4096; a file with several names counts once.
    var contentSize: Int64 {
        var seen: Set<String> = []
        return entries.reduce(0) { sum, entry in
            guard entry.type == UInt32(S_IFDIR) || seen.insert(entry.identity).inserted else { return sum }
            return sum + (max(entry.size, entry.type == UInt32(S_IFREG) ? 0 : 1) + 4095) / 4096 * 4096
        }
    }

    /// SHA-256 of names, owners, modes, times and content, the same for a directory and for a tar file of it.
    func digest(tool: Tool) throws(DiskImageError) -> [UInt8] {
        var context = sha256_ctx()
        nettle_sha256_init(&context)
        try tool.run(
            [
                "tar", "--create", "--sort=name", "--numeric-owner", "--xattrs", "--format=posix",
                "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--directory", directory, ".",
            ], object: directory
        ) { piece in
            nettle_sha256_update(&context, piece.count, piece.bindMemory(to: UInt8.self).baseAddress)
        }
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_SIZE))
        nettle_sha256_digest(&context, digest.count, &digest)
        return digest
    }

    /// Unpacks the tar file `archive`, compressed or not, into the empty directory `directory`, owners and all.
    ///
    /// Time stamps later than `timestamp` are set to it: those of directories that the archive does not list are "now".
    static func unpack(_ archive: String, into directory: String, timestamp: Int64, tool: Tool) throws(DiskImageError) {
        try tool.run(
            [
                "tar", "--extract", "--file", archive, "--directory", directory, "--numeric-owner", "--same-owner",
                "--preserve-permissions", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp",
            ], object: archive)
        try tool.run(
            ["find", directory, "-depth", "-newermt", "@\(timestamp)", "-exec", "touch", "-h", "-d", "@\(timestamp)", "{}", "+"],
            object: directory)
    }
}
