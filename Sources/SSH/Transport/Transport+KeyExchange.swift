/// The key exchange (RFC 4253, 7 to 9), which either side may begin at any time.
extension Transport {
    /// Messages of the layers above have to wait: from this side's SSH_MSG_KEXINIT to its SSH_MSG_NEWKEYS (7.1).
    var isHolding: Bool {
        guard let exchange else { return !isReady }
        return exchange.stage != .newKeys
    }

    /// Sends SSH_MSG_KEXINIT.
    func beginExchange() throws(SSHError) {
        let lists = offer()
        let payload = lists.payload(cookie: random.bytes(16))
        exchange = KeyExchange(ownInit: payload, ownLists: lists)
        if isReady { exchangeDeadline = Self.later(now, milliseconds: configuration.handshakeMilliseconds) }
        try seal(payload, Message.keyExchangeInit)
    }

    private func offer() -> KeyExchangeInit {
        let wanted = configuration.algorithms
        var lists = KeyExchangeInit()
        lists.keyExchange = wanted.keyExchange.filter(AlgorithmPreferences.supportedKeyExchange.contains)
        // Said once, in the first exchange.
        if !isReady {
            lists.keyExchange +=
                isServer
                ? [KeyExchangeInit.Signal.extensionsServer, KeyExchangeInit.Signal.strictServer]
                : [KeyExchangeInit.Signal.extensionsClient, KeyExchangeInit.Signal.strictClient]
        }
        lists.hostKey = wanted.hostKey.filter { name in
            guard AlgorithmPreferences.supportedHostKey.contains(name) else { return false }
            if isServer { return configuration.hostKeys.contains { $0.signatureAlgorithms.contains(name) } }
            return name != "ssh-rsa" || configuration.allowsWeakHostKeys
        }
        let ciphers = wanted.ciphers.filter(AlgorithmPreferences.supportedCiphers.contains)
        lists.ciphers = (ciphers, ciphers)
        let macs = wanted.macs.filter(AlgorithmPreferences.supportedMACs.contains)
        lists.macs = (macs, macs)
        let compression =
            configuration.compressionEnabled ? wanted.compression.filter(AlgorithmPreferences.supportedCompression.contains) : ["none"]
        lists.compression = (compression, compression)
        return lists
    }

    /// SSH_MSG_KEXINIT of the peer.
    func takeInit(_ payload: [UInt8], _ sequence: UInt32) throws(SSHError) {
        let lists = try KeyExchangeInit(payload)
        if exchange == nil {
            // A second exchange is of no use to someone who has not logged in, and takes this side's time as often as it is asked for.
            guard !isServer || isAuthenticated else {
                throw SSHError(.protocolError, "exchange keys", "", "SSH_MSG_KEXINIT comes before the log-in")
            }
            try checkOutput()
            try beginExchange()
        }
        guard var exchange, exchange.stage == .initialisation else {
            throw SSHError(.protocolError, "exchange keys", "", "SSH_MSG_KEXINIT comes in the middle of an exchange")
        }
        if !isReady {
            let (extensions, strict) =
                isServer
                ? (KeyExchangeInit.Signal.extensionsClient, KeyExchangeInit.Signal.strictClient)
                : (KeyExchangeInit.Signal.extensionsServer, KeyExchangeInit.Signal.strictServer)
            peerTakesExtensions = lists.keyExchange.contains(extensions)
            isStrict = lists.keyExchange.contains(strict)
            guard !isStrict || sequence == 0 else {
                throw SSHError(
                    .keyExchangeFailed, "exchange keys", "", "SSH_MSG_KEXINIT is not the first packet, as strict key exchange has it")
            }
        }
        exchange.peerInit = payload
        exchange.algorithms =
            isServer
            ? try KeyExchangeInit.negotiate(client: lists, server: exchange.ownLists)
            : try KeyExchangeInit.negotiate(client: exchange.ownLists, server: lists)
        // A guess is right where both sides like the same best.
        exchange.ignoresGuess =
            lists.guessFollows
            && (lists.keyExchange.first != exchange.ownLists.keyExchange.first || lists.hostKey.first != exchange.ownLists.hostKey.first)
        exchange.stage = .method
        if !isServer {
            let key = EphemeralKey(method: exchange.algorithms.keyExchange, random: random)
            exchange.ephemeralKey = key
            var message = WireWriter(message: Message.ecdhInit)
            message.string(key.publicHalf)
            try seal(message.bytes, Message.ecdhInit)
        }
        self.exchange = exchange
    }

    /// A message of the method that was agreed on: SSH_MSG_KEX_ECDH_INIT for a server, SSH_MSG_KEX_ECDH_REPLY for a client.
    func takeMethodMessage(_ payload: [UInt8], _ number: UInt8) throws(SSHError) {
        guard exchange?.stage == .method else {
            throw SSHError(.protocolError, "exchange keys", "", "message \(number) comes when none is expected")
        }
        if exchange?.ignoresGuess == true {
            exchange?.ignoresGuess = false
            return
        }
        guard number == (isServer ? Message.ecdhInit : Message.ecdhReply) else {
            throw SSHError(.keyExchangeFailed, "exchange keys", "", "message \(number) is none of the method's")
        }
        if isServer { try answerMethod(payload) } else { try finishMethod(payload) }
    }

    private func answerMethod(_ payload: [UInt8]) throws(SSHError) {
        var reader = WireReader(payload, from: 1)
        let clientKey = reader.string()
        guard reader.isComplete else { throw Self.malformed("SSH_MSG_KEX_ECDH_INIT") }
        guard let exchange else { return }
        let algorithm = exchange.algorithms.hostKey
        guard let hostKey = configuration.hostKeys.first(where: { $0.signatureAlgorithms.contains(algorithm) }) else {
            throw SSHError(.keyExchangeFailed, "exchange keys", algorithm, "there is no such host key")
        }
        let key = EphemeralKey(method: exchange.algorithms.keyExchange, random: random)
        var secret = try key.sharedSecret(with: clientKey)
        defer { secret.wipe() }
        let hash = transcript(hostKey: hostKey.publicKey.blob, clientKey: clientKey, serverKey: key.publicHalf).hash(secret: secret)
        var message = WireWriter(message: Message.ecdhReply)
        message.string(hostKey.publicKey.blob)
        message.string(key.publicHalf)
        message.string(try hostKey.sign(hash, algorithm: algorithm, random: random))
        try seal(message.bytes, Message.ecdhReply)
        derive(secret, hash)
        try takeNewKeysIntoUse()
    }

    private func finishMethod(_ payload: [UInt8]) throws(SSHError) {
        var reader = WireReader(payload, from: 1)
        let (blob, serverKey, signature) = (reader.string(), reader.string(), reader.string())
        guard reader.isComplete else { throw Self.malformed("SSH_MSG_KEX_ECDH_REPLY") }
        guard let exchange, let key = exchange.ephemeralKey else { return }
        let hostKey = try PublicKey(blob: blob)
        var secret = try key.sharedSecret(with: serverKey)
        defer { secret.wipe() }
        let hash = transcript(hostKey: blob, clientKey: key.publicHalf, serverKey: serverKey).hash(secret: secret)
        let algorithm = exchange.algorithms.hostKey
        guard hostKey.verify(signature: signature, algorithm: algorithm, data: hash, allowsWeak: configuration.allowsWeakHostKeys) else {
            let cause = hostKey.isWeak ? "the key has \(hostKey.bits) bits only, or the signature is wrong" : "the signature is wrong"
            throw SSHError(.hostKeyNotVerifiable, "verify host key", algorithm, cause)
        }
        guard self.hostKey == nil || self.hostKey == hostKey else {
            throw SSHError(.hostKeyNotVerifiable, "verify host key", algorithm, "the host came with another key before")
        }
        derive(secret, hash)
        if self.hostKey == nil {
            self.hostKey = hostKey
            self.exchange?.stage = .hostKey
            announce(.hostKey(hostKey))
        } else {
            try takeNewKeysIntoUse()
        }
    }

    private func transcript(hostKey: [UInt8], clientKey: [UInt8], serverKey: [UInt8]) -> ExchangeTranscript {
        var transcript = ExchangeTranscript()
        let (own, peer) = (exchange?.ownInit ?? [], exchange?.peerInit ?? [])
        let peerIdentification = peerIdentification ?? []
        transcript.clientIdentification = isServer ? peerIdentification : identification
        transcript.serverIdentification = isServer ? identification : peerIdentification
        transcript.clientInit = isServer ? peer : own
        transcript.serverInit = isServer ? own : peer
        transcript.hostKey = hostKey
        transcript.clientKey = clientKey
        transcript.serverKey = serverKey
        return transcript
    }

    private func derive(_ secret: [UInt8], _ hash: [UInt8]) {
        if sessionID.isEmpty { sessionID = hash }
        exchange?.derivation = KeyDerivation(secret: secret, hash: hash, sessionID: sessionID)
        exchange?.ephemeralKey = nil
    }

    /// Sends SSH_MSG_NEWKEYS, after which everything is sent with the new keys, and prepares for the peer's.
    func takeNewKeysIntoUse() throws(SSHError) {
        guard let algorithms = exchange?.algorithms, let derivation = exchange?.derivation else { return }
        let (own, peer) =
            isServer
            ? (algorithms.serverToClient, algorithms.clientToServer) : (algorithms.clientToServer, algorithms.serverToClient)
        guard let ownSuite = CipherSuite(cipher: own.cipher, mac: own.mac), let peerSuite = CipherSuite(cipher: peer.cipher, mac: peer.mac)
        else {
            throw SSHError(.keyExchangeFailed, "exchange keys", "", "there is no cipher \(own.cipher) or \(peer.cipher)")
        }
        try seal([Message.newKeys], Message.newKeys)
        sending.replaceKeys(derivation.makeCipher(ownSuite, fromClient: !isServer), compression: own.compression, isStrict: isStrict)
        exchange?.nextReceivingCipher = derivation.makeCipher(peerSuite, fromClient: isServer)
        exchange?.derivation = nil
        exchange?.stage = .newKeys
        try beginCompression()
        if isServer, !isReady, peerTakesExtensions { try sendExtensions() }
        try releaseHeld()
    }

    /// SSH_MSG_NEWKEYS of the peer: everything after it comes with the new keys.
    func takeNewKeys() throws(SSHError) {
        guard let exchange, exchange.stage == .newKeys, let cipher = exchange.nextReceivingCipher else {
            throw SSHError(.protocolError, "exchange keys", "", "SSH_MSG_NEWKEYS comes before there are new keys")
        }
        let compression = isServer ? exchange.algorithms.clientToServer.compression : exchange.algorithms.serverToClient.compression
        receiving.replaceKeys(cipher, compression: compression, isStrict: isStrict)
        try beginDecompression()
        negotiated = exchange.algorithms
        self.exchange = nil
        keysReplaced = now
        if !isReady {
            isReady = true
            announce(.ready(sessionID: sessionID))
        }
    }

    /// SSH_MSG_EXT_INFO of a server (RFC 8308, 3.1): by what its clients may sign.
    private func sendExtensions() throws(SSHError) {
        var message = WireWriter(message: Message.extensionInfo)
        message.uint32(1)
        message.text("server-sig-algs")
        message.nameList(Self.userSignatureAlgorithms)
        try seal(message.bytes, Message.extensionInfo)
    }

    /// The algorithms by which users may sign: no SHA-1.
    public static let userSignatureAlgorithms = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"]

    private func releaseHeld() throws(SSHError) {
        while !isHolding, let payload = held.popFirst() {
            queuedPayloadBytes -= payload.count
            try seal(payload, payload.first ?? 0)
        }
    }
}
