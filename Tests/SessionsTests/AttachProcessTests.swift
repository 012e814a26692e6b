import AttachClient
import CLinux
import Foundation
import Glibc
import LineEndpoint
import Linux
import SessionLog
import Testing

/// The attach server's program between real sessions and our client, on pseudo-terminals.
///
/// What takes long does so only where the environment asks for it: TETHER_BULK_MIB, mebibytes each way, and TETHER_DISCONNECTS.
@Suite("Attach server, as a process", .serialized) struct AttachProcessTests {
    private static func number(_ name: String, _ standard: Int) -> Int {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? standard
    }

    @Test("as much each way as is asked for passes through one process, with equal digests")
    func bulk() throws {
        let server = try AttachProcess(["sleep", "1000"])
        defer { server.stop() }
        let size = Self.number("TETHER_BULK_MIB", 8) << 20
        let client = try AttachedClient(server, .exec(process: Array("cat".utf8), session: "bulk"), input: size)
        #expect(client.outcome == .exited(0), "\(client.error?.description ?? ""), \(client.log)")
        #expect(client.sent.bytes == UInt64(size) && client.received.total == client.sent.total)
        #expect(client.log == [])
    }

    @Test("a line that is cut and damaged at random, again and again: no byte is lost, repeated or changed")
    func disconnects() throws {
        // On average one disturbance in 16 000 bytes of output, and in 100 000 of either direction.
        let count = Self.number("TETHER_DISCONNECTS", 10)
        let lines = count * 16_000 / 7
        let weather = AttachProcess.Weather(cutEvery: 16_000, damageEvery: 100_000)
        // Nobody is there for most of the time, and all of it is to be had.
        let server = try AttachProcess(["seq", "1000000", "\(1_000_000 + lines - 1)"], weather: weather, ring: lines * 8)
        defer { server.stop() }
        let client = try AttachedClient(server, .attach(session: "", stdoutFrom: "oldest", stderrFrom: "oldest"))
        #expect(client.outcome == .exited(0), "\(client.error?.description ?? ""), \(client.log.suffix(3))")
        var expected = StreamDigest()
        for start in stride(from: 0, to: lines, by: 1000) {
            let text = (start..<min(lines, start + 1000)).map { "\(1_000_000 + $0)\n" }.joined()
            expected.update(Array(text.utf8))
        }
        #expect(client.received.total == expected.total)
        #expect(!client.log.contains { $0.contains("are lost") }, "\(client.log.suffix(3))")
        let disturbances = server.disturbances
        #expect(disturbances.drops >= count / 2 && disturbances.harms > 0, "\(disturbances)")
        #expect(server.isRunning, "it is one process all the time")
    }

    @Test("a terminal as the endpoint: attach, exec, a second user is refused, and it is set again as it was")
    func terminal() throws {
        let server = try AttachProcess(["cat"], betweenTerminals: true)
        defer { server.stop() }
        guard case .terminal(let path) = server.endpoint else {
            Issue.record("no terminal")
            return
        }
        let held = try FileDescriptor.open(path, O_RDWR | O_NOCTTY | O_NONBLOCK)
        var before = termios()
        tcgetattr(held.rawValue, &before)
        #expect(before.c_lflag & tcflag_t(ECHO) != 0)
        let exec = try AttachedClient(server, .exec(process: Array("cat".utf8), session: "e"), input: 100_000)
        #expect(exec.outcome == .exited(0) && exec.received.total == exec.sent.total, "\(exec.error?.description ?? "")")
        #expect(try same(held, before))

        do {
            let line = try LineConnection(to: server.endpoint)
            #expect(throws: EndpointError("use", path, "another program does")) { _ = try LineConnection(to: server.endpoint) }
            // Who was refused has changed nothing.
            var now = termios()
            tcgetattr(held.rawValue, &now)
            #expect(now.c_lflag & tcflag_t(ECHO | ICANON) == 0)
            line.close()
        }
        #expect(try same(held, before))
        let attach = try AttachedClient(server, .attach(session: "", stdoutFrom: "oldest", stderrFrom: "live"), input: 30_000)
        #expect(attach.outcome == .exited(0) && attach.received.total == attach.sent.total, "\(attach.error?.description ?? "")")
        #expect(try same(held, before))
    }

    @Test("when the bed of these tests goes, what was opened since under the number of its socket stays open")
    func bedClosesOnce() throws {
        let null = try FileDescriptor.open("/dev/null", O_RDONLY)
        for _ in 0..<50 {
            var bed: AttachProcess? = try AttachProcess(["true"])
            bed?.stop()
            let number = try #require(bed?.lentNumber)
            let own = try attempt("fcntl F_DUPFD_CLOEXEC") { fcntl(null.rawValue, F_DUPFD_CLOEXEC, number) }
            // Its threads, which have ended, may keep it a moment longer.
            weak let last = bed
            bed = nil
            let deadline = Deadline.after(milliseconds: 20_000)
            while last != nil, !deadline.hasPassed { usleep(1000) }
            #expect(last == nil)
            let isOpen = fcntl(own, F_GETFD) >= 0
            if isOpen { _ = close(own) }
            // Where a test beside this one has the number, the next bed has another.
            if own == number {
                #expect(isOpen)
                return
            }
        }
        Issue.record("another test has had the number each time")
    }

    private func same(_ terminal: borrowing FileDescriptor, _ before: termios) throws -> Bool {
        var after = termios()
        let number = terminal.rawValue
        try attempt("tcgetattr") { tcgetattr(number, &after) }
        return after.c_lflag == before.c_lflag && after.c_iflag == before.c_iflag && after.c_oflag == before.c_oflag
            && after.c_cflag == before.c_cflag
    }
}
