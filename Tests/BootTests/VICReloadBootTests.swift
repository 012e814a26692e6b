import Control
import ControlClient
import Foundation
import Testing
import VIC

/// VIC's keys change while the VM runs: the configuration is read again.
@Suite("Boot: VIC, read again", .serialized) struct VICReloadBootTests {
    /// A VM whose variables stand in a file, and whose control interface is on serial0 by a kernel argument.
    private final class Changing {
        let client: ControlClient
        private let scratch: Scratch
        private let program: RunningProgram
        private let file: String

        init(_ config: VICExecutorConfig) throws {
            scratch = try Scratch()
            file = scratch.file("variables")
            try Changing.write(try config.keyValues(), to: file)
            let kernel = [
                "--kernel", try Build.path("kernel/vmlinuz"), "--initrd", try Build.path("initramfs"), "--append",
                "console=ttyS1 quiet panic=-1 tether.control=/dev/ttyS0", "--guestinfo-file", file,
            ]
            let arguments = try VM.arguments(scratch, rawConfig: nil, options: kernel)
            // The ISO and a kernel exclude each other.
            guard let iso = arguments.firstIndex(of: "--iso") else { throw CocoaError(.coderValueNotFound) }
            program = try RunningProgram(Array(arguments[..<iso] + arguments[(iso + 2)...]))
            let socket = VM.kept(scratch) + "/attach.sock"
            for _ in 0..<1800 where !FileManager.default.fileExists(atPath: socket) && program.process.isRunning {
                Thread.sleep(forTimeInterval: 0.1)
            }
            do { client = try ControlClient(serialSocket: socket, name: "boot-tests", timeout: 120) } catch {
                program.process.terminate()
                let vm = try VM.collect(program.finish(), scratch)
                throw LiveVMError(description: "\(error); \(vm.finished.errorText)\n\(vm.console.suffix(4000))")
            }
        }

        deinit {
            if program.process.isRunning { program.process.terminate() }
            if program.process.isRunning { program.process.terminate() }
        }

        /// What a program of the host does: it writes its own keys, and leaves those of the guest alone.
        func change(_ config: VICExecutorConfig, _ other: [(String, String)] = []) throws {
            var keys = try config.keyValues().filter { $0.key.contains("/") }
            for (key, value) in other { for index in keys.indices where keys[index].key == key { keys[index].value = value } }
            try Changing.write(keys, to: file)
        }

        private static func write(_ keys: [VICKeyValue], to file: String) throws {
            let text = keys.map { "\($0.key)=\($0.value)\n" }.joined()
            try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
        }

        /// Runs a shell script in the container to its end.
        func shell(_ script: String) throws -> RemoteSession {
            let json = try JSONSerialization.data(withJSONObject: ["args": ["sh", "-c", script]])
            let session = try client.exec(
                ExecRequest(process: Array(json), stdoutWindow: 65_536, stderrWindow: 65_536, wantsStdin: false))
            _ = try session.finish(timeout: 60)
            try client.forget(session.id)
            return session
        }

        /// Waits until a session is in a state.
        func wait(_ session: String, _ state: SessionSummary.State) throws -> SessionSummary {
            for _ in 0..<600 {
                if let summary = try client.list().first(where: { $0.id == session }), summary.state == state { return summary }
                Thread.sleep(forTimeInterval: 0.1)
            }
            throw LiveVMError(description: "\(session) is not \(state): \(try client.list())")
        }

        func finish() throws -> VICVM { try VICVM(VM.collect(program.finish(), scratch), scratch) }
    }

    @Test("A3, A8: two thousand processes one after the other, each with its own exit code")
    func repeated() throws {
        let vm = try Changing(VICVM.config("c1", ["sleep", "10000"]))
        _ = try vm.wait("c1", .running)
        var wrong: [String] = []
        for number in 0..<2000 {
            let (process, expected) =
                number % 7 == 0
                ? (["sh", "-c", "exit $1", "sh", "\(number / 7 % 256)"], UInt8(number / 7 % 256)) : (["/bin/date"], UInt8(0))
            let json = try JSONSerialization.data(withJSONObject: ["args": process])
            let session = try vm.client.exec(
                ExecRequest(process: Array(json), stdoutWindow: 65_536, stderrWindow: 65_536, wantsStdin: false))
            let result = try session.finish(timeout: 60)
            let isWhole = number % 7 == 0 || session.output.hasSuffix("\n")
            if result.exitCode != expected || !isWhole { wrong.append("\(number): \(result.exitCode) \(session.output)") }
            try vm.client.forget(session.id)
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))")
        try vm.client.stop()
        let run = try vm.finish()
        #expect(run.vm.code == 143 && run.result("c1", "status") == "143", "\(run.vm.finished.errorText)")
    }

    @Test("new sessions start, those that are not active stop, others are left alone; the container is stopped by its signal")
    func reload() throws {
        var config = VICVM.config("c1", ["sh", "-c", "trap 'echo stopped; exit 9' USR1; while :; do sleep 0.1; done"]) {
            $0.stopSignal = "usr1"
        }
        config.sessions.append(VICVM.session("side", ["sleep", "1000"]))
        let vm = try Changing(config)
        let primary = try vm.wait("c1", .running)
        let side = try vm.wait("side", .running)

        config.execs = [
            VICVM.session("e1", ["sleep", "1000"]) { $0.stopSignal = "INT" },
            VICVM.session("e2", ["sh", "-c", "cat /etc/hostname; exit 4"]), VICVM.session("e3", ["missing"]),
            VICVM.session("e4", ["sh", "-c", "sleep 7777 & trap '' TERM; while :; do sleep 1; done"]),
        ]
        try vm.change(config)
        try vm.client.reload()
        _ = try vm.wait("e1", .running)
        _ = try vm.wait("e4", .running)
        #expect(try vm.wait("e2", .ended).id == "e2")

        // A key that is malformed changes nothing, and one that is an exec's own only that.
        try vm.change(config, [("guestinfo.vice./sessions|c1/tty", "maybe")])
        expectRefusal(.failed, says: "guestinfo.vice./sessions|c1/tty: expected true or false") { try vm.client.reload() }
        config.execs[0].active = false
        config.execs[3].active = false
        config.execs.append(VICVM.session("e5", ["true"]))
        try vm.change(config, [("guestinfo.vice./execs|e5/tty@non-persistent", "maybe")])
        try vm.client.reload()
        _ = try vm.wait("e1", .ended)
        _ = try vm.wait("e4", .ended)
        // A30: it went with all that it had started.
        #expect(try vm.shell("ps | grep -c '[s]leep 7777'").output == "0\n")
        #expect(try vm.wait("c1", .running).pid == primary.pid && vm.wait("side", .running).pid == side.pid)
        #expect(try vm.client.list().filter { $0.id == "e2" }.count == 1, "what has ended is not started again")

        config.sessions[0].active = false
        try vm.change(config)
        try vm.client.reload()
        let run = try vm.finish()
        #expect(run.vm.code == 9 && run.vm.out == "stopped\n", "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(3000))")
        #expect(run.result("c1", "status") == "9" && run.result("side", "status") == "137" && run.result("side", "started") == "true")
        for (exec, started, status) in [
            ("e1", "true", "130"), ("e2", "true", "4"), ("e3", "missing: no such executable in PATH", "127"), ("e4", "true", "137"),
        ] {
            #expect(run.result(exec, "started", isExec: true) == started && run.result(exec, "status", isExec: true) == status, "\(exec)")
        }
        let problem = "guestinfo.vice./execs|e5/tty@non-persistent: expected true or false, found \"maybe\""
        #expect(run.result("e5", "started", isExec: true) == "configuration of e5: \(problem)")
    }
}
