import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH
import Testing

/// OpenSSH's agent, and keys that ssh-keygen made, in a directory of their own.
final class AgentBed {
    /// Of all keys that have one; ssh-keygen wants five characters.
    static let phrase = "sesame"

    let directory: String
    var socket: String { "\(directory)/agent.sock" }
    private let agent = Process()

    init() throws {
        var template = Array("/tmp/tether-agent-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
        try Data("#!/bin/sh\necho \(Self.phrase)\n".utf8).write(to: URL(fileURLWithPath: "\(directory)/askpass"))
        try shell("chmod 700 askpass")
        agent.executableURL = URL(fileURLWithPath: "/usr/bin/ssh-agent")
        agent.arguments = ["-D", "-a", socket]
        agent.standardOutput = FileHandle.nullDevice
        agent.standardError = FileHandle.nullDevice
        try agent.run()
        let deadline = Deadline.after(milliseconds: 60_000)
        while !FileManager.default.fileExists(atPath: socket) {
            try #require(!deadline.hasPassed, "ssh-agent makes no socket")
            usleep(10_000)
        }
    }

    deinit {
        // The tests' threads, and so what they start, may block SIGTERM.
        kill(agent.processIdentifier, SIGKILL)
        agent.waitUntilExit()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func shell(_ command: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-ec", command]
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        var environment = ProcessInfo.processInfo.environment
        environment["SSH_AUTH_SOCK"] = socket
        environment["SSH_ASKPASS"] = "\(directory)/askpass"
        environment["SSH_ASKPASS_REQUIRE"] = "force"
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(command)")
    }

    func makeKey(_ name: String, type: String, phrase: String = "", options: String = "") throws {
        try shell("rm -f \(name) \(name).pub; ssh-keygen -q -t \(type) -N '\(phrase)' -f \(name) \(options)")
    }

    func publicKey(_ name: String) throws -> PublicKey {
        try PublicKey(line: try String(contentsOfFile: "\(directory)/\(name).pub", encoding: .utf8))
    }
}

/// An agent that answers as it is told to.
final class FakeAgent: @unchecked Sendable {
    struct Question {
        var key: [UInt8] = []
        var data: [UInt8] = []
    }

    /// What the thread and its owner share.
    private final class Shared: @unchecked Sendable {
        private let lock = NSLock()
        private var asked: [Question] = []
        private var ended = false
        var questions: [Question] { lock.withLock { asked } }
        var isOver: Bool { lock.withLock { ended } }
        func add(_ question: Question) { lock.withLock { asked.append(question) } }
        func end() { lock.withLock { ended = true } }
    }

    let path: String
    private let shared = Shared()

    /// - Parameter answer: what is sent before the connection is closed; nil leaves the question without an answer.
    init(_ answer: @escaping (Question) -> [UInt8]?) throws {
        path = "/tmp/tether-fake-agent-\(UUID().uuidString.prefix(8))"
        let listener = try Sockets.listen(path: path).take()
        // The closure is used by that thread alone.
        nonisolated(unsafe) let answer = answer
        let thread = Thread { [shared] in Self.serve(FileDescriptor(owning: listener), shared, answer) }
        thread.start()
    }

    deinit {
        shared.end()
        unlink(path)
    }

    var questions: [Question] { shared.questions }

    static func signature(_ bytes: [UInt8]) -> [UInt8] {
        var message = WireWriter(message: 14)
        message.string(bytes)
        var frame = WireWriter()
        frame.string(message.bytes)
        return frame.bytes
    }

    private static func serve(_ listener: consuming FileDescriptor, _ shared: Shared, _ answer: (Question) -> [UInt8]?) {
        var kept: [Int32] = []
        while !shared.isOver {
            guard let accepted = (try? Sockets.accept(listener)) ?? nil else {
                usleep(1000)
                continue
            }
            // A question comes whole: it is short.
            var watched = pollfd(fd: accepted.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&watched, 1, 5000)
            var bytes = [UInt8](repeating: 0, count: 8192)
            let count = max(0, read(accepted.descriptor, &bytes, bytes.count))
            var reader = WireReader(Array(bytes[..<count]), from: 5)
            let question = count > 5 ? Question(key: reader.string(), data: reader.string()) : Question()
            shared.add(question)
            guard let reply = answer(question) else {
                kept.append(accepted.descriptor)
                continue
            }
            _ = send(accepted.descriptor, reply, reply.count, Int32(MSG_NOSIGNAL))
            // It is read before the end: closing a socket with unread bytes would lose the answer.
            close(accepted.descriptor)
        }
        for descriptor in kept { close(descriptor) }
    }
}
