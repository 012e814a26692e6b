/// The client's side of the authentication (RFC 4252), on payloads: `none`, then `publickey` with each key.
public struct ClientAuthentication {
    private enum State {
        case service, method, complete
        /// The server was asked whether it would take a key whose private half is elsewhere.
        case asked(SignatureRequest)
        /// It would, and the signature is being made.
        case signing(SignatureRequest)
    }

    private let user: [UInt8]
    private let keys: [ClientKey]
    private let sessionID: [UInt8]
    private let random: RandomSource
    private var state = State.service
    private var outgoing = PayloadQueue()
    private var nextKey = 0
    /// Fingerprints of keys that the server did not take, for the error.
    private var refused: [String] = []
    /// Keys by which no signature was made, and why.
    private var unusable: [String] = []
    /// What the server said last that it takes.
    private var methods: [String] = []
    private var signatureAlgorithms: [String]?
    /// Set from when a signature is wanted until ``takeSignatureRequest()``.
    private var wanted: SignatureRequest?
    /// What the server wants to be shown to the user, without control characters but line ends: as much as is reasonable.
    public private(set) var banner = ""

    /// - Parameter sessionID: the transport's, which the signatures are made over.
    public init(user: String, keys: [PrivateKey], sessionID: [UInt8], random: RandomSource) {
        self.init(user: user, clientKeys: keys.map { .held($0) }, sessionID: sessionID, random: random)
    }

    public init(user: String, clientKeys keys: [ClientKey], sessionID: [UInt8], random: RandomSource) {
        self.user = Array(user.utf8)
        self.keys = keys
        self.sessionID = sessionID
        self.random = random
        var writer = WireWriter(message: UserAuthentication.serviceRequest)
        writer.text(UserAuthentication.service)
        outgoing.append(writer.bytes)
    }

    /// The server has let the user in: from now on messages belong to the connection layer.
    public var isComplete: Bool { if case .complete = state { true } else { false } }

    public mutating func nextPayload() -> [UInt8]? { outgoing.popFirst() }

    /// Takes a message of the server's.
    /// - Parameter signatureAlgorithms: what the server says it takes (RFC 8308, `server-sig-algs`); nil where it has not said.
    /// - Throws: ``SSHError`` when it has no place here, or there is nothing left to try: the connection is over.
    public mutating func receive(_ payload: [UInt8], signatureAlgorithms: [String]?) throws(SSHError) {
        var reader = WireReader(payload, from: 1)
        switch (payload.first, state) {
        case (UserAuthentication.serviceAccept, .service):
            // Some old servers leave out the name.
            if payload.count > 1 {
                guard reader.text() == UserAuthentication.service, reader.isComplete else {
                    throw UserAuthentication.malformed("SSH_MSG_SERVICE_ACCEPT")
                }
            }
            state = .method
            var writer = WireWriter(message: UserAuthentication.request)
            writer.string(user)
            writer.text(UserAuthentication.nextService)
            writer.text("none")
            outgoing.append(writer.bytes)
        case (UserAuthentication.failure, .method), (UserAuthentication.failure, .asked):
            methods = reader.nameList()
            // Partial success: what was proved counts, and more is wanted, for which other keys may do.
            _ = reader.boolean()
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_FAILURE") }
            self.signatureAlgorithms = signatureAlgorithms
            try tryNextKey()
        case (UserAuthentication.publicKeyOK, .asked(let request)):
            guard reader.text() == request.algorithm, reader.string() == request.key.blob, reader.isComplete else {
                throw UserAuthentication.malformed("SSH_MSG_USERAUTH_PK_OK")
            }
            wanted = request
            state = .signing(request)
        case (UserAuthentication.success, .method), (UserAuthentication.success, .asked):
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_SUCCESS") }
            state = .complete
        case (UserAuthentication.banner, .complete): throw UserAuthentication.unexpected(payload)
        case (UserAuthentication.banner, _):
            let text = reader.string()
            _ = reader.string()
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_BANNER") }
            show(text)
        default: throw UserAuthentication.unexpected(payload)
        }
    }

    private mutating func show(_ text: [UInt8]) {
        for line in text.split(separator: 0x0a, omittingEmptySubsequences: false) where banner.utf8.count < 8192 {
            banner += printable(Array(line), limit: ConnectionLimits.maximumText) + "\n"
        }
    }

    // MARK: Signatures of others

    /// The signature that is wanted, once.
    public mutating func takeSignatureRequest() -> SignatureRequest? {
        defer { wanted = nil }
        return wanted
    }

    /// Takes the signature that was asked for, as it is sent (RFC 4253, 6.6). One that does not verify is not sent: the next key is tried.
    /// - Throws: as ``receive(_:signatureAlgorithms:)``.
    public mutating func provide(signature: [UInt8]) throws(SSHError) {
        guard case .signing(let request) = state else { return }
        // Whether it is strong enough the server decides.
        guard request.key.verify(signature: signature, algorithm: request.algorithm, data: request.data, allowsWeak: true) else {
            return try giveUpSignature("what was made is no signature of it by \(request.algorithm)")
        }
        send(signature, by: request.algorithm, of: request.key)
    }

    /// There is no signature: the next key is tried.
    /// - Parameter cause: why, for the error.
    /// - Throws: as ``receive(_:signatureAlgorithms:)``.
    public mutating func giveUpSignature(_ cause: String) throws(SSHError) {
        guard case .signing(let request) = state else { return }
        refused.removeAll { $0 == request.key.fingerprint }
        unusable.append("\(request.key.fingerprint) cannot be used: \(cause)")
        try tryNextKey()
    }

    // MARK: Keys

    private mutating func tryNextKey() throws(SSHError) {
        state = .method
        while nextKey < keys.count, methods.contains("publickey") {
            let next = keys[nextKey]
            let key = next.publicKey
            nextKey += 1
            // Not by SHA-1, whatever the server takes: a server that does not say so is tried with the best (RFC 8332, 3.3).
            let algorithm = key.signatureAlgorithms.first { $0 != RSAHash.sha1.algorithm && signatureAlgorithms?.contains($0) != false }
            guard let algorithm else {
                unusable.append("for \(key.fingerprint) there is no algorithm that both sides have")
                continue
            }
            refused.append(key.fingerprint)
            let data = UserAuthentication.signedData(sessionID: sessionID, user: user, algorithm: algorithm, key: key.blob)
            switch next {
            case .held(let key): return send(try key.sign(data, algorithm: algorithm, random: random), by: algorithm, of: key.publicKey)
            case .elsewhere:
                outgoing.append(UserAuthentication.keyRequest(user: user, algorithm: algorithm, key: key.blob, isSigned: false))
                state = .asked(SignatureRequest(key: key, algorithm: algorithm, data: data))
                return
            }
        }
        let taken = printable(Array(methods.joined(separator: ", ").utf8), limit: ConnectionLimits.maximumText)
        var tried = refused.isEmpty ? [] : ["it does not take \(refused.joined(separator: ", "))"]
        tried += unusable
        if tried.isEmpty { tried = ["no key was offered"] }
        throw SSHError(
            .noMoreAuthenticationMethods, "log in as", printable(user, limit: ConnectionLimits.maximumName),
            "the server asks for \(taken.isEmpty ? "nothing that there is" : taken), and \(tried.joined(separator: "; "))")
    }

    private mutating func send(_ signature: [UInt8], by algorithm: String, of key: PublicKey) {
        var writer = WireWriter()
        writer.raw(UserAuthentication.keyRequest(user: user, algorithm: algorithm, key: key.blob))
        writer.string(signature)
        outgoing.append(writer.bytes)
        state = .method
    }
}
