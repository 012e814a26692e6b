import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Processes started in a container that runs, and their streams.
extension ContainerSystemTests {
    @Suite struct ExecTests {
        @Test func standardInputIsNullUnlessAskedFor() throws {
            let result = try run(shell("cat; readlink /proc/self/fd/0"), in: Root())
            #expect(result.stdout == "/dev/null\n")
        }

        @Test func standardInputIsAPipeThatCanBeClosed() throws {
            let container = try start(shell("cat; echo end"), in: Root(), Placement(streams: .pipes(stdin: true)))
            defer { end(container) }
            #expect(Glibc.write(container.process.stdin, "hello\n", 6) == 6)
            container.process.closeStdin()
            #expect(container.process.stdin == -1)
            #expect(read(container.process.stdout) == "hello\nend\n")
        }

        @Test(arguments: [true, false]) func aProcessJoinsEveryNamespace(_ usesInit: Bool) throws {
            let root = try Root()
            let list = "for n in pid mnt ipc uts cgroup user time net; do readlink /proc/self/ns/$n; done"
            var spec = shell(list + "; sleep 100")
            spec.tether.usesInit = usesInit
            let container = try start(spec, in: root)
            defer { end(container) }
            let first = read(container.process.stdout, until: { $0.contains("net:") })
            let process = try complete(try container.execute(shellProcess(list + "; exit 9"), placement: Placement()))
            let second = finish(process)
            #expect(second.stdout == first)
            #expect(first.split(separator: "\n").count == 8)
            #expect(second.end.exitCode == 9)
            let mine = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")
            #expect(!first.contains(mine))
            // And this process is where it was.
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid_for_children") == mine)
        }

        @Test func aProcessHasItsOwnSettings() throws {
            let container = try start(shell("sleep 100"), in: Root())
            defer { end(container) }
            var process = shellProcess("id -u; id -g; echo $X; readlink /proc/self/cwd; umask; grep -h CapEff /proc/self/status; ulimit -n")
            process.user.uid = 12
            process.user.gid = 34
            process.user.umask = 0o077
            process.env.append("X=y")
            process.cwd = "/made"
            process.capabilities = CapabilitySets()
            process.resourceLimits = [ResourceLimit(type: "RLIMIT_NOFILE", resource: 7, soft: 99, hard: 99)]
            let result = finish(try complete(try container.execute(process, placement: Placement())))
            #expect(result.stdout == "12\n34\ny\n/made\n0077\nCapEff:\t0000000000000000\n99\n")
        }

        @Test func aProcessHasATerminalBesideThatOfTheFirst() throws {
            let container = try start(shell("tty; sleep 100"), in: Root(), Placement(streams: .terminal(nil)))
            defer { end(container) }
            #expect(read(container.process.terminal, until: { $0.contains("\n") }) == "/dev/pts/0\r\n")
            let process = try complete(
                try container.execute(shellProcess("tty; stat -c %t:%T /dev/console"), placement: Placement(streams: .terminal(nil))))
            #expect(read(process.terminal) == "/dev/pts/1\r\n88:0\r\n")
            waitpid(process.processID, nil, 0)
        }

        @Test func twoThousandProcessesLeaveNothing() throws {
            let container = try start(shell("sleep 1000"), in: Root())
            defer { end(container) }
            // Every tenth reads the image's users, by a worker: one descriptor left by each would be 200.
            try expectNoMore(than: 100) {
                for index in 0..<2000 {
                    var process = ContainerProcess(args: ["/bin/echo", "\(index)"])
                    process.env = index % 10 == 0 ? [] : ["HOME=/"]
                    let streams: Placement.Streams = index % 3 == 0 ? .terminal(nil) : .pipes(stdin: index % 3 == 1)
                    let started = try complete(try container.execute(process, placement: Placement(streams: streams)))
                    let text = read(started.terminal >= 0 ? started.terminal : started.stdout)
                    waitpid(started.processID, nil, 0)
                    try #require(text.filter { $0 != "\r" && $0 != "\r\n" && $0 != "\n" } == "\(index)")
                }
            }
        }

        @Test func aContainerThatIsGoneTakesNoProcess() throws {
            let container = try start(shell("true"), in: Root())
            _ = finish(container.process)
            container.killNamespaces()
            waitpid(try #require(container.holderID), nil, 0)
            #expect(throws: LaunchError.self) { try complete(try container.execute(shellProcess("true"), placement: Placement())) }
        }

        @Test func aCancelledLaunchLeavesNothing() throws {
            let root = try Root()
            try expectNothingIsLeft(rounds: 60) { steps in
                let launch = try ContainerLaunch.start(shell("sleep 100"), root: root.path, placement: Placement(streams: .terminal(nil)))
                for _ in 0..<steps {
                    switch launch.step() {
                    case .waiting: usleep(200)
                    case .started(let container):
                        end(container)
                        return
                    case .failed(let error): throw error
                    }
                }
                launch.cancel("a test wants it so")
                #expect(throws: LaunchError("start", "sh", "a test wants it so")) { try complete(launch) }
            }
        }

        @Test func aLaunchThatNobodyFollowsIsEnded() throws {
            let root = try Root()
            try expectNothingIsLeft(rounds: 40) { steps in
                var launch: ContainerLaunch? = try ContainerLaunch.start(shell("sleep 100"), root: root.path, placement: Placement())
                for _ in 0..<steps / 10 { _ = launch?.step() }
                let last = launch?.processID
                launch = nil
                guard let last else { return }
                // PID 1 reaps by waitpid(-1).
                var watched: pid_t = 0
                let deadline = Deadline.after(milliseconds: 60_000)
                while watched == 0 && !deadline.hasPassed {
                    watched = waitpid(last, nil, WNOHANG)
                    usleep(500)
                }
                #expect(watched == last)
            }
        }
    }
}
