import CLinux
import Glibc
public import LineEndpoint
import Linux
public import SSH

/// How a client reaches a guest and shows who it is.
public struct AttachTarget {
    public var endpoint: Endpoint
    /// Any name will do for whoever has a key; VIC's dialect lets `daemon` in without one.
    public var user = "container"
    public var identities = Identities()
    public var hostKeys: HostKeyPolicy
    /// How long the guest may take to answer on the line, in milliseconds; nil: for ever.
    public var synchronisationMilliseconds: Int64? = 120_000
    /// A guest that says nothing for so long is asked whether it is there, and given up after as long again, in milliseconds.
    var silenceMilliseconds: Int64 = 15_000

    public init(endpoint: Endpoint, hostKeys: HostKeyPolicy) {
        self.endpoint = endpoint
        self.hostKeys = hostKeys
    }
}

/// One SSH connection over a line.
final class AttachConnection {
    private let endpoint: Endpoint
    private let silence: Int64
    private static let keepalive = "keepalive@tether"

    let client: SSHClient
    private let channel: LineConnection
    private var lastHeard: Int64
    /// When the guest was asked whether it is there, since it was heard last.
    private var askedAt: Int64?
    private var isLost = false
    /// The line takes nothing any more. What the guest said before is still to be read.
    private var isOneWay = false
    /// Global requests whose answers are to come, in their order: whether one is ours.
    private var owed: [Bool] = []
    private let identities: Identities
    /// What the agent is asked now.
    private var question: AgentQuestion?

    /// Connects, and has the guest begin a connection; the log-in follows.
    /// - Parameter isOver: asked now and then; ends the attempt.
    init?(_ target: AttachTarget, isOver: () -> Bool) throws(AttachError) {
        let channel = try line { () throws(EndpointError) in try LineConnection(to: target.endpoint) }
        self.channel = channel
        (endpoint, silence) = (target.endpoint, target.silenceMilliseconds &* 1_000_000)
        let early = try line { () throws(EndpointError) in
            try channel.synchronise(milliseconds: target.synchronisationMilliseconds, isOver: isOver)
        }
        guard let early else { return nil }
        let verdict = Verdict()
        var configuration = ClientConfiguration(user: target.user, keys: []) { key in
            let start = Clock.monotonic()
            verdict.objection = target.hostKeys.objection(to: key)
            verdict.nanoseconds = Clock.monotonic() &- start
            return verdict.objection == nil
        }
        let expected = target.hostKeys.expectedAlgorithms
        if !expected.isEmpty {
            let all = configuration.transport.algorithms.hostKey
            configuration.transport.algorithms.hostKey = expected + all.filter { !expected.contains($0) }
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

    private final class Verdict {
        var objection: String?
        /// How long it took, since a person may have been asked; until that is made good.
        var nanoseconds: Int64 = 0
    }
    private let verdict: Verdict
    /// The time that went by while a person was asked. It does not count: the client's clock stood still.
    private var standstill: Int64 = 0
    /// Nanoseconds on that clock.
    var now: Int64 { Clock.monotonic() &- standstill }

    /// When the guest has said nothing for too long. It has nothing to say while a signature is made.
    private var silenceEnds: Int64 {
        if question != nil { return .max }
        // Before the log-in there is nothing to ask by.
        return askedAt.map { $0 &+ silence } ?? lastHeard &+ silence &* (isAuthenticated ? 1 : 2)
    }

    /// Sends what can be sent, waits until something is to be done, and receives.
    /// - Parameter others: descriptors to wait for beside the line; gets what poll(2) says of them.
    func turn(_ others: inout [pollfd], until deadline: Int64 = .max) throws(AttachError) {
        try transmit()
        let events = Int16(POLLIN | (channel.pendingOutput > 0 && !isOneWay ? POLLOUT : 0))
        let unused = pollfd(fd: -1, events: 0, revents: 0)
        var watched = [pollfd(fd: channel.rawValue, events: events, revents: 0), question?.watched ?? unused] + others
        let answer = question?.deadline.nanoseconds ?? .max
        let due = min(client.nextDeadline ?? .max, silenceEnds)
        let next = Deadline(nanoseconds: min(deadline, answer, due == .max ? due : due &+ standstill))
        let count = nfds_t(watched.count)
        try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, count, next.pollTimeout) } }
        others = Array(watched.dropFirst(2))
        if watched[0].revents != 0 { try receive() }
        hearAgent()
        client.tick(now: now)
        if now >= silenceEnds {
            if askedAt == nil, isAuthenticated {
                owed.append(true)
                client.connection.globalRequest(name: Self.keepalive, wantsReply: true)
            } else if !endpoint.isMoving {
                throw .timedOut("a sign of life of the guest")
            }
            // While a line moves to another host nothing gets to the VM, and so nothing comes. The concentrator says when that is over.
            askedAt = now
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
            lastHeard = now
            askedAt = nil
            bytes.withUnsafeBytes { client.receive($0, now: lastHeard) }
        case .closed: isLost = true
        }
    }

    /// - Returns: the next event; an end of the connection is thrown.
    func nextEvent() throws(AttachError) -> ConnectionEvent? {
        while let event = client.nextEvent() {
            if verdict.nanoseconds > 0 {
                standstill &+= verdict.nanoseconds
                verdict.nanoseconds = 0
            }
            switch event {
            // That the guest is there was seen when it was heard.
            case .connection(.globalReply) where !owed.isEmpty && owed.removeFirst(): break
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
        lastHeard = now
    }

    // MARK: The line

    /// Asks the guest; the answer is an event.
    func request(_ name: String, _ data: [UInt8]) {
        owed.append(false)
        client.connection.globalRequest(name: name, data: data, wantsReply: true)
    }

    private func transmit() throws(AttachError) {
        if isOneWay { return }
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
            isOneWay = true
        }
    }

    /// Says good-bye, as far as the line takes it within a second.
    func close() {
        client.disconnect(SSHError(.byApplication, "attach", "", "the client is done"))
        let deadline = Deadline.after(milliseconds: 1000)
        while !deadline.hasPassed {
            guard (try? transmit()) != nil, !isOneWay, !isLost, channel.pendingOutput > 0 || client.pendingOutput > 0 else { return }
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
