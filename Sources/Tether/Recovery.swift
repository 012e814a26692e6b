import CCrash
import CLinux
import ContainerSpec
import Linux
import SessionLog
import VIC

/// What PID 1 does when it was started anew after it crashed: says so everywhere, stops the container, powers off.
enum Recovery {
    /// - Parameters:
    ///   - arguments: what the crash handler passed: the signal's number, the address in hexadecimal, the sender's PID.
    static func run(_ arguments: [String], started: Int64) -> Never {
        let diagnostics = Diagnostics(path: Boot.diagnosticsPort)
        // Another crash powers off at once: starting anew for ever would help nobody.
        if ccrash_install("/proc/self/exe", 1, diagnostics.descriptor) != 0 { diagnostics.warning("crash handler not installed") }
        let state = RecoveryState.load()
        let phase = state?.phase ?? .boot
        diagnostics.phase = phase.rawValue
        let cause = describe(arguments)
        diagnostics.error("tether crashed: \(cause)")

        let status = StatusReporter(started: started, diagnostics: diagnostics)
        status.id = state?.id
        status.startedAt = state?.startedAt
        status.host = Host.open(diagnostics)
        if let host = status.host, let state, !state.vicSession.isEmpty {
            let results = VICResults(id: state.vicSession, isExec: false)
            status.vic = VICReporter(results, host: host, diagnostics: diagnostics, isStarted: state.startedAt != nil)
        }
        let failure = FailureReport(phase: phase, operation: "run", object: "PID 1", cause: cause)

        if let state, state.processID > 0 {
            status.pid = state.processID
            status.enter(.stopping)
            stopContainer(state, diagnostics)
        }
        // The counts and digests died with the old memory. Saying nothing of them states that they are not known.
        let record = ExitRecord(
            id: state?.id ?? "", exitCode: 125, startedAt: state?.startedAt, finishedAt: Timestamp(nanoseconds: Clock.realtime()),
            stdout: nil, stderr: nil, drain: .crash, error: failure)
        let log = try? SessionLogWriter(path: Boot.sessionLogPort)
        log?.decide(state?.logFormat ?? .cri)
        // A record may be half written: the newline makes it garbage of its own, so that the next one is read whole.
        log?.endInterruptedRecord()
        Shutdown.finish(record, phase: .failed, log: log, status: status, diagnostics: diagnostics, logPatience: 10_000)
    }

    private static func describe(_ arguments: [String]) -> String {
        let signal = arguments.first.flatMap { Int32($0) }.flatMap { Signal(rawValue: $0) }?.name ?? "a fatal signal"
        if arguments.count > 2, let sender = Int32(arguments[2]), sender != 0 { return "\(signal) sent by pid \(sender)" }
        return arguments.count > 1 ? "\(signal) at address 0x\(arguments[1])" : signal
    }

    /// The container process keeps running while PID 1 starts anew; nobody reads its output any more.
    private static func stopContainer(_ state: RecoveryState, _ diagnostics: Diagnostics) {
        let (process, signal) = (state.processID, state.stopSignal)
        diagnostics.info("stopping the container (pid \(process)): \(signal.name), SIGKILL after \(state.stopTimeout / 1000) s")
        if kill(process, signal.rawValue) != 0 { return }
        let deadline = Deadline.after(milliseconds: state.stopTimeout)
        while !deadline.hasPassed {
            while let child = Children.reapOne() { if child.pid == process { return } }
            _ = poll(nil, 0, 10)
        }
    }
}
