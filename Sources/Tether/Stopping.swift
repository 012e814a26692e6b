import CLinux
import Cgroups
import Container
import ContainerSpec
import Control
import Linux
import SessionLog
import Sessions

/// How far a stop of the container has come.
struct Stopping {
    /// Someone wants the container to end. Holds for good: it is not started again.
    fileprivate(set) var isAsked = false
    /// When SIGKILL follows, and when to wait no longer for the process to end of it, on the monotonic clock.
    fileprivate var killAt: Int64?
    fileprivate var giveUpAt: Int64?

    var next: Int64? { killAt.earlier(giveUpAt) }

    /// What was to be done to one process is not done to the next.
    mutating func processIsAnother() {
        killAt = nil
        giveUpAt = nil
    }
}

extension Lifecycle {
    /// Someone wants the container to end.
    /// - Parameters: what is not given is as configured.
    func stop(_ reason: String, signal: Signal? = nil, timeoutMilliseconds: Int64? = nil) {
        let settings = runtime.spec.tether.stop
        let signal = signal ?? settings.signal
        let timeout = timeoutMilliseconds ?? settings.timeoutSeconds &* 1000
        let again = stopping.isAsked
        stopping.isAsked = true
        switch stage {
        case .preparing, .held, .clearing, .launching, .ending: abandonStart()
        case .resting:
            runtime.diagnostics.info("stop asked by \(reason): not starting again")
            abandonStart()
        case .running where session.state == .running:
            runtime.diagnostics.info("stop asked by \(reason): sending \(signal.name), then waiting \(timeout) ms")
            if !again {
                runtime.status.enter(.stopping)
                runtime.control.notify(.stopping)
            }
            signalStop(signal, timeout)
        case .running, .over: break
        }
    }

    /// Sends the stop signal; SIGKILL follows after `timeout` milliseconds.
    func signalStop(_ signal: Signal, _ timeout: Int64) {
        // A frozen process would take the signal only when it is thawed.
        runtime.setFrozen(false)
        container?.process.signal(signal)
        let due = Clock.monotonic() &+ timeout &* 1_000_000
        // A second request may shorten the wait, not lengthen it.
        stopping.killAt = min(stopping.killAt ?? due, due)
    }

    func checkStop(_ now: Int64) {
        if let due = stopping.killAt, due <= now { kill() }
        if let due = stopping.giveUpAt, due <= now { giveUp() }
    }

    private func kill() {
        runtime.diagnostics.warning("still running after the grace period: killing it")
        stopping.killAt = nil
        stopping.giveUpAt = Clock.monotonic() &+ Lifecycle.killPatience &* 1_000_000
        container?.process.signal(.kill)
        container?.killNamespaces()
        do throws(CgroupError) { try runtime.groups.container.kill() } catch { runtime.diagnostics.warning(error.description) }
    }

    /// Even SIGKILL did not end it: it hangs in the kernel, and waiting longer helps nobody.
    private func giveUp() {
        stopping.giveUpAt = nil
        let pid = container?.process.processID ?? 0
        let cause = "it has not ended within \(Lifecycle.killPatience / 1000) s of SIGKILL"
        runtime.diagnostics.error("end pid \(pid): \(cause)")
        trouble = FailureReport(phase: .stopping, operation: "end", object: "pid \(pid)", cause: cause)
        processEnded(ProcessEnd(waitStatus: SIGKILL), ResourceUsage())
    }
}
