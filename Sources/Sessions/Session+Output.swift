import Control
import Linux
import SessionLog

/// Memory for one read, shared by all sessions of a process: they read one after the other.
public final class ReadBuffer {
    var bytes: [UInt8]

    /// - Parameter size: the most bytes of one read.
    public init(size: Int = 32 * 1024) {
        // Not filled: pages that no read has reached cost no memory.
        bytes = [UInt8](unsafeUninitializedCapacity: max(1, size)) { _, count in count = max(1, size) }
    }
}

/// Reading the process, and what of it the clients have yet to get.
extension Session {
    func read(_ stream: LogStream) {
        let limit = room(stream)
        let reading = stream == .stdout ? stdout.read(&buffer.bytes, limit: limit) : stderr.read(&buffer.bytes, limit: limit)
        switch reading {
        case .nothing: break
        case .bytes(let count):
            lastOutput = Clock.monotonic()
            buffer.bytes.withUnsafeBytes { log?.output(stream, UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            tellAll()
        case .end:
            if stream == .stdout { stdout.close(loop) } else { stderr.close(loop) }
        }
        updateReading()
    }

    /// How many bytes of a stream everyone can take now.
    private func room(_ stream: LogStream) -> Int {
        if let log, log.isFull, !log.hasFailed { return 0 }
        let ring = stream == .stdout ? stdout.ring : stderr.ring
        var room = ring.capacity
        for attachment in attachments {
            guard let position = attachment.position(stream) else { continue }
            room = min(room, ring.capacity - Int(clamping: ring.end - min(position, ring.end)))
        }
        return max(0, room)
    }

    /// Watches the streams that may be read now, and no others: level-triggered events of the rest would spin the loop.
    func updateReading() {
        let outRoom = stdout.isOpen ? room(.stdout) : 0
        let errRoom = stderr.isOpen ? room(.stderr) : 0
        // While we do not read, quiet proves nothing.
        if (stdout.isOpen && outRoom == 0) || (stderr.isOpen && errRoom == 0) { lastOutput = Clock.monotonic() }
        stdout.setReading(outRoom > 0, loop, self, .stdout)
        stderr.setReading(errRoom > 0, loop, self, .stderr)
    }

    /// A client got output: the room may have grown.
    func outputSent() { updateReading() }

    /// Gives `body` the bytes of a stream from `offset` on that lie in one piece, at most `limit`.
    func withOutput(_ stream: LogStream, from offset: UInt64, atMost limit: Int, _ body: (UnsafeRawBufferPointer) -> Int) -> Int {
        stream == .stdout
            ? stdout.ring.withBytes(from: offset, atMost: limit, body) : stderr.ring.withBytes(from: offset, atMost: limit, body)
    }

    /// The oldest bytes that are kept, at most `limit`.
    public func recentOutput(_ stream: LogStream, atMost limit: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit {
            let count = withOutput(stream, from: start(of: stream) &+ UInt64(bytes.count), atMost: limit - bytes.count) {
                bytes.append(contentsOf: $0)
                return $0.count
            }
            if count == 0 { break }
        }
        return bytes
    }

    /// The offset of the oldest byte that is kept.
    public func start(of stream: LogStream) -> UInt64 { stream == .stdout ? stdout.ring.start : stderr.ring.start }

    /// The offset behind the last byte.
    public func end(of stream: LogStream) -> UInt64 { stream == .stdout ? stdout.ring.end : stderr.ring.end }

    /// Length and digest of a stream until now.
    public func total(of stream: LogStream) -> StreamTotal { stream == .stdout ? stdout.digest.total : stderr.digest.total }

    /// Whether no more output can come.
    func hasEnded(_ stream: LogStream) -> Bool { state == .ended }

    // MARK: Clients that do not read

    /// Whether the process waits for this client: a ring is full of what it has not taken.
    private func isHoldingBack(_ attachment: Attachment) -> Bool {
        isFull(stdout.ring, attachment.position(.stdout)) || isFull(stderr.ring, attachment.position(.stderr))
    }

    private func isFull(_ ring: OutputRing, _ position: UInt64?) -> Bool {
        guard let position, position < ring.end else { return false }
        return ring.end - position >= UInt64(ring.capacity)
    }

    /// Whether a client that takes nothing may be waited for no longer than ``SessionLimits/stallMilliseconds``. After the
    /// process's end that is so under either policy: an exit is not held up.
    private func isUrgent(_ attachment: Attachment) -> Bool {
        if state == .ended { return !attachment.isComplete }
        return (limits.slowClient == .detach || state == .draining) && isHoldingBack(attachment)
    }

    /// When a client that the process waits for is waited for no longer.
    private func patienceEnds(_ attachment: Attachment) -> Int64 {
        let stalled = attachment.idleSince &+ limits.stallMilliseconds &* 1_000_000
        // For the container's own end much else waits, and a slow line may have much to carry.
        guard kind == .primary, state == .draining, let ended else { return stalled }
        return min(stalled, ended.monotonic &+ limits.drainDeadline &* 1_000_000)
    }

    /// When the next client has held the others up for too long.
    var nextStall: Int64? {
        var next: Int64?
        for attachment in attachments where isUrgent(attachment) {
            let due = patienceEnds(attachment)
            next = min(next ?? due, due)
        }
        return next
    }

    func detachStalled(_ now: Int64) {
        for attachment in attachments {
            if !isUrgent(attachment) {
                // The clock runs only while it is waited for.
                attachment.restartClock(now)
            } else if now >= patienceEnds(attachment) {
                detach(attachment, .slow)
            }
        }
    }
}
