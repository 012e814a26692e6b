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
    public var identities: [PrivateKey] = []
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
        var configuration = ClientConfiguration(user: target.user, keys: target.identities) { key in
            verdict.objection = target.hostKeys.objection(to: key)
            return verdict.objection == nil
        }
        // Noise, or a guest that is gone, is noticed before a person gives up.
        configuration.transport.handshakeMilliseconds = 30_000
        lastHeard = Clock.monotonic()
        client = SSHClient(configuration, random: .thisMachine, now: lastHeard)
        self.verdict = verdict
        early.withUnsafeBytes { client.receive($0, now: lastHeard) }
    }

    private final class Verdict { var objection: String? }
    private let verdict: Verdict

    /// Sends what can be sent, waits until something is to be done, and receives.
    /// - Parameter others: descriptors to wait for beside the line; gets what poll(2) says of them.
    func turn(_ others: inout [pollfd], until deadline: Int64 = .max) throws(AttachError) {
        try transmit()
        var watched = [pollfd(fd: channel.rawValue, events: Int16(POLLIN | (channel.pendingOutput > 0 ? POLLOUT : 0)), revents: 0)] + others
        let silent = lastHeard &+ Self.silence &* (isAsked ? 2 : 1)
        let next = Deadline(nanoseconds: min(deadline, client.nextDeadline ?? .max, silent))
        let count = nfds_t(watched.count)
        try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, count, next.pollTimeout) } }
        others = Array(watched.dropFirst())
        if watched[0].revents != 0 { try receive() }
        let now = Clock.monotonic()
        client.tick(now: now)
        if now &- lastHeard >= Self.silence &* (isAsked ? 2 : 1) {
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
            case .connection(.globalRequest(_, _, let wantsReply)):
                if wantsReply { client.connection.replyToGlobalRequest(success: false) }
            case .connection(let event): return event
            case .ended(let error):
                if let objection = verdict.objection { throw .hostKey(objection) }
                throw .connection(error ?? SSHError(.connectionLost, "use", "the connection", "the guest ended it"))
            }
        }
        if isLost { throw .connection(SSHError(.connectionLost, "read", "the line", "the other end closed it")) }
        return nil
    }

    private(set) var isAuthenticated = false

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
