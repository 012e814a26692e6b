@testable import SSH

/// The other side of a conversation: it makes packets, reads packets and comes to keys by itself, from what went over the line.
final class Peer {
    private let isServer: Bool
    private let method: String
    private let hostKey: PrivateKey
    let identification = Array("SSH-2.0-peer".utf8)
    /// What this side offers, in each key exchange.
    private let lists: KeyExchangeInit

    private var sending = TransportDirection()
    private var receiving = TransportDirection()
    private var compressor: Compressor?
    private var decompressor: Decompressor?
    private var isAuthenticated = false

    private var otherIdentification: [UInt8]?
    private var otherInit: [UInt8]?
    private(set) var ownInit: [UInt8]?
    private var algorithms: NegotiatedAlgorithms?
    private var derivation: KeyDerivation?
    /// For SSH_MSG_NEWKEYS of the other side, which may come much later than this side's.
    private var nextReceiving: (KeyDerivation, NegotiatedAlgorithms)?
    private var exchangeHash: [UInt8] = []
    private(set) var sessionID: [UInt8] = []
    private(set) var isStrict = false
    private(set) var isReady = false
    private var guessIsWrong = false
    private var hasSentMethod = false
    /// The other side may have come to other keys: it was sent what this side takes no account of.
    var isConsistent = true
    /// Packets were left out, or something that is none came between them: the other side may refuse what follows. Without strict key
    /// exchange that can go unnoticed, too.
    var isIncomplete = false
    private var isDeaf = false
    /// Messages for the layers above, as they were sent with keys, and as they were received.
    private(set) var sent: [[UInt8]] = []
    private(set) var received: [[UInt8]] = []

    /// - Parameters: choose what is offered, one algorithm of each kind.
    init(isServer: Bool, _ first: UInt8, _ second: UInt8) {
        self.isServer = isServer
        method = AlgorithmPreferences.supportedKeyExchange[Int(first) % 3]
        hostKey = hostKeys[Int(first) / 3 % 2]
        var lists = KeyExchangeInit()
        // A guess at a method that the other side does not have is wrong.
        lists.guessFollows = first & 64 != 0
        if first & 128 != 0 { lists.keyExchange.append("unknown") }
        lists.keyExchange.append(method)
        let strict = isServer ? KeyExchangeInit.Signal.strictServer : KeyExchangeInit.Signal.strictClient
        if first & 32 == 0 { lists.keyExchange.append(strict) }
        if first & 16 == 0 { lists.keyExchange.append(KeyExchangeInit.Signal.extensionsClient) }
        lists.hostKey = [hostKey.publicKey.algorithm]
        let ciphers = [AlgorithmPreferences.supportedCiphers[Int(second) % 5]]
        let macs = [AlgorithmPreferences.supportedMACs[Int(second) / 5 % 2]]
        let compression = [AlgorithmPreferences.supportedCompression[Int(second) / 10 % 2]]
        (lists.ciphers, lists.macs, lists.compression) = ((ciphers, ciphers), (macs, macs), (compression, compression))
        self.lists = lists
    }

    // MARK: What is sent

    /// What comes next where nothing is left out: nil where it is the other side's turn.
    func nextStep() -> [UInt8]? {
        if !hasIdentified { return identify() }
        if ownInit == nil { return otherInit == nil ? nil : seal(initPayload()) }
        if let message = methodMessage(), !hasSentMethod || guessIsWrong { return seal(message) }
        return derivation == nil ? nil : newKeys()
    }

    private(set) var hasIdentified = false

    func identify() -> [UInt8] {
        hasIdentified = true
        return identification + [0x0d, 0x0a]
    }

    func initPayload() -> [UInt8] { lists.payload(cookie: [UInt8](repeating: 9, count: 16)) }

    /// This side's half of the method, or what a wrong guess sends in its place.
    func methodMessage() -> [UInt8]? {
        guard algorithms != nil else { return nil }
        if guessIsWrong { return [isServer ? Message.ecdhReply : Message.ecdhInit, 1, 2, 3] }
        guard let key = Secrets.own[method] else { return nil }
        var message = WireWriter(message: isServer ? Message.ecdhReply : Message.ecdhInit)
        if isServer {
            guard derivation != nil else { return nil }
            message.string(hostKey.publicKey.blob)
            message.string(key.publicHalf)
            message.string(Secrets.signature(hostKey, exchangeHash))
        } else {
            message.string(key.publicHalf)
        }
        return message.bytes
    }

    /// SSH_MSG_NEWKEYS, and from then on the new keys.
    func newKeys() -> [UInt8] {
        let packet = seal([Message.newKeys])
        guard let algorithms, let derivation else {
            isConsistent = false
            return packet
        }
        let own = isServer ? algorithms.serverToClient : algorithms.clientToServer
        guard let suite = CipherSuite(cipher: own.cipher, mac: own.mac) else { return packet }
        sending.replaceKeys(derivation.makeCipher(suite, fromClient: !isServer), compression: own.compression, isStrict: isStrict)
        compressor = sending.isCompressed(isAuthenticated: isAuthenticated) ? Compressor() : nil
        ownInit = nil
        otherInit = nil
        self.algorithms = nil
        self.derivation = nil
        hasSentMethod = false
        isReady = true
        return packet
    }

    /// A packet, and what follows from its content.
    func seal(_ payload: [UInt8]) -> [UInt8] {
        let number = payload.first ?? 0
        switch number {
        case Message.keyExchangeInit where ownInit == nil:
            ownInit = payload
            negotiate()
        case Message.ecdhInit where !isServer, Message.ecdhReply where isServer:
            if payload != methodMessage() { isConsistent = false }
            if guessIsWrong { guessIsWrong = false } else { hasSentMethod = true }
        case Message.newKeys where derivation != nil: break
        case 20...49: isConsistent = false
        case 5, 6, 50...: if isReady { sent.append(payload) }
        default: break
        }
        let content = compressor?.compress(payload) ?? payload
        if isServer, number == Message.userAuthenticationSuccess, isReady, ownInit == nil {
            // A client that waits for whoever knows host keys may have more to send before it comes to this.
            if nextReceiving != nil || isIncomplete { isConsistent = false }
            authenticated()
        }
        return packet(content)
    }

    private func packet(_ content: [UInt8]) -> [UInt8] {
        let cipher = sending.cipher
        let counted = 1 + content.count + (cipher.hasLengthApart ? 0 : 4)
        var padding = cipher.blockSize - counted % cipher.blockSize
        while padding < 4 || 5 + content.count + padding < 16 { padding += cipher.blockSize }
        let size = 5 + content.count + padding
        var packet = [UInt8](repeating: 0, count: size + cipher.tagSize)
        packet.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            PacketCipher.store(UInt32(size - 4), start)
            start[4] = UInt8(padding)
            for (index, byte) in content.enumerated() { start[5 + index] = byte }
            cipher.seal(start, size: size, sequence: sending.sequence)
        }
        sending.sequence &+= 1
        sending.count(packet.count)
        return packet
    }

    // MARK: What is received

    /// Takes what the other side has written: whole packets, which are as the protocol has them.
    func receive(_ bytes: [UInt8]) {
        var bytes = bytes
        if otherIdentification == nil {
            guard let end = bytes.firstIndex(of: 0x0a) else { preconditionFailure("there is no identification") }
            otherIdentification = Array(bytes[..<end].dropLast())
            bytes.removeFirst(end + 1)
        }
        var position = 0
        while position < bytes.count, !isDeaf {
            let left = bytes.count - position
            let cipher = receiving.cipher
            let (payload, size) = bytes.withUnsafeMutableBufferPointer { buffer -> ([UInt8]?, Int) in
                guard let start = buffer.baseAddress.map({ $0 + position }), left >= cipher.headSize else { return (nil, 0) }
                let size = Int(cipher.length(start, sequence: receiving.sequence)) + 4
                guard size >= 16 - (cipher.hasLengthApart ? 4 : 0), left >= size + cipher.tagSize,
                    cipher.open(start, size: size, sequence: receiving.sequence), Int(start[4]) + 5 <= size
                else { return (nil, 0) }
                return (Array(UnsafeBufferPointer(start: start + 5, count: size - 5 - Int(start[4]))), size + cipher.tagSize)
            }
            let message = payload.flatMap { content -> [UInt8]? in
                guard let decompressor else { return content }
                return content.withUnsafeBufferPointer { decompressor.decompress($0, maximum: Transport.maximumPacket) }
            }
            guard let message else {
                precondition(!isConsistent, "what is sent cannot be opened")
                isDeaf = true
                return
            }
            position += size
            receiving.sequence &+= 1
            receiving.count(size)
            take(message)
        }
    }

    private func take(_ payload: [UInt8]) {
        var reader = WireReader(payload, from: 1)
        switch payload.first ?? 0 {
        case Message.keyExchangeInit:
            otherInit = payload
            negotiate()
        case Message.ecdhInit: derive(reader.string(), hostKey: hostKey.publicKey.blob)
        case Message.ecdhReply: derive(hostKey: reader.string(), reader.string(), reader.string())
        case Message.newKeys:
            guard let (derivation, algorithms) = nextReceiving else { preconditionFailure("SSH_MSG_NEWKEYS comes before there are keys") }
            nextReceiving = nil
            let other = isServer ? algorithms.clientToServer : algorithms.serverToClient
            guard let suite = CipherSuite(cipher: other.cipher, mac: other.mac) else { preconditionFailure("there is no cipher") }
            receiving.replaceKeys(derivation.makeCipher(suite, fromClient: isServer), compression: other.compression, isStrict: isStrict)
            decompressor = receiving.isCompressed(isAuthenticated: isAuthenticated) ? Decompressor() : nil
        case 50...:
            received.append(payload)
            if !isServer, payload.first == Message.userAuthenticationSuccess { authenticated() }
        default: break
        }
    }

    /// Compression that waits for it begins in both directions. Not with a message that has no place where it comes: the other side
    /// does not believe it.
    private func authenticated() {
        guard !isAuthenticated else { return }
        isAuthenticated = true
        if compressor == nil, sending.isCompressed(isAuthenticated: true) { compressor = Compressor() }
        if decompressor == nil, receiving.isCompressed(isAuthenticated: true) { decompressor = Decompressor() }
    }

    private func negotiate() {
        guard let ownInit, let otherInit else { return }
        guard let own = try? KeyExchangeInit(ownInit), let other = try? KeyExchangeInit(otherInit) else { return }
        let (client, server) = isServer ? (other, own) : (own, other)
        if !isReady {
            isStrict =
                client.keyExchange.contains(KeyExchangeInit.Signal.strictClient)
                && server.keyExchange.contains(KeyExchangeInit.Signal.strictServer)
        }
        algorithms = try? KeyExchangeInit.negotiate(client: client, server: server)
        guessIsWrong = own.guessFollows && (own.keyExchange.first != other.keyExchange.first || own.hostKey.first != other.hostKey.first)
    }

    private func derive(_ otherKey: [UInt8], hostKey: [UInt8]) { derive(hostKey: hostKey, otherKey, nil) }

    /// The other side's half of the method: keys follow from it.
    private func derive(hostKey blob: [UInt8], _ otherKey: [UInt8], _ signature: [UInt8]?) {
        guard let algorithms, let own = Secrets.own[method], let secret = Secrets.shared(method, with: otherKey) else { return }
        // Another method than this side's only where the offer was changed.
        if algorithms.keyExchange != method { isConsistent = false }
        var transcript = ExchangeTranscript()
        let (ownInit, otherInit, otherName) = (ownInit ?? [], otherInit ?? [], otherIdentification ?? [])
        transcript.clientIdentification = isServer ? otherName : identification
        transcript.serverIdentification = isServer ? identification : otherName
        transcript.clientInit = isServer ? otherInit : ownInit
        transcript.serverInit = isServer ? ownInit : otherInit
        transcript.hostKey = blob
        transcript.clientKey = isServer ? otherKey : own.publicHalf
        transcript.serverKey = isServer ? own.publicHalf : otherKey
        exchangeHash = transcript.hash(secret: secret)
        if let signature, isConsistent {
            precondition(Secrets.isSignature(signature, hostKeys, blob, exchangeHash), "the signature is wrong")
        }
        if sessionID.isEmpty { sessionID = exchangeHash }
        let derivation = KeyDerivation(secret: secret, hash: exchangeHash, sessionID: sessionID)
        self.derivation = derivation
        nextReceiving = (derivation, algorithms)
    }
}
