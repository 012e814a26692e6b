import Linux
import SessionLog

/// A client attached to a session: how far it has read, how much it will take, and whether it may write.
///
/// The output waits in the session's rings, not here: a client costs no memory however slow it is. It is sent what lies
/// between its position and the ring's end, as far as its credit goes.
public final class Attachment {
    /// Why a session let go of a client.
    public enum End: Equatable, Sendable {
        /// It asked to.
        case requested
        /// It did not take output for so long that others would have waited for it.
        case slow
        /// Its connection is gone.
        case disconnected
    }

    /// Names the attachment among all of the session.
    let key: UInt64
    public let session: Session
    /// nil once it is detached.
    private(set) var client: (any SessionClient)?
    /// The client's own number for it.
    public let tag: UInt32
    public let takesInput: Bool
    /// What its input is known by when it comes again; 0: nothing.
    let inputKey: UInt64
    /// How many bytes were taken by that key before, as far as that is known.
    let inputTaken: UInt64?

    /// The offset of the next byte to send of each stream; nil for a stream that is not followed.
    private var positions: (stdout: UInt64?, stderr: UInt64?)
    /// How many bytes the client takes now.
    private var credits: (stdout: UInt64, stderr: UInt64) = (0, 0)
    private var stdoutFirst = false
    private var endSent: (stdout: Bool, stderr: Bool) = (false, false)
    /// Bytes of input that the client may still send.
    private(set) var inputCredit = 0
    /// Credit that was given back and has not been told yet.
    private var inputCreditToTell = 0
    /// Credit that it gets only when the process has taken what clients that are gone have left.
    private var inputOwed: Int
    /// When it was last sent output or said that it takes some, on the monotonic clock, or began to hold it back.
    private var lastProgress: Int64
    /// Why it was detached, once it is.
    public private(set) var end: End?

    init(
        key: UInt64, session: Session, client: any SessionClient, tag: UInt32, positions: (stdout: UInt64?, stderr: UInt64?),
        takesInput: Bool, inputKey: UInt64, inputTaken: UInt64?, orphanedInput: Int
    ) {
        self.key = key
        self.session = session
        self.client = client
        self.tag = tag
        self.positions = positions
        self.takesInput = takesInput
        self.inputKey = inputKey
        self.inputTaken = inputTaken
        inputOwed = takesInput ? min(InputQueue.credit, max(0, orphanedInput)) : 0
        inputCredit = takesInput ? InputQueue.credit - inputOwed : 0
        lastProgress = Clock.monotonic()
    }

    // MARK: Output

    /// The offset of the next byte of `stream` for this client; nil where it does not follow the stream.
    public func position(_ stream: LogStream) -> UInt64? { stream == .stdout ? positions.stdout : positions.stderr }

    func credit(_ stream: LogStream) -> UInt64 { stream == .stdout ? credits.stdout : credits.stderr }

    /// The client takes `count` bytes more of a stream. 0 says that it takes what it was sent, and has no room for more yet.
    public func grant(_ stream: LogStream, _ count: UInt64) {
        lastProgress = Clock.monotonic()
        if count == 0 { return }
        let sum = credit(stream).addingReportingOverflow(count)
        let credit = sum.overflow ? .max : sum.partialValue
        if stream == .stdout { credits.stdout = credit } else { credits.stderr = credit }
        changed()
    }

    /// `count` bytes of a stream have gone to the client.
    func advance(_ stream: LogStream, _ count: Int) {
        let sent = UInt64(max(0, count))
        if stream == .stdout {
            positions.stdout = positions.stdout.map { $0 &+ sent }
            credits.stdout -= min(credits.stdout, sent)
        } else {
            positions.stderr = positions.stderr.map { $0 &+ sent }
            credits.stderr -= min(credits.stderr, sent)
        }
        lastProgress = Clock.monotonic()
    }

    /// Since when the client is known to take nothing, on the monotonic clock. As long as it has credit it is not the one that is waited
    /// for, but its connection, which it may share with others: then what counts is that the connection moves.
    var idleSince: Int64 {
        guard let client, isOwed(.stdout) || isOwed(.stderr) else { return lastProgress }
        return max(lastProgress, client.lastProgress)
    }

    /// There is output that the client has said it takes.
    private func isOwed(_ stream: LogStream) -> Bool {
        guard let position = position(stream) else { return false }
        return position < session.end(of: stream) && credit(stream) > 0
    }

    /// The next piece of output for the client, at most `limit` bytes, given to `send`, which takes all of it.
    /// - Returns: whether there was one.
    public func sendOutput(atMost limit: Int, _ send: (LogStream, UInt64, UnsafeRawBufferPointer) -> Void) -> Bool {
        // In turns, so that a stream that floods does not starve the other.
        stdoutFirst.toggle()
        for index in 0..<2 {
            let stream: LogStream = (index == 0) == stdoutFirst ? .stdout : .stderr
            guard let position = position(stream) else { continue }
            let room = Int(clamping: min(credit(stream), UInt64(max(0, limit))))
            let sent = session.withOutput(stream, from: position, atMost: room) { bytes in
                if !bytes.isEmpty { send(stream, position, bytes) }
                return bytes.count
            }
            if sent > 0 {
                advance(stream, sent)
                session.outputSent()
                return true
            }
        }
        return false
    }

    /// The streams that have ended and been sent whole, each once.
    public func takeEnds() -> [LogStream] {
        var ends: [LogStream] = []
        for stream in [LogStream.stdout, .stderr] where !(stream == .stdout ? endSent.stdout : endSent.stderr) {
            guard let position = position(stream), session.hasEnded(stream), position >= session.end(of: stream) else { continue }
            if stream == .stdout { endSent.stdout = true } else { endSent.stderr = true }
            ends.append(stream)
        }
        return ends
    }

    /// Whether the client has been sent all there will ever be of the streams it follows.
    public var isComplete: Bool {
        (positions.stdout == nil || endSent.stdout) && (positions.stderr == nil || endSent.stderr)
    }

    /// Something happened that the client may have to be told.
    func changed() { client?.attachmentChanged(self) }

    /// Waiting begins now, for a client that had nothing to wait for until now.
    func restartClock(_ now: Int64) { lastProgress = now }

    // MARK: Input

    /// The client has sent input: its credit shrinks.
    /// - Returns: false when it sent more than it was granted.
    func useInput(_ count: Int) -> Bool {
        if count > inputCredit { return false }
        inputCredit -= count
        return true
    }

    /// The process has taken `count` bytes of this client's input.
    func returnInput(_ count: Int) {
        inputCreditToTell += count
        client?.attachmentChanged(self)
    }

    /// The process has taken `count` bytes of clients that are gone.
    func settleInput(_ count: Int) {
        let settled = min(inputOwed, count)
        if settled <= 0 { return }
        inputOwed -= settled
        returnInput(settled)
    }

    /// Credit to tell the client of; small amounts are saved up, so that a slow line carries few messages.
    public func takeInputCredit() -> Int {
        guard inputCreditToTell > 0, inputCreditToTell >= InputQueue.credit / 2 || inputCredit == 0 || session.isInputIdle else { return 0 }
        let credit = inputCreditToTell
        inputCreditToTell = 0
        inputCredit += credit
        return credit
    }

    // MARK: The end

    func detached(_ why: End) {
        guard end == nil else { return }
        end = why
        client?.attachmentChanged(self)
        // Breaks the circle client → attachment → client.
        client = nil
    }
}
