/// The client's side of the authentication (RFC 4252), on payloads: `none`, then `publickey` with each key.
public struct ClientAuthentication {
    private enum State { case service, method, complete }

    private let user: [UInt8]
    private let keys: [PrivateKey]
    private let sessionID: [UInt8]
    private let random: RandomSource
    private var state = State.service
    private var outgoing = PayloadQueue()
    private var nextKey = 0
    /// Fingerprints of keys that the server did not take, for the error.
    private var refused: [String] = []
    /// Those that were not offered, for the server takes no algorithm by which they sign.
    private var unfit: [String] = []
    /// What the server wants to be shown to the user, without control characters but line ends: as much as is reasonable.
    public private(set) var banner = ""

    /// - Parameter sessionID: the transport's, which the signatures are made over.
    public init(user: String, keys: [PrivateKey], sessionID: [UInt8], random: RandomSource) {
        self.user = Array(user.utf8)
        self.keys = keys
        self.sessionID = sessionID
        self.random = random
        var writer = WireWriter(message: UserAuthentication.serviceRequest)
        writer.text(UserAuthentication.service)
        outgoing.append(writer.bytes)
    }

    /// The server has let the user in: from now on messages belong to the connection layer.
    public var isComplete: Bool { state == .complete }

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
        case (UserAuthentication.failure, .method):
            let methods = reader.nameList()
            // Partial success: what was proved counts, and more is wanted, for which other keys may do.
            _ = reader.boolean()
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_FAILURE") }
            try tryNextKey(methods, signatureAlgorithms)
        case (UserAuthentication.success, .method):
            guard reader.isComplete else { throw UserAuthentication.malformed("SSH_MSG_USERAUTH_SUCCESS") }
            state = .complete
        case (UserAuthentication.banner, .method), (UserAuthentication.banner, .service):
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

    private mutating func tryNextKey(_ methods: [String], _ signatureAlgorithms: [String]?) throws(SSHError) {
        while nextKey < keys.count, methods.contains("publickey") {
            let key = keys[nextKey]
            nextKey += 1
            // Not by SHA-1, whatever the server takes: a server that does not say so is tried with the best (RFC 8332, 3.3).
            let algorithm = key.signatureAlgorithms.first { $0 != RSAHash.sha1.algorithm && signatureAlgorithms?.contains($0) != false }
            guard let algorithm else {
                unfit.append(key.publicKey.fingerprint)
                continue
            }
            refused.append(key.publicKey.fingerprint)
            let blob = key.publicKey.blob
            let data = UserAuthentication.signedData(sessionID: sessionID, user: user, algorithm: algorithm, key: blob)
            var writer = WireWriter()
            writer.raw(UserAuthentication.keyRequest(user: user, algorithm: algorithm, key: blob))
            writer.string(try key.sign(data, algorithm: algorithm, random: random))
            return outgoing.append(writer.bytes)
        }
        let taken = printable(Array(methods.joined(separator: ", ").utf8), limit: ConnectionLimits.maximumText)
        var tried = refused.isEmpty ? "no key was offered" : "it does not take \(refused.joined(separator: ", "))"
        if !unfit.isEmpty { tried += "; for \(unfit.joined(separator: ", ")) there is no algorithm that both sides have" }
        throw SSHError(
            .noMoreAuthenticationMethods, "log in as", printable(user, limit: ConnectionLimits.maximumName),
            "the server asks for \(taken.isEmpty ? "nothing that there is" : taken), and \(tried)")
    }
}
