import Attach
import CLinux
import Control
import Linux
import SSH
import SessionLog

/// Reads, writes and waits for the attach server: the line on one side, PID 1 on the other.
final class AttachLoop {
    private let line: SerialPort
    private let socket: FileDescriptor
    private let bridge = AttachBridge()
    private let server: LineServer
    private let log: (String) -> Void
    private var decoder = FrameDecoder()
    private var chunk = [UInt8](repeating: 0, count: 4096)
    private var losses: SerialPort.Losses?
    private var lossesDue: Int64 = 0
    /// When the line is read again: bytes of an unfinished packet are left to gather for a moment.
    private var readAfter: Int64 = 0
    private var received: UInt64 = 0
    private var sent: UInt64 = 0
    /// When the last words have to be out, once there are such.
    private var farewell: Int64?

    /// A UART gives a few bytes at a time, and each time that the server wakes costs more than all that it does with them.
    private static let gathering: Int64 = 1_000_000
    private static let farewellTime: Int64 = 10_000_000_000
    /// How often the line's losses are looked at.
    private static let lossesInterval: Int64 = 5_000_000_000

    /// - Parameter boot: the number of this boot.
    init(line: consuming SerialPort, socket: consuming FileDescriptor, configuration: LineServer.Configuration, boot: UInt64) {
        self.line = line
        self.socket = socket
        log = configuration.log
        server = LineServer(configuration, bridge: bridge, random: RandomSource(AttachLoop.random), now: Clock.monotonic())
        losses = self.line.losses
        bridge.announce(
            configuration.server.transport.hostKeys.map { HostKey(line: $0.publicKey.line, fingerprint: $0.publicKey.fingerprint) })
        bridge.boot = boot
        bridge.lineStatistics = { self.statistics }
        bridge.log = configuration.log
    }

    /// The kernel's. PID 1 starts the server only once there is randomness, so this never waits.
    private static func random(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(0, count))
        var filled = 0
        while filled < bytes.count {
            let taken = bytes.withUnsafeMutableBytes { getrandom($0.baseAddress.map { $0 + filled }, min(256, $0.count - filled), 0) }
            if taken <= 0 && clinux_errno() != EINTR { return [] }
            filled += max(0, taken)
        }
        return bytes
    }

    /// Runs until PID 1 closes the control interface.
    /// - Returns: why.
    func run() throws(SyscallError) -> String {
        while true {
            if let cause = try turn() { return cause }
        }
    }

    private func turn() throws(SyscallError) -> String? {
        try flush()
        let now = Clock.monotonic()
        if let cause = bridge.closingCause {
            let deadline = farewell ?? now &+ AttachLoop.farewellTime
            farewell = deadline
            if server.depart(now: now) && line.isDrained || now >= deadline { return cause }
        }
        let (lineReady, socketReady) = try wait(now)
        if socketReady & POLLOUT != 0 { try writeSocket() }
        if socketReady & (POLLIN | POLLHUP | POLLERR) != 0, bridge.closingCause == nil {
            if try !readSocket() && bridge.closingCause == nil { return "PID 1 closed the control connection" }
        }
        if lineReady & (POLLIN | POLLHUP | POLLERR) != 0 { try readLine() }
        server.tick(now: Clock.monotonic())
        return nil
    }

    private func wait(_ now: Int64) throws(SyscallError) -> (line: Int32, socket: Int32) {
        var lineEvents: Int32 = 0
        var socketEvents: Int32 = 0
        let isGathering = readAfter > now
        if !bridge.isCongested && !isGathering { lineEvents |= POLLIN }
        if server.pendingOutput > 0 { lineEvents |= POLLOUT }
        if bridge.closingCause == nil { socketEvents |= POLLIN }
        if bridge.pendingControl > 0 { socketEvents |= POLLOUT }
        var watched = (
            pollfd(fd: line.rawValue, events: Int16(truncatingIfNeeded: lineEvents), revents: 0),
            pollfd(fd: socketEvents == 0 ? -1 : socket.rawValue, events: Int16(truncatingIfNeeded: socketEvents), revents: 0)
        )
        var next = server.nextDeadline ?? .max
        if isGathering { next = min(next, readAfter) }
        // That the UART is empty, no event tells.
        if farewell != nil { next = min(next, now &+ 10_000_000) }
        let timeout = next == .max ? -1 : Deadline(nanoseconds: next).pollTimeout
        try attempt("poll") {
            withUnsafeMutableBytes(of: &watched) { poll($0.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, timeout) }
        }
        return (Int32(watched.0.revents), Int32(watched.1.revents))
    }

    /// Moves on what there is, as far as the line and PID 1 take it.
    private func flush() throws(SyscallError) {
        server.pump()
        while server.pendingOutput > 0 {
            let before = sent
            var failure: SyscallError?
            server.withOutput { bytes in
                do throws(SyscallError) {
                    let taken = try line.write(bytes) ?? 0
                    sent &+= UInt64(taken)
                    return taken
                } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            if sent == before { break }
            server.pump()
        }
        if bridge.pendingControl > 0 { try writeSocket() }
    }

    // MARK: The line

    private func readLine() throws(SyscallError) {
        var failure: SyscallError?
        var count = 0
        var buffer = chunk
        chunk = []
        buffer.withUnsafeMutableBytes { bytes in
            do throws(SyscallError) {
                guard let taken = try line.read(into: bytes) else { return }
                count = taken
                // A line that hangs up for good would be ready again and again.
                if taken == 0 { failure = SyscallError("read", line.path, .ioError) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        received &+= UInt64(count)
        let now = Clock.monotonic()
        buffer.withUnsafeBytes { server.receive(UnsafeRawBufferPointer(rebasing: $0[..<count]), now: now) }
        chunk = buffer
        readAfter = server.isInsidePacket ? now &+ AttachLoop.gathering : 0
        if now >= lossesDue {
            lossesDue = now &+ AttachLoop.lossesInterval
            checkLosses()
        }
    }

    /// Says what the line has lost since this was asked last.
    private func checkLosses() {
        guard let current = line.losses, let before = losses, current != before else { return }
        losses = current
        log(
            "\(line.path): \(current.overruns &- before.overruns) overruns of the UART, "
                + "\(current.bufferOverruns &- before.bufferOverruns) of the driver's buffer, "
                + "\(current.framing &- before.framing) framing errors, \(current.parity &- before.parity) parity errors")
    }

    private var statistics: [UInt8] {
        checkLosses()
        var json = JSONWriter()
        json.beginObject()
        for (name, value) in [
            ("receivedBytes", received), ("sentBytes", sent), ("connections", server.connections), ("restarts", server.restarts),
        ] {
            json.key(name)
            json.integer(value)
        }
        if let losses {
            json.member("overruns", Int64(losses.overruns))
            json.member("bufferOverruns", Int64(losses.bufferOverruns))
            json.member("framingErrors", Int64(losses.framing))
            json.member("parityErrors", Int64(losses.parity))
        }
        json.endObject()
        return json.bytes
    }

    // MARK: PID 1

    /// - Returns: false when PID 1 has closed the connection.
    private func readSocket() throws(SyscallError) -> Bool {
        var failure: SyscallError?
        var isOpen = true
        var buffer = chunk
        chunk = []
        buffer.withUnsafeMutableBytes { bytes in
            let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<min(bytes.count, decoder.room)])
            do throws(SyscallError) {
                guard let taken = try socket.read(into: part, object: "the control socket") else { return }
                isOpen = taken > 0
                decoder.append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(part)[..<taken]))
            } catch {
                if error.errno.rawValue == ECONNRESET { isOpen = false } else { failure = error }
            }
        }
        chunk = buffer
        if let failure { throw failure }
        do throws(ControlError) {
            while let frame = try decoder.next(ServerMessage.self) {
                if case .message(let message) = frame { bridge.take(message) }
            }
        } catch {
            // PID 1 is of the same build: this does not happen, and if it did there would be no going on.
            log(error.description)
            return false
        }
        return isOpen
    }

    private func writeSocket() throws(SyscallError) {
        var failure: SyscallError?
        let number = socket.rawValue
        bridge.withControl { bytes in
            do throws(SyscallError) {
                // Not write(2): its SIGPIPE would end the server without a word.
                return try attempt("send", "to the control socket") { send(number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
            } catch {
                // What PID 1 has closed, the next read tells of.
                if error.errno == .brokenPipe || error.errno.rawValue == ECONNRESET { return bytes.count }
                if error.errno != .wouldBlock { failure = error }
                return 0
            }
        }
        if let failure { throw failure }
    }
}
