import CLinux
import ContainerSpec
import Linux
import SessionLog
import Storage

/// The end of the VM: publishes how the container ended, then unmounts and powers off.
enum Shutdown {
    /// Where the image is mounted, in PID 1's view.
    static let rootfs = "/run/rootfs"

    /// Publishes `record` in the session log and the status, then unmounts and powers off.
    ///
    /// - Parameter beforeRelease: gives clients what is still theirs, before every process is killed.
    ///
    /// The order matters: the record goes out before anything that could hang (a disk that no longer answers), and the
    /// power goes off whatever fails before it.
    static func finish(
        _ record: ExitRecord, phase: Phase, log: SessionLogWriter?, status: StatusReporter, diagnostics: Diagnostics,
        logPatience: Int64, beforeRelease: () -> Void = {}
    ) -> Never {
        var record = record
        if let log {
            // Where there was no configuration nothing has settled it.
            log.decide(.cri)
            log.event(.exit(record))
            let lost = log.drain(quietMilliseconds: logPatience)
            if lost > 0 || log.failure != nil {
                let cause = log.failure?.errno.description ?? "\(lost) bytes were not taken for \(logPatience) ms"
                diagnostics.error("write session log: \(cause)")
                record.drain = .deadline
                if record.error == nil {
                    record.error = FailureReport(phase: status.phase, operation: "write", object: "session log", cause: cause)
                }
            }
        }
        diagnostics.info("exit code \(record.exitCode)\(record.signal.map { ", " + $0 } ?? "")")
        if !status.finish(phase, exit: record) { diagnostics.error("the host did not take the final status") }
        beforeRelease()
        releaseDisks(diagnostics)
        diagnostics.info("power off")
        diagnostics.drain()
        powerOff()
    }

    /// Ends every process but this one, and unmounts what the container used.
    static func releaseDisks(_ diagnostics: Diagnostics) {
        // Whatever still runs (a daemon outside a PID namespace) would keep the disk busy.
        if kill(-1, SIGKILL) == 0 { reapAll(milliseconds: 2000) }
        guard Files.exists(rootfs) else { return }
        for failure in Storage.unmountAll(below: rootfs, milliseconds: 30_000) { diagnostics.error(failure.description) }
    }

    private static func reapAll(milliseconds: Int64) {
        let deadline = Deadline.after(milliseconds: milliseconds)
        while !deadline.hasPassed {
            while Children.reapOne() != nil {}
            // ECHILD: nobody is left.
            if waitpid(-1, nil, WNOHANG) == -1 { return }
            _ = poll(nil, 0, 5)
        }
    }

    /// Powers off at once.
    static func powerOff() -> Never {
        _ = clinux_power_off()
        // The kernel refuses: the end of PID 1 panics it, and panic= then ends the VM.
        exit(125)
    }
}
