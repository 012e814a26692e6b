import CLinux
import Foundation
import Linux
import SSH
import TestSupport
import Testing

/// A host key that is not known: the question that a person is asked, by the program itself at a terminal.
@Suite("Attach client: the question about a host key", .serialized) struct QuestionTests {
    /// tetherctl with a terminal and a home directory of its own.
    private final class Person {
        let process = Process()
        private let master: Int32
        private let home: String
        private(set) var text = ""

        init(_ arguments: [String]) throws {
            home = NSTemporaryDirectory() + "tether-question-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
            let path: String
            (master, path) = try openTerminal()
            let slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
            let terminal = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
            let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            let program = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("tetherctl").path
            process.executableURL = URL(fileURLWithPath: "/usr/bin/setsid")
            process.arguments = ["--ctty", "--wait", program] + arguments
            process.environment = ["HOME": home, "XDG_CONFIG_HOME": home, "PATH": "/usr/bin:/bin"]
            (process.standardInput, process.standardOutput, process.standardError) = (terminal, terminal, terminal)
            // The threads that tests run in block signals, and what they start would too: nobody's terminal does that.
            var (none, before) = (sigset_t(), sigset_t())
            sigemptyset(&none)
            pthread_sigmask(SIG_SETMASK, &none, &before)
            defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            close(master)
            try? FileManager.default.removeItem(atPath: home)
        }

        func type(_ text: String) { _ = text.withCString { write(master, $0, strlen($0)) } }

        private func read() {
            var watched = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
            var bytes = [UInt8](repeating: 0, count: 4096)
            guard poll(&watched, 1, 100) > 0 else { return }
            let count = Glibc.read(master, &bytes, bytes.count)
            if count > 0 { text += String(decoding: bytes[..<count], as: UTF8.self) }
        }

        func wait(for part: String) throws {
            let deadline = Deadline.after(milliseconds: 60_000)
            while !text.contains(part) {
                try #require(!deadline.hasPassed && process.isRunning, "no \(part) in: \(text)")
                read()
            }
        }

        func finish() throws -> Int32 {
            let deadline = Deadline.after(milliseconds: 60_000)
            while process.isRunning {
                try #require(!deadline.hasPassed, "it does not end: \(text)")
                read()
            }
            read()
            return process.terminationStatus
        }

        /// What is remembered.
        var known: String? { try? String(contentsOfFile: home + "/tether/known_hosts", encoding: .utf8) }
    }

    @Test("Ctrl-C is no: the program ends, nothing is remembered, and it does not come again", arguments: ["attach", "ps"])
    func interrupted(_ command: String) throws {
        let guest = try ModelGuest(.init())
        let person = try Person([command, guest.path])
        try person.wait(for: "(yes/no) ")
        #expect(person.text.contains("The VM at \(guest.path) is not known yet"))
        person.type("\u{3}")
        #expect(try person.finish() != 0, "\(person.text)")
        #expect(person.known == nil && guest.connections == 1)
        // attach, which has signals of its own, says what it ends for; ps ends by the signal.
        if command == "attach" { #expect(person.text.contains("is not known\r\n"), "\(person.text)") }
    }

    @Test("no is no, and yes is remembered")
    func answered() throws {
        let guest = try ModelGuest(.init())
        for answer in ["no", "y", ""] {
            let person = try Person(["ps", guest.path])
            try person.wait(for: "(yes/no) ")
            person.type("\(answer)\r")
            #expect(try person.finish() == 1 && person.known == nil && person.text.contains("is not known\r\n"), "\(person.text)")
        }
        let person = try Person(["ps", guest.path])
        try person.wait(for: "(yes/no) ")
        person.type("yes\r")
        _ = try person.finish()
        let key = try #require(ModelGuest.hostKey).publicKey.line
        #expect(person.known == "\(guest.path) \(key)\n", "\(person.text)")
    }
}
