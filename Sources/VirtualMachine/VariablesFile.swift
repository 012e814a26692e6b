import CLinux

/// A file with guestinfo variables, which may be changed while the VM runs, as `govc vm.change -e` changes a VM's.
public struct VariablesFile: Sendable {
    /// Reads the file; nil when that is not possible now.
    private let read: @Sendable () -> [String: [UInt8]]?
    private let path: String

    public init(path: String, read: @escaping @Sendable () -> [String: [UInt8]]?) {
        self.path = path
        self.read = read
    }

    /// What the file has of a variable; nil for nothing any more.
    struct Change {
        var key: String
        var value: [UInt8]?
    }

    /// - Returns: a function that answers with what is another than at its last call. A file that is gone has nothing.
    func follow() -> () -> [Change] {
        var last: (Int, Int, Int) = (-1, -1, -1)
        var known: [String: [UInt8]] = [:]
        return {
            var status = stat()
            var now = (-1, -1, -1)
            var variables: [String: [UInt8]] = [:]
            if stat(path, &status) == 0 {
                // A file that was replaced has another number, even within the same tick of the clock.
                now = (Int(status.st_ino), Int(status.st_mtim.tv_sec), Int(status.st_mtim.tv_nsec))
                if now == last { return [] }
                guard let content = read() else { return [] }
                variables = content
            } else if clinux_errno() != ENOENT {
                return []
            }
            last = now
            defer { known = variables }
            let gone = known.keys.filter { variables[$0] == nil }.map { Change(key: $0, value: nil) }
            return gone + variables.filter { known[$0.key] != $0.value }.map { Change(key: $0.key, value: $0.value) }
        }
    }
}
