extension Connection {
    /// Takes a payload of the peer's.
    ///
    /// - Returns: false where the message is not one of this layer's; SSH_MSG_UNIMPLEMENTED is the answer to it.
    /// - Throws: ``SSHError`` when it breaks the protocol or would need more than the limits allow: the connection is over.
    @discardableResult
    public mutating func receive(_ payload: [UInt8]) throws(SSHError) -> Bool {
        guard let message = try ConnectionMessage.decode(payload) else { return false }
        switch message {
        case .globalRequest(let name, let wantsReply, let data): try receiveGlobal(name, data, wantsReply)
        case .requestSuccess(let data): try receiveGlobalReply(success: true, data)
        case .requestFailure: try receiveGlobalReply(success: false, [])
        case .open(let type, let sender, let window, let maximumPacket, let extra):
            try receiveOpen(type, sender, window, maximumPacket, extra)
        case .openConfirmation(let recipient, let sender, let window, let maximumPacket, let extra):
            try receiveConfirmation(recipient, sender, window, maximumPacket, extra)
        case .openFailure(let recipient, let reason, let text):
            let index = try find(recipient, .requested, "open")
            channels.remove(at: index)
            events.append(.openFailed(ChannelID(recipient), reason: reason, text: text))
        case .windowAdjust(let recipient, let bytes): try receiveAdjust(recipient, bytes)
        case .data(let recipient, let data):
            if try receiveData(recipient, data.count) { events.append(.data(ChannelID(recipient), Array(data))) }
        case .extendedData(let recipient, let type, let data):
            if try receiveData(recipient, data.count) { events.append(.extendedData(ChannelID(recipient), type: type, Array(data))) }
        case .eof(let recipient): try receiveEOF(recipient)
        case .close(let recipient): try receiveClose(recipient)
        case .request(let recipient, let name, let wantsReply, let data): try receiveRequest(recipient, name, data, wantsReply)
        case .success(let recipient): try receiveReply(recipient, success: true)
        case .failure(let recipient): try receiveReply(recipient, success: false)
        }
        return true
    }

    // MARK: Global requests

    private mutating func receiveGlobal(_ name: String, _ data: [UInt8], _ wantsReply: Bool) throws(SSHError) {
        let isRefused = name.utf8.count > ConnectionLimits.maximumName || !permissions.allowsGlobalRequests
        if wantsReply {
            try checkPatience(owedGlobal.count, "answer global request")
            if isRefused {
                if owedGlobal.refuse() { post(.requestFailure) }
            } else {
                owedGlobal.expect()
            }
        }
        if !isRefused { events.append(.globalRequest(name: name, data: data, wantsReply: wantsReply)) }
    }

    private mutating func receiveGlobalReply(success: Bool, _ data: [UInt8]) throws(SSHError) {
        guard awaitedGlobal > 0 else {
            throw SSHError(.protocolError, "take reply", "to a global request", "there is none without a reply")
        }
        awaitedGlobal -= 1
        events.append(.globalReply(success: success, data: data))
    }

    // MARK: Opening

    private mutating func receiveOpen(
        _ type: String, _ sender: UInt32, _ window: UInt32, _ maximumPacket: UInt32, _ extra: [UInt8]
    ) throws(SSHError) {
        try checkPatience(0, "answer to the opening of a channel")
        guard type.utf8.count <= ConnectionLimits.maximumName else {
            return refuse(sender, .unknownChannelType, "the channel type is longer than \(ConnectionLimits.maximumName) characters")
        }
        guard permissions.allowsChannel(type) else {
            return refuse(sender, .administrativelyProhibited, "the key that the user has logged in with does not permit it")
        }
        // Such a channel could never carry a byte.
        guard maximumPacket > 0 else { return refuse(sender, .connectFailed, "the maximum packet size is 0") }
        guard channels.count < limits.maximumChannels else {
            return refuse(sender, .resourceShortage, "there are \(channels.count) channels already")
        }
        var channel = Channel(id: newID(), state: .offered, peer: sender)
        channel.sendWindow = window
        channel.sendMaximum = min(maximumPacket, limits.maximumPacket)
        channels.append(channel)
        events.append(.opening(channel.id, type: type, extra: extra))
    }

    private mutating func refuse(_ sender: UInt32, _ reason: OpenFailure, _ text: String) {
        post(.openFailure(recipient: sender, reason: reason.rawValue, text: text))
    }

    private mutating func receiveConfirmation(
        _ recipient: UInt32, _ sender: UInt32, _ window: UInt32, _ maximumPacket: UInt32, _ extra: [UInt8]
    ) throws(SSHError) {
        let index = try find(recipient, .requested, "open")
        guard maximumPacket > 0 else {
            throw SSHError(.protocolError, "open", "channel \(recipient)", "its maximum packet size is 0")
        }
        channels[index].state = .open
        channels[index].peer = sender
        channels[index].sendWindow = window
        channels[index].sendMaximum = min(maximumPacket, limits.maximumPacket)
        if channels[index].isClosing {
            post(.close(recipient: sender))
        } else {
            events.append(.opened(ChannelID(recipient), extra: extra))
        }
    }

    // MARK: Data

    private mutating func receiveAdjust(_ recipient: UInt32, _ bytes: UInt32) throws(SSHError) {
        let index = try find(recipient, .open, "adjust window of")
        let (window, overflows) = channels[index].sendWindow.addingReportingOverflow(bytes)
        guard !overflows else {
            throw SSHError(.protocolError, "adjust window of", "channel \(recipient)", "it grows beyond 2^32 - 1 bytes")
        }
        channels[index].sendWindow = window
        if channels[index].canSend, bytes > 0 { events.append(.windowAdjusted(ChannelID(recipient), bytes: bytes)) }
    }

    /// - Returns: whether the data is to be handed on.
    private mutating func receiveData(_ recipient: UInt32, _ count: Int) throws(SSHError) -> Bool {
        let index = try find(recipient, .open, "receive data on")
        let channel = channels[index]
        let cause: String? =
            if channel.receivedEOF {
                "it comes after EOF"
            } else if count > Int(channel.receiveMaximum) {
                "\(count) bytes in a message are more than \(channel.receiveMaximum)"
            } else if count > Int(channel.receiveWindow - channel.grantDue) {
                "\(count) bytes are more than the window of \(channel.receiveWindow - channel.grantDue)"
            } else {
                nil
            }
        if let cause { throw SSHError(.protocolError, "receive data on", "channel \(recipient)", cause) }
        channels[index].receiveWindow -= UInt32(clamping: count)
        return count > 0 && !channel.isClosing
    }

    private mutating func receiveEOF(_ recipient: UInt32) throws(SSHError) {
        let index = try find(recipient, .open, "receive EOF on")
        guard !channels[index].receivedEOF else {
            throw SSHError(.protocolError, "receive EOF on", "channel \(recipient)", "it came before")
        }
        channels[index].receivedEOF = true
        if !channels[index].isClosing { events.append(.eof(ChannelID(recipient))) }
    }

    private mutating func receiveClose(_ recipient: UInt32) throws(SSHError) {
        let index = try find(recipient, .open, "close")
        if !channels[index].isClosing { post(.close(recipient: channels[index].peer)) }
        channels.remove(at: index)
        events.append(.closed(ChannelID(recipient)))
    }

    // MARK: Requests on channels

    private mutating func receiveRequest(_ recipient: UInt32, _ name: String, _ data: [UInt8], _ wantsReply: Bool) throws(SSHError) {
        let index = try find(recipient, .open, "take request on")
        // Nothing may follow this side's CLOSE, not even a refusal; the peer learns from it that none will come.
        if channels[index].isClosing { return }
        let isRefused = name.utf8.count > ConnectionLimits.maximumName || !permissions.allowsRequest(name, data)
        if wantsReply {
            try checkPatience(channels[index].owed.count, "answer request on channel \(recipient)")
            if isRefused {
                if channels[index].owed.refuse() { post(.failure(recipient: channels[index].peer)) }
            } else {
                channels[index].owed.expect()
            }
        }
        if isRefused { return }
        let request = permissions.replaced(name, data)
        if let original = request.original {
            events.append(.request(ChannelID(recipient), name: original.name, data: original.data, wantsReply: false))
        }
        events.append(.request(ChannelID(recipient), name: request.name, data: request.data, wantsReply: wantsReply))
    }

    private mutating func receiveReply(_ recipient: UInt32, success: Bool) throws(SSHError) {
        let index = try find(recipient, .open, "take reply on")
        guard channels[index].awaited > 0 else {
            throw SSHError(.protocolError, "take reply on", "channel \(recipient)", "there is no request without a reply")
        }
        channels[index].awaited -= 1
        if !channels[index].isClosing { events.append(.requestReply(ChannelID(recipient), success: success)) }
    }

    // MARK: Parts

    /// A peer that asks and asks, and neither waits for answers nor takes them, gets no more.
    private func checkPatience(_ owed: Int, _ operation: String) throws(SSHError) {
        guard owed < limits.maximumPendingReplies else {
            throw SSHError(.byApplication, operation, "", "\(owed) requests before it wait for their answers")
        }
        guard outgoing.cost < limits.maximumQueued else {
            throw SSHError(.byApplication, operation, "", "the peer does not take the answers to earlier requests")
        }
    }

    private func find(_ recipient: UInt32, _ state: Channel.State, _ operation: String) throws(SSHError) -> Int {
        guard let index = index(of: ChannelID(recipient)) else {
            throw SSHError(.protocolError, operation, "channel \(recipient)", "there is no such channel")
        }
        guard channels[index].state == state else {
            throw SSHError(.protocolError, operation, "channel \(recipient)", "it is not in that state")
        }
        return index
    }
}
