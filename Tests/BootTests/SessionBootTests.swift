import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// Sessions of a running VM through its control interface: processes beside the container process, output, input.
@Suite("Boot: sessions", .serialized) struct SessionBootTests {
    @Test("processes started beside the container process")
    func execs() throws {
        let vm = try LiveVM(["sleep", "1000"]) { _, process in process["env"] = ["PATH=/bin", "OWN=1"] }
        try identity(vm)
        try ends(vm)
        try refusals(vm)
        let ended = try vm.stop()
        #expect(ended.code == 143 && ended.exit?.signal == "SIGTERM", "\(ended.finished.errorText)")
        let starts = ended.events.compactMap { if case .execStart(_, let session, _, _, _) = $0 { session } else { nil } }
        let deaths = ended.events.compactMap { if case .execDie(_, let record) = $0 { record.id } else { nil } }
        #expect(!starts.isEmpty && starts.sorted() == deaths.sorted(), "each process's start and end stand in the session log")
    }

    private func identity(_ vm: LiveVM) throws {
        let list = try vm.client.list()
        #expect(list.count == 1 && list.first?.kind == .primary && list.first?.state == .running)
        #expect(list.first?.args == ["sleep", "1000"] && (list.first?.pid ?? 0) > 1 && list.first?.hasTerminal == false)

        let script = """
            echo id=$(id -u):$(id -g):$(id -G) umask=$(umask) cwd=$(pwd) a=$A own=$OWN nofile=$(ulimit -n) root=$(ls /bin/busybox)
            grep -E '^(Cap|NoNewPrivs|SigBlk|SigIgn|Seccomp:)' /proc/self/status
            for f in 3 4 5 6 7 8 9 10; do [ -e /proc/$$/fd/$f ] && echo leaked=$f; done; [ -t 0 ] || echo no-terminal
            """
        let members: [String: Any] = [
            "user": ["uid": 1000, "gid": 1001, "umask": 0o077, "additionalGids": [7, 8]],
            "env": ["PATH=/bin", "A=b c"], "cwd": "/made/here",
            "noNewPrivileges": true, "rlimits": [["type": "RLIMIT_NOFILE", "soft": 99, "hard": 100]],
            "capabilities": [
                "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
            ],
        ]
        let (result, out, err) = try vm.shell(script, members)
        #expect(result.exitCode == 0 && result.signal == 0 && !result.coreDumped && !result.oomKilled, "\(err)")
        #expect(try result.finishedAt >= #require(result.startedAt))
        for line in ["no-terminal", "NoNewPrivs:\t1"] {
            #expect(out.contains(line + "\n"), "'\(line)' is missing in \(out)\(err)")
        }
        #expect(out.contains("id=1000:1001:1001 7 8 umask=0077 cwd=/made/here a=b c own= nofile=99 root=/bin/busybox\n"), "\(out)\(err)")
        #expect(out.contains("CapBnd:\t0000000000000001\n") && out.contains("CapAmb:\t0000000000000001\n"), "\(out)")
        #expect(!out.contains("leaked="))

        let spaces = try vm.shell(
            "for n in mnt pid ipc uts cgroup; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/2/ns/$n) ] && echo $n; done")
        #expect(spaces.out == "mnt\npid\nipc\nuts\ncgroup\n", "\(spaces.err)")

        // What it does not say is the container process's.
        let bare = try vm.shell("echo own=$OWN user=$(id -u) cwd=$(pwd)")
        #expect(bare.out == "own=1 user=0 cwd=/\n")
        let named = try vm.shell("echo $(id -u):$(id -g) home=$HOME", ["user": ["username": "nobody"], "env": ["PATH=/bin"]])
        #expect(named.out == "65534:65534 home=/\n", "\(named.err)")
    }

    @Test("what is killed for memory: the helper before others, the processes as configured, PID 1 never")
    func scores() throws {
        // Without a PID namespace of its own the container sees them all.
        let vm = try LiveVM(["sleep", "900"]) { config, process in
            config["linux"] = ["namespaces": [["type": "mount"], ["type": "uts"]]]
            process["oomScoreAdj"] = 50
        }
        let script = """
            for p in /proc/[0-9]*; do
              read comm < $p/comm; case $comm in tether*|init|sleep) echo $comm=$(cat $p/oom_score_adj);; esac
            done
            """
        let (_, out, err) = try vm.shell(script)
        #expect(out.split(separator: "\n").sorted() == ["init=-1000", "sleep=50", "tether-relay=500"], "\(out)\(err)")
        #expect(try vm.stop().code == 143)
    }

    private func ends(_ vm: LiveVM) throws {
        #expect(try vm.shell("exit 42").result.exitCode == 42)
        let killed = try vm.shell("echo last; kill -KILL $$").result
        #expect(killed.exitCode == 137 && killed.signal == 9 && !killed.oomKilled)
        #expect(try vm.shell("kill -SEGV $$").result.signal == 11)
        let busy = try vm.shell("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done").result
        #expect(busy.userMicroseconds + busy.systemMicroseconds > 10_000 && busy.maximumResidentKiB > 100, "\(busy)")
        let both = try vm.shell("echo out; echo err >&2")
        #expect(both.out == "out\n" && both.err == "err\n" && both.result.stdout.bytes == 4 && both.result.drain == .eof)

        // A signal from a client, and how the end is told to one that only waits for it.
        let sleeper = try vm.exec(["sleep", "500"])
        try sleeper.signal(15)
        #expect(try sleeper.finish().signal == 15)
        #expect(try vm.client.wait(sleeper.id).exitCode == 143)
        try vm.client.forget(sleeper.id)
        expectRefusal(.unknownSession) { _ = try vm.client.wait(sleeper.id) }

        // One whose descendants hold its streams ends when they are silent.
        let daemon = try vm.shell("(sleep 300 &); echo left")
        #expect(daemon.out == "left\n" && daemon.result.drain == .grace)
    }

    private func refusals(_ vm: LiveVM) throws {
        expectRefusal(.launchFailed, exitCode: 127, says: "nowhere") { _ = try vm.exec(["nowhere"]) }
        expectRefusal(.launchFailed, exitCode: 126, says: "/etc") { _ = try vm.exec(["/etc"]) }
        expectRefusal(.invalid, says: "args") { _ = try vm.client.exec(ExecRequest(process: Array("{}".utf8))) }
        expectRefusal(.invalid) { _ = try vm.client.exec(ExecRequest(process: Array("no JSON".utf8))) }
        expectRefusal(.launchFailed, says: "nosuchuser") { _ = try vm.exec(["true"], ["user": ["username": "nosuchuser"]]) }
        expectRefusal(.unknownSession) { try vm.client.signal("none", 15) }
        expectRefusal(.unknownSession) { _ = try vm.client.attach(AttachRequest(session: "none")) }
        expectRefusal(.noTerminal) { try vm.client.resize("", rows: 1, columns: 1) }
        expectRefusal(.noStdin) { _ = try vm.client.attach(AttachRequest(wantsStdin: true)) }
        expectRefusal(.invalid) { try vm.client.signal("", 65) }
        expectRefusal(.invalid) { try vm.client.forget("") }
        let running = try vm.exec(["sleep", "500"])
        expectRefusal(.busy) { try vm.client.forget(running.id) }
        expectRefusal(.invalid, says: running.id) {
            var request = try vm.request(["true"])
            request.session = running.id
            _ = try vm.client.exec(request)
        }
        try running.signal(9)
        #expect(try running.finish().exitCode == 137)
        vm.client.sendRaw([5, 0, 0, 0, 99, 1, 2, 3, 4])
        expectRefusal(.unsupported) { _ = try vm.client.rawAnswer(0x0403_0201) }
        try vm.client.ping()
    }

    @Test("output to clients that read, that never read and that come later; input within its credit")
    func streams() throws {
        // The container process is a shell that does what clients write to it.
        let vm = try LiveVM(["sh"], tether: ["stdin": "open"])
        let reader = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .oldest, wantsStdin: true))
        try reader.write("echo ready\n")
        try reader.wait(for: "ready\n")

        // A client that grants nothing, beside one that does.
        let idle = try vm.client.attach(AttachRequest(stdout: .oldest, stderr: .oldest, stdoutWindow: 0, stderrWindow: 0), grants: false)
        let numbers = (1...30_000).map { "\($0)\n" }.joined()
        try reader.write("seq 1 30000; echo done >&2\n")
        let length = UInt64(6 + numbers.utf8.count)
        try reader.wait("all of the reader's output", timeout: 120) { reader.stderr.count >= 5 && reader.stdoutOffset == length }
        #expect(reader.output == "ready\n" + numbers && reader.errorOutput == "done\n")
        try idle.wait("the detachment of the client that does not read", timeout: 30) { idle.detachment != nil }
        #expect(idle.detachment == Detachment(.slow, stdoutOffset: 0, stderrOffset: 0))
        #expect(idle.stdout.isEmpty)

        try offsets(vm, all: "ready\n" + numbers)
        try floods(vm)
        try credit(vm)

        // Output goes to all who read it, and the end of input ends the shell.
        let other = try vm.client.attach()
        try reader.write("echo both; exit 7\n")
        #expect(try reader.finish().exitCode == 7)
        #expect(try other.finish().exitCode == 7)
        #expect(other.output == "both\n" && reader.output.hasSuffix("\nboth\n"))
        let ended = try vm.finish()
        #expect(ended.code == 7, "\(ended.finished.errorText)")
        // The log has everything, whoever was slow.
        #expect(ended.out == "ready\n" + numbers + "both\n" && ended.err == "done\n")
        #expect(ended.exit?.stdout?.bytes == UInt64(ended.out.utf8.count))
    }

    private func offsets(_ vm: LiveVM, all: String) throws {
        let bytes = Array(all.utf8)
        let end = UInt64(bytes.count)
        let kept = try #require(try vm.client.list().first).stdout
        #expect(kept.end == end && kept.first == end - UInt64(vm.client.limits.ringBytes))
        let late = try vm.client.attach(AttachRequest(stdout: .offset(end - 1000), stderr: .none))
        try late.wait("the last 1000 bytes") { late.stdout.count == 1000 }
        #expect(late.stdout == Array(bytes.suffix(1000)) && late.attached?.stdoutMissed == 0)
        try late.detach()
        let lost = try vm.client.attach(AttachRequest(stdout: .offset(2), stderr: .none))
        #expect(lost.attached?.stdoutOffset == kept.first && lost.attached?.stdoutMissed == kept.first - 2)
        try lost.wait("what is kept") { lost.stdoutOffset == end }
        #expect(lost.stdout == Array(bytes[Int(kept.first)...]))
        try lost.detach()
        let ahead = try vm.client.attach(AttachRequest(stdout: .live, stderr: .none))
        #expect(ahead.attached?.stdoutOffset == end && ahead.stdout.isEmpty)
        try ahead.detach()
    }

    private func floods(_ vm: LiveVM) throws {
        let flood = try vm.client.beginExec(vm.request(["sh", "-c", "yes | head -c 300000"], window: 1 << 20))
        try vm.client.started(flood)
        for _ in 0..<10 { try vm.client.ping(timeout: 10) }
        #expect(flood.result == nil || flood.stdout.count == 300_000)
        #expect(try flood.finish(timeout: 60).stdout.bytes == 300_000)

        // 2 MB in and out at once: the client compares the digests.
        var random = SystemRandomNumberGenerator()
        let data = (0..<2_000_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        let echo = try vm.exec(["cat"], stdin: true)
        let result = try echo.run(data, timeout: 240)
        #expect(echo.stdout == data && result.exitCode == 0 && result.stdout.bytes == 2_000_000)
    }

    private func credit(_ vm: LiveVM) throws {
        let deaf = try vm.exec(["sleep", "600"], stdin: true)
        let granted = Int(deaf.stdinCredit)
        #expect(granted == Int(vm.client.limits.stdinCredit) && granted > 0)
        // The pipe takes 64 KiB; what is more waits for a process that never reads.
        let sent = 65_536 + granted
        try deaf.write([UInt8](repeating: 1, count: sent), timeout: 60)
        let end = Date().addingTimeInterval(1)
        while Date() < end { try vm.client.ping() }
        #expect(deaf.stdinCredit == 0, "a process that does not read gives no credit back")
        try deaf.signal(9)
        #expect(try deaf.finish().signal == 9)
        // Without input of its own a process reads nothing, and is not waited for.
        #expect(try vm.exec(["cat"]).finish().stdout.bytes == 0)
        // Input that no one reads any more is not sent for ever.
        let short = try vm.exec(["head", "-c", "10"], stdin: true)
        #expect(try short.write([UInt8](repeating: 0x41, count: 400_000), timeout: 60) < 400_000)
        #expect(try short.finish().stdout.bytes == 10)
    }
}
