import Control
import SessionLog
import TestSupport

/// Makes messages that are within the protocol's bounds, preferring the borders.
struct MessageMaker {
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func number<Number: FixedWidthInteger>() -> Number {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return .min
        case 1: return .max
        default: return Number(truncatingIfNeeded: random.next())
        }
    }

    mutating func flag() -> Bool { Bool.random(using: &random) }

    mutating func one<Value>(of values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &random)] }

    mutating func count(_ limit: Int) -> Int {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return 0
        case 1: return limit
        default: return Int.random(in: 0...min(limit, 40), using: &random)
        }
    }

    mutating func bytes(_ limit: Int, atLeast least: Int = 0) -> [UInt8] {
        let length = max(least, count(limit))
        return (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Text of at most `limit` bytes of UTF-8, with characters of every length.
    mutating func text(_ limit: Int) -> String {
        let size = count(limit)
        var text = ""
        while true {
            let next = one(of: ["a", "Z", "/", "\0", "\n", "é", "€", "😀", "\u{301}"])
            if text.utf8.count + next.utf8.count > size { return text }
            text += next
        }
    }

    mutating func name() -> String { text(ControlProtocol.maximumName) }
    mutating func long() -> String { text(ControlProtocol.maximumText) }
    mutating func stream() -> LogStream { flag() ? .stdout : .stderr }
    mutating func time() -> Timestamp { Timestamp(nanoseconds: number()) }
    mutating func total() -> StreamTotal { StreamTotal(bytes: number(), sha256: text(64)) }

    mutating func start() -> StreamStart {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return .none
        case 1: return .live
        case 2: return .oldest
        default: return .offset(number())
        }
    }

    static let clientKinds = 21

    mutating func client(_ kind: Int) -> ClientMessage {
        let tag: UInt32 = number()
        switch kind {
        case 0: return .hello(version: number(), name: name())
        case 1: return .list(tag: tag)
        case 2:
            return .attach(
                tag: tag,
                AttachRequest(
                    session: name(), stdout: start(), stderr: start(), stdoutWindow: number(), stderrWindow: number(), wantsStdin: flag(),
                    inputKey: number()))
        case 3:
            return .exec(
                tag: tag,
                ExecRequest(
                    session: name(), process: bytes(ControlProtocol.maximumDocument), stdoutWindow: number(), stderrWindow: number(),
                    wantsStdin: flag(), endsInputWithClient: flag(), inputKey: number()))
        case 4: return .window(tag: tag, stream(), bytes: number())
        case 5: return .detach(tag: tag)
        case 6: return .stdin(tag: tag, bytes(ControlProtocol.maximumData, atLeast: 1))
        case 7: return .closeStdin(tag: tag)
        case 8: return .resize(tag: tag, session: name(), rows: number(), columns: number())
        case 9: return .signal(tag: tag, session: name(), number: number())
        case 10: return .wait(tag: tag, session: name())
        case 11: return .forget(tag: tag, session: name())
        case 12: return .stop(tag: tag, signal: number(), timeoutMilliseconds: flag() ? number() : nil)
        case 13: return .reload(tag: tag)
        case 14: return .pause(tag: tag)
        case 15: return .resume(tag: tag)
        case 16: return .stats(tag: tag)
        case 17: return .subscribe(tag: tag)
        case 18: return .release(tag: tag, session: name(), modes: bytes(64))
        case 19:
            return .announce(
                tag: tag,
                (0..<count(ControlProtocol.maximumHostKeys)).prefix(ControlProtocol.maximumHostKeys).map { _ in
                    HostKey(line: long(), fingerprint: name())
                })
        default: return .ping(tag: tag)
        }
    }

    static let serverKinds = 15

    mutating func server(_ kind: Int) -> ServerMessage {
        let tag: UInt32 = number()
        switch kind {
        case 0:
            return .hello(
                version: number(), name: name(),
                ServerLimits(
                    maximumData: number(), maximumSessions: number(), maximumClients: number(), stdinCredit: number(), ringBytes: number()))
        case 1: return .done(tag: tag)
        case 2:
            return .failed(
                tag: tag,
                RequestFailure(
                    one(of: RequestFailure.Code.allCases), exitCode: number(), operation: long(), object: long(), cause: long()))
        case 3: return .session(tag: tag, summary())
        case 4:
            return .attached(
                tag: tag,
                Attached(
                    session: name(), hasTerminal: flag(), stdoutOffset: number(), stderrOffset: number(), stdoutMissed: number(),
                    stderrMissed: number(), stdinCredit: number(), stdinTaken: flag() ? number() : nil))
        case 5: return .output(tag: tag, stream(), offset: number(), bytes(ControlProtocol.maximumData, atLeast: 1))
        case 6: return .eof(tag: tag, stream())
        case 7: return .stdinCredit(tag: tag, bytes: number())
        case 8: return flag() ? .stdinClosed(tag: tag, one(of: StdinEnd.allCases)) : .stdinOpened(tag: tag)
        case 9:
            return .detached(
                tag: tag, Detachment(one(of: Detachment.Reason.allCases), stdoutOffset: number(), stderrOffset: number()))
        case 10: return .exited(tag: tag, result())
        case 11: return .stats(tag: tag, bytes(ControlProtocol.maximumDocument))
        case 12: return .event(tag: tag, event())
        case 13: return .pong(tag: tag)
        default: return .closing(cause: long())
        }
    }

    private mutating func summary() -> SessionSummary {
        var args: [String] = []
        var room = ControlProtocol.maximumArgumentBytes
        for _ in 0..<count(ControlProtocol.maximumArguments) {
            let argument = text(min(room, 300))
            room -= argument.utf8.count
            args.append(argument)
        }
        return SessionSummary(
            id: name(), kind: one(of: SessionSummary.Kind.allCases), state: one(of: SessionSummary.State.allCases), pid: number(),
            hasTerminal: flag(), stdinIsOpen: flag(), clients: number(), restarts: number(), startedAt: flag() ? time() : nil,
            stdout: SessionSummary.Kept(first: number(), end: number()), stderr: SessionSummary.Kept(first: number(), end: number()),
            args: args)
    }

    private mutating func result() -> SessionResult {
        var failure: FailureReport?
        if flag() { failure = FailureReport(phase: one(of: Phase.allCases), operation: long(), object: long(), cause: long()) }
        return SessionResult(
            id: name(), exitCode: number(), signal: number(), coreDumped: flag(), oomKilled: flag(), userMicroseconds: number(),
            systemMicroseconds: number(), maximumResidentKiB: number(), stdout: total(), stderr: total(), drain: one(of: Drain.allCases),
            startedAt: flag() ? time() : nil, finishedAt: time(), error: failure)
    }

    private mutating func event() -> ControlEvent {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return .sessionsChanged
        case 1: return .health(one(of: ControlEvent.Health.allCases))
        case 2: return .paused
        case 3: return .resumed
        case 4: return .restarting(count: number(), delayMilliseconds: number())
        default: return .stopping
        }
    }
}
