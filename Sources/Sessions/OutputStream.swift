import CLinux
import Linux
import SessionLog

/// One output stream of a session: its descriptor while a process writes to it, and what was read.
struct OutputStream {
    let stream: LogStream
    private(set) var ring: OutputRing
    private(set) var digest = StreamDigest()
    /// The read end, which the session's process owns; -1 when there is nothing (more) to read.
    private(set) var descriptor: Int32 = -1
    private var watch: EventLoop.Watch?
    /// Bytes that were there when the process ended: these are its own last words, whatever holds the stream now.
    private(set) var owed = 0

    init(_ stream: LogStream, capacity: Int) {
        self.stream = stream
        ring = OutputRing(capacity: capacity)
    }

    var isOpen: Bool { descriptor >= 0 }

    /// Begins to read from a process; -1 where it has no such stream.
    mutating func open(_ descriptor: Int32) {
        self.descriptor = descriptor
        owed = 0
    }

    /// Stops to read for good. The descriptor itself is its owner's to close.
    mutating func close(_ loop: EventLoop) {
        if let watch { loop.unwatch(watch) }
        watch = nil
        descriptor = -1
        owed = 0
    }

    /// Watches the descriptor, or stops to. Not an empty interest: a hang-up would be reported all the same, for ever.
    mutating func setReading(_ wanted: Bool, _ loop: EventLoop, _ session: Session, _ role: Session.Role) {
        if wanted, watch == nil, isOpen {
            watch = loop.watch(descriptor, .readable, session, role: role.rawValue)
        } else if !wanted, let watch {
            loop.unwatch(watch)
            self.watch = nil
        }
    }

    /// Notes what the ended process has left to read.
    mutating func processEnded() {
        var count: Int32 = 0
        owed = isOpen && clinux_readable_bytes(descriptor, &count) == 0 ? Int(max(0, count)) : 0
    }

    /// Of what the ended process left, no more is owed than is there: whoever else holds the stream's reading end may have taken it.
    mutating func recheckOwed() {
        var count: Int32 = 0
        if owed > 0, clinux_readable_bytes(descriptor, &count) == 0 { owed = min(owed, Int(max(0, count))) }
    }

    enum Reading {
        case bytes(Int)
        case nothing
        case end
    }

    /// Reads once into `buffer`, at most `limit` bytes, and keeps and counts them.
    mutating func read(_ buffer: inout [UInt8], limit: Int) -> Reading {
        let descriptor = self.descriptor
        let wanted = min(limit, buffer.count)
        guard isOpen, wanted > 0 else { return .nothing }
        let count = buffer.withUnsafeMutableBytes { CLinux.read(descriptor, $0.baseAddress, wanted) }
        if count > 0 {
            owed = max(0, owed - count)
            buffer.withUnsafeBytes { bytes in
                let read = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                digest.update(read)
                ring.append(read)
            }
            return .bytes(count)
        }
        if count < 0, clinux_errno() == EAGAIN || clinux_errno() == EINTR { return .nothing }
        // A pipe's end is 0; a terminal whose last process closed it fails with EIO.
        return .end
    }
}
