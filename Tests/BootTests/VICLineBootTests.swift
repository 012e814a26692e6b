import CLinux
import Foundation
import Linux
import SSH
import SessionLog
import Testing
import VIC

/// What a VCH does with a VM whose keys it has written: it changes them, has the guest read them again, joins sessions on the line.
/// Cases are numbered as in VICBootTests.
@Suite("Boot: VIC, keys and line", .serialized) struct VICLineBootTests {
    /// Such a VM. Its container process is a shell that does what the VCH writes to it.
    private final class Machine {
        let line: TestLine
        private let scratch: Scratch
        private let program: RunningProgram
        private let file: String
        private(set) var config: VICExecutorConfig

        init(_ config: VICExecutorConfig) throws {
            self.config = config
            scratch = try Scratch()
            file = scratch.file("variables")
            try Machine.write(try config.keyValues(), to: file)
            let options = ["--guestinfo-file", file, "--timeout", "1200"]
            program = try RunningProgram(VM.arguments(scratch, rawConfig: nil, options: options))
            let socket = VM.kept(scratch) + "/attach.sock"
            for _ in 0..<1800 where !FileManager.default.fileExists(atPath: socket) && program.process.isRunning {
                Thread.sleep(forTimeInterval: 0.1)
            }
            line = try TestLine(socket)
        }

        deinit {
            line.close()
            if program.process.isRunning { program.process.terminate() }
            if program.process.isRunning { program.process.terminate() }
        }

        private static func write(_ keys: [VICKeyValue], to file: String) throws {
            let text = keys.map { "\($0.key)=\($0.value)\n" }.joined()
            try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
        }

        /// The host changes its own keys, and of new execs those of the guest, too.
        func change(_ change: (inout VICExecutorConfig) -> Void) throws {
            let known = Set(config.execs.map { $0.key })
            change(&config)
            let keys = try config.keyValues().filter { pair in
                let isNew = config.execs.contains { !known.contains($0.key) && pair.key.contains("|\($0.key).") }
                return pair.key.contains("/") || isNew
            }
            try Machine.write(keys, to: file)
        }

        /// What the guest has set until now.
        var guestinfo: String { (try? String(contentsOfFile: VM.kept(scratch) + "/guestinfo.log", encoding: .utf8)) ?? "" }
        var console: String { (try? String(contentsOfFile: VM.kept(scratch) + "/console.log", encoding: .utf8)) ?? "" }

        func finish() throws -> VICVM { try VICVM(VM.collect(program.finish(), scratch), scratch) }
    }

    /// Has the kernel send PID 1 a SIGHUP when a process dumps core: in its own namespace the container cannot reach it otherwise.
    private static let hangup = "{ sh -c 'kill -SEGV $$'; } 2>/dev/null"
    private static let prepareHangup = "printf '\\174/run/rootfs/bin/busybox kill -HUP 1' >/proc/sys/kernel/core_pattern"

    /// As the portlayer makes an exec that is attached to.
    private func exec(_ id: String, _ script: String, tty: Bool = false) -> VICSession {
        VICVM.session(id, ["sh", "-c", script]) {
            $0.tty = tty
            $0.openStdin = true
            $0.attach = true
            $0.runBlock = true
        }
    }

    @Test("A18, A20, A21, A26, A29, A31–A37, A43: sessions that wait to be joined, SIGHUP, terminals, input, signals, a cut line")
    func line() throws {
        let made = try run(["openssl", "genrsa", "-traditional", "512"])
        try #require(made.status == 0, "\(made.errorText)")
        var config = VICVM.config("c0ffee", ["sh", "-c", "echo at-once; exec sh"]) {
            $0.attach = true
            $0.openStdin = true
            $0.runBlock = true
            $0.stopSignal = "USR1"
        }
        config.hostKey = Array(made.stdout)
        config.execs = [VICVM.session("early", ["sh", "-c", "touch /tmp/early; exit 3"]), exec("both", "echo both")]
        let vm = try Machine(config)
        var client = try VICClient(vm.line, patience: 120)
        let shell = try start(vm, client)
        try execs(vm, client, shell)
        try parallel(vm, client, shell)
        (client, _) = try cut(vm, client)
        let again = try #require(client.open("c0ffee"))
        try large(client, again)
        for number in 0..<50 {
            // A26: it ends right behind its output.
            let last = try #require(client.execute("echo last-\(number)"))
            #expect(client.wait { client.isClosed(last) } && client.output(last) == "last-\(number)\n", "\(client.output(last))")
        }
        try stop(vm, client, again)
    }

    /// A18, A35: the container's process does not run before `unblock`, and then no output is lost. A20: what needs no `unblock` runs.
    private func start(_ vm: Machine, _ client: VICClient) throws -> ChannelID {
        #expect(client.rejection("unknown") == "session unknown is invalid")
        #expect(client.wait(seconds: 30) { client.rejection("early") == "process finished with exit code: 3" })
        let execution = try #require(client.execute("ls /tmp/early; ps | grep -c '[a]t-once'"))
        #expect(client.wait { client.isClosed(execution) } && client.output(execution) == "/tmp/early\n0\n")
        #expect(client.wait { vm.guestinfo.contains("early.status@non-persistent = \"3\"") }, "\(vm.guestinfo)")
        #expect(!vm.guestinfo.contains("c0ffee.started"))
        #expect(client.wait { client.global("container-ids") == VICClient.wired("c0ffee,both") }, "what has ended is not in the list")
        Thread.sleep(forTimeInterval: 5)
        let channel = try #require(client.open("c0ffee"))
        #expect(client.request(channel, "window-change", VICClient.size(80, 24)) == false)
        #expect(client.output(channel).isEmpty && !vm.guestinfo.contains("runblock = \"false\""))
        // One behind the other, while the container's own process is on its way.
        let both = try #require(client.open("both"))
        client.tell(channel, "unblock", Array("Unblock".utf8))
        #expect(client.request(both, "unblock", Array("Unblock".utf8)) == true)
        #expect(client.wait { client.isClosed(both) } && client.output(both) == "both\n", "\(client.output(both))")
        #expect(client.wait { client.output(channel) == "at-once\n" }, "\(client.output(channel))")
        #expect(vm.guestinfo.contains("c0ffee.runblock = \"false\""))
        client.send(channel, Self.prepareHangup + " && echo prepared\n")
        #expect(client.wait { client.output(channel).hasSuffix("prepared\n") }, "\(client.output(channel))")
        return channel
    }

    private func reload(_ client: VICClient, _ shell: ChannelID) { client.send(shell, Self.hangup + "\n") }

    /// Has the keys read again by SIGHUP, and drives the execs that are new in them.
    private func execs(_ vm: Machine, _ client: VICClient, _ shell: ChannelID) throws {
        try vm.change {
            $0.execs = [
                exec("held", "echo held; exit 5"), VICVM.session("free", ["sh", "-c", "touch /tmp/free"]),
                exec("tty", "stty size; read x; stty size; cat", tty: true), exec("sort", "sort"), exec("sort-tty", "sort", tty: true),
                exec("missing", ""), exec("cat", "cat"), exec("idle", "sleep 1000"),
                exec("signals", "trap 'echo winch' WINCH; trap 'echo rt' 37; echo ready; while :; do sleep 0.1; done"),
                exec(
                    "nested",
                    "trap 'echo parent' HUP; sh -c 'trap \"echo child\" HUP; echo ready; while :; do sleep 0.1; done' & "
                        + "while :; do sleep 0.1; done"),
            ]
            $0.execs[5].path = "/not/there"
            $0.execs[5].args = ["/not/there"]
        }
        reload(client, shell)
        // A20: what waits can be joined, and keeps nothing else from running.
        let isFree = client.wait(seconds: 60) { client.rejection("free") == "process finished with exit code: 0" }
        try #require(isFree, "\(vm.console.suffix(3000)) \(client.output(shell))")
        let held = try #require(client.open("held"))
        Thread.sleep(forTimeInterval: 0.5)
        #expect(client.output(held).isEmpty && !vm.guestinfo.contains("held.started"), "it waits")
        unblock(client, held)
        #expect(client.wait { client.isClosed(held) } && client.output(held) == "held\n", "\(client.output(held))")
        // A43: three rejections.
        #expect(client.rejection("held") == "process finished with exit code: 5")
        #expect(client.rejection("nowhere") == "session nowhere is invalid")
        let missing = try #require(client.open("missing"))
        unblock(client, missing)
        #expect(client.wait { client.isClosed(missing) })
        #expect(client.rejection("missing") == "launch failed with: stat /not/there: no such file or directory")
        try terminals(client)
        try signals(client)
    }

    private func unblock(_ client: VICClient, _ channel: ChannelID) {
        #expect(client.request(channel, "unblock", Array("Unblock".utf8)) == true)
    }

    /// A34 and A36.
    private func terminals(_ client: VICClient) throws {
        let tty = try #require(client.open("tty"))
        #expect(client.request(tty, "window-change", VICClient.size(80, 24)) == true, "its terminal is still to be made")
        unblock(client, tty)
        #expect(client.wait { client.output(tty) == "24 80\r\n" }, "\(client.output(tty))")
        #expect(client.request(tty, "window-change", VICClient.size(120, 40)) == true)
        client.send(tty, "go\n")
        #expect(client.wait { client.output(tty).hasSuffix("40 120\r\n") }, "\(client.output(tty))")
        #expect(client.request(tty, "close-stdin", []) == true && client.wait { client.isClosed(tty) })
        for (name, expected) in [("sort", "one\n"), ("sort-tty", "one\r\none\r\n")] {
            let channel = try #require(client.open(name))
            unblock(client, channel)
            client.send(channel, "one\n")
            #expect(client.request(channel, "close-stdin", []) == true)
            #expect(client.wait { client.isClosed(channel) } && client.output(channel) == expected, "\(name): \(client.output(channel))")
        }
    }

    /// A29, A32, A33.
    private func signals(_ client: VICClient) throws {
        func signal(_ channel: ChannelID, _ name: String) -> Bool? { client.request(channel, "signal", VICClient.wired(name)) }
        let nested = try #require(client.open("nested"))
        unblock(client, nested)
        #expect(client.wait { client.output(nested) == "ready\n" })
        #expect(signal(nested, "HUP") == true && client.wait { client.output(nested) == "ready\nparent\n" }, "\(client.output(nested))")
        #expect(signal(nested, "NOPE") == false)
        Thread.sleep(forTimeInterval: 0.5)
        #expect(client.output(nested) == "ready\nparent\n", "the child got none, and NOPE did nothing")
        let channel = try #require(client.open("signals"))
        unblock(client, channel)
        #expect(client.wait { client.output(channel) == "ready\n" })
        for (name, text) in [("WINCH", "winch\n"), ("28", "winch\n"), ("RTMIN+3", "rt\n")] {
            let before = client.output(channel)
            #expect(signal(channel, name) == true && client.wait { client.output(channel) == before + text }, "\(name)")
        }
        #expect(signal(channel, "KILL") == true && signal(nested, "SIGKILL") == true)
        #expect(client.wait { client.isClosed(channel) && client.isClosed(nested) })
        #expect(client.rejection("signals") == "process finished with exit code: 137")
    }

    /// A37: many at once. They come with a second SIGHUP, which leaves those alone that are there.
    private func parallel(_ vm: Machine, _ client: VICClient, _ shell: ChannelID) throws {
        try vm.change { config in
            config.execs += (0..<50).map { VICVM.session("A37-\($0)", ["touch", "/tmp/many-\($0)"]) }
            // One that waits and is not wanted any more is never started.
            for index in config.execs.indices where config.execs[index].key == "idle" { config.execs[index].active = false }
        }
        reload(client, shell)
        // Some 1300 questions and answers between guest and host, each of which costs several exits of the emulated machine.
        var told = 0
        let areStarted = client.wait(seconds: 400) {
            Thread.sleep(forTimeInterval: 1)
            told = vm.guestinfo.split(separator: "\n").count { $0.contains("|a37-") && $0.contains(".started") }
            return told >= 50
        }
        try #require(areStarted, "only \(told) are told of: \(vm.console.suffix(1500))")
        // What is started may have to wait for its turn before it does anything.
        client.send(shell, "until [ $(ls /tmp/many-* | wc -l) = 50 ]; do sleep 0.1; done; echo 50\n")
        #expect(client.wait { client.output(shell).hasSuffix("\n50\n") }, "\(client.output(shell))")
        #expect(client.rejection("idle")?.hasPrefix("launch failed with: ") == true)
    }

    /// A cut of the line ends nobody's input: the VCH says `close-stdin` where it means that.
    private func cut(_ vm: Machine, _ client: VICClient) throws -> (VICClient, ChannelID) {
        let before = try #require(client.open("cat"))
        unblock(client, before)
        client.send(before, "before\n")
        #expect(client.wait { client.output(before) == "before\n" })
        vm.line.drop()
        let next = try VICClient(vm.line, patience: 60)
        let after = try #require(next.open("cat"))
        next.send(after, "after\n")
        #expect(next.wait { next.output(after).hasSuffix("after\n") }, "\(next.output(after))")
        #expect(next.request(after, "close-stdin", []) == true && next.wait { next.isClosed(after) })
        #expect(next.rejection("cat") == "process finished with exit code: 0")
        return (next, after)
    }

    /// A21, and A22 at the end: a mebibyte of anything.
    private func large(_ client: VICClient, _ shell: ChannelID) throws {
        let before = client.bytes(shell).count
        client.send(shell, "head -c 1048576 /dev/urandom >/tmp/f; sha256sum </tmp/f; cat /tmp/f; echo; echo whole\n")
        let end = Array("\nwhole\n".utf8)
        #expect(
            client.wait(seconds: 120) {
                client.bytes(shell).suffix(end.count) == end[...] && client.bytes(shell).count > 1_048_576 + before
            })
        check(Array(client.bytes(shell)[before...]))
    }

    /// 64 digits, `  -` and a newline, then what has this digest.
    private func check(_ bytes: [UInt8]) {
        guard bytes.count >= 68 + 1_048_576 else {
            Issue.record("only \(bytes.count) bytes")
            return
        }
        var digest = StreamDigest()
        digest.update(Array(bytes[68..<(68 + 1_048_576)]))
        #expect(String(decoding: bytes[..<64], as: UTF8.self) == digest.total.sha256)
    }

    /// A31: the signal is seen, and SIGKILL follows. The keys say so: the container's own session is not active any more.
    private func stop(_ vm: Machine, _ client: VICClient, _ shell: ChannelID) throws {
        client.send(
            shell, "(while sleep 2; do \(Self.hangup); done) & trap 'echo usr1 seen' USR1; echo trapped; while :; do sleep 0.2; done\n")
        #expect(client.wait { client.output(shell).hasSuffix("trapped\n") })
        try vm.change { $0.sessions[0].active = false }
        #expect(client.wait(seconds: 90) { client.isClosed(shell) })
        let run = try vm.finish()
        #expect(run.vm.code == 137, "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(3000))")
        #expect(run.result("c0ffee", "started") == "true" && run.result("c0ffee", "status") == "137")
        #expect(run.vm.out.hasSuffix("trapped\nusr1 seen\n"))
        #expect(run.vm.console.contains("stop asked by the configuration: sending SIGUSR1"))
        // A22: the log has the same bytes.
        let log = run.bytes(.stdout)
        let start = Array("\n50\n".utf8)
        if let at = (0..<1000).first(where: { log.dropFirst($0).prefix(start.count) == start[...] }) {
            check(Array(log[(at + start.count)...]))
        } else {
            Issue.record("the log does not have what the shell wrote before")
        }
        let start37 = (0..<50).filter { run.result("A37-\($0)", "started", isExec: true) != "true" }
        #expect(start37.isEmpty, "not started: \(start37)")
        for (exec, started, status) in [
            ("held", "true", "5"), ("free", "true", "0"), ("tty", "true", "0"), ("sort", "true", "0"), ("sort-tty", "true", "0"),
            ("cat", "true", "0"), ("missing", "stat /not/there: no such file or directory", "127"),
            ("idle", "start idle: it is not active any more", "125"), ("signals", "true", "137"), ("nested", "true", "137"),
        ] {
            #expect(run.result(exec, "started", isExec: true) == started && run.result(exec, "status", isExec: true) == status, "\(exec)")
        }
        #expect(run.vm.status["notHonoured"] == nil)
    }
}
