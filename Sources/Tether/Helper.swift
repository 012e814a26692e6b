import CLinux
import Linux

/// A program of the initramfs that works for PID 1 and speaks to it through a socket, its descriptor 3. It is started again when
/// it ends.
final class Helper {
    private let name: String
    private let path: String
    private let arguments: [String]
    private let diagnostics: Diagnostics
    private var process: Int32?
    private var startAt: Int64 = 0
    private var startedAt: Int64 = 0
    private var delay: Int64 = firstDelay
    /// It is started when it does not run.
    var isWanted = true

    /// The wait before it is started again, doubled while it ends at once.
    private static let firstDelay: Int64 = 100_000_000
    private static let lastDelay: Int64 = 5_000_000_000
    private static let worked: Int64 = 1_000_000_000

    init(_ name: String, _ path: String, _ arguments: [String], _ diagnostics: Diagnostics) {
        self.name = name
        self.path = path
        self.arguments = arguments
        self.diagnostics = diagnostics
    }

    var isRunning: Bool { process != nil }

    var nextDeadline: Int64? { process == nil && isWanted ? startAt : nil }

    /// Starts it if it is time to.
    /// - Returns: PID 1's end of the new socket, which the caller owns.
    func startIfDue(_ now: Int64) -> Int32? {
        guard isWanted, process == nil, startAt <= now else { return nil }
        startedAt = now
        do throws(SyscallError) {
            var ends: (Int32, Int32) = (-1, -1)
            try attempt("socketpair", name) {
                withUnsafeMutableBytes(of: &ends) {
                    socketpair(AF_UNIX, clinux_stream_socket, 0, $0.baseAddress?.assumingMemoryBound(to: Int32.self))
                }
            }
            let ours = FileDescriptor(owning: ends.0)
            let theirs = FileDescriptor(owning: ends.1)
            let pid = try attempt("start", path) { clinux_start_helper(path, arguments.first ?? "", theirs.rawValue) }
            process = pid
            diagnostics.debug("\(name): pid \(pid)")
            return ours.take()
        } catch {
            diagnostics.warning(error.description)
            rest(now)
            return nil
        }
    }

    func reaped(_ child: Children.Ended) -> Bool {
        guard let process, process == child.pid else { return false }
        self.process = nil
        let now = Clock.monotonic()
        if child.end.exitStatus == 0 {
            diagnostics.debug("\(name) ended")
        } else {
            let how = child.end.signal.map { Signal(rawValue: $0)?.name ?? "signal \($0)" } ?? "status \(child.end.exitCode)"
            diagnostics.warning("\(name) ended with \(how)")
        }
        if now - startedAt >= Helper.worked { delay = Helper.firstDelay }
        rest(now)
        return true
    }

    private func rest(_ now: Int64) {
        startAt = now &+ delay
        delay = min(delay &* 2, Helper.lastDelay)
    }
}
