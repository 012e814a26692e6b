/// By what a DHCP server knows a client again (RFC 4361): the same machine gets the same address, whatever becomes of its disk.
public enum ClientIdentifier {
    /// VMware's number at IANA, with which VIC's containers introduce themselves.
    private static let enterprise: UInt32 = 6876

    /// Option 61's value: type 255, four bytes for the adapter, and a DUID-EN (RFC 8415, section 11.3) of `machine`.
    ///
    /// - Parameter machine: the machine's UUID as its firmware has it; empty where it has none: then the adapter stands for it.
    public static func bytes(machine: String, macAddress: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0xFF]
        bytes += (Array(repeating: 0, count: 4) + macAddress).suffix(4)
        bytes += [0, 2]
        for shift in [UInt32(24), 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: enterprise >> shift)) }
        let hash = machine.isEmpty ? fowlerNollVo(macAddress) : fowlerNollVo(machine.utf8.map { $0 | (isLetter($0) ? 0x20 : 0) })
        for shift in stride(from: UInt64(56), through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: hash >> shift)) }
        return bytes
    }

    /// A UUID is the same in capitals.
    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) }

    /// FNV-1a of 64 bits: it has to be the same tomorrow, and to keep no secret.
    private static func fowlerNollVo(_ bytes: [UInt8]) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash
    }

    /// As the options of udhcpc are written.
    public static func hexadecimal(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in bytes { text += String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }
        return text
    }
}
