import CLinux
import Foundation
import LineHandshake
import Linux
import SSH
import SessionLog
import Testing
import VIC

/// VIC's VCH on a VM's line: its handshake, its user, its requests.
@Suite("Boot: attach in VIC's dialect", .serialized) struct VICAttachBootTests {
    @Test("wait for unblock, terminal, sizes, input and its end, rejections, an exec that outlives the primary process")
    func dialect() throws {
        let script = "stty size; read x; stty size; sort; exit 6"
        let vm = try AttachVM(["sh", "-c", script], attach: ["vic": true, "wait": true, "authorizedKeys": [String]()]) { _, process in
            process["terminal"] = true
        }
        let client = try VICClient(vm.line)
        #expect(client.global("container-ids") == wired("box"))
        #expect(client.global("version") == [0, 0, 0, 10])
        // Of ours, for every client: a number that was drawn when the VM was started.
        let boot = try #require(client.global("boot@tether"))
        #expect(boot.count == 8 && boot != [UInt8](repeating: 0, count: 8), "\(boot)")
        #expect(client.rejection("") == "attach channel requires ID in ExtraData")
        #expect(client.rejection("c0ffee") == "session c0ffee is invalid")

        let channel = try #require(client.open("box"))
        #expect(client.request(channel, "ping", Array("Ping".utf8)) == true)
        #expect(client.request(channel, "window-change", size(80, 24)) == true)
        Thread.sleep(forTimeInterval: 0.5)
        #expect(client.output(channel).isEmpty, "it waits for unblock")
        #expect(client.request(channel, "unblock", Array("Unblock".utf8)) == true)
        #expect(client.wait { client.output(channel) == "24 80\r\n" }, "\(client.output(channel))")
        #expect(client.request(channel, "window-change", size(120, 40)) == true)
        client.send(channel, "go\n")
        #expect(client.wait { client.output(channel).hasSuffix("40 120\r\n") }, "\(client.output(channel))")

        // An exec without a terminal, and one that has ended.
        let exec = try #require(client.execute("sleep 1000"))
        #expect(client.wait { client.global("container-ids") == wired("box,exec-1") })
        let joined = try #require(client.open("exec-1"))
        #expect(client.request(joined, "window-change", size(1, 1)) == false)
        let ended = try #require(client.execute("exit 3"))
        #expect(client.wait { client.isClosed(ended) })
        #expect(client.wait { client.rejection("exec-2") == "process finished with exit code: 3" })

        client.send(channel, "b\na\n")
        #expect(client.request(channel, "close-stdin", []) == true)
        #expect(client.wait { client.isClosed(channel) }, "\(client.output(channel))")
        #expect(client.output(channel).hasSuffix("a\r\nb\r\n"), "\(client.output(channel))")
        #expect(client.wait { client.isClosed(exec) && client.isClosed(joined) }, "what ran beside it ends with it")
        let after = try vm.finish()
        #expect(after.code == 6, "\(after.finished.errorText)")
    }

    /// Cases A18 and A21 of what VIC's portlayer does, in its own keys.
    @Test("VIC's own keys: its host key, the wait that runblock asks for, streams and results")
    func keys() throws {
        let made = try run(["openssl", "genrsa", "-traditional", "512"])
        try #require(made.status == 0, "\(made.errorText)")
        var config = VICVM.config("c0ffee", ["sh", "-c", "echo first; cat; echo last >&2; exit 3"]) {
            $0.attach = true
            $0.openStdin = true
            $0.runBlock = true
        }
        config.hostKey = Array(made.stdout)
        let scratch = try Scratch()
        let arguments = try VM.arguments(scratch, rawConfig: nil, options: VICVM.options(config.keyValues()))
        let program = try RunningProgram(arguments)
        defer { if program.process.isRunning { program.process.terminate() } }
        let socket = VM.kept(scratch) + "/attach.sock"
        for _ in 0..<1800 where !FileManager.default.fileExists(atPath: socket) && program.process.isRunning {
            Thread.sleep(forTimeInterval: 0.1)
        }
        let line = try TestLine(socket)
        defer { line.close() }
        let client = try VICClient(line, patience: 90)
        #expect(client.global("container-ids") == wired("c0ffee"))
        let channel = try #require(client.open("c0ffee"))
        #expect(client.request(channel, "window-change", size(80, 24)) == false)
        Thread.sleep(forTimeInterval: 0.5)
        #expect(client.output(channel).isEmpty, "it waits for unblock")
        #expect(client.request(channel, "unblock", Array("Unblock".utf8)) == true)
        #expect(client.wait { client.output(channel) == "first\n" }, "\(client.output(channel))")
        client.send(channel, "input\n")
        #expect(client.request(channel, "close-stdin", []) == true)
        #expect(client.wait { client.isClosed(channel) }, "\(client.output(channel))")
        #expect(client.output(channel) == "first\ninput\nlast\n")
        let after = try VICVM(VM.collect(program.finish(), scratch), scratch)
        #expect(after.vm.code == 3, "\(after.vm.finished.errorText)")
        #expect(after.result("c0ffee", "started") == "true" && after.result("c0ffee", "status") == "3")
        #expect(after.result("c0ffee", "runblock") == "false")
        #expect(after.vm.status["notHonoured"] == nil)
        let kinds = (after.variables["guestinfo.tether.attach.hostkeys"] ?? "").split(separator: "\n").map { $0.split(separator: " ")[0] }
        #expect(kinds == ["ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256"])
    }

    private func wired(_ text: String) -> [UInt8] { VICClient.wired(text) }
    private func size(_ columns: UInt32, _ rows: UInt32) -> [UInt8] { VICClient.size(columns, rows) }
}

/// A client that does what a VCH does, and what else a test needs, on the connection of ``TestLine``.
final class VICClient {
    private let descriptor: FileDescriptor
    private var client: SSHClient
    private var events: [ConnectionEvent] = []
    private var outputs: [ChannelID: [UInt8]] = [:]
    private var closed: Set<ChannelID> = []
    private var isAuthenticated = false
    private var ended: SSHError?

    /// - Parameter patience: how long the guest may take to answer, in seconds: longer where it has still to boot.
    init(_ line: TestLine, patience: Double = 10) throws {
        let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        descriptor = FileDescriptor(owning: number)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = line.port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if connected != 0 { throw LiveVMError(description: "connect: \(Linux.Errno(rawValue: errno))") }
        try descriptor.setNonBlocking()
        let random = RandomSource { (0..<$0).map { _ in UInt8.random(in: 0...255) } }
        var configuration = ClientConfiguration(user: "daemon", keys: [], software: "VIC") { _ in true }
        configuration.transport.algorithms.ciphers = ["aes128-gcm@openssh.com"]
        client = SSHClient(configuration, random: random, now: Clock.monotonic())
        try synchronise(patience)
        guard wait({ isAuthenticated }) else { throw LiveVMError(description: "not logged in: \(ended.map { "\($0)" } ?? "no answer")") }
    }

    /// A *string* of SSH's.
    static func wired(_ text: String) -> [UInt8] {
        var writer = WireWriter()
        writer.text(text)
        return writer.bytes
    }

    /// What `window-change` carries.
    static func size(_ columns: UInt32, _ rows: UInt32) -> [UInt8] {
        var writer = WireWriter()
        for number in [columns, rows, 0, 0] { writer.uint32(number) }
        return writer.bytes
    }

    /// The handshake, begun with noise and a duplicate SYN.
    private func synchronise(_ patience: Double) throws {
        var host = HandshakeInitiator(seed: 99, now: Clock.monotonic())
        var output: [UInt8] = Array("noise\u{16}".utf8) + [0x16, 0x10] + host.takeOutput()
        let end = Date(timeIntervalSinceNow: patience)
        while Date() < end {
            if !output.isEmpty { _ = output.withUnsafeBytes { write(descriptor.rawValue, $0.baseAddress, $0.count) } }
            Thread.sleep(forTimeInterval: 0.02)
            if let bytes = try descriptor.read(atMost: 4096), !bytes.isEmpty {
                let used = bytes.withUnsafeBytes { host.receive($0, now: Clock.monotonic()) }
                if host.isSynchronised {
                    bytes[used...].withUnsafeBytes { client.receive($0, now: Clock.monotonic()) }
                    return
                }
            }
            host.tick(now: Clock.monotonic())
            output = host.takeOutput()
        }
        throw LiveVMError(description: "no handshake")
    }

    /// Works until something is so.
    func wait(seconds: Double = 30, _ condition: () -> Bool) -> Bool {
        let end = Date(timeIntervalSinceNow: seconds)
        while Date() < end {
            if condition() { return true }
            turn()
        }
        return condition()
    }

    private func turn() {
        client.flush()
        while client.pendingOutput > 0 {
            var taken = 0
            client.withOutput { bytes in
                taken = max(0, write(descriptor.rawValue, bytes.baseAddress, bytes.count))
                return taken
            }
            if taken == 0 { break }
        }
        var watched = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        if poll(&watched, 1, 20) > 0, let bytes = try? descriptor.read(atMost: 65_536) {
            bytes.withUnsafeBytes { client.receive($0, now: Clock.monotonic()) }
        }
        while let event = client.nextEvent() {
            switch event {
            case .authenticated: isAuthenticated = true
            case .signatureWanted: break
            case .ended(let error): ended = error
            case .connection(let event): take(event)
            }
        }
    }

    private func take(_ event: ConnectionEvent) {
        switch event {
        case .data(let id, let bytes), .extendedData(let id, _, let bytes):
            outputs[id, default: []] += bytes
            client.connection.grant(id, bytes: bytes.count)
        case .closed(let id): closed.insert(id)
        case .globalRequest(_, _, true): client.connection.replyToGlobalRequest(success: true)
        default: events.append(event)
        }
    }

    private func first<Value>(_ find: (ConnectionEvent) -> Value?) -> Value? {
        var found: Value?
        _ = wait {
            if let index = events.firstIndex(where: { find($0) != nil }) { found = find(events.remove(at: index)) }
            return found != nil
        }
        return found
    }

    func global(_ name: String) -> [UInt8]? {
        client.connection.globalRequest(name: name, wantsReply: true)
        return first { if case .globalReply(true, let data) = $0 { data } else { nil } }
    }

    func open(_ id: String) -> ChannelID? {
        guard let channel = client.connection.openChannel(type: "attach", extra: Array(id.utf8), window: 2 << 20) else { return nil }
        return first { if case .opened(channel, _) = $0 { channel } else { nil } }
    }

    /// Why a session cannot be joined.
    func rejection(_ id: String) -> String? {
        guard let channel = client.connection.openChannel(type: "attach", extra: Array(id.utf8), window: 2 << 20) else { return nil }
        return first {
            switch $0 {
            case .openFailed(channel, 1, let text): text
            case .opened(channel, _): "it was accepted"
            default: nil
            }
        }
    }

    func request(_ id: ChannelID, _ name: String, _ data: [UInt8]) -> Bool? {
        client.connection.request(id, name: name, data: data, wantsReply: true)
        return first { if case .requestReply(id, let success) = $0 { success } else { nil } }
    }

    /// Asks for something and for no answer.
    func tell(_ id: ChannelID, _ name: String, _ data: [UInt8]) { client.connection.request(id, name: name, data: data) }

    /// A channel of type `session` with a command, which a VCH would not open.
    func execute(_ command: String) -> ChannelID? {
        guard let channel = client.connection.openChannel(type: "session", window: 2 << 20) else { return nil }
        guard first({ if case .opened(channel, _) = $0 { true } else { nil } }) != nil else { return nil }
        client.connection.request(channel, .execute(command: Array(command.utf8)), wantsReply: true)
        return first { if case .requestReply(channel, true) = $0 { channel } else { nil } }
    }

    func send(_ id: ChannelID, _ text: String) { _ = client.connection.send(data: Array(text.utf8)[...], on: id) }
    func bytes(_ id: ChannelID) -> [UInt8] { outputs[id] ?? [] }
    func output(_ id: ChannelID) -> String { String(decoding: outputs[id] ?? [], as: UTF8.self) }
    func isClosed(_ id: ChannelID) -> Bool { closed.contains(id) }
}
