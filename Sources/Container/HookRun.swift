import CLinux
import CSpawn
import ContainerSpec
public import Linux

/// Hooks of one kind after another, each within its time.
///
/// Nothing here blocks: call ``step()`` when ``descriptor`` is readable, and when ``deadline`` passes.
public final class HookRun {
    /// A hook, and where it runs.
    struct Item {
        /// The list it stands in: "createRuntime".
        var kind: String
        var hook: ContainerHook
        var place: Place
        /// What it reads as its standard input.
        var state: [UInt8]
    }

    enum Place {
        /// PID 1's own namespaces.
        case runtime
        /// The namespaces of the container, with PID 1's identity.
        case namespaces(JoinTarget)
        /// The container, as its process.
        case container(JoinTarget, ProcessPlan)
    }

    public enum Progress: Equatable, Sendable {
        case waiting
        /// All have run. What failed of those that may.
        case finished(failures: [LaunchError])
    }

    /// The most that is kept of what a hook writes, in bytes.
    public static let outputLimit = 2048

    private var items: [Item]
    private let stopsAtFailure: Bool
    private var failures: [LaunchError] = []
    private var current: Running?
    private var abandoned: [Child] = []

    /// A hook that runs.
    private final class Running {
        let item: Item
        let child: Child
        let plan: ProcessPlan
        let output: FileDescriptor
        let ready: Epoll
        let deadline: Deadline
        var text: [UInt8] = []
        var failure: LaunchError?

        init(_ item: Item, _ child: Child, _ plan: ProcessPlan, output: consuming FileDescriptor) throws(SyscallError) {
            self.item = item
            self.child = child
            self.plan = plan
            self.output = output
            deadline = Deadline.after(milliseconds: item.hook.timeoutSeconds &* 1000)
            ready = try Epoll()
            try ready.add(child.descriptor, .readable, token: 0)
            try ready.add(self.output.rawValue, .readable, token: 1)
        }
    }

    /// - Parameter stopsAtFailure: a hook that fails is the last.
    init(_ items: [Item], stopsAtFailure: Bool) {
        self.items = items
        self.stopsAtFailure = stopsAtFailure
    }

    /// Readable when ``step()`` has something to do; -1 before the first and after the last.
    public var descriptor: Int32 { current?.ready.rawValue ?? -1 }

    /// When the hook that runs has to have ended. Passed before the first.
    public var deadline: Deadline { current?.deadline ?? Deadline(nanoseconds: 0) }

    /// Goes on as far as that is possible at once.
    public func step() -> Progress {
        while true {
            if let running = current {
                guard let failure = advance(running) else { return .waiting }
                current = nil
                if let failure = failure.error {
                    failures.append(failure)
                    if stopsAtFailure { items = [] }
                }
            } else if items.isEmpty {
                return .finished(failures: failures)
            } else {
                start(items.removeFirst())
            }
        }
    }

    /// Kills what runs, and starts nothing more.
    public func abandon() {
        items = []
        if let running = current { end(running) }
        current = nil
    }

    /// Those that were killed and may not have ended yet.
    var killed: [Child] { abandoned }

    // MARK: One hook

    private struct Outcome { var error: LaunchError? }

    private func start(_ item: Item) {
        do throws(LaunchError) { current = try launch(item) } catch {
            failures.append(LaunchError("run \(item.kind) hook", item.hook.path, error.description))
            if stopsAtFailure { items = [] }
        }
    }

    private func launch(_ item: Item) throws(LaunchError) -> Running {
        let plan: ProcessPlan
        var spawn = cspawn_plan.empty
        switch item.place {
        case .runtime: plan = try ProcessPlan(item.hook)
        case .namespaces(let target):
            plan = try ProcessPlan(item.hook)
            target.fill(&spawn)
        case .container(let target, let process):
            plan = process
            target.fill(&spawn)
        }
        let state = try mapped { () throws(SyscallError) in try HookRun.file(of: item.state) }
        let (read, write) = try mapped { () throws(SyscallError) in try Pipe().take() }
        let output = FileDescriptor(owning: read)
        let written = FileDescriptor(owning: write)
        try mapped { () throws(SyscallError) in try output.setNonBlocking() }
        spawn.hook = 1
        spawn.set_oom_score = 1
        spawn.process = plan.pointer
        spawn.streams.standard = (state.rawValue, written.rawValue, written.rawValue)
        let child = try Child.spawn(
            "hook \(item.hook.path)", spawn, keeping: [state.rawValue, written.rawValue, spawn.join_pidfd])
        do throws(SyscallError) { return try Running(item, child, plan, output: output) } catch {
            child.kill()
            abandoned.append(child)
            throw LaunchError(error)
        }
    }

    /// - Returns: nil while it runs.
    private func advance(_ running: Running) -> Outcome? {
        while true {
            readOutput(running)
            switch running.child.receive() {
            case .none:
                if !running.deadline.hasPassed { return nil }
                end(running)
                return outcome(running, "it has not ended within \(running.item.hook.timeoutSeconds) s")
            case .report(let report, let descriptor):
                if descriptor >= 0 { _ = close(descriptor) }
                if report.step == Int32(CSPAWN_HOOK_ENDED.rawValue) {
                    readOutput(running)
                    let ended = ProcessEnd(waitStatus: report.error)
                    if let failure = running.failure { return Outcome(error: failure) }
                    if ended.exitStatus == 0 { return Outcome(error: nil) }
                    if let signal = ended.signal { return outcome(running, "signal \(Signal(rawValue: signal)?.name ?? "\(signal)") ended it") }
                    return outcome(running, "it exited with status \(ended.exitCode)")
                }
                // The report of a step that failed comes before the end of the child it failed in.
                if report.step >= Int32(CSPAWN_CLOSE.rawValue) && running.failure == nil {
                    let error = LaunchError(report, root: nil, process: running.plan, object: running.item.hook.path)
                    running.failure = LaunchError("run \(running.item.kind) hook", running.item.hook.path, error.description)
                }
            case .closed, .unreadable:
                end(running)
                return Outcome(error: running.failure ?? outcome(running, "its monitor ended").error)
            }
        }
    }

    private func outcome(_ running: Running, _ cause: String) -> Outcome {
        let text = HookRun.printable(running.text)
        return Outcome(
            error: LaunchError(
                "run \(running.item.kind) hook", running.item.hook.path, text.isEmpty ? cause : "\(cause); it wrote: \(text)"))
    }

    private func readOutput(_ running: Running) {
        while let bytes = try? running.output.read(atMost: 4096) {
            if bytes.isEmpty {
                // It stays readable, and would wake the caller for ever.
                try? running.ready.remove(running.output.rawValue)
                return
            }
            running.text.append(contentsOf: bytes.prefix(HookRun.outputLimit - running.text.count))
        }
    }

    /// Kills the hook and what it started: the monitor leads their process group. The group's number cannot be another's as long as
    /// the monitor is there.
    private func end(_ running: Running) {
        if !running.child.isGone() { _ = kill(-running.child.pid, SIGKILL) }
        running.child.kill()
        abandoned.append(running.child)
    }

    // MARK: Input and output

    /// A file that holds `content` and is read from its start: a pipe would have to be filled while the hook reads.
    private static func file(of content: [UInt8]) throws(SyscallError) -> FileDescriptor {
        let file = FileDescriptor(owning: try attempt("memfd_create") { memfd_create("state", UInt32(MFD_CLOEXEC)) })
        let written = try attempt("write", "memfd") { content.withUnsafeBytes { write(file.rawValue, $0.baseAddress, $0.count) } }
        if written != content.count { throw SyscallError("write", "memfd", .noBufferSpace) }
        try attempt("lseek", "memfd") { lseek(file.rawValue, 0, SEEK_SET) }
        return file
    }

    /// One line without control characters: it goes into records and messages.
    private static func printable(_ bytes: [UInt8]) -> String {
        var line: [UInt8] = []
        for byte in bytes {
            let isControl = byte < 0x20 || byte == 0x7F
            if isControl && (line.isEmpty || line.last == 0x20) { continue }
            line.append(isControl ? 0x20 : byte)
        }
        while line.last == 0x20 { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
    }
}
