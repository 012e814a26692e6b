import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH
import Testing

@testable import AttachClient

/// A client of a line that a concentrator lends.
@Suite("Attach client: at a concentrator", .serialized) struct HostedTests {
    private let primary = AttachOptions.Purpose.attach(session: "", stdoutFrom: "", stderrFrom: "")

    private func target(_ guest: ModelGuest, _ hosted: HostedGuest, silence: Int64 = 300) throws -> AttachTarget {
        var target = try guest.target()
        target.endpoint = .concentrator(path: hosted.socket, machine: "web")
        target.silenceMilliseconds = silence
        return target
    }

    @Test("a move that takes much longer than a guest may be silent goes unnoticed, and what was typed meanwhile arrives")
    func longMove() throws {
        let guest = try ModelGuest(.init(stdout: noise(3000, seed: 1), exitCode: nil))
        let hosted = try HostedGuest(guest)
        defer { hosted.close() }
        let (input, output) = (try Pipe().take(), try Pipe().take())
        let endpoint = Endpoint.concentrator(path: hosted.socket, machine: "564D-0001")
        #expect(!endpoint.isMoving)
        nonisolated(unsafe) var wasMoving = [false, false]
        let thread = Thread {
            var byte: UInt8 = 0
            while read(output.read, &byte, 1) < 1 {}
            hosted.beginMove()
            wasMoving[0] = endpoint.isMoving
            _ = write(input.write, "typed", 5)
            // Ten times what a guest is given.
            usleep(6_000_000)
            wasMoving[1] = endpoint.isMoving
            #expect(guest.with { $0.input.isEmpty })
            hosted.completeMove()
            let deadline = Deadline.after(milliseconds: 60_000)
            while guest.with({ $0.input.count < 5 }), !deadline.hasPassed { usleep(1000) }
            guest.with { $0.exitCode = 6 }
        }
        thread.start()
        let run = try ClientRun(try target(guest, hosted), primary, input: []) {
            ($0.stdin, $0.stdout, $0.reconnectMilliseconds) = (input.read, output.write, 0)
        }
        #expect(run.outcome == .exited(6) && run.log == [], "\(run.error?.description ?? "") \(run.log)")
        #expect(wasMoving == [true, true] && !endpoint.isMoving && guest.connections == 1)
        #expect(guest.with { $0.input } == Array("typed".utf8))
        for number in [input.read, input.write, output.read, output.write] { close(number) }
    }

    @Test("a guest that is silent and does not move is given up")
    func silence() throws {
        let guest = try ModelGuest(.init(stdout: [1], exitCode: nil))
        let hosted = try HostedGuest(guest)
        defer { hosted.close() }
        let output = try Pipe().take()
        let thread = Thread {
            var byte: UInt8 = 0
            while read(output.read, &byte, 1) < 1 {}
            hosted.fallSilent()
        }
        thread.start()
        let run = try ClientRun(try target(guest, hosted), primary) { ($0.stdout, $0.reconnectMilliseconds) = (output.write, 0) }
        #expect(run.error == .timedOut("a sign of life of the guest"))
        for number in [output.read, output.write] { close(number) }
    }

    @Test("a host key is remembered for the concentrator and the VM together")
    func knownName() throws {
        let bed = try AgentBed()
        try bed.makeKey("key", type: "ed25519")
        let guest = try ModelGuest(.init(), authorized: try bed.publicKey("key"))
        let hosted = try HostedGuest(guest)
        defer { hosted.close() }
        guest.with { $0.answers["pause@tether"] = "{}" }
        let process = Process()
        process.executableURL = try ProgramTests.program()
        process.arguments = ["pause", "--identity", "\(bed.directory)/key", "--accept-new", "--vm", "web", hosted.socket]
        process.environment = ["XDG_CONFIG_HOME": bed.directory, "HOME": bed.directory, "PATH": "/usr/bin:/bin"]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let known = try String(contentsOfFile: bed.directory + "/tether/known_hosts", encoding: .utf8)
        #expect(known == "\(hosted.socket):vm:web \(try #require(ModelGuest.hostKey).publicKey.line)\n")
    }
}
