import CLinux
import Container
import ContainerSpec
import Foundation
import Linux
import Testing

/// Hooks: where they run, with what, and what comes of those that fail.
extension ContainerSystemTests {
    @Suite struct HookTests {
        /// A directory of PID 1's view, that hooks write to.
        final class Scratch {
            let path = NSTemporaryDirectory() + "/tether-hooks-\(UUID().uuidString)"
            init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
            deinit { try? FileManager.default.removeItem(atPath: path) }
            func text(_ name: String) -> String { (try? String(contentsOfFile: path + "/" + name, encoding: .utf8)) ?? "" }
        }

        private func hook(_ command: String, timeout: Int64 = 30) -> ContainerHook {
            var hook = ContainerHook(path: "/bin/busybox")
            hook.args = ["sh", "-c", command]
            hook.env = ["PATH=/bin", "A=b"]
            hook.timeoutSeconds = timeout
            return hook
        }

        private func wait(_ run: HookRun) -> [LaunchError] {
            while true {
                if case .finished(let failures) = run.step() { return failures }
                waitReadable(run.descriptor, run.deadline)
            }
        }

        @Test func oneThatNeverStopsToWriteHasItsTimeAllTheSame() throws {
            var spec = shell("true")
            spec.hooks.poststop = [hook("exec busybox yes", timeout: 1), hook("exec busybox dd if=/dev/zero bs=1M", timeout: 1)]
            let run = try #require(HookRun.poststop(spec, root: "/"))
            let start = Clock.monotonic()
            let failures = wait(run)
            #expect(failures.count == 2 && failures.allSatisfy { $0.cause.hasPrefix("it has not ended within 1 s") }, "\(failures)")
            #expect(Clock.monotonic() - start < 60_000_000_000)
            // Whatever it writes, a step comes back.
            spec.hooks.poststop = [hook("busybox yes & exec busybox yes", timeout: 30)]
            let flood = try #require(HookRun.poststop(spec, root: "/"))
            for _ in 0..<200 {
                let before = Clock.monotonic()
                #expect(flood.step() == .waiting)
                #expect(Clock.monotonic() - before < 10_000_000_000)
                waitReadable(flood.descriptor, flood.deadline)
            }
            flood.abandon()
        }

        @Test(arguments: [true, false]) func theyRunInTheirOrderAndPlaces(_ usesInit: Bool) throws {
            let root = try Root()
            let scratch = try Scratch()
            let seen = "echo $(busybox readlink /proc/self/ns/mnt) $(busybox id -u) $A"
            func note(_ name: String) -> ContainerHook { hook("(echo \(name); \(seen); busybox cat; echo) >> \(scratch.path)/order") }
            var spec = shell("cat /hook; readlink /proc/self/ns/mnt; echo $A")
            spec.tether.usesInit = usesInit
            spec.tether.id = "one"
            spec.annotations = [KeyValue(key: "k", value: "\"v\"")]
            spec.process.user.uid = 5
            spec.process.cwd = "/"
            spec.hooks.prestart = [note("prestart")]
            spec.hooks.createRuntime = [note("createRuntime 1"), note("createRuntime 2")]
            // Before the root is entered: the image is where it was mounted, and what is mounted in it is there.
            spec.hooks.createContainer = [
                note("createContainer"),
                hook("[ -e \(root.path)/proc/self ] && [ $$ -lt 50 ] && echo in >> \(scratch.path)/order; chmod 777 \(root.path)"),
            ]
            spec.hooks.startContainer = [hook("(echo startContainer; \(seen)) > /hook")]
            spec.hooks.poststart = [note("poststart")]
            spec.hooks.poststop = [note("poststop")]
            let container = try start(spec, in: root)
            #expect(wait(try #require(container.poststart())) == [])
            let inside = finish(container.process).stdout
            container.killNamespaces()
            if let holder = container.holderID { waitpid(holder, nil, 0) }
            #expect(wait(try #require(HookRun.poststop(spec, root: root.path))) == [])

            let lines = scratch.text("order").split(separator: "\n").map(String.init)
            let names = ["prestart", "createRuntime 1", "createRuntime 2", "createContainer", "in", "poststart", "poststop"]
            #expect(lines.filter { names.contains($0) } == names)
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/mnt")
            for name in names where name != "in" {
                let at = try #require(lines.firstIndex(of: name))
                if name == "createContainer" { #expect(!lines[at + 1].hasPrefix(own)) } else { #expect(lines[at + 1] == own + " 0 b") }
            }
            let created = try #require(lines.firstIndex(of: "createContainer"))
            let namespace = try #require(inside.split(separator: "\n").dropFirst(2).first.map(String.init))
            #expect(lines[created + 1] == namespace + " 0 b")
            // In the container it is the process's user that runs it, with the hook's environment.
            #expect(inside == "startContainer\n\(namespace) 5 b\n\(namespace)\n\n")

            let states = lines.filter { $0.hasPrefix("{") }.map { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            #expect(states.map { $0?["status"] as? String } == ["creating", "creating", "creating", "creating", "running", "stopped"])
            let first = try #require(states[0])
            #expect(first["id"] as? String == "one" && first["ociVersion"] as? String == "1.2.0")
            #expect((first["annotations"] as? [String: String]) == ["k": "\"v\""])
            #expect(
                first["bundle"] as? String
                    == (root.path as NSString).standardizingPath.replacingOccurrences(of: "/private", with: "")
                    .split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 })
            #expect((first["pid"] as? Int ?? 0) > 1)
            #expect(states[4]?["pid"] as? Int == Int(container.process.processID))
            #expect(states[5]?["pid"] == nil)
        }

        @Test func theFirstThatFailsEndsTheLaunch() throws {
            let root = try Root()
            let scratch = try Scratch()
            var spec = shell("true")
            spec.hooks.createRuntime = [hook("printf 'no\\tway\\n' >&2; exit 3"), hook("touch \(scratch.path)/second")]
            #expect(throws: LaunchError("run createRuntime hook", "/bin/busybox", "it exited with status 3; it wrote: no way")) {
                try start(spec, in: root)
            }
            #expect(entries(scratch.path).isEmpty)
            spec.hooks.createRuntime = [ContainerHook(path: "/nowhere")]
            expectNothingIsLeft(rounds: 40) { _ in
                #expect(throws: LaunchError("run createRuntime hook", "/nowhere", "exec /nowhere: No such file or directory")) {
                    try start(spec, in: root)
                }
            }
            spec.hooks.createRuntime = []
            spec.hooks.startContainer = [hook("kill -9 $$")]
            #expect(throws: LaunchError("run startContainer hook", "/bin/busybox", "signal SIGKILL ended it")) { try start(spec, in: root) }
        }

        @Test func aHookThatDoesNotEndIsKilledWithWhatItStarted() throws {
            let root = try Root()
            let scratch = try Scratch()
            var spec = shell("true")
            spec.hooks.prestart = [hook("sleep 1000 & echo $! > \(scratch.path)/child; echo waiting; wait", timeout: 5)]
            let started = Date()
            #expect(throws: LaunchError("run prestart hook", "/bin/busybox", "it has not ended within 5 s; it wrote: waiting")) {
                try start(spec, in: root)
            }
            #expect(Date().timeIntervalSince(started) < 60)
            let child = try #require(Int32(scratch.text("child").trimmingCharacters(in: .newlines)))
            usleep(100_000)
            // Gone, or not yet reaped by whoever is its parent now.
            let state = (try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)) ?? "gone Z"
            #expect(state.contains(" Z"))
        }

        @Test func aFloodOfOutputIsBounded() throws {
            var spec = shell("true")
            spec.hooks.prestart = [hook("head -c 1000000 /dev/zero | tr '\\000' x; exit 1")]
            let root = try Root()
            let text = String(repeating: "x", count: HookRun.outputLimit)
            #expect(throws: LaunchError("run prestart hook", "/bin/busybox", "it exited with status 1; it wrote: \(text)")) {
                try start(spec, in: root)
            }
        }

        @Test func whatFailsAfterTheStartIsAWarningOnly() throws {
            let scratch = try Scratch()
            var spec = shell("true")
            spec.hooks.poststop = [hook("exit 1"), ContainerHook(path: "/nowhere"), hook("touch \(scratch.path)/ran")]
            let failures = wait(try #require(HookRun.poststop(spec, root: "/run/rootfs")))
            #expect(failures.map { $0.cause } == ["it exited with status 1", "exec /nowhere: No such file or directory"])
            #expect(entries(scratch.path) == ["ran"])
            #expect(HookRun.poststop(shell("true"), root: "/") == nil)
        }

        @Test func aLaunchIsCancelledInTheMiddleOfAHook() throws {
            let root = try Root()
            var spec = shell("true")
            spec.hooks.createContainer = [hook("sleep 1000")]
            try expectNothingIsLeft(rounds: 40) { _ in
                try cancelWhileWaiting(try ContainerLaunch.start(spec, root: root.path, placement: Placement()))
            }
        }

        private func cancelWhileWaiting(_ launch: consuming ContainerLaunch) throws {
            for _ in 0..<20 {
                guard case .waiting = launch.step() else {
                    Issue.record("it did not wait")
                    return
                }
                usleep(2000)
            }
            launch.cancel("enough")
            let launch = launch
            #expect(throws: LaunchError("start", "sh", "enough")) { try complete(launch) }
        }
    }
}
