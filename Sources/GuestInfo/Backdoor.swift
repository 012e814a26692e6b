/// The numbers of the VMware backdoor and of the GuestRPC message protocol spoken over it, as open-vm-tools'
/// `backdoor_def.h` and `guest_msg_def.h` name them.
public enum Backdoor {
    /// What EAX must hold: "VMXh".
    public static let magic: UInt32 = 0x564D_5868
    /// What a port read gives when no device answers.
    public static let noAnswer: UInt32 = 0xFFFF_FFFF
    public static let lowBandwidthPort: UInt16 = 0x5658
    public static let highBandwidthPort: UInt16 = 0x5659
    /// The interface version that every VMware product answers to GETVERSION.
    public static let version: UInt32 = 6

    public static let getVersion: UInt16 = 10
    public static let message: UInt16 = 30
    /// EBX of a high-bandwidth message transfer: the guest's own status, success, over command 0.
    public static let highBandwidthMessage: UInt32 = 0x0001_0000
}

/// The steps of a message (the sub-command in ECX's high half).
public enum MessageStep: UInt16, Sendable, CaseIterable {
    case open = 0
    case sendSize = 1
    case sendPayload = 2
    case receiveSize = 3
    case receivePayload = 4
    case receiveStatus = 5
    case close = 6
}

/// The host's answer to a message step.
public struct MessageStatus: OptionSet, Equatable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let success = MessageStatus(rawValue: 0x01)
    /// A message waits for the guest.
    public static let doReceive = MessageStatus(rawValue: 0x02)
    /// The VM was suspended, resumed, moved or snapshotted meanwhile: the message must start again.
    public static let checkpoint = MessageStatus(rawValue: 0x10)
    /// The payload of this message may go by the high-bandwidth port.
    public static let highBandwidth = MessageStatus(rawValue: 0x80)
}

/// What a channel is opened for (EBX of OPEN).
public enum MessageProtocol {
    /// "RPCI": requests from the guest to the host.
    public static let rpci: UInt32 = 0x4943_5052
    /// Asks for cookies, which keep other processes of the guest out of the channel.
    public static let cookieFlag: UInt32 = 0x8000_0000
}

extension UInt64 {
    /// The half of a register that means something; what the host leaves in the other is unspecified.
    @inline(__always) public var low32: UInt32 { UInt32(truncatingIfNeeded: self) }
    @inline(__always) public var low16: UInt16 { UInt16(truncatingIfNeeded: self) }
    /// Bits 31 to 16.
    @inline(__always) public var high16: UInt16 { UInt16(truncatingIfNeeded: self >> 16) }
    /// A register made of two 16-bit halves; bits 63 to 32 are zero.
    @inline(__always) public init(high16: UInt16, low16: UInt16) { self = UInt64(high16) << 16 | UInt64(low16) }
}
