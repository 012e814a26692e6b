/// A line of an authorized_keys file (sshd(8)): a key that may log in, and what it is restricted to.
///
/// Of the options, `command="…"`, `restrict`, `pty` and `no-pty` are kept to, and those that deny what this server does not do
/// (`no-agent-forwarding`, `no-port-forwarding`, `no-user-rc`, `no-X11-forwarding`) are true anyway. Any other makes the line an
/// error: a restriction is never left out.
public struct AuthorizedKey: Equatable, Sendable {
    public let key: PublicKey
    public private(set) var permissions = Permissions()

    public init(_ key: PublicKey) { self.key = key }

    /// - Parameter line: `[options] type base64 [comment]`; not a comment alone, or nothing.
    /// - Throws: ``SSHError`` that names the option or says what is wrong with the key.
    public init(line: String) throws(SSHError) {
        let bytes = Array(line.utf8.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") })
        let first = bytes.prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") }
        guard !Self.isKeyType(first) else {
            try self.init(believed: bytes[...])
            return
        }
        let options = try Self.options(bytes)
        try self.init(believed: bytes[options.end...].drop { $0 == 0x20 || $0 == 0x09 })
        for option in options.options { try apply(option) }
    }

    /// A key by which its user could never log in is no key to be authorized.
    private init(believed line: ArraySlice<UInt8>) throws(SSHError) {
        self.init(try PublicKey(line: String(decoding: line, as: UTF8.self)))
        guard !key.isWeak else { throw Self.failure("it is an RSA key of less than 2048 bits") }
    }

    /// No option begins as the names of key types do.
    private static func isKeyType(_ word: ArraySlice<UInt8>) -> Bool {
        word.starts(with: "ssh-".utf8) || word.starts(with: "ecdsa-".utf8) || word.starts(with: "sk-".utf8)
    }

    private struct Option {
        var name: [UInt8] = []
        var value: [UInt8]?
    }

    /// Reads `name`, `name="value"` and commas between them, up to a blank outside quotation marks. `\"` in a value is a quotation
    /// mark.
    private static func options(_ bytes: [UInt8]) throws(SSHError) -> (options: [Option], end: Int) {
        var (options, option) = ([Option](), Option())
        var position = 0
        while position < bytes.count, bytes[position] != 0x20, bytes[position] != 0x09 {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: ",") {
                options.append(option)
                option = Option()
            } else if byte == UInt8(ascii: "="), option.value == nil, position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
                position += 1
                option.value = try quoted(bytes, &position)
            } else if option.value == nil {
                option.name.append((0x41...0x5a).contains(byte) ? byte + 0x20 : byte)
            } else {
                throw failure("its options are not separated by commas")
            }
        }
        options.append(option)
        return (options, position)
    }

    private static func quoted(_ bytes: [UInt8], _ position: inout Int) throws(SSHError) -> [UInt8] {
        var value: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return value }
            let isEscape = byte == UInt8(ascii: "\\") && position < bytes.count && bytes[position] == UInt8(ascii: "\"")
            value.append(isEscape ? UInt8(ascii: "\"") : byte)
            if isEscape { position += 1 }
        }
        throw failure("a quotation mark is not closed")
    }

    private mutating func apply(_ option: Option) throws(SSHError) {
        let name = printable(option.name, limit: ConnectionLimits.maximumName)
        switch (name, option.value) {
        case ("restrict", nil), ("no-pty", nil): permissions.allowsTerminal = false
        case ("pty", nil): permissions.allowsTerminal = true
        case ("no-agent-forwarding", nil), ("no-port-forwarding", nil), ("no-user-rc", nil), ("no-x11-forwarding", nil): break
        case ("command", let command?):
            guard permissions.forcedCommand == nil else { throw Self.failure("it has the option command more than once") }
            permissions.forcedCommand = command
        default: throw Self.failure("the option \(name.isEmpty ? "of no name" : name) is not supported in this form")
        }
    }

    private static func failure(_ cause: String) -> SSHError { SSHError(.byApplication, "read", "authorized key", cause) }
}
