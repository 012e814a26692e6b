import CLinux
import LineEndpoint
import Linux
import SSH

/// One question to an SSH agent, on a connection of its own. No call waits, except ``answer()``.
final class AgentQuestion {
    let deadline: Deadline
    private let name: String
    private let descriptor: FileDescriptor
    private var output: [UInt8]
    private var frame = AgentFrame()

    /// - Parameters:
    ///   - path: the agent's socket.
    ///   - milliseconds: how long the answer may take.
    init(_ request: AgentRequest, path: String, milliseconds: Int64) throws(AgentError) {
        name = "the SSH agent at \(path)"
        do throws(SyscallError) { descriptor = try Sockets.connect(path: path) } catch {
            throw AgentError("connect to", "the SSH agent at \(path)", error.errno.description)
        }
        output = request.frame
        deadline = .after(milliseconds: milliseconds)
    }

    /// What to wait for with poll(2).
    var watched: pollfd { pollfd(fd: descriptor.rawValue, events: Int16(output.isEmpty ? POLLIN : POLLOUT), revents: 0) }

    /// Goes on as far as that is possible now.
    /// - Returns: the answer, once it is there.
    func step() throws(AgentError) -> AgentAnswer? {
        while !output.isEmpty {
            guard let taken = try system({ () throws(SyscallError) in try send() }) else { break }
            output.removeFirst(taken)
        }
        while let bytes = try system({ () throws(SyscallError) in try descriptor.read(atMost: 64 * 1024, object: name) }) {
            if bytes.isEmpty { throw AgentError("ask", name, "it closes the connection without an answer") }
            if let message = try frame.receive(bytes) { return try AgentAnswer(message) }
        }
        if deadline.hasPassed { throw AgentError("ask", name, "it did not answer in time") }
        return nil
    }

    private func send() throws(SyscallError) -> Int? {
        do throws(SyscallError) {
            return try attempt("send", name) { CLinux.send(descriptor.rawValue, output, output.count, Int32(MSG_NOSIGNAL)) }
        } catch {
            if error.errno == .wouldBlock { return nil }
            throw error
        }
    }

    private func system<Result>(_ body: () throws(SyscallError) -> Result) throws(AgentError) -> Result {
        do throws(SyscallError) { return try body() } catch { throw AgentError("ask", name, error.errno.description) }
    }

    /// Waits for the answer, until the deadline at most.
    func answer() throws(AgentError) -> AgentAnswer {
        while true {
            if let answer = try step() { return answer }
            var watched = [watched]
            try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, 1, deadline.pollTimeout) } }
        }
    }
}
