import ArgumentParser
import Foundation
import Linux
import SessionLog
import SessionReplay

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Write a captured session back to standard output and standard error.",
        discussion: """
            Reads a capture of the session log (serial2, ttyS2) and gives every byte back on the descriptor it was written to. \
            A capture of the diagnostics port (serial1, ttyS1) is printed with a mark where each phase begins. What is damaged or \
            missing is said on standard error.
            """)

    enum Export: String, ExpressibleByArgument, CaseIterable { case asciicast }
    enum OutputStream: String, ExpressibleByArgument, CaseIterable { case stdout, stderr }

    @Argument(help: "The capture: a file, or - for standard input.")
    var capture = "-"

    @Option(help: "Replay with the pauses of the session: 1 is the original speed, 2 twice as fast. Without it: at once.")
    var speed: Double?

    @Flag(name: .shortAndLong, help: "Read on as the file grows, until the exit record.")
    var follow = false

    @Flag(name: .shortAndLong, help: "Begin each line with the time at which the container wrote it.")
    var timestamps = false

    @Option(help: "Only this stream.")
    var stream: OutputStream?

    @Option(help: "Only output since an RFC 3339 time, or a duration ago (90s, 10m, 1h30m).")
    var since: String?

    @Option(help: "Only the boot of this number: the capture of a VM that was started again holds several.")
    var boot: Int?

    @Flag(help: "The capture is of the diagnostics port, however it looks.")
    var console = false

    @Option(help: "Write a recording instead; asciicast is for `asciinema play`.")
    var export: Export?

    @Option(help: "Terminal size of a recording.")
    var size = "80x24"

    @Flag(help: "Write nothing but whether byte counts and SHA-256 agree with the exit record; exit with 1 if not.")
    var verify = false

    @Flag(help: "Print the exit record instead of the output.")
    var exitRecord = false

    @Option(
        help: ArgumentHelp(
            "How the container ended, for a log in VIC's format, which does not say it: the value of guestinfo.tether.status.",
            valueName: "file"))
    var status: String?

    @Flag(help: "Exit with the container's exit code, or with 125 if the capture does not have it.")
    var exitStatus = false

    mutating func validate() throws {
        if let speed, !(speed > 0 && speed.isFinite) { throw ValidationError("--speed must be more than 0.") }
        if let boot, boot < 1 { throw ValidationError("--boot counts from 1.") }
        if let since, Since(since) == nil { throw ValidationError("--since takes an RFC 3339 time or a duration such as 10m.") }
        if terminalSize == nil { throw ValidationError("--size takes columns and rows, for example 80x24.") }
        if [verify, exitRecord, export != nil].filter({ $0 }).count > 1 {
            throw ValidationError("--verify, --exit-record and --export exclude each other.")
        }
        // A final status is there once nothing more comes.
        if follow, status != nil { throw ValidationError("--follow and --status exclude each other.") }
        if console, verify || exitRecord || exitStatus || export != nil {
            throw ValidationError("--console goes with none of --verify, --exit-record, --exit-status and --export.")
        }
    }

    private var terminalSize: (columns: Int, rows: Int)? {
        let parts = size.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let columns = parts[0], let rows = parts[1], columns > 0, rows > 0 else { return nil }
        return (columns, rows)
    }

    func run() throws {
        // A reader that goes away shall show as EPIPE.
        signal(SIGPIPE, SIG_IGN)
        var options = ReplayOptions()
        if verify {
            options.mode = .verify
        } else if exitRecord {
            options.mode = .exitRecord
        } else if export == .asciicast, let terminalSize {
            options.mode = .asciicast(columns: terminalSize.columns, rows: terminalSize.rows)
        }
        options.kind = console ? .console : verify || exitRecord || exitStatus || export != nil ? .sessionLog : nil
        options.speed = speed
        options.follow = follow
        options.needsExit = verify || exitRecord || exitStatus
        options.timestamps = timestamps
        options.stream = stream.map { $0 == .stdout ? .stdout : .stderr }
        options.since = since.flatMap { Since($0) }?.time(now: Clock.realtime())
        options.boot = boot

        let result: ReplayResult
        do throws(ReplayError) {
            if let status { options.exit = try Self.exit(status) }
            var source = try CaptureSource(path: capture)
            var replay = Replay(options, stdout: STDOUT_FILENO, stderr: STDERR_FILENO)
            result = try replay.run(&source)
        } catch {
            // Not ArgumentParser's way, which would print usage after some errors.
            FileHandle.standardError.write(Data("tetherctl: \(error)\n".utf8))
            throw ExitCode(exitStatus ? 125 : 1)
        }
        if verify, !result.isVerified, !result.readerGone { throw ExitCode(1) }
        if exitStatus, !result.readerGone { throw ExitCode(result.boots.last?.exit.map { Int32($0.exitCode) } ?? 125) }
        if exitRecord, !result.readerGone, result.boots.last?.exit == nil { throw ExitCode(1) }
    }

    private static func exit(_ path: String) throws(ReplayError) -> ExitRecord {
        let text: [UInt8]
        do throws(SyscallError) { text = try Files.read(path) } catch {
            throw ReplayError(operation: error.operation, object: error.object, cause: error.errno.description)
        }
        guard let report = StatusReport(json: text) else { throw ReplayError(operation: "read", object: path, cause: "it is no status") }
        guard report.isFinal, let exit = report.exit else {
            throw ReplayError(operation: "read", object: path, cause: "the container has not ended (phase \(report.phase.rawValue))")
        }
        return exit
    }
}
