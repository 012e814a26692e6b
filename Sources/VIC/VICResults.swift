/// The keys by which a guest tells VIC's portlayer of a session, in the order in which they have to be written.
///
/// Whoever watches them looks at `started` for a start, at `stoptime` for an end, and takes the rest as it then is: so these go last.
public struct VICResults: Equatable, Sendable {
    /// The session's name in its map.
    public let id: String
    public let isExec: Bool

    public init(id: String, isExec: Bool) {
        self.id = id
        self.isExec = isExec
    }

    /// Its process runs.
    ///
    /// - Parameters:
    ///   - time: since when, in seconds since 1970.
    ///   - created: when the session was, as the host said it, or 0: then what the host has stays.
    ///   - resurrections: how often it had been started before.
    public func started(at time: Int64, created: Int64, resurrections: Int64) -> [VICKeyValue] {
        starting(time, created, resurrections) + [key("status", "0"), key("started", "true")]
    }

    /// Its process could not be started.
    ///
    /// - Parameters:
    ///   - reason: what a user is told.
    ///   - status: 125–127.
    ///   - endsVM: with it the VM ends, and so it gets a time of its end. Of others VIC takes one without it for failed, and one with
    ///     it for unknown.
    public func failed(_ reason: String, status: Int64, at time: Int64, created: Int64, endsVM: Bool) -> [VICKeyValue] {
        // "true" is what it says of those that run.
        let reason = reason.isEmpty || reason == "true" ? "the process was not started" : reason
        let keys = starting(time, created, 0) + [key("status", "\(status)"), key("started", reason)]
        return endsVM ? keys + [key(detail: "stoptime", time)] : keys
    }

    /// Its process has ended.
    ///
    /// - Parameters:
    ///   - status: 0–255, 128 and the number of the signal for one that a signal ended.
    ///   - time: in seconds since 1970, as are starts.
    ///   - start: when it had started; no end is told before it. VIC takes a session whose start is later than its end for one that runs,
    ///     and somebody in the container may have set the clock back.
    public func ended(status: Int64, at time: Int64, startedAt start: Int64) -> [VICKeyValue] {
        [key("status", "\(status)"), key(detail: "stoptime", max(start, time))]
    }

    private func starting(_ time: Int64, _ created: Int64, _ resurrections: Int64) -> [VICKeyValue] {
        (created > 0 ? [key(detail: "createtime", created)] : []) + [
            key(detail: "starttime", time), key(detail: "stoptime", 0),
            VICKeyValue(session.field("diagnostics").field("resurrections", .readWrite), "\(resurrections)"), key("runblock", "false"),
        ]
    }

    private var session: VICKey { VICKey.session(id, isExec: isExec) }

    private func key(_ name: String, _ value: String) -> VICKeyValue { VICKeyValue(session.field(name, .readWrite), value) }

    private func key(detail name: String, _ time: Int64) -> VICKeyValue {
        VICKeyValue(session.field("detail").field(name, .readWrite), "\(time)")
    }

    // MARK: Why a process was not started

    /// The reason in VIC's words: its users' tools look for them, and its API server makes exit codes of them.
    ///
    /// - Parameters: operation, object, cause and exit code as tether has them; the process's working directory.
    public static func reason(_ operation: String, _ object: String, _ cause: String, exitCode: UInt8, directory: String) -> String {
        switch (operation, exitCode) {
        case ("find user", _) where Int64(object) != nil, ("find group", _) where Int64(object) != nil:
            "Uids and gids must be in range 0-2147483647"
        case ("find user", _): "Unable to find user \(object): no matching entries in passwd file"
        case ("find group", _): "Unable to find group \(object): no matching entries in group file"
        case ("exec", 127) where cause == "not found in PATH": "\(object): no such executable in PATH"
        case ("exec", 127) where cause == "No such file or directory": "stat \(path(object, directory)): no such file or directory"
        // The file is there, and what it needs to run is not.
        case ("exec", 127): "fork/exec \(path(object, directory)): no such file or directory"
        case ("exec", 126) where cause == "Permission denied": "permission denied"
        case ("exec", 126): "fork/exec \(path(object, directory)): \(lowercased(cause))"
        default: object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)"
        }
    }

    /// `./date` in `/bin` → `/bin/date`
    private static func path(_ command: String, _ directory: String) -> String {
        if !command.hasPrefix("./") && !command.hasPrefix("../") { return command }
        var parts: [Substring.UTF8View] = []
        for part in (directory + "/" + command).utf8.split(separator: UInt8(ascii: "/")) {
            if part.elementsEqual("..".utf8) {
                _ = parts.popLast()
            } else if !part.elementsEqual(".".utf8) {
                parts.append(Substring(part).utf8)
            }
        }
        return parts.isEmpty ? "/" : parts.reduce(into: "") { $0 += "/" + String(Substring($1)) }
    }

    /// Go writes the kernel's words in lower case.
    private static func lowercased(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
