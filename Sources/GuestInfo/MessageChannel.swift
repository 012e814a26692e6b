/// Bounds on what the host can make the client do.
public struct ChannelLimits: Sendable {
    /// How often one message is started before checkpoints count as failure. open-vm-tools has no bound, and a host
    /// that always says checkpoint holds it for ever.
    public var checkpointTries = 10
    /// Longest message to the host in bytes (GUESTMSG_MAX_IN_SIZE).
    public var maximumRequest = 65_536
    /// Longest message from the host in bytes: a value of 1 MiB and what stands before it.
    public var maximumReply = (1 << 20) + 64

    public init() {}
}

/// One GuestRPC message channel: whole messages to the host and from it, over the steps of the backdoor's message
/// command.
///
/// Not re-entrant. Opens when told to; closes when told to or when it goes away, for a host has few channels.
public final class MessageChannel<Port: BackdoorPort> {
    public let limits: ChannelLimits
    /// Whether the host has given a channel that was not closed yet.
    public private(set) var isOpen = false

    private var port: Port
    private let messageProtocol: UInt32
    // The id is loaded before every call: the host overwrites its register with message types.
    private var id: UInt16 = 0
    private var cookieHigh: UInt32 = 0
    private var cookieLow: UInt32 = 0

    public init(port: Port, protocol messageProtocol: UInt32 = MessageProtocol.rpci, limits: ChannelLimits = ChannelLimits()) {
        self.port = port
        self.messageProtocol = messageProtocol
        self.limits = limits
    }

    deinit { close() }

    /// Opens the channel; does nothing when it is open.
    public func open() throws(ChannelFailure) {
        if isOpen { return }
        // Old hosts know no cookies, and fail an OPEN that asks for them.
        for flag in [MessageProtocol.cookieFlag, 0] {
            (id, cookieHigh, cookieLow) = (0, 0, 0)
            let answer = call(.open, messageProtocol | flag)
            guard answer.status.contains(.success) else { continue }
            id = answer.registers.rdx.high16
            cookieHigh = answer.registers.rsi.low32
            cookieLow = answer.registers.rdi.low32
            isOpen = true
            return
        }
        throw .notOpened
    }

    /// Closes the channel; does nothing when it is closed. When the host refuses, there is nothing more to be done.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        for _ in 0..<limits.checkpointTries {
            let status = call(.close).status
            if status.contains(.success) || !status.contains(.checkpoint) { return }
        }
    }

    /// Sends one message. The channel must be open; after a failure it must be closed.
    public func send(_ message: [UInt8]) throws(ChannelFailure) {
        guard message.count <= limits.maximumRequest, let length = UInt32(exactly: message.count) else {
            throw .requestTooLong(bytes: message.count, limit: limits.maximumRequest)
        }
        for _ in 0..<limits.checkpointTries {
            if try trySending(message, length: length) { return }
        }
        throw .checkpointed(tries: limits.checkpointTries)
    }

    /// - Returns: false when the host asks for a new start.
    private func trySending(_ message: [UInt8], length: UInt32) throws(ChannelFailure) -> Bool {
        let announced = call(.sendSize, length)
        guard try goesOn(announced.status, .sendSize) else { return false }
        if message.isEmpty { return true }
        if announced.status.contains(.highBandwidth) {
            var registers = highBandwidthRegisters()
            registers.rdi = UInt64(cookieLow)
            registers.rbp = UInt64(cookieHigh)
            message.withUnsafeBytes { port.highBandwidthOut(&registers, message: $0) }
            return try goesOn(MessageStatus(rawValue: registers.rbx.high16), .sendPayload)
        }
        var offset = 0
        while offset < message.count {
            var word: UInt32 = 0
            for index in 0..<min(4, message.count - offset) { word |= UInt32(message[offset + index]) << UInt32(8 * index) }
            guard try goesOn(call(.sendPayload, word).status, .sendPayload) else { return false }
            offset += 4
        }
        return true
    }

    /// Receives the message that waits. The channel must be open; after a failure it must be closed.
    /// - Returns: nil when none waits.
    public func receive() throws(ChannelFailure) -> [UInt8]? {
        for _ in 0..<limits.checkpointTries {
            switch try tryReceiving() {
            case .message(let bytes): return bytes
            case .nothing: return nil
            case .startAgain: continue
            }
        }
        throw .checkpointed(tries: limits.checkpointTries)
    }

    private enum Received {
        case message([UInt8])
        case nothing
        case startAgain
    }

    private func tryReceiving() throws(ChannelFailure) -> Received {
        let announced = call(.receiveSize)
        guard try goesOn(announced.status, .receiveSize) else { return .startAgain }
        guard announced.status.contains(.doReceive) else { return .nothing }
        // The host names what it answers in EDX's high half: here a message's size.
        guard announced.registers.rdx.high16 == MessageStep.sendSize.rawValue else { throw .unexpectedAnswer(.receiveSize) }
        guard let length = Int(exactly: announced.registers.rbx.low32), length <= limits.maximumReply else {
            throw .replyTooLong(bytes: Int(clamping: announced.registers.rbx.low32), limit: limits.maximumReply)
        }
        // Filling the array writes to each of its pages, so all are there when the host copies into them: the string
        // instruction would fault for every one that is not.
        var message = [UInt8](repeating: 0, count: length)
        let whole =
            announced.status.contains(.highBandwidth) && length > 0
            ? try receiveHighBandwidth(&message) : try receiveLowBandwidth(&message)
        guard whole else { return .startAgain }
        // Until this acknowledgement the host keeps the message, whichever way it went, and an empty one too.
        guard try goesOn(call(.receiveStatus, UInt32(MessageStatus.success.rawValue)).status, .receiveStatus) else {
            return .startAgain
        }
        return .message(message)
    }

    private func receiveHighBandwidth(_ message: inout [UInt8]) throws(ChannelFailure) -> Bool {
        var registers = highBandwidthRegisters()
        registers.rsi = UInt64(cookieHigh)
        registers.rbp = UInt64(cookieLow)
        message.withUnsafeMutableBytes { port.highBandwidthIn(&registers, buffer: $0) }
        return try goesOn(MessageStatus(rawValue: registers.rbx.high16), .receivePayload)
    }

    private func receiveLowBandwidth(_ message: inout [UInt8]) throws(ChannelFailure) -> Bool {
        var offset = 0
        while offset < message.count {
            // EBX tells the host how the step before went.
            let answer = call(.receivePayload, UInt32(MessageStatus.success.rawValue))
            guard try goesOn(answer.status, .receivePayload) else { return false }
            guard answer.registers.rdx.high16 == MessageStep.sendPayload.rawValue else { throw .unexpectedAnswer(.receivePayload) }
            var word = answer.registers.rbx.low32
            for index in 0..<min(4, message.count - offset) {
                message[offset + index] = UInt8(truncatingIfNeeded: word)
                word >>= 8
            }
            offset += 4
        }
        return true
    }

    // MARK: Registers

    /// - Returns: true on success, false on a checkpoint.
    private func goesOn(_ status: MessageStatus, _ step: MessageStep) throws(ChannelFailure) -> Bool {
        if status.contains(.success) { return true }
        if status.contains(.checkpoint) { return false }
        throw .stepFailed(step, status: status.rawValue)
    }

    private func call(_ step: MessageStep, _ parameter: UInt32 = 0) -> (status: MessageStatus, registers: BackdoorRegisters) {
        var registers = BackdoorRegisters()
        registers.rax = UInt64(Backdoor.magic)
        registers.rbx = UInt64(parameter)
        registers.rcx = UInt64(high16: step.rawValue, low16: Backdoor.message)
        registers.rdx = UInt64(high16: id, low16: Backdoor.lowBandwidthPort)
        registers.rsi = UInt64(cookieHigh)
        registers.rdi = UInt64(cookieLow)
        port.lowBandwidth(&registers)
        return (MessageStatus(rawValue: registers.rcx.high16), registers)
    }

    /// What both directions share. The cookies have other places in each, and there the status comes back in EBX.
    private func highBandwidthRegisters() -> BackdoorRegisters {
        var registers = BackdoorRegisters()
        registers.rax = UInt64(Backdoor.magic)
        registers.rbx = UInt64(Backdoor.highBandwidthMessage)
        registers.rdx = UInt64(high16: id, low16: Backdoor.highBandwidthPort)
        return registers
    }
}
