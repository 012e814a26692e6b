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
                switch launch.step() {
                case .waiting: break
                case .failed(let error): throw error
                case .started(let container):
                    end(container)
                    throw LaunchError("create", "container", "it was not held")
                }
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

        @Test func othersRunInItBeforeItsProcessDoes() throws {
            let root = try Root()
            let list = "for n in pid mnt ipc uts cgroup; do readlink /proc/self/ns/$n; done; hostname; ls /; echo end"
            let launch = try create(shell("touch /started; " + list), in: root)
            #expect(launch.deadline.nanoseconds == .max)
            let command = "until [ -e /started ]; do sleep 0.01; done; " + list
            let early = try complete(try launch.execute(shellProcess("ls -d /started; echo $?"), placement: Placement()))
            #expect(finish(early).stdout == "1\n")
            let long = try complete(try launch.execute(shellProcess(command), placement: Placement()))

            launch.release(size: nil)
            // Nobody finds it closed while its process is being started.
            let between = try launch.execute(shellProcess("exit 7"), placement: Placement())
            let container = try complete(launch)
            defer { end(container) }
            #expect(finish(try complete(between)).end.exitCode == 7)
            let output = read(container.process.stdout)
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

        @Test func theTerminalHasTheSizeSaidLast() throws {
            let root = try Root()
            let launch = try create(shell("stty size"), in: root, .terminal(ConsoleSize(rows: 24, columns: 80)))
            launch.release(size: ConsoleSize(rows: 33, columns: 101))
            let container = try complete(launch)
            defer { end(container) }
            #expect(read(container.process.terminal) == "33 101\r\n")
        }

        @Test func theTerminalHasTheModesOfWhoHasItStarted() throws {
            let root = try Root()
            let launch = try create(shell("stty -a"), in: root, .terminal(ConsoleSize(rows: 24, columns: 80)))
            var modes = TerminalSettings()
            modes.set(3, 8)
            launch.release(size: nil, modes: modes)
            let container = try complete(launch)
            defer { end(container) }
            let text = read(container.process.terminal)
            #expect(text.contains("erase = ^H;") && text.contains("rows 24"), "\(text)")
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

        @Test func withoutOurInitThereIsNothingToWaitWith() throws {
            let root = try Root()
            var spec = shell("echo ran")
            spec.tether.usesInit = false
            #expect(!ContainerLaunch.canBeHeld(spec) && ContainerLaunch.canBeHeld(shell("true")))
            let launch = try ContainerLaunch.start(spec, root: root.path, placement: Placement(), isHeld: true)
            #expect(finish(try complete(launch).process).stdout == "ran\n" && !launch.isCreated)
        }

        @Test func aCommandThatCannotRunIsFoundWhenItIsReleased() throws {
            var spec = shell("")
            spec.process.args = ["/not/there"]
            let launch = try create(spec, in: Root())
            launch.release(size: nil)
            let error = try failure(launch)
            #expect(error.exitCode == 127 && error.object == "/not/there")
        }

        @Test func aCancelEndsItAndAllThatRunsInIt() throws {
            let root = try Root()
            let launch = try create(shell("true"), in: root)
            let beside = try complete(try launch.execute(shellProcess("sleep 100"), placement: Placement()))
            launch.cancel("nobody came")
            #expect(throws: LaunchError.self) { _ = try launch.execute(shellProcess("true"), placement: Placement()) }
            let error = try failure(launch)
            #expect(error.cause == "nobody came")
            #expect(finish(beside).end.signal == SIGKILL)
        }

        @Test func itsEndWhileItWaitsIsNoticed() throws {
            let root = try Root()
            let launch = try create(shell("true"), in: root)
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
