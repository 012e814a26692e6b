/// What PID 1 tells the attach server when it starts it, in a file that the server reads before anything else.
public struct AttachServerSettings: Sendable, Equatable {
    /// Clients are let in without authentication.
    public var allowsNone: Bool
    /// User `daemon` is, which VIC's virtual container host is.
    public var allowsVIC: Bool
    public var compresses: Bool
    /// Lines of authorized_keys.
    public var authorizedKeys: [String]
    /// Private keys as text.
    public var hostKeys: [String]
    /// Random bytes, the same at every start of the server during one boot, from which it makes its host key where there is none.
    public var seed: [UInt8]
    /// A number that was drawn at this boot, by which a client sees that sessions are not those of before; 0: none.
    public var boot: UInt64

    public init(
        allowsNone: Bool = false, allowsVIC: Bool = false, compresses: Bool = false, authorizedKeys: [String] = [],
        hostKeys: [String] = [], seed: [UInt8] = [], boot: UInt64 = 0
    ) {
        self.allowsNone = allowsNone
        self.allowsVIC = allowsVIC
        self.compresses = compresses
        self.authorizedKeys = authorizedKeys
        self.hostKeys = hostKeys
        self.seed = seed
        self.boot = boot
    }

    /// The most bytes of the settings, and of one text in them.
    public static let maximumSize = 2 << 20
    static let maximumText = 16_384
    static let maximumTexts = 64
    static let seedSize = 64
    private static let format: UInt8 = 2

    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.put(AttachServerSettings.format)
        bytes.put(allowsNone)
        bytes.put(allowsVIC)
        bytes.put(compresses)
        for texts in [authorizedKeys, hostKeys] {
            bytes.put(UInt8(clamping: texts.count))
            for text in texts.prefix(Int(UInt8.max)) { bytes.put(field: Array(text.utf8), AttachServerSettings.maximumText) }
        }
        bytes.put(field: seed, AttachServerSettings.seedSize)
        bytes.put(boot)
        return bytes
    }

    /// Reads what ``encoded`` wrote.
    /// - Returns: nil for anything else.
    public init?(_ bytes: [UInt8]) {
        var settings = AttachServerSettings()
        let isComplete = bytes.withUnsafeBytes { buffer in
            var body = BodyReader(buffer)
            if body.u8() != AttachServerSettings.format { body.fail() }
            settings.allowsNone = body.flag()
            settings.allowsVIC = body.flag()
            settings.compresses = body.flag()
            settings.authorizedKeys = AttachServerSettings.texts(&body)
            settings.hostKeys = AttachServerSettings.texts(&body)
            settings.seed = body.field(AttachServerSettings.seedSize)
            settings.boot = body.u64()
            return body.isComplete
        }
        guard isComplete else { return nil }
        self = settings
    }

    private static func texts(_ body: inout BodyReader) -> [String] {
        let count = Int(body.u8())
        if count > maximumTexts { body.fail() }
        var texts: [String] = []
        for _ in 0..<count where !body.hasFailed { texts.append(body.text(maximumText)) }
        return texts
    }
}
