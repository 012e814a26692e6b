import ArgumentParser
import Concentrator
import Foundation
import LineEndpoint
import Linux
import Logging

struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Hold the serial lines of many VMs: a virtual serial port concentrator.",
        discussion: """
            VMs whose serial0 is connected to this machine's --listen port as to a vSPC keep their lines here, also across vMotion. \
            "tetherctl attach --vm NAME SOCKET" and "tetherctl proxy --vm NAME SOCKET" borrow one.

            The connections are not encrypted and say themselves who they are; what goes over them is (SSH).
            """)

    @Option(help: ArgumentHelp("Where VMs connect; \":13370\" means all addresses of this machine.", valueName: "host:port"))
    var listen = ":13370"
    @Option(
        help: ArgumentHelp(
            "The socket for attach, proxy and --list. (default: tether-serve.sock in $XDG_RUNTIME_DIR or /run)", valueName: "path"))
    var socket: String?
    @Flag(help: "List the lines that a running \"tetherctl serve\" has, and end.")
    var list = false
    @Flag(help: "With --list: as JSON, one object a line.")
    var json = false
    @Flag(name: [.short, .long], help: "Say more on standard error.")
    var verbose = false

    func validate() throws {
        if json, !list { throw ValidationError("--json belongs to --list") }
    }

    func run() throws {
        let path = socket ?? Self.defaultSocket
        do throws(EndpointError) {
            if list { return print(try table(path)) }
            // A reader of our messages who does not read must not stop the lines.
            let omitted = StandardErrorLogHandler.Omitted()
            var log = Logger(label: "tetherctl") { _ in StandardErrorLogHandler(prefix: "tetherctl", omitted: omitted) }
            log.logLevel = verbose ? .debug : .info
            let address = try Endpoint.address(listen)
            let concentrator = try Concentrator(host: address.host, port: address.port, socket: path, log: log)
            log.info("waiting for VMs on port \(concentrator.port), for clients at \(path)")
            do throws(SyscallError) { try Terminations.watchSignals() } catch {
                throw EndpointError(error.operation, error.object, error.errno.description)
            }
            try concentrator.run(until: FileDescriptor(owning: Terminations.signals))
        } catch {
            StandardErrorLogHandler.say(error)
            throw ExitCode(1)
        }
    }

    private static var defaultSocket: String {
        let directory = ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"].flatMap { $0.isEmpty ? nil : $0 }
        return "\(directory ?? "/run")/tether-serve.sock"
    }

    private struct Line: Decodable {
        let name, uuid, uri, address: String
        let since, received, sent, dropped: UInt64
        let lent, moving: Bool
    }

    private func table(_ path: String) throws(EndpointError) -> String {
        let lines = try ConcentratorClient.list(path: path)
        if json { return lines.joined(separator: "\n") }
        var rows = [["NAME", "UUID", "ADDRESS", "SINCE", "STATE", "RECEIVED", "SENT", "DROPPED"]]
        for text in lines {
            guard let line = try? JSONDecoder().decode(Line.self, from: Data(text.utf8)) else {
                throw EndpointError("list", path, "the answer is not understood: \(text)")
            }
            let since = Date(timeIntervalSince1970: Double(line.since) / 1000).formatted(.iso8601)
            let state = line.moving ? "moving" : line.lent ? "lent" : "idle"
            rows.append([line.name, line.uuid, line.address, since, state, "\(line.received)", "\(line.sent)", "\(line.dropped)"])
        }
        return TextTable.format(rows)
    }
}
