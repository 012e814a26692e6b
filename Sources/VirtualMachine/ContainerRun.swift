import CHostProcess
import CLinux
import GuestInfoHost
import Linux
import Logging
import SessionLog
import SessionReplay

/// What `tetherctl run` is to do.
public struct RunOptions: Sendable {
    /// The hardware; ``ContainerRun`` fills in the accelerator and the firmware's files.
    public var machine: MachineConfiguration
    public var accelerator = AcceleratorChoice.auto
    public var usesUEFI = false
    /// Name or path of QEMU.
    public var qemu = "qemu-system-x86_64"
    /// guestinfo variables by full name.
    public var variables: [String: [UInt8]] = [:]
    /// A file with further ones, which are taken over whenever it has changed.
    public var variablesFile: VariablesFile?
    /// How often the guest is refused to set a variable, by the variable's full name.
    public var refusals: [String: Int] = [:]
    /// Whether captures and status stay behind.
    public var isKept = false
    /// Where the run's files go; nil for a new directory under TMPDIR.
    public var directory: String?
    /// 0 for no limit.
    public var timeoutSeconds: UInt32 = 0
    /// How long the container has to stop after the power button.
    public var stopTimeoutSeconds: UInt32 = 15
    /// Gets the console's lines as they come.
    public var consoleLog: Logger?
    /// Told of every guestinfo variable that the guest sets.
    public var onSet: (@Sendable (_ key: String, _ value: [UInt8]) -> Void)?
    /// Told, once the guest's kernel runs, where serial0 can be reached: the path of a unix socket.
    public var onStart: (@Sendable (_ attachSocket: String) -> Void)?
    /// Asked about signals that came beside SIGINT, SIGTERM and SIGHUP; see hostprocess_watch_more_signals.
    public var onSignal: (@Sendable (_ number: Int32) -> Void)?
    /// Descriptors for the container's output.
    public var stdout: Int32 = 1
    public var stderr: Int32 = 2

    public init(machine: MachineConfiguration) { self.machine = machine }

    static let statusKey = "guestinfo.tether.status"
    static let hostKeysKey = "guestinfo.tether.attach.hostkeys"
}

/// Runs one container VM in QEMU, from power-on to power-off.
public struct ContainerRun {
    /// Exit code when the VM, and not the container, failed.
    public static let failureCode: Int32 = 125
    /// Exit code when the time was over, as timeout(1) gives.
    public static let timeoutCode: Int32 = 124

    private var options: RunOptions
    private let log: Logger
    /// How long a kernel may take to come up before KVM counts as unusable. With a KVM that works it takes two seconds.
    private static let kvmPatience: Int64 = 10_000

    public init(_ options: RunOptions, log: Logger) {
        self.options = options
        self.log = log
    }

    /// Runs the VM and passes on the container's output.
    /// - Returns: the exit code for this process: the container's, or one of ours when there is none to be trusted.
    public mutating func run() throws(VirtualMachineError) -> Int32 {
        options.qemu = try QEMUProcess.find(options.qemu)
        let directory = try RunDirectory(path: options.directory, isKept: options.isKept)
        let store = GuestInfoStore(options.variables)
        if let file = options.variablesFile {
            let change = file.follow()
            let takeOver = { [unowned store] in
                // What the guest has set since the file had it is the guest's.
                for item in change() where item.value != nil || !store.isGuests(item.key) { store[item.key] = item.value }
            }
            takeOver()
            store.beforeGet = takeOver
        }
        if options.isKept, let configuration = store["guestinfo.tether.config"] {
            try directory.write(configuration, to: "config.json")
        }
        if options.usesUEFI { options.machine.firmware = try Self.firmware(directory) }

        let signals = try system { () throws(SyscallError) in try Pipe() }.take()
        let signalInput = FileDescriptor(owning: signals.read)
        let signalOutput = FileDescriptor(owning: signals.write)
        try system { () throws(SyscallError) in
            try signalInput.setNonBlocking()
            try signalOutput.setNonBlocking()
            _ = try attempt("sigaction") { hostprocess_watch_signals(signalOutput.rawValue) }
        }
        defer { hostprocess_unwatch_signals() }

        let log = self.log
        let isKept = options.isKept
        let onSet = options.onSet
        for (key, times) in options.refusals { store.refuse(key, times: times) }
        let sets = options.isKept ? try SetLog(directory) : nil
        store.onRefusal = { key, value in sets?.append("refused", key, value) }
        store.onSet = { key, value in
            sets?.append("set", key, value)
            onSet?(key, value)
            // What is kept is there for whoever looks while the VM runs; that it could not be written is told at the end.
            if isKept, key == RunOptions.statusKey { try? directory.write(value, to: "status.json") }
            if isKept, key == RunOptions.hostKeysKey { try? directory.write(value, to: "hostkeys") }
            if key == RunOptions.statusKey, let phase = StatusReport(json: value)?.phase { log.info("phase: \(phase.rawValue)") }
        }
        let outcome = try start(directory, store, signals: signalInput)
        let status = store[RunOptions.statusKey]
        if options.isKept {
            if let status { try directory.write(status, to: "status.json") }
            let lines = store.all.map { VMXLine.text($0.key, $0.value) + "\n" }.joined()
            try directory.write(Array(lines.utf8), to: "guestinfo.vmx")
            log.notice("console.log, session.log, status.json, guestinfo.log, guestinfo.vmx and qemu.log are in \(directory.path)")
            if let failure = sets?.failure { log.warning("guestinfo.log is not whole: \(failure)") }
        }
        return conclude(outcome, status: status.flatMap { StatusReport(json: $0) }, directory)
    }

    // MARK: The accelerator

    private func start(
        _ directory: RunDirectory, _ store: GuestInfoStore, signals: borrowing FileDescriptor
    ) throws(VirtualMachineError) -> MachineRun.Outcome {
        let probe = KVMProbe(qemuVersion: Self.fingerprint(options.qemu))
        var machine = options.machine
        machine.accelerator = .tcg
        if options.accelerator != .tcg, options.accelerator == .kvm || mayUseKVM(probe) {
            machine.accelerator = .kvm
            let mayFallBack = options.accelerator == .auto
            let patience: Int64? = mayFallBack && probe.remembered() != .works ? Self.kvmPatience : nil
            log.debug("using KVM")
            let outcome = try MachineRun(options, machine: machine, directory: directory, store: store, kernelPatience: patience, log: log)
                .run(signals: signals)
            if outcome.kernelStarted { probe.remember(.works) }
            // Nothing of the guest has run but firmware and boot loader: starting again is safe.
            if outcome.kernelStarted || outcome.stop != nil || !mayFallBack { return outcome }
            probe.remember(.fails)
            let reason = directory.lastLines(1, of: "qemu.log").first ?? outcome.failure.map { $0.description } ?? "QEMU ended"
            log.notice("KVM does not work on this host (\(reason)); using software emulation from now on, which is slower")
            machine.accelerator = .tcg
        }
        log.debug("using TCG")
        return try MachineRun(options, machine: machine, directory: directory, store: store, kernelPatience: nil, log: log)
            .run(signals: signals)
    }

    private func mayUseKVM(_ probe: KVMProbe) -> Bool {
        if let problem = probe.deviceProblem() {
            log.info("no KVM: \(problem)")
            return false
        }
        if probe.remembered() == .fails {
            log.info("no KVM: it failed before on this host (\(probe.path) remembers)")
            return false
        }
        return true
    }

    /// What changes when QEMU is upgraded, without running it: the program's size and modification time.
    private static func fingerprint(_ path: String) -> String {
        var info = stat()
        guard stat(path, &info) == 0 else { return path }
        return "\(path):\(info.st_size):\(info.st_mtim.tv_sec)"
    }

    // MARK: UEFI

    /// Where distributions put OVMF: code, and the variables that belong to it.
    private static let ovmf = [
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ]

    private static func firmware(_ directory: RunDirectory) throws(VirtualMachineError) -> MachineConfiguration.Firmware {
        for (code, variables) in ovmf where Files.exists(code) && Files.exists(variables) {
            let content = try system { () throws(SyscallError) in try Files.read(variables, limit: 16 << 20) }
            try directory.write(content, to: "uefi-variables.fd")
            return .uefi(code: code, variables: directory.file("uefi-variables.fd"))
        }
        throw VirtualMachineError("find the UEFI firmware", "", "OVMF is not installed (Debian's package is ovmf)")
    }

    // MARK: The result

    /// Says what went wrong, if anything did, and finds the exit code.
    private func conclude(_ outcome: MachineRun.Outcome, status: StatusReport?, _ directory: RunDirectory) -> Int32 {
        if let failure = outcome.failure {
            log.error("\(failure)")
            explain(outcome, status, directory)
            return Self.failureCode
        }
        if outcome.session.skipped > 0 { log.warning("\(outcome.session.skipped) bytes of the session log were no records") }
        let code = containerCode(outcome, status, directory)
        switch outcome.stop {
        case .signal(let number) where outcome.wasKilled: return 128 + number
        case .timeout: return Self.timeoutCode
        default: return code
        }
    }

    private func containerCode(_ outcome: MachineRun.Outcome, _ status: StatusReport?, _ directory: RunDirectory) -> Int32 {
        let isRecord = outcome.session.exit != nil
        guard let report = outcome.session.exit ?? status.flatMap({ $0.isFinal ? $0.exit : nil }) else {
            if !outcome.wasKilled {
                log.error("the VM ended without saying how the container ended")
                explain(outcome, status, directory)
            }
            return Self.failureCode
        }
        let code = Int32(report.exitCode)
        if let error = report.error { log.error("\(error.sentence)") }
        if report.oomKilled { log.error("the container ran out of memory") }
        if report.drain == .deadline {
            log.warning("the container's output was cut off: something held its streams and did not stop writing")
        }
        if !isRecord && outcome.session.hasEvents {
            log.warning("the session log has no exit record; this is the exit code of the status in guestinfo")
        }
        // A container that never ran has no streams, and a status that reports a failure may not count them.
        if !isRecord, report.stdout == nil, report.stderr == nil { return code }
        let differences = outcome.session.differences(from: report)
        for difference in differences { log.error("\(difference)") }
        if !differences.isEmpty {
            log.error("the output is not what the container wrote; its exit code was \(code)")
            return Self.failureCode
        }
        if let end = outcome.end, end.exitCode != 0, !outcome.wasKilled { log.warning("QEMU ended with \(end.exitCode)") }
        return code
    }

    /// What is known about a VM that ended badly.
    private func explain(_ outcome: MachineRun.Outcome, _ status: StatusReport?, _ directory: RunDirectory) {
        if let end = outcome.end, end.exitCode != 0, outcome.failure == nil {
            log.error("QEMU ended with \(end.signal.map { "signal \($0)" } ?? "status \(end.exitCode)")")
        }
        for line in directory.lastLines(5, of: "qemu.log") { log.error("QEMU: \(line)") }
        if let phase = status?.phase {
            log.error("the guest's last phase was \(phase.rawValue)")
        } else if outcome.kernelStarted {
            log.error("the guest's kernel started, but tether reported no phase")
        } else {
            log.error("the guest's kernel did not start")
        }
        let lines = outcome.console.tail + (outcome.console.unfinished.map { [$0] } ?? [])
        for line in lines.suffix(10) { log.error("console: \(line)") }
        if !options.isKept { log.error("with --keep the whole console log is kept") }
    }
}
