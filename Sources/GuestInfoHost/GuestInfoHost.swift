import GuestInfo

/// The host's side of the backdoor, the mirror of the guest's client: registers in, registers out.
///
/// It touches no guest memory and does no input or output, so anything that can catch a backdoor access can be served by
/// it: a port object in the same process, a tracer around a real one, a debugger stub of a machine emulator.
/// Not thread-safe: one caller serialises the accesses.
public final class GuestInfoHost {
    /// One open channel.
    struct Channel {
        enum Phase {
            case idle
            /// Takes `expected` bytes of a request.
            case sending(expected: Int)
            /// RECVSIZE was answered; `read` bytes of the reply have gone out.
            case receiving(read: Int)
        }
        var cookieHigh: UInt32
        var cookieLow: UInt32
        var phase = Phase.idle
        var request: [UInt8] = []
        /// Kept until RECVSTATUS accepts it, so that a checkpoint can replay it.
        var reply: [UInt8]?
    }

    /// What the host has seen, for tests and for a report at the end.
    public struct Report: Equatable, Sendable {
        public var lowBandwidthCalls = 0
        public var highBandwidthOutCalls = 0
        public var highBandwidthInCalls = 0
        public var channelsOpened = 0
        /// Calls that named a channel that is not open, or a wrong cookie.
        public var wrongCookies = 0
        /// Calls out of order, of a wrong length, or of an unknown step.
        public var protocolErrors = 0
        public var faultsInjected = 0
        /// The last requests that arrived whole, at most 256.
        public var requests: [[UInt8]] = []
        /// What the guest asked to have written to the VM's log.
        public var log: [[UInt8]] = []
        /// `tools.*` and similar announcements, accepted and recorded.
        public var announcements: [[UInt8]] = []

        public init() {}
    }

    public let store: GuestInfoStore
    public var options: Options
    public internal(set) var report = Report()
    /// Channels open now: more than expected at the end means that the guest leaks them.
    public var openChannels: Int { channels.count }
    /// The longest high-bandwidth transfer in bytes for which a caller needs to read guest memory: RCX may claim more,
    /// and the model refuses that whatever is passed as the message.
    public var highBandwidthLimit: Int { options.maximumRequest }

    var channels: [UInt16: Channel] = [:]
    private var cookieSeed: UInt32 = 0xC001_C0DE
    /// Per fault of `options.faults`: how often its step was reached.
    private var reached: [Int: Int] = [:]

    public init(store: GuestInfoStore, options: Options = Options()) {
        self.store = store
        self.options = options
    }

    // MARK: Port 0x5658

    /// Serves one `in eax, dx` (or `out dx, eax`).
    public func lowBandwidth(_ registers: inout BackdoorRegisters) {
        report.lowBandwidthCalls += 1
        defer { addGarbage(&registers) }
        guard options.device != .absent, registers.rax.low32 == Backdoor.magic, registers.rdx.low16 == Backdoor.lowBandwidthPort else {
            registers.rax = UInt64(Backdoor.noAnswer)
            return
        }
        switch registers.rcx.low16 {
        case Backdoor.getVersion:
            registers.rax = UInt64(options.version)
            registers.rbx = UInt64(Backdoor.magic)
            registers.rcx = 2
        case Backdoor.message where options.device == .vmware:
            message(&registers)
        default:
            registers.rax = UInt64(Backdoor.noAnswer)
        }
    }

    private func message(_ registers: inout BackdoorRegisters) {
        guard let message = MessageStep(rawValue: registers.rcx.high16) else {
            report.protocolErrors += 1
            return answer(&registers, [])
        }
        let id = registers.rdx.high16
        let step: Step
        switch message {
        case .open: return open(&registers)
        case .sendSize: step = .sendSize
        case .sendPayload: step = .sendPayload
        case .receiveSize: step = .receiveSize
        case .receivePayload: step = .receivePayload
        case .receiveStatus: step = .receiveStatus
        case .close: step = .close
        }
        if let status = refusal(id, high: registers.rsi, low: registers.rdi, at: step) { return answer(&registers, status) }
        guard var channel = channels[id] else { return answer(&registers, []) }
        switch message {
        case .open, .close:
            channels[id] = nil
            return answer(&registers, .success)
        case .sendSize: sendSize(&channel, &registers)
        case .sendPayload: sendPayload(&channel, &registers)
        case .receiveSize: receiveSize(&channel, &registers)
        case .receivePayload: receivePayload(&channel, &registers)
        case .receiveStatus: receiveStatus(&channel, &registers)
        }
        channels[id] = channel
    }

    private func open(_ registers: inout BackdoorRegisters) {
        let withCookie = registers.rbx.low32 & MessageProtocol.cookieFlag != 0
        let known = registers.rbx.low32 & ~MessageProtocol.cookieFlag == MessageProtocol.rpci
        let free = (0..<UInt16(clamping: options.maximumChannels)).first { channels[$0] == nil }
        if let effect = takeFault(at: .open) { return answer(&registers, effect == .checkpoint ? .checkpoint : []) }
        guard known, let id = free, options.cookies || !withCookie else { return answer(&registers, []) }
        var channel = Channel(cookieHigh: 0, cookieLow: 0)
        if withCookie {
            channel.cookieHigh = nextCookie()
            channel.cookieLow = nextCookie()
        }
        channels[id] = channel
        report.channelsOpened += 1
        registers.rsi = UInt64(channel.cookieHigh)
        registers.rdi = UInt64(channel.cookieLow)
        registers.rdx = UInt64(high16: id, low16: 0)
        answer(&registers, .success)
    }

    private func sendSize(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        let length = Int(registers.rbx.low32)
        guard length <= options.maximumRequest else { return refuse(&channel, &registers) }
        channel.request = []
        channel.reply = nil
        channel.phase = .sending(expected: length)
        if length == 0 { execute(&channel) }
        let offered = options.highBandwidth == .both || options.highBandwidth == .out
        answer(&registers, offered && length > 0 ? [.success, .highBandwidth] : .success)
    }

    private func sendPayload(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        guard case .sending(let expected) = channel.phase else { return refuse(&channel, &registers) }
        var word = registers.rbx.low32
        for _ in 0..<min(4, expected - channel.request.count) {
            channel.request.append(UInt8(truncatingIfNeeded: word))
            word >>= 8
        }
        if channel.request.count == expected { execute(&channel) }
        answer(&registers, .success)
    }

    private func receiveSize(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        guard let reply = channel.reply else {
            if case .sending = channel.phase { return refuse(&channel, &registers) }
            return answer(&registers, .success)
        }
        channel.phase = .receiving(read: 0)
        registers.rbx = UInt64(reply.count)
        registers.rdx = UInt64(high16: MessageStep.sendSize.rawValue, low16: registers.rdx.low16)
        let offered = options.highBandwidth == .both || options.highBandwidth == .in
        answer(&registers, offered && !reply.isEmpty ? [.success, .doReceive, .highBandwidth] : [.success, .doReceive])
    }

    private func receivePayload(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        guard case .receiving(let read) = channel.phase, let reply = channel.reply, read < reply.count else {
            return refuse(&channel, &registers)
        }
        guard registers.rbx.low32 & 1 != 0 else {
            // The guest gives the message up.
            channel.reply = nil
            channel.phase = .idle
            return answer(&registers, .success)
        }
        var word: UInt32 = 0
        for index in 0..<4 {
            let byte = read + index < reply.count ? reply[read + index] : options.garbage ? 0xA5 : 0
            word |= UInt32(byte) << UInt32(8 * index)
        }
        channel.phase = .receiving(read: min(read + 4, reply.count))
        registers.rbx = UInt64(word)
        registers.rdx = UInt64(high16: MessageStep.sendPayload.rawValue, low16: registers.rdx.low16)
        answer(&registers, .success)
    }

    private func receiveStatus(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        guard case .receiving(let read) = channel.phase, let reply = channel.reply,
            read == reply.count || registers.rbx.low32 & 1 == 0
        else { return refuse(&channel, &registers) }
        channel.reply = nil
        channel.phase = .idle
        answer(&registers, .success)
    }

    // MARK: Port 0x5659

    /// Serves one `rep outsb`. `message` is what RSI and RCX point at, or empty where RCX is more than
    /// ``highBandwidthLimit`` or the memory cannot be read. RCX becomes 0 and RSI moves past the buffer.
    public func highBandwidthOut(_ registers: inout BackdoorRegisters, message: [UInt8]) {
        report.highBandwidthOutCalls += 1
        let (length, id) = (registers.rcx, registers.rdx.high16)
        let (high, low) = (registers.rbp, registers.rdi)
        defer {
            registers.rsi &+= length
            registers.rcx = 0
            addGarbage(&registers, sparing: \.rsi)
        }
        guard isHighBandwidthMessage(registers) else { return }
        if let status = refusal(id, high: high, low: low, at: .highBandwidthOut) { return answerHigh(&registers, status) }
        guard var channel = channels[id] else { return answerHigh(&registers, []) }
        defer { channels[id] = channel }
        guard case .sending(let expected) = channel.phase, options.highBandwidth == .both || options.highBandwidth == .out,
            length == UInt64(expected), message.count == expected, channel.request.isEmpty, expected > 0
        else {
            violation(&channel)
            return answerHigh(&registers, [])
        }
        channel.request = message
        execute(&channel)
        answerHigh(&registers, .success)
    }

    /// Serves one `rep insb`. RCX becomes 0 and RDI moves past the buffer.
    /// - Returns: the bytes for the guest's buffer, never more than RCX; empty when the transfer fails.
    public func highBandwidthIn(_ registers: inout BackdoorRegisters) -> [UInt8] {
        report.highBandwidthInCalls += 1
        let (length, id) = (registers.rcx, registers.rdx.high16)
        let (high, low) = (registers.rsi, registers.rbp)
        defer {
            registers.rdi &+= length
            registers.rcx = 0
            addGarbage(&registers, sparing: \.rdi)
        }
        guard isHighBandwidthMessage(registers) else { return [] }
        if let status = refusal(id, high: high, low: low, at: .highBandwidthIn) {
            answerHigh(&registers, status)
            return []
        }
        guard var channel = channels[id] else {
            answerHigh(&registers, [])
            return []
        }
        defer { channels[id] = channel }
        guard case .receiving(read: 0) = channel.phase, options.highBandwidth == .both || options.highBandwidth == .in,
            let reply = channel.reply, !reply.isEmpty, length == UInt64(reply.count)
        else {
            violation(&channel)
            answerHigh(&registers, [])
            return []
        }
        channel.phase = .receiving(read: reply.count)
        answerHigh(&registers, .success)
        return reply
    }

    /// Whether a string instruction reaches the message device at all; any other leaves the registers alone.
    private func isHighBandwidthMessage(_ registers: BackdoorRegisters) -> Bool {
        options.device == .vmware && registers.rax.low32 == Backdoor.magic
            && registers.rdx.low16 == Backdoor.highBandwidthPort && registers.rbx.low32 == Backdoor.highBandwidthMessage
    }

    // MARK: What every step shares

    /// - Returns: the status to answer with when the step must not go on: the channel or its cookies are wrong, or a fault
    ///   is due; nil when it may.
    private func refusal(_ id: UInt16, high: UInt64, low: UInt64, at step: Step) -> MessageStatus? {
        guard let channel = channels[id], channel.cookieHigh == high.low32, channel.cookieLow == low.low32 else {
            report.wrongCookies += 1
            return []
        }
        guard let effect = takeFault(at: step) else { return nil }
        switch effect {
        case .checkpoint:
            // The message starts again: what the guest has sent is gone, what it has not accepted is there from byte 0.
            channels[id]?.request = []
            channels[id]?.phase = .idle
            return .checkpoint
        case .failure:
            return []
        case .forget:
            channels[id] = nil
            return []
        }
    }

    /// The effect due at this visit of `step`, if any. Every fault counts the visits of its step.
    private func takeFault(at step: Step) -> Fault.Effect? {
        var due: Fault.Effect?
        for (index, fault) in options.faults.enumerated() where fault.step == step {
            let visit = reached[index, default: 0]
            reached[index] = visit + 1
            guard visit >= fault.after, fault.times.map({ visit - fault.after < $0 }) ?? true else { continue }
            due = due ?? fault.effect
        }
        if due != nil { report.faultsInjected += 1 }
        return due
    }

    /// A call out of order: the message is dropped, as the host does on a protocol error.
    private func violation(_ channel: inout Channel) {
        report.protocolErrors += 1
        channel.phase = .idle
        channel.request = []
        channel.reply = nil
    }

    private func refuse(_ channel: inout Channel, _ registers: inout BackdoorRegisters) {
        violation(&channel)
        answer(&registers, [])
    }

    /// ECX of a message step: the status over 0.
    private func answer(_ registers: inout BackdoorRegisters, _ status: MessageStatus) {
        registers.rcx = UInt64(high16: status.rawValue, low16: 0)
    }

    /// EBX of a high-bandwidth transfer: the status over 0.
    private func answerHigh(_ registers: inout BackdoorRegisters, _ status: MessageStatus) {
        registers.rbx = UInt64(high16: status.rawValue, low16: 0)
    }

    private func addGarbage(_ registers: inout BackdoorRegisters, sparing address: WritableKeyPath<BackdoorRegisters, UInt64>? = nil) {
        guard options.garbage else { return }
        // A transfer's count and the buffer's address are whole 64-bit registers of the string instruction itself; RBP is
        // no part of a low-bandwidth call.
        var registersToFill: [WritableKeyPath<BackdoorRegisters, UInt64>] = [\.rax, \.rbx, \.rdx, \.rsi, \.rdi]
        registersToFill.append(address == nil ? \.rcx : \.rbp)
        for register in registersToFill where register != address {
            registers[keyPath: register] = registers[keyPath: register] & 0xFFFF_FFFF | 0xDEAD_BEEF << 32
        }
    }

    private func nextCookie() -> UInt32 {
        cookieSeed = cookieSeed &* 1_664_525 &+ 1_013_904_223
        return cookieSeed | 1
    }
}
