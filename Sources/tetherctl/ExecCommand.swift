import ArgumentParser
import AttachClient
import Foundation
import SSH
import VirtualMachine

struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Run a further process in a running container, over the VM's serial line.",
        discussion: "The exit status is the process's; 126 and 127 as a shell has them, 125 where it was not started at all.")

    @OptionGroup var target: TargetOptions
    @OptionGroup var session: SessionOptions
    @Flag(name: [.short, .long], help: "Pass on standard input.")
    var interactive = false
    @Flag(name: [.customShort("t"), .long], help: "Give the process a terminal.")
    var tty = false
    @Option(name: [.short, .long], help: ArgumentHelp("Whom it runs as: name or uid, and group.", valueName: "user[:group]"))
    var user: String?
    @Option(name: [.customShort("w"), .long], help: ArgumentHelp("Its working directory.", valueName: "path"))
    var workdir: String?
    @Option(name: [.short, .long], help: ArgumentHelp("A further environment variable. May be repeated.", valueName: "name=value"))
    var env: [String] = []
    @Argument(help: "The command.")
    var command: [String]

    func validate() throws {
        if command.isEmpty { throw ValidationError("give a command after \"--\"") }
        for variable in env where !variable.contains("=") || variable.hasPrefix("=") {
            throw ValidationError("--env \(variable): it is no name=value")
        }
    }

    func run() throws {
        let target: AttachTarget
        do throws(AttachError) { target = try self.target.parse() } catch { throw ExitCode(SessionRunner.report(error)) }
        let terminal = LocalTerminal(0)
        // A name of its own: if the line drops it is asked for by it.
        let name = "exec-" + UUID().uuidString.lowercased().prefix(13)
        var options = AttachOptions(.exec(process: try process(terminal), session: name))
        options.wantsInput = interactive
        options.terminal = tty && interactive ? terminal : nil
        options.detachKeys = session.detachKeys
        options.reconnectMilliseconds = Int64(session.reconnect) * 1000
        throw ExitCode(SessionRunner.run(target, options))
    }

    /// The runtime-spec's `process`; what is not in it is as for the container's own.
    private func process(_ local: LocalTerminal?) throws -> [UInt8] {
        var process: [String: Any] = ["args": command]
        var variables = env
        if tty {
            process["terminal"] = true
            if let size = local?.size { process["consoleSize"] = ["height": Int(size.rows), "width": Int(size.columns)] }
            if !env.contains(where: { $0.hasPrefix("TERM=") }), let name = ProcessInfo.processInfo.environment["TERM"], !name.isEmpty {
                variables.append("TERM=\(name)")
            }
        }
        if !variables.isEmpty { process["addEnv"] = variables }
        if let workdir { process["cwd"] = workdir }
        if let user {
            if let numbers = ContainerConfiguration.parseUser(user) {
                process["user"] = ["uid": Int(numbers.uid), "gid": Int(numbers.gid)]
            } else {
                process["user"] = ["username": user]
            }
        }
        return Array(try JSONSerialization.data(withJSONObject: process, options: [.sortedKeys]))
    }
}
