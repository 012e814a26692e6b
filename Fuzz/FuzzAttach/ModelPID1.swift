import Control
import SessionLog

/// PID 1 as the attach server sees it. It answers what it is asked, in its time, and keeps within the windows that it is given; what
/// else it says is the input's. Of what it is told it holds the server to what it promised.
struct ModelPID1 {
    private struct Attachment {
        let tag: UInt32
        /// What may be sent of each stream, and what might be at most.
        var stdoutWindow: Int
        var stderrWindow: Int
        let stdoutLimit: Int
        let stderrLimit: Int
        /// Input that the server was granted and has not sent.
        var credit = 0
        /// It was answered, and so there is one.
        var isJoined = false
    }

    private var decoder = FrameDecoder()
    private var attachments: [Attachment] = []
    private var answers: [ServerMessage] = []
    private var execs = 0
    /// Something was said that PID 1 would not say, and so not all that it is told need make sense.
    private(set) var isDeceived = false

    private static func session(
        _ id: String, _ kind: SessionSummary.Kind, _ state: SessionSummary.State, terminal: Bool = false
    ) -> SessionSummary {
        let kept = SessionSummary.Kept(first: 5000, end: 70_000)
        return SessionSummary(
            id: id, kind: kind, state: state, hasTerminal: terminal, stdinIsOpen: state == .running, stdout: kept, args: ["app", "-v"])
    }
    private let sessions = [
        session("main", .primary, .running), session("web", .exec, .running, terminal: true), session("done", .exec, .ended),
    ]

    /// Requests that have no answer yet.
    var waiting: Int { answers.count }

    /// How many attachments there are.
    var attached: Int { attachments.count }

    // MARK: What the server says

    /// Takes what the server says.
    mutating func take(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = decoder.append(bytes)
        while true {
            let frame: DecodedFrame<ClientMessage>?
            do throws(ControlError) { frame = try decoder.next(ClientMessage.self) } catch {
                preconditionFailure("PID 1 is told what it cannot read: \(error)")
            }
            guard let frame else { return count }
            guard case .message(let message) = frame else { preconditionFailure("PID 1 is told what it does not know") }
            take(message)
        }
    }

    private func index(_ tag: UInt32) -> Int? { attachments.firstIndex { $0.tag == tag } }

    private mutating func take(_ message: ClientMessage) {
        switch message {
        case .hello(let version, _): precondition(version == ControlProtocol.version, "a version that there is not")
        case .list(let tag):
            answers += sessions.map { .session(tag: tag, $0) }
            answers.append(.done(tag: tag))
        case .attach(let tag, let request):
            begin(tag, request.stdoutWindow, request.stderrWindow)
            attach(tag, request)
        case .exec(let tag, let request):
            begin(tag, request.stdoutWindow, request.stderrWindow)
            execs += 1
            let name = request.session.isEmpty ? "exec-\(execs)" : request.session
            answers.append(.attached(tag: tag, Attached(session: name, stdinCredit: request.wantsStdin ? 200 : 0)))
        case .detach(let tag):
            // One that has ended meanwhile is known to have.
            attachments.removeAll { $0.tag == tag }
            answers.removeAll { $0.tag == tag }
            answers.append(.detached(tag: tag, Detachment(.requested)))
        case .window(let tag, let stream, let bytes):
            guard let index = index(tag) else { return }
            if stream == .stdout { attachments[index].stdoutWindow += Int(bytes) } else { attachments[index].stderrWindow += Int(bytes) }
            let attachment = attachments[index]
            precondition(
                attachment.stdoutWindow <= attachment.stdoutLimit && attachment.stderrWindow <= attachment.stderrLimit,
                "room for more than was sent")
        case .stdin(let tag, let data):
            guard let index = index(tag) else { return }
            attachments[index].credit -= data.count
            precondition(attachments[index].credit >= 0, "more input than there was room for")
        case .wait(let tag, let session): answers.append(.exited(tag: tag, Self.result(session)))
        case .stats(let tag): answers.append(.stats(tag: tag, Array("{\"tether\":{}}".utf8)))
        case .resize(let tag, let session, _, _):
            let hasTerminal = sessions.first { $0.id == session }?.hasTerminal ?? false
            answers.append(hasTerminal ? .done(tag: tag) : .failed(tag: tag, Self.failure(.noTerminal)))
        case .subscribe(let tag), .announce(let tag, _), .release(let tag, _, _), .stop(let tag, _, _), .reload(let tag), .pause(let tag),
            .resume(let tag), .signal(let tag, _, _), .forget(let tag, _):
            answers.append(.done(tag: tag))
        case .closeStdin, .ping: break
        }
    }

    private mutating func begin(_ tag: UInt32, _ stdout: UInt32, _ stderr: UInt32) {
        precondition(index(tag) == nil, "two attachments of one tag")
        attachments.append(
            Attachment(
                tag: tag, stdoutWindow: Int(stdout), stderrWindow: Int(stderr), stdoutLimit: Int(stdout), stderrLimit: Int(stderr)))
    }

    private mutating func attach(_ tag: UInt32, _ request: AttachRequest) {
        guard let session = sessions.first(where: { request.session.isEmpty || $0.id == request.session }) else {
            return answers.append(.failed(tag: tag, Self.failure(.unknownSession)))
        }
        if request.wantsStdin && !session.stdinIsOpen { return answers.append(.failed(tag: tag, Self.failure(.noStdin))) }
        answers.append(
            .attached(
                tag: tag,
                Attached(
                    session: session.id, hasTerminal: session.hasTerminal, stdinCredit: request.wantsStdin ? 200 : 0,
                    stdinTaken: request.inputKey == 0 ? nil : request.inputKey)))
    }

    private static func failure(_ code: RequestFailure.Code) -> RequestFailure {
        RequestFailure(code, operation: "attach to", object: "it", cause: "it cannot be done")
    }

    private static func result(_ session: String) -> SessionResult {
        SessionResult(id: session, exitCode: 3, finishedAt: Timestamp(nanoseconds: 5))
    }

    // MARK: What it says

    /// The next answer, if there is one.
    mutating func nextAnswer() -> ServerMessage? {
        if answers.isEmpty { return nil }
        let answer = answers.removeFirst()
        note(answer)
        return answer
    }

    /// Keeps account of what is said.
    private mutating func note(_ message: ServerMessage) {
        switch message {
        case .attached(let tag, let attached):
            guard let index = index(tag) else { return }
            attachments[index].credit += Int(attached.stdinCredit)
            attachments[index].isJoined = true
        case .stdinCredit(let tag, let bytes): if let index = index(tag) { attachments[index].credit += Int(bytes) }
        case .output(let tag, let stream, _, let data):
            guard let index = index(tag) else { return }
            if stream == .stdout { attachments[index].stdoutWindow -= data.count } else { attachments[index].stderrWindow -= data.count }
        case .failed(let tag, _), .exited(let tag, _), .detached(let tag, _): attachments.removeAll { $0.tag == tag }
        default: break
        }
    }

    /// Something that PID 1 might say by itself, as the input has it.
    mutating func speak(_ script: inout Script) -> ServerMessage? {
        let kind = script.byte()
        if kind % 10 == 9 { return .event(tag: 1, [.sessionsChanged, .paused, .resumed, .stopping][Int(kind) / 10 % 4]) }
        let joined = attachments.filter { $0.isJoined }
        guard !joined.isEmpty else { return nil }
        let attachment = joined[Int(script.byte()) % joined.count]
        let tag = attachment.tag
        let message: ServerMessage
        switch kind % 10 {
        case 0, 1, 2: message = .output(tag: tag, .stdout, offset: 0, text(min(script.number(), attachment.stdoutWindow)))
        case 3: message = .output(tag: tag, .stderr, offset: 0, text(min(script.number(), attachment.stderrWindow)))
        case 4: message = .stdinCredit(tag: tag, bytes: UInt32(script.number()))
        case 5: message = .stdinClosed(tag: tag, StdinEnd(rawValue: kind / 10 % 4) ?? .requested)
        case 6: message = .stdinOpened(tag: tag)
        case 7: message = .exited(tag: tag, Self.result("main"))
        default: message = .detached(tag: tag, Detachment(Detachment.Reason(rawValue: kind / 10 % 4) ?? .slow))
        }
        note(message)
        return message
    }

    private func text(_ count: Int) -> [UInt8] { (0..<max(0, count)).map { $0 % 40 == 39 ? 0x0a : 0x2e } }

    /// A message of whatever form, of any type and about any tag that is in use, or about none.
    mutating func deceive(_ script: inout Script) -> ServerMessage? {
        isDeceived = true
        let kind = 128 + script.byte() % 17
        let tag = script.byte()
        let body = script.take(script.number())
        var frame: [UInt8] = []
        // `hello` and `closing` have no tag.
        let hasTag = kind != 128 && kind != 141
        let length = 1 + (hasTag ? 4 : 0) + body.count
        for shift in stride(from: 0, to: 32, by: 8) { frame.append(UInt8(truncatingIfNeeded: length >> shift)) }
        frame += [kind] + (hasTag ? [tag, 0, 0, 0] : []) + body
        var reader = FrameDecoder()
        reader.append(frame)
        guard case .message(let message)? = try? reader.next(ServerMessage.self) else { return nil }
        note(message)
        return message
    }
}
