import CLinux
import Linux
import SSH

/// Signals of the client's: for the process, or for the client itself where there is none to pass them on to.
extension AttachSession {
    func readSignals() {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(options.signals, &bytes, bytes.count)
        if count > 0 { pendingSignals += bytes[..<count].map { Int32($0) } }
    }

    func pass(_ number: Int32, _ connection: AttachConnection) throws(AttachError) {
        if number == SIGHUP {
            outcome = .hungUp
        } else if number == SIGWINCH || number == SIGCONT {
            guard hasTerminal, phase == .attached, let channel, let size = options.terminal?.size else { return }
            connection.client.connection.request(channel, .windowChange(size))
        } else if phase == .attached, let channel, let name = Signal(rawValue: number)?.name.dropFirst(3) {
            connection.client.connection.request(channel, .signal(name: String(name)))
        } else {
            throw .interrupted(number)
        }
    }

    /// Whether a signal has come that ends an attempt to connect.
    func isInterrupted() -> Bool {
        var watched = pollfd(fd: options.signals, events: Int16(POLLIN), revents: 0)
        if options.signals >= 0, poll(&watched, 1, 0) > 0 { readSignals() }
        pendingSignals.removeAll { $0 == SIGWINCH || $0 == SIGCONT }
        return !pendingSignals.isEmpty || options.isHopeless()
    }

    func interruptedOutcome() throws(AttachError) -> AttachOutcome {
        guard let number = pendingSignals.first else { throw .timedOut("the guest's answer") }
        if number == SIGHUP { return .hungUp }
        throw .interrupted(number)
    }

    /// Waits before the next attempt.
    func pause(milliseconds: Int64) throws(AttachError) -> AttachOutcome? {
        var watched = pollfd(fd: options.signals, events: Int16(POLLIN), revents: 0)
        _ = poll(&watched, 1, Int32(clamping: milliseconds))
        if isInterrupted(), !pendingSignals.isEmpty { return try interruptedOutcome() }
        return nil
    }
}
