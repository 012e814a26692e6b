import CLinux
import Linux

/// A serial line with a bounded queue in front of it: nothing that is written to it ever waits.
///
/// The queue may run over its mark by what one caller appends at a time; the callers stop to produce when ``isFull``.
final class PortWriter {
    private let port: SerialPort
    private var queue: [UInt8] = []
    private var head = 0
    /// Queued bytes from which ``isFull`` is true.
    private let highWater: Int
    /// When the line last took a byte, on the monotonic clock.
    private(set) var lastProgress: Int64
    /// The first error of the line; nothing is written after it.
    private(set) var failure: SyscallError?

    init(_ path: String, highWater: Int) throws(SyscallError) {
        port = try SerialPort(path)
        self.highWater = highWater
        lastProgress = Clock.monotonic()
    }

    var descriptor: Int32 { port.rawValue }
    var path: String { port.path }
    var pending: Int { queue.count - head }
    var isFull: Bool { pending >= highWater }

    /// Appends what `produce` adds to the queue, then writes what the line takes now.
    func append(_ produce: (inout [UInt8]) -> Void) {
        // Progress is measured from when there was something to write.
        if pending == 0 { lastProgress = Clock.monotonic() }
        produce(&queue)
        if failure != nil {
            queue.removeAll()
            head = 0
        } else {
            flush()
        }
    }

    /// Writes what the line takes now.
    func flush() {
        while pending > 0, failure == nil {
            do throws(SyscallError) {
                guard let count = try write() else { return }
                head += count
                lastProgress = Clock.monotonic()
                // Moving the rest to the front costs less than it frees once most of the queue is written.
                if head == queue.count || head >= 65_536 {
                    queue.removeFirst(head)
                    head = 0
                }
            } catch {
                failure = error
            }
        }
    }

    private func write() throws(SyscallError) -> Int? {
        var result: Int?
        var failure: SyscallError?
        queue.withUnsafeBytes { bytes in
            do throws(SyscallError) { result = try port.write(UnsafeRawBufferPointer(rebasing: bytes[head...])) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return result
    }

    /// Waits until everything has left the machine, or nothing has for `quietMilliseconds`.
    /// - Returns: the bytes that did not get out of the queue, 0 when all did.
    func drain(quietMilliseconds: Int64) -> Int {
        while failure == nil {
            flush()
            if pending == 0 && port.isDrained { return 0 }
            if Clock.monotonic() - lastProgress > quietMilliseconds &* 1_000_000 { break }
            // While bytes are queued the line says when it takes more; what is in the driver and the UART has to be asked for.
            var poller = pollfd(fd: port.rawValue, events: pending > 0 ? Int16(POLLOUT) : 0, revents: 0)
            _ = poll(&poller, 1, pending > 0 ? 100 : 2)
        }
        return pending
    }
}
