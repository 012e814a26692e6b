import CHostProcess
import CLinux
import GuestInfoHost
import LineEndpoint
import Linux
import Logging
import SessionLog
import SessionReplay

/// One start of QEMU, from its command line to its end: a single poll loop around the VM's channels, our outputs, signals
/// and deadlines.
final class MachineRun {
    /// What a run was asked to end by, before it ended by itself.
    enum Stop: Equatable {
        case signal(Int32)
        case timeout
        case outputClosed
    }

    /// How it came out.
    struct Outcome {
        /// The guest's kernel came up.
        var kernelStarted = false
        var end: ProcessEnd?
        var stop: Stop?
        /// QEMU was killed because the guest did not end in time, or on the user's word.
        var wasKilled = false
        /// Why the run was broken off.
        var failure: VirtualMachineError?
        var session = SessionReader()
        var console = ConsoleReader()
    }

    private let options: RunOptions
    private let directory: RunDirectory
    private let store: GuestInfoStore
    private let log: Logger
    private let kernelDeadline: Deadline?
    private let qemu: QEMUProcess
    private let bridge: BackdoorBridge
    private let monitor: FileDescriptor
    private let console: FileDescriptor
    private let session: FileDescriptor
    private let consoleCapture: CaptureFile?
    private let sessionCapture: CaptureFile?
    private var monitorProtocol = MonitorProtocol()
    private var stdout: OutputWriter
    private var stderr: OutputWriter
    private var outcome = Outcome()

    private enum Channel: Int { case signals, gdb, monitor, console, session, qemu, stdout, stderr }
    private var isOpen: Set<Channel> = [.gdb, .monitor, .console, .session, .qemu]
    private let overallDeadline: Deadline?
    private var nextButtonPress: Deadline?
    private var killDeadline: Deadline?
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    private var isLinePublic = false

    /// The socket of serial0: where QEMU makes it, and what it is called once the guest's kernel runs.
    private static let hiddenLine = "serial0"
    private static let publicLine = "attach.sock"
    /// The guest has this long to power off after its exit record, and QEMU to end after it has closed its channels.
    /// The guest's own bounds add up to 63 s: its clients, its processes, its disks, its diagnostics.
    private static let powerOffPatience: Int64 = 75_000
    /// How often the power button is pressed until the guest says that it is stopping: it may not listen yet.
    private static let buttonInterval: Int64 = 2_000

    /// Starts QEMU.
    /// - Parameter kernelPatience: milliseconds in which the guest's kernel must come up; nil for as long as it takes.
    init(
        _ options: RunOptions, machine: MachineConfiguration, directory: RunDirectory, store: GuestInfoStore, kernelPatience: Int64?,
        log: Logger
    ) throws(VirtualMachineError) {
        self.options = options
        self.directory = directory
        self.store = store
        self.log = log
        stdout = OutputWriter(descriptor: options.stdout)
        stderr = OutputWriter(descriptor: options.stderr)
        consoleCapture = options.isKept ? try CaptureFile(directory, "console.log") : nil
        sessionCapture = options.isKept ? try CaptureFile(directory, "session.log") : nil

        let gdbEnds = try SocketPair().take()
        let gdb = FileDescriptor(owning: gdbEnds.ours)
        let gdbTheirs = FileDescriptor(owning: gdbEnds.theirs)
        let monitorEnds = try SocketPair().take()
        monitor = FileDescriptor(owning: monitorEnds.ours)
        let monitorTheirs = FileDescriptor(owning: monitorEnds.theirs)
        let consoleEnds = try SocketPair().take()
        console = FileDescriptor(owning: consoleEnds.ours)
        let consoleTheirs = FileDescriptor(owning: consoleEnds.theirs)
        let sessionEnds = try SocketPair().take()
        session = FileDescriptor(owning: sessionEnds.ours)
        let sessionTheirs = FileDescriptor(owning: sessionEnds.theirs)

        let channels = MachineConfiguration.Channels(
            gdb: gdbTheirs.rawValue, monitor: monitorTheirs.rawValue, console: consoleTheirs.rawValue, session: sessionTheirs.rawValue,
            attachSocket: directory.file(Self.hiddenLine))
        let arguments = machine.arguments(channels)
        log.debug("starting QEMU", metadata: ["command": "\(([options.qemu] + arguments).joined(separator: " "))"])
        let output = try directory.create("qemu.log")
        qemu = try QEMUProcess(
            path: options.qemu, arguments: arguments, output: output.rawValue,
            keeping: [channels.gdb, channels.monitor, channels.console, channels.session])
        // QEMU has its own copies of the far ends; ours close here, so that its end shows as end of file.
        _ = consume gdbTheirs
        _ = consume monitorTheirs
        _ = consume consoleTheirs
        _ = consume sessionTheirs

        let host = GuestInfoHost(store: store)
        bridge = BackdoorBridge(
            client: try GDBClient(owning: gdb), host: host, usesHardwareBreakpoint: machine.accelerator == .kvm, log: log)
        kernelDeadline = kernelPatience.map { .after(milliseconds: $0) }
        overallDeadline = options.timeoutSeconds > 0 ? .after(milliseconds: Int64(options.timeoutSeconds) * 1000) : nil
        try system { () throws(SyscallError) in
            try monitor.setNonBlocking()
            try console.setNonBlocking()
            try session.setNonBlocking()
        }
    }

    /// Runs until the VM has ended and everything it sent has been passed on.
    /// - Parameter signals: a descriptor from which the numbers of arriving signals can be read.
    func run(signals: borrowing FileDescriptor) -> Outcome {
        do throws(VirtualMachineError) {
            try bridge.start()
            while !isFinished {
                try step(signals: signals.rawValue)
                if !isLinePublic, bridge.isServing { try publishLine() }
            }
        } catch {
            outcome.failure = error
            // If the connection is gone because QEMU is going, its own status says more than ours would.
            if error.cause == GDBClient.endOfFile { waitForEnd(milliseconds: 1000) }
            // Nobody feeds the gdb stub any more: without an end by force the VM would stand still for ever.
            outcome.end = qemu.killAndWait()
        }
        // QEMU takes away what it made, which had another name.
        if isLinePublic { unlink(directory.file(Self.publicLine)) }
        let rest = outcome.session.finish()
        stdout.append(rest.stdout)
        stderr.append(rest.stderr)
        while outcome.failure == nil, !stdout.isEmpty || !stderr.isEmpty {
            do throws(VirtualMachineError) { try step(signals: signals.rawValue) } catch { outcome.failure = error }
        }
        let statistics = bridge.statistics
        log.debug(
            "backdoor bridge",
            metadata: [
                "accesses": "\(statistics.accesses)", "otherFaults": "\(statistics.otherFaults)", "pageFaults": "\(statistics.pageFaults)",
                "polls": "\(statistics.polls)",
            ])
        outcome.kernelStarted = bridge.isServing
        return outcome
    }

    /// Gives serial0's socket the name that users know. A VM whose kernel does not come up may be started again with another
    /// accelerator, and whoever had connected to it would be cut off.
    private func publishLine() throws(VirtualMachineError) {
        let path = directory.file(Self.publicLine)
        try system { () throws(SyscallError) in _ = try attempt("rename", path) { rename(directory.file(Self.hiddenLine), path) } }
        isLinePublic = true
        options.onStart?(path)
    }

    private func waitForEnd(milliseconds: Int32) {
        var entry = pollfd(fd: qemu.ended.rawValue, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, milliseconds) > 0 { _ = qemu.endIfAny() }
    }

    private var isFinished: Bool { isOpen.isDisjoint(with: [.console, .session, .qemu]) && stdout.isEmpty && stderr.isEmpty }

    // MARK: The loop

    private func step(signals: Int32) throws(VirtualMachineError) {
        try checkDeadlines()
        var entries: [pollfd] = []
        var channels: [Channel] = []
        func add(_ channel: Channel, _ descriptor: Int32, _ events: Int32) {
            entries.append(pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0))
            channels.append(channel)
        }
        add(.signals, signals, POLLIN)
        if isOpen.contains(.gdb) { add(.gdb, bridge.descriptor, POLLIN) }
        if isOpen.contains(.monitor) { add(.monitor, monitor.rawValue, POLLIN) }
        if isOpen.contains(.console) { add(.console, console.rawValue, POLLIN) }
        // Back-pressure: while our reader is slow the session log is not read, QEMU cannot get rid of it, and the guest
        // waits on its serial port. Nothing is lost.
        if isOpen.contains(.session), !stdout.isFull, !stderr.isFull { add(.session, session.rawValue, POLLIN) }
        if isOpen.contains(.qemu) { add(.qemu, qemu.ended.rawValue, POLLIN) }
        if !stdout.isEmpty { add(.stdout, stdout.descriptor, POLLOUT) }
        if !stderr.isEmpty { add(.stderr, stderr.descriptor, POLLOUT) }

        let deadlines = [overallDeadline, nextButtonPress, killDeadline, kernelWait, isOpen.contains(.gdb) ? bridge.nextPoll : nil]
        let timeout = deadlines.compactMap { $0?.pollTimeout }.min() ?? -1
        try system { () throws(SyscallError) in
            _ = try attempt("poll") { poll(&entries, nfds_t(entries.count), timeout) }
        }
        for (entry, channel) in zip(entries, channels) where entry.revents != 0 { try handle(channel, signals: signals) }
    }

    private func handle(_ channel: Channel, signals: Int32) throws(VirtualMachineError) {
        switch channel {
        case .signals: try takeSignals(signals)
        case .gdb:
            if try !bridge.readable() { closeGDB() }
        case .monitor: try readMonitor()
        case .console: try readConsole()
        case .session: try readSession()
        case .qemu:
            outcome.end = qemu.endIfAny()
            isOpen.subtract([.qemu, .gdb, .monitor])
        case .stdout: try flushOutput(&stdout, "standard output")
        case .stderr: try flushOutput(&stderr, "standard error")
        }
    }

    private func checkDeadlines() throws(VirtualMachineError) {
        guard isOpen.contains(.qemu) else { return }
        if let kernelWait, kernelWait.hasPassed {
            throw VirtualMachineError("start the guest", "", "its kernel did not come up in time")
        }
        if let overallDeadline, overallDeadline.hasPassed, outcome.stop == nil {
            try stop(.timeout, "the time is over (\(options.timeoutSeconds) s); stopping the container")
        }
        if let killDeadline, killDeadline.hasPassed {
            log.warning("the VM does not end; killing it")
            kill()
            self.killDeadline = nil
        }
        if let nextButtonPress, nextButtonPress.hasPassed { try pressPowerButton() }
        if isOpen.contains(.gdb) {
            do throws(VirtualMachineError) { try bridge.timer() } catch {
                if error.cause != GDBClient.endOfFile { throw error }
                closeGDB()
            }
        }
    }

    private var kernelWait: Deadline? { bridge.isServing ? nil : kernelDeadline }

    /// QEMU closes this channel when it ends; if it lives on without it, nobody could serve the guest.
    private func closeGDB() {
        isOpen.remove(.gdb)
        giveUp(after: Self.powerOffPatience)
    }

    private func giveUp(after milliseconds: Int64) {
        let deadline = Deadline.after(milliseconds: milliseconds)
        killDeadline = killDeadline.map { $0.nanoseconds < deadline.nanoseconds ? $0 : deadline } ?? deadline
    }

    // MARK: Channels

    /// Reads once. Returns the bytes, empty when there are none now; nil at the end of the channel.
    private func read(_ descriptor: borrowing FileDescriptor, _ name: String) throws(VirtualMachineError) -> ArraySlice<UInt8>? {
        let number = descriptor.rawValue
        do throws(SyscallError) {
            let count = try attempt("read", name) { buffer.withUnsafeMutableBytes { CLinux.read(number, $0.baseAddress, $0.count) } }
            return count > 0 ? buffer[..<count] : nil
        } catch {
            if error.errno == .wouldBlock { return [] }
            // The end of a socket whose peer was killed with unread bytes.
            if error.errno.rawValue == ECONNRESET { return nil }
            throw VirtualMachineError(error)
        }
    }

    private func readConsole() throws(VirtualMachineError) {
        guard let bytes = try read(console, "the console") else { isOpen.remove(.console); return }
        try consoleCapture?.append(bytes)
        for line in outcome.console.read(bytes) { options.consoleLog?.info("\(line)") }
    }

    private func readSession() throws(VirtualMachineError) {
        guard let bytes = try read(session, "the session log") else { isOpen.remove(.session); return }
        try sessionCapture?.append(bytes)
        let known = outcome.session.events.count
        let hadExit = outcome.session.exit != nil
        let output = outcome.session.read(bytes)
        for event in outcome.session.events[known...] { log.info("the guest reports: \(event)") }
        if !hadExit, outcome.session.exit != nil { giveUp(after: Self.powerOffPatience) }
        stdout.append(output.stdout)
        stderr.append(output.stderr)
        // Most of the time there is room, and then no further turn of the loop is needed.
        try flushOutput(&stdout, "standard output")
        try flushOutput(&stderr, "standard error")
    }

    private func readMonitor() throws(VirtualMachineError) {
        guard let bytes = try read(monitor, "QEMU's monitor") else { isOpen.remove(.monitor); return }
        for message in monitorProtocol.decode(bytes) {
            switch message {
            case .greeting: try monitorCommand("qmp_capabilities")
            // The bridge stops and resumes the VM all the time.
            case .event("STOP"), .event("RESUME"): break
            case .event(let name): log.debug("QEMU event", metadata: ["event": "\(name)"])
            case .failure(let reason): log.warning("QEMU refused a command: \(reason)")
            case .success: break
            }
        }
    }

    private func monitorCommand(_ name: String) throws(VirtualMachineError) {
        guard isOpen.contains(.monitor) else { return }
        // A command is far shorter than the socket's buffer, and QEMU reads them at once: a short write cannot be.
        do throws(VirtualMachineError) {
            try RunDirectory.append(MonitorProtocol.command(name), to: monitor, object: "QEMU's monitor")
        } catch { log.debug("QEMU's monitor is gone", metadata: ["error": "\(error)"]) }
    }

    private func flushOutput(_ writer: inout OutputWriter, _ name: String) throws(VirtualMachineError) {
        let wasClosed = writer.isClosed
        try system { () throws(SyscallError) in try writer.flush() }
        if writer.isClosed, !wasClosed, outcome.stop == nil, isOpen.contains(.qemu) {
            try stop(.outputClosed, "the reader of \(name) is gone; stopping the container")
        }
    }

    // MARK: Stopping

    private func takeSignals(_ descriptor: Int32) throws(VirtualMachineError) {
        var numbers = [UInt8](repeating: 0, count: 16)
        let count = CLinux.read(descriptor, &numbers, numbers.count)
        guard count > 0 else { return }
        for number in numbers[..<count] {
            if ![SIGINT, SIGTERM, SIGHUP].contains(Int32(number)) {
                options.onSignal?(Int32(number))
            } else if outcome.wasKilled || !isOpen.contains(.qemu) {
                // The VM has ended and what is left waits for a reader who does not read.
                stdout.drop()
                stderr.drop()
                isOpen = []
            } else if case .signal = outcome.stop {
                log.notice("killing the VM")
                kill()
            } else if bridge.isServing {
                try stop(.signal(Int32(number)), "stopping the container; once more to kill the VM")
            } else {
                outcome.stop = .signal(Int32(number))
                log.notice("the guest has not booted yet; killing the VM")
                kill()
            }
        }
    }

    private func stop(_ reason: Stop, _ message: String) throws(VirtualMachineError) {
        log.notice("\(message)")
        outcome.stop = reason
        giveUp(after: Int64(options.stopTimeoutSeconds) * 1000)
        try pressPowerButton()
    }

    private func pressPowerButton() throws(VirtualMachineError) {
        let phase = store[RunOptions.statusKey].flatMap { StatusReport(json: $0)?.phase }
        if let phase, [.stopping, .exited, .failed].contains(phase) {
            nextButtonPress = nil
            return
        }
        try monitorCommand("system_powerdown")
        nextButtonPress = .after(milliseconds: Self.buttonInterval)
    }

    private func kill() {
        outcome.wasKilled = true
        outcome.end = qemu.killAndWait()
        nextButtonPress = nil
        killDeadline = nil
        isOpen.subtract([.qemu, .gdb, .monitor])
    }
}
