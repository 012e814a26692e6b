import CLinux
import Control
import Linux

/// Why the relay ends.
enum RelayEnd: Error {
    /// PID 1 closed the control connection, or the client began a new conversation: as it should be.
    case finished(String)
    case failed(String)

    init(_ error: SyscallError) { self = .failed(error.description) }
}

/// Carries bytes between a serial line and PID 1's control socket, one conversation long.
///
/// Either direction has a queue of fixed size; while it is full its source is not read, so what is slow slows down what
/// feeds it and nothing else.
struct Relay: ~Copyable {
    private let line: SerialPort
    private let socket: FileDescriptor
    private var receiver = LineReceiver()
    private var toSocket = ByteQueue(capacity: 32_768)
    private var toLine = ByteQueue(capacity: 32_768)
    private var chunk = [UInt8](repeating: 0, count: 8192)

    private static let serverClosed = RelayEnd.finished("PID 1 closed the control connection")
    /// How long the last bytes may take to leave once the control connection is closed, in milliseconds.
    private static let farewell: Int64 = 2000

    init(line: consuming SerialPort, socket: consuming FileDescriptor) {
        self.line = line
        self.socket = socket
    }

    /// Runs until the conversation is over.
    mutating func run() -> RelayEnd {
        while true {
            do throws(RelayEnd) { try step() } catch {
                if case .finished = error { sendRest() }
                return error
            }
        }
    }

    /// Waits until one side can go on, and moves what can be moved.
    private mutating func step() throws(RelayEnd) {
        var lineEvents: Int32 = 0
        var socketEvents: Int32 = 0
        // What is read from the line never becomes more, but the answer to a client that begins may be added on the way out.
        if toSocket.room >= chunk.count { lineEvents |= POLLIN }
        if !toLine.isEmpty { lineEvents |= POLLOUT }
        if !toSocket.isEmpty { socketEvents |= POLLOUT }
        // Until a client has begun, nobody would know what the server's words are.
        if receiver.isOpen, toLine.room > 0 { socketEvents |= POLLIN }
        var watched = (
            pollfd(fd: line.rawValue, events: Int16(truncatingIfNeeded: lineEvents), revents: 0),
            pollfd(fd: socket.rawValue, events: Int16(truncatingIfNeeded: socketEvents), revents: 0)
        )
        do throws(SyscallError) {
            try attempt("poll") {
                withUnsafeMutableBytes(of: &watched) { poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, -1) }
            }
        } catch { throw RelayEnd(error) }
        let (lineReady, socketReady) = (Int32(watched.0.revents), Int32(watched.1.revents))
        if lineReady & POLLOUT != 0 { try writeLine() }
        if socketReady & POLLOUT != 0 { try writeSocket() }
        // A hang-up is reported even to who does not ask; without reading here it would be so again and again.
        if lineReady & (POLLIN | POLLHUP | POLLERR) != 0, lineEvents & POLLIN != 0 { try readLine() }
        if socketReady & POLLIN != 0 {
            try readSocket()
        } else if socketReady & (POLLHUP | POLLERR) != 0 {
            throw Relay.serverClosed
        }
        if lineReady & (POLLHUP | POLLERR | POLLNVAL) != 0, lineEvents & POLLIN == 0 {
            throw RelayEnd.failed("poll \(line.path): it hung up")
        }
    }

    private mutating func readLine() throws(RelayEnd) {
        let count: Int
        do throws(SyscallError) {
            // The array is a local while it is filled: `line` and `chunk` are both parts of self.
            var buffer = chunk
            chunk = []
            var result: Int?
            var failure: SyscallError?
            buffer.withUnsafeMutableBytes { bytes in
                do throws(SyscallError) { result = try line.read(into: bytes) } catch { failure = error }
            }
            chunk = buffer
            if let failure { throw failure }
            guard let result else { return }
            count = result
        } catch { throw RelayEnd(error) }
        if count == 0 { throw RelayEnd.failed("read \(line.path): it hung up") }
        var data: [UInt8] = []
        var reply: [UInt8] = []
        let finding = chunk.withUnsafeBytes {
            receiver.receive(UnsafeRawBufferPointer(rebasing: $0[..<count]), data: &data, reply: &reply)
        }
        toLine.append(reply)
        toSocket.append(data)
        switch finding {
        case .nothing: return
        case .restarted: throw RelayEnd.finished("the client began anew")
        case .damaged: throw RelayEnd.failed("read \(line.path): bytes of the client are lost or damaged")
        }
    }

    private mutating func writeLine() throws(RelayEnd) {
        var failure: SyscallError?
        toLine.drain { bytes in
            do throws(SyscallError) { return try line.write(bytes) ?? 0 } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw RelayEnd(failure) }
    }

    private mutating func readSocket() throws(RelayEnd) {
        var failure: SyscallError?
        var isClosed = false
        toLine.fill { bytes in
            do throws(SyscallError) {
                guard let count = try socket.read(into: bytes, object: "the control socket") else { return 0 }
                isClosed = count == 0
                return count
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw RelayEnd(failure) }
        if isClosed { throw Relay.serverClosed }
    }

    private mutating func writeSocket() throws(RelayEnd) {
        var failure: SyscallError?
        let number = socket.rawValue
        toSocket.drain { bytes in
            do throws(SyscallError) {
                // Not write(2): its SIGPIPE would end the relay without a word.
                return try attempt("send", "to the control socket") {
                    send(number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                }
            } catch {
                if error.errno != .wouldBlock { failure = error }
                return 0
            }
        }
        guard let failure else { return }
        if failure.errno == .brokenPipe || failure.errno.rawValue == ECONNRESET { throw Relay.serverClosed }
        throw RelayEnd(failure)
    }

    /// Lets the server's last words go out, as far as the line takes them.
    private mutating func sendRest() {
        let deadline = Deadline.after(milliseconds: Relay.farewell)
        while !toLine.isEmpty, !deadline.hasPassed {
            var watched = pollfd(fd: line.rawValue, events: Int16(POLLOUT), revents: 0)
            guard poll(&watched, 1, deadline.pollTimeout) >= 0 || clinux_errno() == EINTR else { return }
            do throws(RelayEnd) { try writeLine() } catch { return }
        }
        while !line.isDrained, !deadline.hasPassed { _ = poll(nil, 0, 5) }
    }
}
