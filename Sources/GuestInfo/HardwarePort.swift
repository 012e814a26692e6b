import CBackdoor

/// The real port. Anywhere but under VMware the first access faults: ask ``Probe`` before.
public struct HardwarePort: BackdoorPort {
    public init() {}

    public mutating func lowBandwidth(_ registers: inout BackdoorRegisters) {
        withRegisters(&registers) { cbackdoor_in($0) }
    }

    public mutating func highBandwidthOut(_ registers: inout BackdoorRegisters, message: UnsafeRawBufferPointer) {
        registers.rsi = UInt64(UInt(bitPattern: message.baseAddress))
        registers.rcx = UInt64(message.count)
        withRegisters(&registers) { cbackdoor_rep_outsb($0) }
    }

    public mutating func highBandwidthIn(_ registers: inout BackdoorRegisters, buffer: UnsafeMutableRawBufferPointer) {
        registers.rdi = UInt64(UInt(bitPattern: buffer.baseAddress))
        registers.rcx = UInt64(buffer.count)
        withRegisters(&registers) { cbackdoor_rep_insb($0) }
    }

    /// Lends the seven registers as the array that the assembly functions take: the struct declares them in that order.
    private func withRegisters(_ registers: inout BackdoorRegisters, _ call: (UnsafeMutablePointer<UInt64>) -> Void) {
        withUnsafeMutableBytes(of: &registers) { bytes in
            guard let base = bytes.baseAddress else { return }
            call(base.assumingMemoryBound(to: UInt64.self))
        }
    }
}

/// The `cpuid` instruction.
public enum CPUID {
    /// EAX, EBX, ECX and EDX of `leaf`, sub-leaf 0.
    public static func read(_ leaf: UInt32) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) {
        var result: (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &result) { bytes in
            guard let base = bytes.baseAddress else { return }
            cbackdoor_cpuid(leaf, base.assumingMemoryBound(to: UInt32.self))
        }
        return result
    }
}
