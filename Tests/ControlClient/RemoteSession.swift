public import Control
import Linux
public import SessionLog

/// A session in the VM that a ``ControlClient`` is attached to: its output so far, and the way to its input.
///
/// It is fed while some call of its client runs. Every byte of output is checked to be the next one of its stream, and at the
/// end streams that were followed from their first byte are checked against PID 1's own digests.
public final class RemoteSession {
    public let tag: UInt32
    /// What PID 1 answered; nil until it has.
    public private(set) var attached: Attached?
    /// The output that came, from ``Attached/stdoutOffset`` on, or since ``discardOutput()``.
    public private(set) var stdout: [UInt8] = []
    public private(set) var stderr: [UInt8] = []
    /// The offsets of the bytes that come next.
    public private(set) var stdoutOffset: UInt64 = 0
    public private(set) var stderrOffset: UInt64 = 0
    public private(set) var stdoutEnded = false
    public private(set) var stderrEnded = false
    /// How the session ended, once all its output has come.
    public private(set) var result: SessionResult?
    /// Why it goes on without us, if it does.
    public private(set) var detachment: Detachment?
    /// Bytes of input that may be sent now.
    public private(set) var stdinCredit: UInt64 = 0
    /// Why no input is taken any more.
    public private(set) var stdinEnd: StdinEnd?
    /// What was in vain.
    public private(set) var failures: [RequestFailure] = []
    /// Whether each byte that comes is made up for by a grant of as much. Without it output stops when the window is used up.
    public var grantsWindow: Bool

    private unowned let client: ControlClient
    private let windows: (stdout: UInt32, stderr: UInt32)
    private let follows: (stdout: Bool, stderr: Bool)
    private var digests = (stdout: StreamDigest(), stderr: StreamDigest())
    /// Bytes that came and were not granted again yet.
    private var ungranted: (stdout: UInt32, stderr: UInt32) = (0, 0)

    init(client: ControlClient, tag: UInt32, windows: (UInt32, UInt32), follows: (Bool, Bool), grants: Bool) {
        self.client = client
        self.tag = tag
        self.windows = windows
        self.follows = follows
        grantsWindow = grants
    }

    /// The session's name.
    public var id: String { attached?.session ?? "" }
    public var output: String { String(decoding: stdout, as: UTF8.self) }
    public var errorOutput: String { String(decoding: stderr, as: UTF8.self) }
    /// Nothing comes any more.
    var isOver: Bool { result != nil || detachment != nil || refusal != nil }
    /// Why it never began, if it did not.
    private var refusal: RequestFailure? { attached == nil ? failures.first : nil }

    /// Forgets the output that has come, so that what comes next stands alone.
    public func discardOutput() {
        stdout = []
        stderr = []
    }

    // MARK: What comes

    func take(_ message: ServerMessage) throws(ControlClientError) {
        switch message {
        case .attached(_, let attached):
            self.attached = attached
            stdoutOffset = attached.stdoutOffset
            stderrOffset = attached.stderrOffset
            stdinCredit = UInt64(attached.stdinCredit)
        case .output(_, let stream, let offset, let bytes): try takeOutput(stream, offset, bytes)
        case .eof(_, let stream): if stream == .stdout { stdoutEnded = true } else { stderrEnded = true }
        case .stdinCredit(_, let bytes): stdinCredit += UInt64(bytes)
        case .stdinClosed(_, let why): stdinEnd = why
        case .stdinOpened: stdinEnd = nil
        case .failed(_, let failure): failures.append(failure)
        case .detached(_, let detachment): self.detachment = detachment
        case .exited(_, let result):
            self.result = result
            try check(result)
        default: throw .violation("it sends \(message) to an attachment")
        }
    }

    private func takeOutput(_ stream: LogStream, _ offset: UInt64, _ bytes: [UInt8]) throws(ControlClientError) {
        guard attached != nil else { throw .violation("output comes before the answer to attach") }
        let expected = stream == .stdout ? stdoutOffset : stderrOffset
        if offset != expected { throw .violation("\(stream.name) goes on at \(offset) and not at \(expected)") }
        let granted = stream == .stdout ? windows.stdout : windows.stderr
        let count = UInt32(clamping: bytes.count)
        if stream == .stdout {
            if stdoutEnded { throw .violation("stdout goes on after its end") }
            stdout += bytes
            digests.stdout.update(bytes)
            stdoutOffset += UInt64(bytes.count)
            ungranted.stdout &+= count
        } else {
            if stderrEnded { throw .violation("stderr goes on after its end") }
            stderr += bytes
            digests.stderr.update(bytes)
            stderrOffset += UInt64(bytes.count)
            ungranted.stderr &+= count
        }
        let used = stream == .stdout ? ungranted.stdout : ungranted.stderr
        if !grantsWindow, used > granted { throw .violation("\(stream.name) passes its window of \(granted)") }
        // Half a window at once: a grant for each message would cost as much as small messages do.
        if grantsWindow, used >= max(1, granted / 2) { try grant(stream, used) }
    }

    /// PID 1 counts and digests what it reads: what came must be the same.
    private func check(_ result: SessionResult) throws(ControlClientError) {
        if follows.stdout, attached?.stdoutOffset == 0, digests.stdout.total != result.stdout {
            throw .violation("stdout is \(digests.stdout.total), but \(result.stdout) was read from the process")
        }
        if follows.stderr, attached?.stderrOffset == 0, digests.stderr.total != result.stderr {
            throw .violation("stderr is \(digests.stderr.total), but \(result.stderr) was read from the process")
        }
    }

    // MARK: What goes

    /// Takes `bytes` more of a stream.
    public func grant(_ stream: LogStream, _ bytes: UInt32) throws(ControlClientError) {
        if stream == .stdout { ungranted.stdout -= min(ungranted.stdout, bytes) } else { ungranted.stderr -= min(ungranted.stderr, bytes) }
        try client.send(.window(tag: tag, stream, bytes: bytes))
    }

    /// Sends input, all of it, as fast as the credit comes.
    /// - Returns: how many bytes were sent; fewer than there are where the process does not take them any more.
    @discardableResult
    public func write(_ bytes: [UInt8], timeout: Double? = nil) throws(ControlClientError) -> Int {
        let deadline = client.deadline(timeout)
        var position = 0
        while position < bytes.count {
            position += try writeSome(bytes[position...])
            if position == bytes.count || stdinEnd != nil || isOver { break }
            try client.step(deadline, "the process to take its input")
        }
        return position
    }

    @discardableResult
    public func write(_ text: String, timeout: Double? = nil) throws(ControlClientError) -> Int {
        try write(Array(text.utf8), timeout: timeout)
    }

    /// Sends what the credit allows now.
    private func writeSome(_ bytes: ArraySlice<UInt8>) throws(ControlClientError) -> Int {
        if stdinEnd != nil || isOver { return 0 }
        let count = min(bytes.count, Int(clamping: stdinCredit))
        if count == 0 { return 0 }
        stdinCredit -= UInt64(count)
        try client.send(.stdin(tag: tag, Array(bytes.prefix(count))))
        return count
    }

    /// Sends input whatever the credit: for tests of what PID 1 does then.
    public func writeBeyondCredit(_ bytes: [UInt8]) throws(ControlClientError) { try client.send(.stdin(tag: tag, bytes)) }

    /// Ends the input.
    public func closeStdin() throws(ControlClientError) { try client.send(.closeStdin(tag: tag)) }

    /// Lets go of the session, and waits until PID 1 has.
    public func detach(timeout: Double? = nil) throws(ControlClientError) {
        try client.send(.detach(tag: tag))
        try wait("the detachment", timeout: timeout) { self.isOver }
    }

    public func signal(_ number: UInt8, timeout: Double? = nil) throws(ControlClientError) {
        try client.signal(id, number, timeout: timeout)
    }

    public func resize(rows: UInt16, columns: UInt16, timeout: Double? = nil) throws(ControlClientError) {
        try client.resize(id, rows: rows, columns: columns, timeout: timeout)
    }

    // MARK: Waiting

    /// Waits until `isSo`.
    public func wait(_ what: String, timeout: Double? = nil, until isSo: () -> Bool) throws(ControlClientError) {
        let deadline = client.deadline(timeout)
        while !isSo() { try client.step(deadline, what) }
    }

    /// Waits until the output has `text` in it, of which stderr counts too.
    public func wait(for text: String, timeout: Double? = nil) throws(ControlClientError) {
        let bytes = Array(text.utf8)
        let deadline = client.deadline(timeout)
        while !stdout.contains(bytes), !stderr.contains(bytes) {
            if isOver { throw .disconnected("session \(id) ended without saying '\(text)', but: \(output)\(errorOutput)") }
            do throws(ControlClientError) { try client.step(deadline, "'\(text)'") } catch {
                guard case .timedOut = error else { throw error }
                throw .timedOut("'\(text)' in: \(output.suffix(2000))\(errorOutput.suffix(2000))")
            }
        }
    }

    /// Waits until the session has ended and all its output is here.
    public func finish(timeout: Double? = nil) throws(ControlClientError) -> SessionResult {
        try wait("the end of session \(id)", timeout: timeout) { self.isOver }
        if let result { return result }
        if let refusal { throw .refused(refusal) }
        throw .disconnected("session \(id) goes on without us: \(detachment.map { "\($0.reason)" } ?? "")")
    }

    /// Feeds the process `input`, ends its input, and waits for its end. Output is taken all the while.
    public func run(_ input: [UInt8], timeout: Double? = nil) throws(ControlClientError) -> SessionResult {
        try write(input, timeout: timeout)
        try closeStdin()
        return try finish(timeout: timeout)
    }
}
