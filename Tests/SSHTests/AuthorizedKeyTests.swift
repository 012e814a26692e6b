import SSH
import Testing

@Suite struct AuthorizedKeyTests {
    private func line() throws -> String { try PrivateKey(ed25519Seed: [UInt8](repeating: 7, count: 32)).publicKey.line }

    @Test func keysWithoutOptions() throws {
        let line = try line()
        for text in [line, line + " someone@somewhere, \"else\"", " \t" + line, line + "\r\n"] {
            let key = try AuthorizedKey(line: text)
            #expect(key.key.line == line)
            #expect(key.permissions == Permissions())
        }
    }

    @Test func optionsThatAreKeptTo() throws {
        let line = try line()
        let cases: [(options: String, command: String?, allowsTerminal: Bool)] = [
            ("no-pty", nil, false), ("restrict", nil, false), ("restrict,pty", nil, true), ("pty,restrict", nil, false),
            ("NO-PTY", nil, false), ("no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-user-rc", nil, true),
            ("command=\"echo \\\"a, b\\\" c\\d\",no-pty", "echo \"a, b\" c\\d", false), ("restrict,command=\"\"", "", false),
        ]
        for one in cases {
            let key = try AuthorizedKey(line: "\(one.options) \(line) comment")
            #expect(key.key.line == line)
            #expect(key.permissions.allowsTerminal == one.allowsTerminal, "\(one.options)")
            #expect(key.permissions.forcedCommand == one.command.map { Array($0.utf8) }, "\(one.options)")
        }
    }

    /// A restriction that is not understood is not left out.
    @Test func optionsThatAreRefused() throws {
        let line = try line()
        let cases: [(options: String, cause: String)] = [
            ("from=\"10.0.0.1\"", "the option from is not supported in this form"),
            ("environment=\"A=b\"", "the option environment is not supported in this form"),
            ("expiry-time=\"20300101\"", "the option expiry-time is not supported in this form"),
            ("permitopen=\"a:1\"", "the option permitopen is not supported in this form"),
            ("cert-authority", "the option cert-authority is not supported in this form"),
            ("no-pty,verify-required", "the option verify-required is not supported in this form"),
            ("command=ls", "the option command=ls is not supported in this form"),
            ("command", "the option command is not supported in this form"),
            ("no-pty=\"x\"", "the option no-pty is not supported in this form"),
            ("command=\"a\",command=\"b\"", "it has the option command more than once"),
            ("command=\"a", "a quotation mark is not closed"), ("command=\"a\"b", "its options are not separated by commas"),
            ("no-pty,,pty", "the option of no name is not supported in this form"),
            ("a\u{1b}[2J", "the option a [2j is not supported in this form"),
        ]
        for one in cases {
            let error = #expect(throws: SSHError.self) { try AuthorizedKey(line: "\(one.options) \(line)") }
            #expect(error?.description == "read authorized key: \(one.cause)")
        }
    }

    /// The second key would be the first one's comment.
    @Test func moreThanOneLine() throws {
        let line = try line()
        for text in ["\(line)\n\(line)", "no-pty \(line)\nx", "no-pty\n\(line)", "\(line)\r\(line)"] {
            #expect(throws: SSHError.self) { try AuthorizedKey(line: text) }
        }
    }

    @Test func keysByWhichNobodyCouldLogIn() throws {
        let weak = try PrivateKey(text: shortRSAKey).publicKey.line
        for text in [weak, "no-pty \(weak)"] {
            let error = #expect(throws: SSHError.self) { try AuthorizedKey(line: text) }
            #expect(error?.description == "read authorized key: it is an RSA key of less than 2048 bits")
        }
    }

    @Test func linesWithoutAKey() throws {
        let sk = "sk-ssh-ed25519@openssh.com AAAA"
        for text in ["", "#", "no-pty", "no-pty ", "ssh-ed25519", "ssh-ed25519 AAAA", sk, "no-pty ssh-dss AAAA"] {
            #expect(throws: SSHError.self) { try AuthorizedKey(line: text) }
        }
    }
}
