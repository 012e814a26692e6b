import CHostProcess
import CLinux
import Glibc
import Linux

/// How a tool learns that nobody wants its output any more, or that it is to end.
enum Terminations {
    /// A reader that goes away is seen in a failing write, and does not kill us.
    static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// OpenSSH closes its ProxyCommand's streams and sends it SIGHUP: what was written last still has to reach the line.
    static func ignoreHangUps() { signal(SIGHUP, SIG_IGN) }

    /// Whether the other end of a pipe or socket is gone.
    static func isReaderGone(_ descriptor: Int32) -> Bool {
        var watched = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&watched, 1, 0) > 0 && Int32(watched.revents) & (POLLHUP | POLLERR | POLLNVAL) != 0
    }

    // MARK: Signals

    /// Where signals are told, a byte each; -1 before ``watchSignals()``, which sets it before there is a second thread.
    nonisolated(unsafe) private(set) static var signals: Int32 = -1

    /// From now on SIGINT, SIGTERM and SIGHUP do not end this process, but are told at ``signals``.
    static func watchSignals() throws(SyscallError) {
        let pipe = try Pipe().take()
        let output = FileDescriptor(owning: pipe.write)
        try output.setNonBlocking()
        // The handler has it until this process ends.
        let number = output.take()
        try attempt("sigaction") { hostprocess_watch_signals(number) }
        signals = pipe.read
    }

    /// Whether a signal has come.
    static var isSignalled: Bool {
        var watched = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
        return signals >= 0 && poll(&watched, 1, 0) > 0
    }

    /// Ends this process by the signal that has come, if one has: whoever started it, a shell's loop for instance, is to see that.
    static func endIfSignalled() {
        var number: UInt8 = 0
        guard isSignalled, read(signals, &number, 1) == 1 else { return }
        signal(Int32(number), SIG_DFL)
        kill(getpid(), Int32(number))
        exit(128 + Int32(number))
    }
}
