import SessionLog

extension ServerMessage {
    @discardableResult
    public func encode(into bytes: inout [UInt8]) -> Bool {
        switch self {
        case .hello(let version, let name, let limits):
            bytes.frame(Kind.hello.rawValue) {
                $0.put(version)
                $0.put(text: name, ControlProtocol.maximumName)
                limits.put(into: &$0)
            }
        case .done(let tag): bytes.frame(Kind.done.rawValue) { $0.put(tag) }
        case .failed(let tag, let failure):
            bytes.frame(Kind.failed.rawValue) {
                $0.put(tag)
                failure.put(into: &$0)
            }
        case .session(let tag, let summary):
            bytes.frame(Kind.session.rawValue) {
                $0.put(tag)
                summary.put(into: &$0)
            }
        case .attached(let tag, let attached):
            bytes.frame(Kind.attached.rawValue) {
                $0.put(tag)
                attached.put(into: &$0)
            }
        case .output(let tag, let stream, let offset, let data):
            data.withUnsafeBytes { ServerMessage.encodeOutput(tag: tag, stream, offset: offset, $0, into: &bytes) }
        case .eof(let tag, let stream):
            bytes.frame(Kind.eof.rawValue) {
                $0.put(tag)
                $0.put(stream.wireValue)
            }
        case .stdinCredit(let tag, let count):
            bytes.frame(Kind.stdinCredit.rawValue) {
                $0.put(tag)
                $0.put(count)
            }
        case .stdinClosed(let tag, let why):
            bytes.frame(Kind.stdinClosed.rawValue) {
                $0.put(tag)
                $0.put(why.rawValue)
            }
        case .stdinOpened(let tag): bytes.frame(Kind.stdinOpened.rawValue) { $0.put(tag) }
        case .detached(let tag, let detachment):
            bytes.frame(Kind.detached.rawValue) {
                $0.put(tag)
                $0.put(detachment.reason.rawValue)
                $0.put(detachment.stdoutOffset)
                $0.put(detachment.stderrOffset)
            }
        case .exited(let tag, let result):
            bytes.frame(Kind.exited.rawValue) {
                $0.put(tag)
                result.put(into: &$0)
            }
        case .stats(let tag, let document):
            if document.count > ControlProtocol.maximumDocument { return false }
            bytes.frame(Kind.stats.rawValue) {
                $0.put(tag)
                $0.append(contentsOf: document)
            }
        case .event(let tag, let event):
            bytes.frame(Kind.event.rawValue) {
                $0.put(tag)
                event.put(into: &$0)
            }
        case .pong(let tag): bytes.frame(Kind.pong.rawValue) { $0.put(tag) }
        case .closing(let cause): bytes.frame(Kind.closing.rawValue) { $0.put(text: cause) }
        }
        return true
    }

    /// Appends `data` as `output` messages, as many as it takes; none for no data.
    public static func encodeOutput(
        tag: UInt32, _ stream: LogStream, offset: UInt64, _ data: UnsafeRawBufferPointer, into bytes: inout [UInt8]
    ) {
        var rest = data
        var position = offset
        while !rest.isEmpty {
            let count = min(rest.count, ControlProtocol.maximumData)
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<count])
            bytes.frame(Kind.output.rawValue) {
                $0.put(tag)
                $0.put(stream.wireValue)
                $0.put(position)
                $0.append(contentsOf: piece)
            }
            position &+= UInt64(count)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    public static func decode(type: UInt8, _ body: inout BodyReader) -> ServerMessage? {
        guard let kind = Kind(rawValue: type) else { return nil }
        switch kind {
        case .hello:
            let version = body.u16()
            let name = body.text(ControlProtocol.maximumName)
            return .hello(version: version, name: name, ServerLimits(&body))
        case .closing: return .closing(cause: body.text())
        default: return decode(kind, tag: body.u32(), &body)
        }
    }

    private static func decode(_ kind: Kind, tag: UInt32, _ body: inout BodyReader) -> ServerMessage? {
        switch kind {
        case .hello, .closing: return nil  // they have no tag
        case .done: return .done(tag: tag)
        case .failed: return .failed(tag: tag, RequestFailure(&body))
        case .session: return .session(tag: tag, SessionSummary(&body))
        case .attached: return .attached(tag: tag, Attached(&body))
        case .output:
            let stream = LogStream(&body)
            let offset = body.u64()
            return .output(tag: tag, stream, offset: offset, body.rest(ControlProtocol.maximumData))
        case .eof: return .eof(tag: tag, LogStream(&body))
        case .stdinCredit: return .stdinCredit(tag: tag, bytes: body.u32())
        case .stdinClosed: return .stdinClosed(tag: tag, StdinEnd(rawValue: body.u8()) ?? body.bad(.requested))
        case .stdinOpened: return .stdinOpened(tag: tag)
        case .detached:
            let reason = Detachment.Reason(rawValue: body.u8()) ?? body.bad(.requested)
            let stdout = body.u64()
            return .detached(tag: tag, Detachment(reason, stdoutOffset: stdout, stderrOffset: body.u64()))
        case .exited: return .exited(tag: tag, SessionResult(&body))
        case .stats: return .stats(tag: tag, body.rest(ControlProtocol.maximumDocument))
        case .event: return .event(tag: tag, ControlEvent(&body))
        case .pong: return .pong(tag: tag)
        }
    }
}
