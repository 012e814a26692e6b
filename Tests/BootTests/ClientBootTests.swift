import CLinux
import Control
import ControlClient
import Foundation
import LineEndpoint
import TestSupport
import Testing
import VSPC

/// tetherctl as a client of the attach line: run -it, attach, exec and the others, and OpenSSH through tetherctl proxy.
@Suite("Boot: clients of the attach line", .serialized) struct ClientBootTests {
    /// A program with a terminal of its own.
    private final class TerminalProgram {
        let process = Process()
        private let master: Int32
        private let slave: Int32
        private(set) var output: [UInt8] = []
        private let before: termios

        init(_ arguments: [String], rows: UInt16, columns: UInt16) throws {
            let path: String
            (master, path) = try openTerminal()
            slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
            var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
            _ = ioctl(master, UInt(TIOCSWINSZ), &size)
            var settings = termios()
            tcgetattr(slave, &settings)
            before = settings
            let terminal = FileHandle(fileDescriptor: slave, closeOnDealloc: false)
            // setsid gives the program the terminal as its own, so that changes of its size are told.
            process.executableURL = URL(fileURLWithPath: "/usr/bin/setsid")
            process.arguments = ["--ctty", "--wait"] + arguments
            (process.standardInput, process.standardOutput, process.standardError) = (terminal, terminal, terminal)
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGTERM) }
            close(master)
            close(slave)
        }

        func resize(_ rows: UInt16, _ columns: UInt16) {
            var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
            _ = ioctl(master, UInt(TIOCSWINSZ), &size)
        }

        func type(_ text: String) { _ = text.withCString { write(master, $0, strlen($0)) } }

        var text: String { String(decoding: output, as: UTF8.self) }

        /// Reads until the output has `text`.
        func wait(for part: String, seconds: Double = 120) throws {
            let end = Date(timeIntervalSinceNow: seconds)
            while !text.contains(part) {
                try #require(Date() < end, "no \(part) in: \(text)")
                var watched = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
                guard poll(&watched, 1, 200) > 0 else { continue }
                var bytes = [UInt8](repeating: 0, count: 4096)
                let count = read(master, &bytes, bytes.count)
                if count > 0 { output += bytes[..<count] }
            }
        }

        /// What comes next stands alone.
        func forget() { output = [] }

        /// Waits for the program's end.
        func finish(seconds: Double = 60) throws -> Int32 {
            let end = Date(timeIntervalSinceNow: seconds)
            while process.isRunning {
                try #require(Date() < end, "it does not end: \(text)")
                var watched = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
                var bytes = [UInt8](repeating: 0, count: 4096)
                if poll(&watched, 1, 100) > 0 {
                    let count = read(master, &bytes, bytes.count)
                    if count > 0 { output += bytes[..<count] }
                }
            }
            return process.terminationStatus
        }

        /// The terminal is as it was.
        var isRestored: Bool {
            var settings = termios()
            tcgetattr(slave, &settings)
            return settings.c_lflag == before.c_lflag && settings.c_iflag == before.c_iflag && settings.c_oflag == before.c_oflag
        }
    }

    /// What an ESX host does with a VM's line, as a model: connects it to a concentrator.
    private final class HostModel: @unchecked Sendable {
        private let lock = NSLock()
        private var isOver = false
        private let done = DispatchSemaphore(value: 0)

        init(line path: String, port: UInt16) throws {
            nonisolated(unsafe) let line = try LineConnection(to: .socket(path: path))
            nonisolated(unsafe) let proxy = try LineConnection(to: .tcp(host: "127.0.0.1", port: port))
            let thread = Thread { [self] in
                var session = MachineSession(uuid: "564d 0001", name: "app1")
                while !lock.withLock({ isOver }) {
                    var isIdle = true
                    if case .bytes(let bytes)? = try? line.read() {
                        session.send(bytes[...])
                        isIdle = false
                    }
                    if case .bytes(let bytes)? = try? proxy.read() {
                        for case .data(let data) in session.receive(bytes[...]) { line.send(data[...]) }
                        isIdle = false
                    }
                    proxy.send(session.takeOutput()[...])
                    try? line.flush()
                    try? proxy.flush()
                    if isIdle { usleep(500) }
                }
                line.close()
                proxy.close()
                done.signal()
            }
            thread.start()
        }

        func close() {
            lock.withLock { isOver = true }
            done.wait()
        }
    }

    private func arguments(_ options: [String]) throws -> [String] {
        [
            try Build.path("tetherctl"), "run", "--iso", try Build.path("tether.iso"), "--image", try Build.path("sample.vmdk"),
            "--timeout", "1200",
        ]
            + options
    }

    @Test("run -it gives the container this terminal: its size, its keys, its changes; the exit status is the container's")
    func runInteractive() throws {
        let script = "stty size; read line; echo \"<$line>\"; trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.2; done"
        let program = try TerminalProgram(try arguments(["-it", "--", "sh", "-c", script]), rows: 33, columns: 111)
        try program.wait(for: "33 111")
        program.type("héllo\r")
        try program.wait(for: "<héllo>")
        try program.wait(for: "ready")
        program.resize(24, 80)
        try program.wait(for: "24 80")
        #expect(try program.finish() == 7)
        #expect(program.isRestored, "the terminal is left as it was")
    }

    @Test("run -t without -i leaves the keyboard as it is: Ctrl-C stops the container")
    func runTerminalOnly() throws {
        let script = "trap 'echo stopped; exit 7' TERM; tty; echo ready; while :; do sleep 0.2; done"
        let program = try TerminalProgram(try arguments(["-t", "--", "sh", "-c", script]), rows: 33, columns: 111)
        try program.wait(for: "ready")
        program.type("\u{3}")
        #expect(try program.finish() == 7)
        #expect(program.text.contains("/dev/pts/") && program.text.contains("stopped"))
    }

    @Test("in run -it, Ctrl-C is the container's")
    func interrupt() throws {
        let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.2; done"
        let program = try TerminalProgram(try arguments(["-it", "--", "sh", "-c", script]), rows: 24, columns: 80)
        try program.wait(for: "ready")
        program.type("\u{3}")
        try program.wait(for: "caught")
        #expect(try program.finish() == 3)
    }

    @Test("run -i at a terminal: an end of input is for one process, and what is typed later for the next one")
    func inputAnew() throws {
        let scratch = try Scratch()
        let script = "read a; echo got $a; cat >/dev/null; echo over; [ $a = end ]"
        let config = configuration(["sh", "-c", script]) { config, _ in config["tether"] = ["restart": "on-failure"] }
        let file = try scratch.write("config.json", JSONSerialization.data(withJSONObject: config))
        let program = try TerminalProgram(try arguments(["-i", "--config", file]), rows: 24, columns: 80)
        for word in ["one", "end"] {
            program.type("\(word)\n")
            try program.wait(for: "got \(word)")
            program.type("\u{4}")
            try program.wait(for: "over")
            program.forget()
        }
        #expect(try program.finish() == 0, "\(program.text)")
    }

    @Test("run -i passes on standard input and its end; streams stay apart, and nothing is lost")
    func runInput() throws {
        var state: UInt64 = 1
        let input = Data(
            (0..<300_000).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1
                return UInt8(truncatingIfNeeded: state >> 40)
            })
        let finished = try run(try arguments(["-i", "--", "sh", "-c", "echo first >&2; cat; echo last >&2; exit 5"]), input: input)
        #expect(finished.status == 5)
        #expect(finished.stdout == input, "\(finished.stdout.count) of \(input.count) bytes")
        #expect(finished.errorText == "first\nlast\n")
    }

    @Test("run -i whose input somebody else ended before all of it was sent says so, and ends with 125 whatever the container did")
    func lostInput() throws {
        let scratch = try Scratch()
        // Somebody else: who speaks the control protocol, on a fourth serial port.
        let control = scratch.file("control.sock")
        let script = "trap : USR1; echo ready; sleep 250 & wait; kill $!; cat >/dev/null; exit 0"
        let config = configuration(["sh", "-c", script]) { config, _ in
            config["tether"] = ["control": ["device": "/dev/ttyS3"]]
        }
        let file = try scratch.write("config.json", JSONSerialization.data(withJSONObject: config))
        let port = [
            "-chardev", "socket,id=control,path=\(control),server=on,wait=off", "-device", "isa-serial,chardev=control,iobase=0x2e8,irq=5",
        ]
        let program = Process()
        let (output, errors) = (Foundation.Pipe(), Foundation.Pipe())
        let input = try scratch.write("input", Data(count: 1 << 20))
        let command = try arguments(["-i", "--config", file] + port.flatMap { ["--qemu-arg", $0] })
        program.executableURL = URL(fileURLWithPath: command[0])
        program.arguments = Array(command.dropFirst())
        (program.standardInput, program.standardOutput, program.standardError) = (FileHandle(forReadingAtPath: input), output, errors)
        try program.run()
        defer { if program.isRunning { program.terminate() } }
        #expect(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self) == "ready\n")
        let client = try ControlClient(serialSocket: control, timeout: 60)
        let attached = try client.attach(AttachRequest(wantsStdin: true))
        // The process reads nothing: no more is taken, and the client has some that waits. The end has its place behind what was taken.
        Thread.sleep(forTimeInterval: 3)
        try attached.closeStdin()
        try client.ping()
        try attached.signal(UInt8(SIGUSR1))
        let said = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
        #expect(said.contains(" was ended before ") && said.contains(" bytes or more of it were sent"), "\(said)")
        program.waitUntilExit()
        let rest = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
        #expect(program.terminationStatus == 125, "\(program.terminationStatus)")
        #expect(rest.contains("not all input may have reached it"), "\(rest)")
    }

    @Test("attach, exec, ps, signal, stats and stop over the VM's line, and OpenSSH through proxy")
    func commands() throws {
        let scratch = try Scratch()
        let key = scratch.file("key")
        try #require(try run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]).status == 0)
        let line = try String(contentsOfFile: key + ".pub", encoding: .utf8).trimmingCharacters(in: .newlines)
        let traps = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo bye; exit 9' TERM"
        let script = traps + "; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"
        let config = configuration(["sh", "-c", script]) { config, _ in config["tether"] = ["attach": ["authorizedKeys": [line]]] }
        let data = try JSONSerialization.data(withJSONObject: config)
        let vm = try RunningProgram(VM.arguments(scratch, rawConfig: data, options: ["--timeout", "1200"]))
        defer { if vm.process.isRunning { vm.process.terminate() } }
        let (socket, keys) = (VM.kept(scratch) + "/attach.sock", VM.kept(scratch) + "/hostkeys")
        for _ in 0..<1200 where !FileManager.default.fileExists(atPath: keys) { Thread.sleep(forTimeInterval: 0.1) }
        // The keys are there before the process is.
        for _ in 0..<600 where (try? String(contentsOfFile: vm.output, encoding: .utf8))?.contains("line 1") != true {
            Thread.sleep(forTimeInterval: 0.1)
        }
        let tetherctl = try Build.path("tetherctl")
        func client(_ command: String, _ options: [String] = [], _ rest: [String] = []) -> [String] {
            ["timeout", "300", tetherctl, command, "--identity", key, "--host-key", keys] + options + [socket] + rest
        }

        let list = try run(client("ps"))
        #expect(list.status == 0 && list.text.hasPrefix("ID ") && list.text.contains(" primary  running "), "\(list.text)\(list.errorText)")

        let work = "pwd; echo \"$A\"; cat; echo err >&2; exit 4"
        let exec = try run(
            client("exec", ["-i", "--env", "A=1 2", "--workdir", "/tmp"], ["--", "sh", "-c", work]), input: Data("in".utf8))
        #expect(exec.status == 4 && exec.text == "/tmp\n1 2\nin" && exec.errorText == "err\n", "\(exec.text)\(exec.errorText)")
        let missing = try run(client("exec", [], ["--", "/no/such/program"]))
        #expect(missing.status == 127 && missing.errorText.contains("/no/such/program"), "\(missing.errorText)")

        // The line is cut in the middle of the input, twice: what was on its way is sent again.
        do {
            let cut = try CutLine(to: socket, at: scratch.file("cut.sock"), after: [40_000, 60_000])
            defer { cut.close() }
            let input = Data((0..<150_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 12) })
            let through = try run(
                ["timeout", "300", tetherctl, "exec", "--identity", key, "--host-key", keys, "-i", cut.path, "--", "cat"], input: input)
            #expect(through.status == 0 && through.stdout == input, "\(through.stdout.count): \(through.errorText)")
            #expect(cut.cuts == 2 && through.errorText.contains("connecting again"), "\(through.errorText)")
        }

        // A client that is killed leaves its process, with the input open.
        do {
            let left = Process()
            let (input, output) = (Foundation.Pipe(), Foundation.Pipe())
            left.executableURL = URL(fileURLWithPath: tetherctl)
            left.arguments = Array(client("exec", ["-i"], ["--", "cat"]).dropFirst(3))
            (left.standardInput, left.standardOutput) = (input, output)
            try left.run()
            try input.fileHandleForWriting.write(contentsOf: Data("x".utf8))
            #expect(output.fileHandleForReading.availableData == Data("x".utf8))
            kill(left.processIdentifier, SIGKILL)
            left.waitUntilExit()
            let listed = try run(client("ps")).text
            let id = try #require(listed.split(separator: "\n").first { $0.contains(" exec ") && $0.contains(" running ") }, "\(listed)")
            #expect(try run(client("signal", ["--session", String(id.prefix { $0 != " " })], ["KILL"])).status == 0)
        }

        let wrong = try run(["timeout", "300", tetherctl, "ps", "--identity", key, "--host-key", "SHA256:AAAA", socket])
        #expect(wrong.status == 1 && wrong.errorText.contains("is not the one that was given"), "\(wrong.errorText)")

        #expect(try run(client("signal", [], ["HUP"])).status == 0)
        let stats = try run(client("stats"))
        let document = try JSONSerialization.jsonObject(with: stats.stdout) as? [String: Any]
        #expect(stats.status == 0 && document?["container"] != nil)

        // OpenSSH, by the command that the manual has.
        let known = try String(contentsOfFile: keys, encoding: .utf8).split(separator: "\n").map { "container \($0)\n" }.joined()
        try scratch.write("known_hosts", Data(known.utf8))
        let ssh = try run([
            "timeout", "300", "ssh", "-F", "/dev/null", "-i", key, "-o", "UserKnownHostsFile=\(scratch.file("known_hosts"))", "-o",
            "BatchMode=yes",
            "-o", "ProxyCommand=\(tetherctl) proxy \(socket)", "container", "echo from $0; exit 6",
        ])
        #expect(ssh.status == 6 && ssh.text.hasPrefix("from "), "\(ssh.text)\(ssh.errorText)")

        // The same over a concentrator.
        do {
            let held = scratch.file("serve.sock")
            let serve = try RunningProgram([tetherctl, "serve", "--listen", "127.0.0.1:0", "--socket", held])
            defer { serve.process.terminate() }
            var port: UInt16?
            for _ in 0..<100 where port == nil {
                Thread.sleep(forTimeInterval: 0.1)
                port = serve.errorText.split(separator: "port ").last.flatMap { UInt16($0.prefix { $0.isNumber }) }
            }
            let host = try HostModel(line: socket, port: try #require(port, "\(serve.errorText)"))
            defer { host.close() }
            var listed = ""
            for _ in 0..<100 where !listed.contains("app1 ") {
                Thread.sleep(forTimeInterval: 0.1)
                listed = try run([tetherctl, "serve", "--list", "--socket", held]).text
            }
            let through = try run([
                "timeout", "300", tetherctl, "exec", "--identity", key, "--host-key", keys, "--vm", "app1", held, "--", "sh", "-c",
                "head -c 100000 /dev/zero; exit 8",
            ])
            #expect(
                through.status == 8 && through.stdout == Data(count: 100_000), "\(through.stdout.count): \(through.errorText), \(listed)")
        }

        // A client that follows to the end. It is the first, and gets what is kept from the beginning.
        let follower = Process()
        let output = Foundation.Pipe()
        follower.executableURL = URL(fileURLWithPath: tetherctl)
        follower.arguments = Array(client("attach", ["--no-stdin"]).dropFirst(3))
        follower.standardOutput = output
        try follower.run()
        var text = ""
        func read(until part: String) throws {
            while !text.contains(part) {
                let more = output.fileHandleForReading.availableData
                try #require(!more.isEmpty, "the client has ended without \(part): \(text)")
                text += String(decoding: more, as: UTF8.self)
            }
        }
        try read(until: "line 3\n")
        // A signal to the client is one to the process.
        kill(follower.processIdentifier, SIGUSR1)
        try read(until: "usr1\n")
        kill(follower.processIdentifier, SIGTERM)
        while true {
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { break }
            text += String(decoding: more, as: UTF8.self)
        }
        follower.waitUntilExit()
        #expect(text.hasPrefix("line 1\nline 2\n") && text.hasSuffix("bye\n") && text.contains("\nhup\n"), "\(text)")
        #expect(follower.terminationStatus == 9)
        let finished = try vm.finish()
        #expect(finished.status == 9, "\(finished.errorText)")
    }

    @Test("stop over the line ends the VM with the container's status; signal reaches a session")
    func stop() throws {
        let scratch = try Scratch()
        let script = "trap 'echo got it' USR2; trap 'exit 11' QUIT; echo ready; while :; do sleep 0.2; done"
        let config = configuration(["sh", "-c", script]) { config, _ in config["tether"] = ["attach": ["authentication": "none"]] }
        let data = try JSONSerialization.data(withJSONObject: config)
        let vm = try RunningProgram(VM.arguments(scratch, rawConfig: data, options: ["--timeout", "1200"]))
        defer { if vm.process.isRunning { vm.process.terminate() } }
        let (socket, keys) = (VM.kept(scratch) + "/attach.sock", VM.kept(scratch) + "/hostkeys")
        for _ in 0..<1200 where !FileManager.default.fileExists(atPath: keys) { Thread.sleep(forTimeInterval: 0.1) }
        for _ in 0..<600 where (try? String(contentsOfFile: vm.output, encoding: .utf8))?.contains("ready") != true {
            Thread.sleep(forTimeInterval: 0.1)
        }
        let tetherctl = try Build.path("tetherctl")
        let signal = try run(["timeout", "300", tetherctl, "signal", "--host-key", keys, socket, "USR2"])
        #expect(signal.status == 0, "\(signal.errorText)")
        let refused = try run(["timeout", "300", tetherctl, "signal", "--host-key", keys, "--session", "none", socket, "USR2"])
        #expect(refused.status == 1 && refused.errorText.contains("none"), "\(refused.errorText)")
        let stop = try run(["timeout", "300", tetherctl, "stop", "--host-key", keys, "--signal", "QUIT", "--timeout", "30", socket])
        #expect(stop.status == 0, "\(stop.errorText)")
        let finished = try vm.finish()
        #expect(finished.status == 11 && finished.text == "ready\ngot it\n", "\(finished.text)\(finished.errorText)")
    }
}
