import SessionLog

extension StreamStart {
    func put(into bytes: inout [UInt8]) {
        switch self {
        case .none: bytes.put(UInt8(0))
        case .live: bytes.put(UInt8(1))
        case .oldest: bytes.put(UInt8(2))
        case .offset(let offset):
            bytes.put(UInt8(3))
            bytes.put(offset)
        }
    }

    init(_ body: inout BodyReader) {
        switch body.u8() {
        case 0: self = .none
        case 1: self = .live
        case 2: self = .oldest
        case 3: self = .offset(body.u64())
        default:
            body.fail()
            self = .none
        }
    }
}

extension LogStream {
    /// Of the streams of a log, a session has two.
    var wireValue: UInt8 { self == .stdout ? 0 : 1 }

    init(_ body: inout BodyReader) {
        let value = body.u8()
        if value > 1 { body.fail() }
        self = value == 0 ? .stdout : .stderr
    }
}

extension ClientMessage {
    @discardableResult
    public func encode(into bytes: inout [UInt8]) -> Bool {
        switch self {
        case .hello(let version, let name):
            bytes.frame(Kind.hello.rawValue) {
                $0.put(version)
                $0.put(text: name, ControlProtocol.maximumName)
            }
        case .list(let tag): ClientMessage.put(.list, tag, into: &bytes)
        case .attach(let tag, let request):
            bytes.frame(Kind.attach.rawValue) {
                $0.put(tag)
                $0.put(text: request.session, ControlProtocol.maximumName)
                request.stdout.put(into: &$0)
                request.stderr.put(into: &$0)
                $0.put(request.stdoutWindow)
                $0.put(request.stderrWindow)
                $0.put(request.wantsStdin)
                $0.put(request.inputKey)
            }
        case .exec(let tag, let request):
            if request.process.count > ControlProtocol.maximumDocument { return false }
            bytes.frame(Kind.exec.rawValue) {
                $0.put(tag)
                $0.put(text: request.session, ControlProtocol.maximumName)
                $0.put(request.stdoutWindow)
                $0.put(request.stderrWindow)
                $0.put(request.wantsStdin)
                $0.put(request.endsInputWithClient)
                $0.put(request.inputKey)
                $0.append(contentsOf: request.process)
            }
        case .window(let tag, let stream, let count):
            bytes.frame(Kind.window.rawValue) {
                $0.put(tag)
                $0.put(stream.wireValue)
                $0.put(count)
            }
        case .detach(let tag): ClientMessage.put(.detach, tag, into: &bytes)
        case .stdin(let tag, let data): data.withUnsafeBytes { ClientMessage.encodeStdin(tag: tag, $0, into: &bytes) }
        case .closeStdin(let tag): ClientMessage.put(.closeStdin, tag, into: &bytes)
        case .resize(let tag, let session, let rows, let columns):
            bytes.frame(Kind.resize.rawValue) {
                $0.put(tag)
                $0.put(text: session, ControlProtocol.maximumName)
                $0.put(rows)
                $0.put(columns)
            }
        case .signal(let tag, let session, let number):
            bytes.frame(Kind.signal.rawValue) {
                $0.put(tag)
                $0.put(text: session, ControlProtocol.maximumName)
                $0.put(number)
            }
        case .wait(let tag, let session): ClientMessage.put(.wait, tag, session, into: &bytes)
        case .forget(let tag, let session): ClientMessage.put(.forget, tag, session, into: &bytes)
        case .stop(let tag, let signal, let timeout):
            bytes.frame(Kind.stop.rawValue) {
                $0.put(tag)
                $0.put(signal)
                $0.put(timeout != nil)
                if let timeout { $0.put(timeout) }
            }
        case .reload(let tag): ClientMessage.put(.reload, tag, into: &bytes)
        case .pause(let tag): ClientMessage.put(.pause, tag, into: &bytes)
        case .resume(let tag): ClientMessage.put(.resume, tag, into: &bytes)
        case .stats(let tag): ClientMessage.put(.stats, tag, into: &bytes)
        case .subscribe(let tag): ClientMessage.put(.subscribe, tag, into: &bytes)
        case .ping(let tag): ClientMessage.put(.ping, tag, into: &bytes)
        case .release(let tag, let session, let modes):
            bytes.frame(Kind.release.rawValue) {
                $0.put(tag)
                $0.put(text: session, ControlProtocol.maximumName)
                $0.append(contentsOf: modes.prefix(ControlProtocol.maximumModes))
            }
        case .announce(let tag, let keys):
            bytes.frame(Kind.announce.rawValue) {
                $0.put(tag)
                $0.put(UInt8(clamping: min(keys.count, ControlProtocol.maximumHostKeys)))
                for key in keys.prefix(ControlProtocol.maximumHostKeys) {
                    $0.put(text: key.line)
                    $0.put(text: key.fingerprint, ControlProtocol.maximumName)
                }
            }
        }
        return true
    }

    /// Appends `data` as `stdin` messages, as many as it takes; none for no data.
    public static func encodeStdin(tag: UInt32, _ data: UnsafeRawBufferPointer, into bytes: inout [UInt8]) {
        var rest = data
        while !rest.isEmpty {
            let count = min(rest.count, ControlProtocol.maximumData)
            let piece = UnsafeRawBufferPointer(rebasing: rest[..<count])
            bytes.frame(Kind.stdin.rawValue) {
                $0.put(tag)
                $0.append(contentsOf: piece)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    private static func put(_ kind: Kind, _ tag: UInt32, into bytes: inout [UInt8]) { bytes.frame(kind.rawValue) { $0.put(tag) } }

    private static func put(_ kind: Kind, _ tag: UInt32, _ session: String, into bytes: inout [UInt8]) {
        bytes.frame(kind.rawValue) {
            $0.put(tag)
            $0.put(text: session, ControlProtocol.maximumName)
        }
    }

    public static func decode(type: UInt8, _ body: inout BodyReader) -> ClientMessage? {
        guard let kind = Kind(rawValue: type) else { return nil }
        if kind == .hello {
            let version = body.u16()
            return .hello(version: version, name: body.text(ControlProtocol.maximumName))
        }
        let tag = body.u32()
        switch kind {
        case .hello: return nil  // read above
        case .list: return .list(tag: tag)
        case .attach: return .attach(tag: tag, AttachRequest(&body))
        case .exec: return .exec(tag: tag, ExecRequest(&body))
        case .window:
            let stream = LogStream(&body)
            return .window(tag: tag, stream, bytes: body.u32())
        case .detach: return .detach(tag: tag)
        case .stdin: return .stdin(tag: tag, body.rest(ControlProtocol.maximumData))
        case .closeStdin: return .closeStdin(tag: tag)
        case .resize:
            let session = body.text(ControlProtocol.maximumName)
            let rows = body.u16()
            return .resize(tag: tag, session: session, rows: rows, columns: body.u16())
        case .signal:
            let session = body.text(ControlProtocol.maximumName)
            return .signal(tag: tag, session: session, number: body.u8())
        case .wait: return .wait(tag: tag, session: body.text(ControlProtocol.maximumName))
        case .forget: return .forget(tag: tag, session: body.text(ControlProtocol.maximumName))
        case .stop:
            let signal = body.u8()
            return .stop(tag: tag, signal: signal, timeoutMilliseconds: body.flag() ? body.u32() : nil)
        case .reload: return .reload(tag: tag)
        case .pause: return .pause(tag: tag)
        case .resume: return .resume(tag: tag)
        case .stats: return .stats(tag: tag)
        case .subscribe: return .subscribe(tag: tag)
        case .ping: return .ping(tag: tag)
        case .release:
            let session = body.text(ControlProtocol.maximumName)
            return .release(tag: tag, session: session, modes: body.rest(ControlProtocol.maximumModes))
        case .announce:
            let count = body.u8()
            if count > UInt8(clamping: ControlProtocol.maximumHostKeys) { body.fail() }
            var keys: [HostKey] = []
            for _ in 0..<count where !body.hasFailed {
                let line = body.text()
                keys.append(HostKey(line: line, fingerprint: body.text(ControlProtocol.maximumName)))
            }
            return .announce(tag: tag, keys)
        }
    }
}

extension AttachRequest {
    fileprivate init(_ body: inout BodyReader) {
        session = body.text(ControlProtocol.maximumName)
        stdout = StreamStart(&body)
        stderr = StreamStart(&body)
        stdoutWindow = body.u32()
        stderrWindow = body.u32()
        wantsStdin = body.flag()
        inputKey = body.u64()
    }
}

extension ExecRequest {
    fileprivate init(_ body: inout BodyReader) {
        session = body.text(ControlProtocol.maximumName)
        stdoutWindow = body.u32()
        stderrWindow = body.u32()
        wantsStdin = body.flag()
        endsInputWithClient = body.flag()
        inputKey = body.u64()
        process = body.rest(ControlProtocol.maximumDocument)
    }
}
