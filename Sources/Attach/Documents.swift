import Control
import Linux
import SSH
import SessionLog

/// The JSON documents of the protocol (docs/attach.md).
enum Documents {
    /// The most bytes of one: it goes out in one message of SSH, which has at most 34 000.
    static let maximumSize = 32_768
    /// How much of each session's arguments is told where all of them would be too much, in bytes.
    private static let argumentLimits = [Int.max, 1024, 256, 64, 0]

    /// Why a request was not done.
    static func failure(_ failure: RequestFailure) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("error")
        json.beginObject()
        json.member("operation", failure.operation)
        json.member("object", failure.object)
        json.member("cause", failure.cause)
        json.member("code", failure.code.name)
        if failure.exitCode != 0 { json.member("exitCode", Int64(failure.exitCode)) }
        json.endObject()
        json.endObject()
        return json.bytes
    }

    /// The sessions: all of them, with as much of their arguments as there is room for; or, where even that is too much, without those
    /// that ended first, and how many these are.
    static func sessions(_ sessions: [SessionSummary]) -> [UInt8] {
        for limit in argumentLimits {
            let document = list(sessions, arguments: limit)
            if document.count <= maximumSize { return document }
        }
        var kept = sessions
        var document = list(kept, arguments: 0)
        while document.count > maximumSize, kept.count > 1 {
            let excess = (document.count - maximumSize) / (document.count / kept.count) + 1
            for _ in 0..<min(excess, kept.count - 1) {
                // The primary session is the first, and stays.
                kept.remove(at: kept.indices.dropFirst().first { kept[$0].state == .ended } ?? kept.count - 1)
            }
            document = list(kept, arguments: 0, omitted: sessions.count - kept.count)
        }
        return document
    }

    private static func list(_ sessions: [SessionSummary], arguments limit: Int, omitted: Int = 0) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("sessions")
        json.beginArray()
        for session in sessions { write(session, arguments: limit, &json) }
        json.endArray()
        if omitted > 0 { json.member("omitted", Int64(omitted)) }
        json.endObject()
        return json.bytes
    }

    private static func write(_ session: SessionSummary, arguments limit: Int, _ json: inout JSONWriter) {
        json.beginObject()
        json.member("id", session.id)
        json.member("kind", session.kind == .primary ? "primary" : "exec")
        json.member("state", session.state.name)
        if session.pid != 0 { json.member("pid", Int64(session.pid)) }
        json.member("terminal", session.hasTerminal)
        json.member("stdin", session.stdinIsOpen)
        json.member("clients", Int64(session.clients))
        json.member("restarts", Int64(session.restarts))
        if let time = session.startedAt { json.member("startedAt", time.text) }
        for (name, kept) in [("stdout", session.stdout), ("stderr", session.stderr)] {
            json.key(name)
            json.beginObject()
            json.key("first")
            json.integer(kept.first)
            json.key("end")
            json.integer(kept.end)
            json.endObject()
        }
        json.key("args")
        json.beginArray()
        var room = limit
        for argument in session.args {
            let size = argument.utf8.count
            if size > room { break }
            room -= size
            json.string(argument)
        }
        json.endArray()
        if limit - room < session.args.reduce(0, { $0 + $1.utf8.count }) { json.member("argsAreCut", true) }
        json.endObject()
    }

    /// How a session ended.
    static func exit(_ result: SessionResult) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("id", result.id)
        json.exitMembers(ExitRecord(result))
        json.endObject()
        return json.bytes
    }

    /// The process of an `exec` request, for the shell of the container.
    static func shellProcess(
        _ command: [UInt8], environment: [String], terminal: (rows: UInt16, columns: UInt16)?, modes: TerminalModes
    ) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("args")
        json.beginArray()
        for argument in ["/bin/sh", "-c", String(decoding: command, as: UTF8.self)] { json.string(argument) }
        json.endArray()
        if !environment.isEmpty {
            json.key("addEnv")
            json.beginArray()
            for entry in environment { json.string(entry) }
            json.endArray()
        }
        if let terminal {
            json.member("terminal", true)
            json.key("consoleSize")
            json.beginObject()
            json.member("height", Int64(terminal.rows))
            json.member("width", Int64(terminal.columns))
            json.endObject()
            if !modes.isEmpty {
                json.key("terminalModes")
                write(modes, &json)
            }
        }
        json.endObject()
        return json.bytes
    }

    /// The modes of a terminal, for `release`; nothing where there are none.
    static func modes(_ modes: TerminalModes) -> [UInt8] {
        if modes.isEmpty { return [] }
        var json = JSONWriter()
        write(modes, &json)
        return json.bytes
    }

    /// Those that mean something to Linux; a client may send others.
    private static func write(_ modes: TerminalModes, _ json: inout JSONWriter) {
        json.beginArray()
        for opcode in TerminalModes.Opcode.allCases {
            guard let value = modes[opcode] else { continue }
            json.beginArray()
            json.integer(UInt64(opcode.rawValue))
            json.integer(UInt64(value))
            json.endArray()
        }
        json.endArray()
    }
}

extension RequestFailure.Code {
    /// As docs/control.md names it.
    var name: String {
        switch self {
        case .unknownSession: "unknownSession"
        case .notRunning: "notRunning"
        case .unknownAttachment: "unknownAttachment"
        case .noStdin: "noStdin"
        case .noTerminal: "noTerminal"
        case .tooMany: "tooMany"
        case .invalid: "invalid"
        case .launchFailed: "launchFailed"
        case .unsupported: "unsupported"
        case .busy: "busy"
        case .failed: "failed"
        }
    }
}

extension SessionSummary.State {
    var name: String {
        switch self {
        case .waiting: "waiting"
        case .running: "running"
        case .paused: "paused"
        case .draining: "draining"
        case .ended: "ended"
        }
    }
}
