import CLinux
import Glibc
import Linux

/// Carries bytes between a line and two descriptors of others: OpenSSH's ProxyCommand.
///
/// The end of the input is no end of the line, which has none: what comes from it is passed on until the reader is gone or the
/// line closes.
public struct LineProxy: ~Copyable {
    /// Bytes of input that may wait for the line.
    private static let limit = 256 * 1024

    private let line: LineConnection
    private let input: Int32
    private let stop: Int32
    private var output: OutputWriter
    private var isInputOver = false
    private var isLineClosed = false

    /// - Parameters:
    ///   - input, output: their flags are left alone; they are not closed.
    ///   - stop: ends it when it becomes readable; -1: nothing does.
    public init(_ line: LineConnection, input: Int32, output: Int32, stop: Int32 = -1) {
        self.line = line
        self.stop = stop
        self.input = input
        self.output = OutputWriter(descriptor: output)
    }

    /// Passes bytes on until the line or the reader of the output is gone.
    /// - Parameter early: what has come from the line already.
    public mutating func run(early: [UInt8]) throws(EndpointError) {
        output.append(early)
        while true {
            try system { () throws(SyscallError) in try output.flush() }
            if output.isClosed { return try finish() }
            if isLineClosed && output.isEmpty { return }
            do throws(SyscallError) { try line.flush() } catch {
                // What was written is lost, what is to be read is not.
                guard error.errno == .brokenPipe || error.errno.rawValue == ECONNRESET else { throw EndpointError(error) }
                isInputOver = true
            }
            if try !turn() { return }
        }
    }

    /// - Returns: false when it is to stop.
    private mutating func turn() throws(EndpointError) -> Bool {
        let readsLine = !isLineClosed && !output.isFull
        let readsInput = !isInputOver && line.pendingOutput < Self.limit
        var watched = [
            pollfd(fd: isLineClosed ? -1 : line.rawValue, events: 0, revents: 0),
            pollfd(fd: readsInput ? input : -1, events: Int16(POLLIN), revents: 0),
            // Without interest an error is told all the same: the reader is gone.
            pollfd(fd: output.descriptor, events: output.isEmpty ? 0 : Int16(POLLOUT), revents: 0),
            pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
        ]
        if readsLine { watched[0].events |= Int16(POLLIN) }
        if line.pendingOutput > 0 { watched[0].events |= Int16(POLLOUT) }
        let count = nfds_t(watched.count)
        try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, count, -1) } }
        let bad = POLLHUP | POLLERR | POLLNVAL
        if watched[3].revents != 0 { return false }
        // A pipe says POLLERR, a socket POLLHUP.
        if Int32(watched[2].revents) & bad != 0 {
            output.close()
            return true
        }
        if Int32(watched[0].revents) & (POLLIN | bad) != 0 {
            switch try system({ () throws(SyscallError) in try line.read() }) {
            case .nothing: break
            case .bytes(let bytes): output.append(bytes)
            case .closed: isLineClosed = true
            }
        }
        if Int32(watched[1].revents) & (POLLIN | bad) != 0 { try readInput() }
        return true
    }

    /// How long the line may take for what is left when the reader is gone, in milliseconds.
    private static let farewell: Int64 = 1000

    /// The reader is gone. What it wrote before is for the guest all the same: that the connection ends, for instance, which a line
    /// does not tell by itself.
    private mutating func finish() throws(EndpointError) {
        let deadline = Deadline.after(milliseconds: Self.farewell)
        while !isLineClosed, !deadline.hasPassed {
            var waiting = pollfd(fd: isInputOver ? -1 : input, events: Int16(POLLIN), revents: 0)
            let hasInput = line.pendingOutput < Self.limit && poll(&waiting, 1, 0) > 0
            if hasInput { try readInput() }
            do throws(SyscallError) { try line.flush() } catch { return }
            if line.pendingOutput == 0, !hasInput { return }
            if line.pendingOutput == 0 { continue }
            var watched = pollfd(fd: line.rawValue, events: Int16(POLLOUT), revents: 0)
            try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, 1, deadline.pollTimeout) } }
        }
    }

    private mutating func readInput() throws(EndpointError) {
        var buffer = [UInt8](repeating: 0, count: 32 * 1024)
        let number = input
        let count: Int
        do throws(SyscallError) {
            count = try attempt("read", "standard input") { read(number, &buffer, buffer.count) }
        } catch {
            if error.errno == .wouldBlock { return }
            throw EndpointError(error)
        }
        if count == 0 { isInputOver = true } else { line.send(buffer[..<count]) }
    }
}
