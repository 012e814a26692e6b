import CLinux
import Foundation
import LineEndpoint
import Linux
import Testing

@testable import AttachClient

/// A guest that is another one after the line has dropped, and requests whose answer was lost.
@Suite("Attach client: a VM that was started anew", .serialized) struct ResetTests {
    private let primary = AttachOptions.Purpose.attach(session: "", stdoutFrom: "", stderrFrom: "")

    /// Runs `body` beside the client.
    private func beside(_ body: @escaping @Sendable (_ wait: (() -> Bool) -> Void) -> Void) {
        let thread = Thread {
            body { isSo in
                let deadline = Deadline.after(milliseconds: 60_000)
                while !isSo(), !deadline.hasPassed { usleep(1000) }
            }
        }
        thread.start()
    }

    @Test("at a terminal: it is told, what was typed before does not reach the new process, and its output is followed from the first byte")
    func terminal() throws {
        let guest = try ModelGuest(.init(stdout: noise(5000, seed: 1), exitCode: nil))
        let master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
        let slave = open(String(cString: ptsname(master)), O_RDWR | O_NOCTTY | O_CLOEXEC)
        let banner = noise(7000, seed: 2)
        beside { wait in
            _ = write(master, "rm -r /tmp/old\n", 15)
            wait { guest.with { $0.input.count } == 15 }
            guest.reset(.init(boot: 2, stdout: banner, exitCode: nil))
            wait { guest.with { $0.isSeen } }
            _ = write(master, "two\n", 4)
            wait { guest.with { $0.input.count } >= 4 }
            guest.with { $0.exitCode = 5 }
        }
        let run = try ClientRun(try guest.target(), primary, input: []) { $0.stdin = slave }
        #expect(run.outcome == .exited(5), "\(run.error?.description ?? "") \(run.log)")
        #expect(guest.with { String(decoding: $0.input, as: UTF8.self) } == "two\n")
        expectSame(run.stdout, noise(5000, seed: 1) + banner)
        #expect(run.log.contains("the VM was started anew"), "\(run.log)")
        close(master)
        close(slave)
    }

    @Test("a file as the input: its rest is not for another process, and the exit status says so")
    func file() throws {
        // The file is not read to its end.
        _ = Glibc.signal(SIGPIPE, SIG_IGN)
        let guest = try ModelGuest(.init(exitCode: nil))
        beside { wait in
            wait { guest.with { $0.input.count } > 100_000 }
            guest.reset(.init(boot: 2, exitCode: 0))
        }
        let run = try ClientRun(try guest.target(), primary, input: noise(8 << 20, seed: 3))
        let cause = "the VM was started anew, and the rest of the input is not for its new process"
        #expect(run.error == .refused(operation: "attach", object: "c1", cause: cause, code: "", exitCode: 125), "\(run.log)")
        #expect(guest.with { $0.input.isEmpty && !$0.inputHasEnded && !$0.isSeen })
    }

    @Test("a process of exec is gone with its VM")
    func exec() throws {
        let guest = try ModelGuest(.init(stdout: [1], exitCode: nil, isStarted: false))
        let output = try Pipe().take()
        beside { _ in
            var byte: UInt8 = 0
            while read(output.read, &byte, 1) < 1 {}
            guest.reset(.init(boot: 2))
        }
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e1")) { $0.stdout = output.write }
        for number in [output.read, output.write] { close(number) }
        let cause = "the VM was started anew, and the process is gone"
        #expect(run.error == .refused(operation: "attach", object: "e1", cause: cause, code: "", exitCode: 125), "\(run.log)")
    }

    @Test("a guest that does not number its boots: a session that has said less than arrived of it is another one")
    func unnumbered() throws {
        let guest = try ModelGuest(.init(boot: nil, stdout: noise(5000, seed: 4), stderr: noise(10, seed: 5), exitCode: nil))
        let output = try Pipe().take()
        beside { _ in
            // The client has all of the old output.
            var (bytes, count) = ([UInt8](repeating: 0, count: 5000), 0)
            while count < 5000 { count += max(0, read(output.read, &bytes, 5000 - count)) }
            guest.reset(.init(boot: nil, stdout: noise(3000, seed: 6), exitCode: 3))
        }
        let collector = try Pipe().take()
        let run = try ClientRun(try guest.target(), primary) { ($0.stdout, $0.stderr) = (output.write, collector.write) }
        #expect(run.outcome == .exited(3) && run.log.contains("the VM was started anew"), "\(run.log) \(run.error?.description ?? "")")
        close(output.write)
        expectSame(Collector(output.read).bytes(), noise(3000, seed: 6))
        for number in [collector.read, collector.write] { close(number) }
    }

    @Test("an exec whose answer was lost, and that has said more than is kept since: what is missing is told")
    func lostAnswer() throws {
        let stdout = noise(100_000, seed: 7)
        let guest = try ModelGuest(
            .init(stdout: stdout, kept: 60_000, isStarted: false), swallows: 1, startsSwallowed: true)
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e1"))
        #expect(run.log.contains("60000 bytes of stdout are lost: the guest does not keep them any more"), "\(run.log)")
        expectSame(run.stdout, Array(stdout.dropFirst(60_000)))
    }

    @Test("a process whose description is too long for a message is refused, with its size")
    func longDescription() throws {
        let guest = try ModelGuest(.init(exitCode: 4, isStarted: false))
        let largest = [UInt8](repeating: 32, count: 32_768)
        #expect(try ClientRun(try guest.target(), .exec(process: largest, session: "exec-0123456789abc")).outcome == .exited(4))
        #expect(guest.with { $0.process } == largest)
        let run = try ClientRun(try guest.target(), .exec(process: largest + [32], session: "e1"))
        let cause = "its description has 32769 bytes, and 32768 are the most"
        #expect(run.error == .refused(operation: "exec", object: "the process", cause: cause, code: "", exitCode: 125))
        let named = try ClientRun(
            try guest.target(), .attach(session: String(repeating: "x", count: 40_000), stdoutFrom: "", stderrFrom: ""))
        guard case .refused("attach", _, _, _, 125)? = named.error else {
            Issue.record("\(String(describing: named.error))")
            return
        }
    }

    @Test("without a start the first client gets what is kept, and the next what comes")
    func noStart() throws {
        let guest = try ModelGuest(.init(stdout: noise(1000, seed: 8), kept: 200, exitCode: 6))
        let first = try ClientRun(try guest.target(), primary)
        #expect(first.outcome == .exited(6) && first.log == [], "\(first.error?.description ?? "")")
        expectSame(first.stdout, Array(noise(1000, seed: 8).dropFirst(200)))
        let second = try ClientRun(try guest.target(), .attach(session: "c1", stdoutFrom: "", stderrFrom: ""))
        #expect(second.outcome == .exited(6) && second.stdout.isEmpty)
        // What the guest does not understand it refuses, as the model does.
        let wrong = try ClientRun(try guest.target(), .attach(session: "c1", stdoutFrom: "latest", stderrFrom: ""))
        #expect(wrong.error.map { "\($0)" }?.contains("the guest does not say why") == true)
    }
}
