import CLinux
import Foundation
import Linux
import TestSupport

/// A VM's serial line as the host sees it: a unix socket that takes one client at a time, with a pseudo-terminal behind it. As in
/// QEMU, what the guest sends while nobody is connected is lost, and the guest does not learn who comes and goes.
final class SerialLineModel: @unchecked Sendable {  // all that changes belongs to its thread
    /// Where clients connect.
    let path: String
    /// The guest's device.
    let device: String
    private let directory: String
    private let listener: FileDescriptor
    private let master: FileDescriptor
    private let stopped: FileDescriptor
    private let stopper: FileDescriptor
    private let finished = DispatchSemaphore(value: 0)

    init() throws {
        directory = NSTemporaryDirectory() + "/tether-line-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let socketPath = directory + "/line.sock"
        path = socketPath
        let terminal = try openTerminal()
        master = FileDescriptor(owning: terminal.master)
        device = terminal.path
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        listener = FileDescriptor(owning: try attempt("socket") { socket(AF_UNIX, type, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(socketPath.utf8).prefix($0.count - 1)) }
        let number = listener.rawValue
        try attempt("bind", socketPath) { () -> Int32 in
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(number, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        try attempt("listen", socketPath) { listen(number, 4) }
        let ends = try Pipe().take()
        stopped = FileDescriptor(owning: ends.read)
        stopper = FileDescriptor(owning: ends.write)
        try master.setNonBlocking()
    }

    func start() { Thread.detachNewThread { self.run() } }

    /// Ends the line's thread: nobody is connected any more.
    func stop() {
        _ = write(stopper.rawValue, "x", 1)
        finished.wait()
        try? FileManager.default.removeItem(atPath: directory)
    }

    private func run() {
        defer { finished.signal() }
        var client: Int32 = -1
        defer { if client >= 0 { _ = close(client) } }
        var buffer = [UInt8](repeating: 0, count: 4096)
        var toGuest: [UInt8] = []
        var toClient: [UInt8] = []
        // The pseudo-terminal hangs up while no guest has it open: then it is not asked, but looked at from time to time.
        var isQuiet = false
        while true {
            let terminal = master.rawValue
            var watched = [
                pollfd(fd: stopped.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: client < 0 ? listener.rawValue : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isQuiet ? -1 : terminal, events: interest(reads: toClient.isEmpty, writes: !toGuest.isEmpty), revents: 0),
                pollfd(fd: client, events: interest(reads: toGuest.isEmpty, writes: !toClient.isEmpty), revents: 0),
            ]
            isQuiet = false
            if poll(&watched, 4, 20) < 0 { continue }
            if watched[0].revents != 0 { return }
            if watched[1].revents != 0 {
                client = accept4(
                    listener.rawValue, __SOCKADDR_ARG(__sockaddr__: nil), nil, Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue))
            }
            if Int32(watched[2].revents) & POLLIN != 0 {
                let count = read(terminal, &buffer, buffer.count)
                if client >= 0, count > 0 { toClient = Array(buffer[..<count]) }
            } else if Int32(watched[2].revents) & POLLHUP != 0 {
                isQuiet = true
            }
            if Int32(watched[2].revents) & POLLOUT != 0 { move(&toGuest, to: terminal) }
            if Int32(watched[3].revents) & POLLOUT != 0 { move(&toClient, to: client) }
            if Int32(watched[3].revents) & (POLLIN | POLLHUP) != 0, toGuest.isEmpty {
                let count = read(client, &buffer, buffer.count)
                if count > 0 {
                    toGuest = Array(buffer[..<count])
                } else if count == 0 || clinux_errno() != EAGAIN {
                    _ = close(client)
                    client = -1
                    toClient = []
                }
            }
        }
    }

    private func interest(reads: Bool, writes: Bool) -> Int16 { Int16((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)) }

    private func move(_ bytes: inout [UInt8], to descriptor: Int32) {
        // Not write(2): its SIGPIPE would end the tests. A terminal takes no send(2).
        let isSocket = descriptor != master.rawValue
        let count = bytes.withUnsafeBytes {
            isSocket ? send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) : write(descriptor, $0.baseAddress, $0.count)
        }
        if count > 0 { bytes.removeFirst(count) }
        if count < 0, clinux_errno() != EAGAIN { bytes = [] }
    }
}

/// tether-relay as a process of its own, with the model of PID 1 behind it.
final class RelayProcess {
    private let process = Process()
    private let errors: URL
    /// The descriptor that the process has got, closed here since.
    let lentNumber: Int32

    /// - Parameter device: the serial device.
    init(device: String) throws {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let relay = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("TetherRelay").path
        errors = FileManager.default.temporaryDirectory.appendingPathComponent("relay-\(UUID().uuidString)")
        try Data().write(to: errors)
        let (ours, theirs) = try socketPair()
        ModelServer.start(owning: ours)
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "exec 3<&0 </dev/null; exec \"$0\" \"$1\"", relay, device]
        // The handle closes it, and nothing else does: it lives as long as the process object, and what closed the number a second time
        // would close whatever another test has opened under it since.
        let input = FileHandle(fileDescriptor: theirs, closeOnDealloc: true)
        lentNumber = theirs
        process.standardInput = input
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        try input.close()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(at: errors)
    }

    var pid: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }

    /// Waits for its end, at most a minute.
    /// - Returns: its status and what it said; nil when it does not end.
    func finish() throws -> (status: Int32, said: String)? {
        let deadline = Deadline.after(milliseconds: 60_000)
        while process.isRunning {
            if deadline.hasPassed { return nil }
            Thread.sleep(forTimeInterval: 0.01)
        }
        // Until the thread's run loop has seen the end, which this lets it, Foundation keeps the process object.
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: try Data(contentsOf: errors), as: UTF8.self))
    }
}
