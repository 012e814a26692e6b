/// A message of the connection layer (RFC 4254), with the numbers of RFC 4250, 4.1.2.
enum ConnectionMessage: Equatable {
    case globalRequest(name: String, wantsReply: Bool, data: [UInt8])
    case requestSuccess(data: [UInt8])
    case requestFailure
    case open(type: String, sender: UInt32, window: UInt32, maximumPacket: UInt32, extra: [UInt8])
    case openConfirmation(recipient: UInt32, sender: UInt32, window: UInt32, maximumPacket: UInt32, extra: [UInt8])
    case openFailure(recipient: UInt32, reason: UInt32, text: String)
    case windowAdjust(recipient: UInt32, bytes: UInt32)
    case data(recipient: UInt32, ArraySlice<UInt8>)
    case extendedData(recipient: UInt32, type: UInt32, ArraySlice<UInt8>)
    case eof(recipient: UInt32)
    case close(recipient: UInt32)
    case request(recipient: UInt32, name: String, wantsReply: Bool, data: [UInt8])
    case success(recipient: UInt32)
    case failure(recipient: UInt32)
}

extension ConnectionMessage {
    static let openConfirmationNumber: UInt8 = 91

    /// Reads a message from its payload; nil where its number is not one of this layer's.
    /// - Throws: ``SSHError`` when the message has not the form of its number.
    static func decode(_ payload: [UInt8]) throws(SSHError) -> ConnectionMessage? {
        guard let number = payload.first, let name = name(of: number) else { return nil }
        var reader = WireReader(payload, from: 1)
        let message = read(number, &reader)
        guard reader.isComplete, let message else {
            throw SSHError(.protocolError, "read message", name, "its fields are not those of its number")
        }
        return message
    }

    private static func read(_ number: UInt8, _ reader: inout WireReader) -> ConnectionMessage? {
        switch number {
        case 80: .globalRequest(name: reader.text(), wantsReply: reader.boolean(), data: reader.rest())
        case 81: .requestSuccess(data: reader.rest())
        case 82: .requestFailure
        case 90:
            .open(
                type: reader.text(), sender: reader.uint32(), window: reader.uint32(), maximumPacket: reader.uint32(),
                extra: reader.rest())
        case openConfirmationNumber:
            .openConfirmation(
                recipient: reader.uint32(), sender: reader.uint32(), window: reader.uint32(), maximumPacket: reader.uint32(),
                extra: reader.rest())
        case 92: readFailure(&reader)
        case 93: .windowAdjust(recipient: reader.uint32(), bytes: reader.uint32())
        case 94: .data(recipient: reader.uint32(), reader.take(Int(reader.uint32())))
        case 95: .extendedData(recipient: reader.uint32(), type: reader.uint32(), reader.take(Int(reader.uint32())))
        case 96: .eof(recipient: reader.uint32())
        case 97: .close(recipient: reader.uint32())
        case 98: .request(recipient: reader.uint32(), name: reader.text(), wantsReply: reader.boolean(), data: reader.rest())
        case 99: .success(recipient: reader.uint32())
        case 100: .failure(recipient: reader.uint32())
        default: nil
        }
    }

    private static func readFailure(_ reader: inout WireReader) -> ConnectionMessage {
        let (recipient, reason, text) = (reader.uint32(), reader.uint32(), reader.string())
        // The language of the text, which has no use.
        _ = reader.string()
        return .openFailure(recipient: recipient, reason: reason, text: printable(text, limit: ConnectionLimits.maximumText))
    }

    private static func name(of number: UInt8) -> String? {
        switch number {
        case 80: "SSH_MSG_GLOBAL_REQUEST"
        case 81: "SSH_MSG_REQUEST_SUCCESS"
        case 82: "SSH_MSG_REQUEST_FAILURE"
        case 90: "SSH_MSG_CHANNEL_OPEN"
        case openConfirmationNumber: "SSH_MSG_CHANNEL_OPEN_CONFIRMATION"
        case 92: "SSH_MSG_CHANNEL_OPEN_FAILURE"
        case 93: "SSH_MSG_CHANNEL_WINDOW_ADJUST"
        case 94: "SSH_MSG_CHANNEL_DATA"
        case 95: "SSH_MSG_CHANNEL_EXTENDED_DATA"
        case 96: "SSH_MSG_CHANNEL_EOF"
        case 97: "SSH_MSG_CHANNEL_CLOSE"
        case 98: "SSH_MSG_CHANNEL_REQUEST"
        case 99: "SSH_MSG_CHANNEL_SUCCESS"
        case 100: "SSH_MSG_CHANNEL_FAILURE"
        default: nil
        }
    }

    /// The message as a payload.
    func encoded() -> [UInt8] {
        switch self {
        case .globalRequest(let name, let wantsReply, let data):
            var writer = WireWriter(message: 80)
            writer.text(name)
            writer.boolean(wantsReply)
            writer.raw(data)
            return writer.bytes
        case .requestSuccess(let data):
            var writer = WireWriter(message: 81)
            writer.raw(data)
            return writer.bytes
        case .requestFailure: return [82]
        case .open(let type, let sender, let window, let maximumPacket, let extra):
            var writer = WireWriter(message: 90)
            writer.text(type)
            for number in [sender, window, maximumPacket] { writer.uint32(number) }
            writer.raw(extra)
            return writer.bytes
        case .openConfirmation(let recipient, let sender, let window, let maximumPacket, let extra):
            return Self.encoded(Self.openConfirmationNumber, [recipient, sender, window, maximumPacket], raw: extra[...])
        case .openFailure(let recipient, let reason, let text):
            var writer = WireWriter(message: 92)
            writer.uint32(recipient)
            writer.uint32(reason)
            writer.text(text)
            writer.text("")
            return writer.bytes
        case .windowAdjust(let recipient, let bytes): return Self.encoded(93, [recipient, bytes])
        case .data(let recipient, let data): return Self.encoded(94, [recipient, UInt32(clamping: data.count)], raw: data)
        case .extendedData(let recipient, let type, let data):
            return Self.encoded(95, [recipient, type, UInt32(clamping: data.count)], raw: data)
        case .eof(let recipient): return Self.encoded(96, [recipient])
        case .close(let recipient): return Self.encoded(97, [recipient])
        case .request(let recipient, let name, let wantsReply, let data):
            var writer = WireWriter(message: 98)
            writer.uint32(recipient)
            writer.text(name)
            writer.boolean(wantsReply)
            writer.raw(data)
            return writer.bytes
        case .success(let recipient): return Self.encoded(99, [recipient])
        case .failure(let recipient): return Self.encoded(100, [recipient])
        }
    }

    private static func encoded(_ number: UInt8, _ fields: [UInt32], raw: ArraySlice<UInt8> = []) -> [UInt8] {
        var writer = WireWriter(message: number)
        for field in fields { writer.uint32(field) }
        writer.raw(raw)
        return writer.bytes
    }
}
