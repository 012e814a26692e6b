import Control
import Linux
import SessionLog

/// What a client asks for.
extension ControlConnection {
    func handle(_ message: ClientMessage) {
        if case .hello(let version, _) = message {
            if isGreeted { return end("hello was said twice") }
            if version == 0 { return end("there is no version 0 of the control protocol") }
            isGreeted = true
            return send(.hello(version: min(version, ControlProtocol.version), name: "tether", service.limits))
        }
        guard isGreeted else { return end("the first message was not hello") }
        switch message {
        case .hello: break
        case .ping(let tag): send(.pong(tag: tag))
        case .list(let tag):
            for session in service.sessions { send(.session(tag: tag, service.summary(of: session))) }
            send(.done(tag: tag))
        case .attach(let tag, let request): attach(tag, request)
        case .exec(let tag, let request): exec(tag, request)
        case .wait(let tag, let name):
            guard let session = find(tag, name, "wait for") else { return }
            follow(session, tag, .wait, stdout: .none, stderr: .none, takesInput: false)
        case .window(let tag, let stream, let count): follower(tag)?.attachment.grant(stream, UInt64(count))
        case .detach(let tag):
            guard let follower = follower(tag) else { return refuseUnknown(tag, "detach") }
            follower.attachment.session.detach(follower.attachment, .requested)
        case .stdin(let tag, let bytes): write(tag, bytes)
        case .closeStdin(let tag): closeInput(tag)
        case .resize(let tag, let name, let rows, let columns):
            if let session = find(tag, name, "resize") { answer(tag, service.resize(session, rows: rows, columns: columns)) }
        case .signal(let tag, let name, let number):
            guard let session = find(tag, name, "signal") else { return }
            guard let signal = Signal(rawValue: Int32(number)) else {
                return refuse(tag, .invalid, "signal", session.id, "there is no signal \(number)")
            }
            answer(tag, service.signal(session, signal))
        case .forget(let tag, let name):
            if let session = find(tag, name, "forget") { answer(tag, service.forget(session)) }
        case .stop(let tag, let number, let timeout):
            let signal = number == 0 ? nil : Signal(rawValue: Int32(number))
            if number != 0 && signal == nil { return refuse(tag, .invalid, "stop", "the container", "there is no signal \(number)") }
            answer(tag, service.stop(signal: signal, timeoutMilliseconds: timeout))
        case .reload(let tag): answer(tag, service.reload())
        case .pause(let tag): service.setPaused(true, for: self, tag: tag)
        case .resume(let tag): service.setPaused(false, for: self, tag: tag)
        case .release(let tag, let name, let modes):
            if let session = find(tag, name, "start") { answer(tag, service.release(session, modes: modes)) }
        case .announce(let tag, let keys): answer(tag, service.announce(keys, from: self))
        case .stats(let tag):
            let document = service.statistics()
            guard document.count <= ControlProtocol.maximumDocument else {
                let cause = "they have \(document.count) bytes, and \(ControlProtocol.maximumDocument) are the most"
                return refuse(tag, .failed, "tell", "the statistics", cause)
            }
            send(.stats(tag: tag, document))
        case .subscribe(let tag):
            isSubscribed = true
            subscription = tag
            send(.done(tag: tag))
        }
    }

    private func find(_ tag: UInt32, _ name: String, _ operation: String) -> Session? {
        if let session = service.session(name) { return session }
        refuse(tag, .unknownSession, operation, name, "there is no session of this name")
        return nil
    }

    private func follower(_ tag: UInt32) -> Follower? { followers.first { $0.tag == tag && $0.purpose != .wait } }

    private func refuseUnknown(_ tag: UInt32, _ operation: String) {
        refuse(tag, .unknownAttachment, operation, "tag \(tag)", "there is no attachment with this tag")
    }

    // MARK: Attaching

    private func attach(_ tag: UInt32, _ request: AttachRequest) {
        guard let session = find(tag, request.session, "attach to") else { return }
        if request.wantsStdin && !session.mayTakeInput {
            return refuse(tag, .noStdin, "attach to", session.id, "its standard input is not open")
        }
        guard
            let attachment = follow(
                session, tag, .attach, stdout: request.stdout, stderr: request.stderr, takesInput: request.wantsStdin,
                inputKey: request.inputKey)
        else { return }
        attachment.grant(.stdout, UInt64(request.stdoutWindow))
        attachment.grant(.stderr, UInt64(request.stderrWindow))
    }

    private func exec(_ tag: UInt32, _ request: ExecRequest) {
        if followers.contains(where: { $0.tag == tag }) { return refuseTaken(tag) }
        switch service.startExec(request) {
        case .failure(let failure): send(.failed(tag: tag, failure))
        case .success(let session):
            guard
                let attachment = follow(
                    session, tag, .exec, stdout: .oldest, stderr: .oldest, takesInput: request.wantsStdin, inputKey: request.inputKey)
            else { return }
            attachment.grant(.stdout, UInt64(request.stdoutWindow))
            attachment.grant(.stderr, UInt64(request.stderrWindow))
        }
    }

    private func refuseTaken(_ tag: UInt32) { refuse(tag, .invalid, "attach", "tag \(tag)", "the tag is in use") }

    @discardableResult
    private func follow(
        _ session: Session, _ tag: UInt32, _ purpose: Follower.Purpose, stdout: StreamStart, stderr: StreamStart, takesInput: Bool,
        inputKey: UInt64 = 0
    ) -> Attachment? {
        if followers.contains(where: { $0.tag == tag }) {
            refuseTaken(tag)
            return nil
        }
        let clients = service.sessions.reduce(0) { $0 + $1.attachments.count }
        // A process that was started for this client is its own to follow, whoever else is there.
        if purpose != .exec && clients >= Int(service.limits.maximumClients) {
            refuse(tag, .tooMany, "attach to", session.id, "\(clients) clients are attached, which is the most")
            return nil
        }
        let attachment = session.attach(self, tag: tag, stdout: stdout, stderr: stderr, takesInput: takesInput, inputKey: inputKey)
        var follower = Follower(tag: tag, attachment: attachment, purpose: purpose, isAnnounced: purpose == .wait)
        follower.missed = (missed(stdout, attachment.position(.stdout)), missed(stderr, attachment.position(.stderr)))
        followers.append(follower)
        attachmentChanged(attachment)
        return attachment
    }

    private func missed(_ wanted: StreamStart, _ position: UInt64?) -> UInt64 {
        guard case .offset(let offset) = wanted, let position, position > offset else { return 0 }
        return position - offset
    }

    // MARK: Input

    private func write(_ tag: UInt32, _ bytes: [UInt8]) {
        guard let follower = follower(tag) else { return refuseUnknown(tag, "write input") }
        if follower.attachment.session.write(bytes, from: follower.attachment) { return }
        if !follower.attachment.takesInput { return refuse(tag, .noStdin, "write input", "tag \(tag)", "it was attached without input") }
        send(.stdinClosed(tag: tag, .overrun))
        end("the client sent more input than it was granted")
    }

    private func closeInput(_ tag: UInt32) {
        guard let index = followers.firstIndex(where: { $0.tag == tag && $0.purpose != .wait }) else {
            return refuseUnknown(tag, "close input")
        }
        guard followers[index].attachment.takesInput else {
            return refuse(tag, .noStdin, "close input", "tag \(tag)", "it was attached without input")
        }
        followers[index].attachment.session.endInput()
        if !followers[index].inputEndTold {
            followers[index].inputEndTold = true
            send(.stdinClosed(tag: tag, .requested))
        }
    }

    // MARK: What becomes of the sessions

    /// The first answer to an attach or exec, once there is one.
    func announce(_ index: Int) {
        if followers[index].isAnnounced { return }
        let follower = followers[index]
        let session = follower.attachment.session
        // An exec is answered when its process runs; that it could not be started, conclude() says.
        if follower.purpose == .exec && !session.hasStarted { return }
        followers[index].isAnnounced = true
        let attached = Attached(
            session: session.id, hasTerminal: session.hasTerminal, stdoutOffset: follower.attachment.position(.stdout) ?? 0,
            stderrOffset: follower.attachment.position(.stderr) ?? 0, stdoutMissed: follower.missed.stdout,
            stderrMissed: follower.missed.stderr, stdinCredit: UInt32(clamping: follower.attachment.inputCredit),
            stdinTaken: follower.attachment.inputTaken)
        send(.attached(tag: follower.tag, attached))
    }

    /// Tells of credit and ends, and lets go of the followers that have been told everything.
    func conclude() {
        var index = 0
        while index < followers.count {
            if isOver(index) { followers.remove(at: index) } else { index += 1 }
        }
    }

    private func isOver(_ index: Int) -> Bool {
        let follower = followers[index]
        let attachment = follower.attachment
        let session = attachment.session
        if let end = attachment.end {
            if end == .disconnected { return true }
            send(
                .detached(
                    tag: follower.tag,
                    Detachment(
                        end == .slow ? .slow : .requested, stdoutOffset: attachment.position(.stdout) ?? 0,
                        stderrOffset: attachment.position(.stderr) ?? 0)))
            return true
        }
        if let failure = session.startFailure {
            send(.failed(tag: follower.tag, failure))
            session.detach(attachment, .disconnected)
            return true
        }
        guard follower.isAnnounced else { return false }
        let credit = attachment.takeInputCredit()
        if credit > 0 { send(.stdinCredit(tag: follower.tag, bytes: UInt32(clamping: credit))) }
        if attachment.takesInput, !follower.inputEndTold, let why = session.inputEnd {
            followers[index].inputEndTold = true
            send(.stdinClosed(tag: follower.tag, why))
        } else if follower.inputEndTold, session.takesInput {
            // The session has another process since then.
            followers[index].inputEndTold = false
            send(.stdinOpened(tag: follower.tag))
        }
        if follower.purpose != .wait { for stream in attachment.takeEnds() { send(.eof(tag: follower.tag, stream)) } }
        guard session.state == .ended, follower.purpose == .wait || attachment.isComplete else { return false }
        // A session that ends without a result never had a process: the container was stopped before.
        if let result = session.result {
            send(.exited(tag: follower.tag, result))
        } else {
            refuse(follower.tag, .notRunning, "follow", session.id, "it ended before its process was started")
        }
        session.detach(attachment, .disconnected)
        return true
    }
}
