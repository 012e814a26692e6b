import SessionLog

extension BodyReader {
    /// Marks the reader and stands in for the value that was not there.
    mutating func bad<Value>(_ substitute: Value) -> Value {
        fail()
        return substitute
    }

    /// A time that may be missing: a flag, and nanoseconds since 1970 where there is one.
    fileprivate mutating func optionalTime() -> Timestamp? { flag() ? time() : nil }

    fileprivate mutating func time() -> Timestamp {
        let nanoseconds = i64()
        return Timestamp(nanoseconds: nanoseconds < 0 ? bad(0) : nanoseconds)
    }

    fileprivate mutating func total() -> StreamTotal {
        let bytes = u64()
        return StreamTotal(bytes: bytes, sha256: text(ControlProtocol.maximumName))
    }
}

extension [UInt8] {
    fileprivate mutating func put(time: Timestamp?) {
        put(time != nil)
        if let time { put(time.nanoseconds) }
    }

    fileprivate mutating func put(total: StreamTotal) {
        put(total.bytes)
        put(text: total.sha256, ControlProtocol.maximumName)
    }
}

extension ServerLimits {
    func put(into bytes: inout [UInt8]) {
        bytes.put(maximumData)
        bytes.put(maximumSessions)
        bytes.put(maximumClients)
        bytes.put(stdinCredit)
        bytes.put(ringBytes)
    }

    init(_ body: inout BodyReader) {
        maximumData = body.u32()
        maximumSessions = body.u16()
        maximumClients = body.u16()
        stdinCredit = body.u32()
        ringBytes = body.u32()
    }
}

extension RequestFailure {
    func put(into bytes: inout [UInt8]) {
        bytes.put(code.rawValue)
        bytes.put(exitCode)
        bytes.put(text: operation)
        bytes.put(text: object)
        bytes.put(text: cause)
    }

    init(_ body: inout BodyReader) {
        code = Code(rawValue: body.u8()) ?? body.bad(.failed)
        exitCode = body.u8()
        operation = body.text()
        object = body.text()
        cause = body.text()
    }
}

extension SessionSummary {
    func put(into bytes: inout [UInt8]) {
        bytes.put(text: id, ControlProtocol.maximumName)
        bytes.put(kind.rawValue)
        bytes.put(state.rawValue)
        bytes.put(UInt32(bitPattern: pid))
        bytes.put(hasTerminal)
        bytes.put(stdinIsOpen)
        bytes.put(clients)
        bytes.put(restarts)
        bytes.put(time: startedAt)
        for kept in [stdout, stderr] {
            bytes.put(kept.first)
            bytes.put(kept.end)
        }
        let shown = shownArguments
        bytes.put(UInt16(clamping: shown.count))
        for argument in shown { bytes.put(text: argument) }
    }

    /// The arguments that fit; the last of them may be cut.
    private var shownArguments: [String] {
        var shown: [String] = []
        var room = ControlProtocol.maximumArgumentBytes
        for argument in args.prefix(ControlProtocol.maximumArguments) {
            let size = argument.utf8.count
            if size > room {
                var cut: [UInt8] = []
                cut.put(text: argument, room)
                // The four bytes of its length come first.
                shown.append(String(decoding: cut[4...], as: UTF8.self))
                break
            }
            shown.append(argument)
            room -= size
        }
        return shown
    }

    init(_ body: inout BodyReader) {
        id = body.text(ControlProtocol.maximumName)
        kind = Kind(rawValue: body.u8()) ?? body.bad(.exec)
        state = State(rawValue: body.u8()) ?? body.bad(.ended)
        pid = Int32(bitPattern: body.u32())
        hasTerminal = body.flag()
        stdinIsOpen = body.flag()
        clients = body.u16()
        restarts = body.u32()
        startedAt = body.optionalTime()
        stdout = Kept(&body)
        stderr = Kept(&body)
        args = []
        let count = body.u16()
        if count > UInt16(clamping: ControlProtocol.maximumArguments) { body.fail() }
        var room = ControlProtocol.maximumArgumentBytes
        for _ in 0..<count {
            if body.hasFailed { break }
            let argument = body.field(room)
            room -= argument.count
            args.append(String(decoding: argument, as: UTF8.self))
        }
    }
}

extension SessionSummary.Kept {
    init(_ body: inout BodyReader) {
        first = body.u64()
        end = body.u64()
    }
}

extension Attached {
    func put(into bytes: inout [UInt8]) {
        bytes.put(text: session, ControlProtocol.maximumName)
        bytes.put(hasTerminal)
        bytes.put(stdoutOffset)
        bytes.put(stderrOffset)
        bytes.put(stdoutMissed)
        bytes.put(stderrMissed)
        bytes.put(stdinCredit)
        bytes.put(stdinTaken != nil)
        if let stdinTaken { bytes.put(stdinTaken) }
    }

    init(_ body: inout BodyReader) {
        session = body.text(ControlProtocol.maximumName)
        hasTerminal = body.flag()
        stdoutOffset = body.u64()
        stderrOffset = body.u64()
        stdoutMissed = body.u64()
        stderrMissed = body.u64()
        stdinCredit = body.u32()
        stdinTaken = body.flag() ? body.u64() : nil
    }
}

extension SessionResult {
    func put(into bytes: inout [UInt8]) {
        bytes.put(text: id, ControlProtocol.maximumName)
        bytes.put(exitCode)
        bytes.put(signal)
        bytes.put(coreDumped)
        bytes.put(oomKilled)
        bytes.put(userMicroseconds)
        bytes.put(systemMicroseconds)
        bytes.put(maximumResidentKiB)
        bytes.put(total: stdout)
        bytes.put(total: stderr)
        bytes.put(text: drain.rawValue, ControlProtocol.maximumName)
        bytes.put(time: startedAt)
        bytes.put(finishedAt.nanoseconds)
        bytes.put(error != nil)
        if let error {
            bytes.put(text: error.phase.rawValue, ControlProtocol.maximumName)
            bytes.put(text: error.operation)
            bytes.put(text: error.object)
            bytes.put(text: error.cause)
        }
    }

    init(_ body: inout BodyReader) {
        id = body.text(ControlProtocol.maximumName)
        exitCode = body.u8()
        signal = body.u8()
        coreDumped = body.flag()
        oomKilled = body.flag()
        userMicroseconds = body.i64()
        systemMicroseconds = body.i64()
        maximumResidentKiB = body.i64()
        stdout = body.total()
        stderr = body.total()
        drain = Drain(rawValue: body.text(ControlProtocol.maximumName)) ?? body.bad(.crash)
        startedAt = body.optionalTime()
        finishedAt = body.time()
        error = nil
        if body.flag() {
            let phase = Phase(rawValue: body.text(ControlProtocol.maximumName)) ?? body.bad(.failed)
            let operation = body.text()
            let object = body.text()
            error = FailureReport(phase: phase, operation: operation, object: object, cause: body.text())
        }
    }
}

extension ControlEvent {
    func put(into bytes: inout [UInt8]) {
        switch self {
        case .sessionsChanged: bytes.put(UInt8(0))
        case .health(let health):
            bytes.put(UInt8(1))
            bytes.put(health.rawValue)
        case .paused: bytes.put(UInt8(2))
        case .resumed: bytes.put(UInt8(3))
        case .restarting(let count, let delay):
            bytes.put(UInt8(4))
            bytes.put(count)
            bytes.put(delay)
        case .stopping: bytes.put(UInt8(5))
        }
    }

    init(_ body: inout BodyReader) {
        switch body.u8() {
        case 0: self = .sessionsChanged
        case 1: self = .health(Health(rawValue: body.u8()) ?? body.bad(.starting))
        case 2: self = .paused
        case 3: self = .resumed
        case 4:
            let count = body.u32()
            self = .restarting(count: count, delayMilliseconds: body.u64())
        case 5: self = .stopping
        default: self = body.bad(.sessionsChanged)
        }
    }
}
