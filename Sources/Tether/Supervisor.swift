import CLinux
import Container
import Linux
import SessionLog

/// The running phase: carries the container's output to the log, waits for its end, stops it when asked to.
///
/// One thread, one epoll set, no call that waits but epoll_wait(2).
final class Supervisor {
    /// How the container ended, and how the reading of its output did.
    struct Outcome {
        var end: ProcessEnd
        var oomKilled: Bool
        var drain: Drain
        var finishedAt: Int64
    }

    /// Times of the configuration, in milliseconds.
    struct Limits {
        var stopSignal: Signal
        var stopTimeout: Int64
        var drainGrace: Int64
        var drainDeadline: Int64
    }

    private enum Token: UInt64 { case signals = 1, stdout, stderr, log, diagnostics, powerButton, drivers }

    private let container: LaunchedContainer
    private let stops: StopRequests
    private let drivers: HardwareDrivers
    private let limits: Limits
    private let log: SessionLogWriter
    private let diagnostics: Diagnostics
    private let onStop: () -> Void
    private let epoll: Epoll
    private let outOfMemoryKillsBefore: UInt64

    private var end: ProcessEnd?
    private var endedAt: (monotonic: Int64, realtime: Int64) = (0, 0)
    private var oomKilled = false
    private var stdout: Source
    private var stderr: Source
    /// When output last arrived, or could have but was not read because the port was behind.
    private var lastOutput: Int64 = 0
    private var stopDeadline: Int64?
    private var killed = false
    private var watchesLog = false
    private var watchesDiagnostics = false
    private var watchedDrivers: Int32?
    private var orphans = 0
    private var buffer = [UInt8](repeating: 0, count: 32 * 1024)

    /// One output pipe.
    private struct Source {
        let stream: LogStream
        let descriptor: Int32
        let token: Token
        var isOpen = true
        var isWatched = false
        /// Bytes that were in the pipe when the process ended: these are its own last words, whatever holds the pipe now.
        var owed: Int = 0
    }

    init(
        _ container: LaunchedContainer, stops: StopRequests, drivers: HardwareDrivers, limits: Limits, log: SessionLogWriter,
        diagnostics: Diagnostics, onStop: @escaping () -> Void
    ) throws(SyscallError) {
        self.container = container
        self.stops = stops
        self.drivers = drivers
        self.limits = limits
        self.log = log
        self.diagnostics = diagnostics
        self.onStop = onStop
        epoll = try Epoll()
        outOfMemoryKillsBefore = KernelCounters.outOfMemoryKills()
        stdout = Source(stream: .stdout, descriptor: container.stdout, token: .stdout)
        stderr = Source(stream: .stderr, descriptor: container.stderr, token: .stderr)
    }

    /// Runs until the container has ended and its output is drained.
    func run() throws(SyscallError) -> Outcome {
        try epoll.add(stops.signalDescriptor, .readable, token: Token.signals.rawValue)
        try watchDrivers()
        // Signals that came before this were taken while booting: a child may have ended, a stop may have been asked.
        reap()
        stopIfRequested()
        while true {
            try updateInterest()
            if let drain = finished() {
                log.flushPartials()
                return Outcome(end: end ?? ProcessEnd(waitStatus: 0), oomKilled: oomKilled, drain: drain, finishedAt: endedAt.realtime)
            }
            for event in try epoll.wait(milliseconds: timeout()) {
                switch Token(rawValue: event.token) {
                case .signals: takeSignals()
                case .stdout: read(&stdout)
                case .stderr: read(&stderr)
                case .log: log.flush()
                case .diagnostics: diagnostics.flush()
                case .powerButton:
                    stops.takeButton()
                    stopIfRequested()
                case .drivers: try takeDrivers()
                case nil: break
                }
            }
            log.flushDue()
            enforceStop()
        }
    }

    // MARK: Output

    private func read(_ source: inout Source) {
        let descriptor = source.descriptor
        let count = buffer.withUnsafeMutableBytes { CLinux.read(descriptor, $0.baseAddress, $0.count) }
        if count > 0 {
            lastOutput = Clock.monotonic()
            source.owed = max(0, source.owed - count)
            let stream = source.stream
            buffer.withUnsafeBytes { log.output(stream, UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        } else if count == 0 || (clinux_errno() != EAGAIN && clinux_errno() != EINTR) {
            source.isOpen = false
        }
    }

    /// Watches what can make progress now, and nothing else: level-triggered events of anything else would spin the loop.
    private func updateInterest() throws(SyscallError) {
        let reads = !log.isFull
        // While we do not read, quiet proves nothing.
        if !reads { lastOutput = Clock.monotonic() }
        try watch(&stdout, reads)
        try watch(&stderr, reads)
        if log.wantsToWrite != watchesLog {
            watchesLog.toggle()
            if watchesLog { try epoll.add(log.descriptor, .writable, token: Token.log.rawValue) } else { try epoll.remove(log.descriptor) }
        }
        if diagnostics.wantsToWrite != watchesDiagnostics {
            watchesDiagnostics.toggle()
            if watchesDiagnostics {
                try epoll.add(diagnostics.descriptor, .writable, token: Token.diagnostics.rawValue)
            } else {
                try epoll.remove(diagnostics.descriptor)
            }
        }
    }

    private func watch(_ source: inout Source, _ reads: Bool) throws(SyscallError) {
        let wanted = source.isOpen && reads
        if wanted == source.isWatched { return }
        source.isWatched = wanted
        // Removed rather than set to an empty interest: a hang-up would be reported all the same, again and again.
        if wanted {
            try epoll.add(source.descriptor, .readable, token: source.token.rawValue)
        } else {
            try epoll.remove(source.descriptor)
        }
    }

    // MARK: The end

    /// How the draining ended, once it has.
    private func finished() -> Drain? {
        if end == nil { return nil }
        if !stdout.isOpen && !stderr.isOpen { return .eof }
        let now = Clock.monotonic()
        if log.failure != nil || (log.isFull && now - log.lastProgress > limits.drainDeadline &* 1_000_000) { return .deadline }
        // What the process itself wrote is read whatever the time.
        if stdout.owed > 0 || stderr.owed > 0 { return nil }
        if now - max(lastOutput, endedAt.monotonic) >= limits.drainGrace &* 1_000_000 { return .grace }
        if now - endedAt.monotonic >= limits.drainDeadline &* 1_000_000 && !log.isFull { return .deadline }
        return nil
    }

    private func takeSignals() {
        if stops.takeSignals() { reap() }
        stopIfRequested()
    }

    /// Takes all ended children: the container process, the namespaces' init, and any orphan that came to us.
    private func reap() {
        while let child = Children.reapOne() {
            if child.pid == container.processID {
                processEnded(child.end)
            } else if child.pid == container.holderID {
                diagnostics.debug("the namespaces' init \(child.pid) ended")
            } else {
                orphans &+= 1
                diagnostics.debug("reaped orphan \(child.pid)")
            }
        }
    }

    private func processEnded(_ end: ProcessEnd) {
        self.end = end
        endedAt = (Clock.monotonic(), Clock.realtime())
        oomKilled = end.signal == SIGKILL && !killed && KernelCounters.outOfMemoryKills() > outOfMemoryKillsBefore
        stdout.owed = pipeFill(stdout)
        stderr.owed = pipeFill(stderr)
        // The container ends with its process: the end of its PID namespace ends everything in it, as in Docker.
        container.killNamespaces()
    }

    private func pipeFill(_ source: Source) -> Int {
        var count: Int32 = 0
        return source.isOpen && clinux_readable_bytes(source.descriptor, &count) == 0 ? Int(count) : 0
    }

    // MARK: Drivers

    private func watchDrivers() throws(SyscallError) {
        if let descriptor = drivers.descriptor {
            watchedDrivers = descriptor
            try epoll.add(descriptor, .readable, token: Token.drivers.rawValue)
        } else {
            try watchPowerButton()
        }
    }

    private func watchPowerButton() throws(SyscallError) {
        do throws(SyscallError) { try stops.watchPowerButton() } catch { diagnostics.warning("no power button: \(error.description)") }
        if let button = stops.buttonDescriptor { try epoll.add(button, .readable, token: Token.powerButton.rawValue) }
    }

    /// The loading of the other drivers made progress. With them comes the power button's.
    private func takeDrivers() throws(SyscallError) {
        // The worker changes what it is watched by when its messages are all there.
        if let watchedDrivers { try epoll.remove(watchedDrivers) }
        watchedDrivers = nil
        drivers.step()
        try watchDrivers()
    }

    // MARK: Stopping

    private func stopIfRequested() {
        guard let reason = stops.reason, end == nil, stopDeadline == nil else { return }
        let signal = limits.stopSignal.name
        diagnostics.info("stop asked by \(reason): sending \(signal), then waiting \(limits.stopTimeout / 1000) s")
        stopDeadline = Clock.monotonic() &+ limits.stopTimeout &* 1_000_000
        container.signal(limits.stopSignal)
        onStop()
    }

    private func enforceStop() {
        guard let deadline = stopDeadline, end == nil, !killed, Clock.monotonic() >= deadline else { return }
        diagnostics.warning("still running after the grace period: sending SIGKILL")
        killed = true
        container.signal(.kill)
        container.killNamespaces()
    }

    /// Milliseconds until something has to be done without an event; -1 for never.
    private func timeout() -> Int32 {
        var next = log.nextDue ?? Int64.max
        if let stopDeadline, end == nil, !killed { next = min(next, stopDeadline) }
        if end != nil {
            next = min(next, max(lastOutput, endedAt.monotonic) &+ limits.drainGrace &* 1_000_000)
            next = min(next, Clock.monotonic() &+ 1_000_000_000)
        }
        return next == Int64.max ? -1 : Deadline(nanoseconds: next).pollTimeout
    }
}

/// Counters of /proc/vmstat.
enum KernelCounters {
    /// How many processes the kernel has killed for want of memory; 0 if it does not say.
    static func outOfMemoryKills() -> UInt64 {
        let content = (try? Files.read("/proc/vmstat", limit: 1 << 16)) ?? []
        for line in content.split(separator: UInt8(ascii: "\n")) where line.starts(with: "oom_kill ".utf8) {
            return UInt64(String(decoding: line.dropFirst(9), as: UTF8.self)) ?? 0
        }
        return 0
    }
}
