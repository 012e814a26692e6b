import Linux

/// Keys of which only the last value counts. One that the host refuses is written later: a busy host (a snapshot, a migration, guests
/// that have all its channels) refuses for a moment, and nobody waits for it.
final class HostKeys {
    private struct Entry {
        let key: String
        let value: [UInt8]
        /// How often in a row the key was refused.
        var refused = 0
    }

    private let host: any KeyWriter
    private let diagnostics: Diagnostics
    /// What the host has not taken yet, in the order in which it came.
    private var waiting: [Entry] = []
    private var due: Int64?

    /// Milliseconds before a key is written again; the last holds for ever.
    private static let pauses: [Int64] = [10, 100, 1000, 10_000]

    init(_ host: any KeyWriter, _ diagnostics: Diagnostics) {
        self.host = host
        self.diagnostics = diagnostics
    }

    /// Writes `value`, in the place of one of the same key that still waits.
    func write(_ key: String, _ value: [UInt8]) {
        let refused = waiting.first { $0.key == key }?.refused ?? 0
        drop(key)
        waiting.append(Entry(key: key, value: value, refused: refused))
        flush()
    }

    /// Forgets what waits to be written.
    func drop(_ key: String) { waiting.removeAll { $0.key == key } }

    var nextDeadline: Int64? { due }

    func checkDeadlines(_ now: Int64) { if let due, due <= now { flush() } }

    private func flush() {
        due = nil
        var left: [Entry] = []
        for var entry in waiting {
            guard let refusal = host.set(entry.key, entry.value) else { continue }
            let pause = HostKeys.pauses[min(entry.refused, HostKeys.pauses.count - 1)]
            due = due.earlier(Clock.monotonic() &+ pause &* 1_000_000)
            entry.refused &+= 1
            // Once in a row of refusals: not for what is taken a moment later, nor again and again.
            if entry.refused == HostKeys.pauses.count || host.maySleep { diagnostics.warning(refusal) }
            left.append(entry)
        }
        waiting = left
    }
}
