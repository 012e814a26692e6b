import CLinux
import Control
import Linux
import SessionLog

/// One client of the control interface (docs/control.md): its requests, its attachments, and what is on its way to it.
///
/// Output waits in the sessions' rings and is queued here only as far as the socket is likely to take it, so that an answer
/// never stands behind more than ``outputMark`` bytes of it.
public final class ControlConnection: EventHandler, SessionClient {
    /// Queued bytes from which no output is added.
    static let outputMark = 32 * 1024
    /// Queued bytes from which no request is read: whoever does not read answers gets no more of them.
    static let requestMark = 128 * 1024
    /// How often the socket is read in one turn: a client that always has something to say must not keep the others waiting.
    static let readsAtOnce = 16
    /// The most requests carried out in one turn, for the same reason.
    static let requestsAtOnce = 64
    /// The most output in one message.
    public static let pieceSize = 16 * 1024

    /// A request that is answered by what becomes of a session.
    struct Follower {
        enum Purpose { case attach, exec, wait }

        let tag: UInt32
        let attachment: Attachment
        let purpose: Purpose
        /// Bytes that were asked for and are no longer kept.
        var missed: (stdout: UInt64, stderr: UInt64) = (0, 0)
        /// The first answer has been given.
        var isAnnounced: Bool
        var inputEndTold = false
    }

    let service: any ControlService
    private let loop: EventLoop
    private let descriptor: FileDescriptor
    private var watch: EventLoop.Watch?
    private var watched: Epoll.Interest = .readable
    private var decoder = FrameDecoder()
    private var queue: [UInt8] = []
    private var head = 0
    var isGreeted = false
    var isSubscribed = false
    public private(set) var isClosed = false
    /// The client is told no more and read no more; what is queued still goes out.
    private var isEnding = false
    var followers: [Follower] = []
    private var nextFollower = 0
    private var needsPump = false
    /// Requests have been read that are yet to be carried out.
    private var isBehind = false

    /// - Parameter descriptor: a connected stream socket, which is made non-blocking.
    public init(_ descriptor: consuming FileDescriptor, loop: EventLoop, service: any ControlService) throws(SyscallError) {
        try descriptor.setNonBlocking()
        self.descriptor = descriptor
        self.loop = loop
        self.service = service
        watch = loop.watch(self.descriptor.rawValue, .readable, self, role: 0)
    }

    private var pending: Int { queue.count - head }
    public private(set) var lastProgress = Clock.monotonic()

    /// Closes a connection whose client has not taken what waits for it for this long, in milliseconds.
    public func closeIfStuck(_ milliseconds: Int64, _ now: Int64) {
        if pending > 0 && now &- lastProgress >= milliseconds &* 1_000_000 { close("the client does not read") }
    }

    /// Whether everything has gone to the client that is meant for it.
    public var isIdle: Bool { isClosed || pending == 0 && followers.isEmpty }

    // MARK: Events

    public func ready(role: Int32, _ event: Epoll.Event) {
        if event.isWritable { flush() }
        if event.isReadable || event.isClosedOrFailed { read() }
    }

    public func attachmentChanged(_ attachment: Attachment) { needsPump = true }

    /// Sends what has come up. Call it after every turn of the loop.
    public func turnEnded() {
        if isClosed { return }
        if isBehind { decode() }
        if needsPump {
            needsPump = false
            pump()
        }
        updateInterest()
    }

    /// When ``turnEnded()`` has something to do, on the monotonic clock; nil for not before an event.
    public var nextDeadline: Int64? { isBehind && !isClosed && !isEnding && pending < ControlConnection.requestMark ? 0 : nil }

    private func updateInterest() {
        guard !isClosed, let watch else { return }
        var wanted: Epoll.Interest = []
        if pending > 0 { wanted.insert(.writable) }
        if !isEnding && !isBehind && pending < ControlConnection.requestMark { wanted.insert(.readable) }
        if wanted != watched {
            watched = wanted
            loop.modify(watch, wanted)
        }
    }

    // MARK: Reading

    private func read() {
        if isClosed || isEnding || isBehind { return }
        for _ in 0..<ControlConnection.readsAtOnce where pending < ControlConnection.requestMark {
            var failure: SyscallError?
            var count: Int? = nil
            withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 1) { buffer in
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, decoder.room)])
                do throws(SyscallError) {
                    count = try descriptor.read(into: part, object: "control connection")
                    if let count { decoder.append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(part)[..<count])) }
                } catch {
                    failure = error
                }
            }
            if let failure { return close(failure.description) }
            guard let count else { return }
            if count == 0 { return close("the client closed the connection") }
            decode()
            if isClosed || isEnding || isBehind { return }
        }
    }

    private func decode() {
        isBehind = false
        for _ in 0..<ControlConnection.requestsAtOnce where !isClosed && !isEnding {
            if pending >= ControlConnection.requestMark { break }
            do throws(ControlError) {
                guard let frame = try decoder.next(ClientMessage.self) else { return }
                switch frame {
                case .message(let message): handle(message)
                case .unknown where !isGreeted: return end("the first message was not hello")
                case .unknown(let type, let tag):
                    refuse(tag, .unsupported, "take a message", "of type \(type)", "version \(ControlProtocol.version) does not have it")
                }
            } catch {
                return end(error.description)
            }
        }
        isBehind = !isClosed && !isEnding
    }

    // MARK: Writing

    public func send(_ message: ServerMessage) {
        if isClosed || isEnding { return }
        message.encode(into: &queue)
        needsPump = true
    }

    public func refuse(_ tag: UInt32, _ code: RequestFailure.Code, _ operation: String, _ object: String, _ cause: String) {
        send(.failed(tag: tag, RequestFailure(code, operation: operation, object: object, cause: cause)))
    }

    /// Answers a request that was done, or was not.
    func answer(_ tag: UInt32, _ failure: RequestFailure?) {
        if let failure { send(.failed(tag: tag, failure)) } else { send(.done(tag: tag)) }
    }

    /// Tells a subscriber of something. One that does not read is not worth a buffer without bounds.
    public func notify(_ event: ControlEvent) {
        guard isSubscribed else { return }
        if pending >= 2 * ControlConnection.requestMark { return close("the client does not read") }
        send(.event(tag: subscription, event))
    }

    var subscription: UInt32 = 0

    private func pump() {
        // Attachments take turns, a piece each, beginning behind the last one served.
        var progress = true
        while progress {
            progress = false
            var served: Int?
            for offset in followers.indices {
                let index = (nextFollower + offset) % followers.count
                announce(index)
                if followers[index].isAnnounced, pending < ControlConnection.outputMark, sendPiece(index) { served = index }
            }
            if let served {
                progress = true
                nextFollower = (served + 1) % followers.count
            }
            flush()
            if isClosed { return }
        }
        conclude()
        flush()
    }

    private func sendPiece(_ index: Int) -> Bool {
        let tag = followers[index].tag
        return followers[index].attachment.sendOutput(atMost: ControlConnection.pieceSize) { stream, offset, bytes in
            ServerMessage.encodeOutput(tag: tag, stream, offset: offset, bytes, into: &queue)
        }
    }

    private func flush() {
        while pending > 0, !isClosed {
            var taken: Int?
            var failure: SyscallError?
            queue.withUnsafeBytes { bytes in
                do throws(SyscallError) {
                    taken = try descriptor.write(UnsafeRawBufferPointer(rebasing: bytes[head...]), object: "control connection")
                } catch {
                    failure = error
                }
            }
            if let failure { return close(failure.description) }
            guard let taken else { return }
            lastProgress = Clock.monotonic()
            head += taken
            if head == queue.count {
                queue.removeAll(keepingCapacity: queue.capacity <= 2 * ControlConnection.outputMark)
                head = 0
            } else if head >= 65_536 {
                queue.removeFirst(head)
                head = 0
            }
            // Room in the queue is room for output.
            if pending < ControlConnection.outputMark { needsPump = true }
        }
        if isEnding && pending == 0 { close(endingCause) }
    }

    // MARK: The end

    private var endingCause = ""

    /// Ends the connection when all that is queued has gone out, the last of it why.
    public func end(_ cause: String) {
        if isClosed || isEnding { return }
        send(.closing(cause: cause))
        isEnding = true
        endingCause = cause
        release()
        flush()
    }

    /// Ends the connection at once.
    public func close(_ cause: String) {
        if isClosed { return }
        isClosed = true
        if let watch { loop.unwatch(watch) }
        watch = nil
        _ = shutdown(descriptor.rawValue, Int32(SHUT_RDWR))
        queue = []
        head = 0
        release()
        service.connectionClosed(self, cause)
    }

    private func release() {
        let released = followers
        followers = []
        for follower in released { follower.attachment.session.detach(follower.attachment, .disconnected) }
    }
}
