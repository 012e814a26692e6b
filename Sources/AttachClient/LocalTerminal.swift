import CLinux
import Glibc
public import SSH

/// The terminal of this process, raw while the session has one.
public final class LocalTerminal {
    private let descriptor: Int32
    private let original: termios
    private(set) var isRaw = false

    /// - Returns: nil when `descriptor` is no terminal.
    public init?(_ descriptor: Int32) {
        var settings = termios()
        guard tcgetattr(descriptor, &settings) == 0 else { return nil }
        self.descriptor = descriptor
        original = settings
    }

    deinit { restore() }

    func makeRaw() {
        if isRaw { return }
        var settings = original
        cfmakeraw(&settings)
        // Output of others, as our own messages, may come in between; a line end stays one.
        isRaw = set(settings)
    }

    /// Gives the terminal the settings that it had.
    public func restore() {
        if isRaw, set(original) { isRaw = false }
    }

    /// A process in the background that changes the terminal would be stopped.
    private func set(_ settings: termios) -> Bool {
        var settings = settings
        var blocked = sigset_t()
        var before = sigset_t()
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGTTOU)
        sigprocmask(SIG_BLOCK, &blocked, &before)
        defer { sigprocmask(SIG_SETMASK, &before, nil) }
        return tcsetattr(descriptor, TCSADRAIN, &settings) == 0
    }

    /// Its size now.
    public var size: WindowSize? { LocalTerminal.size(descriptor) }

    public static func size(_ descriptor: Int32) -> WindowSize? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else { return nil }
        return WindowSize(
            columns: UInt32(size.ws_col), rows: UInt32(size.ws_row), widthPixels: UInt32(size.ws_xpixel),
            heightPixels: UInt32(size.ws_ypixel))
    }
}
