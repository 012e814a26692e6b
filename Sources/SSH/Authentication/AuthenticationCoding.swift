/// The numbers and common parts of the authentication protocol (RFC 4252).
enum UserAuthentication {
    static let serviceRequest = Message.serviceRequest
    static let serviceAccept = Message.serviceAccept
    static let request: UInt8 = 50
    static let failure: UInt8 = 51
    static let success = Message.userAuthenticationSuccess
    static let banner: UInt8 = 53
    static let publicKeyOK: UInt8 = 60

    static let service = "ssh-userauth"
    /// The service that is asked for, the only one that there is.
    static let nextService = "ssh-connection"

    /// What the signature of a `publickey` request is made over (7).
    static func signedData(sessionID: [UInt8], user: [UInt8], algorithm: String, key: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.string(sessionID)
        writer.raw(keyRequest(user: user, algorithm: algorithm, key: key))
        return writer.bytes
    }

    /// A `publickey` request without its signature.
    /// - Parameter isSigned: one follows; otherwise it is the question whether the key would do.
    static func keyRequest(user: [UInt8], algorithm: String, key: [UInt8], isSigned: Bool = true) -> [UInt8] {
        var writer = WireWriter(message: request)
        writer.string(user)
        writer.text(nextService)
        writer.text("publickey")
        writer.boolean(isSigned)
        writer.text(algorithm)
        writer.string(key)
        return writer.bytes
    }

    /// A message between those of this layer and the next, whose number nobody here knows: SSH_MSG_UNIMPLEMENTED is the answer to it
    /// (RFC 4253, 11.4).
    static func isUnknown(_ payload: [UInt8]) -> Bool {
        guard let number = payload.first else { return false }
        return (54...59).contains(number) || (61...79).contains(number)
    }

    static func malformed(_ message: String) -> SSHError {
        SSHError(.protocolError, "read message", message, "its fields are not those of its number")
    }

    static func unexpected(_ payload: [UInt8]) -> SSHError {
        SSHError(.protocolError, "authenticate", "", "message \(payload.first.map(Int.init) ?? 0) has no place here")
    }
}
