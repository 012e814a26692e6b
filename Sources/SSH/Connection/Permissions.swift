/// What the peer may do on a connection: everything that whoever takes the events allows, or, with a restricted key, less.
public struct Permissions: Equatable, Sendable {
    /// Whatever the peer wants to run, this runs; it may do nothing else. What it asked for comes as the environment variable
    /// `SSH_ORIGINAL_COMMAND` before; it is refused where that would not be the same.
    public var forcedCommand: [UInt8]?
    /// The peer may ask for a terminal.
    public var allowsTerminal = true

    public init() {}

    /// The variable that tells a forced command what was asked for; a peer with a forced command cannot set it.
    public static let originalCommand = "SSH_ORIGINAL_COMMAND"

    /// Whether a channel may be opened, by its type.
    func allowsChannel(_ type: String) -> Bool { forcedCommand == nil || type == "session" }

    var allowsGlobalRequests: Bool { forcedCommand == nil }

    /// Whether a request on a channel is handed on.
    func allowsRequest(_ name: String, _ data: [UInt8]) -> Bool {
        // The process that exec-process@tether describes may have a terminal.
        if !allowsTerminal, name == "pty-req" || name == "exec-process@tether" { return false }
        guard forcedCommand != nil else { return true }
        switch name {
        case "env":
            guard case .environment(let variable, _)? = SessionRequest(name: name, data: data) else { return false }
            return variable != Self.originalCommand
        case "pty-req", "window-change", "signal", "break", "eow@openssh.com": return true
        default: return Self.starts(name) && hasOriginal(name, data)
        }
    }

    /// Whether what was asked for can be told as it is in an environment variable: a command that decides by it would be misled.
    private func hasOriginal(_ name: String, _ data: [UInt8]) -> Bool {
        switch SessionRequest(name: name, data: data) {
        case .execute(let command): !command.contains(0) && Array(String(decoding: command, as: UTF8.self).utf8) == command
        case .subsystem(let subsystem): !subsystem.utf8.contains(0)
        case .shell: true
        default: false
        }
    }

    private static func starts(_ name: String) -> Bool { name == "shell" || name == "exec" || name == "subsystem" }

    /// What an allowed request becomes: itself, or the forced command with what was asked for before it.
    func replaced(_ name: String, _ data: [UInt8]) -> (original: SessionRequest?, name: String, data: [UInt8]) {
        guard let forcedCommand, Self.starts(name) else { return (nil, name, data) }
        let original: SessionRequest? =
            switch SessionRequest(name: name, data: data) {
            case .execute(let command): .environment(name: Self.originalCommand, value: String(decoding: command, as: UTF8.self))
            case .subsystem(let subsystem): .environment(name: Self.originalCommand, value: subsystem)
            default: nil
            }
        let forced = SessionRequest.execute(command: forcedCommand)
        return (original, forced.name, forced.data)
    }
}
