import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// The wait of a container for a client to attach (`attach.wait`).
struct Holding {
    /// When it is started without one; nil waits for ever.
    fileprivate(set) var until: Int64?
    /// Holds for good: a container that is started again does not wait again.
    fileprivate(set) var isOver = false
    /// What a client said of the terminal before there was one.
    fileprivate(set) var consoleSize: ConsoleSize?
}

extension Lifecycle {
    /// Starts the container, or waits for a client to attach where the configuration says so.
    func startOrHold() {
        guard let attach = runtime.spec.tether.attach, attach.waits, !holding.isOver else { return startContainer() }
        stage = .held
        if attach.waitTimeoutSeconds > 0 { holding.until = Clock.monotonic() &+ attach.waitTimeoutSeconds &* 1_000_000_000 }
        saveRecoveryState(.launching, nil, 0)
        runtime.status.isWaiting = true
        runtime.status.publish()
        runtime.diagnostics.info("waiting for a client to attach")
        // Nothing else has to wait.
        runtime.loadDrivers()
    }

    /// A client wants the process to be started.
    /// - Returns: false when it is too late.
    func release() -> Bool {
        if stage == .over { return false }
        if stage == .held { startHeld("a client attached") }
        holding.isOver = true
        return true
    }

    func checkHold(_ now: Int64) {
        if let due = holding.until, due <= now { startHeld("no client attached in time") }
    }

    private func startHeld(_ why: String) {
        holding.until = nil
        holding.isOver = true
        runtime.status.isWaiting = false
        runtime.diagnostics.info("\(why): starting the container")
        // From the beginning, for the configuration may have been read anew meanwhile.
        begin()
    }

    /// The size of a terminal whose process is still to be started.
    func setConsoleSize(rows: UInt16, columns: UInt16) { holding.consoleSize = ConsoleSize(rows: rows, columns: columns) }
}
