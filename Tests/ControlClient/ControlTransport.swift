import CLinux
import Control
import Linux

/// The bytes below the messages: a socket, and on it, if it leads to a serial line, the line's synchronisation.
final class ControlTransport {
    private let descriptor: FileDescriptor
    private var outgoing: [UInt8] = []
    private var sent = 0
    /// What came right behind the answer to the synchronisation.
    private var early: [UInt8] = []
    private let isSerial: Bool

    init(_ descriptor: consuming FileDescriptor) throws(ControlClientError) {
        self.descriptor = descriptor
        isSerial = false
        try prepare()
    }

    /// Connects to a unix socket behind which a serial line is, and waits until someone answers there.
    init(serialSocket path: String, deadline: Deadline) throws(ControlClientError) {
        descriptor = try ControlTransport.connect(path)
        isSerial = true
        try prepare()
        try synchronise(deadline)
    }

    private func prepare() throws(ControlClientError) {
        do throws(SyscallError) { try descriptor.setNonBlocking() } catch { throw .system(error) }
    }

    private static func connect(_ path: String) throws(ControlClientError) -> FileDescriptor {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        // One more for the NUL that ends it.
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .system(SyscallError("connect", path, Errno(rawValue: ENAMETOOLONG)))
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        do throws(SyscallError) {
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let descriptor = FileDescriptor(owning: try attempt("socket") { socket(AF_UNIX, type, 0) })
            let number = descriptor.rawValue
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            try attempt("connect", path) { () -> Int32 in
                withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        CLinux.connect(number, __CONST_SOCKADDR_ARG(__sockaddr__: $0), size)
                    }
                }
            }
            return descriptor
        } catch { throw .system(error) }
    }

    /// How long one attempt may take, in milliseconds: whoever serves the line may have to be started again first.
    private static let patience: Int64 = 500

    private func synchronise(_ deadline: Deadline) throws(ControlClientError) {
        var nonce = ""
        var random = SystemRandomNumberGenerator()
        for _ in 0..<16 { nonce += String(Int.random(in: 0..<16, using: &random), radix: 16) }
        var finder = AnswerFinder(nonce: nonce)
        var rest: [UInt8] = []
        while !finder.isFound {
            if deadline.hasPassed { throw .timedOut("an answer on the serial line") }
            // What has not left yet must not pile up before a guest that does not read.
            if !hasOutgoing { (outgoing, sent) = (SerialLine.synchronisation(nonce: nonce), 0) }
            let next = Deadline.after(milliseconds: Self.patience)
            let turn = next.nanoseconds < deadline.nanoseconds ? next : deadline
            while !finder.isFound, !turn.hasPassed {
                guard let bytes = try exchange(turn) else { throw .disconnected("the other end closed it") }
                let skipped = bytes.withUnsafeBytes { finder.skip($0) }
                rest = Array(bytes[skipped...])
            }
        }
        early = rest
    }

    var hasOutgoing: Bool { sent < outgoing.count }

    /// Takes messages to send; ``exchange(_:)`` sends them.
    func send(_ bytes: [UInt8]) {
        if sent == outgoing.count {
            outgoing.removeAll(keepingCapacity: true)
            sent = 0
        }
        if isSerial { bytes.withUnsafeBytes { SerialLine.escape($0, into: &outgoing) } } else { outgoing += bytes }
    }

    /// Sends what can be sent, and reads what is there; waits until one of the two is possible.
    /// - Returns: what was read, empty for nothing; nil when the other end has closed the connection.
    func exchange(_ deadline: Deadline) throws(ControlClientError) -> [UInt8]? {
        if !early.isEmpty {
            let bytes = early
            early = []
            return bytes
        }
        var watched = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN | (hasOutgoing ? POLLOUT : 0)), revents: 0)
        do throws(SyscallError) {
            let ready = try attempt("poll") { poll(&watched, 1, deadline.pollTimeout) }
            if ready == 0 { return [] }
            if Int32(watched.revents) & POLLOUT != 0 { try flush() }
            if Int32(watched.revents) & (POLLIN | POLLHUP | POLLERR) == 0 { return [] }
            guard let bytes = try descriptor.read(atMost: 65_536, object: "the control connection") else { return [] }
            return bytes.isEmpty ? nil : bytes
        } catch {
            if error.errno.rawValue == ECONNRESET || error.errno == .brokenPipe { return nil }
            throw .system(error)
        }
    }

    private func flush() throws(SyscallError) {
        let number = descriptor.rawValue
        let start = sent
        do throws(SyscallError) {
            sent += try attempt("send", "to the control connection") {
                outgoing.withUnsafeBytes { CLinux.send(number, $0.baseAddress?.advanced(by: start), $0.count - start, Int32(MSG_NOSIGNAL)) }
            }
        } catch { if error.errno != .wouldBlock { throw error } }
    }
}
