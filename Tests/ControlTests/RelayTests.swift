import CLinux
import Control
import ControlClient
import Foundation
import Linux
import SessionLog
import TestSupport
import Testing

/// The relay as a process, on a pseudo-terminal that stands for the serial line.
@Suite("Control protocol: relay", .serialized) struct RelayTests {
    private func exec(_ text: String, window: UInt32 = 65_536, stdin: Bool = false) -> ExecRequest {
        ExecRequest(process: Array(text.utf8), stdoutWindow: window, stderrWindow: window, wantsStdin: stdin)
    }

    @Test("2 MB of random bytes go through the line and back unchanged, with every byte in them")
    func echo() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        let relay = try RelayProcess(device: line.device)
        let client = try ControlClient(serialSocket: line.path, timeout: 60)
        try client.ping()
        var maker = MessageMaker(seed: 11)
        let data = [UInt8](repeating: 0xFF, count: 1000) + (0..<2_000_000).map { _ in UInt8(truncatingIfNeeded: maker.random.next()) }
        let session = try client.exec(exec("cat", stdin: true))
        let result = try session.run(data, timeout: 60)
        #expect(session.stdout == data)
        #expect(result.stdout.bytes == UInt64(data.count))
        #expect(relay.isRunning)
    }

    @Test("a client that comes after another gets a conversation of its own, however the other one left")
    func reconnect() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        for round in 0..<6 {
            let relay = try RelayProcess(device: line.device)
            do {
                let client = try ControlClient(serialSocket: line.path, timeout: 60)
                try client.ping()
                #expect(try client.list().map(\.id) == ["main"])
                switch round % 3 {
                case 0: break
                // In the middle of a frame, and with output on the way that nobody takes.
                case 1:
                    client.sendRaw([0xFF, 0xFF, 0, 0, 7, 1])
                    _ = try? client.exec(exec("flood 200000"), timeout: 0.3)
                default:
                    let flood = try client.beginExec(exec("flood 3000000", window: 10_000_000))
                    try client.started(flood)
                }
            }
            // The next client's synchronisation ends the first conversation; when it asks again, another relay answers.
            let next = NextClient(line.path)
            let end = try relay.finish()
            #expect(end?.status == 0, "\(String(describing: end))")
            #expect(end?.said.contains("the client began anew") == true, "\(String(describing: end))")
            let other = try RelayProcess(device: line.device)
            #expect(next.wait() == "done")
            #expect(other.isRunning)
        }
    }

    @Test("noise on the line before a client and a damaged conversation do not wedge it")
    func noise() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        let relay = try RelayProcess(device: line.device)
        let boot = try RawClient(line.path)
        try boot.write(Array("SeaBIOS (version 1.16)\r\nBooting\u{1B}[0m\r\n".utf8) + [0xFF, 0xFF, 0, 0xFF, 0x53, 0x20])
        Thread.sleep(forTimeInterval: 0.2)
        boot.close()
        let client = try ControlClient(serialSocket: line.path, timeout: 60)
        try client.ping()
        // A mark that means nothing cannot come from a client.
        _ = consume client
        let vandal = try RawClient(line.path)
        try vandal.write([0xFF, 0x00])
        let end = try relay.finish()
        #expect(end?.status == 1)
        #expect(end?.said.contains("bytes of the client are lost or damaged") == true, "\(String(describing: end))")
    }

    @Test("the end of the control connection ends it, after the last words")
    func serverEnds() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        let relay = try RelayProcess(device: line.device)
        let client = try ControlClient(serialSocket: line.path, timeout: 60)
        #expect(throws: ControlClientError.disconnected("it was asked to")) { try client.exec(exec("quit")).finish() }
        let end = try relay.finish()
        #expect(end?.status == 0)
        #expect(end?.said == "tether-relay: PID 1 closed the control connection\n")
    }

    @Test("it has no rights, and no descriptor but its own")
    func rights() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        let relay = try RelayProcess(device: line.device)
        let client = try ControlClient(serialSocket: line.path, timeout: 60)
        try client.ping()
        let status = try Files.readText("/proc/\(relay.pid)/status").split(separator: "\n").map(String.init)
        func field(_ name: String) -> String? {
            status.first { $0.hasPrefix(name + ":") }?.dropFirst(name.count + 1).split(separator: "\t").joined(separator: " ")
        }
        #expect(geteuid() == 0, "this test looks at what root gives up")
        #expect(field("Uid") == "2147480000 2147480000 2147480000 2147480000")
        #expect(field("Gid") == "2147480000 2147480000 2147480000 2147480000")
        #expect((field("Groups") ?? "").trimmingCharacters(in: .whitespaces).isEmpty)
        #expect(field("CapPrm") == "0000000000000000" && field("CapEff") == "0000000000000000")
        #expect(field("NoNewPrivs") == "1")
        #expect(try Files.list("/proc/\(relay.pid)/fd").count == 5)
        let limits = try Files.readText("/proc/\(relay.pid)/limits")
        #expect(limits.split(separator: "\n").contains { $0.hasPrefix("Max open files") && $0.contains(" 2 ") })
        #expect(limits.split(separator: "\n").contains { $0.hasPrefix("Max processes") && $0.contains(" 0 ") })
    }

    @Test("the line is raw: eight bits, no flow control, no hang-up, no echo")
    func raw() throws {
        let line = try SerialLineModel()
        line.start()
        defer { line.stop() }
        // As somebody left it who had flow control and parity in both directions.
        var settings = termios()
        let device = try FileDescriptor.open(line.device, O_RDWR | O_NOCTTY)
        try attempt("tcgetattr", line.device) { tcgetattr(device.rawValue, &settings) }
        settings.c_iflag |= tcflag_t(IXON | IXOFF | IXANY | INPCK)
        try attempt("tcsetattr", line.device) { tcsetattr(device.rawValue, TCSANOW, &settings) }
        let relay = try RelayProcess(device: line.device)
        let client = try ControlClient(serialSocket: line.path, timeout: 60)
        try client.ping()
        try attempt("tcgetattr", line.device) { tcgetattr(device.rawValue, &settings) }
        #expect(settings.c_iflag & tcflag_t(IXON | IXOFF | IXANY | INPCK | ICRNL | INLCR | IGNCR | ISTRIP | BRKINT | PARMRK) == 0)
        #expect(settings.c_oflag & tcflag_t(OPOST) == 0)
        #expect(settings.c_lflag & tcflag_t(ECHO | ICANON | ISIG | IEXTEN) == 0)
        #expect(settings.c_cflag & tcflag_t(CSIZE) == tcflag_t(CS8) && settings.c_cflag & tcflag_t(CLOCAL) != 0)
        #expect(settings.c_cflag & tcflag_t(HUPCL | PARENB | CSTOPB) == 0 && settings.c_cflag & tcflag_t(CRTSCTS) == 0)
        #expect(relay.isRunning)
    }

    @Test("what it cannot do it says", arguments: ["/nowhere/ttyS9", "/"])
    func failures(_ device: String) throws {
        let relay = try RelayProcess(device: device)
        let end = try #require(try relay.finish())
        #expect(end.status == 1 && end.said.hasPrefix("tether-relay: open \(device): "), "\(end)")
    }

    @Test("when the bed of these tests goes, what was opened since under the number of its socket stays open")
    func bedClosesOnce() throws {
        let null = try FileDescriptor.open("/dev/null", O_RDONLY)
        for _ in 0..<50 {
            var relay: RelayProcess? = try RelayProcess(device: "/nowhere")
            _ = try relay?.finish()
            let number = try #require(relay?.lentNumber)
            let own = try attempt("fcntl F_DUPFD_CLOEXEC") { fcntl(null.rawValue, F_DUPFD_CLOEXEC, number) }
            relay = nil
            let isOpen = fcntl(own, F_GETFD) >= 0
            if isOpen { _ = close(own) }
            // Where a test beside this one has the number, the next bed has another.
            if own == number {
                #expect(isOpen)
                return
            }
        }
        Issue.record("another test has had the number each time")
    }
}

/// A client on a thread of its own, which connects and is answered once.
private final class NextClient: @unchecked Sendable {  // `outcome` is read behind the semaphore
    private var outcome = ""
    private let finished = DispatchSemaphore(value: 0)

    init(_ path: String) {
        Thread.detachNewThread {
            do throws(ControlClientError) {
                try ControlClient(serialSocket: path, timeout: 60).ping()
                self.outcome = "done"
            } catch { self.outcome = error.description }
            self.finished.signal()
        }
    }

    func wait() -> String {
        finished.wait()
        return outcome
    }
}

/// A connection that is no client.
private struct RawClient {
    private let handle: FileHandle

    init(_ path: String) throws {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
        let number = try attempt("socket") { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }
        handle = FileHandle(fileDescriptor: number, closeOnDealloc: true)
        try attempt("connect", path) { () -> Int32 in
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(number, __CONST_SOCKADDR_ARG(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
    }

    func write(_ bytes: [UInt8]) throws { try handle.write(contentsOf: Data(bytes)) }
    func close() { try? handle.close() }
}
