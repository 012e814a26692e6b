import Foundation

/// Finishes what `mke2fs -d` of e2fsprogs 1.47.0 leaves undone: it gives the root directory mode 0755 whatever the
/// tree's is, and copies each file's access and change times. Those say when the tree was unpacked here, so that no two
/// images would be equal.
enum Ext4Times {
    /// Sets the access and change times of every file in the unmounted file system in `file` to `timestamp`, and the
    /// root directory's owner and mode to those of `root`.
    static func set(in file: String, to timestamp: Int64, root: SourceTree.Entry?, tool: Tool) throws(DiskImageError) {
        var script = ""
        if let root {
            script += "sif <2> mode 0\(String(root.mode, radix: 8))\nsif <2> uid \(root.owner)\nsif <2> gid \(root.group)\n"
        }
        // By number and not by name: a name may hold what a line of a script cannot.
        for inode in try usedInodes(in: file, tool: tool) {
            script += "sif <\(inode)> atime @\(timestamp)\nsif <\(inode)> ctime @\(timestamp)\n"
        }
        let path = file + ".debugfs"
        try writeFile(path, Array(script.utf8))
        defer { unlink(path) }
        try tool.run(["debugfs", "-w", "-f", path, file], object: file)
    }

    /// The numbers of the inodes in use, without those below the first ordinary one, which mke2fs made itself.
    private static func usedInodes(in file: String, tool: Tool) throws(DiskImageError) -> [Int] {
        let text = String(decoding: try tool.capture(["dumpe2fs", file], object: file), as: UTF8.self)
        var count: Int?
        var first: Int?
        var free = IndexSet()
        // The superblock's own count of free inodes comes before the groups, each of which lists its free ones.
        var inGroups = false
        for line in text.split(separator: "\n") {
            if line.hasPrefix("Group ") { inGroups = true }
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            switch line[..<colon].trimmingCharacters(in: .whitespaces) {
            case "Inode count": count = Int(value)
            case "First inode": first = Int(value)
            case "Free inodes" where inGroups:
                for range in value.split(separator: ",") {
                    let ends = range.split(separator: "-").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
                    if let low = ends.first, let high = ends.last, low <= high { free.insert(integersIn: low...high) }
                }
            default: break
            }
        }
        guard let count, let first, first <= count else {
            throw DiskImageError("dumpe2fs", file, "it does not say how many inodes there are")
        }
        return IndexSet(integersIn: first...count).subtracting(free).map { $0 }
    }
}
