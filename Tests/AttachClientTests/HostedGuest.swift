import CLinux
import Concentrator
import Foundation
import LineEndpoint
import Linux
import Logging
import Testing
import VSPC

/// A guest's line at a concentrator, and between them the host of its VM, as a model. Each is a thread of its own.
final class HostedGuest: @unchecked Sendable {
    let socket: String
    private let directory: String
    private let port: UInt16
    private let stop: FileDescriptor
    private let done = DispatchSemaphore(value: 0)
    private let sequence: [UInt8] = [1, 2, 3]
    // Behind the lock.
    private let lock = NSLock()
    private var isOver = false
    private var wantsMove = false
    private var wantsEnd = false
    private var identity: [UInt8]?
    private var silent = false

    init(_ guest: ModelGuest) throws {
        var template = Array("/tmp/tether-hosted-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        socket = directory + "/serve.sock"
        let log = Logger(label: "serve") { _ in SwiftLogNoOpLogHandler() }
        nonisolated(unsafe) let concentrator = try Concentrator(host: "127.0.0.1", port: 0, socket: socket, log: log)
        port = concentrator.port
        let pipe = try Pipe().take()
        stop = FileDescriptor(owning: pipe.write)
        let input = pipe.read
        nonisolated(unsafe) let line = try LineConnection(to: .socket(path: guest.path))
        let server = Thread { [done] in
            do { try concentrator.run(until: FileDescriptor(owning: input)) } catch { Issue.record("the concentrator ended: \(error)") }
            done.signal()
        }
        server.start()
        let host = Thread { [self] in
            do { try carry(line) } catch { Issue.record("the host ended: \(error)") }
            done.signal()
        }
        host.start()
        let deadline = Deadline.after(milliseconds: 60_000)
        while try !ConcentratorClient.list(path: socket).contains(where: { $0.contains("\"name\":\"web\"") }) {
            try #require(!deadline.hasPassed)
            usleep(5000)
        }
    }

    /// Ends both threads.
    func close() {
        lock.withLock { isOver = true }
        _ = write(stop.rawValue, "x", 1)
        for _ in 0..<2 { done.wait() }
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// The VM is on its way from here on, when the concentrator has agreed.
    func beginMove() {
        lock.withLock { wantsMove = true }
        while lock.withLock({ identity == nil }) { usleep(1000) }
    }

    func completeMove() { lock.withLock { wantsEnd = true } }

    /// The guest's bytes and those for it are lost.
    func fallSilent() { lock.withLock { silent = true } }

    private func carry(_ line: LineConnection) throws {
        var session = MachineSession(uuid: "564d 0001", name: "web")
        var proxy = try LineConnection(to: .tcp(host: "127.0.0.1", port: port))
        while !lock.withLock({ isOver }) {
            var watched = [line.rawValue, proxy.rawValue].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&watched, 2, 2)
            if case .bytes(let bytes) = try line.read(), !lock.withLock({ silent }) { session.send(bytes[...]) }
            try take(&session, proxy, line)
            if lock.withLock({ wantsMove }) {
                lock.withLock { wantsMove = false }
                session.beginMove(sequence)
            }
            if let identity = lock.withLock({ wantsEnd ? identity : nil }) {
                lock.withLock { wantsEnd = false }
                var next = MachineSession(uuid: "564d 0001", name: "web", identity: identity)
                let target = try LineConnection(to: .tcp(host: "127.0.0.1", port: port))
                while try !take(&next, target, line) { usleep(1000) }
                next.completeMove(sequence)
                (session, proxy) = (next, target)
            }
            proxy.send(session.takeOutput()[...])
            try proxy.flush()
            try line.flush()
        }
    }

    /// Takes what the concentrator says.
    /// - Returns: true when it has taken this connection for the one that the VM moves to.
    @discardableResult
    private func take(_ session: inout MachineSession, _ proxy: LineConnection, _ line: LineConnection) throws -> Bool {
        var isAccepted = false
        if case .bytes(let bytes) = try proxy.read() {
            for event in session.receive(bytes[...]) {
                switch event {
                case .data(let data): if !lock.withLock({ silent }) { line.send(data[...]) }
                case .moveMayBegin(let identity): lock.withLock { self.identity = identity }
                case .movedAccepted: isAccepted = true
                default: break
                }
            }
        }
        proxy.send(session.takeOutput()[...])
        try proxy.flush()
        return isAccepted
    }
}
