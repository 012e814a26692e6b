import CLinux
import Linux

/// A connection to a gdb stub over a connected stream socket.
///
/// Not a debugger's client but a pipe for commands: many commands go out in one write and their answers are collected
/// in order, because a round trip costs more than the command.
final class GDBClient {
    private let socket: FileDescriptor
    private var decoder = GDBPacketDecoder()
    /// The end of what was sent last, for error messages.
    private var lastSent: [UInt8] = []
    private var target = GDBTargetDescription()
    /// The longest wait for QEMU to answer one batch of commands, milliseconds.
    private let patience: Int64
    /// What one `m` or `M` packet moves. QEMU's packets hold 4096 characters, so 2048 bytes less the command itself.
    private static let chunk = 2000
    /// Commands in flight at once: keeps what the stub has to queue well below a socket's buffer.
    private static let window = 32

    /// - Parameter patience: the longest wait for an answer, milliseconds.
    init(owning socket: consuming FileDescriptor, patience: Int64 = 10_000) throws(VirtualMachineError) {
        self.socket = socket
        self.patience = patience
        try system { () throws(SyscallError) in try self.socket.setNonBlocking() }
    }

    /// For poll(2); never to be closed.
    var descriptor: Int32 { socket.rawValue }

    // MARK: Commands

    /// Tells the stub who we are and learns its register layout. Without reading the description QEMU refuses to write
    /// single registers.
    func handshake() throws(VirtualMachineError) {
        _ = try command("qSupported:xmlRegisters=i386")
        var documents = ["target.xml"]
        var seen = 0
        while seen < documents.count, seen < 64 {
            documents += target.add(try features(documents[seen]))
            seen += 1
        }
        for name in ["rip", "rsp", "cr2", "cr3", "cr4"] where target.registers[name] == nil {
            throw failure("read the register layout", "the stub describes no register \(name)")
        }
    }

    private func features(_ document: String) throws(VirtualMachineError) -> String {
        var text: [UInt8] = []
        while text.count < GDBPacketDecoder.limit {
            let reply = try command("qXfer:features:read:\(document):\(String(text.count, radix: 16)),ffb")
            guard let first = reply.first, first == UInt8(ascii: "m") || first == UInt8(ascii: "l") else {
                throw failure("read \(document)", Self.text(reply))
            }
            text += reply.dropFirst()
            if first == UInt8(ascii: "l") || reply.count == 1 { break }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// One command and its answer.
    func command(_ text: String) throws(VirtualMachineError) -> [UInt8] {
        try exchange([Array(text.utf8)]).first ?? []
    }

    /// Sends all commands without waiting in between.
    /// - Returns: their answers, in order.
    func exchange(_ commands: [[UInt8]]) throws(VirtualMachineError) -> [[UInt8]] {
        var replies: [[UInt8]] = []
        replies.reserveCapacity(commands.count)
        var start = 0
        while start < commands.count {
            let end = min(start + Self.window, commands.count)
            // A leading "+" acknowledges the stub's answer before: it is held back until here because any byte that
            // arrives while the VM runs stops it.
            try send(commands[start..<end].flatMap { [UInt8(ascii: "+")] + GDBPacket.encode($0) })
            let deadline = Deadline.after(milliseconds: patience)
            while replies.count < end { replies.append(try receive(by: deadline)) }
            start = end
        }
        return replies
    }

    /// Runs a command of QEMU's human monitor and returns what it prints.
    func monitor(_ line: String) throws(VirtualMachineError) -> String {
        try send([UInt8(ascii: "+")] + GDBPacket.encode(Array("qRcmd,".utf8) + Hexadecimal.encode(line.utf8)))
        let deadline = Deadline.after(milliseconds: patience)
        var output: [UInt8] = []
        while true {
            let reply = try receive(by: deadline)
            if reply == Array("OK".utf8) { return String(decoding: output, as: UTF8.self) }
            guard reply.first == UInt8(ascii: "O"), let text = Hexadecimal.decode(reply.dropFirst()) else {
                throw failure("monitor command \(line)", Self.text(reply))
            }
            output += text
            guard output.count < GDBPacketDecoder.limit else { throw failure("monitor command \(line)", "its output does not end") }
        }
    }

    /// Lets all vCPUs run; sends `commands` in the same write first and checks that each is answered with OK.
    func resume(after commands: [[UInt8]] = []) throws(VirtualMachineError) {
        for (command, reply) in zip(commands, try exchange(commands)) where reply != Array("OK".utf8) {
            throw failure("command \(Self.text(command))", "the stub answers “\(Self.text(reply))”")
        }
        try send(Array("+$c#63".utf8))
    }

    /// Stops the VM; the stub then sends a stop reply.
    func interrupt() throws(VirtualMachineError) { try send([0x03]) }

    /// The next packet if one is there already, else nil. Throws at end of file.
    func packetIfAny() throws(VirtualMachineError) -> [UInt8]? {
        if let packet = try decoded() { return packet }
        _ = try fill()
        return try decoded()
    }

    /// The next packet, waited for until `deadline`; nil when none came.
    func receiveIfAny(by deadline: Deadline) throws(VirtualMachineError) -> [UInt8]? {
        while true {
            if let packet = try decoded() { return packet }
            if try fill() { continue }
            if deadline.hasPassed { return nil }
            try wait(Int16(POLLIN), until: deadline)
        }
    }

    /// As ``receiveIfAny(by:)``, but it is an error when nothing comes.
    func receive(by deadline: Deadline) throws(VirtualMachineError) -> [UInt8] {
        if let packet = try receiveIfAny(by: deadline) { return packet }
        throw failure("wait for an answer", "nothing came within \(patience) ms after “\(Self.text(lastSent))”")
    }

    // MARK: Memory and registers

    /// All registers of the selected vCPU, from a `g` packet's answer.
    func registers(_ reply: [UInt8]) throws(VirtualMachineError) -> GDBRegisters {
        guard let bytes = Hexadecimal.decode(reply) else { throw failure("read registers", Self.text(reply)) }
        return GDBRegisters(bytes: bytes, target: target)
    }

    /// The `P` command that sets a register, or nil when the stub has none of that name.
    func setRegister(_ name: String, _ value: UInt64) throws(VirtualMachineError) -> [UInt8] {
        guard let register = target.registers[name], register.size <= 8 else {
            throw failure("set register \(name)", "the stub has no such register")
        }
        return Array("P\(String(register.number, radix: 16))=".utf8) + Hexadecimal.encode(value.littleEndianBytes.prefix(register.size))
    }

    /// The `m` command that reads up to 2000 bytes of the selected vCPU's address space.
    static func readCommand(_ address: UInt64, _ count: Int) -> [UInt8] {
        Array("m\(String(address, radix: 16)),\(String(count, radix: 16))".utf8)
    }

    /// The `M` command that writes up to 2000 bytes.
    static func writeCommand(_ address: UInt64, _ bytes: some Collection<UInt8>) -> [UInt8] {
        Array("M\(String(address, radix: 16)),\(String(bytes.count, radix: 16)):".utf8) + Hexadecimal.encode(bytes)
    }

    /// Reads memory as the selected vCPU sees it (or physical memory, in ``withPhysicalMemory(_:)``).
    /// - Returns: nil when a part of it cannot be read.
    func readMemory(_ address: UInt64, _ count: Int) throws(VirtualMachineError) -> [UInt8]? {
        let offsets = stride(from: 0, to: count, by: Self.chunk)
        let replies = try exchange(offsets.map { Self.readCommand(address &+ UInt64($0), min(Self.chunk, count - $0)) })
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        for reply in replies {
            guard reply.first != UInt8(ascii: "E"), let part = Hexadecimal.decode(reply) else { return nil }
            bytes += part
        }
        return bytes.count == count ? bytes : nil
    }

    /// Writes memory as the selected vCPU sees it, whatever its page protection.
    func writeMemory(_ address: UInt64, _ bytes: [UInt8]) throws(VirtualMachineError) {
        let commands = stride(from: 0, to: bytes.count, by: Self.chunk).map {
            Self.writeCommand(address &+ UInt64($0), bytes[$0..<min($0 + Self.chunk, bytes.count)])
        }
        for reply in try exchange(commands) where reply != Array("OK".utf8) {
            throw failure("write guest memory at \(String(address, radix: 16))", Self.text(reply))
        }
    }

    /// Runs `body` with memory commands going to guest-physical addresses.
    func withPhysicalMemory<Result>(_ body: () throws(VirtualMachineError) -> Result) throws(VirtualMachineError) -> Result {
        guard try command("Qqemu.PhyMemMode:1") == Array("OK".utf8) else {
            throw failure("switch to physical memory", "the stub does not know Qqemu.PhyMemMode (QEMU 4.1 or newer is needed)")
        }
        let result: Result
        do throws(VirtualMachineError) { result = try body() } catch {
            _ = try? command("Qqemu.PhyMemMode:0")
            throw error
        }
        _ = try command("Qqemu.PhyMemMode:0")
        return result
    }

    // MARK: I/O

    private func send(_ bytes: [UInt8]) throws(VirtualMachineError) {
        lastSent = Array(bytes.suffix(80))
        let deadline = Deadline.after(milliseconds: patience)
        var sent = 0
        while sent < bytes.count {
            let count: Int?
            do throws(SyscallError) {
                count = try bytes.withUnsafeBytesTyped { (buffer) throws(SyscallError) in
                    try socket.write(UnsafeRawBufferPointer(rebasing: buffer[sent...]))
                }
            } catch {
                throw error.errno == .brokenPipe ? failure("write", GDBClient.endOfFile) : VirtualMachineError(error)
            }
            if let count {
                sent += count
                continue
            }
            if deadline.hasPassed { throw failure("send a command", "QEMU took nothing within \(patience) ms") }
            // Answers are taken in while waiting, or both sides could wait for the other to read.
            _ = try fill()
            try wait(Int16(POLLIN | POLLOUT), until: deadline)
        }
    }

    /// Reads what is there. Returns whether anything was.
    private func fill() throws(VirtualMachineError) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count: Int?
        do throws(SyscallError) {
            count = try buffer.withUnsafeMutableBytesTyped { (bytes) throws(SyscallError) in try socket.read(into: bytes) }
        } catch {
            // What the end looks like when QEMU dies with commands unread.
            throw error.errno.rawValue == ECONNRESET ? failure("read", GDBClient.endOfFile) : VirtualMachineError(error)
        }
        guard let count else { return false }
        guard count > 0 else { throw failure("read", GDBClient.endOfFile) }
        decoder.append(buffer[..<count])
        return true
    }

    private func decoded() throws(VirtualMachineError) -> [UInt8]? {
        while true {
            let event: GDBPacketDecoder.Event?
            do throws(GDBPacketDecoder.Failure) { event = try decoder.next() } catch { throw failure("decode", error.description) }
            switch event {
            case .packet(let payload): return payload
            // A unix socket loses nothing, so QEMU has no reason to ask again.
            case .retransmissionRequest: throw failure("send a command", "the stub asks for it again")
            case .acknowledgement, .notification: continue
            case nil: return nil
            }
        }
    }

    private func wait(_ events: Int16, until deadline: Deadline) throws(VirtualMachineError) {
        var entry = pollfd(fd: socket.rawValue, events: events, revents: 0)
        try system { () throws(SyscallError) in
            _ = try attempt("poll", "the gdb socket") { poll(&entry, 1, deadline.pollTimeout) }
        }
    }

    /// The cause in the error that end of file gives.
    static let endOfFile = "QEMU closed the connection"

    private func failure(_ operation: String, _ cause: String) -> VirtualMachineError {
        VirtualMachineError(operation, "over QEMU's gdb stub", cause)
    }

    static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes.prefix(80), as: UTF8.self) }
}

/// The registers of one vCPU at a stop.
struct GDBRegisters {
    let bytes: [UInt8]
    let target: GDBTargetDescription

    /// A register's value by gdb's name for it; 0 when the stub does not have it.
    subscript(name: String) -> UInt64 { target.value(name, in: bytes) ?? 0 }
}

extension Array where Element == UInt8 {
    /// As `withUnsafeBytes`, with the closure's own error type.
    func withUnsafeBytesTyped<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let outcome = withUnsafeBytes { buffer in
            do throws(Failure) { return Swift.Result<Result, Failure>.success(try body(buffer)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    /// As `withUnsafeMutableBytes`, with the closure's own error type.
    mutating func withUnsafeMutableBytesTyped<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let outcome = withUnsafeMutableBytes { buffer in
            do throws(Failure) { return Swift.Result<Result, Failure>.success(try body(buffer)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
