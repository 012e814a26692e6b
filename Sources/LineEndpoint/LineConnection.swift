import CLinux
import Glibc
public import Linux
import VSPC

/// A connection to a VM's serial line. No call waits.
public final class LineConnection {
    private let descriptor: FileDescriptor
    let name: String
    private var telnet: TelnetLine?
    private var queue = ByteQueue()
    /// Bytes that the line has taken, telnet's own among them.
    private var taken: UInt64 = 0
    /// How a terminal was set before, and is set again in the end.
    private var settings: termios?

    /// What the line gave.
    public enum Reading: Equatable, Sendable {
        case nothing
        case bytes([UInt8])
        /// The other end is gone.
        case closed
    }

    /// Goes on with a connected socket or an open terminal.
    public init(_ descriptor: consuming FileDescriptor, name: String) throws(SyscallError) {
        self.descriptor = descriptor
        self.name = name
        try self.descriptor.setNonBlocking()
    }

    deinit {
        // Without waiting for what is unsent: a line that takes nothing would hold us for ever.
        if var settings { tcsetattr(descriptor.rawValue, TCSANOW, &settings) }
    }

    /// Connects, which may take as long as the network needs; a concentrator is asked for the line.
    public init(to endpoint: Endpoint) throws(EndpointError) {
        name = endpoint.description
        switch endpoint {
        case .socket(let path): descriptor = try system { () throws(SyscallError) in try Sockets.connect(path: path) }
        case .tcp(let host, let port): descriptor = try Sockets.connect(host: host, port: port)
        case .telnet(let host, let port):
            descriptor = try Sockets.connect(host: host, port: port)
            telnet = .client()
        case .terminal(let path):
            let (terminal, before) = try LineConnection.open(path).take()
            descriptor = FileDescriptor(owning: terminal)
            settings = before
        case .concentrator(let path, let machine):
            descriptor = try ConcentratorClient.borrow(machine, path: path)
        }
        try system { () throws(SyscallError) in try descriptor.setNonBlocking() }
        takeTelnetOutput()
    }

    /// A terminal that nobody else uses, and its settings as they were.
    private struct Opened: ~Copyable {
        let terminal: FileDescriptor
        let settings: termios
        consuming func take() -> (Int32, termios) { (terminal.take(), settings) }
    }

    private static func open(_ path: String) throws(EndpointError) -> Opened {
        let opened = try system { () throws(SyscallError) in try FileDescriptor.open(path, O_RDWR | O_NOCTTY | O_NONBLOCK) }
        // Two programs on one line would each get half of what comes.
        do throws(SyscallError) {
            try attempt("flock", path) { flock(opened.rawValue, LOCK_EX | LOCK_NB) }
        } catch {
            throw EndpointError("use", path, error.errno == .wouldBlock ? "another program does" : error.errno.description)
        }
        var settings = termios()
        let number = opened.rawValue
        try system { () throws(SyscallError) in _ = try attempt("tcgetattr", path) { tcgetattr(number, &settings) } }
        // Opened a second time: that makes the line raw, which it stays while the first is open.
        let configured = try system { () throws(SyscallError) in try SerialPort(path) }
        _ = configured.rawValue
        return Opened(terminal: opened, settings: settings)
    }

    /// Gives the line back at once; the descriptor itself closes with this object.
    public func close() { _ = shutdown(descriptor.rawValue, Int32(SHUT_RDWR)) }

    /// For poll(2).
    public var rawValue: Int32 { descriptor.rawValue }

    /// Bytes that wait to be sent.
    public var pendingOutput: Int { queue.count }

    /// Queues bytes; ``flush()`` sends them.
    public func send(_ bytes: ArraySlice<UInt8>) {
        if telnet == nil {
            queue.append(bytes)
        } else {
            telnet?.send(bytes)
            takeTelnetOutput()
        }
    }

    private func takeTelnetOutput() { if let bytes = telnet?.takeOutput() { queue.append(bytes[...]) } }

    /// Sends what can be sent now.
    public func flush() throws(SyscallError) {
        while !queue.isEmpty {
            guard let count = try queue.withFirst({ bytes throws(SyscallError) in try write(bytes) }) else { return }
            queue.removeFirst(count)
            taken &+= UInt64(max(0, count))
        }
    }

    /// Where what is queued now ends, counted in all bytes of the line.
    var queuedEnd: UInt64 { taken &+ UInt64(queue.count) }

    /// Whether all bytes before this place have left.
    func hasSent(_ place: UInt64) -> Bool { taken >= place }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(SyscallError) -> Int? {
        do throws(SyscallError) {
            return try attempt("send", name) { CLinux.send(descriptor.rawValue, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
        } catch {
            if error.errno == .wouldBlock { return nil }
            // A terminal.
            if error.errno.rawValue == ENOTSOCK { return try descriptor.write(bytes, object: name) }
            throw error
        }
    }

    /// Reads what is there.
    public func read(atMost limit: Int = 32 * 1024) throws(SyscallError) -> Reading {
        do throws(SyscallError) {
            guard let bytes = try descriptor.read(atMost: limit, object: name) else { return .nothing }
            if bytes.isEmpty { return .closed }
            guard let data = telnet?.receive(bytes[...]) else { return .bytes(bytes) }
            takeTelnetOutput()
            return data.isEmpty ? .nothing : .bytes(data)
        } catch {
            // How a pty says that its master is gone, and a socket that its peer is.
            if error.errno == .ioError || error.errno.rawValue == ECONNRESET { return .closed }
            throw error
        }
    }
}

/// Bytes that wait for a descriptor to take them.
public struct ByteQueue: Sendable {
    private var bytes: [UInt8] = []
    private var start = 0

    public init() {}

    public var count: Int { bytes.count - start }
    public var isEmpty: Bool { start == bytes.count }

    public mutating func append(_ more: ArraySlice<UInt8>) {
        // What has been sent is not carried along for ever.
        if start > 0, isEmpty || start > 64 * 1024 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes += more
    }

    public mutating func removeFirst(_ count: Int) { start += min(max(0, count), self.count) }

    public mutating func removeAll() {
        bytes = []
        start = 0
    }

    /// Hands out what waits, without taking it away.
    public func withFirst<Result>(_ body: (UnsafeRawBufferPointer) throws(SyscallError) -> Result) throws(SyscallError) -> Result {
        var failure: SyscallError?
        let result: Result? = bytes.withUnsafeBytes { all in
            do throws(SyscallError) { return try body(UnsafeRawBufferPointer(rebasing: all[start...])) } catch {
                failure = error
                return nil
            }
        }
        if let result { return result }
        throw failure ?? SyscallError("write", "", .ioError)
    }
}
