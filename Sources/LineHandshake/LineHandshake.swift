/// How an SSH connection begins on a serial line, which has no connections of its own (docs/attach.md).
///
/// The client begins, with a number of its own choice, and the server answers with one of its own:
///
///     client: SYN p    server: ACK p+1 q    client: ACK q+1    server: ACK, and from here on SSH
///
/// Sums are modulo 256. A side that gets something else in place of an ACK answers NAK, and the client begins anew, as it does
/// when no answer comes within a second. What counts are the last bytes that came: a line holds what a boot loader, noise or an
/// earlier client left in it. This is what VIC's VCH speaks, byte for byte.
public enum LineHandshake {
    static let syn: UInt8 = 0x16
    static let ack: UInt8 = 0x06
    static let nak: UInt8 = 0x15
    /// What an SSH client says first (RFC 4253, 4.2).
    static let banner: [UInt8] = Array("SSH-2.0-".utf8)
    static let millisecond: Int64 = 1_000_000
}

/// Finds the beginning of a client's banner in a stream, also across the pieces in which it comes.
struct BannerFinder {
    private var matched = 0

    /// - Returns: how many bytes of the piece are before the end of the banner's beginning; nil when it is not in there.
    mutating func find(_ bytes: UnsafeRawBufferPointer) -> Int? {
        for (index, byte) in bytes.enumerated() {
            // "S" is the first letter and the second one; after a mismatch nothing longer than "S" or "SS" can go on.
            if byte == LineHandshake.banner[matched] {
                matched += 1
            } else if byte == LineHandshake.banner[0] {
                matched = matched == 2 ? 2 : 1
            } else {
                matched = 0
            }
            if matched == LineHandshake.banner.count {
                matched = 0
                return index + 1
            }
        }
        return nil
    }
}

/// Numbers that differ from try to try, so that an answer to an earlier one is not taken for this one's (splitmix64).
///
/// They keep nobody out: whoever can write to the line can read it as well. SSH authenticates.
struct HandshakeNumbers {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// 0–254, as VIC chooses them.
    mutating func next() -> UInt8 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return UInt8(truncatingIfNeeded: mixed % 255)
    }
}
