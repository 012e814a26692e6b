import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// Terminals in a booted VM: a shell with job control, full-screen programs, sizes, pastes and the end of input.
@Suite("Boot: terminals", .serialized) struct TerminalBootTests {
    @Test("bash, vi and top in the container's terminal; pastes and the end of input in others")
    func terminal() throws {
        let vm = try LiveVM(image: Images.bash(), ["bash", "--norc", "-i"]) { _, process in
            process["terminal"] = true
            process["consoleSize"] = ["height": 30, "width": 100]
            process["env"] = ["PATH=/bin", "TERM=vt100", "PS1=$ ", "HISTFILE="]
        }
        let shell = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .none, wantsStdin: true))
        #expect(shell.attached?.hasTerminal == true)
        let bash = Dialogue(shell)
        try basics(bash, vm)
        try jobs(bash, vm)
        try programs(bash)
        try pastes(vm)
        try ends(vm)

        try shell.write("exit 5\n")
        let result = try shell.finish()
        #expect(result.exitCode == 5 && result.stderr.bytes == 0)
        let ended = try vm.finish()
        #expect(ended.code == 5, "\(ended.finished.errorText)")
        #expect(ended.exit?.stdout == result.stdout)
    }

    private func basics(_ bash: Dialogue, _ vm: LiveVM) throws {
        try bash.expect("tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all-three", ["/dev/pts/0", "30 100", "all-three"])
        try bash.expect("echo through > /dev/tty; stat -c %t:%T /dev/console", ["through"])
        try bash.expect("cat /proc/$$/stat | cut -d' ' -f5-8", [])
        // A program in the foreground gets SIGWINCH at once.
        try bash.send("sh -c 'trap \"stty size; exit 0\" WINCH; echo wai\"\"ting; while :; do sleep 0.1; done'\n")
        try bash.wait("waiting\r\n")
        try vm.client.resize("", rows: 41, columns: 132)
        try bash.wait("41 132\r\n")
        try bash.expect("stty size", ["41 132"])
        // Without a terminal there is no complaint of bash's about job control, and none here.
        #expect(!bash.session.output.contains("no job control") && !bash.session.output.contains("cannot set terminal process group"))
    }

    private func jobs(_ bash: Dialogue, _ vm: LiveVM) throws {
        // Ctrl-C reaches the foreground job and not the shell.
        try bash.send("sleep 500; echo status=$?\n")
        try bash.untilForeground("sleep", vm)
        try bash.send("\u{3}")
        try bash.wait("^C")
        try bash.expect("echo still-here", ["still-here"])
        // Ctrl-Z stops it, bg and fg go on with it.
        try bash.send("sleep 501\n")
        try bash.untilForeground("sleep", vm)
        try bash.send("\u{1A}")
        try bash.wait("Stopped")
        try bash.expect("bg; jobs", ["Running"])
        try bash.send("fg\n")
        try bash.untilForeground("sleep", vm)
        try bash.send("\u{3}")
        try bash.expect("jobs; echo no-jobs-left", ["no-jobs-left"])
        // A background job that reads from the terminal is stopped (SIGTTIN).
        try bash.send("cat &\n")
        try bash.expect("sleep 1; jobs", ["Stopped"])
        try bash.expect("kill -9 %%; wait; echo reaped", ["reaped"])
    }

    private func programs(_ bash: Dialogue) throws {
        try bash.send("vi /tmp/poem\n")
        // The empty lines of its screen: what is typed before it has the terminal would go to nobody.
        try bash.wait("~")
        try bash.send("iroses are red\nviolets are blue")
        try bash.wait("blue")
        // An escape with something right behind it would be a function key.
        try bash.send("\u{1B}")
        try bash.wait("- /tmp/poem")
        try bash.send(":wq\n")
        try bash.wait("$ ")
        try bash.expect("cat /tmp/poem; wc -l < /tmp/poem", ["roses are red", "violets are blue", "2"])
        try bash.send("top\n")
        try bash.wait("Mem:")
        try bash.wait("CPU:")
        try bash.wait("COMMAND")
        try bash.send("q")
        try bash.expect("echo after-top", ["after-top"])
    }

    private func pastes(_ vm: LiveVM) throws {
        let terminal: [String: Any] = ["terminal": true, "consoleSize": ["height": 24, "width": 80], "env": ["PATH=/bin", "TERM=vt100"]]
        // 64 KiB at once into a terminal that takes every byte as it is.
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<65_536).map { _ in UInt8.random(in: 0...255, using: &random) }
        var digest = StreamDigest()
        digest.update(bytes)
        let raw = try vm.exec(["sh", "-c", "stty raw -echo; echo go; head -c 65536 | sha256sum; stty sane"], terminal, stdin: true)
        try raw.wait(for: "go")
        #expect(try raw.write(bytes, timeout: 120) == bytes.count)
        #expect(try raw.finish(timeout: 120).exitCode == 0)
        #expect(raw.output.contains(digest.total.sha256), "\(raw.output)")

        // 64 KiB of lines, as a person pastes them: edited line by line, and echoed.
        let lines = (0..<1024).map { String(format: "%04d ", $0) + String(repeating: "x", count: 58) + "\n" }.joined()
        var text = StreamDigest()
        text.update(Array(lines.utf8))
        let cooked = try vm.exec(["sh", "-c", "echo go; cat > /tmp/paste; sha256sum /tmp/paste"], terminal, stdin: true)
        try cooked.wait(for: "go")
        #expect(try cooked.write(lines, timeout: 120) == lines.utf8.count)
        try cooked.closeStdin()
        #expect(try cooked.finish(timeout: 120).exitCode == 0)
        #expect(cooked.output.contains(text.total.sha256))
        // Each line comes back with the newline as carriage return and newline.
        #expect(cooked.output.contains(lines.replacing("\n", with: "\r\n")))
    }

    private func ends(_ vm: LiveVM) throws {
        let terminal: [String: Any] = ["terminal": true, "env": ["PATH=/bin"]]
        // The end of a client's input is the end-of-file character, and leaves the terminal as it is.
        let half = try vm.exec(["sh", "-c", "cat; echo then; cat /dev/tty; echo end"], terminal, stdin: true)
        try half.write("abc\n")
        try half.wait(for: "abc\r\nabc\r\n")
        try half.closeStdin()
        try half.wait(for: "then")
        try half.signal(1)
        #expect(try half.finish().signal == 1)
        // What was written before the end is there to the last byte.
        let long = try vm.exec(["seq", "1", "20000"], terminal)
        #expect(try long.finish().exitCode == 0)
        #expect(long.output == (1...20_000).map { "\($0)\r\n" }.joined())
        // A process that closes its terminal and opens it again has not ended.
        let away = try vm.exec(["sh", "-c", "exec 0<&- 1>&- 2>&-; sleep 1; echo back > /dev/tty"], terminal)
        #expect(try away.finish().exitCode == 0 && away.output == "back\r\n")
    }
}

/// A person at a shell's prompt: types, and looks for what appears after that.
private struct Dialogue {
    let session: RemoteSession

    init(_ session: RemoteSession) { self.session = session }

    func send(_ text: String) throws {
        session.discardOutput()
        try session.write(text)
    }

    func wait(_ text: String) throws { try session.wait(for: text, timeout: 60) }

    /// Runs a command line and looks for lines of its output. The echo of what was typed is none: its end is marked in two halves.
    func expect(_ line: String, _ expected: [String]) throws {
        try send(line + "; echo end\"\"ed\n")
        try wait("ended\r\n")
        let lines = session.output.split(whereSeparator: \.isNewline).map(String.init)
        for text in expected {
            #expect(lines.contains { $0.hasPrefix(text) || $0.contains(" \(text)") }, "'\(text)' is missing in \(lines)")
        }
    }

    /// Waits until a program is the foreground job, that is, until keys reach it and not the shell.
    func untilForeground(_ program: String, _ vm: LiveVM) throws {
        try wait(program)
        for _ in 0..<300 {
            // Of each process: number, (name), state, parent, group, session, terminal, the terminal's foreground group.
            for line in try vm.shell("cat /proc/[0-9]*/stat").out.split(separator: "\n") {
                let fields = line.split(separator: " ")
                if fields.count > 7, fields[1] == "(\(program))", fields[2] != "T", fields[4] == fields[7] { return }
            }
            Thread.sleep(forTimeInterval: 0.1)
        }
        throw LiveVMError(description: "\(program) has not come to the foreground")
    }
}
