import CLinux
import Glibc
import Linux

/// How a tool learns that nobody wants its output any more.
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
}
