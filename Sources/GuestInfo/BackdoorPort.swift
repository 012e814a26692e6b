/// The seven registers of a backdoor access. Only the low 32 bits carry meaning, except where a register holds a
/// buffer's address or a byte count.
public struct BackdoorRegisters: Equatable, Sendable {
    public var rax: UInt64 = 0
    public var rbx: UInt64 = 0
    public var rcx: UInt64 = 0
    public var rdx: UInt64 = 0
    public var rsi: UInt64 = 0
    public var rdi: UInt64 = 0
    public var rbp: UInt64 = 0

    public init() {}
}

/// The way to the VMware host: the three instructions of the backdoor.
///
/// The guest uses the real ones; tests plug in a model of the host.
public protocol BackdoorPort {
    /// `in eax, dx` on port 0x5658.
    mutating func lowBandwidth(_ registers: inout BackdoorRegisters)
    /// `rep outsb` on port 0x5659: sends `message`. The implementation puts its address into RSI and its length into RCX.
    mutating func highBandwidthOut(_ registers: inout BackdoorRegisters, message: UnsafeRawBufferPointer)
    /// `rep insb` on port 0x5659: fills `buffer`. The implementation puts its address into RDI and its length into RCX.
    mutating func highBandwidthIn(_ registers: inout BackdoorRegisters, buffer: UnsafeMutableRawBufferPointer)
}
