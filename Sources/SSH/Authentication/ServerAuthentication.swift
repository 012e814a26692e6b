/// Who may log in, and how.
public struct AuthenticationRules: Sendable {
    /// Keys that may, under any user name.
    public var authorizedKeys: [AuthorizedKey] = []
    /// Everyone may, without anything: a key or password that a client offers all the same is taken unseen.
    public var allowsNone = false
    /// A user to whom ``allowsNone`` applies alone: VIC's `daemon`.
    public var openUser: String?
    /// Shown to the user before the answer to the first request.
    public var banner: String?
    /// Attempts that may fail, the question for methods (`none`) that clients begin with not counted; the last one ends the
    /// connection.
    public var maximumAttempts = 6
    /// The time until someone has logged in, in milliseconds from the end of the key exchange on.
    public var milliseconds: Int64 = 60_000

    public init() {}
}

/// Someone who has logged in.
public struct Login: Equatable, Sendable {
    /// The name as it was given, fit to be shown.
    public let user: String
    /// `publickey`, or another where the rules take any: `none`, `password`.
    public let method: String
    /// The key that was proved to be the user's; nil where none had to be.
    public let key: AuthorizedKey?

    public init(user: String, method: String, key: AuthorizedKey?) {
        self.user = user
        self.method = method
        self.key = key
    }
}

/// The server's side of the authentication (RFC 4252), on payloads.
///
/// A failure says the same whatever its cause: an unknown user, an unknown key, a signature that does not fit.
public struct ServerAuthentication {
    private let rules: AuthenticationRules
    private let sessionID: [UInt8]
    private var outgoing = PayloadQueue()
    private var serviceIsAccepted = false
    private var bannerIsSent = false
    private var askedForMethods = false
    private var failures = 0
    private var requests = 0
    /// Set once: from then on messages belong to the connection layer.
    public private(set) var login: Login?

    /// A longer user name ends the connection.
    static let maximumUserName = 256

    /// - Parameter sessionID: the transport's, which the signatures are made over.
    public init(_ rules: AuthenticationRules, sessionID: [UInt8]) {
        self.rules = rules
        self.sessionID = sessionID
    }

    public mutating func nextPayload() -> [UInt8]? { outgoing.popFirst() }

    /// Takes a message of the client's, SSH_MSG_SERVICE_REQUEST among them.
    /// - Throws: ``SSHError`` when it has no place here, or too many attempts have failed: the connection is over.
    public mutating func receive(_ payload: [UInt8]) throws(SSHError) {
        var reader = WireReader(payload, from: 1)
        switch payload.first {
        case UserAuthentication.serviceRequest:
            try count("")
            let service = reader.text()
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_SERVICE_REQUEST") }
            guard service == UserAuthentication.service, login == nil else {
                let name = printable(Array(service.utf8), limit: ConnectionLimits.maximumName)
                let cause = "it is not available \(login == nil ? "before" : "after") the log-in"
                throw SSHError(.serviceNotAvailable, "begin service", name, cause)
            }
            serviceIsAccepted = true
            var writer = WireWriter(message: UserAuthentication.serviceAccept)
            writer.text(service)
            outgoing.append(writer.bytes)
        case UserAuthentication.request where serviceIsAccepted:
            // What was on its way when the log-in succeeded is to be ignored (5.1).
            if login == nil { try receiveRequest(&reader) }
        default: throw UserAuthentication.unexpected(payload)
        }
    }

    private mutating func receiveRequest(_ reader: inout WireReader) throws(SSHError) {
        let user = reader.string()
        let service = reader.text()
        let method = reader.text()
        guard !reader.hasFailed else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_REQUEST") }
        guard user.count <= Self.maximumUserName else {
            throw SSHError(.illegalUserName, "authenticate", "", "the user name is longer than \(Self.maximumUserName) bytes")
        }
        guard service == UserAuthentication.nextService else {
            throw SSHError(.serviceNotAvailable, "authenticate", "", "the service is not \(UserAuthentication.nextService)")
        }
        try count(printable(user, limit: ConnectionLimits.maximumName))
        sendBanner()
        let isOpen = rules.allowsNone || rules.openUser.map { Array($0.utf8) == user } ?? false
        switch method {
        case "none":
            if isOpen { return succeed(user, "none", nil) }
            // The first one is how clients learn the methods (5.2).
            if askedForMethods { return try fail(user) }
            askedForMethods = true
            outgoing.append(Self.failure)
        case "publickey": try receiveKey(&reader, user, isOpen: isOpen)
        case "password" where isOpen: succeed(user, "password", nil)
        default: try fail(user)
        }
    }

    /// Requests to begin, and questions whether a key would do, are no failures, but they do not come without end either: each has an
    /// answer, which a client need not take.
    private mutating func count(_ user: String) throws(SSHError) {
        requests += 1
        guard requests <= rules.maximumAttempts * 4 else {
            throw SSHError(.noMoreAuthenticationMethods, "authenticate", user, "there are too many requests, and none of them will do")
        }
    }

    private mutating func receiveKey(_ reader: inout WireReader, _ user: [UInt8], isOpen: Bool) throws(SSHError) {
        let isSigned = reader.boolean()
        let algorithm = reader.text()
        let blob = reader.string()
        let signature = isSigned ? reader.string() : []
        guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_REQUEST") }
        let authorized = rules.authorizedKeys.first { $0.key.blob == blob && Self.fits(algorithm, $0.key) }
        guard isSigned else {
            guard authorized != nil || isOpen else { return try fail(user) }
            var writer = WireWriter(message: UserAuthentication.publicKeyOK)
            writer.text(algorithm)
            writer.string(blob)
            return outgoing.append(writer.bytes)
        }
        if let authorized {
            let data = UserAuthentication.signedData(sessionID: sessionID, user: user, algorithm: algorithm, key: blob)
            if authorized.key.verify(signature: signature, algorithm: algorithm, data: data) {
                return succeed(user, "publickey", authorized)
            }
        }
        if isOpen { return succeed(user, "publickey", nil) }
        try fail(user)
    }

    /// Whether signatures of the algorithm are made with keys of this type. SHA-1 is not taken from users.
    private static func fits(_ algorithm: String, _ key: PublicKey) -> Bool {
        key.algorithm == "ssh-rsa" ? algorithm == "rsa-sha2-512" || algorithm == "rsa-sha2-256" : algorithm == key.algorithm
    }

    private mutating func sendBanner() {
        guard let banner = rules.banner, !bannerIsSent else { return }
        bannerIsSent = true
        var writer = WireWriter(message: UserAuthentication.banner)
        writer.text(banner)
        writer.text("")
        outgoing.append(writer.bytes)
    }

    private mutating func succeed(_ user: [UInt8], _ method: String, _ key: AuthorizedKey?) {
        outgoing.append([UserAuthentication.success])
        login = Login(user: printable(user, limit: Self.maximumUserName), method: method, key: key)
    }

    private mutating func fail(_ user: [UInt8]) throws(SSHError) {
        failures += 1
        guard failures < rules.maximumAttempts else { throw exhausted(user) }
        outgoing.append(Self.failure)
    }

    private func exhausted(_ user: [UInt8]) -> SSHError {
        let name = printable(user, limit: ConnectionLimits.maximumName)
        return SSHError(.noMoreAuthenticationMethods, "authenticate", name, "\(failures) attempts have failed")
    }

    private static var failure: [UInt8] {
        var writer = WireWriter(message: UserAuthentication.failure)
        writer.nameList(["publickey"])
        writer.boolean(false)
        return writer.bytes
    }
}
