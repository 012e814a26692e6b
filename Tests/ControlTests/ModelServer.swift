import CLinux
import Control
import Foundation
import Linux
import SessionLog

/// PID 1's end of a control connection as a model: it serves one connection on a thread of its own, keeps to windows and
/// credits, and instead of starting processes behaves as the text in place of the process object says.
///
/// `cat` echoes its input; `flood N` writes N bytes to stdout and half as many to stderr; `exit N` ends at once; `refuse` cannot
/// be started. `gap`, `lie`, `excess` and `quit` break the protocol: they skip a byte, give a wrong digest, pass the window, and
/// close the connection.
final class ModelServer: @unchecked Sendable {  // its state belongs to its thread
    static let stdinCredit = 16_384

    private struct Process {
        let kind: String
        let request: ExecRequest
        var pending: (stdout: [UInt8], stderr: [UInt8]) = ([], [])
        var position = (stdout: 0, stderr: 0)
        var window: (stdout: Int, stderr: Int)
        var digests = (stdout: StreamDigest(), stderr: StreamDigest())
        var credit = ModelServer.stdinCredit
        var inputEnded = false

        var isDone: Bool { inputEnded && position.stdout == pending.stdout.count && position.stderr == pending.stderr.count }
    }

    private let descriptor: FileDescriptor
    private var decoder = FrameDecoder()
    private var outgoing: [UInt8] = []
    private var processes: [UInt32: Process] = [:]
    private var isClosing = false

    /// - Parameter descriptor: taken over; closed when the conversation ends.
    static func start(owning descriptor: Int32) {
        let server = ModelServer(descriptor)
        Thread.detachNewThread { server.run() }
    }

    private init(_ number: Int32) { descriptor = FileDescriptor(owning: number) }

    private func run() {
        try? descriptor.setNonBlocking()
        while true {
            // Reads only while answers go out, as PID 1 does: a client that does not read cannot make it hold more.
            let reads = !isClosing && outgoing.count < 1 << 20
            if isClosing && outgoing.isEmpty { return }
            var watched = pollfd(fd: descriptor.rawValue, events: 0, revents: 0)
            if reads { watched.events |= Int16(POLLIN) }
            if !outgoing.isEmpty { watched.events |= Int16(POLLOUT) }
            if poll(&watched, 1, -1) < 0 { continue }
            if Int32(watched.revents) & POLLOUT != 0 {
                let number = descriptor.rawValue
                let count = outgoing.withUnsafeBytes { send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                if count < 0 && clinux_errno() != EAGAIN { return }
                outgoing.removeFirst(max(0, count))
            }
            if Int32(watched.revents) & (POLLIN | POLLHUP) != 0 && reads {
                do {
                    guard let bytes = try descriptor.read(atMost: decoder.room) else { continue }
                    if bytes.isEmpty { return }
                    decoder.append(bytes)
                    while let frame = try decoder.next(ClientMessage.self) { take(frame) }
                } catch let error as ControlError {
                    say(.closing(cause: error.description))
                    isClosing = true
                } catch { return }
            } else if Int32(watched.revents) & (POLLHUP | POLLERR) != 0 {
                return
            }
            for tag in processes.keys.sorted() { work(tag) }
        }
    }

    private func say(_ message: ServerMessage) { message.encode(into: &outgoing) }

    private func take(_ frame: DecodedFrame<ClientMessage>) {
        switch frame {
        case .unknown(let type, let tag):
            let failure = RequestFailure(.unsupported, operation: "read message", object: "of type \(type)", cause: "it is not known")
            say(.failed(tag: tag, failure))
        case .message(let message): take(message)
        }
    }

    private func take(_ message: ClientMessage) {
        switch message {
        case .hello:
            let limits = ServerLimits(
                maximumData: 32_768, maximumSessions: 64, maximumClients: 16, stdinCredit: UInt32(Self.stdinCredit), ringBytes: 65_536)
            say(.hello(version: ControlProtocol.version, name: "model", limits))
        case .ping(let tag): say(.pong(tag: tag))
        case .list(let tag):
            say(.session(tag: tag, SessionSummary(id: "main", kind: .primary, state: .running, pid: 17, args: ["sleep", "9"])))
            for (own, process) in processes.sorted(by: { $0.key < $1.key }) {
                say(.session(tag: tag, SessionSummary(id: "exec-\(own)", kind: .exec, state: .running, args: [process.kind])))
            }
            say(.done(tag: tag))
        case .exec(let tag, let request): exec(tag, request)
        case .window(let tag, let stream, let bytes):
            if stream == .stdout { processes[tag]?.window.stdout += Int(bytes) } else { processes[tag]?.window.stderr += Int(bytes) }
        case .stdin(let tag, let bytes): input(tag, bytes)
        case .closeStdin(let tag):
            processes[tag]?.inputEnded = true
            say(.stdinClosed(tag: tag, .requested))
        case .detach(let tag):
            let offsets = processes.removeValue(forKey: tag)?.position ?? (stdout: 0, stderr: 0)
            say(.detached(tag: tag, Detachment(.requested, stdoutOffset: UInt64(offsets.stdout), stderrOffset: UInt64(offsets.stderr))))
        case .subscribe(let tag):
            say(.done(tag: tag))
            for event in [ControlEvent.paused, .resumed, .health(.healthy)] { say(.event(tag: tag, event)) }
        case .stats(let tag): say(.stats(tag: tag, Array("{}".utf8)))
        case .wait(let tag, let session):
            let failure = RequestFailure(.unknownSession, operation: "wait for", object: session, cause: "there is no such session")
            say(.failed(tag: tag, failure))
        default: say(.done(tag: message.tag ?? 0))
        }
    }

    private func exec(_ tag: UInt32, _ request: ExecRequest) {
        let words = String(decoding: request.process, as: UTF8.self).split(separator: " ").map(String.init)
        let kind = words.first ?? ""
        if kind == "refuse" {
            let failure = RequestFailure(.launchFailed, exitCode: 127, operation: "exec", object: "nowhere", cause: "not found in PATH")
            say(.failed(tag: tag, failure))
            return
        }
        var process = Process(kind: kind, request: request, window: (Int(request.stdoutWindow), Int(request.stderrWindow)))
        let attached = Attached(session: "exec-\(tag)", stdinCredit: request.wantsStdin ? UInt32(Self.stdinCredit) : 0)
        say(.attached(tag: tag, attached))
        process.inputEnded = !request.wantsStdin
        switch kind {
        case "flood":
            let count = words.count > 1 ? Int(words[1]) ?? 0 : 0
            process.pending.stdout = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            process.pending.stderr = (0..<count / 2).map { UInt8(truncatingIfNeeded: $0 &* 17) }
        case "gap": say(.output(tag: tag, .stdout, offset: 1, [1, 2, 3]))
        case "lie":
            let total = StreamTotal(bytes: 1, sha256: "0")
            say(.exited(tag: tag, SessionResult(id: "exec-\(tag)", exitCode: 0, stdout: total, finishedAt: now())))
        case "excess": say(.output(tag: tag, .stdout, offset: 0, [UInt8](repeating: 7, count: Int(request.stdoutWindow) + 1)))
        case "quit":
            say(.closing(cause: "it was asked to"))
            isClosing = true
        default: break
        }
        if ["gap", "lie", "excess", "quit"].contains(kind) { return }
        processes[tag] = process
    }

    private func input(_ tag: UInt32, _ bytes: [UInt8]) {
        guard var process = processes[tag] else { return }
        process.credit -= bytes.count
        if process.credit < 0 {
            say(.stdinClosed(tag: tag, .overrun))
            process.inputEnded = true
        } else if !process.inputEnded {
            process.pending.stdout += bytes
        }
        processes[tag] = process
    }

    /// Sends what the windows allow, gives back the credit of what was consumed, and ends what is done.
    private func work(_ tag: UInt32) {
        guard var process = processes[tag], outgoing.count < 1 << 20 else { return }
        let before = process.position.stdout
        for stream in [LogStream.stdout, .stderr] {
            let isOut = stream == .stdout
            let pending = isOut ? process.pending.stdout : process.pending.stderr
            let position = isOut ? process.position.stdout : process.position.stderr
            let count = min(pending.count - position, isOut ? process.window.stdout : process.window.stderr, 10_000)
            if count <= 0 { continue }
            let piece = Array(pending[position..<position + count])
            say(.output(tag: tag, stream, offset: UInt64(position), piece))
            if isOut {
                process.position.stdout += count
                process.window.stdout -= count
                process.digests.stdout.update(piece)
            } else {
                process.position.stderr += count
                process.window.stderr -= count
                process.digests.stderr.update(piece)
            }
        }
        let consumed = process.position.stdout - before
        if process.kind == "cat", consumed > 0 {
            process.credit += consumed
            say(.stdinCredit(tag: tag, bytes: UInt32(consumed)))
        }
        processes[tag] = process
        guard process.isDone else { return }
        processes[tag] = nil
        say(.eof(tag: tag, .stdout))
        say(.eof(tag: tag, .stderr))
        let words = String(decoding: process.request.process, as: UTF8.self).split(separator: " ")
        let code = process.kind == "exit" && words.count > 1 ? UInt8(words[1]) ?? 255 : 0
        say(
            .exited(
                tag: tag,
                SessionResult(
                    id: "exec-\(tag)", exitCode: code, stdout: process.digests.stdout.total, stderr: process.digests.stderr.total,
                    finishedAt: now())))
    }

    private func now() -> Timestamp { Timestamp(nanoseconds: Clock.realtime()) }
}

/// Two connected stream sockets.
func socketPair() throws -> (Int32, Int32) {
    var ends: (Int32, Int32) = (-1, -1)
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    try attempt("socketpair") {
        withUnsafeMutableBytes(of: &ends) { socketpair(AF_UNIX, type, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self)) }
    }
    return ends
}
