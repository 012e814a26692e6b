import CHostProcess
import CLinux
import Linux

/// A running QEMU. It dies with the thread that started it, and it is killed when this is released.
final class QEMUProcess {
    /// Readable when QEMU has ended.
    let ended: FileDescriptor
    let pid: Int32
    private var end: ProcessEnd?

    /// - Parameters:
    ///   - output: where QEMU's own messages go.
    ///   - keeping: descriptors that QEMU inherits under the same numbers; the caller closes its copies.
    init(path: String, arguments: [String], output: Int32, keeping: [Int32]) throws(VirtualMachineError) {
        let strings = [path] + arguments
        var argv: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var step: UnsafePointer<CChar>?
        let pid = hostprocess_spawn(path, &argv, output, keeping, Int32(clamping: keeping.count), &step)
        guard pid > 0 else {
            let errno = Errno(rawValue: clinux_errno())
            let name = step.map { String(cString: $0) } ?? "fork"
            throw VirtualMachineError("start", path, "\(name): \(errno)")
        }
        self.pid = pid
        let number = hostprocess_pidfd(pid)
        guard number >= 0 else {
            let errno = Errno(rawValue: clinux_errno())
            _ = CLinux.kill(pid, SIGKILL)
            _ = waitpid(pid, nil, 0)
            throw VirtualMachineError("watch", path, "pidfd_open: \(errno)")
        }
        ended = FileDescriptor(owning: number)
    }

    deinit { _ = killAndWait() }

    /// How QEMU ended; nil while it runs.
    func endIfAny() -> ProcessEnd? {
        if let end { return end }
        var status: Int32 = 0
        while true {
            let result = waitpid(pid, &status, WNOHANG)
            if result == pid { end = ProcessEnd(waitStatus: status) }
            if result != -1 || clinux_errno() != EINTR { return end }
        }
    }

    /// Ends QEMU at once.
    func killAndWait() -> ProcessEnd? {
        if let end { return end }
        _ = CLinux.kill(pid, SIGKILL)
        var status: Int32 = 0
        while true {
            let result = waitpid(pid, &status, 0)
            if result == pid { end = ProcessEnd(waitStatus: status) }
            if result != -1 || clinux_errno() != EINTR { return end }
        }
    }

    /// The full path of `name` in PATH, as execvp(3) would find it; a name with a slash stands for itself.
    static func find(_ name: String) throws(VirtualMachineError) -> String {
        if name.utf8.contains(UInt8(ascii: "/")) { return name }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        for directory in path.split(separator: ":", omittingEmptySubsequences: false) {
            let candidate = (directory.isEmpty ? "." : String(directory)) + "/" + name
            if access(candidate, X_OK) == 0 { return candidate }
        }
        throw VirtualMachineError("find", name, "it is not in PATH (Debian's package is qemu-system-x86)")
    }
}

/// Two connected stream sockets: one for us, one for QEMU.
struct SocketPair: ~Copyable {
    let ours: FileDescriptor
    let theirs: FileDescriptor

    init() throws(VirtualMachineError) {
        var ends: (Int32, Int32) = (-1, -1)
        try system { () throws(SyscallError) in
            _ = try attempt("socketpair") {
                withUnsafeMutableBytes(of: &ends) {
                    socketpair(
                        AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0,
                        $0.baseAddress?.assumingMemoryBound(to: Int32.self))
                }
            }
        }
        ours = FileDescriptor(owning: ends.0)
        theirs = FileDescriptor(owning: ends.1)
    }

    consuming func take() -> (ours: Int32, theirs: Int32) { (ours.take(), theirs.take()) }
}
