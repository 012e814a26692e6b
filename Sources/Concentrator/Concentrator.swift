import CLinux
import Glibc
import LineEndpoint
public import Linux
public import Logging
import VSPC

/// A virtual serial port concentrator: VMs connect to it, and it lends their lines to one client each at a time.
///
/// One thread, one epoll set; no call waits but the loop's own.
public final class Concentrator {
    let log: Logger
    private let loop: EventLoop
    private let machineListener: Listener
    private let clientListener: Listener
    private let socketFile: SocketFile?
    /// The TCP port on which VMs are waited for.
    public let port: UInt16

    private(set) var lines: [Line] = []
    private var clients: [ClientConnection] = []
    /// Those of them that move to another host.
    private var moving: [Line] = []
    /// Connections whose borrower has no room.
    private var waiting: [MachineConnection] = []

    /// More VMs than this are sent away.
    private let maximumLines: Int
    /// The most that is held for a client which does not read, in bytes.
    let reserve: Int
    private static let maximumClients = 1024
    /// How long a move may take. vMotion itself gives up sooner.
    private static let moveLimit: Int64 = 300 * 1_000_000_000

    /// - Parameters:
    ///   - host: nil for all addresses of this machine.
    ///   - port: 0 for one that the kernel chooses.
    ///   - socket: the path of the socket for clients.
    ///   - reserve: the most that is held for a client which does not read, in bytes. It is used up slowly, 256 KiB are at once.
    public init(
        host: String?, port: UInt16, socket: String, maximumLines: Int = 16_384, reserve: Int = 2 << 20, log: Logger
    ) throws(EndpointError) {
        self.log = log
        self.maximumLines = maximumLines
        self.reserve = reserve
        Concentrator.raiseDescriptorLimit()
        do throws(SyscallError) {
            loop = try EventLoop()
            clientListener = Listener(try Sockets.listen(path: socket), loop, "clients", log)
            socketFile = SocketFile(socket)
        } catch { throw EndpointError(error.operation, error.object, error.errno.description) }
        let listener = try Sockets.listen(host: host, port: port)
        self.port = Sockets.port(of: listener) ?? port
        machineListener = Listener(listener, loop, "VMs", log)
    }

    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Serves until `stop` becomes readable.
    public func run(until stop: borrowing FileDescriptor) throws(EndpointError) {
        let stopper = Stopper()
        let watch = loop.watch(stop.rawValue, .readable, stopper, role: 0)
        machineListener.start { [unowned self] in admit(machine: $0, $1) }
        clientListener.start { [unowned self] number, _ in admit(client: number) }
        defer {
            for line in lines { finish(line, "the concentrator ends") }
            for client in clients { client.lose() }
            clients = []
            machineListener.stop()
            clientListener.stop()
            if let watch { loop.unwatch(watch) }
            socketFile?.remove()
        }
        do throws(SyscallError) {
            while !stopper.isStopped {
                let moves = moving.compactMap { $0.move?.deadline }.min()
                let looks = waiting.compactMap { $0.nextLook }.min()
                let deadlines = [moves, looks, machineListener.retry, clientListener.retry].compactMap { $0 }
                try loop.turn(until: deadlines.min())
                expire(Clock.monotonic())
            }
        } catch { throw EndpointError(error.operation, error.object, error.errno.description) }
    }

    private func expire(_ now: Int64) {
        machineListener.resume(now)
        clientListener.resume(now)
        for connection in waiting { connection.lookAhead(now) }
        waiting.removeAll { $0.nextLook == nil || $0.stream.isClosed }
        for line in moving {
            guard let move = line.move, now >= move.deadline else { continue }
            log.warning("\(line.title): the move to another host was not completed")
            abortMove(line)
        }
    }

    // MARK: Connections

    private func admit(machine number: Int32, _ address: String) {
        let descriptor = FileDescriptor(owning: number)
        if lines.count >= maximumLines, let stranger = lines.first(where: { $0.isStranger(now: Clock.realtime()) }) {
            finish(stranger, "sent away: it has not said who it is")
        }
        if lines.count >= maximumLines {
            log.warning("\(address): sent away, \(maximumLines) lines are here already")
            return
        }
        Sockets.tune(descriptor)
        let connection = MachineConnection(Stream(descriptor, loop), address: address, self)
        log.debug("\(address): connected")
        lines.append(Line(connection))
    }

    private func admit(client number: Int32) {
        let descriptor = FileDescriptor(owning: number)
        let client = ClientConnection(Stream(descriptor, loop), self)
        clients.append(client)
        if clients.count > Self.maximumClients { client.refuse("\(Self.maximumClients) clients are here already") }
    }

    /// The connection's borrower has no room: it is looked at again and again from now on, until that has changed.
    func looksAhead(_ connection: MachineConnection) {
        if !waiting.contains(where: { $0 === connection }) { waiting.append(connection) }
    }

    func forget(_ client: ClientConnection) { clients.removeAll { $0 === client } }

    /// A connection is over.
    func lost(_ connection: MachineConnection) {
        connection.stream.close()
        guard let line = connection.line else { return }
        if line.move?.peer === connection {
            // The VM did not get to the other host. The first connection says what becomes of it.
            line.move?.peer = nil
            if line.connection.stream.isClosed { finish(line, "both connections are gone") }
        } else if line.move != nil {
            log.info("\(line.title): the old host has closed its connection; waiting for the new one")
        } else {
            finish(line, "disconnected")
        }
    }

    private func finish(_ line: Line, _ why: String) {
        log.info("\(line.title): \(why)")
        let peer = endMove(line)
        line.borrower?.lose()
        for connection in [line.connection, peer] {
            connection?.stream.close()
            // The two hold one another.
            connection?.line = nil
        }
        lines.removeAll { $0 === line }
    }

    // MARK: What a VM says

    func take(_ event: ProxySession.Event, _ connection: MachineConnection) {
        guard let line = connection.line else { return }
        switch event {
        case .data(let bytes):
            // What the old host still had comes first.
            if line.move?.peer === connection { line.connection.drain() }
            line.deliver(bytes)
        case .extensionRefused: log.debug("\(connection.address): it does not know VMware's extension")
        case .uuid(let uuid): identify(line) { $0.uuid = uuid }
        case .name(let name): identify(line) { $0.name = name }
        case .proxyWanted(_, let uri):
            identify(line) { $0.uri = uri }
            connection.say { $0.grantProxy(true) }
        case .moveBegins(let sequence): beginMove(line, sequence, connection)
        case .moved(let identity): join(identity, connection, line)
        case .moveComplete(let sequence): completeMove(line, sequence, connection)
        case .moveAborted:
            guard line.connection === connection, line.move != nil else { return }
            log.info("\(line.title): the move to another host was aborted")
            abortMove(line)
        }
    }

    private func identify(_ line: Line, _ change: (Line) -> Void) {
        let isMoving = line.move != nil
        change(line)
        guard !isMoving, !line.uuid.isEmpty else { return }
        // The same port of the same VM: the host that had it before was cut off, and has not noticed.
        let others = lines.filter { $0 !== line && $0.uuid == line.uuid && $0.uri == line.uri && $0.move == nil && !line.uri.isEmpty }
        for other in others { finish(other, "connected anew from \(line.connection.address)") }
    }

    private func beginMove(_ line: Line, _ sequence: [UInt8], _ connection: MachineConnection) {
        guard line.connection === connection, line.move == nil else { return connection.say { $0.refuseMove(sequence) } }
        var random = SystemRandomNumberGenerator()
        let secret = (0..<SecretLength.bytes).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        line.move = Line.Move(
            sequence: sequence, identity: sequence + secret, peer: nil, deadline: Clock.monotonic() &+ Self.moveLimit)
        moving.append(line)
        log.info("\(line.title): moves to another host")
        connection.say { $0.letMove(sequence, secret: secret) }
        line.borrower?.update()
    }

    private func join(_ identity: [UInt8], _ connection: MachineConnection, _ own: Line) {
        guard let line = lines.first(where: { $0.move?.identity == identity && $0.move?.peer == nil }), line !== own, own.move == nil else {
            log.warning("\(connection.address): it claims to be a VM that moves, and is none")
            return finish(own, "sent away")
        }
        // The line that it got at first is none.
        lines.removeAll { $0 === own }
        own.borrower?.lose()
        connection.line = line
        line.move?.peer = connection
        connection.say { $0.acceptMoved(identity) }
    }

    private func completeMove(_ line: Line, _ sequence: [UInt8], _ connection: MachineConnection) {
        guard let move = line.move, move.peer === connection, move.sequence == sequence else { return }
        let old = line.connection
        old.drain()
        old.line = nil
        old.stream.close()
        line.connection = connection
        _ = endMove(line)
        log.info("\(line.title): has moved to \(connection.address)")
        connection.update()
        line.borrower?.update()
    }

    private func abortMove(_ line: Line) {
        let peer = endMove(line)
        peer?.line = nil
        peer?.stream.close()
        if line.connection.stream.isClosed { return finish(line, "its only connection is gone") }
        line.connection.update()
        line.borrower?.update()
    }

    /// - Returns: the new connection, if there was one.
    private func endMove(_ line: Line) -> MachineConnection? {
        defer { line.move = nil }
        moving.removeAll { $0 === line }
        return line.move?.peer
    }
}

private final class Stopper: EventHandler {
    private(set) var isStopped = false
    func ready(role: Int32, _ event: Epoll.Event) { isStopped = true }
}

/// A listening socket. When descriptors run out it pauses for a second, rather than to wake the loop for ever.
final class Listener: EventHandler {
    private let descriptor: FileDescriptor
    private let loop: EventLoop
    private var watch: EventLoop.Watch?
    private var admit: ((Int32, String) -> Void)?
    /// When it goes on, while it pauses.
    private(set) var retry: Int64?

    /// Who is waited for, for messages.
    private let who: String
    private let log: Logger

    init(_ descriptor: consuming FileDescriptor, _ loop: EventLoop, _ who: String, _ log: Logger) {
        self.descriptor = descriptor
        self.loop = loop
        self.who = who
        self.log = log
    }

    func start(_ admit: @escaping (Int32, String) -> Void) {
        self.admit = admit
        watch = loop.watch(descriptor.rawValue, .readable, self, role: 0)
    }

    func stop() {
        if let watch { loop.unwatch(watch) }
        watch = nil
        admit = nil
    }

    func resume(_ now: Int64) {
        guard let retry, now >= retry else { return }
        self.retry = nil
        watch = loop.watch(descriptor.rawValue, .readable, self, role: 0)
    }

    func ready(role: Int32, _ event: Epoll.Event) {
        // Not without a bound: the connections that are there have to be served as well.
        for _ in 0..<64 {
            do throws(SyscallError) {
                guard let (number, peer) = try Sockets.accept(descriptor) else { return }
                admit?(number, peer)
            } catch {
                log.warning("\(who) wait for a second: \(error)")
                if let watch { loop.unwatch(watch) }
                watch = nil
                retry = Clock.monotonic() &+ 1_000_000_000
                return
            }
        }
    }
}
