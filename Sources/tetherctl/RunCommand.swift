import ArgumentParser
import AttachClient
import ContainerSpec
import Foundation
import GuestInfoHost
import Linux
import Logging
import VIC
import VirtualMachine

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Boot a container VM in QEMU and pass on its output and exit status.",
        discussion: """
            The container is described by an OCI config.json (--config) or by a command after "--". The VM gets it as \
            guestinfo.tether.config over VMware's backdoor port, as on vSphere. What the image's file system writes is \
            discarded at the end unless --persistent is given.

            With -i or -t the container is joined over the VM's attach line: its standard input and terminal are this program's.

            Ctrl-C presses the VM's power button, so that the container is stopped; a second one kills the VM.

            With --network the VM has an adapter, on QEMU's own network: the way out goes through this machine. A command's container \
            gets its address by DHCP, and so with --vic; an OCI config.json has tether.network itself.

            The exit status is the container's. 124: the time of --timeout was over. 125: the VM, tether or QEMU failed, \
            or the output that arrived is not what the container wrote. 130 or 143: killed by Ctrl-C or SIGTERM.
            """)

    @Option(help: ArgumentHelp("The disk with the container's root file system: VMDK, qcow2 or raw.", valueName: "path"))
    var image: String?
    @Option(help: ArgumentHelp("A further disk. May be repeated.", valueName: "path"))
    var extraDisk: [String] = []
    @Flag(help: "Write the guest's changes into the images.")
    var persistent = false

    @Option(help: ArgumentHelp("An OCI config.json, delivered as it is; \"-\" is standard input.", valueName: "path"))
    var config: String?
    @Flag(help: "Deliver it in VIC's keys, as VIC's portlayer would, and not in tether's own.")
    var vic = false
    @Option(help: "How the configuration is written: plain, base64 or gzip+base64. (default: plain up to 48 KiB)")
    var configEncoding: ValueEncoding?
    @Flag(name: [.short, .long], help: "Pass on standard input.")
    var interactive = false
    @Flag(name: [.customShort("t"), .long], help: "Give the container a terminal: this one.")
    var tty = false
    @Option(name: [.short, .long], help: ArgumentHelp("An environment variable of the command. May be repeated.", valueName: "name=value"))
    var env: [String] = []
    @Option(name: [.customShort("w"), .long], help: ArgumentHelp("The command's working directory.", valueName: "path"))
    var cwd: String?
    @Option(name: [.short, .long], help: ArgumentHelp("Whom the command runs as.", valueName: "uid[:gid]"))
    var user: String?
    @Option(help: "The container's host name. (default: container)")
    var hostname: String?
    @Flag(help: "Mount the root file system read-only.")
    var readOnly = false
    @Argument(help: "The command to run in the container.")
    var command: [String] = []

    @Option(help: "Memory of the VM in MiB.")
    var memory = 512
    @Option(help: "Virtual processors of the VM.")
    var cpus = 1
    @Option(help: "A network adapter: user, QEMU's own network. May be repeated.")
    var network: [MachineConfiguration.Network] = []
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "A port of this machine that leads to one of the VM's. May be repeated.", valueName: "[address:]port:port[/udp]"))
    var publish: [String] = []
    @Option(help: ArgumentHelp("The ISO to boot. (default: tether.iso beside this program, or in build/)", valueName: "path"))
    var iso: String?
    @Option(help: "auto, kvm or tcg (software emulation).")
    var accel = AcceleratorChoice.auto
    @Option(help: "bios or uefi.")
    var firmware = FirmwareChoice.bios
    @Option(help: "pvscsi, nvme, ahci or lsisas.")
    var diskController = MachineConfiguration.DiskController.pvscsi
    @Option(help: "q35 or pc.")
    var machine = MachineConfiguration.Board.q35
    @Option(
        help: ArgumentHelp(
            "A further guestinfo variable; \"guestinfo.\" may be left out. May be repeated.", valueName: "key=value"))
    var guestinfo: [String] = []
    @Option(
        help: ArgumentHelp(
            "A file with further ones, in full, as key=value or as in a .vmx file. Read again when it changes while the VM runs.",
            valueName: "path")
    )
    var guestinfoFile: String?
    @Option(
        help: ArgumentHelp(
            "Refuse the guest's first attempts to set this guestinfo variable, so many, as a busy host does. May be repeated.",
            valueName: "key=count"))
    var refuse: [String] = []

    @Option(help: ArgumentHelp("Stop the container after this time. 0: never.", valueName: "seconds"))
    var timeout: UInt32 = 0
    @Option(help: ArgumentHelp("How long the container has to stop before the VM is killed.", valueName: "seconds"))
    var stopTimeout: UInt32 = 15
    @Flag(help: "Keep console.log, session.log, status.json, guestinfo.log and others, and say where.")
    var keep = false
    @Option(help: ArgumentHelp("Keep them in this directory, which must not exist yet.", valueName: "path"))
    var keepIn: String?
    @Flag(name: [.short, .long], help: "Show the console and the VM's life on standard error.")
    var verbose = false

    @Option(help: ArgumentHelp("Boot this kernel without an ISO.", valueName: "path"))
    var kernel: String?
    @Option(help: ArgumentHelp("The initramfs for --kernel.", valueName: "path"))
    var initrd: String?
    @Option(help: ArgumentHelp("Arguments for --kernel.", valueName: "text"))
    var append: String?
    @Option(help: ArgumentHelp("Name or path of QEMU.", valueName: "program"))
    var qemu = "qemu-system-x86_64"
    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A further argument for QEMU, as it is. May be repeated.", valueName: "argument"))
    var qemuArg: [String] = []

    func validate() throws {
        if config != nil {
            if !command.isEmpty { throw ValidationError("--config and a command exclude each other") }
            if !env.isEmpty || cwd != nil || user != nil || hostname != nil || readOnly {
                throw ValidationError(
                    "--env, --cwd, --user, --hostname and --read-only belong to a command; put them into the configuration")
            }
        }
        if vic, interactive || tty { throw ValidationError("--vic excludes -i and -t: VIC's keys have no place for the client's key") }
        if vic, configEncoding != nil { throw ValidationError("--vic and --config-encoding exclude each other") }
        if kernel == nil, initrd != nil || append != nil { throw ValidationError("--initrd and --append need --kernel") }
        if kernel != nil, iso != nil { throw ValidationError("--kernel and --iso exclude each other") }
        if config == nil, command.isEmpty, kernel == nil, guestinfoFile == nil, !guestinfo.contains(where: { !$0.isEmpty }) {
            throw ValidationError("give a command after \"--\" or an OCI configuration with --config")
        }
        if interactive || tty, config == nil, command.isEmpty { throw ValidationError("-i and -t need a command or --config") }
        if interactive, config == "-" { throw ValidationError("-i and --config - exclude each other: both would read standard input") }
        if network.count > MachineConfiguration.adapterSlots.count {
            throw ValidationError("--network can be given \(MachineConfiguration.adapterSlots.count) times")
        }
        if network.isEmpty, !publish.isEmpty { throw ValidationError("--publish needs --network") }
        for text in publish where MachineConfiguration.PublishedPort(text) == nil {
            throw ValidationError("--publish \(text): it is no [address:]port:port, with /tcp, /udp or neither")
        }
        if memory < 64 || memory > 1 << 20 { throw ValidationError("--memory is in MiB, at least 64") }
        if cpus < 1 || cpus > 255 { throw ValidationError("--cpus is 1 to 255") }
        for variable in env where !variable.contains("=") || variable.hasPrefix("=") {
            throw ValidationError("--env \(variable): it is no name=value")
        }
    }

    func run() throws {
        var log = Logger(label: "tetherctl") { _ in StandardErrorLogHandler(prefix: "tetherctl") }
        log.logLevel = verbose ? (ProcessInfo.processInfo.environment["TETHER_TRACE"] != nil ? .trace : .debug) : .notice
        do {
            let client = interactive || tty ? try InteractiveRun(isInteractive: interactive, hasTerminal: tty) : nil
            var machine = try options(client)
            try client?.prepare(&machine)
            var run = ContainerRun(machine, log: log)
            let code: Int32
            do { code = try run.run() } catch {
                _ = client?.finish(ContainerRun.failureCode)
                throw error
            }
            throw ExitCode(client?.finish(code) ?? code)
        } catch let error as VirtualMachineError {
            log.error("\(error)")
            throw ExitCode(ContainerRun.failureCode)
        } catch let error as AttachError {
            log.error("\(error)")
            throw ExitCode(ContainerRun.failureCode)
        }
    }

    // MARK: From options to a machine

    private func options(_ client: InteractiveRun?) throws(VirtualMachineError) -> RunOptions {
        var disks: [MachineConfiguration.Disk] = []
        for path in (image.map { [$0] } ?? []) + extraDisk {
            disks.append(MachineConfiguration.Disk(path: path, format: try DiskFormat(path: path), isPersistent: persistent))
        }
        var machine = MachineConfiguration(boot: try boot(), disks: disks, uuid: Self.randomUUID())
        machine.board = self.machine
        machine.controller = diskController
        machine.memory = memory
        machine.cpus = cpus
        machine.networks = network
        machine.publishedPorts = publish.compactMap { MachineConfiguration.PublishedPort($0) }
        machine.extraArguments = qemuArg

        var options = RunOptions(machine: machine)
        options.accelerator = accel
        options.usesUEFI = firmware == .uefi
        options.qemu = qemu
        options.variables = try variables(client)
        if let guestinfoFile {
            let read: @Sendable () -> [String: [UInt8]]? = {
                guard let content = try? Files.read(guestinfoFile, limit: 16 << 20), let dump = try? VICDump(content) else { return nil }
                return dump.values.mapValues { Array($0.utf8) }
            }
            if read() == nil { throw VirtualMachineError("read --guestinfo-file", guestinfoFile, "it cannot be read") }
            options.variablesFile = VariablesFile(path: guestinfoFile, read: read)
        }
        for pair in refuse {
            guard let equals = pair.firstIndex(of: "="), let count = Int(pair[pair.index(after: equals)...]), count > 0 else {
                throw VirtualMachineError("read --refuse", pair, "it is no key=count")
            }
            options.refusals[Self.variableName(String(pair[..<equals]))] = count
        }
        options.isKept = keep || keepIn != nil
        options.directory = keepIn
        options.timeoutSeconds = timeout
        options.stopTimeoutSeconds = stopTimeout
        if verbose { options.consoleLog = Logger(label: "console") { _ in StandardErrorLogHandler(prefix: "console") } }
        return options
    }

    private func boot() throws(VirtualMachineError) -> MachineConfiguration.Boot {
        if let kernel { return .kernel(path: kernel, initrd: initrd, arguments: append ?? "console=ttyS1 panic=-1") }
        if let iso { return .iso(iso) }
        // A program in build/ or build/host/release/ finds the ISO that the same make built.
        let program = Bundle.main.executableURL?.resolvingSymlinksInPath()
        var directory = program?.deletingLastPathComponent()
        var tried: [String] = []
        for _ in 0..<4 {
            guard let current = directory else { break }
            for candidate in [current.appendingPathComponent("tether.iso"), current.appendingPathComponent("build/tether.iso")] {
                if FileManager.default.fileExists(atPath: candidate.path) { return .iso(candidate.path) }
                tried.append(candidate.path)
            }
            directory = current.deletingLastPathComponent()
        }
        throw VirtualMachineError("find tether.iso", "", "it is not at \(tried.first ?? "any known place"); run \"make iso\" or give --iso")
    }

    private func variables(_ client: InteractiveRun?) throws(VirtualMachineError) -> [String: [UInt8]] {
        var variables: [String: [UInt8]] = [:]
        if let config {
            let content: [UInt8]
            do throws(SyscallError) { content = try ConfigDelivery.read(config) } catch {
                throw VirtualMachineError(error.operation, error.object, error.errno.description)
            }
            let amended = try client?.amend(content) ?? content
            variables = vic ? try vicKeys(amended) : try ConfigurationDelivery.variables(amended, encoding: configEncoding)
        } else if !command.isEmpty {
            // In VIC's keys a user may have a name.
            guard let user = ContainerConfiguration.parseUser(vic ? "0:0" : self.user ?? "0:0") else {
                throw VirtualMachineError("read --user", self.user ?? "", "it is no uid or uid:gid in numbers")
            }
            let terminal = ProcessInfo.processInfo.environment["TERM"].flatMap { $0.isEmpty ? nil : $0 }
            let configuration = ContainerConfiguration(
                arguments: command, environment: env, terminal: terminal, directory: cwd ?? "/", uid: user.uid, gid: user.gid,
                hostname: hostname ?? "container", isReadOnly: readOnly, adapters: vic ? 0 : network.count)
            let json = try configuration.json()
            let amended = try client?.amend(json) ?? json
            variables =
                vic ? try vicKeys(amended, user: self.user) : try ConfigurationDelivery.variables(amended, encoding: configEncoding)
        }
        for pair in guestinfo {
            guard let equals = pair.firstIndex(of: "="), equals != pair.startIndex else {
                throw VirtualMachineError("read --guestinfo", pair, "it is no key=value")
            }
            variables[Self.variableName(String(pair[..<equals]))] = Array(pair[pair.index(after: equals)...].utf8)
        }
        return variables
    }

    private static func variableName(_ key: String) -> String { key.hasPrefix("guestinfo.") ? key : "guestinfo." + key }

    /// The variables that deliver a configuration as VIC does.
    /// - Parameter user: in the place of the configuration's.
    private func vicKeys(_ json: [UInt8], user: String? = nil) throws(VirtualMachineError) -> [String: [UInt8]] {
        var omitted: [String] = []
        let keys: [VICKeyValue]
        do throws(SpecError) {
            var spec = try ContainerSpec.decode(json)
            if let user { spec.process.user.username = user }
            var config = VICExecutorConfig(spec, omitted: &omitted)
            // What the VCH's portlayer would say of the adapters that the VM has.
            for (index, slot) in MachineConfiguration.adapterSlots.prefix(network.count).enumerated() {
                config.networks.append(VICNetworkEndpoint(dhcp: "\(network[index].rawValue)\(index)", slot: slot, isDefault: index == 0))
            }
            keys = try config.keyValues()
        } catch {
            throw VirtualMachineError("express", "the configuration in VIC's keys", error.description)
        }
        if let first = omitted.first { throw VirtualMachineError("express", "\(first) in VIC's keys", "they have no place for it") }
        return Dictionary(keys.map { ($0.key, Array($0.value.utf8)) }) { $1 }
    }

    private static func randomUUID() -> [UInt8] { withUnsafeBytes(of: UUID().uuid) { Array($0) } }
}

enum FirmwareChoice: String, CaseIterable, ExpressibleByArgument { case bios, uefi }

extension AcceleratorChoice: ExpressibleByArgument {}
extension MachineConfiguration.DiskController: ExpressibleByArgument {}
extension MachineConfiguration.Network: ExpressibleByArgument {}
extension MachineConfiguration.Board: ExpressibleByArgument {}
extension ValueEncoding: ExpressibleByArgument {}
