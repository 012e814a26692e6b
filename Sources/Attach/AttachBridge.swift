public import Control
import Linux
public import SSH
import SessionLog

/// Whatever carries a client's channels: an ``SSHServer``, or, in tests, a connection layer alone.
public protocol ChannelCarrier: AnyObject {
    var connection: Connection { get set }
}

extension SSHServer: ChannelCarrier {}

/// Joins a client's channels to PID 1's sessions (docs/attach.md): takes what either side says and makes of it what is said to the
/// other. It reads, writes and waits for nothing.
///
/// Everything it holds is bounded: output by the windows that it grants PID 1, input by the credit that PID 1 grants, which is the
/// client's window, requests by what the connection layer lets a client ask at a time.
public final class AttachBridge {
    /// What PID 1 was asked, and what is to be done with the answer.
    enum Asked {
        /// The sessions, for ourselves.
        case list
        /// The same, for a client.
        case sessions(reply: UInt32)
        case attach(ChannelID)
        case exec(ChannelID)
        /// How a session ended that one of VIC's channels cannot join any more.
        case end(ChannelID)
        /// A request on a channel.
        case channel(ChannelID, reply: UInt32?)
        /// A global request, whose answer is a document.
        case document(reply: UInt32?)
        case nothing
    }

    struct GlobalReply {
        var isSuccess: Bool
        var data: [UInt8] = []
    }

    /// The most data of one channel in its turn, in bytes.
    private static let turn = 2048

    var client: (any ChannelCarrier)?
    /// The client speaks VIC's dialect, and is told of sessions that come and go.
    var isVIC = false
    /// The client understands that its input is not read any more.
    private var knowsEndOfWrite = false
    var channels: [BridgeChannel] = []
    private var nextTurn = 0
    var globalReplies = OrderedReplies<GlobalReply>()

    private var asked: [(tag: UInt32, what: Asked)] = []
    private var lastTag: UInt32 = 0
    private var control: [UInt8] = []
    private var controlHead = 0

    var sessions: [SessionSummary] = []
    private var arriving: [SessionSummary] = []
    private var listIsDue = false
    /// The ids that a client of VIC's was told last.
    var toldIDs: [UInt8] = []
    /// The sessions that someone has attached to since this server began.
    private var seen: [String] = []
    /// Where the output of sessions goes on for a client of VIC's, which cannot ask for an offset.
    var left: [(session: String, stdout: UInt64, stderr: UInt64)] = []
    /// The number of this boot, for `boot@tether`; 0: none is known.
    public var boot: UInt64 = 0
    /// What the line has been through, as members of a JSON object, for `stats@tether`.
    public var lineStatistics: () -> [UInt8] = { Array("{}".utf8) }

    /// PID 1's last words: no more is to be had from it.
    public private(set) var closingCause: String?
    /// Told what happens, a line each.
    public var log: (String) -> Void = { _ in }
    /// A session of the present client's has ended, and the client was told.
    public internal(set) var hasFinished = false

    public init() {
        say(.hello(version: ControlProtocol.version, name: "tether-attach"))
        ask(.nothing) { .subscribe(tag: $0) }
        ask(.list) { .list(tag: $0) }
    }

    // MARK: To PID 1

    func say(_ message: ClientMessage) { message.encode(into: &control) }

    /// Sends a request with a tag of its own.
    @discardableResult
    func ask(_ what: Asked, _ message: (UInt32) -> ClientMessage) -> UInt32 {
        // Far fewer tags are in use than there are.
        repeat { lastTag &+= 1 } while lastTag == 0 || channels.contains { $0.tag == lastTag } || asked.contains { $0.tag == lastTag }
        asked.append((lastTag, what))
        say(message(lastTag))
        return lastTag
    }

    /// Tells PID 1 of the host keys.
    public func announce(_ keys: [HostKey]) { ask(.nothing) { .announce(tag: $0, keys) } }

    /// Bytes that wait for PID 1.
    public var pendingControl: Int { control.count - controlHead }

    /// Gives what waits for PID 1; `body` says how many bytes it has taken.
    public func withControl(_ body: (UnsafeRawBufferPointer) -> Int) {
        let taken = control.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[controlHead...])) }
        controlHead += max(0, min(taken, pendingControl))
        if controlHead == control.count {
            control.removeAll(keepingCapacity: control.count <= 16_384)
            controlHead = 0
        } else if controlHead >= 65_536 {
            control.removeFirst(controlHead)
            controlHead = 0
        }
    }

    /// So much waits for PID 1 that nothing is to be taken from the client.
    public var isCongested: Bool { pendingControl > 64 * 1024 || asked.count > 1024 }

    // MARK: The client

    /// A client has logged in.
    /// - Parameters:
    ///   - isVIC: it is a VCH.
    ///   - software: its identification.
    public func begin(_ client: any ChannelCarrier, isVIC: Bool, software: String) {
        self.client = client
        self.isVIC = isVIC
        knowsEndOfWrite = software.hasPrefix("OpenSSH_")
        toldIDs = activeIDs
        hasFinished = false
    }

    /// The connection is over: PID 1 is told that nobody follows its sessions any more. They run on.
    public func end() {
        for channel in channels { leave(channel) }
        channels = []
        client = nil
        globalReplies = OrderedReplies()
        // Answers that come late are not the next client's, whose numbers begin anew.
        for index in asked.indices {
            switch asked[index].what {
            case .list, .nothing: break
            case .sessions: asked[index].what = .list
            case .attach, .exec, .end, .channel, .document: asked[index].what = .nothing
            }
        }
    }

    func leave(_ channel: BridgeChannel) {
        if channel.dialect == .vic && channel.wasAttached {
            left.removeAll { $0.session == channel.session }
            // One that was let go of because it was slow is to go on there, too.
            if channel.result == nil || !channel.unread.isEmpty || !channel.pending.isEmpty {
                left.append((channel.session, channel.position.stdout, channel.position.stderr))
            }
            if left.count > 64 { left.removeFirst() }
        }
        guard let tag = channel.tag else { return }
        // PID 1 does not answer what was asked under this tag any more.
        _ = taken(tag)
        say(.detach(tag: tag))
    }

    func index(_ id: ChannelID) -> Int? { channels.firstIndex { $0.id == id } }

    func isFirst(_ session: String) -> Bool { !seen.contains(session) }

    func markSeen(_ session: String) {
        if isFirst(session) { seen.append(session) }
        if seen.count > 256 { seen.removeFirst() }
    }

    /// The session that a name means, as far as the list knows.
    func summary(_ name: String) -> SessionSummary? { name.isEmpty ? sessions.first : sessions.first { $0.id == name } }

    // MARK: From PID 1

    /// Takes a message of PID 1's.
    public func take(_ message: ServerMessage) {
        switch message {
        case .hello, .pong: break
        case .done(let tag): if let what = taken(tag) { done(tag, what) }
        case .failed(let tag, let failure):
            if let what = taken(tag) { failed(what, failure) } else { attachmentFailed(tag, failure) }
        case .session(_, let summary): arriving.append(summary)
        case .attached(let tag, let attached): if let what = taken(tag) { take(attached, what) }
        case .output(let tag, let stream, _, let bytes):
            if let index = index(tag) { channels[index].append(stream, bytes) }
        case .eof: break
        case .stdinCredit(let tag, let count):
            guard let index = index(tag) else { return }
            let bytes = channels[index].credited(Int(count))
            if bytes > 0 { client?.connection.grant(channels[index].id, bytes: bytes) }
        case .stdinClosed(let tag, let why): if let index = index(tag) { inputIsOver(index, why) }
        case .stdinOpened(let tag): if let index = index(tag) { inputIsBack(index) }
        case .detached(let tag, let detachment): if let index = index(tag) { detached(index, detachment) }
        case .exited(let tag, let result): exited(tag, result)
        case .stats(let tag, let document): if let what = taken(tag) { answer(what, withLine(document)) }
        case .event(_, let event):
            if case .sessionsChanged = event { refreshList() }
        case .closing(let cause): closingCause = cause
        }
    }

    private func index(_ tag: UInt32) -> Int? { channels.firstIndex { $0.tag == tag } }

    private func taken(_ tag: UInt32) -> Asked? {
        guard let index = asked.firstIndex(where: { $0.tag == tag }) else { return nil }
        return asked.remove(at: index).what
    }

    /// The question how a session ended, once it is answered.
    func takenEnd(_ tag: UInt32) -> Asked? { taken(tag) }

    private func done(_ tag: UInt32, _ what: Asked) {
        switch what {
        case .list: listIsComplete()
        case .sessions(let reply):
            listIsComplete()
            answer(.document(reply: reply), Documents.sessions(sessions))
        case .channel(let id, let reply): self.reply(id, reply, true)
        case .document: answer(what, Array("{}".utf8))
        case .attach, .exec, .end, .nothing: break
        }
    }

    private func failed(_ what: Asked, _ failure: RequestFailure) {
        switch what {
        case .attach(let id), .exec(let id): startFailed(id, failure)
        case .end(let id): rejectVIC(id, VICDialect.launchFailed(failure))
        case .channel(let id, let reply): self.reply(id, reply, false)
        case .sessions(let reply): answer(.document(reply: reply), Documents.failure(failure))
        case .document(let reply): answer(.document(reply: reply), Documents.failure(failure))
        case .list, .nothing: break
        }
    }

    /// An answer to a request that the client waits for, in its turn.
    func reply(_ id: ChannelID, _ key: UInt32?, _ success: Bool) {
        guard let key, let index = index(id) else { return }
        channels[index].replies.answer(key, success)
        while let next = channels[index].replies.next() { client?.connection.replyToRequest(id, success: next) }
    }

    private func answer(_ what: Asked, _ document: [UInt8]) {
        guard case .document(let reply) = what, let reply else { return }
        var document = document
        if document.count > Documents.maximumSize {
            let cause = "it has \(document.count) bytes, and \(Documents.maximumSize) are the most"
            document = Documents.failure(RequestFailure(.failed, operation: "tell", object: "the answer", cause: cause))
        }
        answerGlobal(reply, GlobalReply(isSuccess: true, data: document))
    }

    func answerGlobal(_ key: UInt32?, _ reply: GlobalReply) {
        guard let key else { return }
        globalReplies.answer(key, reply)
        while let next = globalReplies.next() { client?.connection.replyToGlobalRequest(success: next.isSuccess, data: next.data) }
    }

    /// PID 1's statistics with what the line has been through.
    private func withLine(_ document: [UInt8]) -> [UInt8] {
        guard document.count > 2, document.first == UInt8(ascii: "{") else { return document }
        return Array("{\"line\":".utf8) + lineStatistics() + [UInt8(ascii: ",")] + document.dropFirst()
    }

    /// Whether something of a session is still on its way to the client.
    public var isServing: Bool {
        channels.contains { !$0.pending.isEmpty || $0.phase == .finishing } || client?.connection.hasPayload == true
    }

    // MARK: The list of sessions

    private func refreshList() {
        // One list is on its way at a time; what changes meanwhile is in the next.
        if asked.contains(where: { if case .list = $0.what { true } else { false } }) {
            listIsDue = true
        } else {
            ask(.list) { .list(tag: $0) }
        }
    }

    private func listIsComplete() {
        sessions = arriving
        arriving = []
        // A name may be given again: what was known of the session that had it is not the next one's.
        left.removeAll { entry in !sessions.contains { $0.id == entry.session } }
        seen.removeAll { name in !sessions.contains { $0.id == name } }
        if isVIC, let client, activeIDs != toldIDs {
            toldIDs = activeIDs
            client.connection.globalRequest(name: VICDialect.containerIDs, data: toldIDs, wantsReply: true)
        }
        if listIsDue {
            listIsDue = false
            refreshList()
        }
    }

    /// The sessions that can be joined, as VIC's protocol has them.
    var activeIDs: [UInt8] { VICDialect.encode(ids: sessions.filter { $0.state != .ended }.map { $0.id }) }

    // MARK: Output

    /// Moves output to the client as far as it and the line take it, in turns, and ends what is complete.
    public func pump() {
        guard let client, !channels.isEmpty else { return }
        var progress = true
        while progress {
            progress = false
            var served: Int?
            for offset in channels.indices {
                let index = (nextTurn + offset) % channels.count
                if channels[index].pending.isEmpty { continue }
                let sent = channels[index].send(on: &client.connection, atMost: AttachBridge.turn)
                if sent.any { served = index }
                channels[index].stdoutToGrant += sent.stdout
                channels[index].stderrToGrant += sent.stderr
            }
            // Behind the last one served, and not one further each time: where there is room for one only, the same would get it again.
            if let served {
                progress = true
                nextTurn = (served + 1) % channels.count
            }
        }
        var index = 0
        while index < channels.count {
            if channels[index].leavesOut { channels[index].leaveOutPending() }
            grant(index)
            if channels[index].phase == .finishing, channels[index].pending.isEmpty { finish(index) }
            index += 1
        }
    }

    /// Whether ``tellProgress(lineMoves:)`` has something to tell.
    func hasProgress(lineMoves: Bool) -> Bool { !isCongested && channels.contains { takesOutput($0, lineMoves: lineMoves) } }

    /// Tells PID 1 which channels go on although it has heard nothing of them: those of which something was sent, and those whose client
    /// has room and whose turn on the line is yet to come. A channel is not slow because its line is, which it shares with others.
    /// - Parameter lineMoves: the line has taken something since this was told last.
    func tellProgress(lineMoves: Bool) {
        for index in channels.indices where takesOutput(channels[index], lineMoves: lineMoves) {
            if channels[index].stdoutToGrant > 0 || channels[index].stderrToGrant > 0 {
                grant(index, atOnce: true)
            } else if let tag = channels[index].tag {
                say(.window(tag: tag, .stdout, bytes: 0))
            }
        }
    }

    private func takesOutput(_ channel: BridgeChannel, lineMoves: Bool) -> Bool {
        guard channel.phase == .attached, !channel.pending.isEmpty, let client else { return false }
        return channel.stdoutToGrant > 0 || channel.stderrToGrant > 0 || lineMoves && client.connection.peerWindow(channel.id) > 0
    }

    /// Tells PID 1 of room for output; of a little of it only where nothing more waits, or `atOnce`.
    private func grant(_ index: Int, atOnce: Bool = false) {
        guard let tag = channels[index].tag, channels[index].phase == .attached else { return }
        let isIdle = atOnce || channels[index].pending.isEmpty
        let (stdout, stderr) = (channels[index].stdoutToGrant, channels[index].stderrToGrant)
        if stdout > 0, isIdle || stdout >= Int(BridgeChannel.stdoutWindow) / 4 {
            channels[index].stdoutToGrant = 0
            say(.window(tag: tag, .stdout, bytes: UInt32(clamping: stdout)))
        }
        if stderr > 0, isIdle || stderr >= Int(BridgeChannel.stderrWindow) / 4 {
            channels[index].stderrToGrant = 0
            say(.window(tag: tag, .stderr, bytes: UInt32(clamping: stderr)))
        }
    }

    /// Whether a client's input has an end that it can be told of.
    var tellsEndOfWrite: Bool { knowsEndOfWrite }
}
