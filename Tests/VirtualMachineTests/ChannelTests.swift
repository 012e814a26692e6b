import CLinux
import LineEndpoint
import Linux
import SessionLog
import SessionReplay
import Testing

@testable import VirtualMachine

@Suite struct SessionReaderTests {
    private func record(_ stream: String, _ tag: String, _ text: String) -> [UInt8] {
        Array("2026-01-02T03:04:05.000000006Z \(stream) \(tag) \(text)\n".utf8)
    }

    @Test(arguments: [1, 5, 1000]) func givesTheStreamsBackByteForByte(chunk: Int) throws {
        let log =
            record("event", "F", #"{"event":"boot","version":"1","kernel":"6"}"#) + record("stdout", "F", "one")
            + record("stderr", "P", "er")
            + record("stdout", "P", "tw") + record("stdout", "F", "o") + record("stderr", "P", "r") + Array("garbage\n".utf8)
            // In pieces, as any long line.
            + record("event", "P", #"{"event":"exit","id":"c","exitCode":3,"coreDumped":false,"oomKilled":false,"drain":"eof","#)
            + record("event", "F", #""stdout":{"bytes":8,"sha256":"x"},"stderr":{"bytes":3,"sha256":"y"}}"#)
        var reader = SessionReader()
        var out: [UInt8] = []
        var err: [UInt8] = []
        var start = 0
        while start < log.count {
            let end = min(start + chunk, log.count)
            let output = reader.read(log[start..<end])
            out += output.stdout
            err += output.stderr
            start = end
        }
        let rest = reader.finish()
        #expect(out + rest.stdout == Array("one\ntwo\n".utf8))
        #expect(err + rest.stderr == Array("err".utf8))
        #expect(reader.skipped == 8)
        #expect(reader.exit?.exitCode == 3)
        #expect(reader.events == ["boot: tether 1 on Linux 6", "exit: code 3"])
        let report = try #require(reader.exit)
        #expect(reader.differences(from: report).count == 2)
    }

    @Test func noticesWhatIsMissing() throws {
        var reader = SessionReader()
        _ = reader.read(record("stdout", "F", "hello")[...])
        let good = reader.totals.stdout.sha256
        let empty = reader.totals.stderr.sha256
        func differences(_ bytes: UInt64, _ sha: String) -> [String] {
            reader.differences(
                from: ExitRecord(
                    id: "c", exitCode: 0, stdout: StreamTotal(bytes: bytes, sha256: sha), stderr: StreamTotal(bytes: 0, sha256: empty)))
        }
        #expect(differences(6, good) == [])
        #expect(differences(7, good) == ["stdout: 6 bytes arrived of the 7 that the container wrote"])
        #expect(differences(6, empty) == ["stdout: 6 bytes arrived, but not those that the container wrote (SHA-256 differs)"])
    }

    @Test func noticesWhatComesAfterTheExitRecord() {
        var reader = SessionReader()
        let exit = ExitRecord(id: "c", exitCode: 0)
        _ = reader.read((record("event", "F", String(decoding: SessionEvent.exit(exit).json, as: UTF8.self)))[...])
        #expect(reader.differences(from: exit) == [])
        _ = reader.read(record("stdout", "F", "late")[...])
        #expect(reader.exit == exit)
        #expect(reader.differences(from: exit) == ["records came after the exit record"])
    }
}

@Suite struct OutputWriterTests {
    @Test func neverWaitsAndLosesNothing() throws {
        let ends = try Pipe().take()
        let reader = FileDescriptor(owning: ends.read)
        let writer = FileDescriptor(owning: ends.write)
        try reader.setNonBlocking()
        var output = OutputWriter(descriptor: writer.rawValue)
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        output.append(bytes)
        #expect(output.isFull)
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 10_000)
        while received.count < bytes.count {
            // The pipe blocks; a write of more than it has room for would hang here.
            try output.flush()
            let count = try buffer.withUnsafeMutableBytesTyped { (space) throws(SyscallError) in try reader.read(into: space) }
            received += buffer[..<(try #require(count))]
        }
        #expect(received == bytes)
        #expect(output.isEmpty && !output.isFull)
    }

    @Test func noticesThatTheReaderIsGone() throws {
        let ends = try Pipe().take()
        _ = FileDescriptor(owning: ends.read)
        let writer = FileDescriptor(owning: ends.write)
        var output = OutputWriter(descriptor: writer.rawValue)
        output.append([1, 2, 3])
        try output.flush()
        #expect(output.isClosed && output.isEmpty)
        output.append([4])
        #expect(output.isEmpty)
    }
}

@Suite struct MonitorAndConsoleTests {
    @Test func readsMonitorMessages() {
        var monitor = MonitorProtocol()
        let text =
            "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n{\"return\": {}}\r\n{\"timestamp\": {\"seconds\": 1}, \"event\": \"POWERDOWN\"}\r\n"
            + "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\r\nrubbish\r\n"
        #expect(monitor.decode(Array(text.utf8)) == [.greeting, .success, .event("POWERDOWN"), .failure("no")])
        #expect(MonitorProtocol.command("quit") == Array("{\"execute\":\"quit\"}\r\n".utf8))
    }

    @Test func keepsTheConsolesLastLines() {
        var console = ConsoleReader()
        let lines = console.read(Array("one\r\n\u{1B}[31mtwo\n".utf8)[...])
        #expect(lines == ["one", "·[31mtwo"])
        for number in 0..<30 { _ = console.read(Array("line \(number)\n".utf8)[...]) }
        _ = console.read(Array("unfinished".utf8)[...])
        #expect(console.tail.count == 20 && console.tail.last == "line 29")
        #expect(console.unfinished == "unfinished")
    }
}

@Suite struct KVMProbeTests {
    @Test func remembersUntilSomethingChanges() throws {
        let directory = try RunDirectory(path: nil, isKept: false)
        let path = directory.file("kvm")
        let probe = KVMProbe(key: "boot1 qemu7", path: path, device: "/nonexistent")
        #expect(probe.remembered() == nil)
        probe.remember(.fails)
        #expect(probe.remembered() == .fails)
        #expect(KVMProbe(key: "boot2 qemu7", path: path, device: "").remembered() == nil)
        #expect(KVMProbe(key: "boot1 qemu8", path: path, device: "").remembered() == nil)
        probe.remember(.works)
        #expect(probe.remembered() == .works)
        #expect(probe.deviceProblem() == "open /nonexistent: No such file or directory")
        #expect(KVMProbe(key: "k", path: path, device: "/dev/null").deviceProblem()?.contains("API version") == true)
    }
}

@Suite struct QEMUProcessTests {
    @Test func reportsTheStepThatFails() {
        #expect(throws: VirtualMachineError("start", "/nonexistent/qemu", "execv: No such file or directory")) {
            try QEMUProcess(path: "/nonexistent/qemu", arguments: [], output: 2, keeping: [])
        }
        #expect(throws: VirtualMachineError.self) { try QEMUProcess.find("no-such-program-anywhere") }
    }

    @Test func keepsOnlyTheNamedDescriptors() throws {
        let directory = try RunDirectory(path: nil, isKept: false)
        let output = try directory.create("output")
        let kept = try Pipe().take()
        let read = FileDescriptor(owning: kept.read)
        let write = FileDescriptor(owning: kept.write)
        let other = try clinuxDuplicate(write.rawValue)
        let script =
            "[ -e /proc/self/fd/\(write.rawValue) ] && ! [ -e /proc/self/fd/\(other.rawValue) ] && echo fine; echo $(ps -o sid= -p $$ || true); exit 3"
        let process = try QEMUProcess(path: "/bin/sh", arguments: ["-c", script], output: output.rawValue, keeping: [write.rawValue])
        var entry = pollfd(fd: process.ended.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 20_000) == 1)
        #expect(process.endIfAny()?.exitStatus == 3)
        #expect(directory.lastLines(5, of: "output").first == "fine")
        _ = read.rawValue
    }

    /// A duplicate that is not close-on-exec, as a careless parent may leave one open.
    private func clinuxDuplicate(_ number: Int32) throws -> FileDescriptor {
        FileDescriptor(owning: try attempt("dup") { dup(number) })
    }

    @Test func diesWithItsOwner() throws {
        let directory = try RunDirectory(path: nil, isKept: false)
        let output = try directory.create("output")
        var pid: Int32 = 0
        do {
            let process = try QEMUProcess(path: "/bin/sleep", arguments: ["1000"], output: output.rawValue, keeping: [])
            pid = process.pid
            #expect(process.endIfAny() == nil)
        }
        #expect(CLinux.kill(pid, 0) == -1)
    }

    @Test func removesItsDirectory() throws {
        var path = ""
        do {
            let directory = try RunDirectory(path: nil, isKept: false)
            path = directory.path
            try directory.write([1, 2], to: "file")
            #expect(Files.exists(path + "/file"))
        }
        #expect(!Files.exists(path))
    }
}
