import CLinux
import Foundation
import LineEndpoint
import LineHandshake
import Linux
import Testing
import VSPC

/// The programs `tetherctl serve` and `tetherctl proxy`, from outside.
@Suite("Concentrator: tetherctl serve and proxy", .serialized) struct ServeTests {
    /// A program that this test has started.
    private final class Program {
        let process = Process()
        let input = Foundation.Pipe()
        let output = Foundation.Pipe()
        let errors = Foundation.Pipe()

        init(_ arguments: [String]) throws {
            process.executableURL = try builtProgram("tetherctl")
            process.arguments = arguments
            process.standardInput = input
            process.standardOutput = output
            process.standardError = errors
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }

        var residentKiB: Int {
            let status = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
            return line.split(separator: " ").compactMap { Int($0) }.first ?? 0
        }
    }

    private func directory() throws -> String {
        var template = Array("/tmp/tether-serve-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    @Test("it holds a thousand idle lines in little memory, lists them and lends one")
    func thousand() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let socket = directory + "/serve.sock"
        let serve = try Program(["serve", "--listen", "127.0.0.1:0", "--socket", socket])
        let greeting = String(decoding: serve.errors.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(greeting.firstMatch(of: /port (\d+),/).flatMap { UInt16($0.1) }, "\(greeting)")
        let empty = serve.residentKiB

        var hosts: [(line: LineConnection, session: MachineSession)] = []
        for index in 0..<1000 {
            hosts.append(
                (try LineConnection(to: .tcp(host: "127.0.0.1", port: port)), MachineSession(uuid: "uuid-\(index)", name: "vm\(index)")))
        }
        // Everyone says who it is.
        var lines: [String] = []
        let deadline = Deadline.after(milliseconds: 60_000)
        while lines.filter({ $0.contains("\"name\":\"vm") }).count < 1000 {
            try #require(!deadline.hasPassed, "only \(lines.count) lines are listed")
            for index in hosts.indices {
                if case .bytes(let bytes) = try hosts[index].line.read() { _ = hosts[index].session.receive(bytes[...]) }
                hosts[index].line.send(hosts[index].session.takeOutput()[...])
                try hosts[index].line.flush()
            }
            lines = try ConcentratorClient.list(path: socket)
        }
        #expect(Set(lines).count == 1000)
        let grown = serve.residentKiB - empty
        #expect(grown < 16 * 1024, "a thousand lines take \(grown) KiB")
        print("tetherctl serve: \(empty) KiB without lines, \(grown) KiB more with 1000")

        let borrowed = try LineConnection(to: .concentrator(path: socket, machine: "vm700"))
        borrowed.send([1, 2, 3])
        try borrowed.flush()
        var data: [UInt8] = []
        while data.count < 3 {
            try #require(!deadline.hasPassed)
            if case .bytes(let bytes) = try hosts[700].line.read() {
                for case .data(let more) in hosts[700].session.receive(bytes[...]) { data += more }
            }
            usleep(1000)
        }
        #expect(data == [1, 2, 3])
        let table = try Program(["serve", "--list", "--socket", socket])
        let text = String(decoding: table.output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(text.split(separator: "\n").count == 1001 && text.hasPrefix("NAME"))
        #expect(text.split(separator: "\n").contains { $0.hasPrefix("vm700 ") && $0.contains(" lent ") })
        kill(serve.process.processIdentifier, SIGTERM)
        serve.process.waitUntilExit()
        #expect(serve.process.terminationStatus == 0 && !FileManager.default.fileExists(atPath: socket))
        // Whoever had a line learns that it is gone.
        while try borrowed.read() != .closed { try #require(!deadline.hasPassed) }
    }

    /// A guest that echoes, in a thread, behind a unix socket.
    private func echo(_ path: String, connections: Int) throws {
        let listener = try Sockets.listen(path: path).take()
        Thread.detachNewThread {
            let listener = FileDescriptor(owning: listener)
            for _ in 0..<connections {
                var accepted: (descriptor: Int32, peer: String)?
                while accepted == nil {
                    usleep(1000)
                    accepted = (try? Sockets.accept(listener)) ?? nil
                }
                guard let number = accepted?.descriptor, let line = try? LineConnection(FileDescriptor(owning: number), name: "guest")
                else { return }
                // What a line holds when one opens it.
                line.send(Array("SeaBIOS\r\n\u{6}\u{15}".utf8)[...])
                var guest = HandshakeResponder(seed: 1)
                var isOpen = false
                while true {
                    try? line.flush()
                    let reading = (try? line.read()) ?? .closed
                    if reading == .closed { break }
                    guard case .bytes(let bytes) = reading else {
                        usleep(500)
                        continue
                    }
                    if isOpen {
                        line.send(bytes[...])
                        continue
                    }
                    switch bytes.withUnsafeBytes({ guest.receive($0, now: Clock.monotonic()) }) {
                    case .reply(let reply): line.send(reply[...])
                    case .synchronised(let reply, let rest):
                        isOpen = true
                        line.send((reply + Array("hello ".utf8) + rest)[...])
                    case .nothing, .banner: break
                    }
                }
            }
        }
    }

    @Test("proxy begins the connection, and carries every byte until its reader goes away")
    func proxy() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/attach.sock"
        try echo(path, connections: 2)
        let proxy = try Program(["proxy", path])
        let bytes = noise(1 << 20, seed: 4)
        let writer = proxy.input.fileHandleForWriting
        Thread.detachNewThread {
            try? writer.write(contentsOf: Data(bytes))
            // The end of the input is not the end of the line.
            try? writer.close()
        }
        var got: [UInt8] = []
        while got.count < bytes.count + 6 {
            let data = proxy.output.fileHandleForReading.availableData
            if data.isEmpty { break }
            got += data
        }
        expectSame(got, Array("hello ".utf8) + bytes)
        #expect(proxy.process.isRunning)
        try proxy.output.fileHandleForReading.close()
        proxy.process.waitUntilExit()
        #expect(proxy.process.terminationStatus == 0)
    }

    @Test("proxy says what is wrong: no endpoint, no answer, nobody who reads")
    func failures() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let missing = try Program(["proxy", directory + "/none"])
        missing.process.waitUntilExit()
        let text = String(decoding: missing.errors.fileHandleForReading.availableData, as: UTF8.self)
        #expect(
            missing.process.terminationStatus == 255
                && text == "tetherctl: find the endpoint \(directory)/none: No such file or directory\n")

        let silent = try Sockets.listen(path: directory + "/silent")
        let late = try Program(["proxy", "--timeout", "1", directory + "/silent"])
        late.process.waitUntilExit()
        let why = String(decoding: late.errors.fileHandleForReading.availableData, as: UTF8.self)
        #expect(late.process.terminationStatus == 255 && why.hasSuffix("the guest did not answer in time\n"), "\(why)")

        let unread = try Program(["proxy", directory + "/silent"])
        usleep(200_000)
        try unread.output.fileHandleForReading.close()
        unread.process.waitUntilExit()
        #expect(unread.process.terminationStatus == 0)
        _ = silent.rawValue
    }
}
