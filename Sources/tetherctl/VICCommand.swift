import ArgumentParser
import ContainerSpec
import Foundation
import GuestInfoHost
import Linux
import VIC

/// `tetherctl vic`: VIC's keys, for those who test with them or look for a fault.
struct VICCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vic", abstract: "Make and read the guestinfo keys of vSphere Integrated Containers (VIC).",
        subcommands: [Encode.self, Decode.self])

    /// The keys of a configuration, or what they cannot express, on standard error.
    static func keys(_ config: VICExecutorConfig) throws -> [VICKeyValue] {
        do throws(SpecError) { return try config.keyValues() } catch {
            for issue in error.issues { ConfigCommand.report("\(issue)") }
            throw ExitCode.failure
        }
    }
}

/// A container's description on the command line.
struct VICOptions: ParsableArguments {
    @Option(
        name: .customLong("config"), help: ArgumentHelp("An OCI config.json to take it from; \"-\" is standard input.", valueName: "file"))
    var configFile: String?
    @Option(help: "The container's id; VIC's have 64 hexadecimal digits.")
    var id: String?
    @Option(name: [.short, .long], help: ArgumentHelp("An environment variable. May be repeated.", valueName: "name=value"))
    var env: [String] = []
    @Option(name: [.short, .long], help: ArgumentHelp("Whom the command runs as.", valueName: "user[:group]"))
    var user: String?
    @Option(name: [.customShort("w"), .long], help: ArgumentHelp("Its working directory.", valueName: "path"))
    var workdir: String?
    @Option(help: "The container's host name.")
    var hostname: String?
    @Option(help: "The domain that it is in.")
    var domainname: String?
    @Option(help: ArgumentHelp("The signal that stops it.", valueName: "name"))
    var stopSignal: String?
    @Flag(name: [.short, .long], help: "Its standard streams are a terminal.")
    var tty = false
    @Flag(help: "Its standard input stays open.")
    var stdin = false
    @Flag(help: "It waits to be attached to.")
    var runblock = false
    @Option(help: ArgumentHelp("VIC's debug level, 0 to 4.", valueName: "level"))
    var debug: Int64?
    @Option(
        help: ArgumentHelp(
            """
            A network: its name and its adapter's PCI slot, and as they are needed address=ADDRESS/LENGTH (without it is DHCP's), \
            gateway=, dns=, destination=, interface=, port=, trust=, and the words default and internal. May be repeated.
            """,
            valueName: "name=text,slot=number,…"))
    var network: [VICNetworkOption] = []
    @Argument(help: "The command and its arguments.")
    var command: [String] = []

    func validate() throws {
        if configFile == nil && command.isEmpty {
            throw ValidationError("give a command after \"--\" or an OCI configuration with --config")
        }
        if configFile != nil && !command.isEmpty { throw ValidationError("--config and a command exclude each other") }
    }

    func config() throws -> VICExecutorConfig {
        var config: VICExecutorConfig
        if let configFile {
            var omitted: [String] = []
            config = VICExecutorConfig(try ContainerSpec.decode(try ConfigCommand.load(configFile)), omitted: &omitted)
            for name in omitted { ConfigCommand.report("\(configFile): warning: \(name): VIC's keys have no place for it") }
        } else {
            config = VICExecutorConfig()
            config.id = "container"
            var session = VICSession()
            session.path = command[0]
            session.args = command
            session.env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            session.directory = "/"
            session.stopSignal = "TERM"
            config.sessions = [session]
        }
        if let id { config.id = id }
        if let hostname { config.hostname = hostname }
        if let domainname { config.domainname = domainname }
        config.networks += network.map(\.endpoint)
        if let debug { config.diagnostics.debug = debug }
        config.sessions[0].key = config.id
        config.sessions[0].id = config.id
        change(&config.sessions[0])
        return config
    }

    private func change(_ session: inout VICSession) {
        for variable in env {
            let name = variable.prefix { $0 != "=" } + "="
            session.env.removeAll { $0.hasPrefix(name) }
            session.env.append(variable)
        }
        if let user {
            let names = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            session.user = names[0]
            session.group = names.count > 1 ? names[1] : ""
        }
        if let workdir { session.directory = workdir }
        if let stopSignal { session.stopSignal = stopSignal }
        if tty { session.tty = true }
        if stdin { session.openStdin = true }
        if runblock { session.runBlock = true }
        if stdin || runblock { session.attach = true }
    }
}

extension VICCommand {
    /// `tetherctl vic encode`
    struct Encode: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the keys that VIC's portlayer would write for a container.",
            discussion: "Prints key=value lines, as govc vm.change -e takes them, or with --vmx lines for a .vmx file.")

        @OptionGroup var options: VICOptions
        @Flag(help: "Print lines for a .vmx file.")
        var vmx = false

        func run() throws {
            let keys = try VICCommand.keys(options.config())
            for pair in keys {
                if !vmx && pair.value.utf8.contains(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
                    ConfigCommand.report("\(pair.key): a value of several lines needs --vmx")
                    throw ExitCode.failure
                }
            }
            for pair in keys { print(vmx ? VMXLine.text(pair.key, Array(pair.value.utf8)) : "\(pair.key)=\(pair.value)") }
        }
    }

    /// `tetherctl vic decode`
    struct Decode: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what the keys in a .vmx file, or in the output of govc vm.info -e, say.",
            discussion: """
                The host key is not printed, nor are values in the environment whose names sound like a secret. \
                The exit status is 1 if there are no keys of VIC's, or some that cannot be understood.
                """)

        @Argument(help: "The file, or - for standard input; with -json or without.")
        var file = "-"
        @Flag(help: "Print secrets, too.")
        var reveal = false

        func run() throws {
            let name = file == "-" ? "standard input" : file
            let dump: VICDump
            do throws(VICDumpError) { dump = try VICDump(VICCommand.content(file)) } catch {
                ConfigCommand.report("\(name): \(error)")
                throw ExitCode.failure
            }
            let asked = Asked()
            let (reading, error) = VICExecutorConfig.examine { (key) throws(VICSourceError) in
                asked.keys.insert(key.lowercased())
                return dump.value(key).map { Array($0.utf8) }
            }
            for issue in error?.issues ?? [] { ConfigCommand.report(VICPage.printable("\(name): \(issue)")) }
            guard let reading else {
                ConfigCommand.report("\(name): there are no keys of VIC's: \(VICKey.containerID.name) is absent")
                throw ExitCode.failure
            }
            let ignored = dump.names.filter { $0.lowercased().hasPrefix(VICKey.prefix) && !asked.keys.contains($0.lowercased()) }
            print(VICPage.text(reading, revealing: reveal, ignored: ignored.sorted()), terminator: "")
            // What there is has been shown; that not all of it is understood, the status says.
            if error != nil { throw ExitCode.failure }
        }
    }

    /// The keys that the decoder has asked for.
    private final class Asked { var keys: Set<String> = [] }

    fileprivate static func content(_ path: String) throws(VICDumpError) -> [UInt8] {
        do throws(SyscallError) { return try Files.read(path == "-" ? "/dev/stdin" : path, limit: 16 << 20) } catch {
            throw VICDumpError(description: "\(error)")
        }
    }
}
