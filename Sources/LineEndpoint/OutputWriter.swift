import CLinux
public import Linux

/// Passes bytes on to a descriptor that belongs to someone else, without ever waiting in a write.
///
/// The descriptor's flags are left alone, since other programs may share it. Instead poll(2) is asked first, and what is
/// written at once fits into what a pipe that polls writable has room for.
public struct OutputWriter {
    /// What poll(2)'s POLLOUT promises room for in a pipe: PIPE_BUF.
    private static let piece = 4096
    /// More than this is not taken in: the source is not read meanwhile.
    private static let limit = 256 * 1024

    public let descriptor: Int32
    private var queue: [UInt8] = []
    private var start = 0
    /// The reader is gone; what comes is dropped.
    public private(set) var isClosed = false

    public init(descriptor: Int32) { self.descriptor = descriptor }

    public var isEmpty: Bool { start == queue.count }
    public var isFull: Bool { queue.count - start >= Self.limit }

    public mutating func append(_ bytes: [UInt8]) {
        if isClosed { return }
        if isEmpty { drop() }
        // A reader that is always a little behind must not have all that it ever got kept here.
        if start >= Self.limit {
            queue.removeFirst(start)
            start = 0
        }
        queue += bytes
    }

    /// Drops everything that waits.
    public mutating func drop() {
        queue.removeAll(keepingCapacity: true)
        start = 0
    }

    /// Takes note that the reader is gone.
    public mutating func close() {
        isClosed = true
        drop()
    }

    /// Writes what can be written now. To be called when poll(2) reports the descriptor writable or in error.
    /// - Throws: when the descriptor cannot be written any more, except that its reader is gone: that is ``isClosed``.
    public mutating func flush() throws(SyscallError) {
        while !isEmpty {
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 0) > 0 else { return }
            let range = start..<min(start + Self.piece, queue.count)
            do throws(SyscallError) {
                start += try attempt("write", "descriptor \(descriptor)") {
                    queue.withUnsafeBytes { CLinux.write(descriptor, $0.baseAddress?.advanced(by: range.lowerBound), range.count) }
                }
            } catch {
                if error.errno == .wouldBlock { return }
                close()
                if error.errno != .brokenPipe { throw error }
            }
        }
    }
}
