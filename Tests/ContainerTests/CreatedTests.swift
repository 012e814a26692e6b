import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Containers that are created and not started: everything is there but the process, which waits to be released.
extension ContainerSystemTests {
    @Suite struct CreatedTests {
        private func create(
            _ spec: ContainerSpec, in root: Root, _ streams: Placement.Streams = .pipes(stdin: false)
        ) throws -> ContainerLaunch {
            let launch = try ContainerLaunch.start(spec, root: root.path, placement: Placement(streams: streams), isHeld: true)
            while !launch.isCreated {
                guard case .waiting = launch.step() else { throw LaunchError("create", "container", "it was not held") }
                if !launch.isCreated { waitReadable(launch.descriptor, launch.deadline) }
            }
            return launch
        }

        private func failure(_ launch: ContainerLaunch) throws -> LaunchError {
            do throws(LaunchError) {
                end(try complete(launch))
            } catch { return error }
            throw LaunchError("end", "container", "it was started")
        }

        @Test(arguments: [true, false]) func othersRunInItBeforeItsProcessDoes(_ usesInit: Bool) throws {
            let root = try Root()
            let list = "for n in pid mnt ipc uts cgroup; do readlink /proc/self/ns/$n; done; hostname; ls /; echo end"
            // Without our init its end would be that of all the others.
            var spec = shell("touch /started; " + list + "; sleep 100")
            spec.tether.usesInit = usesInit
            let launch = try create(spec, in: root)
            #expect(launch.deadline.nanoseconds == .max)
            let command = "until [ -e /started ]; do sleep 0.01; done; " + list
            let early = try complete(try launch.execute(shellProcess("ls -d /started; echo $?"), placement: Placement()))
            #expect(finish(early).stdout == "1\n")
            let long = try complete(try launch.execute(shellProcess(command), placement: Placement()))

            launch.release(size: nil)
            #expect(!launch.isCreated)
            #expect(throws: LaunchError.self) { _ = try launch.execute(shellProcess("true"), placement: Placement()) }
            let container = try complete(launch)
            defer { end(container) }
            let output = read(container.process.stdout, until: { $0.hasSuffix("end\n") })
            #expect(output.contains("\nbox\n") && finish(long).stdout == output)
        }

        @Test(arguments: [true, false]) func aReleaseBeforeItIsCreatedCounts(_ usesInit: Bool) throws {
            let root = try Root()
            var spec = shell("echo ran")
            spec.tether.usesInit = usesInit
            let launch = try ContainerLaunch.start(spec, root: root.path, placement: Placement(), isHeld: true)
            launch.release(size: nil)
            #expect(finish(try complete(launch).process).stdout == "ran\n")
        }

        @Test(arguments: [true, false]) func theTerminalHasTheSizeSaidLast(_ usesInit: Bool) throws {
            var spec = shell("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.01; done; echo right")
            spec.tether.usesInit = usesInit
            let launch = try create(spec, in: Root(), .terminal(ConsoleSize(rows: 24, columns: 80)))
            launch.release(size: ConsoleSize(rows: 33, columns: 101))
            let container = try complete(launch)
            defer { end(container) }
            #expect(read(container.process.terminal) == "right\r\n")
        }

        @Test func hooksRunWhenItIsCreatedAndWhenItIsStarted() throws {
            let root = try Root()
            func note(_ name: String, _ file: String) -> ContainerHook {
                var hook = ContainerHook(path: "/bin/busybox")
                hook.args = ["sh", "-c", "echo \(name) >> \(file)"]
                return hook
            }
            var spec = shell("cat /order")
            spec.hooks.createRuntime = [note("createRuntime", root.path + "/order")]
            spec.hooks.startContainer = [note("startContainer", "/order")]
            let launch = try create(spec, in: root)
            let process = try complete(try launch.execute(shellProcess("cat /order"), placement: Placement()))
            #expect(finish(process).stdout == "createRuntime\n")
            launch.release(size: nil)
            let container = try complete(launch)
            defer { end(container) }
            #expect(read(container.process.stdout) == "createRuntime\nstartContainer\n")
        }

        @Test func aCommandThatCannotRunIsFoundWhenItIsReleased() throws {
            var spec = shell("")
            spec.process.args = ["/not/there"]
            let launch = try create(spec, in: Root())
            launch.release(size: nil)
            let error = try failure(launch)
            #expect(error.exitCode == 127 && error.object == "/not/there")
        }

        @Test(arguments: [true, false]) func aCancelEndsItAndAllThatRunsInIt(_ usesInit: Bool) throws {
            var spec = shell("true")
            spec.tether.usesInit = usesInit
            let launch = try create(spec, in: Root())
            let beside = try complete(try launch.execute(shellProcess("sleep 100"), placement: Placement()))
            launch.cancel("nobody came")
            let error = try failure(launch)
            #expect(error.cause == "nobody came")
            #expect(finish(beside).end.signal == SIGKILL)
        }

        @Test(arguments: [true, false]) func itsEndWhileItWaitsIsNoticed(_ usesInit: Bool) throws {
            var spec = shell("true")
            spec.tether.usesInit = usesInit
            let launch = try create(spec, in: Root())
            kill(try #require(launch.processID), SIGKILL)
            // By what a caller watches, not by looking.
            var watched = pollfd(fd: launch.descriptor, events: Int16(POLLIN), revents: 0)
            #expect(poll(&watched, 1, 10_000) == 1)
            let error = try failure(launch)
            #expect(error.cause == "it ended before the process was started")
        }

        @Test func nothingIsLeft() throws {
            let root = try Root()
            try expectNothingIsLeft(rounds: 50) { round in
                let launch = try create(shell("true"), in: root)
                if round % 2 == 0 {
                    launch.release(size: nil)
                    end(try complete(launch))
                } else {
                    launch.cancel("enough")
                    _ = try failure(launch)
                }
            }
        }
    }
}
