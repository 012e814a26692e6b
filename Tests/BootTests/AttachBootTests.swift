import Foundation
import SSH
import SessionLog
import Testing

/// The attach server of a running VM, with OpenSSH's client on its line.
@Suite("Boot: attach", .serialized) struct AttachBootTests {
    @Test("OpenSSH: who gets in, commands, the container's own process, a line that is cut, noise on it, another client in between")
    func openSSH() throws {
        let vm = try AttachVM(["sh"], tether: ["stdin": "open"])
        let refused = try vm.ssh(["true"], hasKey: false)
        #expect(refused.status == 255 && refused.errorText.contains("Permission denied (publickey)"), "\(refused.errorText)")
        try commands(vm)
        try primary(vm)
        try beginnings(vm)

        let last = try vm.ssh(input: Data("exit 7\n".utf8))
        #expect(last.status == 7, "\(last.errorText)")
        let ended = try vm.finish()
        #expect(ended.code == 7 && ended.console.contains("container logged in by publickey, key SHA256:"), "\(ended.finished.errorText)")
    }

    private func commands(_ vm: AttachVM) throws {
        for options in [
            ["-c", "aes128-gcm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256"],
            [
                "-c", "chacha20-poly1305@openssh.com", "-o", "KexAlgorithms=ecdh-sha2-nistp256",
                "-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256",
            ],
            ["-c", "aes256-ctr", "-m", "hmac-sha2-256-etm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256@libssh.org"],
            ["-c", "aes128-ctr", "-m", "hmac-sha2-256"],
            ["-c", "aes256-gcm@openssh.com", "-o", "KexAlgorithms=ecdh-sha2-nistp256"],
            ["-c", "aes256-ctr", "-m", "hmac-sha2-256", "-o", "KexAlgorithms=ecdh-sha2-nistp256"],
            ["-c", "aes128-ctr", "-m", "hmac-sha2-256-etm@openssh.com", "-o", "KexAlgorithms=curve25519-sha256"],
        ] {
            let both = try vm.ssh(["cat; echo err >&2; exit 3"], input: Data("in\n".utf8), options: options, isDirect: true)
            #expect(both.status == 3 && both.text == "in\n" && both.errorText == "err\n", "\(options): \(both.errorText)")
        }
        let environment = try vm.ssh(["echo $LANG:$LD_PRELOAD:$(id -u):$(pwd)"], options: ["-o", "SetEnv=LANG=C.UTF-8 LD_PRELOAD=/x"])
        #expect(environment.text == "C.UTF-8::0:/\n", "\(environment.errorText)")
        let killed = try vm.ssh(["kill -TERM $$"])
        #expect(killed.status == 255)
        let terminal = try vm.ssh(["tty; echo $TERM; exit 4"], options: ["-tt", "-o", "SetEnv=TERM=vt220"])
        #expect(terminal.status == 4 && terminal.text.hasPrefix("/dev/pts/"), "\(terminal.text)\(terminal.errorText)")
        let modes = try throughTerminal(vm, ["stty -a; exit 5"])
        #expect(modes.status == 5, "\(modes.text)\(modes.errorText)")
        for part in ["erase = ^H;", "intr = ^C;", "-ixon", "rows 30"] { #expect(modes.text.contains(part), "\(part): \(modes.text)") }
        let none = try vm.ssh(["nowhere-to-be-found"])
        #expect(none.status == 127 && none.errorText.contains("not found"), "\(none.errorText)")
        let subsystem = try vm.ssh(["sftp"], options: ["-s"])
        #expect(subsystem.status == 255 && subsystem.errorText.contains("subsystem request failed"), "\(subsystem.errorText)")
    }

    /// OpenSSH's client in a terminal where Backspace is Ctrl-H and Ctrl-S stops nothing, asking for one.
    private func throughTerminal(_ vm: AttachVM, _ words: [String]) throws -> Finished {
        let client = try vm.command(words, options: ["-tt"]).map { "'\($0)'" }.joined(separator: " ")
        let command = "stty erase '^H' -ixon rows 30 cols 100; \(client)"
        return try run(["script", "-qefc", command, "/dev/null"])
    }

    /// The container process: attached to, cut off from, and attached to again without a byte lost.
    private func primary(_ vm: AttachVM) throws {
        let client = try vm.start()
        client.write("echo one\n")
        #expect(client.wait(for: "one\n"), "\(client.errorText)")
        // It goes on writing while nobody is there.
        client.write("(sleep 2; seq 1 3000) &\n")
        Thread.sleep(forTimeInterval: 0.5)
        vm.line.drop()
        #expect(client.finish() == 255)
        Thread.sleep(forTimeInterval: 3)
        let again = try vm.start(options: ["-o", "SetEnv=TETHER_STDOUT_FROM=\(client.output.count) TETHER_STDERR_FROM=live"])
        let numbers = (1...3000).map { "\($0)\n" }.joined()
        #expect(again.wait(for: "\n3000\n"), "\(again.errorText)")
        again.write("echo two\n")
        #expect(again.wait(for: "two\n"), "\(again.errorText)")
        #expect(client.text + again.text == "one\n" + numbers + "two\n")
        // Who only watches leaves its input alone.
        again.stop()
        _ = again.finish()
        let watching = try vm.start(options: ["-o", "SetEnv=TETHER_STDOUT_FROM=0 TETHER_STDIN=none", "-n"])
        #expect(watching.wait(for: "two\n") && watching.text.hasPrefix("one\n1\n"), "\(watching.errorText)")
        watching.stop()
        _ = watching.finish()
    }

    /// What comes before a client, and between two.
    private func beginnings(_ vm: AttachVM) throws {
        // Noise of all kinds: the next client is served.
        vm.line.drop()
        var state: UInt64 = 1
        for _ in 0..<20 {
            let noise = (0..<300).map { _ -> UInt8 in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 33)
            }
            vm.line.inject(noise)
        }
        let after = try vm.ssh(["echo after noise"])
        #expect(after.text == "after noise\n", "\(after.errorText)")

        // A session that a VCH interrupts, in the middle of everything: within a second it is answered. Once may be too late because
        // this machine stood still; the guest's own delay would be there each time.
        var delays: [Double] = []
        while (delays.min() ?? 2) >= 1, delays.count < 3 {
            let client = try vm.start(["cat"])
            client.write("x\n")
            #expect(client.wait(for: "x\n"))
            vm.line.drop()
            _ = client.finish()
            Thread.sleep(forTimeInterval: 0.3)
            _ = vm.line.take(0)
            delays.append(try #require(vm.line.ask([0x16, 0x2a]), "no answer").seconds)
        }
        #expect((delays.min() ?? 2) < 1, "it took \(delays) s")
        let number = try #require(vm.line.ask([0x16, 0x2a]), "no answer").number
        vm.line.inject([0x06, number &+ 1])
        let banner = try #require(vm.line.hear { $0.last == UInt8(ascii: "\n") }, "no banner")
        #expect(banner.first == 0x06 && String(decoding: banner.dropFirst(), as: UTF8.self).hasPrefix("SSH-2.0-"))
        let next = try vm.ssh(["echo and again"])
        #expect(next.text == "and again\n", "\(next.errorText)")
    }

    @Test("two megabytes each way; the server killed in the middle of it: the container runs on, the log is whole, another server answers")
    func robustness() throws {
        let script = "read go; seq 1 15000; killall -9 tether-attach; seq 15001 30000; read more; exit 9"
        let vm = try AttachVM(["sh", "-c", script], tether: ["stdin": "open"]) { config, _ in
            // Without a PID namespace of its own the container sees the VM's processes.
            config["linux"] = ["namespaces": [["type": "mount"], ["type": "ipc"], ["type": "uts"], ["type": "cgroup"]]]
        }
        var random = SystemRandomNumberGenerator()
        let data = Data((0..<2_000_000).map { _ in UInt8.random(in: 0...255, using: &random) })
        let digest = try run(["sha256sum"], input: data).text.prefix(64)
        // A busy machine emulates slowly.
        let sent = try vm.ssh(["sha256sum"], input: data, options: ["-c", "aes128-gcm@openssh.com"], seconds: 400)
        #expect(sent.text.prefix(64) == digest, "\(sent.errorText)")
        let received = try vm.ssh(
            ["head -c 2000000 /dev/urandom | tee /tmp/x; sha256sum </tmp/x >&2"], options: ["-c", "aes128-gcm@openssh.com"], seconds: 400)
        #expect(received.stdout.count == 2_000_000)
        let other = try run(["sha256sum"], input: received.stdout).text.prefix(64)
        #expect(received.errorText.prefix(64) == other)

        let client = try vm.start()
        client.write("go\n")
        // The server that served it is gone, and nothing tells the client.
        for _ in 0..<300 where !vm.console.contains("attach server ended with SIGKILL") { Thread.sleep(forTimeInterval: 0.1) }
        #expect(vm.console.contains("attach server ended with SIGKILL"))
        vm.line.drop()
        _ = client.finish()
        // Also where the log has not taken yet what the container wrote.
        let alive = try vm.ssh(["cat /proc/$(pidof tether-attach)/status"])
        for line in ["Uid:\t2147480001\t2147480001\t2147480001\t2147480001", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            #expect(alive.text.contains(line + "\n"), "\(alive.text)\(alive.errorText)")
        }
        let last = try vm.ssh(input: Data("more\n".utf8))
        #expect(last.status == 9, "\(last.errorText)")
        let ended = try vm.finish()
        let numbers = (1...30_000).map { "\($0)\n" }.joined()
        #expect(ended.code == 9 && ended.out == numbers, "\(ended.finished.errorText)")
    }

    @Test("a container that waits for a client: it is not started before, and its first byte is not lost")
    func waits() throws {
        let vm = try AttachVM(["sh", "-c", "echo first; read x; echo $x; exit 4"], tether: ["stdin": "open"], attach: ["wait": true])
        try vm.waitUntilWaiting()
        #expect(vm.status["waiting"] as? String == "attach" && vm.status["phase"] as? String == "launching", "\(vm.status)")
        Thread.sleep(forTimeInterval: 1)
        // The container is there all the same, and others run in it.
        let early = try vm.ssh(["cat /proc/1/comm; ps | grep -c '[e]cho first'; exit 6"])
        #expect(early.status == 6 && early.text == "tether-init\n0\n", "\(early.text)\(early.errorText)")
        let client = try vm.ssh(input: Data("input\n".utf8))
        #expect(client.status == 4 && client.text == "first\ninput\n", "\(client.text)\(client.errorText)")
        let ended = try vm.finish()
        #expect(ended.code == 4 && ended.out == "first\ninput\n" && ended.status["waiting"] == nil)
    }

    @Test("a container that waits for a client and has a terminal: it begins with the modes of the client's")
    func waitsWithTerminal() throws {
        let vm = try AttachVM(["sh", "-c", "stty -a; exit 4"], attach: ["wait": true]) { _, process in process["terminal"] = true }
        for _ in 0..<50 where vm.status["waiting"] == nil { Thread.sleep(forTimeInterval: 0.1) }
        let client = try throughTerminal(vm, [])
        #expect(client.status == 4, "\(client.text)\(client.errorText)")
        for part in ["erase = ^H;", "intr = ^C;", "-ixon", "rows 30"] { #expect(client.text.contains(part), "\(part): \(client.text)") }
        let ended = try vm.finish()
        #expect(ended.code == 4)
    }

    @Test("a stop while it waits, and a wait that has an end")
    func waitEnds() throws {
        let vm = try AttachVM(["sh", "-c", "echo never"], attach: ["wait": true])
        try vm.waitUntilWaiting()
        // It ends what runs in it already, of which no output is lost.
        let beside = try vm.start(["seq 5000; echo ready; exec sleep 1000"])
        #expect(beside.wait(for: "ready"))
        vm.interrupt()
        let stopped = try vm.finish()
        stopped.expectFailure(125, phase: "launching", says: ["stopped while it waited for a client to attach"])
        #expect(stopped.out.isEmpty && beside.finish() != 0)
        #expect(beside.text == (1...5000).map { "\($0)\n" }.joined() + "ready\n")

        let alone = try AttachVM(["sh", "-c", "echo alone"], attach: ["wait": true, "waitTimeoutSeconds": 1])
        let ended = try alone.finish()
        #expect(ended.code == 0 && ended.out == "alone\n" && ended.console.contains("no client attached in time"))
    }
}
