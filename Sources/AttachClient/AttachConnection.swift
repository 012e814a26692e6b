import CLinux
import Glibc
public import LineEndpoint
import Linux
public import SSH

/// How a client reaches a guest and shows who it is.
public struct AttachTarget {
    public var endpoint: Endpoint
    /// Any name will do, unless the configuration of the VM has VIC's dialect.
    public var user = "container"
    public var identities = Identities()
    public var hostKeys: HostKeyPolicy
    /// How long the guest may take to answer on the line, in milliseconds; nil: for ever.
    public var synchronisationMilliseconds: Int64? = 120_000

    public init(endpoint: Endpoint, hostKeys: HostKeyPolicy) {
        self.endpoint = endpoint
        self.hostKeys = hostKeys
    }
}

/// One SSH connection over a line.
final class AttachConnection {
    /// A guest that says nothing for so long is asked whether it is there, and given up after as long again.
    private static let silence: Int64 = 15_000_000_000
    private static let keepalive = "keepalive@tether"

    let client: SSHClient
    private let channel: LineConnection
    private var lastHeard: Int64
    private var isAsked = false
    private var isLost = false
    private let identities: Identities
    /// What the agent is asked now.
    private var question: AgentQuestion?

    /// Connects, and has the guest begin a connection; the log-in follows.
    /// - Parameter isOver: asked now and then; ends the attempt.
    init?(_ target: AttachTarget, isOver: () -> Bool) throws(AttachError) {
        let channel = try line { () throws(EndpointError) in try LineConnection(to: target.endpoint) }
        self.channel = channel
        let early = try line { () throws(EndpointError) in
            try channel.synchronise(milliseconds: target.synchronisationMilliseconds, isOver: isOver)
        }
        guard let early else { return nil }
        let verdict = Verdict()
        var configuration = ClientConfiguration(user: target.user, keys: []) { key in
            verdict.objection = target.hostKeys.objection(to: key)
            return verdict.objection == nil
        }
        configuration.keys = target.identities.keys
        identities = target.identities
        // Noise, or a guest that is gone, is noticed before a person gives up.
        configuration.transport.handshakeMilliseconds = 30_000
        lastHeard = Clock.monotonic()
        client = SSHClient(configuration, random: .thisMachine, now: lastHeard)
        self.verdict = verdict
        early.withUnsafeBytes { client.receive($0, now: lastHeard) }
    }

    private final class Verdict { var objection: String? }
    private let verdict: Verdict

    /// When the guest has said nothing for too long. It has nothing to say while a signature is made.
    private var silenceEnds: Int64 { question == nil ? lastHeard &+ Self.silence &* (isAsked ? 2 : 1) : .max }

    /// Sends what can be sent, waits until something is to be done, and receives.
    /// - Parameter others: descriptors to wait for beside the line; gets what poll(2) says of them.
    func turn(_ others: inout [pollfd], until deadline: Int64 = .max) throws(AttachError) {
        try transmit()
        let events = Int16(POLLIN | (channel.pendingOutput > 0 ? POLLOUT : 0))
        let unused = pollfd(fd: -1, events: 0, revents: 0)
        var watched = [pollfd(fd: channel.rawValue, events: events, revents: 0), question?.watched ?? unused] + others
        let answer = question?.deadline.nanoseconds ?? .max
        let next = Deadline(nanoseconds: min(deadline, client.nextDeadline ?? .max, silenceEnds, answer))
        let count = nfds_t(watched.count)
        try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, count, next.pollTimeout) } }
        others = Array(watched.dropFirst(2))
        if watched[0].revents != 0 { try receive() }
        hearAgent()
        let now = Clock.monotonic()
        client.tick(now: now)
        if now >= silenceEnds {
            if isAsked { throw .timedOut("a sign of life of the guest") }
            isAsked = true
            client.connection.globalRequest(name: Self.keepalive, wantsReply: true)
        }
        try transmit()
    }

    private func receive() throws(AttachError) {
        let reading: LineConnection.Reading
        do throws(SyscallError) { reading = try channel.read() } catch {
            throw .endpoint(EndpointError(error.operation, error.object, error.errno.description))
        }
        switch reading {
        case .nothing: break
        case .bytes(let bytes):
            lastHeard = Clock.monotonic()
            isAsked = false
            bytes.withUnsafeBytes { client.receive($0, now: lastHeard) }
        case .closed: isLost = true
        }
    }

    /// - Returns: the next event; an end of the connection is thrown.
    func nextEvent() throws(AttachError) -> ConnectionEvent? {
        while let event = client.nextEvent() {
            switch event {
            case .authenticated: isAuthenticated = true
            case .signatureWanted(let request): askAgent(request)
            case .connection(.globalRequest(_, _, let wantsReply)):
                if wantsReply { client.connection.replyToGlobalRequest(success: false) }
            case .connection(let event): return event
            case .ended(let error):
                if let objection = verdict.objection { throw .hostKey(objection) }
                throw .connection(explained(error ?? SSHError(.connectionLost, "use", "the connection", "the guest ended it")))
            }
        }
        if isLost { throw .connection(SSHError(.connectionLost, "read", "the line", "the other end closed it")) }
        return nil
    }

    private(set) var isAuthenticated = false

    /// A log-in that failed may have failed for want of keys that are there and could not be used.
    private func explained(_ error: SSHError) -> SSHError {
        guard error.reason == .noMoreAuthenticationMethods else { return error }
        let causes = [error.cause] + identities.remarks
        return SSHError(error.reason, error.operation, error.object, causes.joined(separator: "; "))
    }

    // MARK: The agent

    private func askAgent(_ request: SignatureRequest) {
        guard let path = identities.agent else { return client.giveUpSignature("there is no agent") }
        do throws(AgentError) {
            question = try AgentQuestion(.signature(request), path: path, milliseconds: identities.signatureMilliseconds)
        } catch { client.giveUpSignature(error.description) }
    }

    private func hearAgent() {
        guard let question else { return }
        do throws(AgentError) {
            guard let answer = try question.step() else { return }
            if case .signature(let signature) = answer {
                client.provide(signature: signature)
            } else {
                client.giveUpSignature("the agent does not sign by it")
            }
        } catch { client.giveUpSignature(error.description) }
        self.question = nil
        // The guest's silence meanwhile was none.
        lastHeard = Clock.monotonic()
    }

    // MARK: The line

    private func transmit() throws(AttachError) {
        client.flush()
        do throws(SyscallError) {
            while client.pendingOutput > 0, channel.pendingOutput < 64 * 1024 {
                client.withOutput { bytes in
                    channel.send(Array(bytes)[...])
                    return bytes.count
                }
            }
            try channel.flush()
        } catch {
            // What the guest said before is still to be read, and tells more.
            if error.errno != .brokenPipe, error.errno.rawValue != ECONNRESET {
                throw .endpoint(EndpointError(error.operation, error.object, error.errno.description))
            }
            isLost = true
        }
    }

    /// Says good-bye, as far as the line takes it within a second.
    func close() {
        client.disconnect(SSHError(.byApplication, "attach", "", "the client is done"))
        let deadline = Deadline.after(milliseconds: 1000)
        while !deadline.hasPassed {
            guard (try? transmit()) != nil, !isLost, channel.pendingOutput > 0 || client.pendingOutput > 0 else { return }
            var watched = pollfd(fd: channel.rawValue, events: Int16(POLLOUT), revents: 0)
            poll(&watched, 1, deadline.pollTimeout)
        }
    }
}

extension RandomSource {
    /// The kernel's random numbers (getrandom(2)), by way of the standard library.
    public static var thisMachine: RandomSource {
        RandomSource { count in
            var generator = SystemRandomNumberGenerator()
            return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
    }
}
