import ArgumentParser
import AttachClient
import CHostProcess
import CLinux
import Foundation
import Linux

/// How a session is followed from this terminal: for attach, exec and run.
struct SessionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The keys that leave a session with a terminal: \"ctrl-p,ctrl-q\". Empty: none.", valueName: "keys"),
        transform: { text in
            guard let keys = DetachKeys(text) else { throw ValidationError("--detach-keys: \(text) is no list of keys") }
            return keys
        })
    var detachKeys = DetachKeys.standard
    @Option(help: ArgumentHelp("How long to try again when the line drops. 0: not at all.", valueName: "seconds"))
    var reconnect: UInt32 = 60
}

/// Follows a session with this process's own streams, terminal and signals.
enum SessionRunner {
    /// The exit status for what is not the process's own.
    static let failure: Int32 = 125

    /// - Returns: the exit status for this process.
    static func run(_ target: AttachTarget, _ options: AttachOptions) -> Int32 {
        var options = options
        do throws(AttachError) {
            try watchSignals()
            options.signals = Terminations.signals
            options.log = { StandardErrorLogHandler.say($0) }
            let session = AttachSession(target, options)
            switch try session.run() {
            case .exited(let code): return code
            case .detached:
                StandardErrorLogHandler.say("detached from session \(session.id), which goes on")
                return 0
            case .hungUp: return 128 + SIGHUP
            case .outputClosed: return 128 + SIGPIPE
            }
        } catch {
            options.terminal?.restore()
            return report(error)
        }
    }

    /// Says what went wrong.
    /// - Returns: the exit status for it.
    static func report(_ error: AttachError) -> Int32 {
        StandardErrorLogHandler.say(error)
        switch error {
        case .interrupted(let number): return 128 + number
        case .refused(_, _, _, _, let code) where code != 0: return Int32(code)
        default: return failure
        }
    }

    /// The signals that are passed on, and those that concern the terminal, as bytes.
    private static func watchSignals() throws(AttachError) {
        do throws(SyscallError) {
            try Terminations.watchSignals()
            let more = [SIGQUIT, SIGWINCH, SIGCONT, SIGUSR1, SIGUSR2]
            try attempt("sigaction") { hostprocess_watch_more_signals(more, Int32(more.count)) }
        } catch { throw .local(operation: error.operation, object: error.object, cause: error.errno.description) }
    }
}

extension StandardErrorLogHandler {
    static func say(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data("tetherctl: \(text)\n".utf8)) }
}
