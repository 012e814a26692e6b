import GuestInfo
import Testing

@testable import VirtualMachine

/// Page tables built by hand in a dictionary of physical pages.
private struct PhysicalMemory {
    var pages: [UInt64: [UInt8]] = [:]

    func block(_ address: UInt64) -> [UInt8] {
        guard let page = pages[address & ~0xFFF] else { return [UInt8](repeating: 0, count: PageTables.blockSize) }
        let start = Int(address & 0xFFF)
        return Array(page[start..<start + PageTables.blockSize])
    }

    mutating func set(_ table: UInt64, _ index: Int, _ entry: UInt64) {
        pages[table, default: [UInt8](repeating: 0, count: 4096)].replaceSubrange(index * 8..<index * 8 + 8, with: entry.littleEndianBytes)
    }
}

@Suite struct PageTablesTests {
    private let address: UInt64 = 0x0000_7F12_3456_7ABC
    private func index(_ level: Int) -> Int { Int(address >> (12 + 9 * UInt64(level)) & 511) }

    private func translate(_ memory: PhysicalMemory, cr3: UInt64 = 0x1000, cr4: UInt64 = 0) -> PageTables.Translation? {
        var tables = PageTables(cr3: cr3, cr4: cr4)
        return tables.translate(address) { memory.block($0) }
    }

    @Test func walksFourLevels() {
        var memory = PhysicalMemory()
        memory.set(0x1000, index(3), 0x2007)
        memory.set(0x2000, index(2), 0x3007)
        memory.set(0x3000, index(1), 0x4007)
        memory.set(0x4000, index(0), 0x8000_0000_00AB_C067)
        // CR3's low bits hold a process-context identifier, an entry's top bit forbids execution.
        let found = translate(memory, cr3: 0x1005)
        #expect(found?.physical == 0xAB_CABC)
        #expect(found?.isWritable == true)
        #expect(found?.isUser == true)
        #expect(found?.entryAddress == 0x4000 + UInt64(index(0)) * 8)
        #expect(found?.entry == 0x8000_0000_00AB_C067)
    }

    @Test func walksFiveLevels() {
        var memory = PhysicalMemory()
        memory.set(0x9000, index(4), 0x1007)
        memory.set(0x1000, index(3), 0x2007)
        memory.set(0x2000, index(2), 0x3007)
        memory.set(0x3000, index(1), 0x4007)
        memory.set(0x4000, index(0), 0xABC067)
        #expect(translate(memory, cr3: 0x9000, cr4: 1 << 12)?.physical == 0xAB_CABC)
        #expect(translate(memory, cr3: 0x9000) == nil)
    }

    @Test(arguments: [1, 2]) func findsLargePages(level: Int) {
        var memory = PhysicalMemory()
        memory.set(0x1000, index(3), 0x2007)
        memory.set(0x2000, index(2), level == 2 ? 0x8000_00E7 : 0x3007)
        memory.set(0x3000, index(1), 0x8000_00E7)
        let within = address & (level == 2 ? 0x3FFF_FFFF : 0x1F_FFFF)
        #expect(translate(memory)?.physical == 0x8000_0000 | within)
    }

    @Test func combinesRightsOfAllLevels() {
        var memory = PhysicalMemory()
        memory.set(0x1000, index(3), 0x2007)
        memory.set(0x2000, index(2), 0x3005)  // read-only here
        memory.set(0x3000, index(1), 0x4007)
        memory.set(0x4000, index(0), 0xABC003)  // the kernel's here
        let found = translate(memory)
        #expect(found?.isWritable == false)
        #expect(found?.isUser == false)
    }

    @Test(arguments: 0...3) func seesAbsentPages(level: Int) {
        var memory = PhysicalMemory()
        for (number, table) in zip([3, 2, 1, 0], [0x1000, 0x2000, 0x3000, 0x4000] as [UInt64]) {
            memory.set(table, index(number), table + 0x1000 | (number == level ? 6 : 7))
        }
        #expect(translate(memory) == nil)
    }
}

@Suite struct InterruptDescriptorTableTests {
    @Test func findsTheTableInTheMonitorsText() throws {
        let text =
            "TR =0040 fffffe0000003000 00004087 00008b00\r\nGDT=     fffffe0000001000 0000007f\r\nIDT=     fffffe0000000000 00000fff\r\nCR0=80050033"
        let found = try #require(InterruptDescriptorTable.location(in: text))
        #expect(found.base == InterruptDescriptorTable.linuxFinalBase)
        #expect(found.limit == InterruptDescriptorTable.linuxFinalLimit)
        #expect(InterruptDescriptorTable.location(in: "GDT= 1 2") == nil)
        #expect(InterruptDescriptorTable.location(in: "IDT= xyz 2") == nil)
    }

    private func table(_ entry: UInt64, type: UInt64 = 0x8E) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        let low = (entry & 0xFFFF) | 0x10 << 16 | type << 40 | (entry >> 16 & 0xFFFF) << 48
        bytes.replaceSubrange(13 * 16..<13 * 16 + 8, with: low.littleEndianBytes)
        bytes.replaceSubrange(13 * 16 + 8..<14 * 16, with: (entry >> 32).littleEndianBytes)
        return bytes
    }

    @Test func decodesGates() {
        #expect(InterruptDescriptorTable.entryPoint(13, in: table(0xFFFF_FFFF_8AC0_0B20)) == 0xFFFF_FFFF_8AC0_0B20)
        #expect(InterruptDescriptorTable.entryPoint(14, in: table(0xFFFF_FFFF_8AC0_0B20)) == nil)
        #expect(InterruptDescriptorTable.entryPoint(13, in: table(0x0000_0000_0040_1000)) == nil)
        #expect(InterruptDescriptorTable.entryPoint(13, in: table(0xFFFF_FFFF_8AC0_0B20, type: 0x0E)) == nil)
        #expect(InterruptDescriptorTable.entryPoint(13, in: []) == nil)
    }
}

@Suite struct BackdoorAccessTests {
    private func frame(cs: UInt64 = 0x33, error: UInt64 = 0, flags: UInt64 = 0x246) throws -> ExceptionFrame {
        try #require(ExceptionFrame([error, 0x401000, cs, flags, 0x7FFF_0000, 0x2B].flatMap(\.littleEndianBytes)))
    }
    private let magic: UInt64 = 0x564D_5868

    @Test func recognisesTheThreeInstructions() throws {
        let frame = try frame()
        #expect(BackdoorAccess(rax: magic, rdx: 0x0001_5658, frame: frame, code: [0xED, 0x90]) == .lowBandwidth)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: frame, code: [0xEF, 0x90]) == .lowBandwidth)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5659, frame: frame, code: [0xF3, 0x6E]) == .highBandwidthOut)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5659, frame: frame, code: [0xF3, 0x6C]) == .highBandwidthIn)
        // Only RAX's low half is the magic number.
        #expect(BackdoorAccess(rax: 0xDEAD_BEEF << 32 | magic, rdx: 0x5658, frame: frame, code: [0xED, 0x90]) == .lowBandwidth)
    }

    @Test func leavesOtherFaultsToTheKernel() throws {
        let user = try frame()
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: try frame(cs: 0x10), code: [0xED, 0x90]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: try frame(error: 8), code: [0xED, 0x90]) == nil)
        #expect(BackdoorAccess(rax: 1, rdx: 0x5658, frame: user, code: [0xED, 0x90]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x60, frame: user, code: [0xED, 0x90]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: user, code: [0xF4, 0x90]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5659, frame: user, code: [0xED, 0x90]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: user, code: [0xF3, 0x6E]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5659, frame: try frame(flags: 0x646), code: [0xF3, 0x6E]) == nil)
        #expect(BackdoorAccess(rax: magic, rdx: 0x5658, frame: user, code: [0xED]) == nil)
    }

    @Test func readsFrames() throws {
        let frame = try frame(cs: 0x23)
        #expect(frame.isUserMode && !frame.isLongMode && frame.rip == 0x401000)
        #expect(ExceptionFrame([UInt8](repeating: 0, count: 47)) == nil)
    }

    @Test func faultsHaveTheProcessorsErrorCodes() {
        #expect(PageFault(address: 0, isProtection: false, isWrite: false).errorCode == 4)
        #expect(PageFault(address: 0, isProtection: true, isWrite: true).errorCode == 7)
    }
}
