/// The interrupt descriptor table of the guest's first vCPU (Intel SDM volume 3, chapter 6.14).
enum InterruptDescriptorTable {
    /// Linux' final IDT: the read-only alias at the start of its cpu_entry_area, the same with four and five levels of
    /// page tables and with KASLR. Linux loads it late in its interrupt set-up, long before the first process.
    static let linuxFinalBase: UInt64 = 0xFFFF_FE00_0000_0000
    static let linuxFinalLimit: UInt64 = 0xFFF

    static let generalProtection = 13
    static let pageFault = 14

    /// Base and limit from the `IDT=` line of the monitor command `info registers`.
    static func location(in registers: String) -> (base: UInt64, limit: UInt64)? {
        for line in registers.split(whereSeparator: \.isNewline) where line.hasPrefix("IDT=") {
            let fields = line.dropFirst("IDT=".count).split(separator: " ")
            guard fields.count >= 2, let base = UInt64(fields[0], radix: 16), let limit = UInt64(fields[1], radix: 16) else { return nil }
            return (base, limit)
        }
        return nil
    }

    /// Entry point of a vector's 64-bit gate in the table's bytes; nil unless it is a present interrupt or trap gate that
    /// leads into the upper half.
    static func entryPoint(_ vector: Int, in table: [UInt8]) -> UInt64? {
        guard let low = UInt64(littleEndian: table, at: vector * 16), let high = UInt64(littleEndian: table, at: vector * 16 + 8) else {
            return nil
        }
        let type = low >> 40 & 0x9F
        guard type == 0x8E || type == 0x8F else { return nil }
        let entry = (low & 0xFFFF) | (low >> 32 & 0xFFFF_0000) | (high << 32)
        return entry >> 47 == 0x1FFFF ? entry : nil
    }
}
