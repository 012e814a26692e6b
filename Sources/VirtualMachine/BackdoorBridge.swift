import GuestInfo
import GuestInfoHost
import Linux
import Logging

/// Serves the VMware backdoor to the processes of a guest in an unmodified QEMU, over QEMU's gdb stub.
///
/// VMware's monitor answers the two backdoor ports at any privilege level. Under QEMU the same instruction raises #GP in
/// ring 3. So the bridge stops the VM at the guest kernel's #GP entry, before its first instruction has run, where the
/// process's registers are still in place and the exception frame lies on the stack. If the faulting instruction is a
/// backdoor access, the model of the host answers it, the registers and the frame's RIP are changed, and the vCPU goes on
/// at an `iretq` of the kernel: the kernel never sees the fault, the process sees the answer. Any other fault is left to
/// the kernel.
///
/// One thread: the owner calls ``readable()`` and ``timer()`` from its poll loop; each returns within a few round trips.
final class BackdoorBridge {
    struct Statistics: Equatable {
        /// Accesses answered.
        var accesses = 0
        /// #GPs that were none.
        var otherFaults = 0
        /// Page faults injected so that the guest brings in a buffer's page.
        var pageFaults = 0
        /// Stops made while waiting for the kernel's IDT.
        var polls = 0
    }

    /// The kernel's entry points that the bridge uses.
    private struct KernelEntries {
        var generalProtection: UInt64
        var pageFault: UInt64
        /// An `iretq` in the text that is mapped in every address space.
        var iretq: UInt64
    }

    private enum State {
        /// The kernel has not loaded its final IDT yet: firmware, boot loader, early boot.
        case searching
        case serving(KernelEntries)
    }

    private let client: GDBClient
    private let host: GuestInfoHost
    private let usesHardwareBreakpoint: Bool
    private let log: Logger
    private var state = State.searching
    private let started = Clock.monotonic()
    private(set) var statistics = Statistics()
    /// Where each vCPU's frame lay last time, and where the last access came from: read ahead in the same round trip.
    private var lastStack: [String: UInt64] = [:]
    private var lastAccess: UInt64 = 0
    /// The page that was last brought in by a fault.
    private var lastFault: UInt64 = 0
    /// When the next look at the IDT is due; nil once it was found.
    private(set) var nextPoll: Deadline?

    /// A transfer longer than this fails without its buffer being looked at; the longest value is 1 MiB.
    static let maximumTransfer: UInt64 = 2 << 20
    /// While the kernel boots, and when it takes so long that the guest may have none (a boot loader's prompt).
    private static let pollInterval: Int64 = 20
    private static let slowPollInterval: Int64 = 200
    private static let slowPollAfter: Int64 = 60_000_000_000

    /// - Parameters:
    ///   - client: connected to a QEMU that was started with `-S`.
    ///   - usesHardwareBreakpoint: true under KVM, where the guest's text is not to be patched.
    init(client: GDBClient, host: GuestInfoHost, usesHardwareBreakpoint: Bool, log: Logger) {
        self.client = client
        self.host = host
        self.usesHardwareBreakpoint = usesHardwareBreakpoint
        self.log = log
    }

    /// Whether the guest kernel's entry points are known: Linux is up that far, and the backdoor answers.
    var isServing: Bool { if case .serving = state { true } else { false } }

    var descriptor: Int32 { client.descriptor }

    /// Connects and lets the VM run.
    func start() throws(VirtualMachineError) {
        try client.handshake()
        try client.resume()
        nextPoll = .after(milliseconds: Self.pollInterval)
    }

    /// Looks whether Linux has loaded its IDT. To be called when ``nextPoll`` has passed.
    func timer() throws(VirtualMachineError) {
        guard case .searching = state, let due = nextPoll, due.hasPassed else { return }
        statistics.polls += 1
        try check(stop: try stopMachine())
        if let entries = try findEntries() {
            let breakpoint = breakpointCommand("Z", entries)
            guard try client.exchange([breakpoint]).first == Array("OK".utf8) else {
                throw VirtualMachineError("set a breakpoint", "at the guest kernel's #GP entry", "the gdb stub refused")
            }
            state = .serving(entries)
            nextPoll = nil
            log.debug(
                "backdoor bridge ready",
                metadata: [
                    "gp": "\(String(entries.generalProtection, radix: 16))", "polls": "\(statistics.polls)",
                    "milliseconds": "\((Clock.monotonic() - started) / 1_000_000)",
                ])
        } else {
            let isSlow = Clock.monotonic() - started > Self.slowPollAfter
            nextPoll = .after(milliseconds: isSlow ? Self.slowPollInterval : Self.pollInterval)
        }
        try client.resume()
    }

    /// Stops the VM. Firmware that switches the processor's mode can make the stub lose a request, so it is repeated.
    private func stopMachine() throws(VirtualMachineError) -> [UInt8] {
        for _ in 0..<9 {
            try client.interrupt()
            if let packet = try client.receiveIfAny(by: .after(milliseconds: 1000)) { return packet }
            log.debug("the gdb stub did not stop the VM; asking again")
        }
        try client.interrupt()
        return try client.receive(by: .after(milliseconds: 10_000))
    }

    /// Handles what the stub has sent. To be called when ``descriptor`` is readable.
    /// - Returns: false when QEMU has closed the connection.
    func readable() throws(VirtualMachineError) -> Bool {
        do throws(VirtualMachineError) {
            while let packet = try client.packetIfAny() { try handle(packet) }
            return true
        } catch {
            if error.cause == GDBClient.endOfFile { return false }
            throw error
        }
    }

    // MARK: Finding the kernel

    private func findEntries() throws(VirtualMachineError) -> KernelEntries? {
        guard let table = InterruptDescriptorTable.location(in: try client.monitor("info registers")),
            table.base == InterruptDescriptorTable.linuxFinalBase, table.limit == InterruptDescriptorTable.linuxFinalLimit,
            // The IDTR is loaded before every gate is in its final place; both gates are checked below.
            let gates = try client.readMemory(table.base, 16 * 16),
            let generalProtection = InterruptDescriptorTable.entryPoint(InterruptDescriptorTable.generalProtection, in: gates),
            let pageFault = InterruptDescriptorTable.entryPoint(InterruptDescriptorTable.pageFault, in: gates)
        else { return nil }
        // All exception entries lie in .entry.text, which is mapped in every address space, also under page-table
        // isolation; its first pages hold more than one iretq.
        let text = generalProtection & ~0xFFF
        guard let code = try client.readMemory(text, 0x4000),
            let offset = code.indices.dropLast().first(where: { code[$0] == 0x48 && code[$0 + 1] == 0xCF })
        else {
            throw VirtualMachineError("find an iretq", "in the guest kernel's entry text", "the kernel is not laid out as Linux is")
        }
        return KernelEntries(generalProtection: generalProtection, pageFault: pageFault, iretq: text + UInt64(offset))
    }

    private func breakpointCommand(_ verb: String, _ entries: KernelEntries) -> [UInt8] {
        Array("\(verb)\(usesHardwareBreakpoint ? 1 : 0),\(String(entries.generalProtection, radix: 16)),1".utf8)
    }

    // MARK: Stops

    private func handle(_ packet: [UInt8]) throws(VirtualMachineError) {
        switch packet.first {
        case UInt8(ascii: "T"), UInt8(ascii: "S"): break
        case UInt8(ascii: "W"), UInt8(ascii: "X"): return  // QEMU is about to exit and close the connection.
        default:
            log.debug("unexpected packet from the gdb stub", metadata: ["packet": "\(GDBClient.text(packet))"])
            return
        }
        let thread = try check(stop: packet)
        guard case .serving(let entries) = state, let thread else { return try client.resume() }
        try serve(thread, entries)
    }

    /// Takes apart a stop reply.
    /// - Returns: the vCPU that stopped, as gdb's thread id, if it says so.
    /// - Throws: when the VM cannot run on.
    @discardableResult
    private func check(stop packet: [UInt8]) throws(VirtualMachineError) -> String? {
        guard packet.count >= 3, let signal = Hexadecimal.decode(packet[1..<3])?.first else { return nil }
        switch signal {
        case 2, 5: break  // SIGINT: stopped on request; SIGTRAP: a breakpoint or a finished step.
        case 3: break  // SIGQUIT: the guest has shut down; QEMU exits.
        case 6: throw VirtualMachineError("run the VM", "", "the processor emulation gave up (KVM internal error)")
        default: throw VirtualMachineError("run the VM", "", "QEMU stopped it with gdb signal \(signal)")
        }
        for field in String(decoding: packet.dropFirst(3), as: UTF8.self).split(separator: ";") where field.hasPrefix("thread:") {
            return String(field.dropFirst("thread:".count))
        }
        return nil
    }

    private func serve(_ thread: String, _ entries: KernelEntries) throws(VirtualMachineError) {
        var commands = [Array("Hg\(thread)".utf8), Array("g".utf8)]
        let predictedStack = lastStack[thread]
        if let predictedStack {
            commands.append(GDBClient.readCommand(predictedStack, ExceptionFrame.size))
            commands.append(GDBClient.readCommand(lastAccess, 2))
        }
        let replies = try client.exchange(commands)
        let registers = try client.registers(replies[1])
        guard registers["rip"] == entries.generalProtection else { return try client.resume() }

        let stack = registers["rsp"]
        var frameBytes: [UInt8]? = nil
        if let predictedStack, predictedStack == stack { frameBytes = Hexadecimal.decode(replies[2]) }
        if frameBytes == nil { frameBytes = try client.readMemory(stack, ExceptionFrame.size) }
        guard let frame = frameBytes.flatMap({ ExceptionFrame($0) }) else {
            throw VirtualMachineError("read the exception frame", "at \(String(stack, radix: 16))", "the memory cannot be read")
        }
        guard BackdoorAccess.isPossible(rax: registers["rax"], rdx: registers["rdx"], frame: frame) else {
            return try stepOver(thread, entries)
        }
        var code: [UInt8]? = nil
        if predictedStack != nil, frame.rip == lastAccess { code = Hexadecimal.decode(replies[3]) }
        if code?.count != 2 { code = try client.readMemory(frame.rip, 2) }
        guard let code, let access = BackdoorAccess(rax: registers["rax"], rdx: registers["rdx"], frame: frame, code: code) else {
            return try stepOver(thread, entries)
        }
        lastStack[thread] = stack
        lastAccess = frame.rip
        try answer(access, registers, frame, stack: stack, entries)
    }

    /// Lets the kernel have a fault that is no backdoor access: its entry's first instruction runs on this vCPU alone
    /// while the breakpoint is out, so that no other vCPU can slip past.
    private func stepOver(_ thread: String, _ entries: KernelEntries) throws(VirtualMachineError) {
        statistics.otherFaults += 1
        let replies = try client.exchange([breakpointCommand("z", entries), Array("vCont;s:\(thread)".utf8)])
        if let stop = replies.last { try check(stop: stop) }
        try client.resume(after: [breakpointCommand("Z", entries)])
    }

    // MARK: Answers

    private func answer(
        _ access: BackdoorAccess, _ registers: GDBRegisters, _ frame: ExceptionFrame, stack: UInt64, _ entries: KernelEntries
    ) throws(VirtualMachineError) {
        // A 32-bit process's upper halves mean nothing.
        let mask: UInt64 = frame.isLongMode ? .max : 0xFFFF_FFFF
        let before = BackdoorRegisters(registers, mask: mask)
        var after = before

        switch access {
        case .lowBandwidth:
            host.lowBandwidth(&after)
        case .highBandwidthOut, .highBandwidthIn:
            let isOut = access == .highBandwidthOut
            let buffer = isOut ? before.rsi : before.rdi
            let count = before.rcx
            let isServable = count <= Self.maximumTransfer && !buffer.addingReportingOverflow(count).overflow
            // The pages are looked at before the model is asked: an access that must be repeated has had no effect.
            if isServable, let fault = try bufferFault(registers, buffer, count, isWrite: !isOut) {
                return try inject(fault, stack: stack, entries)
            }
            if isOut {
                let isTaken = isServable && count <= UInt64(host.highBandwidthLimit)
                host.highBandwidthOut(&after, message: isTaken ? try client.readMemory(buffer, Int(count)) ?? [] : [])
            } else {
                let bytes = host.highBandwidthIn(&after)
                if isServable, UInt64(bytes.count) <= count { try client.writeMemory(buffer, bytes) }
            }
        }

        statistics.accesses += 1
        var commands: [[UInt8]] = []
        for (name, path) in BackdoorRegisters.names where after[keyPath: path] != before[keyPath: path] {
            commands.append(try client.setRegister(name, after[keyPath: path]))
        }
        // Behind the instruction; and out of the kernel again by its own iretq, past the error code it does not expect.
        commands.append(GDBClient.writeCommand(stack &+ 8, (frame.rip &+ access.length).littleEndianBytes))
        commands.append(try client.setRegister("rsp", stack &+ 8))
        commands.append(try client.setRegister("rip", entries.iretq))
        try client.resume(after: commands)
    }

    /// The fault the processor would raise on the buffer's first unsuitable page; nil when all are present with the
    /// rights that the access needs.
    ///
    /// A debugger's write would go through to a page that the process shares with others until it writes to it
    /// (copy-on-write, the zero page), so the guest's own page-fault handler must come first.
    private func bufferFault(
        _ registers: GDBRegisters, _ buffer: UInt64, _ count: UInt64, isWrite: Bool
    ) throws(VirtualMachineError) -> PageFault? {
        if count == 0 { return nil }
        var tables = PageTables(cr3: registers["cr3"], cr4: registers["cr4"])
        let first = buffer & ~0xFFF
        let pages = ((buffer &+ (count - 1)) & ~0xFFF &- first) / 0x1000 + 1
        // A long buffer faults page by page: the page behind the last one brought in is the likeliest to be missing.
        let hint = lastFault &- first < pages * 0x1000 ? (lastFault &- first) / 0x1000 : 0
        return try client.withPhysicalMemory { () throws(VirtualMachineError) in
            for number in 0..<pages {
                let page = first &+ (number + hint) % pages * 0x1000
                let translation = try tables.translate(page) { (block) throws(VirtualMachineError) in
                    guard let bytes = try client.readMemory(block, PageTables.blockSize) else {
                        throw VirtualMachineError("read a page table", "at \(String(block, radix: 16))", "the memory cannot be read")
                    }
                    return bytes
                }
                guard let translation, translation.isUser, translation.isWritable || !isWrite else {
                    lastFault = page
                    return PageFault(address: max(page, buffer), isProtection: translation != nil, isWrite: isWrite)
                }
                let bits = PageTables.Translation.accessedAndDirty
                if isWrite, translation.entry & bits != bits {
                    // What the processor does when it writes: without the dirty bit the kernel may drop the page.
                    try client.writeMemory(translation.entryAddress, (translation.entry | bits).littleEndianBytes)
                }
            }
            return nil
        }
    }

    /// Delivers a page fault as the processor would have, had the instruction been allowed: the frame is there already,
    /// with the address of the instruction, so only error code and CR2 are missing. The process then tries again.
    private func inject(_ fault: PageFault, stack: UInt64, _ entries: KernelEntries) throws(VirtualMachineError) {
        statistics.pageFaults += 1
        log.trace(
            "page fault for the guest",
            metadata: [
                "address": "\(String(fault.address, radix: 16))", "error": "\(fault.errorCode)",
            ])
        try client.resume(after: [
            GDBClient.writeCommand(stack, fault.errorCode.littleEndianBytes),
            try client.setRegister("cr2", fault.address),
            try client.setRegister("rip", entries.pageFault),
        ])
    }
}

/// A page fault of ring 3 (Intel SDM volume 3, chapter 4.7).
struct PageFault: Equatable {
    let address: UInt64
    /// The page is present but may not be used so.
    let isProtection: Bool
    let isWrite: Bool

    var errorCode: UInt64 { (isProtection ? 1 : 0) | (isWrite ? 2 : 0) | 4 }
}

extension BackdoorRegisters {
    /// gdb's names of the registers an access works on.
    static var names: [(String, WritableKeyPath<BackdoorRegisters, UInt64>)] {
        [("rax", \.rax), ("rbx", \.rbx), ("rcx", \.rcx), ("rdx", \.rdx), ("rsi", \.rsi), ("rdi", \.rdi), ("rbp", \.rbp)]
    }

    init(_ registers: GDBRegisters, mask: UInt64) {
        self.init()
        for (name, path) in Self.names { self[keyPath: path] = registers[name] & mask }
    }
}
