import AttachClient
import CLinux
import Control
import Foundation
import LineEndpoint
import Linux
import SSH
import SessionLog
import TestSupport
import Testing

@testable import Sessions

/// The attach server's program on a pseudo-terminal, with sessions behind it and a cable before it.
///
/// The sessions have a thread of their own, and so has the cable.
final class AttachProcess: @unchecked Sendable {  // what changes is behind the lock, or belongs to one of the threads
    /// What the cable does to what passes it.
    struct Weather {
        /// After so many bytes on average it drops the client; 0: never.
        var cutEvery = 0
        /// Of so many bytes on average one is damaged; 0: none.
        var damageEvery = 0
        /// Bytes a second that it carries to the client; 0: as many as there are.
        var rate = 0
    }

    /// Where clients connect: a unix socket, or, for a cable between two terminals, the other one.
    let endpoint: Endpoint
    private let lock = NSLock()
    private var isOver = false
    private var drops = 0
    private var harms = 0
    private let finished = DispatchSemaphore(value: 0)
    private let process = Process()
    private let directory: String
    private let hostKey: PrivateKey
    private let guest: Int32
    private let host: Int32
    private let listener: Int32
    /// The descriptor that the process has got, closed here since.
    private(set) var lentNumber: Int32 = -1

    /// - Parameters:
    ///   - primary: what the first session runs; its arguments.
    ///   - betweenTerminals: the cable's other end is a terminal, too.
    ///   - ring: how much output is kept of each stream, in bytes.
    ///   - stall: how long a client may take nothing, in milliseconds.
    init(
        _ primary: [String], weather: Weather = Weather(), betweenTerminals: Bool = false, ring: Int = 65_536, stall: Int64 = 2000
    ) throws {
        directory = NSTemporaryDirectory() + "/tether-attach-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        hostKey = try PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32))
        let device: String
        (guest, device) = try openTerminal(flags: O_NONBLOCK)
        if betweenTerminals {
            let path: String
            (host, path) = try openTerminal(flags: O_NONBLOCK)
            endpoint = .terminal(path: path)
            listener = -1
        } else {
            host = -1
            endpoint = .socket(path: directory + "/line.sock")
            listener = try Sockets.listen(path: directory + "/line.sock").take()
        }
        var settings = AttachServerSettings(allowsNone: true, boot: 0x0102_0304_0506_0708)
        settings.hostKeys = [hostKey.openSSHText(comment: "")]
        let file = directory + "/settings"
        try Data(settings.encoded).write(to: URL(fileURLWithPath: file))

        // The sessions are made on their thread, and with them the server's end of the control connection.
        nonisolated(unsafe) var socket: Int32 = -1
        let ready = DispatchSemaphore(value: 0)
        let thread = Thread { [self] in
            var limits = SessionLimits()
            limits.ringCapacity = ring
            limits.stallMilliseconds = stall
            guard let server = try? TestServer(limits: limits), let descriptor = try? server.connect().take(),
                (try? server.start(primary, stdin: true)) != nil
            else {
                ready.signal()
                finished.signal()
                return
            }
            socket = descriptor
            ready.signal()
            while !lock.withLock({ isOver }) { try? server.turn(milliseconds: 20) }
            finished.signal()
        }
        thread.stackSize = 8 << 20
        thread.start()
        ready.wait()
        try #require(socket >= 0)

        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let built = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("TetherAttach").path
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        // TETHER_ATTACH: the program that is shipped, to measure with.
        let program = ProcessInfo.processInfo.environment["TETHER_ATTACH"] ?? built
        process.arguments = ["-c", "exec 3<&0 4<\"$2\" </dev/null; exec \"$0\" \"$1\"", program, device, file]
        // The handle closes it, and nothing else does: it lives as long as the process object, and what closed the number a second time
        // would close whatever another test has opened under it since.
        let input = FileHandle(fileDescriptor: socket, closeOnDealloc: true)
        lentNumber = socket
        process.standardInput = input
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
        try input.close()
        let cable = Thread { [self] in carry(weather) }
        cable.start()
    }

    deinit {
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Ends everything.
    func stop() {
        lock.withLock { isOver = true }
        finished.wait()
        finished.wait()
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        for descriptor in [guest, host, listener] where descriptor >= 0 { _ = close(descriptor) }
    }

    var isRunning: Bool { process.isRunning }
    /// How often the cable dropped its client, and damaged a byte.
    var disturbances: (drops: Int, harms: Int) { lock.withLock { (drops, harms) } }

    func target() -> AttachTarget {
        var target = AttachTarget(endpoint: endpoint, hostKeys: .pinned(keys: [hostKey.publicKey], fingerprints: []))
        target.synchronisationMilliseconds = 30_000
        return target
    }

    // MARK: The cable

    private func carry(_ weather: Weather) {
        defer { finished.signal() }
        var random = SystemRandomNumberGenerator()
        func distance(_ average: Int) -> Int { average == 0 ? .max : Int.random(in: 0..<2 * average, using: &random) }
        var client = host
        var untilCut = distance(weather.cutEvery)
        var untilHarm = distance(weather.damageEvery)
        var pending: (toGuest: [UInt8], toClient: [UInt8]) = ([], [])
        // When the line is free for the next bytes, where it has a rate.
        var free: Int64 = 0
        func pass(_ bytes: inout [UInt8]) {
            untilHarm -= bytes.count
            if untilHarm < 0, let index = bytes.indices.randomElement(using: &random) {
                bytes[index] ^= UInt8.random(in: 1...255, using: &random)
                untilHarm = distance(weather.damageEvery)
                lock.withLock { harms += 1 }
            }
        }
        while !lock.withLock({ isOver }) {
            func interest(reads: Bool, writes: Bool) -> Int16 { Int16((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)) }
            let isFree = weather.rate == 0 || free <= Clock.monotonic()
            var watched = [
                pollfd(
                    fd: guest, events: interest(reads: pending.toClient.isEmpty && isFree, writes: !pending.toGuest.isEmpty), revents: 0),
                pollfd(fd: client, events: interest(reads: pending.toGuest.isEmpty, writes: !pending.toClient.isEmpty), revents: 0),
                pollfd(fd: client < 0 ? listener : -1, events: Int16(POLLIN), revents: 0),
            ]
            // A terminal that nobody has open hangs up at once, and again.
            if poll(&watched, 3, weather.rate == 0 ? 20 : 2) > 0, watched[0].revents | watched[1].revents == Int16(POLLHUP) { usleep(1000) }
            let most = weather.rate == 0 ? 4096 : 256
            if Int32(watched[0].revents) & POLLIN != 0, var bytes = AttachProcess.take(guest, atMost: most), !bytes.isEmpty {
                if weather.rate > 0 {
                    free = max(free, Clock.monotonic() - 50_000_000) + Int64(bytes.count) * 1_000_000_000 / Int64(weather.rate)
                }
                // What nobody gets is lost, as in QEMU.
                if client >= 0 {
                    pass(&bytes)
                    untilCut -= bytes.count
                    pending.toClient = bytes
                }
            }
            if Int32(watched[0].revents) & POLLOUT != 0 { AttachProcess.give(&pending.toGuest, guest) }
            if Int32(watched[1].revents) & POLLOUT != 0 { AttachProcess.give(&pending.toClient, client) }
            var isGone = false
            if Int32(watched[1].revents) & (POLLIN | POLLHUP) != 0, pending.toGuest.isEmpty {
                if var bytes = AttachProcess.take(client) {
                    pass(&bytes)
                    pending.toGuest = bytes
                    isGone = bytes.isEmpty
                } else if Int32(watched[1].revents) & POLLHUP != 0 {
                    isGone = true
                }
            }
            if untilCut < 0 {
                lock.withLock { drops += 1 }
                untilCut = distance(weather.cutEvery)
                isGone = true
            }
            if isGone, client >= 0 {
                pending.toClient = []
                if client != host {
                    _ = close(client)
                    client = -1
                }
            }
            if watched[2].revents != 0 {
                client = accept4(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
            }
        }
        if client >= 0, client != host { _ = close(client) }
    }

    /// - Returns: nil when there is nothing now; nothing at the end.
    private static func take(_ descriptor: Int32, atMost most: Int = 4096) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: most)
        let count = read(descriptor, &bytes, bytes.count)
        if count < 0 { return clinux_errno() == EAGAIN || clinux_errno() == EIO ? nil : [] }
        return Array(bytes[..<count])
    }

    private static func give(_ bytes: inout [UInt8], _ descriptor: Int32) {
        // Not write(2) to a socket: its SIGPIPE would end the tests. A terminal takes no send(2).
        var count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count < 0, clinux_errno() == ENOTSOCK { count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } }
        if count > 0 { bytes.removeFirst(count) } else if clinux_errno() != EAGAIN { bytes = [] }
    }
}

/// A client of the server, with digests of what it sent and got.
struct AttachedClient {
    var outcome: AttachOutcome?
    var error: AttachError?
    var log: [String] = []
    var sent = StreamDigest()
    var received = StreamDigest()

    /// - Parameter input: bytes of random input; nil for a client that has none.
    init(_ process: AttachProcess, _ purpose: AttachOptions.Purpose, input: Int? = nil) throws {
        let streams = [try Pipe().take(), try Pipe().take()]
        var options = AttachOptions(purpose)
        options.wantsInput = input != nil
        (options.stdin, options.stdout, options.stderr) = (streams[0].read, streams[1].write, 2)
        let lines = Lines()
        options.log = { lines.append($0) }
        let (feeder, reader) = (Digester(), Digester())
        feeder.start { digester in
            var piece = (0..<16_384).map { _ in UInt8.random(in: 0...255) }
            var left = input ?? 0
            while left > 0 {
                // Each piece another one, so that none can stand for the next.
                withUnsafeBytes(of: left) { piece.replaceSubrange(0..<8, with: $0) }
                let part = piece.prefix(left)
                var written = 0
                while written < part.count {
                    let count = part.withUnsafeBytes { write(streams[0].write, $0.baseAddress?.advanced(by: written), $0.count - written) }
                    if count <= 0 { break }
                    written += count
                }
                digester.digest.update(Array(part))
                left -= part.count
            }
            close(streams[0].write)
        }
        reader.start { digester in
            var bytes = [UInt8](repeating: 0, count: 65_536)
            while case let count = read(streams[1].read, &bytes, bytes.count), count > 0 { digester.digest.update(Array(bytes[..<count])) }
            close(streams[1].read)
        }
        let session = AttachSession(process.target(), options)
        do throws(AttachError) { outcome = try session.run() } catch { self.error = error }
        close(streams[0].read)
        close(streams[1].write)
        sent = feeder.finish()
        received = reader.finish()
        log = lines.all
    }

    private final class Lines: @unchecked Sendable {
        private let lock = NSLock()
        private var lines: [String] = []
        func append(_ line: String) { lock.withLock { lines.append(line) } }
        var all: [String] { lock.withLock { lines } }
    }

    private final class Digester: @unchecked Sendable {  // `digest` is the thread's until it is finished
        var digest = StreamDigest()
        private let done = DispatchSemaphore(value: 0)

        func start(_ body: @escaping @Sendable (Digester) -> Void) {
            let thread = Thread { [self] in
                body(self)
                done.signal()
            }
            thread.start()
        }

        func finish() -> StreamDigest {
            done.wait()
            return digest
        }
    }
}
