import CLinux
import Linux

/// All ways in which the outside asks the VM to stop: signals to PID 1 (Ctrl-Alt-Del comes as SIGINT) and the power button.
final class StopRequests {
    private let signals: SignalDescriptor
    private var powerButton: PowerButton?
    /// Who asked first; nil while nobody has.
    private(set) var reason: String?
    private var wantsReload = false

    /// Blocks the signals for good: from here on they arrive only here.
    init() throws(SyscallError) {
        signals = try SignalDescriptor([SIGCHLD, SIGTERM, SIGINT, SIGPWR, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE])
    }

    var signalDescriptor: Int32 { signals.rawValue }
    var buttonDescriptor: Int32? { powerButton?.rawValue }

    /// Begins to listen to the power button, whose driver must be loaded.
    func watchPowerButton() throws(SyscallError) { powerButton = try PowerButton() }

    /// Takes the signals that have arrived.
    /// - Returns: whether a child may have ended.
    @discardableResult
    func takeSignals() -> Bool {
        var childEnded = false
        // An error of the read leaves nothing to take; what is pending makes the descriptor readable again.
        while let arrival = (try? signals.next()) ?? nil {
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

    /// Takes the presses of the power button.
    func takeButton() {
        // Lost messages (ENOBUFS) may have held a press: then the next one counts.
        if let pressed = try? powerButton?.takePress(), pressed { request("the power button") }
    }

    /// Ends a wait of the boot when a stop is asked for.
    var interrupt: Interrupt {
        Interrupt(descriptor: signals.rawValue) {
            self.takeSignals()
            return self.reason != nil
        }
    }

    private func request(_ who: String) { if reason == nil { reason = who } }
}
