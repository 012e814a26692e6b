import Control
import ControlClient
import Foundation
import SessionLog
import Testing

/// Stopping, starting again, pausing, health, and what a container may take of the VM.
@Suite("Boot: the container's life", .serialized) struct LifecycleBootTests {
    private let stubborn = """
        trap '' TERM; (trap '' TERM HUP; while :; do sleep 1; done) & setsid sh -c 'trap "" TERM HUP; sleep 900' &
        echo ready; while :; do sleep 1; done
        """

    @Test("a stop ends what ignores it after the time given, with all its descendants")
    func stop() throws {
        let vm = try LiveVM(["sh", "-c", stubborn], tether: ["stop": ["timeoutSeconds": 600]])
        let session = try vm.client.attach(AttachRequest(stdout: .oldest))
        try session.wait(for: "ready\n")
        try vm.client.subscribe()
        let start = Date()
        try vm.client.stop(timeoutMilliseconds: 1500)
        #expect(try vm.client.nextEvent { $0 == .stopping } == .stopping)
        let result = try session.finish()
        let took = Date().timeIntervalSince(start)
        #expect(result.exitCode == 137 && result.signal == 9 && !result.oomKilled)
        #expect(took > 1.2 && took < 120, "\(took) s")
        let ended = try vm.finish()
        #expect(ended.code == 137 && ended.exit?.drain == .eof, "\(ended.finished.errorText)")
        #expect(ended.console.contains("stop asked by a control client"))
    }

    @Test("a stop with a signal of its own; a process that is PID 1 needs the grace period")
    func stopSignals() throws {
        let polite = try LiveVM(["sh", "-c", "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.1; done"])
        let session = try polite.client.attach(AttachRequest(stdout: .oldest))
        try session.wait(for: "ready\n")
        let ended = try polite.stop(signal: 10)
        #expect(ended.code == 3 && ended.out == "ready\nusr1\n", "\(ended.finished.errorText)")

        // The kernel gives PID 1 of a namespace no signal that it does not handle.
        let first = try LiveVM(["sleep", "900"], tether: ["init": false, "stop": ["timeoutSeconds": 1]])
        let killed = try first.stop()
        #expect(killed.code == 137 && killed.exit?.signal == "SIGKILL", "\(killed.finished.errorText)")
    }

    @Test("a process that fails is started again after waits that double, and so often as it may be")
    func restart() throws {
        let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; echo start $n; exit $n"
        let config = configuration(["sh", "-c", script]) { config, _ in config["tether"] = ["restart": "on-failure:4"] }
        let vm = try VM.boot(config: config)
        #expect(vm.code == 5, "\(vm.finished.errorText)")
        #expect(vm.out == (1...5).map { "start \($0)\n" }.joined())
        #expect(vm.status["restarts"] as? Int == 4)
        var starts: [Timestamp] = []
        var deaths: [(record: ExitRecord, delay: Int64)] = []
        for event in vm.events {
            if case .start(_, _, _, let time) = event { starts.append(time) }
            if case .die(let record, let delay) = event { deaths.append((record, delay)) }
        }
        #expect(deaths.map(\.delay) == [100, 200, 400, 800] && deaths.map(\.record.exitCode) == [1, 2, 3, 4])
        #expect(starts.count == 5)
        for (index, death) in deaths.enumerated() where index + 1 < starts.count {
            let waited = try starts[index + 1].nanoseconds - #require(death.record.finishedAt).nanoseconds
            #expect(waited >= death.delay * 1_000_000 && waited < death.delay * 1_000_000 + 30_000_000_000, "\(waited) ns")
        }
    }

    @Test("a process that is always started again runs until a stop")
    func restartAlways() throws {
        let vm = try LiveVM(["sh", "-c", "echo up; sleep 1"], tether: ["restart": "always"])
        try vm.client.subscribe()
        func nextRestart() throws -> UInt32 {
            let event = try vm.client.nextEvent { if case .restarting = $0 { true } else { false } }
            guard case .restarting(let count, _) = event else { return 0 }
            return count
        }
        let first = try nextRestart()
        #expect(try nextRestart() == first + 1)
        let session = try #require(try vm.client.list().first)
        #expect(session.restarts >= first && session.stdout.end >= UInt64(3 * first))
        let ended = try vm.stop()
        #expect(ended.exit?.exitCode == 143 || ended.exit?.exitCode == 0, "\(String(describing: ended.exit))")
        #expect(ended.out.hasPrefix("up\nup\n"))
    }

    @Test("a health check finds the container unhealthy, then healthy")
    func health() throws {
        let check: [String: Any] = [
            "Test": ["CMD-SHELL", "echo checking; test -e /tmp/well"], "Interval": 500_000_000, "Timeout": 10_000_000_000, "Retries": 2,
        ]
        let vm = try LiveVM(["sleep", "900"], tether: ["healthcheck": check])
        try vm.client.subscribe()
        // The first checks may have failed before anyone could subscribe.
        if try vm.shell("touch /tmp/well").result.exitCode == 0 {
            _ = try vm.client.nextEvent { $0 == .health(.healthy) }
            _ = try vm.shell("rm /tmp/well")
            _ = try vm.client.nextEvent { $0 == .health(.unhealthy) }
        }
        // Checks are no sessions of a client's.
        #expect(try vm.client.list().map(\.kind) == [.primary])
        let ended = try vm.stop()
        let states = ended.events.compactMap { if case .health(_, let state) = $0 { state } else { nil } }
        #expect(states.first == "starting" && states.contains("healthy") && states.last == "unhealthy", "\(states)")
        let health = ended.status["health"] as? [String: Any] ?? [:]
        #expect(health["status"] as? String == "unhealthy" && (health["failingStreak"] as? Int ?? 0) >= 2, "\(ended.status)")
    }

    @Test("pause, resume and the statistics")
    func pause() throws {
        let vm = try LiveVM(["sh", "-c", "while :; do echo tick; sleep 0.05; done"])
        let session = try vm.client.attach(AttachRequest(stdout: .oldest))
        try session.wait(for: "tick\ntick\n")
        let before = try vm.stats()
        try vm.client.pause()
        try vm.client.pause()
        #expect(try vm.client.list().first?.state == .paused)
        expectRefusal(.busy) { _ = try vm.exec(["true"]) }
        // What was on its way when it froze comes; then nothing does.
        func quiet(_ seconds: Double) throws {
            let end = Date().addingTimeInterval(seconds)
            while Date() < end { try vm.client.ping() }
        }
        try quiet(1)
        let frozen = session.stdoutOffset
        try quiet(2)
        #expect(session.stdoutOffset == frozen)
        try vm.client.resume()
        try session.wait("a tick after the pause") { session.stdoutOffset > frozen }

        let after = try vm.stats()
        let container = try #require(after["container"] as? [String: Any])
        let cpu = try #require(container["cpu"] as? [String: Any])
        let earlier = (before["container"] as? [String: Any])?["cpu"] as? [String: Any]
        #expect(try #require(cpu["usageMicroseconds"] as? Int) > (earlier?["usageMicroseconds"] as? Int ?? .max))
        let pids = try #require(container["pids"] as? [String: Any])
        #expect((pids["current"] as? Int ?? 0) >= 1)
        #expect(container["memory"] != nil)
        let sessions = try #require(after["sessions"] as? [[String: Any]])
        #expect((sessions.first?["stdoutBytes"] as? Int ?? 0) >= Int(frozen))
        let own = try vm.tetherStats()
        #expect(own.rssKiB > 500 && own.rssKiB < 16_384 && own.anonymousKiB < own.rssKiB && own.descriptors > 3 && own.sessions == 1)

        // A stop of a paused container is one.
        try vm.client.pause()
        let ended = try vm.stop()
        #expect(ended.code == 143, "\(ended.finished.errorText)")
        let kinds = ended.events.compactMap { event -> String? in
            switch event {
            case .pause: "pause"
            case .unpause: "unpause"
            default: nil
            }
        }
        #expect(kinds.starts(with: ["pause", "unpause", "pause"]), "\(kinds)")
    }

    @Test("a fork bomb ends with the container, and PID 1 answers all the while")
    func forkBomb() throws {
        let vm = try LiveVM(["sleep", "900"], tether: ["stop": ["timeoutSeconds": 2]]) { config, _ in
            config["linux"] = ["resources": ["pids": ["limit": 300]]]
        }
        _ = try vm.exec(["sh", "-c", "bomb() { while :; do bomb & done; }; bomb"])
        func processes() throws -> Int {
            let pids = (try vm.stats()["container"] as? [String: Any])?["pids"] as? [String: Any]
            return try #require(pids?["current"] as? Int)
        }
        let deadline = Date().addingTimeInterval(90)
        while try processes() < 300, Date() < deadline { try vm.client.ping(timeout: 60) }
        #expect(try processes() >= 290, "the container has reached its limit")
        for _ in 0..<20 { try vm.client.ping(timeout: 60) }
        let pids = (try vm.stats()["container"] as? [String: Any])?["pids"] as? [String: Any]
        #expect((pids?["refused"] as? Int ?? 0) > 0, "what the limit refuses in a session is the container's: \(pids ?? [:])")
        let ended = try vm.stop()
        #expect(ended.code == 143 || ended.code == 137, "\(ended.finished.errorText)\n\(ended.console.suffix(3000))")
        #expect(ended.exit != nil && !ended.console.contains("Kernel panic"))
    }

    @Test("bombs of processes and memory without a limit of their own, in several sessions: a stop ends the VM, with its record")
    func heavyBombs() throws {
        let vm = try LiveVM(["sleep", "900"], tether: ["stop": ["timeoutSeconds": 1]], options: ["--stop-timeout", "120"]) { config, _ in
            config["linux"] = ["resources": ["pids": ["limit": -1]]]
        }
        _ = try vm.exec(["sh", "-c", ":() { : | : & }; while :; do : ; done"])
        _ = try vm.exec(["sh", "-c", "bomb() { while :; do bomb & done; }; bomb"])
        _ = try vm.exec(["sh", "-c", "while :; do (awk 'BEGIN { s = 1; while (1) s = s s }' &); done"])
        let end = Date().addingTimeInterval(8)
        while Date() < end { try vm.client.ping(timeout: 30) }
        let start = Date()
        let ended = try vm.stop()
        // 1 s of grace, 10 s until the process is given up, 10 s for the others, 30 s to unmount; in emulation.
        #expect(Date().timeIntervalSince(start) < 110)
        #expect(ended.exit != nil && [137, 143].contains(ended.code), "\(ended.finished.errorText)\n\(ended.console.suffix(3000))")
        #expect(ended.console.contains("power off") && !ended.console.contains("Kernel panic"))
        #expect(!ended.finished.errorText.contains("killing it"), "\(ended.finished.errorText)")
    }

    @Test("a container that takes all memory is ended, and that is told; PID 1 lives")
    func memoryBomb() throws {
        let eat = "awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'"
        let vm = try LiveVM(["sleep", "900"])
        let bomb = try vm.exec(["sh", "-c", "exec " + eat])
        let result = try bomb.finish(timeout: 120)
        #expect(result.oomKilled && result.signal == 9 && result.exitCode == 137, "\(result)")
        try vm.client.ping()
        #expect(try vm.shell("exit 0").result.oomKilled == false)
        #expect(try vm.stop().exit?.oomKilled == false)

        let primary = try VM.boot(command: ["sh", "-c", "echo before; exec " + eat])
        #expect(primary.code == 137 && primary.out == "before\n", "\(primary.finished.errorText)")
        #expect(primary.exit?.oomKilled == true && primary.exit?.signal == "SIGKILL")
        #expect(!primary.console.contains("Kernel panic"))

        let limited = configuration(["sh", "-c", "exec " + eat]) { config, _ in
            config["linux"] = ["resources": ["memory": ["limit": 32 << 20]]]
        }
        #expect(try VM.boot(config: limited).exit?.oomKilled == true)
    }

    @Test("10000 processes started and ended leave nothing behind")
    func manyExecs() throws {
        let vm = try LiveVM(["sleep", "9000"], options: ["--timeout", "3000"])
        /// Eight at a time, so that the line's delay does not count for each of them.
        func start(_ count: Int) throws {
            var waiting: [RemoteSession] = []
            for number in 0..<count {
                let code = number % 251
                waiting.append(try vm.client.beginExec(vm.request(["sh", "-c", "exit \(code)"])))
                if waiting.count < 8 && number + 1 < count { continue }
                for (index, session) in waiting.enumerated() {
                    let result = try session.finish(timeout: 60)
                    #expect(Int(result.exitCode) == (number - waiting.count + 1 + index) % 251)
                }
                waiting = []
            }
        }
        // The first ones fill what is kept for ever: lists of ended sessions, the allocator's own.
        try start(200)
        let before = try vm.tetherStats()
        let processes = try vm.shell("ls /proc | grep -c '^[0-9]'").out
        try start(10_000)
        let after = try vm.tetherStats()
        #expect(after.descriptors == before.descriptors)
        #expect(after.anonymousKiB <= before.anonymousKiB + 16, "before \(before), after \(after)")
        #expect(after.rssKiB <= before.rssKiB + 64, "before \(before), after \(after)")
        #expect(after.sessions == 1)
        #expect(try vm.shell("ls /proc | grep -c '^[0-9]'").out == processes)
        #expect(try vm.stop().code == 143)
    }
}
