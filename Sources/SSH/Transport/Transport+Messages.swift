/// What each message does (RFC 4253, 11 and 12).
extension Transport {
    func handle(_ payload: [UInt8], _ sequence: UInt32) throws(SSHError) {
        let number = payload.first ?? 0
        // In strict key exchange the first one is nothing but itself: a packet put in between, which would move the sequence
        // numbers, ends it (OpenSSH's PROTOCOL, 1.9).
        if isStrict, !isReady, number != Message.disconnect, number != Message.newKeys, !(30...49).contains(number) {
            throw SSHError(.keyExchangeFailed, "exchange keys", "", "message \(number) has no place in strict key exchange")
        }
        var reader = WireReader(payload, from: 1)
        switch number {
        case Message.disconnect:
            let (reason, text) = (reader.uint32(), reader.text())
            isClosed = true
            held.removeAll()
            queuedPayloadBytes = 0
            announce(.disconnected(reason: reason, text: text))
        case Message.ignore:
            break
        case Message.unimplemented:
            let rejected = reader.uint32()
            guard !reader.hasFailed else { throw Self.malformed("SSH_MSG_UNIMPLEMENTED") }
            // Of the first key exchange, there is nothing left to try.
            guard isReady else {
                throw SSHError(.keyExchangeFailed, "exchange keys", "", "the peer does not know the message in packet \(rejected)")
            }
            announce(.unimplemented(rejected))
        case Message.debug:
            let (alwaysDisplay, text) = (reader.boolean(), reader.text())
            guard !reader.hasFailed else { throw Self.malformed("SSH_MSG_DEBUG") }
            announce(.debug(alwaysDisplay: alwaysDisplay, text: text))
        case Message.extensionInfo:
            try takeExtensions(&reader)
        case Message.keyExchangeInit:
            try takeInit(payload, sequence)
        case Message.newKeys:
            guard payload.count == 1 else { throw Self.malformed("SSH_MSG_NEWKEYS") }
            try takeNewKeys()
        case 30...49:
            try takeMethodMessage(payload, number)
        case Message.serviceRequest, Message.serviceAccept, 50...255:
            // Before its SSH_MSG_NEWKEYS, and from its SSH_MSG_KEXINIT on, the peer has nothing else to say (7.1).
            guard isReady, exchange?.peerInit == nil else {
                throw SSHError(.protocolError, "receive message", "\(number)", "keys are being exchanged")
            }
            if !isServer, number == Message.userAuthenticationSuccess { try beginDelayedCompression() }
            messageSequences.append(sequence)
            announce(.message(payload))
        default:
            try sendUnimplemented(sequence)
        }
    }

    func announce(_ event: TransportEvent) {
        events.append(event)
        eventBytes += Self.size(event)
    }

    /// What an event counts for while it waits to be taken.
    static func size(_ event: TransportEvent) -> Int {
        switch event {
        case .message(let payload): payload.count + 64
        case .debug(_, let text): text.utf8.count + 64
        default: 64
        }
    }

    /// - Throws: where the peer makes this side answer, and does not take the answers.
    func checkOutput() throws(SSHError) {
        guard output.count < Self.maximumOutput else {
            throw SSHError(.protocolError, "answer", "", "\(output.count) bytes wait to be sent, and the peer does not take them")
        }
    }

    func sendUnimplemented(_ sequence: UInt32) throws(SSHError) {
        try checkOutput()
        var message = WireWriter(message: Message.unimplemented)
        message.uint32(sequence)
        try seal(message.bytes, Message.unimplemented)
    }

    /// SSH_MSG_EXT_INFO (RFC 8308, 2.3). What it says is not believed before it is protected.
    private func takeExtensions(_ reader: inout WireReader) throws(SSHError) {
        guard isReady else { throw SSHError(.protocolError, "receive", "SSH_MSG_EXT_INFO", "the first key exchange is not complete") }
        let count = reader.uint32()
        if count > 128 { reader.fail() }
        var extensions: [PeerExtension] = []
        while !reader.hasFailed, extensions.count < Int(count) {
            extensions.append(PeerExtension(name: reader.text(), value: reader.string()))
        }
        guard reader.isComplete else { throw Self.malformed("SSH_MSG_EXT_INFO") }
        // A second message replaces what the first one said (2.4).
        peerExtensions = extensions
        announce(.extensions)
    }

    static func malformed(_ message: String) -> SSHError {
        SSHError(.protocolError, "read", message, "the message is cut off, or something follows it")
    }
}
