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

    /// - Returns: a function that answers with the file's variables when it is another than at the last call, otherwise with none.
    func follow() -> () -> [String: [UInt8]] {
        var last: (Int, Int, Int) = (-1, -1, -1)
        return {
            var status = stat()
            guard stat(path, &status) == 0 else { return [:] }
            // A file that was replaced has another number, even within the same tick of the clock.
            let now = (Int(status.st_ino), Int(status.st_mtim.tv_sec), Int(status.st_mtim.tv_nsec))
            if now == last { return [:] }
            guard let variables = read() else { return [:] }
            last = now
            return variables
        }
    }
}
