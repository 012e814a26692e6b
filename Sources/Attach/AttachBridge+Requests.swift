import Control
import Linux
import SSH
import SessionLog

/// Global requests: of the container, and not of one session.
extension AttachBridge {
    func takeGlobal(_ name: String, _ data: [UInt8], _ wantsReply: Bool) {
        let reply = wantsReply ? globalReplies.expect() : nil
        var reader = WireReader(data)
        switch name {
        case VICDialect.containerIDs where isVIC:
            toldIDs = activeIDs
            answerGlobal(reply, GlobalReply(isSuccess: true, data: toldIDs))
        case VICDialect.version where isVIC:
            var writer = WireWriter()
            writer.uint32(VICDialect.versionNumber)
            answerGlobal(reply, GlobalReply(isSuccess: true, data: writer.bytes))
        case "boot@tether":
            var writer = WireWriter()
            writer.uint64(boot)
            answerGlobal(reply, GlobalReply(isSuccess: boot != 0, data: writer.bytes))
        case "sessions@tether": ask(.sessions(reply: reply ?? 0)) { .list(tag: $0) }
        case "stats@tether": ask(.document(reply: reply)) { .stats(tag: $0) }
        case "pause@tether": ask(.document(reply: reply)) { .pause(tag: $0) }
        case "resume@tether": ask(.document(reply: reply)) { .resume(tag: $0) }
        case "reload@tether": ask(.document(reply: reply)) { .reload(tag: $0) }
        case "stop@tether":
            let name = reader.text()
            let hasTimeout = reader.boolean()
            let timeout = reader.uint32()
            let signal = Signal(name: name)
            guard reader.isComplete, name.isEmpty || signal != nil else { return refuse(reply, "stop", "the container", name) }
            ask(.document(reply: reply)) {
                .stop(tag: $0, signal: UInt8(clamping: signal?.rawValue ?? 0), timeoutMilliseconds: hasTimeout ? timeout : nil)
            }
        case "signal@tether":
            let session = reader.text()
            let name = reader.text()
            guard reader.isComplete, let signal = Signal(name: name), session.utf8.count <= ControlProtocol.maximumName else {
                return refuse(reply, "signal", printable(Array(session.utf8), limit: 64), name)
            }
            ask(.document(reply: reply)) { .signal(tag: $0, session: session, number: UInt8(clamping: signal.rawValue)) }
        // Whoever asks whether we are still here is answered, with what the question is known to get (OpenSSH's PROTOCOL).
        default: answerGlobal(reply, GlobalReply(isSuccess: name == "no-more-sessions@openssh.com"))
        }
    }

    private func refuse(_ reply: UInt32?, _ operation: String, _ object: String, _ signal: String) {
        let cause = signal.isEmpty ? "the request is not complete" : "there is no signal \(printable(Array(signal.utf8), limit: 64))"
        let failure = RequestFailure(.invalid, operation: operation, object: object, cause: cause)
        answerGlobal(reply, GlobalReply(isSuccess: true, data: Documents.failure(failure)))
    }
}
