import ContainerSpec
import Control
import ControlClient
import Foundation
import SessionLog
import SessionReplay
import Testing
import VIC

/// A VM that was configured by VIC's keys, and what became of them.
struct VICVM {
    let vm: VM
    /// Variables by key in lower case, as they were at the end.
    let variables: [String: String]

    init(_ vm: VM, _ scratch: Scratch) throws {
        self.vm = vm
        let text = try String(contentsOfFile: VM.kept(scratch) + "/guestinfo.vmx", encoding: .utf8)
        variables = Dictionary(uniqueKeysWithValues: text.split(separator: "\n").compactMap { Self.variable($0) })
    }

    /// `key = "value"`, in which `|` and two hexadecimal digits stand for a byte.
    private static func variable(_ line: Substring) -> (String, String)? {
        guard let separator = line.range(of: " = \"") else { return nil }
        let parts = line[separator.upperBound...].dropLast().split(separator: "|", omittingEmptySubsequences: false)
        var bytes = Array((parts.first ?? "").utf8)
        for part in parts.dropFirst() { bytes += [UInt8(part.prefix(2), radix: 16) ?? 63] + Array(part.dropFirst(2).utf8) }
        return (String(line[..<separator.lowerBound]), String(decoding: bytes, as: UTF8.self))
    }

    /// What the guest wrote of a session.
    func result(_ session: String, _ name: String, isExec: Bool = false) -> String? {
        let map = isExec ? "execs" : "sessions"
        return variables["guestinfo.vice..\(map)|\(session).\(name)\(isExec ? "@non-persistent" : "")".lowercased()]
    }

    /// Boots the ISO with the keys of a configuration.
    static func boot(image: String? = nil, options: [String] = [], _ config: VICExecutorConfig) throws -> VICVM {
        let scratch = try Scratch()
        let arguments = try VM.arguments(scratch, image: image, rawConfig: nil, options: options + self.options(try config.keyValues()))
        return try VICVM(VM.collect(run(arguments), scratch), scratch)
    }

    static func options(_ keys: [VICKeyValue]) -> [String] { keys.flatMap { ["--guestinfo", "\($0.key)=\($0.value)"] } }

    /// The container's own session, to which others can be added.
    static func config(_ id: String, _ args: [String], _ change: (inout VICSession) -> Void = { _ in }) -> VICExecutorConfig {
        var config = VICExecutorConfig()
        config.id = id
        config.sessions = [session(id, args, change)]
        return config
    }

    static func session(_ id: String, _ args: [String], _ change: (inout VICSession) -> Void = { _ in }) -> VICSession {
        var session = VICSession()
        session.key = id
        session.id = id
        session.path = args.first ?? ""
        session.args = args
        session.env = ["PATH=/bin", "TERM=xterm"]
        session.directory = "/"
        session.stopSignal = "TERM"
        change(&session)
        return session
    }

    /// The records of the session log, and the bytes that are part of none.
    var records: (all: [CRIRecord], skipped: UInt64) {
        var decoder = VICLogDecoder()
        var records: [CRIRecord] = []
        var skipped: UInt64 = 0
        func take(_ item: CRIDecoder.Item) {
            switch item {
            case .record(let record), .truncated(let record): records.append(record)
            case .skipped(_, let count): skipped += count
            }
        }
        decoder.decode(vm.sessionLog, take)
        decoder.finish(take)
        return (records, skipped)
    }

    /// A failure says so in VIC's words, and the VM goes off.
    func expectFailure(
        _ session: String, _ code: Int32, _ started: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(vm.code == code, "\(vm.finished.errorText)", sourceLocation: sourceLocation)
        #expect(result(session, "started") == started, sourceLocation: sourceLocation)
        #expect(result(session, "status") == "\(code)", sourceLocation: sourceLocation)
        let (start, stop) = (Int64(result(session, "detail.starttime") ?? "") ?? 0, Int64(result(session, "detail.stoptime") ?? "") ?? 0)
        #expect(start > 1_500_000_000 && stop >= start, sourceLocation: sourceLocation)
        #expect(vm.status["phase"] as? String == "failed" && vm.sessionLog.isEmpty, sourceLocation: sourceLocation)
        #expect(vm.console.contains("Power down"), sourceLocation: sourceLocation)
    }
}

/// VIC's portlayer boots our ISO in the place of its own. Cases are numbered as in the list of what it does with a guest.
@Suite("Boot: VIC", .serialized) struct VICBootTests {
    /// The container waits for what the sessions beside it leave, shows it, and ends.
    private static let script = """
        echo id=$(id -u):$(id -g) home=$HOME path=$PATH cwd=$(pwd) host=$(hostname) nofile=$(ulimit -n) core=$(ulimit -c) \
        maps=$(cat /proc/sys/vm/max_map_count)
        grep ^CapEff /proc/self/status
        for f in hosts hostname resolv.conf; do cat /etc/$f && echo changed >>/etc/$f; done
        i=0; while [ $i -lt 600 ] && set -- /tmp/ended/* && [ $# -lt 13 ]; do sleep 0.1; i=$((i+1)); done
        cat /tmp/nobody /tmp/number /tmp/both /tmp/relative /tmp/args /tmp/made
        printf 'out '; printf 'err ' >&2; sleep 0.5; echo more; echo done >&2
        seq 5000; printf '%8192s\\n' x
        exit 7
        """

    private static func sessions() -> [VICSession] {
        // They start with the container, which first makes the directory.
        let ready = "until [ -e /tmp/ended/ready ]; do sleep 0.1; done"
        func note(_ id: String, _ script: String, _ change: @escaping (inout VICSession) -> Void = { _ in }) -> VICSession {
            VICVM.session(id, ["sh", "-c", "\(ready); \(script); code=$?; touch /tmp/ended/\(id); exit $code"], change)
        }
        let who = "echo $(id -u):$(id -g) home=$HOME"
        return [
            note("nobody", "\(who) >/tmp/nobody") { $0.user = "nobody" }, note("number", "\(who) >/tmp/number") { $0.user = "2000" },
            note("both", "\(who) >/tmp/both") {
                $0.user = "2000"
                $0.group = "2000"
            },
            note("relative", "./echo relative >/tmp/relative") { $0.directory = "/bin" },
            note("made", "pwd >/tmp/made") { $0.directory = "/srv/not/there" },
            VICVM.session(
                "args", ["sh", "-c", ready + #"; for a; do echo "<$a>"; done >/tmp/args; touch /tmp/ended/args"#, "x", "", "é✓", "two\nlines"]),
            note("code1", "sh -c 'exit 1'"), note("code255", "sh -c 'exit 255'"), note("kill", "touch /tmp/ended/k; kill -KILL $$"),
            note("term", "touch /tmp/ended/t; kill -TERM $$"), note("segv", "touch /tmp/ended/s; kill -SEGV $$"),
            note("long", "touch /tmp/ended/long; sleep 1000"), VICVM.session("notthere", ["notthere"]),
            VICVM.session("absent", ["/not/there"]), VICVM.session("plain", ["/etc/plain"]), VICVM.session("garbage", ["/etc/garbage"]),
            VICVM.session("script", ["/etc/no-interpreter"]), VICVM.session("user", ["true"]) { $0.user = "nonexistent" },
            VICVM.session("group", ["true"]) {
                $0.user = "root"
                $0.group = "nonexistent"
            },
            VICVM.session("idle", ["true"]) { $0.active = false },
        ]
    }

    @Test("A1–A17, A22–A26, A38–A40, A64: sessions, users, paths, exit codes, the log")
    func sessions() throws {
        let id = String(repeating: "c0ffee00", count: 8)
        var config = VICVM.config(id, ["sh", "-c", "mkdir -p /tmp/ended; chmod 777 /tmp/ended; touch /tmp/ended/ready\n" + Self.script]) {
            $0.createTime = 1_500_000_001
        }
        config.hostname = "web-1"
        config.domainname = "example.org"
        config.diagnostics.debug = 1
        config.execs = Self.sessions()
        let run = try VICVM.boot(image: Images.odd(), config)
        #expect(run.vm.code == 7, "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(3000))")
        checkPrimary(run, id)
        checkOthers(run)
        checkLog(run)
    }

    private func checkPrimary(_ run: VICVM, _ id: String) {
        #expect(run.result(id, "started") == "true" && run.result(id, "status") == "7" && run.result(id, "runblock") == "false")
        let (start, stop) = (Int64(run.result(id, "detail.starttime") ?? "") ?? 0, Int64(run.result(id, "detail.stoptime") ?? "") ?? 0)
        #expect(start > 1_500_000_001 && stop >= start && run.result(id, "detail.createtime") == "1500000001")
        #expect(run.result(id, "diagnostics.resurrections") == "0")
        #expect(
            run.vm.status["phase"] as? String == "exited" && run.vm.status["exitCode"] as? Int == 7 && run.vm.status["id"] as? String == id)
        let out = run.vm.out
        let first = "id=0:0 home=/root path=/bin cwd=/ host=web-1.example.org nofile=1048576 core=unlimited maps=262144\n"
        #expect(out.hasPrefix(first), "\(out.prefix(300))")
        #expect(out.contains("127.0.1.1\tweb-1.example.org web-1\n") && out.contains("\nweb-1.example.org\n"))
        #expect(out.contains("search example.org\noptions timeout:15 attempts:5\n"))
        #expect(
            out.contains("65534:65534 home=/\n2000:0 home=/\n2000:2000 home=/\nrelative\n<>\n<é✓>\n<two\nlines>\n/srv/not/there\n"),
            "\(out.prefix(2000))")
        #expect(run.vm.console.contains("of VIC's keys read"))
    }

    private func checkOthers(_ run: VICVM) {
        func expect(_ id: String, started: String, status: String, hasEnded: Bool = true) {
            #expect(run.result(id, "started", isExec: true) == started, "\(id)")
            #expect(run.result(id, "status", isExec: true) == status, "\(id)")
            let stop = Int64(run.result(id, "detail.stoptime", isExec: true) ?? "") ?? -1
            #expect(hasEnded ? stop > 1_500_000_000 : stop == 0, "\(id): \(stop)")
            #expect(Int64(run.result(id, "detail.starttime", isExec: true) ?? "") ?? 0 > 1_500_000_000, "\(id)")
        }
        for id in ["nobody", "number", "both", "relative", "made", "args"] { expect(id, started: "true", status: "0") }
        expect("code1", started: "true", status: "1")
        expect("code255", started: "true", status: "255")
        expect("kill", started: "true", status: "137")
        expect("term", started: "true", status: "143")
        expect("segv", started: "true", status: "139")
        // A40: it ends with the container.
        expect("long", started: "true", status: "137")
        expect("notthere", started: "notthere: no such executable in PATH", status: "127", hasEnded: false)
        expect("absent", started: "stat /not/there: no such file or directory", status: "127", hasEnded: false)
        expect("plain", started: "permission denied", status: "126", hasEnded: false)
        expect("garbage", started: "fork/exec /etc/garbage: exec format error", status: "126", hasEnded: false)
        expect("script", started: "fork/exec /etc/no-interpreter: no such file or directory", status: "127", hasEnded: false)
        expect("user", started: "Unable to find user nonexistent: no matching entries in passwd file", status: "125", hasEnded: false)
        expect("group", started: "Unable to find group nonexistent: no matching entries in group file", status: "125", hasEnded: false)
        #expect(run.result("idle", "started", isExec: true) == "<nil>", "what is not active is not touched")
    }

    private func checkLog(_ run: VICVM) {
        let (records, skipped) = run.records
        #expect(skipped == 0 && records.allSatisfy { $0.bytes.count + ($0.endsLine ? 1 : 0) <= 4095 })
        func bytes(_ stream: LogStream) -> String {
            String(decoding: records.filter { $0.stream == stream }.flatMap { $0.endsLine ? $0.bytes + [10] : $0.bytes }, as: UTF8.self)
        }
        #expect(bytes(.stdout) == run.vm.out && bytes(.stderr) == "err done\n" && run.vm.out.contains("\nout more\n1\n2\n"))
        #expect(run.vm.out.hasSuffix("\n5000\n" + String(repeating: " ", count: 8191) + "x\n"))
        let numbers = records.filter { Int(String(decoding: $0.bytes, as: UTF8.self)) != nil }
        // One that was not finished when its time was over comes in two.
        #expect(numbers.count >= 4900 && numbers.allSatisfy { $0.stream == .stdout })
    }

    @Test("A4, A5, A6, A14: what cannot be started ends the VM, and says why")
    func failures() throws {
        for (args, user, code, started) in [
            (["/not/there"], "", 127, "stat /not/there: no such file or directory"),
            (["notthere"], "", 127, "notthere: no such executable in PATH"),
            (["/etc/plain"], "", 126, "permission denied"),
            (["true"], "nonexistent", 125, "Unable to find user nonexistent: no matching entries in passwd file"),
        ] as [([String], String, Int32, String)] {
            let run = try VICVM.boot(image: Images.odd(), VICVM.config("c1", args) { $0.user = user })
            run.expectFailure("c1", code, started)
        }
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
        let script = "if [ -e /tmp/again ]; then trap 'exit 6' TERM; echo again; else touch /tmp/again; echo first; exit 5; fi; "
            + "while :; do sleep 0.1; done"
        let config = VICVM.config("c1", ["sh", "-c", script]) { $0.restart = true }
        // The time over, the VM's power button is pressed.
        let run = try VICVM.boot(options: ["--timeout", "25"], config)
        #expect(run.vm.code == 124 && run.vm.out == "first\nagain\n", "\(run.vm.finished.errorText)")
        #expect(run.result("c1", "diagnostics.resurrections") == "1" && run.result("c1", "started") == "true")
        #expect(run.result("c1", "status") == "6" && run.result("c1", "detail.stoptime") != "0")
    }

    @Test("a crash of PID 1 is told to VIC, and leaves no garbage in its log")
    func crash() throws {
        // A container of VIC's has all rights: by the core pattern the kernel runs a program for it, outside of it.
        let script = "echo alive; printf '\\174/run/rootfs/bin/busybox kill -SEGV 1' >/proc/sys/kernel/core_pattern; ulimit -c unlimited; "
            + "sh -c 'kill -SEGV $$'; while :; do sleep 0.1; done"
        let run = try VICVM.boot(VICVM.config("c1", ["sh", "-c", script]))
        #expect(run.vm.code == 125 && run.vm.out == "alive\n", "\(run.vm.finished.errorText)\n\(run.vm.console.suffix(2000))")
        #expect(run.vm.console.contains("tether crashed: SIGSEGV"))
        #expect(run.vm.status["phase"] as? String == "failed" && run.vm.status["drain"] as? String == "crash")
        #expect(run.result("c1", "started") == "true" && run.result("c1", "status") == "125" && run.result("c1", "detail.stoptime") != "0")
        #expect(run.records.skipped == 0 && run.records.all.count == 1)
    }
}
