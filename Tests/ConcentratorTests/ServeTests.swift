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
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
        #expect(late.process.terminationStatus == 255 && why.contains("nobody answered in time"), "\(why)")

        let unread = try Program(["proxy", directory + "/silent"])
        usleep(200_000)
        try unread.output.fileHandleForReading.close()
        unread.process.waitUntilExit()
        #expect(unread.process.terminationStatus == 0)
        _ = silent.rawValue
    }

    @Test("proxy with sockets for its streams ends when they are closed, and what was written last still reaches the guest")
    func socketStreams() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/attach.sock"
        let seen = Lines()
        try collect(path, seen)
        // Before there is an answer, too.
        let silent = try Sockets.listen(path: directory + "/silent")
        for (endpoint, isSilent) in [(path, false), (directory + "/silent", true)] {
            var ends: [Int32] = [-1, -1]
            try attempt("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) }
            let process = Process()
            process.executableURL = try builtProgram("tetherctl")
            process.arguments = ["proxy", endpoint]
            let stream = FileHandle(fileDescriptor: ends[1], closeOnDealloc: true)
            process.standardInput = stream
            process.standardOutput = stream
            process.standardError = FileHandle.nullDevice
            try process.run()
            try stream.close()
            if !isSilent {
                var byte: UInt8 = 0
                #expect(read(ends[0], &byte, 1) == 1)
                _ = write(ends[0], "good-bye", 8)
            } else {
                usleep(300_000)
            }
            close(ends[0])
            let deadline = Deadline.after(milliseconds: 60_000)
            while process.isRunning, !deadline.hasPassed { usleep(10_000) }
            #expect(!process.isRunning)
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            if isSilent { continue }
            while !seen.text.hasSuffix("good-bye"), !deadline.hasPassed { usleep(10_000) }
            #expect(seen.text == "good-bye")
        }
        _ = silent.rawValue
    }

    private final class Lines: @unchecked Sendable {
        private let lock = NSLock()
        private var bytes: [UInt8] = []
        func add(_ more: some Sequence<UInt8>) { lock.withLock { bytes += more } }
        var text: String { lock.withLock { String(decoding: bytes, as: UTF8.self) } }
    }

    /// A guest that says one byte and keeps what it is told.
    private func collect(_ path: String, _ seen: Lines) throws {
        let listener = try Sockets.listen(path: path).take()
        Thread.detachNewThread {
            let listener = FileDescriptor(owning: listener)
            var accepted: (descriptor: Int32, peer: String)?
            while accepted == nil {
                usleep(1000)
                accepted = (try? Sockets.accept(listener)) ?? nil
            }
            guard let number = accepted?.descriptor, let line = try? LineConnection(FileDescriptor(owning: number), name: "guest")
            else { return }
            var guest = HandshakeResponder(seed: 1)
            var isOpen = false
            while true {
                try? line.flush()
                switch (try? line.read()) ?? .closed {
                case .closed: return
                case .nothing: usleep(500)
                case .bytes(let bytes) where isOpen: seen.add(bytes)
                case .bytes(let bytes):
                    switch bytes.withUnsafeBytes({ guest.receive($0, now: Clock.monotonic()) }) {
                    case .reply(let reply): line.send(reply[...])
                    case .synchronised(let reply, let rest):
                        isOpen = true
                        line.send((reply + [33])[...])
                        seen.add(rest)
                    case .nothing, .banner: break
                    }
                }
            }
        }
    }

    @Test("serve replaces a socket that was left, and nothing else; the path of its own is its owner's alone")
    func socketFile() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        func failure(_ path: String) throws -> String {
            let serve = try Program(["serve", "--listen", "127.0.0.1:0", "--socket", path])
            serve.process.waitUntilExit()
            #expect(serve.process.terminationStatus == 1)
            return String(decoding: serve.errors.fileHandleForReading.availableData, as: UTF8.self)
        }
        let notes = directory + "/notes.txt"
        try Data("precious".utf8).write(to: URL(fileURLWithPath: notes))
        try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: notes)
        #expect(try failure(notes) == "tetherctl: listen on \(notes): File exists\n")
        #expect(try failure(directory + "/link") == "tetherctl: listen on \(directory)/link: File exists\n")
        #expect(try String(contentsOfFile: notes, encoding: .utf8) == "precious")
        #expect(try failure("") == "tetherctl: listen on an empty path: Invalid argument\n")
        // A port that is taken leaves no socket behind.
        let taken = try Sockets.listen(host: "127.0.0.1", port: 0)
        let port = Sockets.port(of: taken) ?? 0
        let serve = try Program(["serve", "--listen", "127.0.0.1:\(port)", "--socket", directory + "/serve.sock"])
        serve.process.waitUntilExit()
        #expect(serve.process.terminationStatus == 1 && !FileManager.default.fileExists(atPath: directory + "/serve.sock"))
        // A socket that another one has replaced meanwhile stays.
        let path = directory + "/own.sock"
        let first = try Sockets.listen(path: path)
        let file = try #require(SocketFile(path))
        unlink(path)
        let second = try Sockets.listen(path: path)
        file.remove()
        #expect(FileManager.default.fileExists(atPath: path))
        SocketFile(path)?.remove()
        #expect(!FileManager.default.fileExists(atPath: path))
        _ = (first.rawValue, second.rawValue)
    }

    /// So many descriptors may the process have: as many as it has.
    private func exhaust(_ process: pid_t) throws -> rlim_t {
        let used = Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { rlim_t($0) })
        var limit = rlimit()
        try attempt("prlimit") { prlimit(process, __rlimit_resource(RLIMIT_NOFILE.rawValue), nil, &limit) }
        let before = limit.rlim_cur
        limit.rlim_cur = (0...).first { !used.contains($0) } ?? 0
        try attempt("prlimit") { prlimit(process, __rlimit_resource(RLIMIT_NOFILE.rawValue), &limit, nil) }
        return before
    }

    @Test("a VM that moves while descriptors have run out goes on when there are some again, and its line was never lost")
    func moveWithoutDescriptors() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let socket = directory + "/serve.sock"
        let serve = try Program(["serve", "--listen", "127.0.0.1:0", "--socket", socket])
        let greeting = String(decoding: serve.errors.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(greeting.firstMatch(of: /port (\d+),/).flatMap { UInt16($0.1) }, "\(greeting)")
        let source = try Host(port: port, uuid: "1")
        try source.wait("the VM in the list") { (try? ConcentratorClient.list(path: socket))?.first?.contains("\"uuid\":\"1\"") == true }
        let borrower = try Borrower(path: socket, "1")
        source.say { $0.beginMove([7]) }
        try run([source], [borrower], "the go-ahead") { !source.events.isEmpty && source.events.last != .proxyGranted(true) }
        guard case .moveMayBegin(let identity)? = source.events.last else { throw EndpointError("move", "", "\(source.events)") }

        let before = try exhaust(serve.process.processIdentifier)
        let target = try Host(port: port, uuid: "1", identity: identity)
        var said = ""
        while !said.contains("VMs wait for a second: accept4: Too many open files") {
            try target.step()
            let more = serve.errors.fileHandleForReading.availableData
            try #require(!more.isEmpty, "\(said)")
            said += String(decoding: more, as: UTF8.self)
        }
        // Who is there already is served.
        source.send([1, 2, 3])
        try run([source, target], [borrower], "the VM's bytes by its old host") { borrower.data == [1, 2, 3] }
        #expect(!target.events.contains(.movedAccepted))

        var limit = rlimit(rlim_cur: before, rlim_max: before)
        try attempt("prlimit") { prlimit(serve.process.processIdentifier, __rlimit_resource(RLIMIT_NOFILE.rawValue), &limit, nil) }
        try run([source, target], [borrower], "the acceptance") { target.events.contains(.movedAccepted) }
        target.say { $0.completeMove([7]) }
        target.send([4])
        borrower.send([5])
        try run([target], [borrower], "both bytes by the new host") { borrower.data == [1, 2, 3, 4] && target.data == [5] }
        #expect(!borrower.isClosed)
    }

    @Test("serve goes on when nobody reads what it says")
    func unreadMessages() throws {
        let directory = try directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let socket = directory + "/serve.sock"
        let serve = try Program(["serve", "--listen", "127.0.0.1:0", "--socket", socket])
        let greeting = String(decoding: serve.errors.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(greeting.firstMatch(of: /port (\d+),/).flatMap { UInt16($0.1) }, "\(greeting)")
        // Each comes and goes with a line of about 40 bytes; a pipe holds 64 KiB.
        for _ in 0..<4000 { _ = try Sockets.connect(host: "127.0.0.1", port: port) }
        #expect(try ConcentratorClient.list(path: socket).count < 4000)
        var said = ""
        while !said.contains("messages were left out") {
            _ = try Sockets.connect(host: "127.0.0.1", port: port)
            let more = serve.errors.fileHandleForReading.availableData
            try #require(!more.isEmpty, "it has ended: \(said.suffix(2000))")
            said = String((said + String(decoding: more, as: UTF8.self)).suffix(200_000))
        }
    }
}
