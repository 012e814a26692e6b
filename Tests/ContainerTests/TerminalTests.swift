import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Terminals of the container's own devpts.
extension ContainerSystemTests {
    @Suite struct TerminalTests {
        private func type(_ text: String, _ terminal: Int32) { _ = text.withCString { Glibc.write(terminal, $0, strlen($0)) } }

        /// Waits until a program is in the terminal's foreground group, that is, until keys reach it.
        private func untilForeground(_ program: String, _ terminal: Int32) throws {
            let deadline = Deadline.after(milliseconds: 60_000)
            while !deadline.hasPassed {
                let group = tcgetpgrp(terminal)
                for process in entries("/proc") where Int32(process).map({ getpgid($0) }) == group {
                    let words = (try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/cmdline"))) ?? Data()
                    if words.starts(with: Data("\(program)\0".utf8)) { return }
                }
                usleep(10_000)
            }
            try #require(Bool(false), "\(program) has not come to the foreground")
        }

        @Test func aTerminalIsTheContainersOwn() throws {
            var spec = shell("tty; stty size; ls -l /dev/pts/0; readlink /proc/self/fd/0; exit 5")
            spec.process.user.uid = 1000
            let container = try start(spec, in: Root(), Placement(streams: .terminal(ConsoleSize(rows: 33, columns: 101))))
            defer { end(container) }
            #expect(container.process.stdin == -1 && container.process.stdout == -1)
            let text = read(container.process.terminal, until: { $0.contains("fd/0") })
            #expect(text.contains("/dev/pts/0\r\n33 101\r\n"))
            #expect(text.contains("crw--w----    1 1000     5 "))
        }

        @Test func aTerminalBeginsWithTheModesThatItIsGiven() throws {
            var modes = TerminalSettings()
            // VERASE, VINTR, none of it; IXON, ECHO, ONLCR and the speed; and what Linux does not have.
            for (opcode, value) in [(3, 8), (1, 255), (38, 0), (53, 0), (36, 1), (129, 9600), (11, 25), (90, 1)] as [(UInt8, UInt32)] {
                modes.set(opcode, value)
            }
            // It is the first that the process finds, every time: nothing is set behind its back.
            for _ in 0..<5 {
                let container = try start(
                    shell("stty -a"), in: Root(), Placement(streams: .terminal(ConsoleSize(rows: 33, columns: 101), modes)))
                defer { end(container) }
                let text = read(container.process.terminal)
                let parts = ["erase = ^H;", "intr = <undef>;", "kill = ^U;", "speed 9600 baud", "rows 33", " -ixon ", " icrnl ", " -echo "]
                for part in parts {
                    #expect(text.replacingOccurrences(of: "\r\n", with: " ").contains(part), "\(part): \(text)")
                }
            }
            let plain = try start(shell("stty -a"), in: Root(), Placement(streams: .terminal(nil)))
            defer { end(plain) }
            let text = read(plain.process.terminal)
            #expect(text.contains("erase = ^?;") && text.contains("intr = ^C;") && !text.contains("-ixon") && !text.contains("-echo "))
        }

        @Test func theConsoleIsTheTerminal() throws {
            let container = try start(
                shell("echo to the console > /dev/console; stat -c %t:%T /dev/console /dev/pts/0"), in: Root(),
                Placement(streams: .terminal(nil)))
            defer { end(container) }
            #expect(read(container.process.terminal) == "to the console\r\n88:0\r\n88:0\r\n")
        }

        @Test func controlCInterruptsTheForeground() throws {
            let container = try start(
                shell("trap 'echo interrupted' INT; echo ready; sleep 100; echo $?"), in: Root(), Placement(streams: .terminal(nil)))
            defer { end(container) }
            _ = read(container.process.terminal, until: { $0.contains("ready") })
            try untilForeground("sleep", container.process.terminal)
            type("\u{3}", container.process.terminal)
            #expect(read(container.process.terminal).contains("interrupted\r\n130\r\n"))
        }

        @Test func aResizeReachesTheProcess() throws {
            let container = try start(
                shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"), in: Root(),
                Placement(streams: .terminal(nil)))
            defer { end(container) }
            _ = read(container.process.terminal, until: { $0.contains("ready") })
            try container.process.resize(rows: 50, columns: 132)
            #expect(read(container.process.terminal, until: { $0.contains("132") }).contains("50 132"))
        }

        @Test func theShellOfATerminalHasJobControl() throws {
            let root = try Root()
            for name in ["/bin/bash"] { try FileManager.default.copyItem(atPath: name, toPath: root.path + name) }
            for library in try libraries(of: "/bin/bash") {
                let directory = (library as NSString).deletingLastPathComponent
                try FileManager.default.createDirectory(atPath: root.path + directory, withIntermediateDirectories: true)
                // The content, whatever links lead to it.
                try Data(contentsOf: URL(fileURLWithPath: library)).write(to: URL(fileURLWithPath: root.path + library))
                chmod(root.path + library, 0o755)
            }
            var spec = ContainerSpec(args: ["/bin/bash", "--norc", "-i"])
            spec.process.env = ["PATH=/bin", "PS1=> ", "HOME=/", "TERM=dumb"]
            let container = try start(spec, in: root, Placement(streams: .terminal(ConsoleSize(rows: 24, columns: 80))))
            defer { end(container) }
            let terminal = container.process.terminal
            let greeting = read(terminal, until: { $0.contains("> ") })
            #expect(!greeting.contains("job control"))
            type("sleep 100\n", terminal)
            try untilForeground("sleep", terminal)
            type("\u{1A}", terminal)
            #expect(read(terminal, until: { $0.contains("Stopped") }).contains("Stopped"))
            type("bg; jobs\n", terminal)
            #expect(read(terminal, until: { $0.contains("Running") }).contains("Running"))
            type("exit 7\n", terminal)
            type("exit 7\n", terminal)
            var status: Int32 = 0
            waitpid(container.process.processID, &status, 0)
            #expect(ProcessEnd(waitStatus: status).exitCode == 7)
        }

        private func libraries(of program: String) throws -> [String] {
            let tool = Process()
            let pipe = Foundation.Pipe()
            tool.executableURL = URL(fileURLWithPath: "/usr/bin/ldd")
            tool.arguments = [program]
            tool.standardOutput = pipe
            try tool.run()
            let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            tool.waitUntilExit()
            return text.split(whereSeparator: \.isWhitespace).map(String.init).filter { $0.hasPrefix("/") }
        }
    }
}
