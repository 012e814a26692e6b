/// Four- and five-level x86-64 page tables (Intel SDM volume 3, chapter 4.5), walked over guest-physical memory.
struct PageTables {
    /// Where a linear address leads, with the rights of all levels combined.
    struct Translation: Equatable {
        let physical: UInt64
        let isWritable: Bool
        let isUser: Bool
        /// Guest-physical address of the entry that maps the page, and its value.
        let entryAddress: UInt64
        let entry: UInt64

        /// Accessed and dirty bits, which the processor sets in the entry when an instruction writes to the page.
        static let accessedAndDirty: UInt64 = 0x60
    }

    /// The CR3 register. Bits 51:12 are the address of the top table.
    let cr3: UInt64
    /// CR4.LA57: five levels.
    let hasFiveLevels: Bool
    /// What is read at once: neighbouring pages have neighbouring entries, but a whole table is seldom needed.
    static let blockSize = 512
    /// Blocks of tables read so far. Valid while the vCPUs stand still.
    private var blocks: [UInt64: [UInt8]] = [:]

    init(cr3: UInt64, cr4: UInt64) {
        self.cr3 = cr3
        hasFiveLevels = cr4 & (1 << 12) != 0
    }

    private static let addressMask: UInt64 = 0x000F_FFFF_FFFF_F000

    /// - Parameter readBlock: reads the ``blockSize`` bytes at a guest-physical address.
    /// - Returns: nil when the page is not present.
    mutating func translate<Failure: Error>(
        _ address: UInt64, readBlock: (UInt64) throws(Failure) -> [UInt8]
    ) throws(Failure) -> Translation? {
        var table = cr3 & Self.addressMask
        var rights: UInt64 = 0b111
        var shift: UInt64 = hasFiveLevels ? 48 : 39
        while true {
            let entryAddress = table + (address >> shift & 511) * 8
            let block = entryAddress & ~UInt64(Self.blockSize - 1)
            let bytes: [UInt8]
            if let known = blocks[block] {
                bytes = known
            } else {
                bytes = try readBlock(block)
                blocks[block] = bytes
            }
            guard let entry = UInt64(littleEndian: bytes, at: Int(entryAddress - block)), entry & 1 != 0 else { return nil }
            rights &= entry
            // Bit 7 ends the walk early: a page of 1 GiB or 2 MiB.
            if shift == 12 || (shift == 30 || shift == 21) && entry & 0x80 != 0 {
                let within = (UInt64(1) << shift) - 1
                return Translation(
                    physical: entry & Self.addressMask & ~within | address & within, isWritable: rights & 2 != 0, isUser: rights & 4 != 0,
                    entryAddress: entryAddress, entry: entry)
            }
            table = entry & Self.addressMask
            shift -= 9
        }
    }
}
