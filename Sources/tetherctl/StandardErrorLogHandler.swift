import CLinux
import Foundation
import Logging

/// Log lines as a command-line tool prints them: `tetherctl: warning: …` on standard error.
struct StandardErrorLogHandler: LogHandler {
    let prefix: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    /// Lines that a program which must not stand still has left out, because standard error did not take them.
    final class Omitted: @unchecked Sendable {
        private let lock = NSLock()
        private var count = 0

        /// Writes a line at once, or counts it.
        func write(_ line: String) {
            lock.withLock {
                let note = count > 0 ? "tetherctl: \(count) messages were left out: standard error did not take them\n" : ""
                // No more than a pipe that polls writable has room for.
                let bytes = Array((note + line).utf8.prefix(4096))
                var watched = pollfd(fd: 2, events: Int16(POLLOUT), revents: 0)
                guard poll(&watched, 1, 0) > 0, CLinux.write(2, bytes, bytes.count) > 0 else {
                    count &+= 1
                    return
                }
                count = 0
            }
        }
    }

    private let omitted: Omitted?

    /// - Parameter omitted: what cannot be written at once goes there; nil waits until it can.
    init(prefix: String, omitted: Omitted? = nil) {
        self.prefix = prefix
        self.omitted = omitted
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// What an error says, as tetherctl's own.
    static func say(_ error: some Error) {
        try? FileHandle.standardError.write(contentsOf: Data("tetherctl: \(error)\n".utf8))
    }

    func log(event: LogEvent) {
        let level = event.level == .warning || event.level == .debug ? "\(event.level): " : ""
        let details = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
        let line = "\(prefix): \(level)\(event.message)\(details.joined())\n"
        if let omitted { return omitted.write(line) }
        // Where standard error is gone, so is whoever could be told.
        try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
    }
}
