import GuestInfo

/// A backdoor port in the same process: what the guest's client writes is served by a ``GuestInfoHost`` at once.
public struct ModelPort: BackdoorPort {
    public let host: GuestInfoHost

    public init(_ host: GuestInfoHost) { self.host = host }

    public mutating func lowBandwidth(_ registers: inout BackdoorRegisters) {
        host.lowBandwidth(&registers)
    }

    public mutating func highBandwidthOut(_ registers: inout BackdoorRegisters, message: UnsafeRawBufferPointer) {
        registers.rsi = UInt64(UInt(bitPattern: message.baseAddress))
        registers.rcx = UInt64(message.count)
        host.highBandwidthOut(&registers, message: Array(message))
    }

    public mutating func highBandwidthIn(_ registers: inout BackdoorRegisters, buffer: UnsafeMutableRawBufferPointer) {
        registers.rdi = UInt64(UInt(bitPattern: buffer.baseAddress))
        registers.rcx = UInt64(buffer.count)
        buffer.copyBytes(from: host.highBandwidthIn(&registers).prefix(buffer.count))
    }
}
