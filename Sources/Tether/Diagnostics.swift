import Linux

/// tether's own lines on the diagnostics port, between the kernel's.
final class Diagnostics {
    enum Level: Int, Comparable {
        case debug, info, warning, error
        static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
        var name: String {
            switch self {
            case .debug: "debug"
            case .info: "info"
            case .warning: "warning"
            case .error: "error"
            }
        }
    }

    private var port: PortWriter?
    /// The phase that the lines name.
    var phase = "boot"
    var level = Level.info
    /// Lines not written because the port takes nothing.
    private var lost = 0

    /// A VM without the port runs without diagnostics.
    init(path: String) {
        do throws(SyscallError) { port = try PortWriter(path, highWater: 64 * 1024) } catch { port = nil }
    }

    var descriptor: Int32 { port?.descriptor ?? -1 }
    var wantsToWrite: Bool { (port?.pending ?? 0) > 0 }
    func flush() { port?.flush() }

    func debug(_ message: @autoclosure () -> String) { if level <= .debug { write(.debug, message()) } }
    func info(_ message: String) { write(.info, message) }
    func warning(_ message: String) { write(.warning, message) }
    func error(_ message: String) { write(.error, message) }

    private func write(_ level: Level, _ message: String) {
        guard let port, level >= self.level else { return }
        if port.isFull {
            lost += 1
            return
        }
        port.append { queue in
            if lost > 0 {
                queue += Array(Diagnostics.line(phase, .warning, "\(lost) lines lost: the port took nothing").utf8)
                lost = 0
            }
            queue += Array(Diagnostics.line(phase, level, message).utf8)
        }
    }

    /// `[    1.234567] tether[rootfs] info: message`, as the kernel stamps its own lines.
    private static func line(_ phase: String, _ level: Level, _ message: String) -> String {
        let microseconds = Clock.monotonic() / 1000
        var seconds = "\(microseconds / 1_000_000)"
        var fraction = "\(microseconds % 1_000_000)"
        while seconds.utf8.count < 5 { seconds = " " + seconds }
        while fraction.utf8.count < 6 { fraction = "0" + fraction }
        return "[\(seconds).\(fraction)] tether[\(phase)] \(level.name): \(message)\r\n"
    }

    /// Waits for the last lines to leave, but not long: they matter less than the power-off behind them.
    func drain() { _ = port?.drain(quietMilliseconds: 1000) }
}
