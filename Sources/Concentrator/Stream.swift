import CLinux
import LineEndpoint
import Linux

/// A non-blocking socket in an event loop, with what waits to be sent on it.
final class Stream {
    let descriptor: FileDescriptor
    private let loop: EventLoop
    private var watch: EventLoop.Watch?
    private var interest: Epoll.Interest = []
    private var queue = ByteQueue()
    private(set) var isClosed = false

    init(_ descriptor: consuming FileDescriptor, _ loop: EventLoop) {
        self.descriptor = descriptor
        self.loop = loop
    }

    deinit { close() }

    /// Bytes that wait to be sent.
    var pending: Int { queue.count }

    func send(_ bytes: [UInt8]) {
        if !isClosed { queue.append(bytes[...]) }
    }

    /// Sends what can be sent now.
    /// - Returns: false when the other end is gone.
    func flush() -> Bool {
        if isClosed { return false }
        do throws(SyscallError) {
            while !queue.isEmpty {
                let number = descriptor.rawValue
                let sent = try queue.withFirst { bytes throws(SyscallError) in
                    try attempt("send") { CLinux.send(number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
                }
                queue.removeFirst(sent)
            }
        } catch { if error.errno != .wouldBlock { return false } }
        return true
    }

    /// - Returns: what is there; empty for nothing, nil when the other end is gone.
    func read() -> [UInt8]? {
        if isClosed { return nil }
        do throws(SyscallError) {
            guard let bytes = try descriptor.read(atMost: 32 * 1024) else { return [] }
            return bytes.isEmpty ? nil : bytes
        } catch { return nil }
    }

    /// Waits for what can be done now. A stream that can do nothing is not watched: a hang-up would wake the loop for ever.
    func update(reads: Bool, _ handler: any EventHandler) {
        if isClosed { return }
        let wanted: Epoll.Interest = reads ? (queue.isEmpty ? .readable : [.readable, .writable]) : (queue.isEmpty ? [] : .writable)
        if wanted == interest { return }
        interest = wanted
        if let watch {
            if !wanted.isEmpty {
                loop.modify(watch, wanted)
                return
            }
            loop.unwatch(watch)
            self.watch = nil
        } else if !wanted.isEmpty {
            watch = loop.watch(descriptor.rawValue, wanted, handler, role: 0)
        }
    }

    /// Whether the other end is gone, also where this stream is not watched.
    var isPeerGone: Bool {
        var watched = pollfd(fd: descriptor.rawValue, events: 0, revents: 0)
        return isClosed || poll(&watched, 1, 0) > 0 && Int32(watched.revents) & (POLLHUP | POLLERR | POLLNVAL) != 0
    }

    /// Ends the connection. The descriptor itself closes with this object.
    func close() {
        if isClosed { return }
        isClosed = true
        if let watch { loop.unwatch(watch) }
        watch = nil
        queue.removeAll()
        _ = shutdown(descriptor.rawValue, Int32(SHUT_RDWR))
    }
}
