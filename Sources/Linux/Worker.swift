import CLinux

/// Something that may end a wait early: a descriptor, and the question to ask once it is readable.
public struct Interrupt {
    /// Watched for reading.
    public let descriptor: Int32
    /// Called when ``descriptor`` is readable; true ends the wait. It must consume what made the descriptor readable
    /// when it answers false, or the wait asks it again at once.
    public let isRequested: () -> Bool

    /// - Parameter isRequested: without one, any readability ends the wait.
    public init(descriptor: Int32, isRequested: @escaping () -> Bool = { true }) {
        self.descriptor = descriptor
        self.isRequested = isRequested
    }
}

/// Where a worker writes its messages. Each arrives in the parent whole or not at all.
public struct WorkerOutput: ~Copyable {
    let pipe: FileDescriptor

    /// Sends one message; blocks while the parent does not read. A parent that is gone is no error for the worker.
    public func send(_ message: [UInt8]) {
        var frame = FieldEncoder()
        frame.append(message)
        write(frame.bytes)
    }

    /// A length that no message can have ends the conversation: by it the parent knows that the body ran to its end.
    func finish() { write([0xFF, 0xFF, 0xFF, 0xFF]) }

    private func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            var rest = UnsafeRawBufferPointer(rebasing: buffer[...])
            while !rest.isEmpty {
                let count = CLinux.write(pipe.rawValue, rest.baseAddress, rest.count)
                if count < 0 && clinux_errno() == EINTR { continue }
                if count <= 0 { return }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }
}

/// How a worker ended, and what it sent until then.
public struct WorkerResult: Sendable {
    public enum Ending: Equatable, Sendable {
        /// The body ran to its end; every message is here.
        case finished
        /// The worker ended before its body did: a signal, or its messages passed the limit.
        case died(signal: Int32)
        /// The deadline passed. `reaped` is false when it did not even die of SIGKILL: it hangs in the kernel.
        case timedOut(reaped: Bool)
        /// The interrupt was requested.
        case interrupted(reaped: Bool)
    }

    public let ending: Ending
    public let messages: [[UInt8]]
}

/// A forked child that does what may block for ever (a read from a dead disk, mount(2), finit_module(2)), so that PID 1
/// does not.
///
/// The child shares no memory with the parent: it sends messages through a pipe. The parent waits with a deadline, and
/// kills a child that misses it; one that hangs in the kernel cannot be killed and is left behind.
public struct Worker: ~Copyable {
    /// What it does, for messages: "probe /dev/sda".
    public let name: String
    public let processID: pid_t
    private let pidfd: FileDescriptor
    private let pipe: FileDescriptor
    private let limit: Int
    private var received: [UInt8] = []
    private var ended = false

    /// How long a worker that was killed may take to disappear, in milliseconds.
    public static let reapMilliseconds: Int64 = 200

    /// Forks, and runs `body` in the child, which then exits without running anything of the parent's. Of the parent's descriptors
    /// it has only 0 to 2.
    ///
    /// - Parameter limit: the most bytes of messages, with four bytes for each message, that the parent takes.
    /// - Throws: ``SyscallError`` of pipe2, fork or pidfd_open.
    public static func start(
        _ name: String, limit: Int = 65_536, _ body: (borrowing WorkerOutput) -> Void
    ) throws(SyscallError) -> Worker {
        let (read, write) = try Pipe().take()
        let readEnd = FileDescriptor(owning: read)
        let output = WorkerOutput(pipe: FileDescriptor(owning: write))
        try readEnd.setNonBlocking()
        var pidfd: Int32 = -1
        let pid = clinux_fork_worker(&pidfd)
        if pid == 0 {
            // Copies of other descriptors would keep them open as long as this runs: the pipe of a process, whose end then never comes.
            _ = clinux_close_others(output.pipe.rawValue)
            body(output)
            output.finish()
            _exit(0)
        }
        // Leaving this function closes the parent's copy of the write end: end-of-file then means the child's end.
        if pid < 0 { throw SyscallError("fork", name, Errno(rawValue: clinux_errno())) }
        let descriptor = FileDescriptor(owning: pidfd)
        return Worker(name: name, processID: pid, pidfd: descriptor, pipe: readEnd, limit: limit)
    }

    private init(name: String, processID: pid_t, pidfd: consuming FileDescriptor, pipe: consuming FileDescriptor, limit: Int) {
        self.name = name
        self.processID = processID
        self.pidfd = pidfd
        self.pipe = pipe
        self.limit = limit
    }

    /// The descriptor to watch for reading (it reports end-of-file, too); call ``step()`` whenever it is ready.
    public var descriptor: Int32 { ended ? pidfd.rawValue : pipe.rawValue }

    /// Takes the messages that have come, without blocking. ``step()`` has those that come after them.
    public mutating func takeMessages() -> [[UInt8]] {
        drain()
        var decoder = FieldDecoder(received)
        var messages: [[UInt8]] = []
        var length = 0
        while let message = decoder.field() {
            messages.append(message)
            length += 4 + message.count
        }
        received.removeFirst(length)
        return messages
    }

    /// Takes what there is without blocking.
    ///
    /// - Returns: the result once the worker has ended, else nil.
    public mutating func step() -> WorkerResult? {
        drain()
        if !ended { return nil }
        let (messages, complete) = decoded()
        // The trailer, not the exit status, says that the body ran to its end: an event loop that waits for all children
        // may have taken the status.
        switch reap() {
        case .running: return nil
        case .signal(let signal) where !complete: return WorkerResult(ending: .died(signal: signal), messages: messages)
        case .signal, .gone: return WorkerResult(ending: complete ? .finished : .died(signal: 0), messages: messages)
        }
    }

    /// Waits until the worker ends, the deadline passes or the interrupt is requested; in the latter two cases kills it.
    public consuming func wait(until deadline: Deadline, interrupt: Interrupt? = nil) -> WorkerResult {
        while true {
            if let result = step() { return result }
            if deadline.hasPassed {
                let reaped = kill()
                return WorkerResult(ending: .timedOut(reaped: reaped), messages: decoded().messages)
            }
            // poll(2) ignores a negative descriptor.
            var watched = (
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
            )
            let ready = withUnsafeMutableBytes(of: &watched) {
                poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, deadline.pollTimeout)
            }
            if ready > 0, watched.1.revents != 0, let interrupt, interrupt.isRequested() {
                let reaped = kill()
                return WorkerResult(ending: .interrupted(reaped: reaped), messages: decoded().messages)
            }
        }
    }

    /// Kills the worker and reaps it, waiting at most ``reapMilliseconds``.
    ///
    /// - Returns: whether it is gone. A process in an uninterruptible wait of the kernel stays, as a child of PID 1.
    public mutating func kill() -> Bool {
        _ = clinux_pidfd_send_signal(pidfd.rawValue, SIGKILL)
        let deadline = Deadline.after(milliseconds: Worker.reapMilliseconds)
        while true {
            if case .running = reap() {} else { return true }
            if deadline.hasPassed { return false }
            var watched = pollfd(fd: pidfd.rawValue, events: Int16(POLLIN), revents: 0)
            _ = poll(&watched, 1, deadline.pollTimeout)
        }
    }

    /// Kills the worker without waiting for its end, which ``step()`` tells.
    public borrowing func abandon() { _ = clinux_pidfd_send_signal(pidfd.rawValue, SIGKILL) }

    private mutating func drain() {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while !ended {
            let count = chunk.withUnsafeMutableBytes { CLinux.read(pipe.rawValue, $0.baseAddress, $0.count) }
            if count < 0 {
                if clinux_errno() == EINTR { continue }
                if clinux_errno() != EAGAIN { ended = true }
                return
            }
            if count == 0 {
                ended = true
            } else if received.count + count > limit + 4 {
                // It says more than was agreed: whatever it does, it is not what it was started for.
                _ = clinux_pidfd_send_signal(pidfd.rawValue, SIGKILL)
                ended = true
            } else {
                received.append(contentsOf: chunk[..<count])
            }
        }
    }

    private func decoded() -> (messages: [[UInt8]], complete: Bool) {
        var messages: [[UInt8]] = []
        let complete = received.count >= 4 && received.suffix(4).allSatisfy { $0 == 0xFF }
        var decoder = FieldDecoder(complete ? Array(received.dropLast(4)) : received)
        while let message = decoder.field() { messages.append(message) }
        // Four bytes 0xFF are the trailer only where a message could have begun.
        return (messages, complete && decoder.isAtEnd)
    }

    private enum Reaped {
        case running, gone
        case signal(Int32)
    }

    private func reap() -> Reaped {
        var code: Int32 = 0
        var status: Int32 = 0
        switch clinux_reap_pidfd(pidfd.rawValue, &code, &status) {
        case 0: return .running
        case 1: return code == CLD_EXITED ? .gone : .signal(status)
        default: return .gone
        }
    }
}
