import AttachClient
import CLinux
import Control
import Foundation
import Glibc
import LineEndpoint
import Linux
import SSH
import SessionLog
import Testing

@testable import Sessions

/// Who is slow, and who only shares something that is.
@Suite("Sessions and slow lines", .serialized) struct SlowLineTests {
    @Test("a client without windows that says that it goes on is waited for; one that says no more is found in time")
    func goesOn() throws {
        var limits = SessionLimits()
        limits.stallMilliseconds = 400
        let server = try TestServer(limits: limits)
        let session = try server.start(["sh", "-c", "sleep 0.2; seq 1 200000"])
        let client = try TestClient(server)
        client.grants = false
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stdoutWindow: 1000)))
        #expect(try client.wait { session.end(of: .stdout) >= 65_536 })
        var said = Date()
        let end = Date(timeIntervalSinceNow: 1.6)
        let isDetached = try client.wait(seconds: 1.6) {
            if Date() >= said, Date() < end {
                client.send(.window(tag: 1, .stdout, bytes: 0))
                said = Date(timeIntervalSinceNow: 0.1)
            }
            return session.attachments.isEmpty
        }
        #expect(!isDetached)
        let silent = Clock.monotonic()
        #expect(try client.wait { client.has(.detached(tag: 1, Detachment(.slow, stdoutOffset: 1000, stderrOffset: 0))) })
        #expect(Clock.monotonic() - silent < 2_000_000_000)
    }

    @Test("attachments that share a connection that is slow are all served, however long each has to wait for the next piece")
    func sharedConnection() throws {
        var limits = SessionLimits()
        limits.stallMilliseconds = 1000
        let server = try TestServer(limits: limits)
        let client = try TestClient(server, buffer: 8192)
        // A turn of each, 16 KiB, takes 1.6 s.
        client.rate = 80_000
        let tags: [UInt32] = [1, 2, 3, 4, 5, 6, 7, 8]
        for tag in tags {
            client.send(.exec(tag: tag, ExecRequest(process: Array("seq 10001 25000".utf8), stdoutWindow: 1 << 20)))
        }
        #expect(try client.wait(seconds: 60) { tags.allSatisfy { client.result($0) != nil } }, "\(client.messages)")
        let expected = (10_001...25_000).map { "\($0)\n" }.joined()
        for tag in tags { #expect(client.text(tag).utf8.elementsEqual(expected.utf8), "\(tag): \(client.text(tag).utf8.count)") }
    }

    @Test("a client that reads nothing at all is found although its windows are open")
    func deadConnection() throws {
        var limits = SessionLimits()
        limits.stallMilliseconds = 400
        let server = try TestServer(limits: limits)
        let session = try server.start(["sh", "-c", "sleep 0.2; seq 1 1000000"])
        let client = try TestClient(server)
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stdoutWindow: 1 << 24)))
        #expect(try client.wait { session.attachments.count == 1 })
        client.isAsleep = true
        #expect(try client.wait(seconds: 10) { session.attachments.isEmpty })
    }

    @Test("the container's own end waits for a client that takes little until the drain deadline, and not longer")
    func endOfPrimary() throws {
        var limits = SessionLimits()
        limits.stallMilliseconds = 400
        limits.drainDeadline = 1200
        let server = try TestServer(limits: limits)
        // More than ring and pipe hold would not end.
        let session = try server.start(["sh", "-c", "sleep 0.2; head -c 100000 /dev/zero"])
        let client = try TestClient(server)
        client.grants = false
        client.send(.attach(tag: 1, AttachRequest(stdout: .oldest, stdoutWindow: 1000)))
        #expect(try client.wait { session.state == .draining })
        let begun = Clock.monotonic()
        var said = Date()
        #expect(
            try client.wait {
                if Date() >= said {
                    client.send(.window(tag: 1, .stdout, bytes: 0))
                    said = Date(timeIntervalSinceNow: 0.1)
                }
                return session.state == .ended
            })
        #expect(Clock.monotonic() - begun >= 1_000_000_000)
        #expect(client.has(.detached(tag: 1, Detachment(.slow, stdoutOffset: 1000, stderrOffset: 0))))
        #expect(session.total(of: .stdout).bytes == 100_000)
    }

    @Test("six sessions of one SSH connection on a slow line: each gets all of its output and its end")
    func sharedLine() throws {
        // A channel's turn for what PID 1 is told as a matter of course, 4 KiB, comes after 1.5 s here.
        let server = try AttachProcess(["sleep", "1000"], weather: AttachProcess.Weather(rate: 16_000), stall: 1000)
        defer { server.stop() }
        guard case .socket(let path) = server.endpoint else { throw SyscallError("connect", "", .ioError) }
        // One that asks until it is answered: whatever comes before the server is there is lost.
        #expect(try AttachedClient(server, .exec(process: Array("true".utf8), session: "first")).outcome == .exited(0))
        let client = try ManySessions(path)
        let (first, last) = (10_001, 15_000)
        try client.run((0..<6).map { _ in Array("seq \(first) \(last)".utf8) }, seconds: 90)
        let expected = (first...last).map { "\($0)\n" }.joined()
        #expect(client.sessions.count == 6)
        for session in client.sessions {
            #expect(String(decoding: session.output, as: UTF8.self) == expected && session.errors.isEmpty)
            #expect(session.exitStatus == 0)
        }
    }
}

/// A client of the attach server's with several sessions on one connection.
private final class ManySessions {
    struct OneSession {
        let id: ChannelID
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var exitStatus: UInt32?
        var isClosed = false
    }

    private let socket: FileDescriptor
    private let ssh: SSHClient
    private(set) var sessions: [OneSession] = []

    init(_ path: String) throws {
        socket = try Sockets.connect(path: path)
        try socket.setNonBlocking()
        var generator = SystemRandomNumberGenerator()
        ssh = SSHClient(
            ClientConfiguration(user: "test", keys: [], hostKeyCheck: { _ in true }),
            random: RandomSource { count in (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) } },
            now: Clock.monotonic())
    }

    /// Runs processes, each in a session, until all have ended.
    func run(_ processes: [[UInt8]], seconds: Double) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while sessions.isEmpty || !sessions.allSatisfy(\.isClosed) {
            if Date() > end { return }
            ssh.flush()
            while ssh.pendingOutput > 0 {
                var isFull = false
                ssh.withOutput { bytes in
                    let count = write(socket.rawValue, bytes.baseAddress, bytes.count)
                    isFull = count <= 0
                    return max(0, count)
                }
                if isFull { break }
            }
            var watched = pollfd(fd: socket.rawValue, events: Int16(POLLIN | (ssh.pendingOutput > 0 ? POLLOUT : 0)), revents: 0)
            poll(&watched, 1, 20)
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(socket.rawValue, &bytes, bytes.count)
            if count == 0 { return }
            if count > 0 { bytes.withUnsafeBytes { ssh.receive(UnsafeRawBufferPointer(rebasing: $0[..<count]), now: Clock.monotonic()) } }
            while let event = ssh.nextEvent() { take(event, processes) }
        }
    }

    private func take(_ event: ClientEvent, _ processes: [[UInt8]]) {
        switch event {
        case .authenticated:
            for _ in processes {
                if let id = ssh.connection.openChannel(type: "session", window: 1 << 20) { sessions.append(OneSession(id: id)) }
            }
        case .connection(.opened(let id, _)):
            guard let index = sessions.firstIndex(where: { $0.id == id }) else { return }
            var writer = WireWriter()
            writer.string(processes[index])
            writer.boolean(false)
            writer.text("")
            writer.uint64(0)
            ssh.connection.request(id, name: "exec-process@tether", data: writer.bytes, wantsReply: true)
        case .connection(.data(let id, let data)): with(id) { $0.output += data }
        case .connection(.extendedData(let id, _, let data)): with(id) { $0.errors += data }
        case .connection(.request(let id, let name, let data, _)):
            if case .exitStatus(let status)? = SessionRequest(name: name, data: data) { with(id) { $0.exitStatus = status } }
        case .connection(.closed(let id)): with(id) { $0.isClosed = true }
        default: break
        }
    }

    private func with(_ id: ChannelID, _ change: (inout OneSession) -> Void) {
        if let index = sessions.firstIndex(where: { $0.id == id }) { change(&sessions[index]) }
    }
}
