import GuestInfo

/// What the processor pushed when a general protection fault was delivered (Intel SDM volume 3, chapter 6.14.2).
struct ExceptionFrame: Equatable {
    var errorCode: UInt64
    var rip: UInt64
    var cs: UInt64
    var rflags: UInt64

    /// Bytes of the whole frame: error code, RIP, CS, RFLAGS, RSP, SS.
    static let size = 48

    init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.size, let errorCode = UInt64(littleEndian: bytes, at: 0),
            let rip = UInt64(littleEndian: bytes, at: 8), let cs = UInt64(littleEndian: bytes, at: 16),
            let rflags = UInt64(littleEndian: bytes, at: 24)
        else { return nil }
        self.errorCode = errorCode
        self.rip = rip
        self.cs = cs
        self.rflags = rflags
    }

    /// The fault came from ring 3.
    var isUserMode: Bool { cs & 3 == 3 }
    /// The process runs 64-bit code: Linux' user code selectors are 0x33 (64 bits) and 0x23 (32 bits).
    var isLongMode: Bool { cs & 0xFFFF == 0x33 }
    /// RFLAGS.DF: string instructions go downwards.
    var isDirectionDown: Bool { rflags & (1 << 10) != 0 }
}

/// The backdoor instruction that a process faulted on.
enum BackdoorAccess: Equatable {
    /// `in eax, dx` or `out dx, eax` on port 0x5658.
    case lowBandwidth
    /// `rep outsb` on port 0x5659.
    case highBandwidthOut
    /// `rep insb` on port 0x5659.
    case highBandwidthIn

    static let magic: UInt64 = 0x564D_5868
    static let lowBandwidthPort: UInt64 = 0x5658
    static let highBandwidthPort: UInt64 = 0x5659

    /// Whether the registers and the frame can belong to an access at all: decides whether the instruction is read.
    static func isPossible(rax: UInt64, rdx: UInt64, frame: ExceptionFrame) -> Bool {
        frame.isUserMode && frame.errorCode == 0 && rax & 0xFFFF_FFFF == magic
            && (rdx & 0xFFFF == lowBandwidthPort || rdx & 0xFFFF == highBandwidthPort)
    }

    /// - Parameter code: the two bytes at the faulting RIP.
    /// - Returns: nil when the fault is something else's.
    init?(rax: UInt64, rdx: UInt64, frame: ExceptionFrame, code: [UInt8]) {
        guard Self.isPossible(rax: rax, rdx: rdx, frame: frame), code.count >= 2 else { return nil }
        switch (code[0], code[1], rdx & 0xFFFF) {
        case (0xED, _, Self.lowBandwidthPort), (0xEF, _, Self.lowBandwidthPort): self = .lowBandwidth
        case (0xF3, 0x6E, Self.highBandwidthPort) where !frame.isDirectionDown: self = .highBandwidthOut
        case (0xF3, 0x6C, Self.highBandwidthPort) where !frame.isDirectionDown: self = .highBandwidthIn
        default: return nil
        }
    }

    /// Bytes of the instruction.
    var length: UInt64 { self == .lowBandwidth ? 1 : 2 }
}
