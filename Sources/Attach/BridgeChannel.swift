import Control
import SSH
import SessionLog

/// A channel of a client, and what it is attached to.
struct BridgeChannel {
    enum Dialect: Equatable {
        /// A channel of type `session` (RFC 4254).
        case session
        /// A channel of type `attach`, as VIC's VCH opens it.
        case vic
    }

    enum Phase: Equatable {
        /// Nobody has said yet what it is for.
        case idle
        /// PID 1 has been asked, and has not answered.
        case asked
        case attached
        /// The session is over, or let go of: the channel is closed once what waits is sent.
        case finishing
        /// Closed by this side.
        case closed
    }

    /// How it was asked for a session, and so what the client is told of it.
    enum Start: Equatable {
        case shell, exec
        /// Requests of ours: the client is told offsets, and how the session ended.
        case attach, execProcess
        case vic

        var isDetailed: Bool { self == .attach || self == .execProcess }
        var startsProcess: Bool { self == .exec || self == .execProcess }
    }

    /// Output that waits to be sent.
    struct Piece {
        let stream: LogStream
        var data: ArraySlice<UInt8>
        /// How many bytes of the session's it stands for, when all of it is sent: less than it has where line ends were translated.
        var standsFor: Int
    }

    /// Output that PID 1 may send ahead of the line, of each stream in bytes. It bounds what a channel costs and how long the last
    /// of it waits, and is enough to keep the line busy while PID 1 is told that there is room again.
    static let stdoutWindow: UInt32 = 16 * 1024
    static let stderrWindow: UInt32 = 8 * 1024
    /// Of a client whose input was never wanted.
    static let discardedWindow = 32 * 1024

    let id: ChannelID
    let dialect: Dialect
    var phase = Phase.idle
    var start = Start.shell
    /// Of the attachment, or of the request for one.
    var tag: UInt32?
    /// The session's name; empty for the primary one.
    var session = ""
    var environment: [String] = []
    /// `pty-req` came.
    var terminal: WindowSize?
    /// What the client's own terminal is like.
    var modes = TerminalModes()
    /// Where output shall begin, as the environment said.
    var stdoutFrom: StreamStart?
    var stderrFrom: StreamStart?
    var wantsStdin = true
    /// What the client's input is known by when it comes again; 0: nothing.
    var inputKey: UInt64 = 0
    var replies = OrderedReplies<Bool>()
    /// The answer to the request that asked for the session.
    var startReply: UInt32?

    var pending: [Piece] = []
    /// The offset behind the last byte that was handed to the transport.
    var stdoutSent: UInt64 = 0
    var stderrSent: UInt64 = 0
    /// What of it the client has not read, where it is VIC's: of others it is not asked.
    var unread = UnreadOutput()
    /// The client, where it is VIC's, has read something on this channel.
    var hasReader = false
    /// Since when it takes nothing although it has never read, on the clock of the line.
    var stalledSince: Int64?
    /// Output that it has no room for is left out.
    var leavesOut = false
    /// Bytes that were.
    var leftOut = 0
    /// Bytes of input that the client knows it may send.
    var inputWindow = 0
    /// Bytes more that it may send, and has not been told of.
    private var inputCredit = 0
    /// Input is dropped here: it was never wanted.
    var discardsInput = false
    /// PID 1 has attached it, whatever came then.
    var wasAttached = false
    /// What the client asked for where its key runs another command: goes into the environment whatever its size.
    var originalCommand: String?
    /// The client was told that nobody reads its input.
    var inputEndIsTold = false
    /// The client's input has ended, before there was an attachment to end it in.
    var inputHasEnded = false
    /// A terminal is at the client's end, and none at the process's: line ends are translated.
    var translatesLines = false
    /// What the client is told at the end.
    var result: SessionResult?
    /// The exit status where there is no result, because the process was not started.
    var failureCode: UInt8?
    /// The session goes on without the channel.
    var isDetached = false
    /// Output whose place PID 1 has not been told of.
    var stdoutToGrant = 0
    var stderrToGrant = 0

    init(_ id: ChannelID, _ dialect: Dialect) {
        self.id = id
        self.dialect = dialect
        if dialect == .vic { start = .vic }
    }

    /// How far the client has read, of each stream: the offset of the next byte.
    var position: (stdout: UInt64, stderr: UInt64) {
        (stdoutSent - min(stdoutSent, UInt64(max(0, unread.stdout))), stderrSent - min(stderrSent, UInt64(max(0, unread.stderr))))
    }

    /// PID 1 takes more input.
    /// - Returns: what the client is to be told of it: nothing as long as it is little beside what the client may send anyway, so that
    ///   a keystroke is not answered by a packet of its own.
    mutating func credited(_ count: Int) -> Int {
        inputCredit += count
        guard inputCredit >= inputWindow / 4 else { return 0 }
        defer { inputCredit = 0 }
        inputWindow += inputCredit
        return inputCredit
    }

    /// Takes output of PID 1's.
    mutating func append(_ stream: LogStream, _ bytes: [UInt8]) {
        pending.append(Piece(stream: stream, data: translatesLines ? translated(bytes)[...] : bytes[...], standsFor: bytes.count))
    }

    /// As a terminal would write it, with a carriage return before each line feed.
    private func translated(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + 16)
        for byte in bytes {
            if byte == UInt8(ascii: "\n") { result.append(UInt8(ascii: "\r")) }
            result.append(byte)
        }
        return result
    }

    /// Hands output to the connection, at most `limit` bytes.
    /// - Returns: for how many bytes of each stream PID 1 may send others.
    mutating func send(on connection: inout Connection, atMost limit: Int) -> (stdout: Int, stderr: Int, any: Bool) {
        var sent = (stdout: 0, stderr: 0, any: false)
        var left = limit
        while left > 0, let piece = pending.first {
            let part = piece.data.prefix(left)
            let taken =
                piece.stream == .stdout ? connection.send(data: part, on: id) : connection.sendExtended(data: part, on: id)
            if taken == 0 { break }
            sent.any = true
            left -= taken
            if dialect == .vic { unread.sent(piece.stream, taken) }
            let isWhole = taken == piece.data.count
            let counted = isWhole ? piece.standsFor : translatesLines ? 0 : taken
            if isWhole {
                pending.removeFirst()
            } else {
                pending[0].data = piece.data.dropFirst(taken)
                pending[0].standsFor -= counted
            }
            if piece.stream == .stdout {
                sent.stdout += counted
                stdoutSent &+= UInt64(max(0, counted))
            } else {
                sent.stderr += counted
                stderrSent &+= UInt64(max(0, counted))
            }
        }
        return sent
    }
}
