/// SSH_MSG_KEXINIT (RFC 4253, 7.1).
struct KeyExchangeInit: Equatable {
    var keyExchange: [String] = []
    var hostKey: [String] = []
    /// Client to server, and server to client.
    var ciphers: ([String], [String]) = ([], [])
    var macs: ([String], [String]) = ([], [])
    var compression: ([String], [String]) = ([], [])
    var guessFollows = false

    init() {}

    init(_ payload: [UInt8]) throws(SSHError) {
        var reader = WireReader(payload, from: 1)
        _ = reader.take(16)
        keyExchange = reader.nameList()
        hostKey = reader.nameList()
        ciphers = (reader.nameList(), reader.nameList())
        macs = (reader.nameList(), reader.nameList())
        compression = (reader.nameList(), reader.nameList())
        // Languages, which nobody uses.
        _ = (reader.string(), reader.string())
        guessFollows = reader.boolean()
        _ = reader.uint32()
        guard reader.isComplete else {
            throw SSHError(.protocolError, "read", "SSH_MSG_KEXINIT", "the message is cut off, or something follows it")
        }
    }

    func payload(cookie: [UInt8]) -> [UInt8] {
        var writer = WireWriter(message: Message.keyExchangeInit)
        writer.raw(cookie)
        for list in [keyExchange, hostKey, ciphers.0, ciphers.1, macs.0, macs.1, compression.0, compression.1, [], []] {
            writer.nameList(list)
        }
        writer.boolean(guessFollows)
        writer.uint32(0)
        return writer.bytes
    }

    static func == (a: KeyExchangeInit, b: KeyExchangeInit) -> Bool { a.payload(cookie: []) == b.payload(cookie: []) }

    /// What both sides agree on: in each list the client's first name that the server has too.
    static func negotiate(client: KeyExchangeInit, server: KeyExchangeInit) throws(SSHError) -> NegotiatedAlgorithms {
        var result = NegotiatedAlgorithms()
        // What RFC 8308 and strict key exchange say among the methods is none.
        result.keyExchange = try choose("key exchange", client.keyExchange.filter { !Signal.all.contains($0) }, server.keyExchange)
        result.hostKey = try choose("host key", client.hostKey, server.hostKey)
        result.clientToServer = try direction(
            (client.ciphers.0, server.ciphers.0), (client.macs.0, server.macs.0), (client.compression.0, server.compression.0))
        result.serverToClient = try direction(
            (client.ciphers.1, server.ciphers.1), (client.macs.1, server.macs.1), (client.compression.1, server.compression.1))
        return result
    }

    private static func direction(
        _ ciphers: ([String], [String]), _ macs: ([String], [String]), _ compression: ([String], [String])
    ) throws(SSHError) -> NegotiatedAlgorithms.Direction {
        var result = NegotiatedAlgorithms.Direction()
        result.cipher = try choose("cipher", ciphers.0, ciphers.1)
        if !CipherSuite.authenticates(result.cipher) { result.mac = try choose("MAC", macs.0, macs.1) }
        result.compression = try choose("compression", compression.0, compression.1)
        return result
    }

    private static func choose(_ kind: String, _ client: [String], _ server: [String]) throws(SSHError) -> String {
        if let name = client.first(where: { server.contains($0) }) { return name }
        throw SSHError(
            .keyExchangeFailed, "agree on", kind, "the client has \(listed(client)), and the server has \(listed(server))")
    }

    private static func listed(_ names: [String]) -> String {
        names.isEmpty ? "none" : printable(Array(names.joined(separator: ",").utf8), limit: 256)
    }

    /// Names in the list of key exchange methods that say what a side can do.
    enum Signal {
        /// RFC 8308, 2.1
        static let extensionsClient = "ext-info-c"
        static let extensionsServer = "ext-info-s"
        /// OpenSSH's PROTOCOL, 1.9
        static let strictClient = "kex-strict-c-v00@openssh.com"
        static let strictServer = "kex-strict-s-v00@openssh.com"
        static let all = [extensionsClient, extensionsServer, strictClient, strictServer]
    }
}

/// Message numbers of the transport (RFC 4253, 12; RFC 5656, 7.1; RFC 8308, 2.3).
enum Message {
    static let disconnect: UInt8 = 1
    static let ignore: UInt8 = 2
    static let unimplemented: UInt8 = 3
    static let debug: UInt8 = 4
    static let serviceRequest: UInt8 = 5
    static let serviceAccept: UInt8 = 6
    static let extensionInfo: UInt8 = 7
    static let keyExchangeInit: UInt8 = 20
    static let newKeys: UInt8 = 21
    static let ecdhInit: UInt8 = 30
    static let ecdhReply: UInt8 = 31
    /// Of the authentication: what zlib@openssh.com waits for.
    static let userAuthenticationSuccess: UInt8 = 52
}
