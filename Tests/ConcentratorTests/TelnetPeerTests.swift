import CLinux
import Foundation
import LineEndpoint
import Linux
import Testing

/// A telnet server that others wrote, and that sits before serial ports: QEMU's. Behind it is QEMU's monitor, which says what it got.
@Suite("Line endpoints: QEMU's telnet server", .serialized) struct TelnetPeerTests {
    private final class Peer {
        let process = Process()
        private(set) var port: UInt16 = 0

        init() throws {
            let errors = Foundation.Pipe()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [
                "qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-chardev",
                "socket,id=line,host=127.0.0.1,port=0,server=on,wait=on,telnet=on", "-mon", "chardev=line,mode=control",
            ]
            process.standardInput = FileHandle.nullDevice
            process.standardError = errors
            try process.run()
            var text = ""
            while !text.hasSuffix("\n") {
                let more = errors.fileHandleForReading.availableData
                try #require(!more.isEmpty, "\(text)")
                text += String(decoding: more, as: UTF8.self)
            }
            port = try #require(text.firstMatch(of: /telnet:127\.0\.0\.1:(\d+)/).flatMap { UInt16($0.1) }, "\(text)")
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }
    }

    @Test("the first question of the handshake leaves at once, behind what telnet offers")
    func handshake() throws {
        let listener = try Sockets.listen(host: "127.0.0.1", port: 0)
        let bound = Sockets.port(of: listener)
        let port = try #require(bound)
        let number = listener.rawValue
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var asked: [UInt8] = []
        let thread = Thread {
            var waiting = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
            poll(&waiting, 1, 60_000)
            let peer = accept(number, __SOCKADDR_ARG(__sockaddr__: nil), nil)
            // Before the client asks a second time.
            let deadline = Deadline.after(milliseconds: 400)
            while !deadline.hasPassed, !asked.contains(0x16) {
                var (ready, bytes) = (pollfd(fd: peer, events: Int16(POLLIN), revents: 0), [UInt8](repeating: 0, count: 256))
                guard poll(&ready, 1, deadline.pollTimeout) > 0 else { continue }
                let count = read(peer, &bytes, bytes.count)
                asked += bytes.prefix(max(0, count))
            }
            close(peer)
            done.signal()
        }
        thread.start()
        let line = try LineConnection(to: .telnet(host: "127.0.0.1", port: port))
        #expect(throws: EndpointError.self) { _ = try line.synchronise(milliseconds: 10_000) }
        done.wait()
        #expect(asked.first == 255 && asked.dropLast().last == 0x16, "\(asked)")
    }

    /// Reads until what came ends with a line that has `text`.
    private func wait(for text: String, on line: LineConnection) throws -> [UInt8] {
        let deadline = Deadline.after(milliseconds: 60_000)
        var got: [UInt8] = []
        while !(got.last == UInt8(ascii: "\n") && String(decoding: got, as: UTF8.self).contains(text)) {
            try #require(!deadline.hasPassed, "\(String(decoding: got, as: UTF8.self))")
            try line.flush()
            var watched = pollfd(fd: line.rawValue, events: Int16(POLLIN), revents: 0)
            poll(&watched, 1, 100)
            switch try line.read() {
            case .nothing: break
            case .bytes(let bytes): got += bytes
            case .closed: throw EndpointError("read", "the line", "it was closed after \(String(decoding: got, as: UTF8.self))")
            }
        }
        return got
    }

    @Test("options are agreed on, and are no data; a byte that telnet gives a meaning arrives as it is")
    func peer() throws {
        let peer = try Peer()
        let line = try LineConnection(to: Endpoint("telnet://127.0.0.1:\(peer.port)"))
        let greeting = try wait(for: "QMP", on: line)
        #expect(greeting.starts(with: Array("{\"QMP\": ".utf8)), "what was agreed on is in what was read: \(greeting.prefix(30))")
        line.send(Array("{\"execute\": \"qmp_capabilities\"}\n".utf8)[...])
        #expect(try wait(for: "return", on: line).starts(with: Array("{\"return\": {}}".utf8)))
        // 255 is telnet's own. One that is not doubled takes the "y" along, as a command; the monitor shows what is no UTF-8 so.
        line.send([UInt8](ascii("{\"execute\": \"x") + [255] + ascii("y\"}\n"))[...])
        let complaint = String(decoding: try wait(for: "error", on: line), as: UTF8.self)
        #expect(complaint.contains(#"\"x\uFFFD"#), "\(complaint)")
        // Many at once, however they are cut into segments.
        line.send(
            [UInt8](ascii("\n{\"id\": \"") + [UInt8](repeating: 0x61, count: 60_000) + ascii("\", \"execute\": \"query-name\"}\n"))[...])
        let answer = try wait(for: "\"return\"", on: line)
        #expect(answer.count { $0 == 0x61 } >= 60_000, "\(answer.count) bytes")
    }

    private func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }
}
