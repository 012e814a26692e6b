import Foundation
import SessionLog
import Testing

/// The container process in a booted VM: exit codes, output, arguments, environment.
@Suite("Boot: the container process", .serialized) struct ProcessBootTests {
    @Test("stdout, stderr and the exit code arrive", arguments: [0, 1, 42, 255])
    func exitCode(_ code: Int32) throws {
        let vm = try VM.boot(command: ["sh", "-c", "echo out; printf partial; echo err >&2; exit \(code)"])
        #expect(vm.code == code)
        #expect(vm.out == "out\npartial")
        #expect(vm.err == "err\n")
        #expect(vm.exit?.exitCode == UInt8(code))
        #expect(vm.exit?.drain == .eof)
        #expect(vm.exit?.stdout?.bytes == 11)
        #expect(vm.status["phase"] as? String == "exited")
        #expect(vm.status["exitCode"] as? Int == Int(code))
        let timings = vm.status["timings"] as? [String: Any] ?? [:]
        for phase in ["boot", "config", "devices", "rootfs", "launching", "running", "total"] { #expect(timings[phase] != nil) }
    }

    @Test("death by a signal is 128 + its number", arguments: [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
    func signal(_ name: String, _ code: Int32) throws {
        let vm = try VM.boot(command: ["sh", "-c", "echo before; kill -\(name) $$; echo after"])
        #expect(vm.code == code)
        #expect(vm.out == "before\n")
        #expect(vm.exit?.signal == "SIG" + name)
        #expect(vm.status["signal"] as? String == "SIG" + name)
    }

    @Test("4 MB of random bytes on stdout beside text on stderr")
    func randomBytes() throws {
        let script = """
            dd if=/dev/urandom of=/tmp/random bs=65536 count=64 2>/dev/null
            cat /tmp/random & i=0
            while [ $i -lt 200 ]; do echo "line $i" >&2; i=$((i+1)); done
            wait; sha256sum /tmp/random >&2
            """
        let vm = try VM.boot(options: ["--memory", "256"], command: ["sh", "-c", script])
        #expect(vm.code == 0)
        #expect(vm.finished.stdout.count == 64 * 65536)
        var digest = StreamDigest()
        digest.update([UInt8](vm.finished.stdout))
        let lines = vm.err.split(separator: "\n").map(String.init)
        #expect(lines.count == 201)
        #expect(lines.dropLast() == (0..<200).map { "line \($0)" }[...])
        #expect(lines.last?.hasPrefix(digest.total.sha256) == true)
        #expect(vm.exit?.stdout == digest.total)
    }

    @Test("a process that exits right after writing loses nothing")
    func exitAfterWriting() throws {
        let vm = try VM.boot(command: ["sh", "-c", "seq 1 5000; exec seq 5001 6000"])
        #expect(vm.code == 0)
        #expect(vm.out == (1...6000).map { "\($0)\n" }.joined())
    }

    @Test("arguments arrive byte for byte", arguments: ["plain", "gzip+base64"])
    func arguments(_ encoding: String) throws {
        let odd = ["a b", "quote\"'`$HOME\\", "new\nline", "pipe|pipe", "üñï€😀", "", "-n", "\t", "tail"]
        let script = "for a; do printf '[%s]' \"$a\"; done"
        // Annotations make it 1 MiB, the most that a guestinfo value may have; compressed it is small.
        let fill = encoding == "plain" ? 1_000_000 : 1_500_000
        let config = configuration(["sh", "-c", script, "sh"] + odd) { config, _ in
            config["annotations"] = ["fill": String(repeating: "x", count: fill)]
        }
        let vm = try VM.boot(config: config, options: ["--config-encoding", encoding])
        #expect(vm.code == 0, "\(vm.finished.errorText)")
        #expect(vm.out == odd.map { "[\($0)]" }.joined())
    }

    @Test("the process is what the configuration says")
    func processState() throws {
        let script = """
            echo id=$(id -u):$(id -g):$(id -G); echo umask=$(umask); echo cwd=$(pwd); echo host=$(hostname); echo var=$VAR
            echo nofile=$(ulimit -Sn):$(ulimit -Hn); echo oom=$(cat /proc/self/oom_score_adj)
            grep -E '^(Cap|NoNewPrivs|SigBlk|SigIgn|SigCgt)' /proc/self/status
            for f in 3 4 5 6 7 8 9 10 11 12 20; do [ -e /proc/$$/fd/$f ] && echo leaked=$f; done; echo sid=$(cut -d' ' -f6 /proc/$$/stat) pid=$$
            for d in null zero full random urandom tty; do stat -c "%n %t %T %a" /dev/$d; done
            ls -l /dev | grep -- '->' | sed 's/.* \\([a-z]* -> .*\\)/\\1/'
            grep -E ' /(proc|sys|dev|dev/pts|dev/shm|dev/mqueue|data/volume|escape) ' /proc/mounts
            echo domain=$(cat /proc/sys/kernel/domainname)
            cat /proc/sysrq-trigger; echo masked=$(wc -c < /proc/timer_list); echo x > /proc/sys/kernel/hostname || echo ro
            head -c 3 /dev/zero | wc -c; echo shm > /dev/shm/x && cat /dev/shm/x
            """
        let config = configuration(["sh", "-c", script]) { config, process in
            process["cwd"] = "/made/for/me"
            process["user"] = ["uid": 1234, "gid": 2345, "umask": 0o027, "additionalGids": [5, 77]]
            process["env"] = ["PATH=/bin", "VAR=a=b c"]
            process["rlimits"] = [["type": "RLIMIT_NOFILE", "soft": 512, "hard": 600]]
            process["noNewPrivileges"] = true
            process["oomScoreAdj"] = 321
            process["capabilities"] = [
                "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "effective": ["CAP_KILL"],
                "permitted": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
            ]
            config["domainname"] = "example.test"
            config["mounts"] = [
                [
                    "destination": "/data/volume", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "size=1m", "mode=700", "uid=1234"],
                ]
            ]
            config["linux"] = [
                "maskedPaths": ["/proc/timer_list", "/proc/not-there"], "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            ]
        }
        let vm = try VM.boot(config: config)
        let lines = vm.out.split(separator: "\n").map(String.init)
        func expect(_ line: String, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(lines.contains(line), "'\(line)' is missing in:\n\(vm.out)\(vm.err)", sourceLocation: sourceLocation)
        }
        expect("id=1234:2345:2345 5 77")
        expect("umask=0027")
        expect("cwd=/made/for/me")
        expect("host=box")
        expect("domain=example.test")
        expect("var=a=b c")
        expect("nofile=512:600")
        expect("oom=321")
        // CAP_CHOWN 0, CAP_KILL 5, CAP_NET_RAW 13. Executing as an ordinary user keeps just the ambient ones.
        expect("CapInh:\t0000000000000020")
        expect("CapPrm:\t0000000000000020")
        expect("CapEff:\t0000000000000020")
        expect("CapBnd:\t0000000000002021")
        expect("CapAmb:\t0000000000000020")
        expect("NoNewPrivs:\t1")
        expect("SigBlk:\t0000000000000000")
        expect("SigIgn:\t0000000000000000")
        #expect(!vm.out.contains("leaked="))
        expect("sid=2 pid=2")
        for (name, numbers) in [("null", "1 3"), ("zero", "1 5"), ("full", "1 7"), ("random", "1 8"), ("urandom", "1 9"), ("tty", "5 0")] {
            expect("/dev/\(name) \(numbers) 666")
        }
        for link in ["fd -> /proc/self/fd", "ptmx -> pts/ptmx", "stdin -> /proc/self/fd/0"] { expect(link) }
        #expect(lines.contains { $0.hasPrefix("tmpfs /data/volume tmpfs rw,nosuid") && $0.contains("size=1024k") })
        for mount in ["proc /proc proc", "devpts /dev/pts devpts", "mqueue /dev/mqueue mqueue", "sysfs /sys sysfs"] {
            #expect(lines.contains { $0.hasPrefix(mount) }, "\(mount)")
        }
        expect("masked=0")
        expect("ro")
        expect("3")
        expect("shm")
        #expect(vm.code == 0)
    }

    @Test("a process that is PID 1 of its namespace, and one that has no PID namespace")
    func namespaces() throws {
        let own = configuration(["sh", "-c", "echo pid=$$; readlink /proc/1/ns/pid | wc -l"]) { config, _ in
            config["tether"] = ["init": false]
        }
        let first = try VM.boot(config: own)
        #expect(first.out.hasPrefix("pid=1\n"))

        // PID 1 is tether itself here: it reaps the thousand, and a daemon holds stdout beyond the process's end.
        let script = """
            i=0; while [ $i -lt 1000 ]; do (true &) ; i=$((i+1)); done; sleep 1
            echo zombies=$(grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l); cat /proc/1/comm
            (sleep 600 &); echo last
            """
        let shared = configuration(["sh", "-c", script]) { config, _ in
            config["linux"] = ["namespaces": [["type": "mount"]]]
            config["tether"] = ["drain": ["graceMilliseconds": 500]]
        }
        let second = try VM.boot(config: shared)
        #expect(second.code == 0)
        #expect(second.out == "zombies=0\ninit\nlast\n")
        #expect(second.exit?.drain == .grace)
    }

    @Test("orphans in the container's own PID namespace are reaped, and end with it")
    func orphans() throws {
        let script = """
            i=0; while [ $i -lt 1000 ]; do (true &) ; i=$((i+1)); done; sleep 1
            echo zombies=$(grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l); (sleep 600 &); echo last
            """
        let vm = try VM.boot(command: ["sh", "-c", script])
        #expect(vm.out == "zombies=0\nlast\n")
        #expect(vm.exit?.drain == .eof)
    }

    @Test("a caller that has closed standard output gets the exit status all the same")
    func closedOutput() throws {
        let command = [try Build.path("tetherctl"), "run", "--iso", try Build.path("tether.iso"), "--image", try Build.path("sample.vmdk")]
        let script = ["timeout", "300", "sh", "-c", #"exec "$@" >&-"#, "sh"]
        let finished = try run(script + command + ["--", "sh", "-c", "echo lost; echo kept >&2; exit 5"])
        #expect(finished.status == 5, "\(finished.errorText)")
        #expect(finished.errorText.hasSuffix("kept\n"))
    }

    @Test("an interrupt of tetherctl stops the container by its stop signal")
    func stop() throws {
        let config = configuration(["sh", "-c", "trap 'echo stopping; exit 9' USR1; echo ready; while :; do sleep 0.1; done"]) {
            config, _ in
            config["tether"] = ["stop": ["signal": "SIGUSR1", "timeoutSeconds": 20]]
        }
        let vm = try VM.boot(config: config) { process, output in
            try waitFor("ready", in: output)
            process.interrupt()
        }
        #expect(vm.out == "ready\nstopping\n")
        #expect(vm.code == 9, "\(vm.err)")
        #expect(vm.console.contains("stop asked by the power button"))
    }

    @Test("what ignores the stop signal is killed after the grace period")
    func stubborn() throws {
        let config = configuration(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]) { config, _ in
            config["tether"] = ["stop": ["timeoutSeconds": 1]]
        }
        let vm = try VM.boot(config: config) { process, output in
            try waitFor("ready", in: output)
            process.interrupt()
        }
        #expect(vm.code == 137, "\(vm.err)")
        #expect(vm.exit?.signal == "SIGKILL")
        #expect(vm.exit?.oomKilled == false)
    }

    private func waitFor(_ text: String, in file: String) throws {
        for _ in 0..<1200 {
            if try String(decoding: Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self).contains(text) { return }
            Thread.sleep(forTimeInterval: 0.1)
        }
        Issue.record("'\(text)' did not come in two minutes")
    }
}
