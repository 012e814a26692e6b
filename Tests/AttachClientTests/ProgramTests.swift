import CLinux
import Foundation
import Linux
import SSH
import Testing

/// tetherctl itself, with a model of the guest.
@Suite("Attach client: tetherctl", .serialized) struct ProgramTests {
    static func program() throws -> URL {
        let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("tetherctl")
    }

    @Test("ps says what the guest has left out: sessions, and arguments")
    func omitted() throws {
        let bed = try AgentBed()
        try bed.makeKey("key", type: "ed25519")
        let guest = try ModelGuest(.init(), authorized: try bed.publicKey("key"))
        func session(_ id: String, _ rest: String) -> String {
            "{\"id\":\"\(id)\",\"kind\":\"exec\",\"state\":\"ended\",\"terminal\":false,\"clients\":0,\"restarts\":0,\(rest)}"
        }
        let sessions = [session("a", #""args":["sh","-c"],"argsAreCut":true"#), session("b", #""args":["true"]"#)]
        func ps(_ rest: String) throws -> (out: String, err: String) {
            guest.with { $0.answers["sessions@tether"] = "{\"sessions\":[\(sessions.joined(separator: ","))]\(rest)}" }
            let process = Process()
            let (out, err) = (Foundation.Pipe(), Foundation.Pipe())
            process.executableURL = try Self.program()
            process.arguments = ["ps", "--identity", "\(bed.directory)/key", "--accept-new", guest.path]
            process.environment = ["HOME": bed.directory, "PATH": "/usr/bin:/bin"]
            (process.standardInput, process.standardOutput, process.standardError) = (FileHandle.nullDevice, out, err)
            try process.run()
            let texts = [out, err].map { String(decoding: $0.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) }
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            return (texts[0], texts[1])
        }
        let cut = try ps(#","omitted":17"#)
        let lines = cut.out.split(separator: "\n")
        #expect(lines.count == 3 && lines[1].hasSuffix(" sh -c …") && lines[2].hasSuffix(" true"), "\(cut.out)")
        #expect(cut.err == "tetherctl: 17 more sessions are not listed: there is no room for them in the guest's answer\n")
        #expect(try ps("").err.isEmpty)
    }

    @Test(
        "a signal ends a client of a silent terminal, which is set again as it was",
        arguments: [("ps", SIGINT), ("stats", SIGTERM), ("proxy", SIGTERM), ("proxy", SIGINT)])
    func terminal(_ command: String, _ number: Int32) throws {
        let master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
        let path = String(cString: ptsname(master))
        let slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        defer {
            close(master)
            close(slave)
        }
        func settings() -> [tcflag_t] {
            var now = termios()
            tcgetattr(slave, &now)
            return [now.c_iflag, now.c_oflag, now.c_cflag, now.c_lflag]
        }
        let before = settings()
        let process = Process()
        process.executableURL = try Self.program()
        process.arguments = [command, path]
        process.environment = ["HOME": "/nowhere", "PATH": "/usr/bin:/bin"]
        let (input, output) = (Foundation.Pipe(), Foundation.Pipe())
        (process.standardInput, process.standardOutput, process.standardError) = (input, output, FileHandle.nullDevice)
        // The threads that tests run in block signals, and what they start would too.
        var (none, mask) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &mask)
        try process.run()
        pthread_sigmask(SIG_SETMASK, &mask, nil)
        let deadline = Deadline.after(milliseconds: 60_000)
        // The line is raw, and its first bytes are there.
        var bytes = [UInt8](repeating: 0, count: 64)
        try #require(read(master, &bytes, bytes.count) > 0)
        #expect(settings() != before)
        kill(process.processIdentifier, number)
        while process.isRunning, !deadline.hasPassed { usleep(10_000) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == number)
        #expect(settings() == before)
    }
}
