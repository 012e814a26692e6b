import CLinux
import Glibc

/// A VM that was started anew while the line was down. The session of the same name is another one: its output begins at 0, and what was
/// typed for the old one is not for it.
extension AttachSession {
    /// The guest has said which boot it is of, before anything is asked of it.
    /// - Parameter number: 0 where it does not know.
    func bootIsTold(_ number: UInt64) throws(AttachError) {
        if isStarted, let boot, number != 0, number != boot { try startedAnew() }
        if number != 0 { boot = number }
    }

    /// Whether the guest's session has said less than arrived of it: it is another one.
    func isBehind(stdout: UInt64, stderr: UInt64) -> Bool {
        guard case .attach(_, let stdoutFrom, let stderrFrom) = options.purpose else {
            return stdout < stdoutOffset ?? 0 || stderr < stderrOffset ?? 0
        }
        return stdoutFrom != "none" && stdout < stdoutOffset ?? 0 || stderrFrom != "none" && stderr < stderrOffset ?? 0
    }

    /// Begins with the new session as with one that was never followed, from its first byte.
    /// - Throws: where there is nothing to go on with.
    func startedAnew() throws(AttachError) {
        func end(_ cause: String) -> AttachError {
            .refused(operation: "attach", object: session, cause: "the VM was started anew, \(cause)", code: "", exitCode: 125)
        }
        if case .exec = options.purpose { throw end("and the process is gone") }
        let isPerson = isatty(options.stdin) == 1
        if wantsInput, isPerson {
            // What was typed meanwhile was for the old one, too.
            _ = tcflush(options.stdin, TCIFLUSH)
            inputHasEnded = false
        } else if wantsInput, !inputEndIsTaken {
            if input.offset > 0 || !input.isEmpty { throw end("and the rest of the input is not for its new process") }
            // An end is for one process.
            inputEndIsTaken = inputEndIsSent
        }
        if isPerson { inputEndIsTaken = false }
        let dropped = wantsInput ? input.pending.count : 0
        options.log("the VM was started anew" + (dropped > 0 ? ": \(dropped) bytes of input that were not sent are dropped" : ""))
        input = ResumableInput()
        if stdoutOffset != nil { stdoutOffset = 0 }
        if stderrOffset != nil { stderrOffset = 0 }
        (exitCode, totals) = (nil, nil)
    }
}
