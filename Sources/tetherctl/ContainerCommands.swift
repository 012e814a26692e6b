import ArgumentParser
import AttachClient
import Foundation
import LineEndpoint
import Linux

/// Commands that ask the guest one thing.
protocol ContainerCommand: ParsableCommand {
    var target: TargetOptions { get }
}

extension ContainerCommand {
    /// Asks, and ends this process with 1 if it was in vain.
    func ask(_ request: ContainerRequest) throws -> [UInt8] {
        Terminations.ignoreBrokenPipes()
        do throws(AttachError) {
            let target = try target.parse()
            // Of all lines a terminal alone is to be left as it was found.
            if case .terminal(let path) = target.endpoint {
                do throws(SyscallError) { try Terminations.watchSignals() } catch {
                    throw .local(operation: error.operation, object: path, cause: error.errno.description)
                }
            }
            return try AttachClient.ask(request, of: target, isOver: { Terminations.isSignalled })
        } catch {
            Terminations.endIfSignalled()
            StandardErrorLogHandler.say(error)
            throw ExitCode(1)
        }
    }
}

struct PsCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "List the sessions of a running container, over the VM's serial line.")

    @OptionGroup var target: TargetOptions
    @Flag(help: "As JSON.")
    var json = false

    private struct Document: Decodable {
        var sessions: [Session]
        var omitted: UInt32?
    }
    private struct Session: Decodable {
        var id, kind, state: String
        var pid: UInt32?
        var terminal: Bool
        var clients, restarts: UInt32
        var startedAt: String?
        var args: [String]
        var argsAreCut: Bool?
    }

    func run() throws {
        let answer = try ask(.sessions)
        if json { return print(String(decoding: answer, as: UTF8.self).printableJSON) }
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(answer)) else {
            StandardErrorLogHandler.say("the answer is not understood: \(String(decoding: answer, as: UTF8.self).printable)")
            throw ExitCode(1)
        }
        var rows = [["ID", "KIND", "STATE", "PID", "TTY", "CLIENTS", "RESTARTS", "STARTED", "COMMAND"]]
        for session in document.sessions {
            rows.append([
                session.id.printable, session.kind.printable, session.state.printable, session.pid.map { "\($0)" } ?? "",
                session.terminal ? "yes" : "no",
                "\(session.clients)", "\(session.restarts)", session.startedAt?.printable ?? "",
                (session.args.map(Self.quoted) + (session.argsAreCut == true ? ["…"] : [])).joined(separator: " "),
            ])
        }
        print(TextTable.format(rows))
        if let omitted = document.omitted, omitted > 0 {
            StandardErrorLogHandler.say("\(omitted) more sessions are not listed: there is no room for them in the guest's answer")
        }
    }

    /// An argument as a shell would take it; the guest is not trusted with the terminal.
    private static func quoted(_ argument: String) -> String {
        let plain = "0123456789_-./:=,+@%".unicodeScalars
        let isPlain = argument.unicodeScalars.allSatisfy { $0.properties.isAlphabetic || plain.contains($0) }
        if isPlain, !argument.isEmpty { return argument }
        var quoted = "'"
        for scalar in argument.unicodeScalars {
            switch scalar {
            case "'": quoted += "'\\''"
            case "\n": quoted += "$'\\n'"
            default: quoted += String(scalar).printable
            }
        }
        return quoted + "'"
    }
}

struct StopCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Stop a running container, over the VM's serial line.",
        discussion: """
            The container's stop signal, or --signal, goes to its process, and SIGKILL when --timeout is over. Then the VM powers off.
            """)

    @OptionGroup var target: TargetOptions
    @Option(help: ArgumentHelp("Another signal than the configured one.", valueName: "name"))
    var signal: String?
    @Option(help: ArgumentHelp("Another time until SIGKILL than the configured one.", valueName: "seconds"))
    var timeout: UInt32?

    func validate() throws {
        if let signal, Signal(name: signal) == nil { throw ValidationError("--signal \(signal): there is no such signal") }
        if let timeout, timeout > UInt32.max / 1000 { throw ValidationError("--timeout is too long") }
    }

    func run() throws { _ = try ask(.stop(signal: signal, milliseconds: timeout.map { $0 * 1000 })) }
}

struct SignalCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "signal", abstract: "Send a signal to a session of a running container, over the VM's serial line.")

    @OptionGroup var target: TargetOptions
    @Option(help: ArgumentHelp("The session. (default: the container's own)", valueName: "id"))
    var session = ""
    @Argument(help: "The signal: TERM, SIGHUP, 10.")
    var signal: String

    func validate() throws {
        if Signal(name: signal) == nil { throw ValidationError("\(signal): there is no such signal") }
    }

    func run() throws { _ = try ask(.signal(session: session, signal)) }
}

struct StatsCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats", abstract: "Print the statistics of a running container as JSON, over the VM's serial line.")
    @OptionGroup var target: TargetOptions
    func run() throws { print(String(decoding: try ask(.stats), as: UTF8.self).printableJSON) }
}

struct PauseCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Let all processes of a running container stand still, over the VM's serial line.")
    @OptionGroup var target: TargetOptions
    func run() throws { _ = try ask(.pause) }
}

struct ResumeCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Let the processes of a paused container go on, over the VM's serial line.")
    @OptionGroup var target: TargetOptions
    func run() throws { _ = try ask(.resume) }
}

struct ReloadCommand: ContainerCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Have the VM read its configuration anew, over its serial line.")
    @OptionGroup var target: TargetOptions
    func run() throws { _ = try ask(.reload) }
}
