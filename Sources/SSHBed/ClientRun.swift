import CLinux
import Linux
import SSH

/// One session of an ``SSHClient`` with a server that is a command of this machine, on the command's standard input and output.
public final class ClientRun {
    /// What came of it.
    public struct Result {
        public var output: [UInt8] = []
        public var errors: [UInt8] = []
        public var exitStatus: UInt32?
        public var exitSignal: String?
        /// Answers to the session's requests, in order.
        public var replies: [Bool] = []
        public var negotiated: NegotiatedAlgorithms
        public var banner = ""
        /// Why the connection ended before the session did.
        public var error: String?
    }

    private let client: SSHClient
    private let server: BedProcess
    private let requests: [SessionRequest]
    private let input: [UInt8]
    private var sent = 0
    private var session: ChannelID?
    private var isOpen = false
    private var result: Result
    private var hasEnded = false
    /// The beginning of what the server says on its standard error.
    private var said: [UInt8] = []

    /// - Parameters:
    ///   - server: a shell command.
    ///   - requests: asked for one after the other, the last of which starts something.
    ///   - input: what is sent then, before EOF.
    public init(
        _ configuration: ClientConfiguration, server command: String, requests: [SessionRequest], input: [UInt8] = []
    ) throws(SyscallError) {
        server = try BedProcess(command: command, environment: ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"], terminal: nil)
        client = SSHClient(configuration, random: .system, now: Clock.monotonic())
        result = Result(negotiated: client.negotiated)
        self.requests = requests
        self.input = input
        session = client.connection.openChannel(type: "session", window: 1 << 20)
    }

    /// Runs until the session ends, or as long as `milliseconds`.
    public func run(milliseconds: Int64 = 60_000) throws(SyscallError) -> Result {
        let deadline = Deadline.after(milliseconds: milliseconds)
        while !hasEnded {
            if deadline.hasPassed {
                result.error = "the session has not ended after \(milliseconds) ms"
                break
            }
            sendInput()
            client.flush()
            writeOutput()
            try wait(deadline)
        }
        client.disconnect(SSHError(.byApplication, "run session", "", "it has ended"))
        writeOutput()
        return result
    }

    private func wait(_ deadline: Deadline) throws(SyscallError) {
        var watched = [
            pollfd(fd: server.output, events: Int16(POLLIN), revents: 0),
            pollfd(fd: client.pendingOutput > 0 ? server.input : -1, events: Int16(POLLOUT), revents: 0),
            // What the server says to nobody is not to stop it.
            pollfd(fd: server.errors, events: Int16(POLLIN), revents: 0),
        ]
        let timeout = min(deadline.pollTimeout, client.nextDeadline.map { Deadline(nanoseconds: $0).pollTimeout } ?? .max)
        try attempt("poll") { poll(&watched, nfds_t(watched.count), timeout) }
        client.tick(now: Clock.monotonic())
        var buffer = [UInt8](repeating: 0, count: 65536)
        if watched[2].revents != 0 {
            let count = read(server.errors, &buffer, buffer.count)
            if count == 0 { server.closeOutput(isErrors: true) } else { said += buffer.prefix(max(0, min(count, 4096 - said.count))) }
        }
        if watched[0].revents != 0 {
            let count = read(server.output, &buffer, buffer.count)
            if count > 0 {
                buffer.withUnsafeBytes { client.receive(UnsafeRawBufferPointer(rebasing: $0[..<count]), now: Clock.monotonic()) }
            } else if count == 0 {
                let why = said.isEmpty ? "" : ", and had said: " + String(decoding: said, as: UTF8.self)
                client.disconnect(SSHError(.connectionLost, "read", "from the server", "it hung up" + why))
            }
        }
        while let event = client.nextEvent() { take(event) }
    }

    private func take(_ event: ClientEvent) {
        switch event {
        case .authenticated(let banner):
            result.banner = banner
            result.negotiated = client.negotiated
        // All keys are held here.
        case .signatureWanted: client.giveUpSignature("there is no agent")
        case .ended(let error):
            result.error = error?.description ?? "the server ended it"
            hasEnded = true
        case .connection(.opened(let id, _)):
            isOpen = true
            for request in requests { client.connection.request(id, request, wantsReply: true) }
        case .connection(.openFailed(_, _, let text)):
            result.error = text
            hasEnded = true
        case .connection(.data(let id, let data)):
            result.output += data
            client.connection.grant(id, bytes: data.count)
        case .connection(.extendedData(let id, _, let data)):
            result.errors += data
            client.connection.grant(id, bytes: data.count)
        case .connection(.requestReply(_, let success)): result.replies.append(success)
        case .connection(.request(_, let name, let data, _)):
            switch SessionRequest(name: name, data: data) {
            case .exitStatus(let status)?: result.exitStatus = status
            case .exitSignal(let name, _, _)?: result.exitSignal = name
            default: break
            }
        case .connection(.closed): hasEnded = true
        case .connection(.globalRequest(_, _, let wantsReply)):
            if wantsReply { client.connection.replyToGlobalRequest(success: false) }
        case .connection: break
        }
    }

    private func sendInput() {
        guard isOpen, let session else { return }
        sent += client.connection.send(data: input[sent...], on: session)
        if sent == input.count { client.connection.sendEOF(session) }
    }

    private func writeOutput() {
        guard client.pendingOutput > 0, server.input >= 0 else { return }
        client.withOutput { max(0, write(server.input, $0.baseAddress, $0.count)) }
    }
}
