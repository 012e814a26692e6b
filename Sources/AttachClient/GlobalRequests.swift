import CLinux
import Foundation
import Linux
import SSH

/// A request to the container, and not to one of its sessions (docs/attach.md).
public enum ContainerRequest: Sendable {
    case sessions
    /// Stops the container: by `signal` (nil: the configured one), and by SIGKILL when `milliseconds` (nil: as configured) are over.
    case stop(signal: String?, milliseconds: UInt32?)
    /// - Parameter session: empty for the primary one.
    case signal(session: String, String)
    case stats, pause, resume, reload

    var name: String {
        switch self {
        case .sessions: "sessions@tether"
        case .stop: "stop@tether"
        case .signal: "signal@tether"
        case .stats: "stats@tether"
        case .pause: "pause@tether"
        case .resume: "resume@tether"
        case .reload: "reload@tether"
        }
    }

    var data: [UInt8] {
        var writer = WireWriter()
        switch self {
        case .stop(let signal, let milliseconds):
            writer.text(signal ?? "")
            writer.boolean(milliseconds != nil)
            writer.uint32(milliseconds ?? 0)
        case .signal(let session, let signal):
            writer.text(session)
            writer.text(signal)
        case .sessions, .stats, .pause, .resume, .reload: break
        }
        return writer.bytes
    }
}

/// Clients of one question.
public enum AttachClient {
    /// Asks the guest and waits for its answer.
    ///
    /// - Parameters:
    ///   - milliseconds: how long the answer may take.
    ///   - isOver: asked now and then; ends the attempt.
    /// - Returns: the answer, a JSON document; empty where there is nothing to tell.
    public static func ask(
        _ request: ContainerRequest, of target: AttachTarget, milliseconds: Int64 = 60_000, isOver: () -> Bool = { false }
    ) throws(AttachError) -> [UInt8] {
        guard let connection = try AttachConnection(target, isOver: isOver) else { throw .interrupted(2) }
        defer { connection.close() }
        // On the connection's clock, which stands still while a person is asked.
        let deadline = connection.now &+ milliseconds &* 1_000_000
        var isSent = false
        while true {
            while let event = try connection.nextEvent() {
                guard case .globalReply(let success, let data) = event, isSent else { continue }
                guard success else {
                    throw .refused(
                        operation: "ask for", object: request.name, cause: "the guest does not know this request", code: "unsupported",
                        exitCode: 0)
                }
                if let failure = failure(in: data) { throw failure }
                return data
            }
            if connection.isAuthenticated, !isSent {
                isSent = true
                connection.request(request.name, request.data)
            }
            if connection.now >= deadline { throw .timedOut("the answer to \(request.name)") }
            if isOver() { throw .interrupted(2) }
            var none: [pollfd] = []
            try connection.turn(&none, until: Clock.monotonic() &+ 200_000_000)
        }
    }

    private struct Document: Decodable {
        struct Failure: Decodable {
            var operation: String
            var object: String
            var cause: String
            var code: String?
            var exitCode: UInt8?
        }
        var error: Failure?
    }

    /// The error that an answer tells, if it does.
    static func failure(in document: [UInt8]) -> AttachError? {
        guard let error = (try? JSONDecoder().decode(Document.self, from: Data(document)))?.error else { return nil }
        return .refused(
            operation: error.operation.printable, object: error.object.printable, cause: error.cause.printable,
            code: (error.code ?? "").printable, exitCode: error.exitCode ?? 0)
    }
}
