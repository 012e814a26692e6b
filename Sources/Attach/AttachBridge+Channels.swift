import Control
import Linux
public import SSH
import SessionLog

/// What the client asks for on its channels.
extension AttachBridge {
    /// Takes what the client said on the connection layer.
    public func take(_ event: ConnectionEvent) {
        switch event {
        case .globalRequest(let name, let data, let wantsReply): takeGlobal(name, data, wantsReply)
        case .opening(let id, let type, let extra): open(id, type, extra)
        case .data(let id, let data): takeInput(id, data)
        // A server is sent none by RFC 4254; it uses up the window all the same.
        case .extendedData(let id, _, let data): client?.connection.grant(id, bytes: data.count)
        case .eof(let id): inputEnds(id)
        case .closed(let id):
            guard let index = index(id) else { return }
            // A client that answers our CLOSE has all that came before it.
            if channels[index].phase == .closed { channels[index].unread = UnreadOutput() }
            leave(channels[index])
            channels.remove(at: index)
        case .request(let id, let name, let data, let wantsReply): takeRequest(id, name, data, wantsReply)
        // What waits is sent by the next pump().
        case .windowAdjusted(let id, let bytes):
            guard let index = index(id), channels[index].dialect == .vic else { return }
            channels[index].unread.read(Int(clamping: bytes))
            hasRead(index)
        case .globalReply, .opened, .openFailed, .requestReply: break
        }
    }

    private func open(_ id: ChannelID, _ type: String, _ extra: [UInt8]) {
        switch type {
        case "session":
            channels.append(BridgeChannel(id, .session))
            // Nothing may be sent before it is known who reads it.
            client?.connection.accept(id, window: 0)
        case VICDialect.channelType where isVIC: openVIC(id, extra)
        default:
            let shown = printable(Array(type.utf8), limit: 64)
            client?.connection.reject(id, .unknownChannelType, "there are no channels of type \(shown)")
        }
    }

    // MARK: VIC's channels

    private func openVIC(_ id: ChannelID, _ extra: [UInt8]) {
        let name = String(decoding: extra, as: UTF8.self)
        if extra.isEmpty || extra.count > ControlProtocol.maximumName {
            let text = extra.isEmpty ? VICDialect.noID : VICDialect.unknown(printable(Array(name.utf8), limit: 64))
            client?.connection.reject(id, .administrativelyProhibited, text)
            return
        }
        var channel = BridgeChannel(id, .vic)
        channel.session = name
        channel.phase = .asked
        let from = left.first { $0.session == name }
        // What ended before its VCH was there, and wrote something, is shown to the first that asks; and what nobody has read of it, to
        // whoever comes next.
        if let summary = summary(name), summary.state == .ended, !isUnread(summary, from: from.map { ($0.stdout, $0.stderr) }) {
            channels.append(channel)
            ask(.end(id)) { .wait(tag: $0, session: name) }
            return
        }
        channel.stdoutFrom = from.map { .offset($0.stdout) }
        channel.stderrFrom = from.map { .offset($0.stderr) }
        channels.append(channel)
        attach(channels.count - 1)
    }

    private func isUnread(_ summary: SessionSummary, from: (stdout: UInt64, stderr: UInt64)?) -> Bool {
        if let from { return from.stdout < summary.stdout.end || from.stderr < summary.stderr.end }
        return isFirst(summary.id) && (summary.stdout.end > 0 || summary.stderr.end > 0)
    }

    /// The channel that was to be opened is refused.
    func rejectVIC(_ id: ChannelID, _ text: String, _ reason: OpenFailure = .administrativelyProhibited) {
        guard let index = index(id) else { return }
        channels.remove(at: index)
        client?.connection.reject(id, reason, text)
    }

    private func takeVIC(_ index: Int, _ name: String, _ data: [UInt8], _ reply: UInt32?) {
        let id = channels[index].id
        switch VICDialect.Request(name, data) {
        case .ping: self.reply(id, reply, true)
        case .unblock:
            // The answer first: behind it comes the process's output.
            guard channels[index].phase == .attached else { return self.reply(id, reply, false) }
            self.reply(id, reply, true)
            let name = channels[index].session
            ask(.nothing) { .release(tag: $0, session: name) }
        case .closeStdin:
            self.reply(id, reply, true)
            closeStdin(index)
        case .windowChange(let size): resize(index, size, reply)
        case .signal(let name): signal(index, name, reply)
        case nil: self.reply(id, reply, false)
        }
    }

    // MARK: Requests on channels

    private func takeRequest(_ id: ChannelID, _ name: String, _ data: [UInt8], _ wantsReply: Bool) {
        guard let index = index(id) else { return }
        let reply = wantsReply ? channels[index].replies.expect() : nil
        if channels[index].dialect == .vic { return takeVIC(index, name, data, reply) }
        switch name {
        case "attach@tether": return takeAttach(index, data, reply)
        case "exec-process@tether": return takeExecProcess(index, data, reply)
        case "close-stdin@tether":
            closeStdin(index)
            return self.reply(id, reply, channels[index].phase == .attached)
        default: break
        }
        switch SessionRequest(name: name, data: data) {
        // A forced command is told what was asked for; otherwise the name is one like others, which clients may not set.
        case .environment(Permissions.originalCommand, let value) where client?.connection.permissions.forcedCommand != nil:
            channels[index].originalCommand = value
            self.reply(id, reply, true)
        case .environment(let name, let value): self.reply(id, reply, channels[index].setEnvironment(name, value))
        case .terminal(let name, let size, let modes):
            channels[index].terminal = size
            channels[index].modes = modes
            _ = channels[index].setEnvironment("TERM", name)
            self.reply(id, reply, true)
        case .shell:
            guard begins(index, .shell, reply) else { return }
            attach(index)
        case .execute(let command):
            guard begins(index, .exec, reply) else { return }
            execute(index, command)
        case .windowChange(let size):
            // There is a terminal where one was asked for and granted, or where the session that was joined has one.
            let hasTerminal = channels[index].terminal != nil
            if hasTerminal { channels[index].terminal = size }
            if channels[index].phase == .attached, hasTerminal || channels[index].start.isDetailed {
                resize(index, size, reply)
            } else {
                self.reply(id, reply, hasTerminal)
            }
        case .signal(let name): signal(index, name, reply)
        // What a break does on a terminal: it interrupts.
        case .lineBreak: signal(index, "INT", reply)
        case .endOfWrite: self.reply(id, reply, true)
        case .subsystem, .exitStatus, .exitSignal, .flowControl, nil: self.reply(id, reply, false)
        }
    }

    /// A channel is for one session.
    private func begins(_ index: Int, _ start: BridgeChannel.Start, _ reply: UInt32?) -> Bool {
        guard channels[index].phase == .idle else {
            self.reply(channels[index].id, reply, false)
            return false
        }
        channels[index].start = start
        channels[index].startReply = reply
        channels[index].phase = .asked
        return true
    }

    private func takeAttach(_ index: Int, _ data: [UInt8], _ reply: UInt32?) {
        guard let wanted = AttachParameters(data) else { return self.reply(channels[index].id, reply, false) }
        guard begins(index, .attach, reply) else { return }
        channels[index].session = wanted.session
        channels[index].stdoutFrom = wanted.stdoutFrom
        channels[index].stderrFrom = wanted.stderrFrom
        channels[index].wantsStdin = wanted.wantsStdin
        channels[index].inputKey = wanted.inputKey
        attach(index)
    }

    private func takeExecProcess(_ index: Int, _ data: [UInt8], _ reply: UInt32?) {
        guard let wanted = ExecParameters(data) else { return self.reply(channels[index].id, reply, false) }
        guard begins(index, .execProcess, reply) else { return }
        channels[index].wantsStdin = wanted.wantsStdin
        channels[index].inputKey = wanted.inputKey
        exec(index, wanted.process, name: wanted.session)
    }

    // MARK: Asking PID 1

    func isPrimary(_ session: String) -> Bool { session.isEmpty || session == sessions.first?.id }

    /// Asks for the session that the channel names.
    func attach(_ index: Int) {
        let channel = channels[index]
        let name = channel.session.isEmpty ? sessions.first?.id ?? "" : channel.session
        // Whoever comes first finds what the process has said until then.
        let start: StreamStart = isFirst(name) ? .oldest : .live
        let request = AttachRequest(
            session: channel.session, stdout: channel.stdoutFrom ?? start, stderr: channel.stderrFrom ?? start,
            stdoutWindow: BridgeChannel.stdoutWindow, stderrWindow: BridgeChannel.stderrWindow, wantsStdin: channel.wantsStdin,
            inputKey: channel.inputKey)
        channels[index].tag = ask(.attach(channel.id)) { .attach(tag: $0, request) }
    }

    /// Has the container's shell run a command.
    private func execute(_ index: Int, _ command: [UInt8]) {
        let channel = channels[index]
        func refuse(_ object: String, _ cause: String) {
            startFailed(channel.id, RequestFailure(.invalid, exitCode: 125, operation: "exec", object: object, cause: cause))
        }
        // The description of a process is JSON, which has no other bytes: another command than the one meant must not run.
        guard String(decoding: command, as: UTF8.self).utf8.elementsEqual(command) else { return refuse("the command", "it is not UTF-8") }
        var environment = channel.environment
        if let original = channel.originalCommand {
            environment.append("\(Permissions.originalCommand)=\(original)")
        }
        let size = channel.terminal.map { (UInt16(clamping: $0.rows), UInt16(clamping: $0.columns)) }
        exec(index, Documents.shellProcess(command, environment: environment, terminal: size, modes: channel.modes), name: "")
    }

    private func exec(_ index: Int, _ process: [UInt8], name: String) {
        let channel = channels[index]
        guard process.count <= ControlProtocol.maximumDocument else {
            let failure = RequestFailure(
                .invalid, exitCode: 125, operation: "exec", object: "process",
                cause: "its description has \(process.count) bytes, and \(ControlProtocol.maximumDocument) are the most")
            return startFailed(channel.id, failure)
        }
        let request = ExecRequest(
            session: name, process: process, stdoutWindow: BridgeChannel.stdoutWindow, stderrWindow: BridgeChannel.stderrWindow,
            wantsStdin: channel.wantsStdin,
            // A client of ours may come again; of what an SSH client has started nobody could end the input any more.
            endsInputWithClient: channel.start != .execProcess, inputKey: channel.inputKey)
        channels[index].tag = ask(.exec(channel.id)) { .exec(tag: $0, request) }
    }

    private func resize(_ index: Int, _ size: WindowSize, _ reply: UInt32?) {
        let channel = channels[index]
        guard channel.phase == .attached else { return self.reply(channel.id, reply, false) }
        ask(.channel(channel.id, reply: reply)) {
            .resize(tag: $0, session: channel.session, rows: UInt16(clamping: size.rows), columns: UInt16(clamping: size.columns))
        }
    }

    private func signal(_ index: Int, _ name: String, _ reply: UInt32?) {
        let channel = channels[index]
        guard channel.phase == .attached, let signal = Signal(name: name) else { return self.reply(channel.id, reply, false) }
        ask(.channel(channel.id, reply: reply)) {
            .signal(tag: $0, session: channel.session, number: UInt8(clamping: signal.rawValue))
        }
    }

    // MARK: Input

    private func takeInput(_ id: ChannelID, _ data: [UInt8]) {
        guard let index = index(id) else { return }
        guard channels[index].phase == .attached, !channels[index].discardsInput, let tag = channels[index].tag else {
            // What comes behind a detachment is lost here. The client must not have sent more than it can send again.
            if !channels[index].isDetached { client?.connection.grant(id, bytes: data.count) }
            return
        }
        // The connection layer has seen to it that no more comes than was granted.
        channels[index].inputWindow -= data.count
        if channels[index].translatesLines {
            let lineFeed = UInt8(ascii: "\n")
            say(.stdin(tag: tag, data.map { $0 == UInt8(ascii: "\r") ? lineFeed : $0 }))
        } else {
            say(.stdin(tag: tag, data))
        }
    }

    private func inputEnds(_ id: ChannelID) {
        guard let index = index(id) else { return }
        // VIC's VCH says `close-stdin` where it means it.
        guard channels[index].dialect == .session else { return }
        if channels[index].phase == .attached { closeStdin(index) } else { channels[index].inputHasEnded = true }
    }

    func closeStdin(_ index: Int) {
        guard channels[index].phase == .attached, !channels[index].discardsInput, let tag = channels[index].tag else { return }
        say(.closeStdin(tag: tag))
    }
}

extension BridgeChannel {
    private static let maximumVariables = 32
    private static let maximumVariable = 1024

    /// Takes an environment variable of the client's, if it is one that clients may set.
    mutating func setEnvironment(_ name: String, _ value: String) -> Bool {
        switch name {
        case "TETHER_STDOUT_FROM":
            stdoutFrom = StreamStart(text: value)
            return stdoutFrom != nil
        case "TETHER_STDERR_FROM":
            stderrFrom = StreamStart(text: value)
            return stderrFrom != nil
        case "TETHER_STDIN":
            wantsStdin = value != "none"
            return true
        default: break
        }
        guard BridgeChannel.mayBeSet(name), value.utf8.count <= BridgeChannel.maximumVariable, !value.utf8.contains(0) else { return false }
        environment.removeAll { $0.hasPrefix(name + "=") }
        guard environment.count < BridgeChannel.maximumVariables else { return false }
        environment.append("\(name)=\(value)")
        return true
    }

    /// What says how text is shown, and nothing that could have a program do something else.
    private static func mayBeSet(_ name: String) -> Bool {
        switch name {
        case "LANG", "LANGUAGE", "TERM", "COLORTERM", "NO_COLOR", "TZ": true
        default:
            name.hasPrefix("LC_") && name.utf8.count <= 64
                && name.utf8.allSatisfy { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") || $0 == UInt8(ascii: "_") }
        }
    }
}
