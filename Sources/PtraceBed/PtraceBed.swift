import CLinux
import CPtrace
import GuestInfo
import GuestInfoHost
import Linux

/// A real, unmodified process whose backdoor accesses are served by a ``GuestInfoHost``.
///
/// Off VMware the instructions fault; the tracer catches the fault, lets the model answer into the registers and the
/// memory, and moves the process past the instruction: exactly what VMware's monitor does. The process's children and
/// threads are served too. x86-64 only.
public struct PtraceBed {
    public struct Options: Sendable {
        /// What `cpuid` says.
        public enum Processor: String, Sendable, CaseIterable {
            /// A VMware hypervisor's signature. Each `cpuid` in the program's own text (not in its shared libraries) is
            /// replaced by an undefined instruction of the same length and served as that faults.
            case vmware
            /// The machine's own.
            case host
        }
        public var processor = Processor.vmware
        /// How long the program and its children may take.
        public var milliseconds: Int64 = 60_000

        public init() {}
    }

    /// How the program ended.
    public enum Ending: Equatable, Sendable {
        case exited(Int32)
        case signaled(Int32)
        /// It did not end in time, and was killed with its children.
        case timedOut

        /// As a shell has it: 128 + signal; 124 like timeout(1).
        public var exitStatus: Int32 {
            switch self {
            case .exited(let status): status
            case .signaled(let signal): 128 + signal
            case .timedOut: 124
            }
        }
    }

    private let host: GuestInfoHost
    private let options: Options
    private let deadline: Deadline
    /// Every tracee, with the addresses of the replaced instructions in its memory.
    private var tracees: [pid_t: Set<UInt64>] = [:]
    /// Tracees that stopped before their parent's event said whose child they are: they wait for it.
    private var early: Set<pid_t> = []

    /// Runs `program` (a name is searched in PATH) until it and its children have ended.
    ///
    /// The calling thread does all the tracing; it must have no other tracees.
    /// - Throws: SyscallError, for example of execve(2) when there is no such program.
    public static func run(_ program: [String], host: GuestInfoHost, options: Options = Options()) throws(SyscallError) -> Ending {
        var bed = PtraceBed(host: host, options: options)
        try attempt("timer_create", "deadline") { cptrace_alarm_start(max(1, options.milliseconds)) }
        defer { cptrace_alarm_stop() }
        let root = try spawn(program)
        bed.tracees[root] = []
        do throws(SyscallError) {
            let ending = try bed.serve(root)
            if ending == .timedOut { bed.killAll() }
            return ending
        } catch {
            bed.killAll()
            throw error
        }
    }

    private init(host: GuestInfoHost, options: Options) {
        self.host = host
        self.options = options
        deadline = Deadline.after(milliseconds: options.milliseconds)
    }

    private static func spawn(_ program: [String]) throws(SyscallError) -> pid_t {
        guard let path = program.first else { throw SyscallError("execve", "", .invalidArgument) }
        var arguments: [UnsafeMutablePointer<CChar>?] = program.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        return try attemptOnce("execve", path) { cptrace_spawn(path, &arguments) }
    }

    private mutating func serve(_ root: pid_t) throws(SyscallError) -> Ending {
        var ending: Ending?
        while true {
            if deadline.hasPassed { return .timedOut }
            var status: Int32 = 0
            let tracee = cptrace_wait(&status)
            if tracee == -1 {
                let errno = Errno(rawValue: clinux_errno())
                if errno == .interrupted { continue }
                if errno == .noChild, let ending { return ending }
                throw SyscallError("waitpid", "tracee", errno)
            }
            if clinux_wifexited(status) != 0 || clinux_wifsignaled(status) != 0 {
                tracees[tracee] = nil
                early.remove(tracee)
                if tracee == root {
                    ending = clinux_wifexited(status) != 0 ? .exited(clinux_wexitstatus(status)) : .signaled(clinux_wtermsig(status))
                }
                continue
            }
            do throws(SyscallError) {
                try stopped(Tracee(id: tracee), signal: status >> 8 & 0xFF, event: status >> 16)
            } catch {
                // A tracee can be killed at any moment; the wait reports its end.
                if error.errno != .noSuchProcess { throw error }
            }
        }
    }

    /// One stop of a tracee (ptrace(2), "Stopped states").
    private mutating func stopped(_ tracee: Tracee, signal: Int32, event: Int32) throws(SyscallError) {
        switch Int(event) {
        case 0:
            if signal == SIGSEGV, try serveAccess(tracee) { return try tracee.resume() }
            if signal == SIGILL, try serveCPUID(tracee) { return try tracee.resume() }
            try tracee.resume(delivering: signal)
        case CPTRACE_EVENT_FORK, CPTRACE_EVENT_VFORK, CPTRACE_EVENT_CLONE:
            let child = try tracee.eventProcess()
            tracees[child] = tracees[tracee.id] ?? []
            if early.remove(child) != nil { try Tracee(id: child).resume() }
            try tracee.resume()
        case CPTRACE_EVENT_EXEC:
            tracees[tracee.id] = options.processor == .vmware ? try tracee.replaceCPUID() : []
            try tracee.resume()
        case CPTRACE_EVENT_STOP where tracees[tracee.id] == nil:
            early.insert(tracee.id)
        case CPTRACE_EVENT_STOP where signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU:
            try tracee.listen()
        default:
            try tracee.resume()
        }
    }

    /// - Returns: false when the fault is the program's own.
    private func serveAccess(_ tracee: Tracee) throws(SyscallError) -> Bool {
        // What the processor refuses has this code; a bad address would have another.
        guard try tracee.signalCode() == Tracee.kernelSignalCode else { return false }
        var state = try tracee.registers()
        let code = tracee.read(state.rip, 2)
        var registers = BackdoorRegisters(state)
        switch (code.first, code.last, registers.rdx.low16) {
        case (0xED, _, Backdoor.lowBandwidthPort), (0xEF, _, Backdoor.lowBandwidthPort):
            host.lowBandwidth(&registers)
            state.rip &+= 1
        // Backwards (the direction flag, bit 10), the string instructions are no message.
        case (0xF3, 0x6E, Backdoor.highBandwidthPort) where state.flags & 0x400 == 0:
            let length = registers.rcx
            let readable = length <= UInt64(host.highBandwidthLimit) ? Int(length) : 0
            let message = tracee.read(registers.rsi, readable)
            guard message.count == readable else { return false }
            host.highBandwidthOut(&registers, message: message)
            state.rip &+= 2
        case (0xF3, 0x6C, Backdoor.highBandwidthPort) where state.flags & 0x400 == 0:
            let buffer = registers.rdi
            let message = host.highBandwidthIn(&registers)
            guard tracee.write(message, to: buffer) else { return false }
            state.rip &+= 2
        default:
            return false
        }
        registers.store(in: &state)
        try tracee.setRegisters(state)
        return true
    }

    /// - Returns: false when the program executed an undefined instruction of its own.
    private func serveCPUID(_ tracee: Tracee) throws(SyscallError) -> Bool {
        var state = try tracee.registers()
        guard let replaced = tracees[tracee.id], replaced.contains(state.rip) else { return false }
        let result = ProcessorModel.cpuid(leaf: state.rax.low32, subleaf: state.rcx.low32)
        state.rax = UInt64(result.eax)
        state.rbx = UInt64(result.ebx)
        state.rcx = UInt64(result.ecx)
        state.rdx = UInt64(result.edx)
        state.rip &+= 2
        try tracee.setRegisters(state)
        return true
    }

    private mutating func killAll() {
        for id in Array(tracees.keys) + Array(early) { kill(id, SIGKILL) }
        // A killed tracee ends without its tracer's help; the alarm bounds each wait, and this the number of them.
        let deadline = Deadline.after(milliseconds: 2000)
        var status: Int32 = 0
        while !deadline.hasPassed {
            let tracee = cptrace_wait(&status)
            if tracee == -1 && clinux_errno() == ECHILD { return }
            // One that was being born when the others were killed.
            if tracee > 0 && clinux_wifexited(status) == 0 && clinux_wifsignaled(status) == 0 { kill(tracee, SIGKILL) }
        }
    }
}
