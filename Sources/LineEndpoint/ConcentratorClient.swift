import CLinux
import Glibc
import Linux

/// The protocol of a concentrator's socket (docs/attach-clients.md): one line of text asks, one answers.
///
///     lend NAME    →   ok                 the bytes that follow, in both directions, are the line's
///     list         →   {…}                one JSON object for each line, then the end
///     anything     →   error TEXT         and the end
public enum ConcentratorProtocol {
    public static let lend = "lend "
    public static let list = "list"
    public static let granted = "ok"
    public static let refused = "error "
    /// The longest line that is read, in bytes.
    public static let maximumLine = 4096
}

/// Asks a concentrator.
public enum ConcentratorClient {
    /// Borrows the line of the VM with this name, UUID or URI.
    static func borrow(_ machine: String, path: String) throws(EndpointError) -> FileDescriptor {
        guard !machine.utf8.contains(UInt8(ascii: "\n")), machine.utf8.count < 1024 else {
            throw EndpointError("borrow", machine, "it is no VM's name")
        }
        let descriptor = try system { () throws(SyscallError) in try Sockets.connect(path: path) }
        try ask(ConcentratorProtocol.lend + machine, descriptor, path)
        // Byte by byte: what follows the line is not ours.
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            guard let byte = try receive(descriptor, 1, path).first else {
                throw EndpointError("borrow", machine, "\(path) closes the connection without an answer")
            }
            line.append(byte)
            if line.count > ConcentratorProtocol.maximumLine {
                throw EndpointError("borrow", machine, "\(path) is no concentrator's socket")
            }
        }
        let answer = String(decoding: line.dropLast(), as: UTF8.self)
        if answer == ConcentratorProtocol.granted { return descriptor }
        if answer.hasPrefix(ConcentratorProtocol.refused) {
            throw EndpointError("borrow", machine, String(answer.dropFirst(ConcentratorProtocol.refused.count)))
        }
        throw EndpointError("borrow", machine, "\(path) is no concentrator's socket")
    }

    /// Lists the lines.
    /// - Returns: JSON objects, one a line.
    public static func list(path: String) throws(EndpointError) -> [String] {
        let descriptor = try system { () throws(SyscallError) in try Sockets.connect(path: path) }
        try ask(ConcentratorProtocol.list, descriptor, path)
        var text: [UInt8] = []
        while true {
            let bytes = try receive(descriptor, 64 * 1024, path)
            if bytes.isEmpty { break }
            text += bytes
            if text.count > 64 << 20 { throw EndpointError("list", path, "the answer has no end") }
        }
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n").map { String($0) }
        if let first = lines.first, first.hasPrefix(ConcentratorProtocol.refused) {
            throw EndpointError("list", path, String(first.dropFirst(ConcentratorProtocol.refused.count)))
        }
        return lines
    }

    /// How long a concentrator may take to answer, in milliseconds.
    private static let patience: Int64 = 10_000

    private static func ask(_ question: String, _ descriptor: borrowing FileDescriptor, _ path: String) throws(EndpointError) {
        let bytes = Array((question + "\n").utf8)
        let number = descriptor.rawValue
        let sent = try system { () throws(SyscallError) in
            try attempt("send", path) { send(number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
        }
        // A new socket takes a line at once, or something is very wrong with it.
        if sent != bytes.count { throw EndpointError("ask", path, "it takes nothing") }
    }

    private static func receive(_ descriptor: borrowing FileDescriptor, _ count: Int, _ path: String) throws(EndpointError) -> [UInt8] {
        let deadline = Deadline.after(milliseconds: patience)
        var watched = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        while true {
            let number = descriptor.rawValue
            let ready = try system { () throws(SyscallError) in try attempt("poll", path) { poll(&watched, 1, deadline.pollTimeout) } }
            if ready == 0 { throw EndpointError("ask", path, "no answer comes") }
            var buffer = [UInt8](repeating: 0, count: count)
            do throws(SyscallError) {
                let taken = try attempt("read", path) { read(number, &buffer, count) }
                return Array(buffer.prefix(taken))
            } catch { if error.errno != .wouldBlock { throw EndpointError(error) } }
        }
    }
}
