import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH
import TestSupport
import Testing

@testable import AttachClient

/// The client of a session, against our SSH server with a scripted session behind it.
@Suite("Attach client: sessions", .serialized) struct SessionTests {
    private let primary = AttachOptions.Purpose.attach(session: "", stdoutFrom: "oldest", stderrFrom: "oldest")

    @Test("output, error output and exit status are the process's")
    func attach() throws {
        let guest = try ModelGuest(.init(stdout: noise(300_000, seed: 1), stderr: noise(70_000, seed: 2), exitCode: 42))
        let run = try ClientRun(try guest.target(), primary)
        #expect(run.outcome == .exited(42) && run.error == nil && run.log == [])
        expectSame(run.stdout, noise(300_000, seed: 1))
        expectSame(run.stderr, noise(70_000, seed: 2))
    }

    @Test(
        "a process that a signal ended has the exit code that a shell gives",
        arguments: [("KILL", 137), ("TERM", 143), ("WINCH@tether", 156)])
    func signal(_ name: String, _ code: Int32) throws {
        let guest = try ModelGuest(.init(exitSignal: name))
        #expect(try ClientRun(try guest.target(), primary).outcome == .exited(code))
    }

    @Test("live output begins where it is")
    func live() throws {
        let guest = try ModelGuest(.init(stdout: noise(1000, seed: 1)))
        let run = try ClientRun(try guest.target(), .attach(session: "c1", stdoutFrom: "900", stderrFrom: "live"))
        #expect(run.outcome == .exited(0))
        expectSame(run.stdout, Array(noise(1000, seed: 1).dropFirst(900)))
    }

    @Test("five hundred times the line is cut or damaged, and no byte is lost, repeated or changed")
    func disconnects() throws {
        let (stdout, stderr) = (noise(6 << 20, seed: 3), noise(1 << 20, seed: 4))
        let guest = try ModelGuest(.init(stdout: stdout, stderr: stderr, exitCode: 3), .init(cutEvery: 16_000, damageEvery: 200_000))
        let run = try ClientRun(try guest.target(), primary) { $0.reconnectMilliseconds = 60_000 }
        #expect(run.outcome == .exited(3), "\(run.error?.description ?? "") \(run.log.suffix(3))")
        expectSame(run.stdout, stdout)
        expectSame(run.stderr, stderr)
        #expect(guest.connections > 500, "only \(guest.connections) connections")
        #expect(!run.log.contains { $0.contains("lost:") })
    }

    @Test("what the guest does not keep any more is told, with its size, and is no success")
    func lost() throws {
        let stdout = noise(2 << 20, seed: 5)
        let guest = try ModelGuest(.init(stdout: stdout), .init(cutEvery: 100_000))
        let thread = Thread {
            while guest.connections < 3 { usleep(1000) }
            guest.with { $0.kept = 2_000_000 }
            guest.calm()
        }
        thread.start()
        let run = try ClientRun(try guest.target(), primary)
        guard case .refused(_, _, "the output is not complete", _, 125)? = run.error else {
            Issue.record("\(String(describing: run.error)) \(String(describing: run.outcome))")
            return
        }
        let told = run.log.filter { $0.hasSuffix("bytes of stdout are lost: the guest does not keep them any more") }
        let lost = told.compactMap { Int($0.prefix { $0 != " " }) }
        #expect(lost.count == 1 && run.stdout.count + lost.reduce(0, +) == stdout.count, "\(run.log)")
        expectSame(Array(run.stdout.suffix(100)), Array(stdout.suffix(100)))
    }

    @Test("exec hands over the process, input and its end, and gets the exit status")
    func exec() throws {
        let input = noise(1 << 20, seed: 6)
        let guest = try ModelGuest(.init(exitCode: 7, echoes: true, isStarted: false))
        let run = try ClientRun(try guest.target(), .exec(process: Array("{\"args\":[\"cat\"]}".utf8), session: "e1"), input: input)
        #expect(run.outcome == .exited(7), "\(run.error?.description ?? "")")
        expectSame(run.stdout, input)
        #expect(guest.with { $0.process } == Array("{\"args\":[\"cat\"]}".utf8) && guest.with { $0.id } == "e1")
    }

    @Test("input across hundreds of cuts of the line in both directions: no byte is lost or comes twice")
    func inputAcrossCuts() throws {
        let input = noise(2 << 20, seed: 7)
        let guest = try ModelGuest(.init(exitCode: 7, echoes: true, isStarted: false), .init(cutEvery: 16_000, damageEvery: 200_000))
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e1"), input: input)
        #expect(run.outcome == .exited(7), "\(run.error?.description ?? "") \(run.log.suffix(3))")
        expectSame(guest.with { $0.input }, input)
        expectSame(run.stdout, input)
        #expect(guest.connections > 200, "only \(guest.connections) connections")
        #expect(guest.with { $0.inputTaken.count } == 1 && !run.log.contains { $0.contains("lost") })
    }

    @Test("input that a guest has forgotten about may be lost: that is said, and the exit status is not the process's")
    func forgottenInput() throws {
        let input = noise(1 << 20, seed: 8)
        let guest = try ModelGuest(.init(exitCode: 0, echoes: true, forgetsInput: true, isStarted: false), .init(cutEvery: 300_000))
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e1"), input: input)
        #expect(guest.connections > 1)
        #expect(run.log.contains { $0.hasPrefix("up to ") && $0.hasSuffix("on their way when the line dropped may be lost") }, "\(run.log)")
        guard case .refused(_, "e1", "not all input may have reached it", _, 125)? = run.error else {
            Issue.record("\(String(describing: run.error)) \(String(describing: run.outcome))")
            return
        }
        // Nothing comes twice, at least: what arrived is a part of what was sent, in its order.
        var rest = run.stdout[...]
        for byte in input where byte == rest.first { rest = rest.dropFirst() }
        #expect(rest.isEmpty)
    }

    @Test("input that somebody else ended is said to be lost, and the exit status is not the process's; not so where the process did")
    func endedInput() throws {
        for (why, isLost) in [("requested", true), ("process", false)] {
            let guest = try ModelGuest(.init(exitCode: nil))
            let thread = Thread {
                while guest.with({ $0.input.isEmpty }) { usleep(1000) }
                guest.with { $0.inputNews = [why] }
                while guest.with({ !$0.inputNews.isEmpty }) { usleep(1000) }
                guest.with { $0.exitCode = 3 }
            }
            thread.start()
            let run = try ClientRun(try guest.target(), primary, input: noise(32 << 20, seed: 9))
            let isSaid = run.log.contains { $0.hasPrefix("the input of session c1 was ended before ") }
            #expect(isSaid == isLost && (run.outcome == .exited(3)) == !isLost, "\(run.log) \(String(describing: run.error))")
            if isLost { #expect(run.error.map { "\($0)" }?.contains("not all input may have reached it") == true) }
        }
    }

    @Test("a line that drops before exec is answered starts the process once", arguments: [1, 3])
    func execAgain(_ swallowed: Int) throws {
        let guest = try ModelGuest(.init(stdout: [1, 2], exitCode: 9, isStarted: false), swallows: swallowed)
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e2"))
        #expect(run.outcome == .exited(9) && run.stdout == [1, 2], "\(run.error?.description ?? "")")
        #expect(guest.connections > 1)
    }

    @Test("what is refused is told with the guest's words and exit code, and not tried again")
    func refused() throws {
        let guest = try ModelGuest(.init(isStarted: false, failure: ModelGuest.failure("launchFailed", exitCode: 127)))
        let run = try ClientRun(try guest.target(), .exec(process: [123, 125], session: "e3"))
        #expect(run.error == .refused(operation: "attach", object: "c9", cause: "there is none", code: "launchFailed", exitCode: 127))
        #expect(guest.connections == 1)
        let other = try ModelGuest(.init())
        let unknown = try ClientRun(try other.target(), .attach(session: "c9", stdoutFrom: "", stderrFrom: ""))
        #expect(unknown.error == .refused(operation: "attach", object: "c9", cause: "there is none", code: "unknownSession", exitCode: 0))
    }

    @Test("a session without input is followed without")
    func noInput() throws {
        let guest = try ModelGuest(.init(stdout: [5], noStdin: true))
        let run = try ClientRun(try guest.target(), primary, input: [1, 2, 3])
        #expect(run.outcome == .exited(0) && run.stdout == [5])
    }

    @Test("a reader that goes away ends the client, not the session")
    func readerGone() throws {
        let guest = try ModelGuest(.init(stdout: noise(4 << 20, seed: 8), exitCode: nil))
        let pipe = try Pipe().take()
        close(pipe.read)
        let run = try ClientRun(try guest.target(), primary) { $0.stdout = pipe.write }
        #expect(run.outcome == .outputClosed)
    }

    @Test("signals are passed on, or end an attempt to connect")
    func signals() throws {
        let guest = try ModelGuest(.init(stdout: [1], exitCode: nil))
        let (pipe, output) = (try Pipe().take(), try Pipe().take())
        let thread = Thread {
            // Before there is a process to pass them on to they would end the attempt.
            var byte: UInt8 = 0
            while read(output.read, &byte, 1) < 0, errno == EINTR {}
            _ = write(pipe.write, [UInt8(SIGINT), UInt8(SIGUSR1)], 2)
            while guest.with({ $0.requests.filter { $0.name == "signal" }.count }) < 2 { usleep(1000) }
            guest.with { $0.exitCode = 1 }
        }
        thread.start()
        let run = try ClientRun(try guest.target(), primary) { ($0.signals, $0.stdout) = (pipe.read, output.write) }
        #expect(run.outcome == .exited(1))
        for number in [output.read, output.write] { close(number) }
        let names = guest.with { $0.requests.filter { $0.name == "signal" }.map { SessionRequest(name: $0.name, data: $0.data) } }
        #expect(names == [.signal(name: "INT"), .signal(name: "USR1")])

        let silent = try Sockets.listen(path: guest.path + ".silent")
        _ = write(pipe.write, [UInt8(SIGINT)], 1)
        var target = try guest.target()
        target.endpoint = .socket(path: guest.path + ".silent")
        #expect(try ClientRun(target, primary) { $0.signals = pipe.read }.error == .interrupted(SIGINT))
        _ = write(pipe.write, [UInt8(SIGHUP)], 1)
        #expect(try ClientRun(target, primary) { $0.signals = pipe.read }.outcome == .hungUp)
        _ = silent.rawValue
    }

    @Test("a signal ends a client whose output nobody reads, after the session has ended")
    func unreadOutput() throws {
        let guest = try ModelGuest(.init(stdout: noise(200_000, seed: 1)))
        let (output, signals) = (try Pipe().take(), try Pipe().take())
        let done = DispatchSemaphore(value: 0)
        // One that comes before the session has ended is passed on to the process, which does not mind.
        let thread = Thread {
            while done.wait(timeout: .now() + 0.5) == .timedOut {
                var byte = UInt8(SIGTERM)
                _ = write(signals.write, &byte, 1)
            }
            done.signal()
        }
        thread.start()
        let run = try ClientRun(try guest.target(), primary) {
            $0.stdout = output.write
            $0.signals = signals.read
        }
        done.signal()
        #expect(run.error == .interrupted(SIGTERM))
        // The thread has seen it: only now nobody writes any more.
        while !thread.isFinished { usleep(1000) }
        for number in [output.read, output.write, signals.read, signals.write] { close(number) }
    }

    @Test("a socket for output whose reader is gone ends the client, and not the session")
    func closedSocket() throws {
        let guest = try ModelGuest(.init(exitCode: nil))
        for isError in [false, true] {
            var ends: [Int32] = [-1, -1]
            try attempt("socketpair") { socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) }
            close(ends[1])
            let run = try ClientRun(try guest.target(), primary) { if isError { $0.stderr = ends[0] } else { $0.stdout = ends[0] } }
            #expect(run.outcome == .outputClosed)
            close(ends[0])
        }
    }

    @Test("a status that no process ends with is no success", arguments: [256, 512, UInt32.max])
    func statuses(_ status: UInt32) throws {
        let guest = try ModelGuest(.init(exitCode: status))
        #expect(try ClientRun(try guest.target(), primary).outcome == .exited(125))
    }

    @Test("after an end of input at a terminal more can follow, for the process that is started next")
    func inputAnew() throws {
        let guest = try ModelGuest(.init(exitCode: nil))
        let (master, path) = try openTerminal()
        let slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        let thread = Thread {
            func wait(_ condition: (ModelGuest.Session) -> Bool) {
                let deadline = Deadline.after(milliseconds: 60_000)
                while !guest.with({ condition($0) }), !deadline.hasPassed { usleep(1000) }
            }
            _ = write(master, "one\n\u{4}", 5)
            wait { $0.requests.contains { $0.name == "close-stdin@tether" } }
            guest.with { $0.inputNews = ["requested"] }
            wait { $0.inputNews.isEmpty }
            guest.with { $0.inputNews = [nil] }
            wait { $0.inputNews.isEmpty }
            _ = write(master, "two\n", 4)
            wait { $0.input.count == 8 }
            guest.with { $0.exitCode = 4 }
        }
        thread.start()
        let run = try ClientRun(try guest.target(), primary, input: []) { $0.stdin = slave }
        #expect(run.outcome == .exited(4))
        #expect(guest.with { String(decoding: $0.input, as: UTF8.self) } == "one\ntwo\n" && guest.with { !$0.inputHasEnded })
        #expect(guest.with { $0.requests.filter { $0.name == "close-stdin@tether" }.count } == 1)
        close(master)
        close(slave)
    }

    @Test("a terminal: raw, with its size, left by the detach keys, and as before afterwards")
    func terminal() throws {
        let guest = try ModelGuest(.init(stdout: Array("$ ".utf8), exitCode: nil, hasTerminal: true))
        let (master, path) = try openTerminal()
        let slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        var size = winsize(ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0)
        try #require(ioctl(master, UInt(TIOCSWINSZ), &size) == 0)
        var before = termios()
        tcgetattr(slave, &before)
        let thread = Thread {
            while guest.with({ $0.requests.filter { $0.name == "window-change" }.isEmpty }) { usleep(1000) }
            var raw = termios()
            tcgetattr(slave, &raw)
            guest.with { $0.answers["raw"] = raw.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0 ? "yes" : "no" }
            _ = write(master, "a\u{3}\u{10}b\u{10}\u{11}c", 7)
        }
        thread.start()
        let run = try ClientRun(try guest.target(), primary, input: []) {
            $0.stdin = slave
            $0.terminal = LocalTerminal(slave)
        }
        #expect(run.outcome == .detached && run.stdout == Array("$ ".utf8))
        let change = guest.with {
            $0.requests.first { $0.name == "window-change" }.flatMap { SessionRequest(name: $0.name, data: $0.data) }
        }
        #expect(change == .windowChange(WindowSize(columns: 100, rows: 30)))
        #expect(guest.with { $0.answers["raw"] } == "yes")
        var after = termios()
        tcgetattr(slave, &after)
        #expect(after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag && after.c_oflag == before.c_oflag)
        let deadline = Deadline.after(milliseconds: 60_000)
        while guest.with({ $0.input.count }) < 4, !deadline.hasPassed { usleep(1000) }
        #expect(guest.with { $0.input } == [97, 3, 16, 98], "Ctrl-C and a lone Ctrl-P are the process's")
        close(master)
        close(slave)
    }
}
