import SessionLog

/// What was sent on a channel and its client's reader has not taken yet, as far as the client tells: it lets so much more be sent as
/// that has read (RFC 4254, 5.2), of both streams together and in the order in which they were sent.
///
/// Where that is not known to the byte it is more rather than less.
struct UnreadOutput {
    private struct Part {
        var stdout = 0
        var stderr = 0
    }

    /// The most parts that are kept. Streams that take turns with every few bytes share parts beyond that.
    private static let maximum = 256

    private var parts: [Part] = []
    /// Bytes read of the first part, where it has both streams: whose they are is not known.
    private var readOfFirst = 0
    /// Bytes of each stream.
    private(set) var stdout = 0
    private(set) var stderr = 0

    var isEmpty: Bool { parts.isEmpty }

    /// `count` bytes of a stream have been sent.
    mutating func sent(_ stream: LogStream, _ count: Int) {
        guard count > 0 else { return }
        let (out, err) = stream == .stdout ? (count, 0) : (0, count)
        stdout += out
        stderr += err
        let last = parts.count - 1
        if last >= 0, parts.count >= Self.maximum || (stream == .stdout ? parts[last].stderr : parts[last].stdout) == 0 {
            parts[last].stdout += out
            parts[last].stderr += err
        } else {
            parts.append(Part(stdout: out, stderr: err))
        }
    }

    /// The client lets `count` bytes more be sent.
    mutating func read(_ count: Int) {
        var left = max(0, count)
        while left > 0, let first = parts.first {
            let size = first.stdout + first.stderr
            let step = min(left, size - readOfFirst)
            left -= step
            if readOfFirst + step == size {
                stdout -= first.stdout
                stderr -= first.stderr
                parts.removeFirst()
                readOfFirst = 0
            } else if first.stderr == 0 && readOfFirst == 0 {
                parts[0].stdout -= step
                stdout -= step
            } else if first.stdout == 0 && readOfFirst == 0 {
                parts[0].stderr -= step
                stderr -= step
            } else {
                readOfFirst += step
            }
        }
    }
}
