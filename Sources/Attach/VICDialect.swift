import Control
import SSH
import VIC

/// What VIC's VCH says and expects: names, texts and encodings, all of them its own.
enum VICDialect {
    /// The user that a VCH logs in as.
    static let user = "daemon"
    /// The type of its channels; the extra data of one that is opened is the session's id, as it is.
    static let channelType = "attach"
    static let containerIDs = "container-ids"
    static let version = "version"
    /// What the last VIC's own tether answers to `version`.
    static let versionNumber: UInt32 = 10

    static let noID = "attach channel requires ID in ExtraData"

    static func unknown(_ id: String) -> String { "session \(id) is invalid" }
    static func ended(_ exitCode: UInt8) -> String { "process finished with exit code: \(exitCode)" }

    /// The text behind the colon is the one in `started`.
    static func launchFailed(_ failure: RequestFailure) -> String {
        // Where a relative command was looked for is not known here.
        let isRelative = failure.object.utf8.first == UInt8(ascii: ".")
        let reason =
            isRelative
            ? "\(failure.operation) \(failure.object): \(failure.cause)"
            : VICResults.reason(failure.operation, failure.object, failure.cause, exitCode: failure.exitCode, directory: "/")
        return "launch failed with: \(reason)"
    }

    /// The ids in one *string*, with commas between them.
    static func encode(ids: [String]) -> [UInt8] {
        var writer = WireWriter()
        writer.text(ids.joined(separator: ","))
        return writer.bytes
    }

    /// A request on one of its channels. What they carry is not a *string* but the bytes as they are.
    enum Request: Equatable {
        case ping, unblock, closeStdin
        case windowChange(WindowSize)
        case signal(name: String)

        /// - Returns: nil for another request, or one that carries something else.
        init?(_ name: String, _ data: [UInt8]) {
            switch name {
            case "ping" where data == Array("Ping".utf8): self = .ping
            case "unblock" where data == Array("Unblock".utf8): self = .unblock
            case "close-stdin": self = .closeStdin
            case "window-change", "signal":
                switch SessionRequest(name: name, data: data) {
                case .windowChange(let size): self = .windowChange(size)
                case .signal(let name): self = .signal(name: name)
                default: return nil
                }
            default: return nil
            }
        }
    }
}
