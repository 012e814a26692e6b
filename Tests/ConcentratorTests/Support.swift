import CLinux
import Concentrator
import Foundation
import LineEndpoint
import Linux
import Logging
import Testing
import VSPC

/// A concentrator in a thread of its own.
final class Server: @unchecked Sendable {
    let socket: String
    let port: UInt16
    private let directory: String
    private let stop: FileDescriptor
    private let thread: Thread
    private let ended = DispatchSemaphore(value: 0)

    init(maximumLines: Int = 1000, reserve: Int = 2 << 20) throws {
        var template = Array("/tmp/tether-serve-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        socket = directory + "/serve.sock"
        let log = Logger(label: "serve") { _ in SwiftLogNoOpLogHandler() }
        let concentrator = try Concentrator(
            host: "127.0.0.1", port: 0, socket: socket, maximumLines: maximumLines, reserve: reserve, log: log)
        port = concentrator.port
        let pipe = try Pipe().take()
        stop = FileDescriptor(owning: pipe.write)
        let (number, ended) = (pipe.read, ended)
        nonisolated(unsafe) let server = concentrator
        thread = Thread {
            let input = FileDescriptor(owning: number)
            do { try server.run(until: input) } catch { Issue.record("the concentrator ended: \(error)") }
            ended.signal()
        }
        thread.start()
    }

    deinit {
        _ = write(stop.rawValue, "x", 1)
        ended.wait()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func list() throws -> [[String: Any]] {
        try ConcentratorClient.list(path: socket).map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    /// Waits until the list is as it should be.
    func wait(_ what: String, until isSo: ([[String: Any]]) -> Bool) throws {
        let deadline = Deadline.after(milliseconds: 60_000)
        while true {
            let lines = try list()
            if isSo(lines) { return }
            try #require(!deadline.hasPassed, "\(what): \(lines)")
            usleep(10_000)
        }
    }
}

/// The host of a VM with one serial port, as a model.
final class Host {
    /// Lives as long as its clients. Nil for one that is another process.
    private let server: Server?
    private let descriptor: FileDescriptor
    private var session: MachineSession
    private var output = ByteQueue()
    private(set) var data: [UInt8] = []
    private(set) var events: [MachineSession.Event] = []
    private(set) var isClosed = false

    convenience init(
        _ server: Server, uuid: String = "564d0001", name: String = "web", uri: String = "tether", identity: [UInt8]? = nil
    ) throws {
        try self.init(port: server.port, server, uuid: uuid, name: name, uri: uri, identity: identity)
    }

    init(
        port: UInt16, _ server: Server? = nil, uuid: String = "564d0001", name: String = "web", uri: String = "tether",
        identity: [UInt8]? = nil
    ) throws {
        self.server = server
        descriptor = try Sockets.connect(host: "127.0.0.1", port: port)
        session = MachineSession(uuid: uuid, name: name, uri: uri, identity: identity)
    }

    func say(_ body: (inout MachineSession) -> Void) {
        body(&session)
        output.append(session.takeOutput()[...])
    }

    func send(_ bytes: [UInt8]) { say { $0.send(bytes[...]) } }

    func close() {
        isClosed = true
        shutdown(descriptor.rawValue, Int32(SHUT_RDWR))
    }

    var isSent: Bool { output.isEmpty }

    /// Sends and reads for a while.
    func step(milliseconds: Int32 = 10) throws {
        if isClosed { return }
        output.append(session.takeOutput()[...])
        var watched = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN | (output.isEmpty ? 0 : POLLOUT)), revents: 0)
        poll(&watched, 1, milliseconds)
        if !output.isEmpty {
            let number = descriptor.rawValue
            let count = try output.withFirst { bytes throws(SyscallError) in
                CLinux.send(number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
            output.removeFirst(count)
        }
        while let bytes = (try? descriptor.read(atMost: 65_536)) ?? nil {
            if bytes.isEmpty {
                isClosed = true
                return
            }
            for event in session.receive(bytes[...]) {
                if case .data(let more) = event { data += more } else { events.append(event) }
            }
        }
        output.append(session.takeOutput()[...])
    }

    func wait(_ what: String, until isSo: () -> Bool) throws {
        let deadline = Deadline.after(milliseconds: 60_000)
        while !isSo() {
            try #require(!deadline.hasPassed, "\(what): \(events), \(data.count) bytes")
            try step()
        }
    }
}

/// Who borrows a line.
final class Borrower {
    let line: LineConnection
    /// Nil for one that is another process.
    let server: Server?
    private(set) var data: [UInt8] = []
    private(set) var isClosed = false

    init(_ server: Server, _ machine: String) throws {
        self.server = server
        line = try LineConnection(to: .concentrator(path: server.socket, machine: machine))
    }

    init(path: String, _ machine: String) throws {
        server = nil
        line = try LineConnection(to: .concentrator(path: path, machine: machine))
    }

    func send(_ bytes: [UInt8]) { line.send(bytes[...]) }

    func step(milliseconds: Int32 = 10) throws {
        try line.flush()
        var watched = pollfd(fd: line.rawValue, events: Int16(POLLIN | (line.pendingOutput > 0 ? POLLOUT : 0)), revents: 0)
        poll(&watched, 1, milliseconds)
        try line.flush()
        switch try line.read() {
        case .nothing: break
        case .bytes(let bytes): data += bytes
        case .closed: isClosed = true
        }
    }
}

/// Lets all of them go on until `isSo`.
func run(_ hosts: [Host], _ borrowers: [Borrower], _ what: String, until isSo: () -> Bool) throws {
    let deadline = Deadline.after(milliseconds: 60_000)
    while !isSo() {
        try #require(!deadline.hasPassed, "\(what)")
        for host in hosts { try host.step(milliseconds: 1) }
        for borrower in borrowers { try borrower.step(milliseconds: 1) }
    }
}

func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}

/// Says where two long streams differ first.
func expectSame(_ got: [UInt8], _ expected: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
    let difference = zip(got, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    #expect(difference == nil && got.count == expected.count, "\(got.count) of \(expected.count) bytes", sourceLocation: sourceLocation)
}

/// A program of this package, beside the bundle of the tests.
func builtProgram(_ name: String) throws -> URL {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name)
}
