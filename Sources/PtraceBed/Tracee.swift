import CLinux
import CPtrace
import GuestInfo
import Linux

/// A stopped thread under trace: its registers and memory (ptrace(2)).
struct Tracee {
    let id: pid_t

    /// `si_code` of a fault that the processor raised without an address (SI_KERNEL).
    static var kernelSignalCode: Int32 { 128 }

    private var name: String { "process \(id)" }

    func registers() throws(SyscallError) -> cptrace_registers {
        var state = cptrace_registers()
        try attempt("ptrace PTRACE_GETREGS", name) { cptrace_get_registers(id, &state) }
        return state
    }

    func setRegisters(_ state: cptrace_registers) throws(SyscallError) {
        var state = state
        try attempt("ptrace PTRACE_SETREGS", name) { cptrace_set_registers(id, &state) }
    }

    /// Lets it run on, with `signal` delivered unless it is 0.
    func resume(delivering signal: Int32 = 0) throws(SyscallError) {
        try attempt("ptrace PTRACE_CONT", name) { cptrace_continue(id, signal) }
    }

    /// Leaves it in its group stop until SIGCONT.
    func listen() throws(SyscallError) {
        try attempt("ptrace PTRACE_LISTEN", name) { cptrace_listen(id) }
    }

    func signalCode() throws(SyscallError) -> Int32 {
        var code: Int32 = 0
        try attempt("ptrace PTRACE_GETSIGINFO", name) { cptrace_signal_code(id, &code) }
        return code
    }

    /// The new process of a fork event.
    func eventProcess() throws(SyscallError) -> pid_t {
        var process: Int32 = 0
        try attempt("ptrace PTRACE_GETEVENTMSG", name) { cptrace_event_process(id, &process) }
        return process
    }

    /// - Returns: as much of the range as is mapped and readable.
    func read(_ address: UInt64, _ length: Int) -> [UInt8] {
        guard length > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            count = max(0, Int(clamping: cptrace_read(id, address, buffer.baseAddress, UInt64(length))))
        }
    }

    /// - Returns: false when a part of the range is not writable for the process.
    func write(_ bytes: [UInt8], to address: UInt64) -> Bool {
        bytes.isEmpty || bytes.withUnsafeBytes { cptrace_write(id, address, $0.baseAddress, UInt64($0.count)) } == Int64(bytes.count)
    }

    /// Puts `ud2` in the place of each `cpuid` of the program's own text.
    ///
    /// The two bytes 0F A2 could also be a part of another instruction; in the text of one program that is rare (none in
    /// the programs this was made for), in all of a process's libraries it would not be.
    /// - Returns: where.
    func replaceCPUID() throws(SyscallError) -> Set<UInt64> {
        let program = try readLink("/proc/\(id)/exe")
        var places: Set<UInt64> = []
        for mapping in try mappings() where mapping.executable && mapping.path == program {
            let text = read(mapping.start, Int(clamping: mapping.end - mapping.start))
            var offset = 0
            while offset + 1 < text.count {
                guard text[offset] == 0x0F && text[offset + 1] == 0xA2 else {
                    offset += 1
                    continue
                }
                let address = mapping.start + UInt64(offset)
                let ud2: [UInt8] = [0x0F, 0x0B]
                try attempt("write", "/proc/\(id)/mem") { cptrace_patch(id, address, ud2, 2) }
                places.insert(address)
                offset += 2
            }
        }
        return places
    }

    private struct Mapping {
        var start: UInt64
        var end: UInt64
        var executable: Bool
        var path: String
    }

    /// /proc/PID/maps (proc_pid_maps(5)).
    private func mappings() throws(SyscallError) -> [Mapping] {
        let lines = try Files.readText("/proc/\(id)/maps").split(separator: "\n")
        return lines.compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            let range = fields.first?.split(separator: "-") ?? []
            guard fields.count == 6, range.count == 2, let start = UInt64(range[0], radix: 16), let end = UInt64(range[1], radix: 16),
                start < end
            else { return nil }
            return Mapping(
                start: start, end: end, executable: fields[1].dropFirst(2).first == "x", path: String(fields[5].drop { $0 == " " }))
        }
    }

    private func readLink(_ path: String) throws(SyscallError) -> String {
        var buffer = [CChar](repeating: 0, count: 4097)
        let count = try attempt("readlink", path) { readlink(path, &buffer, buffer.count) }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension BackdoorRegisters {
    init(_ state: cptrace_registers) {
        self.init()
        rax = state.rax
        rbx = state.rbx
        rcx = state.rcx
        rdx = state.rdx
        rsi = state.rsi
        rdi = state.rdi
        rbp = state.rbp
    }

    func store(in state: inout cptrace_registers) {
        state.rax = rax
        state.rbx = rbx
        state.rcx = rcx
        state.rdx = rdx
        state.rsi = rsi
        state.rdi = rdi
        state.rbp = rbp
    }
}
