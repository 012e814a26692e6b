import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH

/// A client of one session: passes bytes between it and this process, across lines that drop.
///
/// What the guest said is asked for by its absolute offset when the line comes back, so nothing is lost or repeated as far as the
/// guest still keeps it; what it does not is told.
public final class AttachSession {
    private static let window: UInt32 = 256 * 1024
    /// So much has been written before the guest is told that there is room again, in bytes. It has the rest of the window until then, and
    /// what it is told comes on the line, of which the guest's processor has to take each byte.
    private static let grantedAtOnce = Int(window) / 4

    enum Phase { case opening, asked, attached }

    private let target: AttachTarget
    var options: AttachOptions
    private var stdout: OutputWriter
    private var stderr: OutputWriter

    // Of the connection.
    var channel: ChannelID?
    var phase = Phase.opening
    private var toGrant = 0
    private var failure: AttachError?
    /// The channel is open. What it is for is asked once the guest has said which boot this is.
    private var isOpen = false
    private var isBootTold = false
    var wantsInput: Bool

    // Of the session, whatever the connection.
    var session = ""
    var hasTerminal = false
    var stdoutOffset: UInt64?
    var stderrOffset: UInt64?
    var isStarted = false
    var exitCode: Int32?
    var totals: (stdout: UInt64, stderr: UInt64)?
    /// The boot of the guest whose session this is; nil where it has not said.
    var boot: UInt64?
    var input = ResumableInput()
    /// By this the guest knows our input when we come again.
    private let inputKey = UInt64.random(in: 1...UInt64.max)
    var inputHasEnded = false
    var inputEndIsSent = false
    /// The session takes no input now.
    var inputIsClosed = false
    /// The end of ours has reached a process: it is not for another one that is started later.
    var inputEndIsTaken = false
    /// Not all input has reached the guest, or not surely.
    var inputIsIncomplete = false
    /// Output that was asked for is lost.
    private var outputIsIncomplete = false
    var outcome: AttachOutcome?
    /// Signals that have come and were not passed on yet.
    var pendingSignals: [Int32] = []

    public init(_ target: AttachTarget, _ options: AttachOptions) {
        self.target = target
        self.options = options
        wantsInput = options.wantsInput
        stdout = OutputWriter(descriptor: options.stdout)
        stderr = OutputWriter(descriptor: options.stderr)
    }

    /// The session's id, once it is known.
    public var id: String { session }

    /// Runs until the session ends or the person leaves.
    public func run() throws(AttachError) -> AttachOutcome {
        defer { options.terminal?.restore() }
        var downSince: Int64?
        while true {
            do throws(AttachError) {
                let outcome = try serve { downSince = nil }
                if let interrupted = try flushOutput() { return interrupted }
                if case .exited = outcome { try checkCompleteness() }
                return outcome
            } catch {
                options.terminal?.restore()
                let isWorthIt = options.triesFirst || isStarted || mayHaveStarted
                guard isWorthIt, error.mayBeTriedAgain(afterSuccess: isStarted), options.reconnectMilliseconds > 0 else { throw error }
                let now = Clock.monotonic()
                let since = downSince ?? now
                if downSince == nil, isStarted, !options.isHopeless() { options.log("\(error); connecting again") }
                downSince = since
                if options.isHopeless() || (now &- since) / 1_000_000 >= options.reconnectMilliseconds { throw error }
                // At once, and then ever more patiently.
                let waited = (now &- since) / 1_000_000
                if let outcome = try pause(milliseconds: waited == 0 ? 0 : min(2000, 50 + waited / 10)) { return outcome }
            }
        }
    }

    /// The request was sent, and its answer did not come.
    private var mayHaveStarted = false

    // MARK: One connection

    private func serve(_ connected: () -> Void) throws(AttachError) -> AttachOutcome {
        (channel, phase, toGrant, failure, isOpen, isBootTold) = (nil, .opening, 0, nil, false, false)
        guard let connection = try AttachConnection(target, isOver: { self.isInterrupted() }) else { return try interruptedOutcome() }
        defer { connection.close() }
        while true {
            while let event = try connection.nextEvent() { try take(event, connection, connected) }
            if let outcome {
                // What was typed before the detach keys is the process's.
                moveInput(connection)
                if !input.isEmpty { options.log("\(input.pending.count) bytes of input were not sent") }
                return outcome
            }
            if connection.isAuthenticated, channel == nil {
                // A connection is of one boot: that it is another one is known before anything is asked of it or sent to it.
                if !isBootTold { connection.request("boot@tether", []) }
                channel = connection.client.connection.openChannel(type: "session", window: Self.window)
            }
            try moveOutput(connection)
            moveInput(connection)
            if stdout.isClosed || stderr.isClosed { return .outputClosed }
            try turn(connection)
        }
    }

    private func take(_ event: ConnectionEvent, _ connection: AttachConnection, _ connected: () -> Void) throws(AttachError) {
        switch event {
        case .globalReply(let success, let data) where !isBootTold:
            isBootTold = true
            var reader = WireReader(data)
            try bootIsTold(success ? reader.uint64() : 0)
            if isOpen, let channel { try ask(channel, connection) }
        case .opened(let id, _) where id == channel:
            isOpen = true
            if isBootTold { try ask(id, connection) }
        case .openFailed(_, _, let text):
            throw .refused(operation: "open", object: "a session's channel", cause: text, code: "", exitCode: 0)
        case .requestReply(let id, let success) where phase == .asked && id == channel:
            if !success { try refused(id, connection) }
        case .request(let id, let name, let data, _) where id == channel: try take(name, data, connection, connected)
        case .data(let id, let data) where id == channel: deliver(data, isError: false)
        case .extendedData(let id, _, let data) where id == channel: deliver(data, isError: true)
        case .closed(let id) where id == channel: try closed()
        default: break
        }
    }

    /// The longest description of a process that fits into an SSH message, whatever goes with it, in bytes.
    private static let maximumProcess = 32 * 1024

    private func ask(_ id: ChannelID, _ connection: AttachConnection) throws(AttachError) {
        var writer = WireWriter()
        var name = "attach@tether"
        switch options.purpose {
        case .exec(let process, let session) where !isStarted && !mayHaveStarted:
            if process.count > Self.maximumProcess {
                let cause = "its description has \(process.count) bytes, and \(Self.maximumProcess) are the most"
                throw .refused(operation: "exec", object: "the process", cause: cause, code: "", exitCode: 125)
            }
            name = "exec-process@tether"
            writer.string(process)
            writer.boolean(wantsInput)
            writer.text(session)
            writer.uint64(inputKey)
            self.session = session
        case .exec(_, let session):
            // From its first byte: what is not kept of it any more is told, and by "oldest" it would not be.
            writeAttach(&writer, session, "0", "0")
        case .attach(let session, let stdoutFrom, let stderrFrom):
            writeAttach(&writer, self.session.isEmpty ? session : self.session, stdoutFrom, stderrFrom)
        }
        phase = .asked
        mayHaveStarted = true
        if connection.client.connection.request(id, name: name, data: writer.bytes, wantsReply: true) { return }
        let cause = "the request has \(writer.bytes.count) bytes, which is more than a message of SSH has room for"
        throw .refused(operation: "attach", object: "", cause: cause, code: "", exitCode: 125)
    }

    private func writeAttach(_ writer: inout WireWriter, _ session: String, _ stdoutFrom: String, _ stderrFrom: String) {
        writer.text(session)
        // A stream that is not followed is not to be later either.
        for (offset, from) in [(stdoutOffset, stdoutFrom), (stderrOffset, stderrFrom)] {
            writer.text(from == "none" ? from : offset.map { "\($0)" } ?? from)
        }
        writer.boolean(wantsInput)
        writer.uint64(inputKey)
    }

    private func refused(_ id: ChannelID, _ connection: AttachConnection) throws(AttachError) {
        guard case .refused(_, _, _, let code, _)? = failure else {
            throw failure ?? .refused(operation: "attach", object: session, cause: "the guest does not say why", code: "", exitCode: 0)
        }
        if code == "noStdin", wantsInput {
            wantsInput = false
            return try ask(id, connection)
        }
        if code == "unknownSession", !isStarted, case .exec = options.purpose {
            // The request that was on its way when the line dropped did not arrive.
            mayHaveStarted = false
            return try ask(id, connection)
        }
        if let failure { throw failure }
    }

    private func take(_ name: String, _ data: [UInt8], _ connection: AttachConnection, _ connected: () -> Void) throws(AttachError) {
        switch name {
        case "attached@tether":
            if try attached(data, connection) { connected() }
        case "failed@tether":
            var reader = WireReader(data)
            failure = AttachClient.failure(in: reader.string())
        case "stdin@tether":
            var reader = WireReader(data)
            inputIsOpen(reader.boolean(), reader.text())
        case "exited@tether":
            var reader = WireReader(data)
            readExit(reader.string())
        default:
            switch SessionRequest(name: name, data: data) {
            // A number that no process ends with is none: what is left of it could be 0.
            case .exitStatus(let status)?: exitCode = status < 256 ? Int32(status) : 125
            case .exitSignal(let name, _, let message)?:
                let plain = name.hasSuffix("@tether") ? String(name.dropLast(7)) : name
                exitCode = 128 + (Signal(name: plain)?.rawValue ?? 0)
                if !message.isEmpty { options.log("the process was killed: \(message.printable)") }
            default: break
            }
        }
    }

    /// - Returns: false where the session is not the one of before, and is asked for anew.
    private func attached(_ data: [UInt8], _ connection: AttachConnection) throws(AttachError) -> Bool {
        var reader = WireReader(data)
        let id = reader.text()
        let terminal = reader.boolean()
        let offsets = (0..<4).map { _ in reader.uint64() }
        let isInputCounted = reader.boolean()
        let inputTaken = reader.uint64()
        guard reader.isComplete else { throw .violation("attached@tether has another form") }
        session = id.printable
        if isBehind(stdout: offsets[0], stderr: offsets[1]) {
            // A guest that does not say which boot it is.
            try startedAnew()
            if let channel { connection.client.connection.close(channel) }
            (channel, phase, toGrant, isOpen) = (nil, .opening, 0, false)
            return false
        }
        hasTerminal = terminal
        (stdoutOffset, stderrOffset) = (offsets[0], offsets[1])
        for (name, lost, descriptor) in [("stdout", offsets[2], options.stdout), ("stderr", offsets[3], options.stderr)] where lost > 0 {
            options.log("\(lost) bytes of \(name) are lost: the guest does not keep them any more")
            if isatty(descriptor) == 0 { outputIsIncomplete = true }
        }
        if wantsInput { try resumeInput(isInputCounted ? inputTaken : nil) }
        isStarted = true
        phase = .attached
        inputEndIsSent = false
        inputIsClosed = false
        if let channel, terminal, let local = options.terminal {
            local.makeRaw()
            if let size = local.size { connection.client.connection.request(channel, .windowChange(size)) }
        }
        return true
    }

    private struct Exit: Decodable {
        struct Total: Decodable { var bytes: UInt64 }
        var exitCode: Int32
        var stdout: Total?
        var stderr: Total?
    }

    private func readExit(_ document: [UInt8]) {
        guard let exit = try? JSONDecoder().decode(Exit.self, from: Data(document)) else { return }
        exitCode = (0..<256).contains(exit.exitCode) ? exit.exitCode : 125
        if let stdout = exit.stdout?.bytes, let stderr = exit.stderr?.bytes { totals = (stdout, stderr) }
    }

    /// The guest has closed the channel.
    private func closed() throws(AttachError) {
        channel = nil
        guard let exitCode else {
            if let failure { throw failure }
            // It let go of us: we were too slow, or it is about to go off. Another attempt tells.
            throw .violation("the channel was closed, and the session has not ended")
        }
        if let failure, !isStarted { throw failure }
        // A stream that was not followed has its end elsewhere.
        if let totals, followsAll, let stdoutOffset, let stderrOffset, totals != (stdoutOffset, stderrOffset) {
            options.log("the process wrote \(totals.stdout) and \(totals.stderr) bytes, and \(stdoutOffset) and \(stderrOffset) arrived")
            outputIsIncomplete = true
        }
        outcome = .exited(exitCode)
    }

    /// Once all that arrived is with its reader: a script must not take what is not whole for a success.
    private func checkCompleteness() throws(AttachError) {
        if outputIsIncomplete {
            throw .refused(operation: "attach", object: session, cause: "the output is not complete", code: "", exitCode: 125)
        }
        // A person at a terminal has read it, and seen what became of it.
        if inputIsIncomplete, isatty(options.stdin) == 0 {
            throw .refused(operation: "attach", object: session, cause: "not all input may have reached it", code: "", exitCode: 125)
        }
    }

    private var followsAll: Bool {
        if case .attach(_, let stdoutFrom, let stderrFrom) = options.purpose { return stdoutFrom != "none" && stderrFrom != "none" }
        return true
    }

    // MARK: Output

    private func deliver(_ data: [UInt8], isError: Bool) {
        if isError {
            stderr.append(data)
            stderrOffset? &+= UInt64(data.count)
        } else {
            stdout.append(data)
            stdoutOffset? &+= UInt64(data.count)
        }
        toGrant += data.count
    }

    private func moveOutput(_ connection: AttachConnection) throws(AttachError) {
        try system { () throws(SyscallError) in
            try stdout.flush()
            try stderr.flush()
        }
        // A reader that is slow makes the process slow, and nobody keeps what waits.
        if toGrant >= Self.grantedAtOnce, !stdout.isFull, !stderr.isFull, let channel {
            connection.client.connection.grant(channel, bytes: toGrant)
            toGrant = 0
        }
    }

    /// Writes what is left, however long its reader takes.
    /// - Returns: how it ended where a signal came first.
    private func flushOutput() throws(AttachError) -> AttachOutcome? {
        while true {
            try system { () throws(SyscallError) in
                try stdout.flush()
                try stderr.flush()
            }
            if stdout.isEmpty, stderr.isEmpty { return nil }
            var watched = [
                pollfd(fd: stdout.isEmpty ? -1 : stdout.descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: stderr.isEmpty ? -1 : stderr.descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: options.signals, events: Int16(POLLIN), revents: 0),
            ]
            poll(&watched, 3, 1000)
            closeOutputs(watched[0], watched[1])
            // There is no process any more to pass them on to.
            if watched[2].revents != 0 { readSignals() }
            pendingSignals.removeAll { $0 == SIGWINCH || $0 == SIGCONT }
            if !pendingSignals.isEmpty { return try interruptedOutcome() }
        }
    }

    // MARK: Waiting

    private func turn(_ connection: AttachConnection) throws(AttachError) {
        var others = [
            pollfd(fd: readsInput ? options.stdin : -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: options.signals, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stdout.descriptor, events: stdout.isEmpty ? 0 : Int16(POLLOUT), revents: 0),
            pollfd(fd: stderr.descriptor, events: stderr.isEmpty ? 0 : Int16(POLLOUT), revents: 0),
        ]
        try connection.turn(&others)
        if others[0].revents != 0 { try readInput() }
        if others[1].revents != 0 { readSignals() }
        closeOutputs(others[2], others[3])
        for number in pendingSignals { try pass(number, connection) }
        pendingSignals = []
    }

    /// Takes note of readers that are gone: a pipe says POLLERR, a socket POLLHUP.
    private func closeOutputs(_ stdout: pollfd, _ stderr: pollfd) {
        let bad = POLLHUP | POLLERR | POLLNVAL
        if Int32(stdout.revents) & bad != 0 { self.stdout.close() }
        if Int32(stderr.revents) & bad != 0 { self.stderr.close() }
    }
}
