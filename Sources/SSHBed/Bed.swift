import CLinux
import Linux
import SSH

/// What a ``Bed`` serves.
public struct BedConfiguration {
    public var server: ServerConfiguration
    /// VIC's sessions: ids, and what each runs.
    public var attachable: [(id: String, command: String)] = []
    /// Told what happens, one line each.
    public var log: (String) -> Void = { _ in }

    public init(_ server: ServerConfiguration) { self.server = server }
}

/// An SSH server for tests: sessions run commands of this machine.
public final class Bed {
    private let configuration: BedConfiguration
    private let input: Int32
    private let output: Int32
    private let server: SSHServer
    private var sessions: [BedSession] = []
    private var hasEnded = false

    private static let window: UInt32 = 1 << 20

    /// - Parameters:
    ///   - input, output: the connection, which may be one descriptor; they stay the caller's.
    public init(_ configuration: BedConfiguration, input: Int32, output: Int32) throws(SyscallError) {
        self.configuration = configuration
        self.input = input
        self.output = output
        for number in [input, output] {
            try attempt("fcntl F_SETFL") { clinux_fcntl_int(number, F_SETFL, O_NONBLOCK) }
        }
        server = SSHServer(configuration.server, random: .system, now: Clock.monotonic())
    }

    /// Serves the connection until it ends.
    public func run() throws(SyscallError) {
        while true {
            for session in sessions {
                server.connection.grant(session.id, bytes: session.moveInput())
                session.moveOutput(&server.connection)
            }
            sessions.removeAll { $0.finish(&server.connection) }
            server.flush()
            if server.pendingOutput > 0 { writeOutput() }
            if hasEnded, server.pendingOutput == 0 { return }
            try wait()
        }
    }

    private func wait() throws(SyscallError) {
        var watched = [
            pollfd(fd: hasEnded ? -1 : input, events: Int16(POLLIN), revents: 0),
            pollfd(fd: server.pendingOutput > 0 ? output : -1, events: Int16(POLLOUT), revents: 0),
        ]
        for session in sessions {
            guard let process = session.process else { continue }
            if session.wantsToWrite { watched.append(pollfd(fd: process.input, events: Int16(POLLOUT), revents: 0)) }
            if server.connection.room(session.id) > 0 {
                for number in [process.output, process.errors] { watched.append(pollfd(fd: number, events: Int16(POLLIN), revents: 0)) }
            }
            if session.isRunning { watched.append(pollfd(fd: process.ended.rawValue, events: Int16(POLLIN), revents: 0)) }
        }
        let timeout = server.nextDeadline.map { Deadline(nanoseconds: $0).pollTimeout } ?? -1
        try attempt("poll") { poll(&watched, nfds_t(watched.count), timeout) }
        server.tick(now: Clock.monotonic())
        if watched[0].revents != 0 { readInput() }
        takeEvents()
    }

    private func readInput() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = read(input, &buffer, buffer.count)
        if count > 0 {
            buffer.withUnsafeBytes { server.receive(UnsafeRawBufferPointer(rebasing: $0[..<count]), now: Clock.monotonic()) }
        } else if count == 0 || (clinux_errno() != EAGAIN && clinux_errno() != EINTR) {
            configuration.log("the client hung up")
            server.disconnect(SSHError(.connectionLost, "read", "from the client", "it hung up"))
        }
    }

    private func writeOutput() {
        server.withOutput { bytes in
            let count = write(output, bytes.baseAddress, bytes.count)
            // Nobody is there to hear it: it counts as sent.
            if count < 0, clinux_errno() != EAGAIN, clinux_errno() != EINTR { return bytes.count }
            return max(0, count)
        }
    }

    private func takeEvents() {
        while let event = server.nextEvent() {
            switch event {
            case .authenticated(let login):
                let names = server.negotiated
                let (to, from) = (names.clientToServer, names.serverToClient)
                let compression = "\(to.compression) \(from.compression)"
                configuration.log("algorithms \(names.keyExchange) \(names.hostKey) \(to.cipher) \(to.mac) \(compression)")
                configuration.log("authenticated \(login.user) \(login.method) \(login.key?.key.fingerprint ?? "-")")
                if !configuration.attachable.isEmpty {
                    server.connection.globalRequest(name: "container-ids", data: containerIDs, wantsReply: true)
                }
            case .connection(let event): take(event)
            case .ended(let error):
                configuration.log("ended \(error?.description ?? "")")
                hasEnded = true
                sessions = []
            }
        }
    }

    private func take(_ event: ConnectionEvent) {
        switch event {
        case .globalRequest(let name, _, let wantsReply):
            let answer: [UInt8]? =
                switch name {
                case "container-ids" where !configuration.attachable.isEmpty: containerIDs
                case "version" where !configuration.attachable.isEmpty: [0, 0, 0, 10]
                default: nil
                }
            configuration.log("global \(name)")
            if wantsReply { server.connection.replyToGlobalRequest(success: answer != nil, data: answer ?? []) }
        case .globalReply(let success, _): configuration.log("reply \(success)")
        case .opening(let id, let type, let extra): open(id, type, extra)
        case .data(let id, let data): session(id)?.append(data)
        case .extendedData(let id, _, let data): server.connection.grant(id, bytes: data.count)
        case .eof(let id): session(id)?.endInput()
        case .closed(let id): sessions.removeAll { $0.id == id }
        case .request(let id, let name, let data, let wantsReply):
            let success = session(id)?.take(name, data) ?? false
            configuration.log("request \(name) \(success)")
            if wantsReply { server.connection.replyToRequest(id, success: success) }
        case .opened, .openFailed, .windowAdjusted, .requestReply: break
        }
    }

    private func open(_ id: ChannelID, _ type: String, _ extra: [UInt8]) {
        switch type {
        case "session":
            sessions.append(BedSession(id))
            server.connection.accept(id, window: Self.window)
        case "attach" where !configuration.attachable.isEmpty:
            let name = String(decoding: extra, as: UTF8.self)
            if let session = configuration.attachable.first(where: { $0.id == name }) {
                sessions.append(BedSession(id, blocked: session.command))
                server.connection.accept(id, window: Self.window)
            } else {
                let text = name.isEmpty ? "attach channel requires ID in ExtraData" : "session \(name) is invalid"
                server.connection.reject(id, .administrativelyProhibited, text)
            }
        default: server.connection.reject(id, .unknownChannelType, "there are no channels of type \(type)")
        }
    }

    private var containerIDs: [UInt8] {
        var writer = WireWriter()
        writer.text(configuration.attachable.map(\.id).joined(separator: ","))
        return writer.bytes
    }

    private func session(_ id: ChannelID) -> BedSession? { sessions.first { $0.id == id } }
}

extension RandomSource {
    /// The kernel's random bytes.
    public static var system: RandomSource {
        RandomSource { count in
            var bytes = [UInt8](repeating: 0, count: count)
            bytes.withUnsafeMutableBytes { buffer in
                if let start = buffer.baseAddress { arc4random_buf(start, count) }
            }
            return bytes
        }
    }
}
