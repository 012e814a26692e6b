import CLinux
import CSpawn
import Linux

/// A process between clone and exec, and the socket over which it tells how far it is.
final class Child {
    let process: ProcessDescriptor
    private var socket: FileDescriptor?

    var pid: Int32 { process.pid }
    var pidfd: Int32 { process.rawValue }
    /// Readable when there is a report, or the child has closed its end; -1 after ``closeSocket()``.
    var descriptor: Int32 { socket?.rawValue ?? -1 }

    /// Nothing more is to be said.
    func closeSocket() { socket = nil }

    private init(_ process: consuming ProcessDescriptor, _ socket: consuming FileDescriptor) {
        self.process = process
        self.socket = consume socket
    }

    /// Makes a child that carries out `plan`.
    ///
    /// - Parameters:
    ///   - object: what it is, for an error.
    ///   - descriptors: those the plan names, which the child keeps.
    static func spawn(_ object: String, _ plan: cspawn_plan, keeping descriptors: [Int32]) throws(LaunchError) -> Child {
        do throws(SyscallError) {
            let ownNamespace = try FileDescriptor.open("/proc/self/ns/pid", O_RDONLY)
            var ends: (Int32, Int32) = (-1, -1)
            try attempt("socketpair", object) { cspawn_report_pair(&ends.0, &ends.1) }
            let parentEnd = FileDescriptor(owning: ends.0)
            // Closed here when this returns: then the child's closing it, by exec or by its end, is what is seen.
            let childEnd = FileDescriptor(owning: ends.1)
            let memory = PlanMemory()
            var plan = plan
            plan.report = childEnd.rawValue
            var kept: [Int32] = []
            for descriptor in (descriptors + [childEnd.rawValue]).sorted() where descriptor > 2 && kept.last != descriptor {
                kept.append(descriptor)
            }
            plan.kept = memory.array(kept)
            plan.kept_count = kept.count
            if memory.isShort { throw SyscallError("allocate", object, Errno(rawValue: ENOMEM)) }
            var pidfd: Int32 = -1
            let pid = try attempt("start", object) { cspawn(&plan, ownNamespace.rawValue, &pidfd) }
            return Child(ProcessDescriptor(owning: pidfd, pid: pid), parentEnd)
        } catch {
            // What the kernel says of a PID namespace whose init has ended.
            let isOver = error.errno == Errno(rawValue: ENOMEM) && plan.join_pidfd >= 0
            throw isOver ? LaunchError(error.operation, error.object, "the container's PID namespace has ended") : LaunchError(error)
        }
    }

    /// What a child said.
    enum Message {
        /// Nothing yet.
        case none
        /// How far it is, or what failed; with the descriptor that came along, which is the receiver's, or -1.
        case report(cspawn_report, descriptor: Int32)
        /// It closed its end.
        case closed
        case unreadable(Errno)
    }

    /// Takes the next message without blocking.
    func receive() -> Message {
        guard let number = socket?.rawValue else { return .closed }
        var report = cspawn_report()
        var descriptor: Int32 = -1
        do throws(SyscallError) {
            if try attempt("recvmsg", "", { cspawn_receive(number, &report, &descriptor) }) == 1 {
                return .report(report, descriptor: descriptor)
            }
            return .closed
        } catch {
            if error.errno == .wouldBlock { return .none }
            return .unreadable(error.errno)
        }
    }

    /// Lets a child go on that waits. One that is gone is found so by ``receive()``.
    func proceed() {
        guard let number = socket?.rawValue else { return }
        var byte: UInt8 = 1
        _ = send(number, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }

    /// Moves it to another cgroup, of which `cgroup` is the directory.
    func move(to cgroup: Int32) throws(SyscallError) {
        let object = "pid \(pid) to its cgroup"
        let file = FileDescriptor(owning: try attempt("move", object) { clinux_openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC, 0) })
        let text = Array("\(pid)".utf8)
        try attempt("move", object) { text.withUnsafeBytes { write(file.rawValue, $0.baseAddress, $0.count) } }
    }

    func setOOMScore(_ score: Int32) throws(LaunchError) {
        do throws(SyscallError) { try Files.write("\(score)", to: "/proc/\(pid)/oom_score_adj") } catch { throw LaunchError(error) }
    }

    func kill() { try? process.send(SIGKILL) }

    /// Whether it has ended; takes it off the kernel's list unless someone has.
    func isGone() -> Bool {
        var watched = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        if poll(&watched, 1, 0) <= 0 || watched.revents == 0 { return false }
        var code: Int32 = 0
        var status: Int32 = 0
        _ = clinux_reap_pidfd(pidfd, &code, &status)
        return true
    }
}
