import Control
import Linux
import SSH
import SessionLog

/// What becomes of the sessions that channels are attached to.
extension AttachBridge {
    /// PID 1 has attached the channel.
    func take(_ attached: Attached, _ what: Asked) {
        let id: ChannelID
        switch what {
        case .attach(let channel), .exec(let channel): id = channel
        default: return
        }
        // A channel that was closed meanwhile has been detached from again.
        guard let index = index(id), let client else { return }
        channels[index].phase = .attached
        channels[index].wasAttached = true
        channels[index].session = attached.session
        channels[index].stdoutSent = attached.stdoutOffset
        channels[index].stderrSent = attached.stderrOffset
        let channel = channels[index]
        markSeen(attached.session)
        // A window of a channel that is not open yet must not be sent: VIC's is granted with the channel.
        let window = channel.wantsStdin ? Int(attached.stdinCredit) : BridgeChannel.discardedWindow
        if channel.dialect == .vic {
            client.connection.accept(id, window: UInt32(clamping: window))
            tellMissed(index, attached)
        } else {
            reply(id, channel.startReply, true)
            if channel.start.isDetailed { tellAttached(id, attached) } else { tellMissed(index, attached) }
        }
        channels[index].inputWindow = window
        if !channel.wantsStdin {
            // What was not asked for is dropped as it comes, so that a client that writes does not wait for ever.
            channels[index].discardsInput = true
            tellEndOfWrite(index)
        }
        if channel.dialect == .session { client.connection.grant(id, bytes: window) }
        if channel.start == .shell, let size = channel.terminal { useTerminal(index, size, attached) }
        if channel.dialect == .session, isPrimary(attached.session), !channel.start.startsProcess {
            let modes = channel.terminal != nil && attached.hasTerminal ? Documents.modes(channel.modes) : []
            ask(.nothing) { .release(tag: $0, modes: modes) }
        }
        if channel.inputHasEnded { closeStdin(index) }
    }

    /// `attached@tether`: string session, boolean terminal, uint64 offsets of the first bytes of stdout and stderr, uint64 bytes
    /// before them that were asked for and are not kept, boolean the input that was taken is known, uint64 bytes of it.
    private func tellAttached(_ id: ChannelID, _ attached: Attached) {
        var writer = WireWriter()
        writer.text(attached.session)
        writer.boolean(attached.hasTerminal)
        for number in [attached.stdoutOffset, attached.stderrOffset, attached.stdoutMissed, attached.stderrMissed] { writer.uint64(number) }
        writer.boolean(attached.stdinTaken != nil)
        writer.uint64(attached.stdinTaken ?? 0)
        client?.connection.request(id, name: "attached@tether", data: writer.bytes)
    }

    private func tellMissed(_ index: Int, _ attached: Attached) {
        for (name, missed) in [("stdout", attached.stdoutMissed), ("stderr", attached.stderrMissed)] where missed > 0 {
            say(index, "\(missed) bytes of \(name) are no longer kept")
        }
    }

    /// The client's terminal becomes that of the session, or what it can be to one that has none.
    private func useTerminal(_ index: Int, _ size: WindowSize, _ attached: Attached) {
        guard attached.hasTerminal else {
            channels[index].translatesLines = true
            return
        }
        ask(.nothing) {
            .resize(
                tag: $0, session: attached.session, rows: UInt16(clamping: size.rows), columns: UInt16(clamping: size.columns))
        }
    }

    /// A line of ours among the session's output, for people.
    private func say(_ index: Int, _ text: String) {
        // A VCH passes on whatever it gets as the process's own.
        if channels[index].dialect == .vic { return log("\(channels[index].session): \(text)") }
        let end = channels[index].terminal != nil ? "\r\n" : "\n"
        let line = Array("tether: \(text)\(end)".utf8)
        channels[index].pending.append(BridgeChannel.Piece(stream: .stderr, data: line[...], standsFor: 0))
    }

    /// Nobody reads the client's input now. PID 1 goes on to take it, and drops it: so it is counted, and a client that writes does
    /// not wait for ever.
    func inputIsOver(_ index: Int, _ why: StdinEnd) {
        guard channels[index].phase == .attached else { return }
        tellEndOfWrite(index)
        tellInput(index, why)
    }

    /// The session has another process, which takes input.
    func inputIsBack(_ index: Int) {
        guard channels[index].phase == .attached else { return }
        tellInput(index, nil)
    }

    private func tellEndOfWrite(_ index: Int) {
        guard tellsEndOfWrite, channels[index].dialect == .session, !channels[index].inputEndIsTold else { return }
        channels[index].inputEndIsTold = true
        client?.connection.request(channels[index].id, .endOfWrite)
    }

    /// `stdin@tether`: boolean input is taken, string why it is not.
    private func tellInput(_ index: Int, _ end: StdinEnd?) {
        guard channels[index].start.isDetailed else { return }
        var writer = WireWriter()
        writer.boolean(end == nil)
        switch end {
        case nil: writer.text("")
        case .requested?: writer.text("requested")
        case .processClosed?: writer.text("process")
        case .sessionEnded?, .overrun?: writer.text("session")
        }
        client?.connection.request(channels[index].id, name: "stdin@tether", data: writer.bytes)
    }

    // MARK: Failures

    /// There is no attachment.
    func startFailed(_ id: ChannelID, _ failure: RequestFailure) {
        guard let index = index(id) else { return }
        channels[index].tag = nil
        if failure.code == .noStdin && channels[index].wantsStdin && channels[index].start != .attach {
            channels[index].wantsStdin = false
            return attach(index)
        }
        if channels[index].dialect == .vic {
            switch failure.code {
            case .unknownSession: return rejectVIC(id, VICDialect.unknown(channels[index].session))
            // The session runs: its client is to try again, and not to believe that its process was not started.
            case .tooMany: return rejectVIC(id, failure.cause, .resourceShortage)
            default: return rejectVIC(id, VICDialect.launchFailed(failure))
            }
        }
        if channels[index].start.isDetailed {
            var writer = WireWriter()
            writer.string(Documents.failure(failure))
            client?.connection.request(id, name: "failed@tether", data: writer.bytes)
            reply(id, channels[index].startReply, false)
            channels[index].phase = .idle
            return
        }
        // A program that runs a command learns more from a status and a text than from a request that failed.
        reply(id, channels[index].startReply, true)
        channels[index].phase = .finishing
        say(index, "\(failure.operation) \(failure.object): \(failure.cause)")
        channels[index].failureCode = failure.exitCode == 0 ? 125 : failure.exitCode
    }

    /// A session to which a channel is attached never got a process, or something that was sent on the way was in vain.
    func attachmentFailed(_ tag: UInt32, _ failure: RequestFailure) {
        guard let index = channels.firstIndex(where: { $0.tag == tag }) else { return }
        guard failure.code == .launchFailed || failure.code == .notRunning else { return }
        channels[index].tag = nil
        channels[index].phase = .finishing
        markEnded(channels[index].session)
        say(index, "\(failure.operation) \(failure.object): \(failure.cause)")
        channels[index].failureCode = failure.exitCode == 0 ? 125 : failure.exitCode
        if channels[index].start.isDetailed {
            var writer = WireWriter()
            writer.string(Documents.failure(failure))
            client?.connection.request(channels[index].id, name: "failed@tether", data: writer.bytes)
        }
    }

    // MARK: The end

    /// The session goes on without the channel.
    func detached(_ index: Int, _ detachment: Detachment) {
        channels[index].tag = nil
        channels[index].phase = .finishing
        channels[index].isDetached = true
        let at = "stdout goes on at \(detachment.stdoutOffset), stderr at \(detachment.stderrOffset)"
        switch detachment.reason {
        case .slow: say(index, "detached: the process would have had to wait for this client; \(at)")
        case .forgotten: say(index, "detached: the session was forgotten")
        case .stopping: say(index, "detached: the VM goes off")
        case .requested: break
        }
    }

    /// A session has ended, and all its output is here.
    func exited(_ tag: UInt32, _ result: SessionResult) {
        if let index = channels.firstIndex(where: { $0.tag == tag }) {
            channels[index].tag = nil
            channels[index].result = result
            channels[index].phase = .finishing
            markEnded(channels[index].session, result)
        } else if case .end(let id)? = takenEnd(tag) {
            rejectVIC(id, VICDialect.ended(result.exitCode))
        }
    }

    /// The list is told anew only later, and who asks for the session meanwhile is to be told that it has ended.
    private func markEnded(_ name: String, _ result: SessionResult? = nil) {
        guard let known = sessions.firstIndex(where: { $0.id == name }) else { return }
        sessions[known].state = .ended
        guard let result else { return }
        sessions[known].stdout.end = result.stdout.bytes
        sessions[known].stderr.end = result.stderr.bytes
    }

    /// Says how it ended, behind the last output, and closes the channel.
    func finish(_ index: Int) {
        guard let client else { return }
        let channel = channels[index]
        channels[index].phase = .closed
        hasFinished = true
        if channel.dialect == .session {
            if let result = channel.result {
                if let signal = Signal(rawValue: Int32(result.signal)), result.signal != 0 {
                    let message = result.oomKilled ? "out of memory" : ""
                    client.connection.request(
                        channel.id,
                        .exitSignal(name: AttachBridge.wireName(signal), coreDumped: result.coreDumped, message: message))
                } else {
                    client.connection.request(channel.id, .exitStatus(UInt32(result.exitCode)))
                }
                if channel.start.isDetailed {
                    var writer = WireWriter()
                    writer.string(Documents.exit(result))
                    client.connection.request(channel.id, name: "exited@tether", data: writer.bytes)
                }
            } else if let code = channel.failureCode {
                client.connection.request(channel.id, .exitStatus(UInt32(code)))
            }
        }
        client.connection.sendEOF(channel.id)
        client.connection.close(channel.id)
    }

    /// Without "SIG". Those that RFC 4254 does not name have a domain behind them (6.10).
    private static func wireName(_ signal: Signal) -> String {
        let name = String(signal.name.dropFirst(3))
        switch name {
        case "ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2": return name
        default: return name + "@tether"
        }
    }
}
