import ContainerSpec
import Control
import ControlClient
import Foundation
import SessionLog
import SessionReplay
import Testing
import VIC

/// VIC's portlayer boots our ISO in the place of its own.
///
/// Cases have the numbers of the list of what a host of VIC's does with a guest. An exec is named after the case that it is.
///
/// | cases | where |
/// |---|---|
/// | A1 | `failures`: the container's own process, from boot to power-off |
/// | A2, A4–A17, A27, A28, A38–A40, A62, A64 | `sessions`: execs of one VM; A4–A7, A12, A14, A15 as the container's own in `failures`, too |
/// | A3, A8 (all 255 codes), A30 | VICReloadBootTests; the processes of A3 and A8 by the control protocol, not by keys |
/// | A18, A20, A21, A29, A31–A37, A43 | VICLineBootTests: the VCH's side of the line |
/// | A19 | `stoppedWhileWaiting` |
/// | A22–A25 | `sessions`: the log; A22 for binary data in VICLineBootTests |
/// | A26 | VICLineBootTests: 50 times by channels of kind `session`, twice as a VCH does it, by keys and joining |
/// | A41, A42 | LineBootTests, and HandshakeTests beside them |
/// | A44, A45 | VICNetworkBootTests |
/// | A60 | `refusals` |
///
/// Other than VIC by decision: a signal's status is 128 and its number, where VIC has -1 (A9); a missing directory is made (A17).
@Suite("Boot: VIC", .serialized) struct VICBootTests {
    /// The container waits for what the sessions beside it leave, shows it, and ends.
    private static let script = """
        echo id=$(id -u):$(id -g) home=$HOME path=$PATH cwd=$(pwd) host=$(hostname) nofile=$(ulimit -n) core=$(ulimit -c) \
        maps=$(cat /proc/sys/vm/max_map_count)
        ulimit -Hs; ulimit -l; ulimit -u; cat /proc/sys/net/ipv4/conf/all/arp_notify
        grep ^CapEff /proc/self/status
        for f in hosts hostname resolv.conf; do cat /etc/$f && echo changed >>/etc/$f; done
        i=0; while [ $i -lt 600 ] && set -- /tmp/ended/* && [ $# -lt \(markers) ]; do sleep 0.5; i=$((i+1)); done
        cd /tmp; for f in A10 A10p A11 A12 A13 A16 nobody A2 A17; do echo "$f: $(cat $f)"; done
        i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done; sleep 1
        cat /proc/[0-9]*/stat >/tmp/stats 2>/dev/null; echo A28: $(grep -c ') Z ' /tmp/stats)
        printf 'out '; printf 'err ' >&2; sleep 0.5; echo more; echo done >&2
        seq 5000; printf '%4095s\\n' x; printf '%8192s\\n' x
        exit 7
        """

    /// Files in /tmp/ended when all sessions have come so far: one of each `note`, and of both of A10.
    private static let markers = 29

    private static func sessions() -> [VICSession] {
        func note(_ id: String, _ script: String, _ change: @escaping (inout VICSession) -> Void = { _ in }) -> VICSession {
            VICVM.session(id, ["sh", "-c", "\(script); code=$?; touch /tmp/ended/\(id); exit $code"], change)
        }
        func user(_ user: String, _ group: String = "") -> (inout VICSession) -> Void {
            return {
                $0.user = user
                $0.group = group
            }
        }
        let who = "echo $(id -u):$(id -g):$(id -G) home=$HOME"
        let codes = (1...10).map { note("A39-\($0)", "(exit \($0))") }
        return codes + [
            note("nobody", "\(who) >/tmp/nobody", user("nobody")), note("A11", "\(who) >/tmp/A11", user("newuser")),
            note("A12", "\(who) >/tmp/A12", user("2000")), note("A13", "\(who) >/tmp/A13", user("2000", "2000")),
            note("A16", "echo home=$HOME >/tmp/A16") { $0.env.append("HOME=/mine") },
            note("A2", "./echo relative >/tmp/A2") { $0.directory = "/bin" },
            note("A17", "pwd >/tmp/A17") { $0.directory = "/srv/not/there" },
            VICVM.session(
                "A10",
                ["sh", "-c", #"for a; do echo "<$a>"; done >/tmp/A10; touch /tmp/ended/A10"#, "x", "", "é✓", "two\nlines"]),
            // Its script is made one with a | in it, as VIC's host writes such a one.
            VICVM.session("A10p", ["sh", "-c", "PIPE"]),
            note("A8-126", "(exit 126)"), note("A8-127", "(exit 127)"), note("A8-128", "(exit 128)"), note("A8-255", "(exit 255)"),
            VICVM.session("A8-false", ["false"]), VICVM.session("A1", ["date"]), VICVM.session("A3", ["/bin/date"]),
            VICVM.session("A2-dot", ["./date"]) {
                $0.directory = "/bin"
                $0.env = ["PATH="]
            },
            note("A9-KILL", "touch /tmp/ended/k; kill -KILL $$"), note("A9-TERM", "touch /tmp/ended/t; kill -TERM $$"),
            note("A9-SEGV", "touch /tmp/ended/s; kill -SEGV $$"), note("A27", "(sleep 2000 &); (exit 4)"),
            note("A27-later", "while [ ! -e /tmp/ended/A27 ]; do sleep 0.5; done; sleep 5"),
            note("A40", "touch /tmp/ended/long; sleep 1000"), VICVM.session("A5", ["notthere"]),
            VICVM.session("A4", ["/not/there"]), VICVM.session("A38", ["/not/there"]), VICVM.session("A6", ["/etc/plain"]),
            VICVM.session("A7", ["/etc/text"]), VICVM.session("A7-elf", ["/etc/garbage"]),
            VICVM.session("A7-lost", ["/etc/no-interpreter"]), VICVM.session("A14", ["true"], user("nonexistent")),
            VICVM.session("A15", ["true"], user("root", "nonexistent")), VICVM.session("A12-out", ["true"], user("8589934592")),
            VICVM.session("A17-file", ["true"]) { $0.directory = "/etc/passwd" },
            VICVM.session("idle", ["true"]) { $0.active = false },
        ]
    }

    @Test("A1–A17, A22–A25, A27, A28, A38–A40, A62, A64: sessions, users, paths, exit codes, the log, and the order of the results")
    func sessions() throws {
        let id = String(repeating: "c0ffee00", count: 8)
        var config = VICVM.config(id, ["sh", "-c", Self.script]) {
            $0.createTime = 1_500_000_001
            $0.env.append("TOKEN=hunter2")
        }
        config.hostname = "web-1"
        config.domainname = "example.org"
        config.diagnostics.debug = 2
        config.execs = Self.sessions()
        let pipe = "sh|-c|echo a b|tr a-z A-Z >/tmp/A10p; touch /tmp/ended/A10p"
        // Some 900 keys are read and 300 written, which takes an emulated machine that is not alone a while.
        let run = try VICVM.boot(
            image: Images.odd(), options: ["--timeout", "900"], config, raw: [("guestinfo.vice./execs|A10p/cmd/Args~@non-persistent", pipe)]
        )
        #expect(run.vm.code == 7, "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(3000))")
        checkPrimary(run, id)
        checkOthers(run)
        checkLog(run)
        try checkOrder(run, id)
    }

    private func checkPrimary(_ run: VICVM, _ id: String) {
        #expect(run.result(id, "started") == "true" && run.result(id, "status") == "7" && run.result(id, "runblock") == "false")
        let (start, stop) = (Int64(run.result(id, "detail.starttime") ?? "") ?? 0, Int64(run.result(id, "detail.stoptime") ?? "") ?? 0)
        #expect(start > 1_500_000_001 && stop >= start && run.result(id, "detail.createtime") == "1500000001")
        #expect(run.result(id, "diagnostics.resurrections") == "0")
        #expect(
            run.vm.status["phase"] as? String == "exited" && run.vm.status["exitCode"] as? Int == 7 && run.vm.status["id"] as? String == id)
        let out = run.vm.out
        // A16 and A64.
        let first = "id=0:0 home=/root path=/bin cwd=/ host=web-1.example.org nofile=1048576 core=unlimited maps=262144\n"
        #expect(out.hasPrefix(first + "unlimited\nunlimited\nunlimited\n1\n"), "\(out.prefix(300))")
        #expect(out.contains("127.0.1.1\tweb-1.example.org web-1\n") && out.contains("\nweb-1.example.org\n"))
        #expect(out.contains("search example.org\noptions timeout:15 attempts:5\n"))
        for text in [
            "A10: <>\n<é✓>\n<two\nlines>\n", "A10p: A B\n", "A11: 1500:1600:1600 1601 home=/home/new\n", "A12: 2000:0:0 home=/\n",
            "A13: 2000:2000:2000 home=/\n", "A16: home=/mine\n", "nobody: 65534:65534:65534 home=/\n", "A2: relative\n",
            "A17: /srv/not/there\n", "A28: 0\n",
        ] {
            #expect(out.contains(text), "'\(text)' is missing in \(out.prefix(3000))")
        }
        // A62: what a VCH collects of a container with debug messages has no secrets in it.
        #expect(run.vm.console.contains("of VIC's keys read") && !run.vm.console.contains("hunter2"))
    }

    private func checkOthers(_ run: VICVM) {
        func expect(_ id: String, started: String = "true", status: Int, hasEnded: Bool = true) {
            #expect(run.result(id, "started", isExec: true) == started, "\(id)")
            #expect(run.result(id, "status", isExec: true) == "\(status)", "\(id)")
            let stop = Int64(run.result(id, "detail.stoptime", isExec: true) ?? "") ?? -1
            #expect(hasEnded ? stop > 1_500_000_000 : stop == 0, "\(id): \(stop)")
            #expect(Int64(run.result(id, "detail.starttime", isExec: true) ?? "") ?? 0 > 1_500_000_000, "\(id)")
        }
        for id in ["A1", "A2", "A2-dot", "A3", "A27-later", "nobody", "A10", "A10p", "A11", "A12", "A13", "A16", "A17"] {
            expect(id, status: 0)
        }
        for code in 1...10 { expect("A39-\(code)", status: code) }
        for code in [126, 127, 128, 255] { expect("A8-\(code)", status: code) }
        expect("A8-false", status: 1)
        expect("A9-KILL", status: 137)
        expect("A9-TERM", status: 143)
        expect("A9-SEGV", status: 139)
        // A27: what it left holds its output open, and its end is told all the same.
        expect("A27", status: 4)
        // A40: it ends with the container.
        expect("A40", status: 137)
        func fails(_ id: String, _ started: String, _ status: Int) { expect(id, started: started, status: status, hasEnded: false) }
        fails("A4", "stat /not/there: no such file or directory", 127)
        fails("A38", "stat /not/there: no such file or directory", 127)
        fails("A5", "notthere: no such executable in PATH", 127)
        fails("A6", "permission denied", 126)
        fails("A7", "fork/exec /etc/text: exec format error", 126)
        fails("A7-elf", "fork/exec /etc/garbage: exec format error", 126)
        fails("A7-lost", "fork/exec /etc/no-interpreter: no such file or directory", 127)
        fails("A14", "Unable to find user nonexistent: no matching entries in passwd file", 125)
        fails("A15", "Unable to find group nonexistent: no matching entries in group file", 125)
        fails("A12-out", "Uids and gids must be in range 0-2147483647", 125)
        fails("A17-file", "set working directory /etc/passwd: Not a directory", 125)
        #expect(run.result("idle", "started", isExec: true) == "<nil>", "what is not active is not touched")
    }

    private func checkLog(_ run: VICVM) {
        let (records, skipped) = run.records
        #expect(skipped == 0 && records.allSatisfy { $0.bytes.count + ($0.endsLine ? 1 : 0) <= 4095 })
        func lines(_ stream: LogStream) -> [String] {
            records.filter { $0.stream == stream && $0.endsLine }.map { String(decoding: $0.bytes, as: UTF8.self) }
        }
        // A22: what the digests in the status are compared with is what these records hold.
        #expect(String(decoding: run.bytes(.stdout), as: UTF8.self) == run.vm.out)
        // A24.
        #expect(lines(.stderr) == ["err done"])
        // A23: a record for each line, the last 200 in their order; and A25: what is longer than a record is in several.
        let numbers = lines(.stdout).drop { $0 != "out more" }.dropFirst().prefix(5000)
        #expect(Array(numbers) == (1...5000).map { "\($0)" } && numbers.suffix(200).first == "4801")
        #expect(records.filter { $0.stream == .stdout }.suffix(5).map { $0.bytes.count } == [4095, 0, 4095, 4095, 2])
    }

    /// What the host sees, in its order (docs/vic.md, "Results").
    private func checkOrder(_ run: VICVM, _ id: String) throws {
        let start = [
            "detail.starttime=time", "detail.stoptime=0", "diagnostics.resurrections=0", "runblock=false", "status=0", "started=true",
        ]
        #expect(run.order(id) == ["detail.createtime=time"] + start + ["status=7", "detail.stoptime=time"])
        // Whoever made it gave no time for that, and so none is echoed.
        #expect(run.order("A39-3", isExec: true) == start + ["status=3", "detail.stoptime=time"])
        let reason = "started=notthere: no such executable in PATH"
        #expect(run.order("A5", isExec: true) == Array(start.dropLast(2)) + ["status=127", reason])
        // A27: its end was told while what it left held its output open, and long before the container's end let go of it.
        let ends = ["a27", "a27-later"].map { id in
            run.sets.firstIndex { $0.key == "guestinfo.vice..execs|\(id).detail.stoptime@non-persistent" && $0.value != "0" }
        }
        #expect(try #require(ends[0]) < (try #require(ends[1])))
        // The end of the container is the last of all, behind the status that says how.
        #expect(run.sets.last?.key == "guestinfo.vice..sessions|\(id).detail.stoptime")
        #expect(run.sets.last { $0.key == "guestinfo.tether.status" }?.value.contains("\"exited\"") == true)
    }

    @Test("A1, A4–A7, A12, A14, A15: one process from boot to power-off, and what cannot be started ends the VM, and says why")
    func failures() throws {
        let run = try VICVM.boot(VICVM.config("c1", ["date"]))
        #expect(run.vm.code == 0 && run.result("c1", "started") == "true" && run.result("c1", "status") == "0")
        #expect(Int64(run.result("c1", "detail.stoptime") ?? "") ?? 0 > 1_500_000_000 && run.vm.console.contains("Power down"))
        #expect(run.records.all.count == 1 && run.vm.out.split(separator: " ").count == 6, "\(run.vm.out)")
        for (args, user, group, code, started) in [
            (["/not/there"], "", "", 127, "stat /not/there: no such file or directory"),
            (["notthere"], "", "", 127, "notthere: no such executable in PATH"),
            (["/etc/plain"], "", "", 126, "permission denied"),
            (["/etc/text"], "", "", 126, "fork/exec /etc/text: exec format error"),
            (["true"], "nonexistent", "", 125, "Unable to find user nonexistent: no matching entries in passwd file"),
            (["true"], "root", "nonexistent", 125, "Unable to find group nonexistent: no matching entries in group file"),
            (["true"], "-100", "", 125, "Uids and gids must be in range 0-2147483647"),
        ] as [([String], String, String, Int32, String)] {
            let run = try VICVM.boot(
                image: Images.odd(),
                VICVM.config("c1", args) {
                    $0.user = user
                    $0.group = group
                })
            run.expectFailure("c1", code, started)
        }
    }

    @Test("A60: what the host refuses is tried again, in its order; what it does not take for long holds up only what it vouches for")
    func refusals() throws {
        func refuse(_ name: String, _ count: Int) -> [String] { ["--refuse", "guestinfo.vice..\(name)=\(count)"] }
        var config = VICVM.config("c1", ["sh", "-c", "sleep 8; exit 3"])
        config.execs = [VICVM.session("e1", ["sh", "-c", "exit 9"]), VICVM.session("e2", ["sh", "-c", "exit 8"])]
        let run = try VICVM.boot(
            options: refuse("sessions|c1.status", 2) + refuse("sessions|c1.started", 4) + refuse("sessions|c1.detail.stoptime", 1)
                + refuse("execs|e1.status@non-persistent", 6), config)
        #expect(run.vm.code == 3, "\(run.vm.finished.errorText)")
        let start = ["detail.starttime=time", "detail.stoptime=0", "diagnostics.resurrections=0", "runblock=false", "status=0"]
        func refused(_ key: String, _ count: Int) -> [String] { [String](repeating: key + " refused", count: count) }
        let end = ["started=true", "status=9", "detail.stoptime=time"]
        // Four times while the VM runs; at its end there is no time to wait longer.
        var expected = start.prefix(4) + refused("status=0", 6)
        expected += ["status=0"] + end
        #expect(run.order("e1", isExec: true) == Array(expected))
        #expect(run.order("e2", isExec: true) == start + ["started=true", "status=8", "detail.stoptime=time"])
        expected = ["detail.starttime=time", "detail.stoptime=0 refused"] + start[1...3] + refused("status=0", 2)
        expected += ["status=0"] + refused("started=true", 4)
        expected += ["started=true", "status=3", "detail.stoptime=time"]
        #expect(run.order("c1") == Array(expected))
        let place = { (key: String) in run.sets.firstIndex { $0.key == "guestinfo.vice.." + key && $0.isTaken } ?? .max }
        #expect(place("execs|e2.started@non-persistent") < place("sessions|c1.started"), "nothing else waits")
        #expect(run.vm.console.contains("info-set guestinfo.vice..sessions|c1.started: "), "\(run.vm.console.suffix(2000))")
    }

    @Test("A19: a container that is stopped while it waits to be joined ends, and so does what was to run beside it")
    func stoppedWhileWaiting() throws {
        var config = VICVM.config("c1", ["sh", "-c", "echo never"]) { $0.runBlock = true }
        config.execs = [VICVM.session("e1", ["true"]), VICVM.session("e2", ["sleep", "1000"])]
        let run = try VICVM.boot(config) { _, kept in
            let console = try String(contentsOfFile: kept + "/console.log", encoding: .utf8)
            guard console.contains("waiting for a client to attach") else { return false }
            let sets = try VICVM.sets(kept)
            return sets.contains { $0.key.contains("|e1.detail.stoptime") && $0.value != "0" }
                && sets.contains { $0.key.contains("|e2.started") && $0.value == "true" }
        }
        #expect(run.vm.code == 125 && run.vm.out.isEmpty, "\(run.vm.finished.errorText)")
        #expect(run.result("c1", "started") == "start c1: stopped while it waited for a client to attach")
        #expect(run.result("c1", "status") == "125" && run.result("c1", "detail.stoptime") != "0")
        #expect(run.result("e1", "started", isExec: true) == "true" && run.result("e1", "status", isExec: true) == "0")
        #expect(run.result("e2", "started", isExec: true) == "true" && run.result("e2", "status", isExec: true) == "137")
        #expect(run.vm.console.contains("waiting for a client to attach") && run.vm.console.contains("Power down"))
    }

    @Test("keys that cannot be understood are named, to VIC too")
    func malformed() throws {
        let key = "guestinfo.vice./sessions|c1/tty"
        var keys = try VICVM.config("c1", ["true"]).keyValues()
        for index in keys.indices where keys[index].key == key { keys[index].value = "maybe" }
        let scratch = try Scratch()
        let arguments = try VM.arguments(scratch, rawConfig: nil, options: VICVM.options(keys))
        let refused = try VICVM(VM.collect(run(arguments), scratch), scratch)
        refused.expectFailure("c1", 125, "decode VIC's keys: \(key): expected true or false, found \"maybe\"")
    }

    @Test("a container that is started again says how often, and one that is stopped ends")
    func restart() throws {
        let script =
            "if [ -e /tmp/again ]; then trap 'exit 6' TERM; echo again; else touch /tmp/again; echo first; exit 5; fi; "
            + "while :; do sleep 0.1; done"
        let config = VICVM.config("c1", ["sh", "-c", script]) { $0.restart = true }
        let run = try VICVM.boot(config) { output, _ in try String(contentsOfFile: output, encoding: .utf8).contains("again") }
        #expect(run.vm.code == 6 && run.vm.out == "first\nagain\n", "\(run.vm.finished.errorText)")
        #expect(run.result("c1", "diagnostics.resurrections") == "1" && run.result("c1", "started") == "true")
        #expect(run.result("c1", "status") == "6" && run.result("c1", "detail.stoptime") != "0")
    }

    @Test("a crash of PID 1 is told to VIC, and leaves no garbage in its log")
    func crash() throws {
        // A container of VIC's has all rights: by the core pattern the kernel runs a program for it, outside of it.
        let script =
            "echo alive; printf '\\174/run/rootfs/bin/busybox kill -SEGV 1' >/proc/sys/kernel/core_pattern; ulimit -c unlimited; "
            + "sh -c 'kill -SEGV $$'; while :; do sleep 0.1; done"
        let run = try VICVM.boot(VICVM.config("c1", ["sh", "-c", script]))
        #expect(run.vm.code == 125 && run.vm.out == "alive\n", "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(2000))")
        #expect(run.vm.console.contains("tether crashed: SIGSEGV"))
        #expect(run.vm.status["phase"] as? String == "failed" && run.vm.status["drain"] as? String == "crash")
        #expect(run.result("c1", "started") == "true" && run.result("c1", "status") == "125" && run.result("c1", "detail.stoptime") != "0")
        #expect(run.records.skipped == 0 && run.records.all.count == 1)
    }
}
