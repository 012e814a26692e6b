/// The size of a terminal: in characters, and in pixels, where 0 says that it is not known.
public struct WindowSize: Equatable, Sendable {
    public var columns: UInt32
    public var rows: UInt32
    public var widthPixels: UInt32
    public var heightPixels: UInt32

    public init(columns: UInt32, rows: UInt32, widthPixels: UInt32 = 0, heightPixels: UInt32 = 0) {
        self.columns = columns
        self.rows = rows
        self.widthPixels = widthPixels
        self.heightPixels = heightPixels
    }

    fileprivate init(_ reader: inout WireReader) {
        columns = reader.uint32()
        rows = reader.uint32()
        widthPixels = reader.uint32()
        heightPixels = reader.uint32()
    }

    fileprivate func encode(into writer: inout WireWriter) {
        for number in [columns, rows, widthPixels, heightPixels] { writer.uint32(number) }
    }
}

/// What is asked or told on a channel of type `session` (RFC 4254, 6; `break` is RFC 4335).
public enum SessionRequest: Equatable, Sendable {
    /// `pty-req`; `terminal` is the value of TERM.
    case terminal(name: String, WindowSize, TerminalModes)
    case windowChange(WindowSize)
    /// `env`. Both as they came: whoever sets them decides which.
    case environment(name: String, value: String)
    case shell
    /// `exec`. The command is bytes, whatever its character set.
    case execute(command: [UInt8])
    case subsystem(name: String)
    /// `signal`, without "SIG": "TERM".
    case signal(name: String)
    /// `break`, in milliseconds.
    case lineBreak(milliseconds: UInt32)
    /// `exit-status`, from the server.
    case exitStatus(UInt32)
    /// `exit-signal`, from the server; the name without "SIG".
    case exitSignal(name: String, coreDumped: Bool, message: String)
    /// `xon-xoff`, from the server: whether the client may handle flow control itself.
    case flowControl(clientCanDo: Bool)
    /// `eow@openssh.com`: the sender takes no more data; it sends its own on.
    case endOfWrite

    /// The longest name of a terminal that is understood, in bytes.
    public static let maximumTerminalName = 64

    /// Reads a request as ``ConnectionEvent/request(_:name:data:wantsReply:)`` brings it.
    /// - Returns: nil when it is another one, or has not the form of its name: it is to be refused.
    public init?(name: String, data: [UInt8]) {
        var reader = WireReader(data)
        guard let request = Self.read(name, &reader), reader.isComplete else { return nil }
        self = request
    }

    private static func read(_ name: String, _ reader: inout WireReader) -> SessionRequest? {
        switch name {
        case "pty-req":
            let terminal = reader.text()
            let size = WindowSize(&reader)
            guard terminal.utf8.count <= maximumTerminalName else { return nil }
            return .terminal(name: terminal, size, TerminalModes(encoded: reader.string()))
        case "window-change": return .windowChange(WindowSize(&reader))
        case "env": return .environment(name: reader.text(), value: reader.text())
        case "shell": return .shell
        case "exec": return .execute(command: reader.string())
        case "subsystem": return .subsystem(name: reader.text())
        case "signal": return .signal(name: reader.text())
        case "break": return .lineBreak(milliseconds: reader.uint32())
        case "exit-status": return .exitStatus(reader.uint32())
        case "exit-signal":
            let (signal, coreDumped) = (reader.text(), reader.boolean())
            let message = printable(reader.string(), limit: ConnectionLimits.maximumText)
            // The language of the message, which has no use.
            _ = reader.string()
            return .exitSignal(name: signal, coreDumped: coreDumped, message: message)
        case "xon-xoff": return .flowControl(clientCanDo: reader.boolean())
        case "eow@openssh.com": return .endOfWrite
        default: return nil
        }
    }

    public var name: String {
        switch self {
        case .terminal: "pty-req"
        case .windowChange: "window-change"
        case .environment: "env"
        case .shell: "shell"
        case .execute: "exec"
        case .subsystem: "subsystem"
        case .signal: "signal"
        case .lineBreak: "break"
        case .exitStatus: "exit-status"
        case .exitSignal: "exit-signal"
        case .flowControl: "xon-xoff"
        case .endOfWrite: "eow@openssh.com"
        }
    }

    /// What the request carries beside its name.
    public var data: [UInt8] {
        var writer = WireWriter()
        switch self {
        case .terminal(let name, let size, let modes):
            writer.text(name)
            size.encode(into: &writer)
            writer.string(modes.encoded)
        case .windowChange(let size): size.encode(into: &writer)
        case .environment(let name, let value):
            writer.text(name)
            writer.text(value)
        case .shell, .endOfWrite: break
        case .execute(let command): writer.string(command)
        case .subsystem(let name), .signal(let name): writer.text(name)
        case .lineBreak(let milliseconds): writer.uint32(milliseconds)
        case .exitStatus(let status): writer.uint32(status)
        case .exitSignal(let name, let coreDumped, let message):
            writer.text(name)
            writer.boolean(coreDumped)
            writer.text(message)
            writer.text("")
        case .flowControl(let clientCanDo): writer.boolean(clientCanDo)
        }
        return writer.bytes
    }
}

extension Connection {
    /// Sends a request on a channel.
    /// - Returns: whether it was queued, as ``request(_:name:data:wantsReply:)`` says.
    @discardableResult
    public mutating func request(_ id: ChannelID, _ request: SessionRequest, wantsReply: Bool = false) -> Bool {
        self.request(id, name: request.name, data: request.data, wantsReply: wantsReply)
    }
}
