import ArgumentParser
import AttachClient
import CLinux

struct AttachCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach", abstract: "Join a session of a running container over the VM's serial line.",
        discussion: """
            Standard input, output, error, the terminal and its size, and signals are those of the session. The exit status is the \
            process's. When the line drops it is tried again, and output goes on where it stopped. Ctrl-P Ctrl-Q leaves a session with \
            a terminal, which goes on.
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var session: SessionOptions
    @Option(
        name: .customLong("from"),
        help: ArgumentHelp(
            "Where output begins: live, oldest, or an offset in bytes. (default: live; oldest for the first client)", valueName: "start"))
    var start: String?
    @Flag(help: "Send no input, and do not end the session's.")
    var noStdin = false
    @Option(name: .customLong("session"), help: ArgumentHelp("The session. (default: the container's own)", valueName: "id"))
    var id = ""

    func validate() throws {
        guard let start, start != "live", start != "oldest", UInt64(start) == nil else { return }
        throw ValidationError("--from is live, oldest or a number of bytes")
    }

    func run() throws {
        let target: AttachTarget
        do throws(AttachError) { target = try self.target.parse() } catch { throw ExitCode(SessionRunner.report(error)) }
        var options = AttachOptions(.attach(session: id, stdoutFrom: start ?? "", stderrFrom: start ?? ""))
        options.wantsInput = !noStdin
        options.terminal = noStdin ? nil : LocalTerminal(0)
        options.detachKeys = session.detachKeys
        options.reconnectMilliseconds = Int64(session.reconnect) * 1000
        throw ExitCode(SessionRunner.run(target, options))
    }
}
