import Linux

/// `tether.attach`: the SSH server on a serial line through which clients attach to the sessions (docs/attach.md).
public struct AttachSettings: Equatable, Sendable {
    public enum Authentication: Equatable, Sendable {
        /// `"publickey"`: by one of ``AttachSettings/authorizedKeys``.
        case publicKey
        /// `"none"`: whoever has the line may do all of it.
        case none
    }

    /// `device`: a path below /dev, of the VM's and not the container's.
    public var device = "/dev/ttyS0"
    public var authentication = Authentication.publicKey
    /// `authorizedKeys`: public keys, as a line of OpenSSH's authorized_keys each.
    public var authorizedKeys: [String] = []
    /// `hostKeys`: private keys as text; with none the server makes one from random bytes at every boot.
    public var hostKeys: [String] = []
    /// `vic`: VIC's virtual container host is let in, which has no key: user `daemon`, without authentication.
    public var allowsVIC = false
    /// `wait`: the container process is started when a client attaches to it.
    public var waits = false
    /// `waitTimeoutSeconds`, 0…86400: after that it is started without; 0 waits for ever.
    public var waitTimeoutSeconds: Int64 = 0
    /// `compression`: zlib is offered to clients.
    public var compresses = false

    /// The most keys of each kind, and the most bytes of one.
    static let maximumKeys = 64
    static let maximumHostKeys = 4
    static let maximumKeyBytes = 16_384

    public init() {}
}

extension AttachSettings {
    mutating func decode(_ reader: ObjectReader) {
        device = reader.serialLine("device") ?? device
        authentication = reader.choice("authentication", [("publickey", Authentication.publicKey), ("none", .none)]) ?? authentication
        authorizedKeys = reader.strings("authorizedKeys", check: AttachSettings.problemOfPublicKey) ?? authorizedKeys
        hostKeys = reader.strings("hostKeys", check: AttachSettings.problemOfPrivateKey) ?? hostKeys
        if authorizedKeys.count > AttachSettings.maximumKeys {
            reader.report(.invalid, "authorizedKeys", "at most \(AttachSettings.maximumKeys) keys, found \(authorizedKeys.count)")
        }
        if hostKeys.count > AttachSettings.maximumHostKeys {
            reader.report(.invalid, "hostKeys", "at most \(AttachSettings.maximumHostKeys) keys, found \(hostKeys.count)")
        }
        allowsVIC = reader.bool("vic") ?? allowsVIC
        waits = reader.bool("wait") ?? waits
        waitTimeoutSeconds = reader.integer("waitTimeoutSeconds", 0...86_400) ?? waitTimeoutSeconds
        compresses = reader.bool("compression") ?? compresses
        if reader.value("authorizedKeys")?.asksForNothing ?? true, authentication == .publicKey, !allowsVIC {
            reader.report(.missing, "authorizedKeys", "required: no client could authenticate without one")
        }
        reader.refuseUnknown([
            "device", "authentication", "authorizedKeys", "hostKeys", "vic", "wait", "waitTimeoutSeconds", "compression",
        ])
    }

    /// Whether it can be a key at all; which kinds there are is the server's to know.
    private static func problemOfPublicKey(_ line: String) -> String? {
        let expected = "expected a public key such as \"ssh-ed25519 AAAA… comment\""
        if line.utf8.count > maximumKeyBytes { return "\(expected), found \(line.utf8.count) bytes" }
        let words = line.utf8.split(separator: UInt8(ascii: " "))
        let hasKey = words.dropFirst().contains { $0.count >= 16 && $0.allSatisfy(isBase64) }
        return hasKey && line.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) ? nil : "\(expected), found \(quoted(line))"
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    /// What was found is not told: it may be a key with a spelling mistake.
    private static func problemOfPrivateKey(_ text: String) -> String? {
        if text.utf8.count > maximumKeyBytes { return "expected a private key, found \(text.utf8.count) bytes" }
        let isArmoured = text.hasPrefix("-----BEGIN ")
        return isArmoured ? nil : "expected the text of a private key, from \"-----BEGIN\" on"
    }
}

extension ObjectReader {
    /// The path of a serial line of the VM.
    func serialLine(_ name: String) -> String? {
        guard let device = absolutePath(name) else { return nil }
        if !ControlSettings.isDevice(device) {
            report(.invalid, name, "expected a serial line such as \"/dev/ttyS0\", found \(quoted(device))")
        }
        return device
    }
}
