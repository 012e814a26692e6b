import Foundation
import Logging

/// Log lines as a command-line tool prints them: `tetherctl: warning: …` on standard error.
struct StandardErrorLogHandler: LogHandler {
    let prefix: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(prefix: String) { self.prefix = prefix }

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
        // Where standard error is gone, so is whoever could be told.
        try? FileHandle.standardError.write(contentsOf: Data("\(prefix): \(level)\(event.message)\(details.joined())\n".utf8))
    }
}
