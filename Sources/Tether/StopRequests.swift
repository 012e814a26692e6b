import CLinux
import Linux

/// All ways in which the outside asks the VM to stop: signals to PID 1 (Ctrl-Alt-Del comes as SIGINT) and the power button.
final class StopRequests {
    private let signals: SignalDescriptor
    private let powerButton: PowerButton?
    private let ready: Epoll
    /// Why there is no power button, if there is none.
    let buttonProblem: SyscallError?
    /// Who asked first; nil while nobody has.
    private(set) var reason: String?
    private var wantsReload = false

    /// Blocks the signals for good: from here on they arrive only here. Presses of the power button do so once its driver is loaded.
    init() throws(SyscallError) {
        signals = try SignalDescriptor([SIGCHLD, SIGTERM, SIGINT, SIGPWR, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE])
        ready = try Epoll()
        try ready.add(signals.rawValue, .readable, token: 0)
        var button: PowerButton?
        var problem: SyscallError?
        do throws(SyscallError) {
            let opened = try PowerButton()
            try ready.add(opened.rawValue, .readable, token: 1)
            button = consume opened
        } catch {
            problem = error
        }
        powerButton = button
        buttonProblem = problem
    }

    /// Readable when ``take()`` has something to do.
    var descriptor: Int32 { ready.rawValue }

    /// Takes the signals that have arrived, and the presses of the power button.
    /// - Returns: whether a child may have ended.
    @discardableResult
    func take() -> Bool {
        // Lost messages (ENOBUFS) may have held a press: then the next one counts.
        if let pressed = try? powerButton?.takePress(), pressed { request("the power button") }
        return takeSignals()
    }

    private func takeSignals() -> Bool {
        var childEnded = false
        // An error of the read leaves nothing to take; what is pending makes the descriptor readable again. At most so many at once:
        // a process that sees PID 1 may send them faster than they are taken.
        for _ in 0..<64 {
            guard let arrival = (try? signals.next()) ?? nil else { break }
            switch arrival.number {
            case SIGCHLD: childEnded = true
            case SIGTERM, SIGINT, SIGPWR: request(Signal(rawValue: arrival.number)?.name ?? "a signal")
            case SIGHUP: wantsReload = true
            default: break  // SIGUSR1 and the others mean nothing yet; they must not end PID 1, and do not.
            }
        }
        return childEnded
    }

    /// Whether SIGHUP has asked for the configuration to be read anew, once.
    func takeReload() -> Bool {
        defer { wantsReload = false }
        return wantsReload
    }

    /// Ends a wait of the boot when a stop is asked for.
    var interrupt: Interrupt {
        Interrupt(descriptor: descriptor) {
            self.take()
            return self.reason != nil
        }
    }

    private func request(_ who: String) { if reason == nil { reason = who } }
}
